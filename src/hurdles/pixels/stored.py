"""What the cache holds, how large it is, and how to empty it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hurdles.phantom.store import is_phantom
from hurdles.pixels.cache import default_cache

# What hurdles writes into a cache; anything else there is somebody else's.
_PATTERNS = (
    "*-d*/*.pack",
    "*-d*/*.batch",
    "*-d*/refused.json",
    "*-d*/.*.part",
    "hashes/*.json",
    "hashes/.*.part",
)


@dataclass(frozen=True)
class Stored:
    """What a cache holds.

    Parameters
    ----------
    folder : Path
        The cache.
    n_files, n_bytes : int
        Of files that hurdles wrote there.
    """

    folder: Path
    n_files: int
    n_bytes: int

    def __str__(self) -> str:
        return f"{self.folder}: {self.n_files} files, {self.n_bytes / 1e6:,.1f} MB"


def stored(cache: str | Path | None = None) -> Stored:
    """Return how much a cache holds."""
    folder = Path(cache or default_cache())
    sizes = [path.stat().st_size for path in _files(folder)]
    return Stored(folder, len(sizes), sum(sizes))


def empty_cache(cache: str | Path | None = None) -> Stored:
    """Remove what hurdles has put into a cache, and nothing else; return what was removed."""
    held = stored(cache)
    files = list(_files(held.folder))
    for path in files:
        path.unlink(missing_ok=True)
    for folder in sorted({path.parent for path in files}, reverse=True):
        while folder != held.folder:
            with contextlib.suppress(OSError):  # something else lies in it
                folder.rmdir()
            folder = folder.parent
    return held


def _files(folder: Path) -> Iterator[Path]:
    for pattern in _PATTERNS:
        yield from (path for path in folder.glob(pattern) if path.is_file())
    for phantom in folder.glob("phantom-*"):
        if is_phantom(phantom):
            yield from (path for path in phantom.rglob("*") if path.is_file())
