"""Progress of long work on stderr: how far it is, how long it will take, and that it is at work."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from typing import Any, Self, TextIO

from hurdles.data.untrusted import shown

#: Seconds after which something is said in any case.
_SILENT = 5.0
#: In a log the lines grow rarer: so long after the last as this part of all the time, and at most
#: so many seconds.
_RARER, _RAREST = 1 / 120, 60.0
#: Seconds between two looks at the clock while nothing happens.
_TICK = 0.5
#: Seconds in which the first steps are done by no machine: they are those of an earlier session.
_AT_ONCE = 1.0
#: Marks that are kept of one stage at most.
_MARKS = 256


class TimeLeft:
    """An estimate of the time that a stage will take yet, from the pace of its later half.

    The first half of the steps done so far is left out, since a start is often slow: caches fill,
    libraries load, processes begin. So are the steps of an earlier session, which took no time.
    """

    def __init__(self, total: int, now: float) -> None:
        self.total, self._began = total, now
        self._marks: list[tuple[float, int]] = []

    def mark(self, done: int, now: float) -> None:
        """Note that so many steps are done."""
        if not self._marks and now - self._began >= _AT_ONCE:
            self._marks.append((self._began, 0))
        self._marks.append((now, done))
        if len(self._marks) > _MARKS:
            del self._marks[1:-1:2]

    def seconds(self, now: float) -> float | None:
        """Return the estimate; None while there is none, or nothing is left."""
        if len(self._marks) < 2 or self._marks[-1][1] >= self.total:
            return None
        last, done = self._marks[-1]
        half = (self._marks[0][1] + done) / 2
        since, before = next(m for m in reversed(self._marks) if m[1] <= half)
        if done == before:
            return None
        pace = (last - since) / (done - before)
        left = self.total - done
        # The step in work takes its time already, but is not done before it is done.
        return max(left * pace - (now - last), (left - 1) * pace)


class ProgressBar:
    """Listens to long work and shows on stderr how far it is; see `hurdles.progress`.

    On a terminal a bar with the time left. Elsewhere, so that a log stays readable, a line when a
    stage begins, when it ends, and in between every 5 seconds, after ten minutes more rarely. Work
    that tells nothing is said to go on.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._task: Any = None
        self._stage, self._total, self._done, self._note = "", 0, 0, ""
        self._opened = self._began = self._moved = self._spoke = time.monotonic()
        self._left = TimeLeft(0, self._opened)
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

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps."""
        with self._lock:
            self._stage, self._total, self._done, self._note = stage, total, 0, ""
            self._began = self._moved = time.monotonic()
            self._left = TimeLeft(total, self._began)
            if self._bar is None:
                self._line(f"{stage}: 0 of {total}")
                return
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
                self._left.mark(self._done, now)
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
                if self._task is None and now - self._spoke >= _SILENT:
                    self._task = self._bar.add_task("At work", total=None, note="", left="")
                elif self._task is not None:
                    self._bar.update(self._task, left=self._until(now))
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
        left = self._left.seconds(now)
        return "" if left is None else f"{_duration(left)} left"

    def _count(self, *words: str) -> None:
        self._line(
            ", ".join([f"{self._stage}: {self._done} of {self._total}", *filter(None, words)])
        )

    def _line(self, line: str) -> None:
        self._spoke = time.monotonic()
        self._stream.write(line + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    """Return a time to go, as exactly as it is known."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
