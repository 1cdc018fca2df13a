"""Progress of long work on stderr: how far it is, how long it will take, and that it is at work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from io import StringIO
from typing import Any, Self, TextIO

from hurdles.data.untrusted import shown
from hurdles.progress import TimeLeft

#: Seconds after which something is said in any case.
_SILENT = 5.0
#: In a log the lines grow rarer: so long after the last as this part of all the time, and at most
#: so many seconds.
_RARER, _RAREST = 1 / 120, 60.0
#: Seconds between two looks at the clock while nothing happens.
_TICK = 0.5


class ProgressBar:
    """Listens to long work and shows on stderr how far it is; see `hurdles.progress`.

    On a terminal a bar with the time left. Elsewhere, so that a log stays readable, a line when a
    stage begins, when it ends, and in between every 5 seconds, after ten minutes more rarely. Work
    that tells nothing is said to go on.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr or StringIO()  # stderr may have been closed: 2>&-
        self._bar: Any = None
        self._task: Any = None
        self._between: Any = None  # a task of the bar while no stage is at work
        self._stage, self._total, self._done, self._note = "", 0, 0, ""
        self._opened = self._began = self._moved = self._spoke = time.monotonic()
        self._left = TimeLeft(0, self._opened)
        self._costs: Sequence[float] = ()
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._clock = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich import progress
            from rich.console import Console

            self._bar = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeElapsedColumn(),
                progress.TextColumn("{task.fields[left]}"),
                progress.TextColumn("{task.fields[note]}", markup=False),  # a foreign program's
                console=Console(file=self._stream),
            )
            self._bar.start()
        self._clock.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed.set()
        self._clock.join()
        if self._bar is not None:
            self._bar.stop()

    def start(self, stage: str, total: int, costs: Sequence[float] = ()) -> None:
        """Begin a stage of `total` steps."""
        with self._lock:
            self._costs = costs
            self._stage, self._total, self._done, self._note = stage, total, 0, ""
            self._began = self._moved = time.monotonic()
            self._left = TimeLeft(sum(costs) or total, self._began)
            self._left.step = costs[0] if costs else 1.0
            if self._bar is None:
                self._line(f"{stage}: 0 of {total}")
                return
            if self._between is not None:
                self._bar.remove_task(self._between)
                self._between = None
            if self._task is not None:  # the stage before may have ended early
                before = self._bar.tasks[-1]
                self._bar.update(self._task, total=before.completed or before.total, left="")
            self._task = self._bar.add_task(stage, total=total, note="", left="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done, or with 0 what is worked on."""
        with self._lock:
            now = self._moved = time.monotonic()
            self._done, self._note = self._done + steps, note
            if steps:
                done, rest = self._costs[: self._done], self._costs[self._done :]
                self._left.step = rest[0] if rest else 1.0
                self._left.mark(sum(done) or self._done, now)
            if self._bar is not None:
                if self._task is not None:
                    self._bar.update(self._task, advance=steps, note=note, left=self._until(now))
            elif self._done >= self._total and self._done - steps < self._total:
                self._count(f"in {now - self._began:.0f} s", note)
            elif self._is_due(now):
                self._count(self._until(now), note)

    def say(self, line: str) -> None:
        """Say one line that stays on the screen."""
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(shown(line), markup=False, highlight=False)
            else:
                self._line(line)

    def look(self) -> None:
        """Say that work goes on, if nothing was said for too long."""
        with self._lock:
            now = time.monotonic()
            if self._bar is not None:
                if self._task is not None:
                    self._bar.update(self._task, left=self._until(now))
                is_over = self._done >= self._total  # as before the first stage, of no steps
                if is_over and self._between is None and now - self._moved >= _SILENT:
                    self._between = self._bar.add_task("At work", total=None, note="", left="")
            elif self._is_due(now):
                if not self._stage:
                    self._line(f"at work for {now - self._opened:.0f} s")
                elif self._done >= self._total:
                    self._line(f"{self._stage}: done; at work for {now - self._moved:.0f} s since")
                else:
                    waited = f"for {now - self._moved:.0f} s at the next"
                    self._count(self._until(now) or waited, self._note)

    def _watch(self) -> None:
        while not self._closed.wait(_TICK):
            with suppress(ValueError, OSError):  # nobody reads the stream any more
                self.look()

    def _is_due(self, now: float) -> bool:
        rarer = min(_RAREST, (now - self._opened) * _RARER)
        return now - self._spoke >= max(_SILENT - _TICK, rarer)

    def _until(self, now: float) -> str:
        return self._left.words(now)

    def _count(self, *words: str) -> None:
        self._line(
            ", ".join([f"{self._stage}: {self._done} of {self._total}", *filter(None, words)])
        )

    def _line(self, line: str) -> None:
        self._spoke = time.monotonic()
        self._stream.write(line + "\n")
        self._stream.flush()
