"""What the commands share: options, progress, and printing.

Progress on stderr: a bar with the time left on a terminal, sparse lines elsewhere.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from hurdles.data.untrusted import shown
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.progress import Options

__all__ = [
    "CacheOption",
    "ColumnOption",
    "DataOption",
    "ForceOption",
    "JoinOption",
    "JsonOption",
    "LabelOption",
    "NoImagesOption",
    "OnBadOption",
    "QuietOption",
    "RunArgument",
    "carried_out",
    "pairs",
    "print_evaluation",
    "print_json",
    "print_lines",
    "say",
]


_EVERY = 15.0


class ProgressBar:
    """Listens to long work and shows how far it is; see `hurdles.progress`.

    Parameters
    ----------
    stream : text file, optional
        Where to write; default: stderr. Where it is no terminal, a line is written when a stage
        begins, every 15 seconds, and when it ends, so that a log stays readable.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._total, self._done, self._spoke = "", 0, 0, 0.0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> ProgressBar:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(file=self._stream),
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps."""
        self._stage, self._total, self._done, self._first = stage, total, 0, None
        self._began = self._spoke = time.monotonic()
        if self._bar is not None:
            if self._task is not None:  # the stage before may have ended early
                before = self._bar.tasks[-1]
                self._bar.update(self._task, total=before.completed or before.total)
            self._task = self._bar.add_task(stage, total=total, note="")
        else:
            self._line(f"{stage}: 0 of {total}")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done."""
        self._done += steps
        if self._bar is not None:
            if self._task is not None:
                self._bar.update(self._task, advance=steps, note=note)
            return
        now = time.monotonic()
        if self._done >= self._total and self._done - steps < self._total:
            self._tell(f"in {now - self._began:.0f} s", note)
        elif self._first is not None and now - self._spoke >= _EVERY:
            # The first steps may be those of an interrupted run, which took no time in this one.
            since, done = self._first
            left = (now - since) / max(1, self._done - done) * (self._total - self._done)
            self._tell(f"{left:.0f} s left", note)
            self._spoke = now
        if self._first is None and self._done:
            self._first = (now, self._done)

    def say(self, line: str) -> None:
        """Say one line that stays on the screen."""
        if self._bar is not None:
            self._bar.console.print(shown(line), markup=False, highlight=False)
        else:
            self._line(line)

    def _tell(self, *words: str) -> None:
        how = ", ".join(word for word in words if word)
        self._line(f"{self._stage}: {self._done} of {self._total}, {how}")

    def _line(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


#: What JSON does not escape and a terminal would obey, or UTF-8 cannot hold.
_OBEYED = re.compile(r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="[NAME=]PATH",
        help="Images: a folder of class folders, a table (CSV, Excel, Parquet), a collection's "
        "name (found under $HURDLES_DATA), or NAME=PATH. Several are merged.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that hurdles did not write; never an input.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
JoinOption = Annotated[
    bool,
    typer.Option("--join-patients", help="Equal patient ids are one person, whatever the source."),
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="[NAME:]THEIRS=OURS",
        help="Call a class of the images OURS; several may become one. THEIRS= leaves it out, "
        "THEIRS may hold * for anything, NAME: means one of several collections alone.",
    ),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="THEIRS=OURS",
        help="A column of your table is the path, label, patient, source, view, sex, age, split or "
        "mask. THEIRS= does not use it.",
    ),
]
NoImagesOption = Annotated[
    bool,
    typer.Option(
        "--no-images",
        help="Write the page without radiographs; otherwise it holds patients' pixels.",
    ),
]
OnBadOption = Annotated[
    OnBad, typer.Option("--on-bad", help="Unreadable images: list them and go on, or stop.")
]
CacheOption = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder of prepared pixels. [default: $HURDLES_CACHE]"),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]


@contextmanager
def carried_out(
    on_bad: OnBad, cache: Path | None, quiet: bool, no_images: bool = False
) -> Iterator[Options]:
    """Yield what the options say of how a verb is carried out, with a bar unless it is quiet."""
    from hurdles.progress import Options

    options = Options(on_bad=on_bad, cache=cache, pictures=not no_images)
    if quiet:
        yield options
        return
    with ProgressBar() as bar:
        yield replace(options, progress=bar)


def print_evaluation(result: Evaluation, as_json: bool, *, report: Path) -> None:
    """Print an evaluation and where its report lies."""
    from hurdles.reporting.console import evaluation_lines

    if as_json:
        print_json({**result.to_dict(), "report": str(report)})
        return
    print_lines(evaluation_lines(result))
    say(f"\nreport: {report}\nResearch use only; not a medical device.")


def say(text: object, *, err: bool = False) -> None:
    """Print text, of which a terminal obeys nothing, to stdout unless told otherwise."""
    typer.echo(shown(str(text)), err=err)


def print_lines(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines, to stdout unless told otherwise."""
    for line in lines:
        say(line, err=err)


def print_json(content: Any) -> None:
    """Print JSON; a number that is none raises ValueError rather than print ``NaN``."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(_OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def pairs(texts: Sequence[str] | None) -> dict[str, str]:
    """Return ``THEIRS=OURS`` texts as a mapping; another form is a wrong option."""
    found: dict[str, str] = {}
    for text in texts or ():
        theirs, sign, ours = (part.strip() for part in text.partition("="))
        if not sign or not theirs:
            raise typer.BadParameter(f"{text!r} is not of the form THEIRS=OURS.")
        if found.setdefault(theirs, ours) != ours:
            raise typer.BadParameter(f"{theirs!r} cannot be both {found[theirs]!r} and {ours!r}.")
    return found
