"""Prepared pixels: decoded once, memory-mapped, and found again by content and settings.

A second run over the same files decodes nothing; ten more images cost ten decodings; a file whose
content changed is decoded again, one that was only moved is not. Several processes may share a
cache: at worst both do the same work. The folder may be deleted at any time; as it holds patients'
pixels, nobody but its user may read it. `hurdles.pixels.cache` says how large it is, and empties
it.

Content hashes of many files, remembered as long as the files stay as they are.

One small JSON file per folder of images maps a name to its size, times and hash. It only saves
reading: without it, or with a damaged one, files are hashed again.

What the cache holds, how large it is, and how to empty it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from mmap import mmap
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from hurdles.data.files import file_hash, read_sealed, reads, write_sealed
from hurdles.data.machine import processors
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CacheError, ImageError, ManifestError
from hurdles.phantom.cohort import is_phantom
from hurdles.pixels.decode import decode
from hurdles.pixels.header import DEFAULT_MAX_PIXELS
from hurdles.pixels.packs import (
    Layer,
    LayeredPreparation,
    Made,
    PixelPreparation,
    layers_of,
)

__all__ = [
    "LayeredPreparation",
    "PixelPreparation",
    "Prepared",
    "cache_folder",
    "default_cache",
    "prepare",
]


#: Size, modification time and change time: a file of the same three is taken for the same file.
Signature: TypeAlias = tuple[int, int, int]

_Memory: TypeAlias = dict[str, list[int | str]]
_log = logging.getLogger("hurdles")

#: A file changed so recently could change again within one tick of a coarse clock (FAT: 2 s).
_SETTLED_NS = 3_000_000_000


@dataclass(frozen=True)
class Hashed:
    """A file and what it holds.

    Parameters
    ----------
    path : str
        The file, as it was named.
    key : str
        SHA-256 of its content, in hexadecimal digits.
    signature : tuple of int
        Size and times that it had before it was hashed: if they are the same after it was decoded,
        what was decoded is what was hashed.
    """

    path: str
    key: str
    signature: Signature


def signature(path: str | Path) -> Signature:
    """Return what tells, without reading it, that a file is still the same."""
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def content_hashes(paths: Iterable[str], store: Path, pool: Executor) -> list[Hashed | ImageError]:
    """Hash every file, in order; one that cannot be read gives its error instead."""
    paths = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - ten times as fast
    known = {folder: _load(store, folder) for folder in {os.path.split(p)[0] for p in paths}}
    results = list(pool.map(lambda path: _hashed(path, known), paths))
    fresh: dict[str, _Memory] = defaultdict(dict)
    settled = time.time_ns() - _SETTLED_NS
    for found in results:
        if isinstance(found, Hashed) and max(found.signature[1:]) < settled:
            folder, name = os.path.split(found.path)
            entry: list[int | str] = [*found.signature, found.key]
            if known[folder].get(name) != entry:
                fresh[folder][name] = entry
    for folder, entries in fresh.items():
        _save(store, folder, {**known[folder], **entries})
    return results


def _hashed(path: str, known: dict[str, _Memory]) -> Hashed | ImageError:
    folder, name = os.path.split(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - a pipe would never end
            return ImageError("it is no plain file; give an image.", path)
        before = signature(path)
        entry = known[folder].get(name)
        if entry is not None and tuple(entry[:3]) == before:
            return Hashed(path, str(entry[3]), before)
        return Hashed(path, file_hash(path), before)
    except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
        why = getattr(error, "strerror", None) or str(error)
        return ImageError(f"the file cannot be opened ({why}); check the path.", path)


def _file(store: Path, folder: str) -> Path:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()
    return store / f"{digest[:32]}.json"


def _save(store: Path, folder: str, memory: _Memory) -> None:
    try:
        write_sealed(_file(store, folder), memory)
    except OSError as error:
        _log.info("hashes of %s are not remembered: %s", folder, error)


def _load(store: Path, folder: str) -> _Memory:
    found: _Memory | None = read_sealed(_file(store, folder))
    return found or {}


#: Called with the number of images that are done and the number of all.
Progress: TypeAlias = Callable[[int, int], None]

_BATCH = 256


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
    failures : mapping of str to ImageError
        Why each image that was left out could not be used, by its name.

    Raises
    ------
    CacheError
        If there are not as many images as rows.
    """

    manifest: Manifest
    pixels: np.ndarray
    failures: Mapping[str, ImageError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.manifest) != len(self.pixels):
            raise CacheError(
                f"{len(self.pixels)} prepared images for {len(self.manifest)} rows; "
                "empty the cache (hurdles cache --empty) and run again."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    def __reduce__(self) -> tuple[Callable[..., Prepared], tuple[object, ...]]:
        # A worker process maps the same file instead of being sent a copy of every pixel.
        pixels: Any = self.pixels
        if isinstance(getattr(pixels, "base", None), mmap):  # the whole map, no part of it
            where = (pixels.filename, pixels.offset, pixels.shape)
            return _mapped, (self.manifest, *where, self.failures)
        return Prepared, (self.manifest, pixels, self.failures)

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


def _mapped(
    manifest: Manifest,
    path: str,
    offset: int,
    shape: tuple[int, ...],
    failures: Mapping[str, ImageError],
) -> Prepared:
    return Prepared(manifest, np.memmap(path, np.uint8, "r", offset, shape), failures)


def default_cache() -> Path:
    """Return ``$HURDLES_CACHE``, or the user's cache folder of this platform."""
    chosen = os.environ.get("HURDLES_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("hurdles", appauthor=False)


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return the cache's folder, made for nobody but this user where there is none.

    Parameters
    ----------
    cache : path, optional
        `default_cache` if not given.

    Raises
    ------
    CacheError
        If it cannot be made.
    """
    folder = Path(default_cache() if cache is None else cache).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if cache is None and not os.environ.get("HURDLES_CACHE") and os.name != "nt":
            folder.chmod(0o700)  # that of an earlier version was open to others
    except OSError as error:
        raise CacheError(
            f"the cache cannot be written ({error.strerror}: {folder}); free some space, or set "
            "HURDLES_CACHE to a folder that you may write to."
        ) from error
    return folder


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
    preparation : PixelPreparation or LayeredPreparation
        What becomes of decoded pixels, e.g. `hurdles.pixels.prepare.Preparation`.
    cache : path, optional
        Folder of the cache; `default_cache` if not given.
    on_bad : OnBad
        ``skip`` moves a file that cannot be read, or in which no lungs are found where they are
        needed, to the manifest's exclusions, with the reason; ``stop`` raises for the first one.
    workers : int, optional
        Threads; as many as this process may use processors if not given.
    max_pixels : int
        Limit of height times width, see `hurdles.pixels.decode.decode`.
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
    reads(manifest.frame["path"])
    reads(manifest.frame["mask"].dropna())
    folder = cache_folder(cache)
    with _threads(workers) as pool:
        work = _Work(layers_of(preparation, folder), max_pixels, on_bad, pool)
        hashed = content_hashes(manifest.frame["path"], folder / "hashes", pool)
        keys = work.keys(hashed, progress or _silent)
    good = [key for key in keys if isinstance(key, str)]
    images = zip(manifest.frame["image"], keys, strict=True)
    bad = {image: key for image, key in images if isinstance(key, ImageError)}
    if bad:
        _log.warning("%d of %d images cannot be used and are left out", len(bad), len(keys))
        manifest = manifest.without(bad.keys(), [error.message for error in bad.values()])
    return Prepared(manifest, work.pixels(good), bad)


class _Work:
    """One call of `prepare`: finds rows, decodes what is missing, keeps both."""

    def __init__(
        self, layers: Sequence[Layer], max_pixels: int, on_bad: OnBad, pool: Executor
    ) -> None:
        self.layers = layers
        self.top = layers[-1]
        self.max_pixels = max_pixels
        self.on_bad = on_bad
        self.pool = pool

    def keys(self, hashed: Sequence[Hashed | ImageError], tell: Progress) -> list[str | ImageError]:
        """Make sure that every image has a row, and return their keys, or why there is none."""
        results = [self._refused(found) for found in hashed]
        for result in results:
            if isinstance(result, ImageError) and self.on_bad is OnBad.STOP:
                raise result
        wanted = {found.key: found for found in results if isinstance(found, Hashed)}
        missing: list[Hashed] = []
        if self.top.packs.whole([f.key for f in results if isinstance(f, Hashed)]) is None:
            self.top.find(wanted)
            missing = [found for key, found in wanted.items() if key not in self.top.rows]
        failures = self._decode(missing, len(hashed), tell)
        return [
            found if isinstance(found, ImageError) else failures.get(found.key, found.key)
            for found in results
        ]

    def pixels(self, keys: Sequence[str]) -> np.ndarray:
        """Return the rows of these keys in order, memory-mapped."""
        if not keys:
            size = self.top.preparation.size
            nothing = np.empty((0, size, size), dtype=np.uint8)
            nothing.setflags(write=False)
            return nothing
        return (self.top.packs.whole(keys) or self.top.packs.write(keys, self.top.rows)).pixels

    def _refused(self, found: Hashed | ImageError) -> Hashed | ImageError:
        """Return the error of a content that some layer has refused before, else `found`."""
        if isinstance(found, ImageError):
            return found
        errors = (layer.refusals.error(found.key, found.path) for layer in self.layers)
        return next((error for error in errors if error is not None), found)

    def _decode(
        self, missing: Sequence[Hashed], total: int, tell: Progress
    ) -> dict[str, ImageError]:
        done = total - len(missing)
        tell(done, total)
        failures: dict[str, ImageError] = {}
        for layer in self.layers[:-1]:
            layer.find(found.key for found in missing)
        for start in range(0, len(missing), _BATCH):
            batch: list[Made] = []
            for made in self.pool.map(self._one, missing[start : start + _BATCH]):
                batch.append(made)
                done += 1
                tell(done, total)
            for layer in self.layers:
                layer.keep(batch)
            failures |= {made.key: made.error for made in batch if made.error is not None}
            if failures and self.on_bad is OnBad.STOP:
                raise next(iter(failures.values()))
        for layer in self.layers[:-1]:
            layer.merge()
        return failures

    def _one(self, found: Hashed) -> Made:
        """Decode a file, once for all layers that have no row of it."""
        try:
            made = self._climb(decode(found.path, max_pixels=self.max_pixels), found)
            if signature(found.path) == found.signature:
                return made
            error = ImageError("the file changed while it was read; run again.", found.path)
        except CacheError:
            raise  # the preparation's fault, not the file's
        except ImageError as caught:
            error = caught
        except OSError as caught:
            error = ImageError(f"the file vanished while it was read ({caught}).", found.path)
        return Made(found.key, error=error)

    def _climb(self, pixels: np.ndarray, found: Hashed) -> Made:
        rows: dict[Layer, np.ndarray] = {}
        lower: np.ndarray | None = None
        for layer in self.layers:
            row = layer.rows.get(found.key)
            if row is None:
                try:
                    row = rows[layer] = layer.make(pixels, lower, found.path)
                except ImageError as error:
                    return Made(found.key, rows, error, refused_by=layer)
            lower = row
        return Made(found.key, rows)


def _silent(done: int, total: int) -> None:
    """Progress that nobody follows."""


@contextmanager
def _threads(workers: int | None) -> Iterator[Executor]:
    """Yield a pool that, when interrupted, does not first finish all that is queued."""
    pool = ThreadPoolExecutor(workers or processors())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
