"""Options of how work is carried out, apart from its results, and its progress."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from hurdles.data.vocabulary import OnBad

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

#: Seconds in which the first steps are done by no machine: they are those of an earlier session.
_AT_ONCE = 1.0
#: A step that takes so many times as long as the others is another kind of step.
_OVERRUN = 3
#: Marks that are kept of one stage at most.
_MARKS = 256


class Progress(Protocol):
    """A listener to the progress of work: a progress bar, a log."""

    def start(self, stage: str, total: int, costs: Sequence[float] = ()) -> None:
        """Begin a stage of `total` steps; the one before it is over.

        `costs` says how long each step takes beside the others, where they are not alike.
        """

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done, and what is worth a glance."""

    def say(self, line: str) -> None:
        """Say one line that should stay on the screen."""


class Silent:
    """A listener that does nothing: the library's default."""

    def start(self, stage: str, total: int, costs: Sequence[float] = ()) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


class TimeLeft:
    """An estimate of the time that a stage will take yet, from the pace of its later half.

    The first half of the steps done so far is left out, since a start is often slow: caches fill,
    libraries load, processes begin. So are the steps of an earlier session, which took no time.
    Where steps are not alike, all is counted in what they cost; `step` is the cost of the one in
    work.
    """

    def __init__(self, total: float, now: float) -> None:
        self.total, self.step, self._began = total, 1.0, now
        self._marks: list[tuple[float, float]] = []

    def mark(self, done: float, now: float) -> None:
        """Note that so many steps are done, or so much of what they cost."""
        if not self._marks and now - self._began >= _AT_ONCE:
            self._marks.append((self._began, 0))
        self._marks.append((now, done))
        if len(self._marks) > _MARKS:
            del self._marks[1:-1:2]

    def seconds(self, now: float) -> float | None:
        """Return the estimate; None while there is none, a step drags on, or nothing is left."""
        if len(self._marks) < 2 or self._marks[-1][1] >= self.total:
            return None
        last, done = self._marks[-1]
        half = (self._marks[0][1] + done) / 2
        since, before = next(m for m in reversed(self._marks) if m[1] <= half)
        if done == before:
            return None
        pace = (last - since) / (done - before)
        left = self.total - done
        if now - last > _OVERRUN * self.step * pace + _AT_ONCE:
            return None  # steps are not alike, and this pace says nothing
        # The step in work takes its time already, but is not done before it is done.
        return max(left * pace - (now - last), (left - self.step) * pace)

    def words(self, now: float) -> str:
        """Return the estimate as it is read; empty while there is none."""
        left = self.seconds(now)
        if left is None:
            return ""
        minutes = left / 60
        return (
            f"{left:.0f} s left"
            if minutes < 2
            else f"{minutes:.0f} min left"
            if minutes < 120
            else f"{minutes / 60:.1f} h left"
        )


@dataclass(frozen=True)
class Options:
    """Options that change how work is carried out but not its results.

    `on_bad`: unreadable images are skipped and listed, or stop the work; `cache`: where prepared
    pixels are kept, default the user's cache folder; `pictures`: radiographs, patients' pixels, are
    shown on the pages, which go where the pages go.
    """

    on_bad: OnBad = OnBad.SKIP
    cache: Path | None = None
    progress: Progress | None = None
    pictures: bool = True

    @property
    def listener(self) -> Progress:
        """The listener to progress; a silent one where none was given."""
        return self.progress or Silent()


def counting(listener: Progress, stage: str) -> Callable[[int, int], None]:
    """Return a function of the steps done and of all that tells a listener, from its first call."""
    before: int | None = None

    def count(done: int, total: int) -> None:
        nonlocal before
        if before is None:
            listener.start(stage, total)
        listener.advance(done - (before or 0))
        before = done

    return count


def processors() -> int:
    """Return the number of processors that this process may use; not every system tells."""
    affinity = getattr(os, "sched_getaffinity", None)  # os.process_cpu_count: from Python 3.13 on
    return len(affinity(0)) if affinity else os.cpu_count() or 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let each matrix product keep to the thread that asks for it, where those are threads already.

    Several threads of a small product wait for one another by spinning, which on a busy machine
    costs several times the product; and sums have the same bits on any number of processors.
    """
    with _thread_pools().limit(limits=1, user_api="blas"):
        yield


@cache
def _thread_pools() -> ThreadpoolController:
    """Return what sets the numbers of threads; looking for the libraries takes a while."""
    import numpy  # noqa: F401 - only libraries that are loaded are found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
#: Bytes from which on a block has pages of its own. Earlier versions refuse more than the second,
#: and once another option is set would stay at 128 KiB.
_LARGEST = (1 << 30, 32 << 20)


@cache
def keep_big_blocks() -> bool:
    """Tell the C library to keep big blocks instead of returning them to the kernel.

    A training step, or the decoding of a large image, allocates and frees many megabytes; each
    returned block is zeroed again by the kernel when it comes back. Keeping them spares that. Takes
    effect for later allocations of this process; does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    done = [any(libc.mallopt(_M_MMAP_THRESHOLD, size) for size in _LARGEST)]
    options = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 256 << 20}
    done += [bool(libc.mallopt(option, size)) for option, size in options.items()]
    return all(done)


def give_back_memory() -> None:
    """Return to the kernel what `keep_big_blocks` has kept, once a stage is over.

    What comes next asks for blocks of other sizes, which would come on top.
    """
    if keep_big_blocks():
        ctypes.CDLL("libc.so.6").malloc_trim(0)
