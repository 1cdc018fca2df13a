"""Warnings about a file that is read all the same: each names its file.

pydicom and Pillow warn through Python's `warnings`, whose filters belong to all threads at once and
whose texts name no file. Here they are caught while a file is read, and logged with its path.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

#: A collection may have thousands of files of one kind: so many of them are warned of, the rest is
#: logged for debugging.
_WARNED_OF_ONE_KIND = 5

_log = logging.getLogger("hurdles.data")  # which the command line speaks
_path: ContextVar[Path | None] = ContextVar("_path", default=None)
_counts: Counter[str] = Counter()


def notice(kind: str, message: str) -> None:
    """Warn about the file that is being read."""
    _counts[kind] += 1
    last = " (more files like this are not listed)"
    _log.log(
        logging.WARNING if _counts[kind] <= _WARNED_OF_ONE_KIND else logging.DEBUG,
        "%s: %s%s", _path.get() or "a file", message,
        last if _counts[kind] == _WARNED_OF_ONE_KIND else "",
    )  # fmt: skip


@contextmanager
def about(path: str | Path) -> Iterator[None]:
    """Name `path` in every notice, and in every Python warning, until the block ends."""
    token = _path.set(Path(path))
    try:
        with _SHARED:
            yield
    finally:
        _path.reset(token)


class _SharedCatch:
    """One `warnings.catch_warnings` for all threads that read files at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._catch = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            self._catch = warnings.catch_warnings()
            self._catch.__enter__()
            usual = warnings.showwarning

            def show(message: Warning | str, *rest: Any, **more: Any) -> None:
                if _path.get() is None:  # of a thread that reads no file
                    usual(message, *rest, **more)
                else:
                    notice(f"{type(message).__name__} {message}", str(message))

            warnings.simplefilter("always")
            warnings.showwarning = show

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._catch.__exit__(None, None, None)


_SHARED = _SharedCatch()


def _add_path(record: logging.LogRecord) -> bool:
    """Name the file in what pydicom logs beside its warnings."""
    if _path.get() is not None:
        record.msg = f"{_path.get()}: {record.msg}"
    return True


logging.getLogger("pydicom").addFilter(_add_path)
