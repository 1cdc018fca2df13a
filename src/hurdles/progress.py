"""Options of how work is carried out, apart from its results, and its progress."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from hurdles.data.vocabulary import OnBad


class Progress(Protocol):
    """A listener to the progress of work: a progress bar, a log."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps; the one before it is over."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done, and what is worth a glance."""

    def say(self, line: str) -> None:
        """Say one line that should stay on the screen."""


class Silent:
    """A listener that does nothing: the library's default."""

    def start(self, stage: str, total: int) -> None:
        """Do nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""


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


# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


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
    options = {_M_MMAP_THRESHOLD: 1 << 30, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 256 << 20}
    done = [libc.mallopt(option, size) for option, size in options.items()]
    return all(done)
