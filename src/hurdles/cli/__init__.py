"""The command line: the verbs of `hurdles.api`; nothing is computed here.

Results go to stdout, progress and messages to stderr. Heavy libraries are imported by the verbs
themselves, so that ``hurdles --help`` answers at once.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hurdles._version import __version__
from hurdles.cli import (
    auditing,
    encoders,
    evidence,
    experiments,
    foreign,
    images,
    learning,
    testing,
)
from hurdles.cli.output import say
from hurdles.errors import HurdlesError

_INTERRUPTED = 130

_COMMANDS: dict[str, list[Callable[..., None]]] = {
    "Begin": [experiments.demo, experiments.recipes],
    "Images": [images.cache, images.collections, images.manifest, images.segment],
    "Models": [
        experiments.run,
        testing.evaluate,
        testing.compare,
        testing.predict,
        experiments.explain,
        experiments.embed,
        experiments.report,
        experiments.export,
        experiments.study,
        learning.learning_curve,
        encoders.import_encoder,
        encoders.fit_head,
        images.train_lungs,
    ],
    "Hurdles": [
        auditing.check,
        auditing.audit,
        foreign.spec,
        evidence.verify,
        evidence.badge,
        auditing.lineage,
        auditing.fingerprint,
        auditing.calibrate_audit,
    ],
}


def _version(show: bool) -> None:
    if show:
        say(f"hurdles {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[  # noqa: ARG001 - its own callback has used it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    log = logging.getLogger("hurdles.data")
    if not any(isinstance(handler, _OnStderr) for handler in log.handlers):
        log.addHandler(_OnStderr(logging.INFO))
        log.setLevel(logging.INFO)


class _Sections(TyperGroup):
    """All commands, listed under the titles of `_COMMANDS`."""

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write a line for each command."""
        width = max(map(len, self.commands))
        for title, verbs in _COMMANDS.items():
            with formatter.section(title):
                commands = [self.commands[_name(verb)] for verb in verbs]
                formatter.write_dl(
                    [(f"{c.name:{width}}", (c.help or "").split("\n\n")[0]) for c in commands]
                )


def command_line(only: str = "") -> typer.Typer:
    """Return the command line; of other commands than one that is asked for, names and help alone.

    To look at the options of all commands takes longer than any one of them needs. `only` is
    a command's name, or an option that ends with the help or the version; else all are whole.
    """
    names = [_name(verb) for verbs in _COMMANDS.values() for verb in verbs]
    is_whole = only not in {*names, "-h", "--help", "--version"}
    line = typer.Typer(
        name="hurdles",
        cls=_Sections,
        help="Train chest X-ray classifiers from small data, with an interval on every number.\n\n"
        "Start with: hurdles demo. Research use only; not a medical device.",
        no_args_is_help=True,
        add_completion=False,
        # Where it is not given, typer loads pydantic to find that out: for the help of a command.
        add_help_option=only not in names,
        rich_markup_mode=None,  # rich takes longer to load than all of the help
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        pretty_exceptions_enable=False,
    )
    line.callback()(_root)
    for verbs in _COMMANDS.values():
        for verb in verbs:
            name = _name(verb)
            line.command(name)(verb if is_whole or name == only else _mention(verb))
    return line


def _name(verb: Callable[..., None]) -> str:
    return verb.__name__.replace("_", "-")


def _mention(verb: Callable[..., None]) -> Callable[[], None]:
    """Return a command that has nothing but the help of another."""

    def mention() -> None:
        raise AssertionError(f"{verb.__name__} is mentioned only")

    mention.__doc__ = verb.__doc__
    return mention


#: The whole command line.
app = command_line()


class _OnStderr(logging.Handler):
    """Prints how images were read, and what of the user's was not used."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err=True)


def main() -> None:
    """Run the command line; an error of ours is one sentence and exit code 2."""
    try:
        first = sys.argv[1] if len(sys.argv) > 1 else "--help"
        command_line("" if first == "--" else first)(standalone_mode=True)
    except SystemExit as end:
        if end.code == _INTERRUPTED:  # typer has caught Ctrl-C and says nothing
            again = "the same command uses what is kept by then, and does the rest anew"
            say(f"interrupted; {again} (hurdles run: with --resume)", err=True)
        raise
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except MemoryError as error:
        why = f" ({error})" if str(error) else ""
        say(
            f"MemoryError: this takes more memory than there is{why}; give less at a time.",
            err=True,
        )
        sys.exit(2)
    except (HurdlesError, OSError) as error:
        say(f"{type(error).__name__}: {_sentence(error)}", err=True)
        if isinstance(error, HurdlesError) and error.options:
            again = shlex.join(["hurdles", *sys.argv[1:], *error.options])
            say(f"To go on so: {again}", err=True)
        sys.exit(2)


def _sentence(error: Exception) -> str:
    if isinstance(error, HurdlesError) or not isinstance(error, OSError) or not error.strerror:
        return str(error)
    where = error.filename if error.filename is not None else "a file"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{where}: {error.strerror}. A file stands where a folder is needed; name another."
    return (
        f"{where}: {error.strerror}. Check that it is there, that you may use it, and that there "
        "is space left."
    )
