"""Progress on stderr: a bar with the time left on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

__all__ = ["ProgressBar"]

_EVERY = 15.0


class ProgressBar:
    """Listens to long work and shows how far it is; see `hurdles.training.progress`.

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
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._spoke = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(stage, total=total, note="")
        else:
            self._line(f"{stage}: {total}")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done."""
        self._done += steps
        if self._bar is not None:
            if self._task is not None:
                self._bar.update(self._task, advance=steps, note=note)
            return
        now = time.monotonic()
        if now - self._spoke >= _EVERY and self._done < self._total:
            left = (now - self._began) / max(1, self._done) * (self._total - self._done)
            words = f"{self._stage}: {self._done} of {self._total}, {left:.0f} s left"
            self._line(f"{words}, {note}" if note else words)
            self._spoke = now

    def say(self, line: str) -> None:
        """Say one line that stays on the screen."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            self._line(line)

    def _line(self, line: str) -> None:
        print(line, file=self._stream, flush=True)  # noqa: T201 - stderr is where progress goes
