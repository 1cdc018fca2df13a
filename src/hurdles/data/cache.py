"""Prepared pixels: decoded once, memory-mapped, and found again by content and settings.

A second run over the same files decodes nothing; ten more images cost ten decodings; a file whose
content changed is decoded again, one that was only moved is not. Several processes may share a
cache: at worst both do the same work. The folder may be deleted at any time.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from hurdles.data.decode import DECODER_VERSION, decode
from hurdles.data.hashes import Hashed, content_hashes, signature
from hurdles.data.header import DEFAULT_MAX_PIXELS
from hurdles.data.manifest import Manifest
from hurdles.data.packs import Packs
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CacheError, ImageError, ManifestError

__all__ = ["PixelPreparation", "Prepared", "default_cache", "prepare"]

#: Called with the number of images that are done and the number of all.
Progress: TypeAlias = Callable[[int, int], None]

_BATCH = 256
_log = logging.getLogger("hurdles")


class PixelPreparation(Protocol):
    """What turns decoded pixels into stored ones; `hurdles.imaging.prepare` has the usual one."""

    @property
    def size(self) -> int:
        """Height and width of the result."""

    @property
    def key(self) -> str:
        """All settings and the version of the algorithm: equal keys mean equal results."""

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        """Turn ``float32`` (H, W) in [0, 1] into ``uint8`` (size, size)."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A manifest and its pixels, row by row.

    Parameters
    ----------
    manifest : Manifest
        The images that could be read, in their order; those that could not are among its
        exclusions, with the reason.
    pixels : ndarray of uint8, shape (N, size, size)
        Row i belongs to row i of the manifest. Memory-mapped and read-only.

    Raises
    ------
    CacheError
        If there are not as many images as rows.
    """

    manifest: Manifest
    pixels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.manifest) != len(self.pixels):
            raise CacheError(
                f"{len(self.pixels)} prepared images for {len(self.manifest)} rows; "
                "delete the cache and run again."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __reduce__(self) -> tuple[Callable[..., Prepared], tuple[object, ...]]:
        # A worker process maps the same file instead of being sent a copy of every pixel.
        pixels: Any = self.pixels
        if isinstance(getattr(pixels, "base", None), mmap):  # the whole map, no part of it
            return _mapped, (self.manifest, pixels.filename, pixels.offset, pixels.shape)
        return Prepared, (self.manifest, pixels)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {image: i for i, image in enumerate(self.manifest.frame["image"])}

    def index(self, images: Iterable[str]) -> np.ndarray:
        """Return the positions of named images, in the order in which they are named.

        Raises
        ------
        ManifestError
            If a name is not among the images that were read.
        """
        names = list(images)
        missing = [name for name in names if name not in self._positions]
        if missing:
            raise ManifestError(
                f"{len(missing)} of {len(names)} images were not prepared, the first is "
                f"{missing[0]!r}; they were skipped as unreadable, or are of another manifest."
            )
        return np.array([self._positions[name] for name in names], dtype=np.int64)


def _mapped(manifest: Manifest, path: str, offset: int, shape: tuple[int, ...]) -> Prepared:
    return Prepared(manifest, np.memmap(path, np.uint8, "r", offset, shape))


def default_cache() -> Path:
    """Return ``$HURDLES_CACHE``, or the user's cache folder of this platform."""
    chosen = os.environ.get("HURDLES_CACHE")
    if chosen:
        return Path(chosen)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "hurdles"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hurdles"


def prepare(
    manifest: Manifest,
    preparation: PixelPreparation,
    *,
    cache: str | Path | None = None,
    on_bad: OnBad | str = OnBad.SKIP,
    workers: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Prepared:
    """Decode and prepare every image of a manifest, or find them in the cache.

    Parameters
    ----------
    manifest : Manifest
        Which images.
    preparation : PixelPreparation
        What becomes of decoded pixels, e.g. `hurdles.imaging.prepare.Preparation`.
    cache : path, optional
        Folder of the cache; `default_cache` if not given.
    on_bad : OnBad
        ``skip`` moves a file that cannot be read to the manifest's exclusions, with the reason;
        ``stop`` raises for the first one.
    workers : int, optional
        Threads; as many as this process may use processors if not given.
    max_pixels : int
        Limit of height times width, see `hurdles.data.decode.decode`.
    progress : callable, optional
        Called as ``progress(done, total)`` from this thread.

    Returns
    -------
    Prepared
        ``len(manifest) == len(prepared) + skipped``, always.

    Raises
    ------
    ImageError
        With the path, if `on_bad` is ``stop``.
    CacheError
        If the cache cannot be written.
    """
    on_bad = OnBad(on_bad)
    folder = Path(default_cache() if cache is None else cache).absolute()
    packs = Packs(folder / f"{preparation.key}-d{DECODER_VERSION}", preparation.size)
    with _threads(workers) as pool:
        work = _Work(packs, preparation, max_pixels, on_bad, pool)
        hashed = content_hashes(manifest.frame["path"], folder / "hashes", pool)
        keys = work.keys(hashed, progress or _silent)
    good = [key for key in keys if isinstance(key, str)]
    images = zip(manifest.frame["image"], keys, strict=True)
    bad = {image: key.message for image, key in images if isinstance(key, ImageError)}
    if bad:
        _log.warning("%d of %d images cannot be read and are left out", len(bad), len(keys))
    pixels = work.pixels(good)
    return Prepared(manifest.without(bad.keys(), bad.values()) if bad else manifest, pixels)


class _Work:
    """One call of `prepare`: finds rows, decodes what is missing, keeps both."""

    def __init__(
        self,
        packs: Packs,
        preparation: PixelPreparation,
        max_pixels: int,
        on_bad: OnBad,
        pool: Executor,
    ) -> None:
        self.packs = packs
        self.preparation = preparation
        self.max_pixels = max_pixels
        self.on_bad = on_bad
        self.pool = pool
        self.rows: dict[str, np.ndarray] = {}

    def keys(self, hashed: Sequence[Hashed | ImageError], tell: Progress) -> list[str | ImageError]:
        """Make sure that every image has a row, and return their keys, or why there is none."""
        for found in hashed:
            if isinstance(found, ImageError) and self.on_bad is OnBad.STOP:
                raise found
        contents = {found.key: found for found in hashed if isinstance(found, Hashed)}
        if self.packs.whole([f.key for f in hashed if isinstance(f, Hashed)]) is None:
            self.rows = self.packs.rows(contents)
            missing = [found for key, found in contents.items() if key not in self.rows]
        else:
            missing = []
        failures = self._decode(missing, len(hashed), tell)
        return [
            found if isinstance(found, ImageError) else failures.get(found.key, found.key)
            for found in hashed
        ]

    def pixels(self, keys: Sequence[str]) -> np.ndarray:
        """Return the rows of these keys in order, memory-mapped."""
        if not keys:
            nothing = np.empty((0, self.preparation.size, self.preparation.size), dtype=np.uint8)
            nothing.setflags(write=False)
            return nothing
        return (self.packs.whole(keys) or self.packs.write(keys, self.rows)).pixels

    def _decode(
        self, missing: Sequence[Hashed], total: int, tell: Progress
    ) -> dict[str, ImageError]:
        done = total - len(missing)
        tell(done, total)
        failures: dict[str, ImageError] = {}
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            made: dict[str, np.ndarray] = {}
            for found, result in zip(batch, self.pool.map(self._one, batch), strict=True):
                if isinstance(result, ImageError):
                    failures[found.key] = result
                else:
                    made[found.key] = result
                done += 1
                tell(done, total)
            if made:
                self.rows |= self.packs.put_away(made)
            if failures and self.on_bad is OnBad.STOP:
                raise next(iter(failures.values()))
        return failures

    def _one(self, found: Hashed) -> np.ndarray | ImageError:
        try:
            prepared = self.preparation(decode(found.path, max_pixels=self.max_pixels))
            if signature(found.path) != found.signature:
                return ImageError("the file changed while it was read; run again.", found.path)
        except ImageError as error:
            return error
        except OSError as error:
            return ImageError(f"the file vanished while it was read ({error}).", found.path)
        size = self.preparation.size
        if prepared.shape != (size, size) or prepared.dtype != np.uint8:
            raise CacheError(
                f"preparation {self.preparation.key!r} made {prepared.dtype} {prepared.shape} of "
                f"{found.path}; it must make uint8 ({size}, {size})."
            )
        return prepared


def _processors() -> int:
    # os.process_cpu_count comes with Python 3.13
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _silent(done: int, total: int) -> None:
    """Progress that nobody follows."""


@contextmanager
def _threads(workers: int | None) -> Iterator[Executor]:
    """Yield a pool that, when interrupted, does not first finish all that is queued."""
    pool = ThreadPoolExecutor(workers or _processors())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
