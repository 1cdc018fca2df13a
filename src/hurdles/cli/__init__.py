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
from typing import Annotated

import typer

from hurdles._version import __version__
from hurdles.cli import auditing, encoders, evidence, experiments, foreign, images, testing
from hurdles.cli.output import say
from hurdles.errors import HurdlesError

app = typer.Typer(
    name="hurdles",
    help="Train chest X-ray classifiers from small data, with an interval on every number.\n\n"
    "Start with: hurdles demo. Research use only; not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

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
for _panel, _verbs in _COMMANDS.items():
    for _verb in _verbs:
        app.command(rich_help_panel=_panel)(_verb)


def _version(show: bool) -> None:
    if show:
        say(f"hurdles {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001 - its own callback has used it
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    log = logging.getLogger("hurdles.data")
    if not any(isinstance(handler, _OnStderr) for handler in log.handlers):
        log.addHandler(_OnStderr(logging.INFO))
        log.setLevel(logging.INFO)


class _OnStderr(logging.Handler):
    """Prints how images were read, and what of the user's was not used."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err=True)


def main() -> None:
    """Run the command line; an error of ours is one sentence and exit code 2."""
    try:
        app(standalone_mode=True)
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
