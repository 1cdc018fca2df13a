"""Progress on stderr: a bar with the time left on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from hurdles.data.shown import shown

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
