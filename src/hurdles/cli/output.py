"""What commands print: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import typer

from hurdles.data.untrusted import shown
from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from hurdles.evaluation.evaluation import Evaluation
    from hurdles.progress import Options

#: What JSON does not escape and a terminal would obey, or UTF-8 cannot hold.
_OBEYED = re.compile(r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
#: Seconds between two lines of progress in a log.
_EVERY = 15.0


def say(text: object, *, err: bool = False) -> None:
    """Print text, of which a terminal obeys nothing, to stdout unless told otherwise."""
    typer.echo(shown(str(text)), err=err)


def print_result(as_json: bool, content: Any, *lines: str | Iterable[str]) -> None:
    """Print content as JSON for programs, a table by its rows; or lines for a person.

    A number that is none raises ValueError rather than print ``NaN``.
    """
    if not as_json:
        for part in lines:
            for line in [part] if isinstance(part, str) else part:
                say(line)
        return
    if hasattr(content, "to_json"):
        content = json.loads(content.to_json(orient="records"))
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    typer.echo(_OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text))


def print_evaluation(result: Evaluation, as_json: bool, *, report: Path) -> None:
    """Print an evaluation and where its report lies."""
    from hurdles.reporting.console import evaluation_lines

    where = f"\nreport: {report}\nResearch use only; not a medical device."
    content = {**result.to_dict(), "report": str(report)}
    print_result(as_json, content, evaluation_lines(result), where)


@contextmanager
def verb_options(
    on_bad: OnBad, cache: Path | None, quiet: bool, no_images: bool = False
) -> Iterator[Options]:
    """Yield how a verb is to be carried out, with a progress bar unless it is to be quiet."""
    from hurdles.progress import Options

    options = Options(on_bad=on_bad, cache=cache, pictures=not no_images)
    if quiet:
        yield options
        return
    with ProgressBar() as bar:
        yield replace(options, progress=bar)


class ProgressBar:
    """Listens to long work and shows on stderr how far it is; see `hurdles.progress`.

    On a terminal a bar with the time left; elsewhere, so that a log stays readable, a line when a
    stage begins, every 15 seconds, and when it ends.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._total, self._done, self._spoke = "", 0, 0, 0.0
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TextColumn("left"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[note]}"),
                console=Console(file=self._stream),
            )
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
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
            self._count(f"in {now - self._began:.0f} s", note)
        elif self._first is not None and now - self._spoke >= _EVERY:
            # The first steps may be those of an interrupted run, which took no time in this one.
            since, done = self._first
            left = (now - since) / max(1, self._done - done) * (self._total - self._done)
            self._count(f"{left:.0f} s left", note)
            self._spoke = now
        if self._first is None and self._done:
            self._first = (now, self._done)

    def say(self, line: str) -> None:
        """Say one line that stays on the screen."""
        if self._bar is not None:
            self._bar.console.print(shown(line), markup=False, highlight=False)
        else:
            self._line(line)

    def _count(self, *words: str) -> None:
        self._line(
            ", ".join([f"{self._stage}: {self._done} of {self._total}", *filter(None, words)])
        )

    def _line(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
