"""Prepared pixels: decoded once, memory-mapped, and found again by content and settings.

A second run over the same files decodes nothing; ten more images cost ten decodings; a file whose
content changed is decoded again, one that was only moved is not. Several processes may share a
cache: at worst both do the same work. The folder may be deleted at any time; as it holds patients'
pixels, nobody but its user may read it.

A preparation may need another one's result of the same pixels, as the lungs are cut out by their
mask. Each is a layer with a folder of its own key (`hurdles.pixels.packs`), so that what lies
beneath is made once for all preparations that need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from hurdles.data.files import file_hash, read_sealed, reads, write_sealed
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import OnBad
from hurdles.errors import CacheError, ImageError, LungsNotFoundError, ManifestError
from hurdles.phantom.cohort import is_phantom
from hurdles.pixels.decode import DECODER_VERSION, decode_levels
from hurdles.pixels.header import DEFAULT_MAX_PIXELS
from hurdles.pixels.packs import Packs, Refusals, writing
from hurdles.pixels.raster import unit
from hurdles.progress import keep_big_blocks, processors

__all__ = ["PixelPreparation", "Prepared", "default_cache", "prepare"]

#: Called with the number of images that are done and the number of all.
Progress: TypeAlias = Callable[[int, int], None]

_log = logging.getLogger("hurdles")
#: A file changed so recently could change again within one tick of a coarse clock (FAT: 2 s).
_SETTLED_NS = 3_000_000_000
#: A batch is put away when it takes so much memory, or after so many seconds: a killed run loses no
#: more, and what is prepared sooner is written once.
_BATCH_BYTES, _BATCH_S = 64 << 20, 10.0
_PIECE = 8


class PixelPreparation(Protocol):
    """Settings that turn decoded pixels into stored ones, as `hurdles.pixels.prepare.Preparation`.

    One with an attribute ``beneath``, another preparation whose key is part of its own, is called
    with the result of that one as its second argument; None: nothing has to be prepared first. One
    with a method ``leaves`` is not called for bytes that it would leave as they are.
    """

    @property
    def size(self) -> int:
        """Height and width of the result."""

    @property
    def key(self) -> str:
        """All settings and the version of the algorithm: equal keys mean equal results."""

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        """Turn ``float32`` pixels (H, W) in [0, 1] into ``uint8`` (size, size)."""


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
    keep_big_blocks()
    pool = ThreadPoolExecutor(workers or processors())
    try:
        layers = _layers_of(preparation, folder)
        sources = _hashed(manifest.frame["path"], folder / "hashes", pool)
        work = _Work(layers, max_pixels, on_bad, pool, progress or (lambda *_: None))
        keys = work.keys(sources)
    finally:  # when interrupted, what is queued is not finished first
        pool.shutdown(wait=True, cancel_futures=True)
    images = zip(manifest.frame["image"], keys, strict=True)
    bad = {image: key for image, key in images if isinstance(key, ImageError)}
    if bad:
        _log.warning("%d of %d images cannot be used and are left out", len(bad), len(keys))
        manifest = manifest.without(bad.keys(), [error.message for error in bad.values()])
    good = [key for key in keys if isinstance(key, str)]
    return Prepared(manifest, layers[-1].pixels(good), bad)


# --- contents ------------------------------------------------------------------------------------


def contents_of(manifest: Manifest, *, cache: str | Path | None = None) -> list[str | ImageError]:
    """Return the SHA-256 of every file of a manifest, in order, or why it cannot be opened.

    What the cache has hashed before, and has not changed since, is not read again.
    """
    with ThreadPoolExecutor(processors()) as pool:
        sources = _hashed(manifest.frame["path"], cache_folder(cache) / "hashes", pool)
    return [each if isinstance(each, ImageError) else each.key for each in sources]


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def _in_pieces(
    pool: Executor, work: Callable[[_Item], _Result], items: Sequence[_Item]
) -> Iterator[_Result]:
    """Do work in order, several items a task: a task costs as much as a small image."""

    def do(start: int) -> list[_Result]:
        return [work(item) for item in items[start : start + _PIECE]]

    for done in pool.map(do, range(0, len(items), _PIECE)):
        yield from done


class _Source(NamedTuple):
    """A file with the SHA-256 of its content and the signature that it had before it was hashed."""

    path: str
    key: str
    signature: tuple[int, int, int]


def _signature(state: os.stat_result) -> tuple[int, int, int]:
    """Return size, modification time and change time: files of the same three are not read."""
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _hashed(paths: Iterable[str], store: Path, pool: Executor) -> list[_Source | ImageError]:
    """Hash every file, in order; one that cannot be read gives its error instead.

    One small JSON file per folder of images maps a name to its signature and hash. Without it, or
    with a damaged one, files are hashed again.
    """
    places = [os.path.split(os.path.abspath(path)) for path in paths]  # noqa: PTH100 - of thousands
    folders = {folder for folder, _ in places}
    files = {f: store / f"{hashlib.sha256(os.fsencode(f)).hexdigest()[:32]}.json" for f in folders}
    known = {folder: read_sealed(file) or {} for folder, file in files.items()}

    def source(place: tuple[str, str], *, remembered: bool) -> _Source | ImageError | None:
        """Return the file at a place with its hash; None where that is not remembered."""
        path = os.path.join(*place)  # noqa: PTH118 - of thousands of files
        try:
            state = os.stat(path)  # noqa: PTH116 - of thousands of files
            if not stat.S_ISREG(state.st_mode):  # a pipe would never end
                return ImageError("it is no plain file; give an image.", path)
            before = _signature(state)
            if not remembered:
                return _Source(path, file_hash(path), before)
            entry = known[place[0]].get(place[1])
            if entry is None or tuple(entry[:3]) != before:
                return None
            return _Source(path, str(entry[3]), before)
        except (OSError, ValueError) as error:  # a NUL in the name is a ValueError
            why = getattr(error, "strerror", None) or str(error)
            return ImageError(f"the file cannot be opened ({why}); check the path.", path)

    # Not in threads: they would take turns for what is quicker than handing it over.
    sources = [source(place, remembered=True) for place in places]
    new = [i for i, known_source in enumerate(sources) if known_source is None]
    hashes = _in_pieces(pool, partial(source, remembered=False), [places[i] for i in new])
    settled = time.time_ns() - _SETTLED_NS
    changed = set()
    for i, hashed in zip(new, hashes, strict=True):
        sources[i] = hashed
        if isinstance(hashed, _Source) and max(hashed.signature[1:]) < settled:
            folder, name = places[i]
            known[folder][name] = [*hashed.signature, hashed.key]
            changed.add(folder)
    for folder in changed:
        try:
            write_sealed(files[folder], known[folder], synced=False)
        except OSError as error:
            _log.info("hashes of %s are not remembered: %s", folder, error)
    return [each for each in sources if each is not None]


# --- preparations, one above another -------------------------------------------------------------


class _Layer:
    """One preparation with its rows, and the contents that it refuses."""

    def __init__(self, preparation: PixelPreparation, cache: Path) -> None:
        self.preparation = preparation
        self.leaves: Callable[[np.ndarray], bool] = getattr(preparation, "leaves", lambda _: False)
        folder = cache / f"{preparation.key}-d{DECODER_VERSION}"
        self.packs = Packs(folder, preparation.size)
        self.refusals = Refusals(folder)
        self.rows: dict[str, np.ndarray] = {}

    def make(self, pixels: np.ndarray, lower: np.ndarray | None, path: str) -> np.ndarray:
        """Prepare one image; `lower` is its row of the layer beneath."""
        arguments = (pixels,) if lower is None else (pixels, lower)
        try:
            row = self.preparation(*arguments)
        except ImageError as error:
            error.path = error.path or Path(path)
            raise
        size = self.preparation.size
        if row.shape != (size, size) or row.dtype != np.uint8:
            raise CacheError(
                f"preparation {self.preparation.key!r} made {row.dtype} {row.shape} of {path}; it "
                f"must make uint8 ({size}, {size})."
            )
        return row

    def keep(self, batch: Sequence[_Made], *, in_memory: bool = False) -> None:
        """Put away what this layer made or refused of a batch of files."""
        rows = {made.key: made.rows[self] for made in batch if self in made.rows}
        if rows:
            self.rows |= rows if in_memory else self.packs.put_away(rows)
        refused = {made.key: made.error for made in batch if made.refused_by is self}
        self.refusals.put_away(
            {key: error for key, error in refused.items() if isinstance(error, LungsNotFoundError)}
        )

    def pixels(self, keys: Sequence[str]) -> np.ndarray:
        """Return the rows of these keys in order, memory-mapped."""
        if keys:
            return (self.packs.whole(keys) or self.packs.write(keys, self.rows)).pixels
        size = self.preparation.size
        nothing = np.empty((0, size, size), dtype=np.uint8)
        nothing.setflags(write=False)
        return nothing


def _layers_of(preparation: PixelPreparation, cache: Path) -> list[_Layer]:
    """Return a preparation and all that lies beneath it, the lowest first."""
    layers: list[_Layer] = []
    current: PixelPreparation | None = preparation
    while current is not None:
        layers.insert(0, _Layer(current, cache))
        current = getattr(current, "beneath", None)
    return layers


class _Made(NamedTuple):
    """The rows made of one file, by layer, or why it cannot be used and which layer refused it."""

    key: str
    rows: dict[_Layer, np.ndarray]
    error: ImageError | None = None
    refused_by: _Layer | None = None


@dataclass(frozen=True)
class _Work:
    """One call of `prepare`: finds rows, decodes what is missing, keeps both."""

    layers: list[_Layer]
    max_pixels: int
    on_bad: OnBad
    pool: Executor
    tell: Progress

    def keys(self, sources: Sequence[_Source | ImageError]) -> list[str | ImageError]:
        """Make sure that every image has a row, and return their keys, or why there is none."""
        refusals = [layer.refusals for layer in self.layers if layer.refusals]

        def unless_refused(source: _Source | ImageError) -> _Source | ImageError:
            if isinstance(source, ImageError) or not refusals:
                return source
            errors = (each.error(source.key, source.path) for each in refusals)
            return next((error for error in errors if error is not None), source)

        results = [unless_refused(source) for source in sources]
        for result in results:
            if isinstance(result, ImageError) and self.on_bad is OnBad.STOP:
                raise result
        usable = [source for source in results if isinstance(source, _Source)]
        top, missing = self.layers[-1], {}
        if top.packs.whole([source.key for source in usable]) is None:
            wanted = {source.key: source for source in usable}
            top.rows = top.packs.rows(wanted)
            missing = {key: source for key, source in wanted.items() if key not in top.rows}
        failures = self._decode(missing, len(results))
        return [
            source if isinstance(source, ImageError) else failures.get(source.key, source.key)
            for source in results
        ]

    def _decode(self, missing: Mapping[str, _Source], total: int) -> dict[str, ImageError]:
        """Make the missing rows of all layers, batch by batch, and return what cannot be used.

        Of the highest layer the last batch is left in memory: the whole set is written next.
        """
        failures: dict[str, ImageError] = {}
        *lower, top = self.layers
        for layer in lower:
            layer.rows = layer.packs.rows(missing)
        left = len(missing)
        for batch in self._batches(list(missing.values()), total):
            left -= len(batch)
            failures |= {made.key: made.error for made in batch if made.error is not None}
            stops = bool(failures) and self.on_bad is OnBad.STOP
            for layer in lower:
                layer.keep(batch)
            top.keep(batch, in_memory=not left and not stops)
            if stops:
                raise next(iter(failures.values()))
        for layer in lower:
            layer.packs.merge()
        return failures

    def _batches(self, sources: Sequence[_Source], total: int) -> Iterator[list[_Made]]:
        """Make rows, and yield them whenever enough are there."""
        most = _BATCH_BYTES // sum(layer.preparation.size**2 for layer in self.layers)
        done = total - len(sources)
        self.tell(done, total)
        batch: list[_Made] = []
        began = time.monotonic()
        for made in _in_pieces(self.pool, self._make, sources):
            batch.append(made)
            done += 1
            self.tell(done, total)
            if done == total or len(batch) >= most or time.monotonic() - began > _BATCH_S:
                yield batch
                batch, began = [], time.monotonic()

    def _make(self, source: _Source) -> _Made:
        """Decode a file, once for all layers that have no row of it."""
        try:
            levels = decode_levels(source.path, max_pixels=self.max_pixels)
            made = self._climb(levels, source)
            if _signature(os.stat(source.path)) == source.signature:  # noqa: PTH116 - once a file
                return made
            error = ImageError("the file changed while it was read; run again.", source.path)
        except CacheError:
            raise  # the preparation's fault, not the file's
        except ImageError as caught:
            error = caught
        except OSError as caught:
            error = ImageError(f"the file vanished while it was read ({caught}).", source.path)
        return _Made(source.key, {}, error)

    def _climb(self, levels: np.ndarray, source: _Source) -> _Made:
        """Make the rows that are missing from the lowest layer to the highest."""
        rows: dict[_Layer, np.ndarray] = {}
        lower: np.ndarray | None = None
        for layer in self.layers:
            row = layer.rows.get(source.key)
            if row is None and layer.leaves(levels):
                row = rows[layer] = levels
            if row is None:
                levels = unit(levels)
                try:
                    row = rows[layer] = layer.make(levels, lower, source.path)
                except ImageError as error:
                    return _Made(source.key, rows, error, layer)
            lower = row
        return _Made(source.key, rows)


# --- the folder ----------------------------------------------------------------------------------

#: Files that hurdles writes into a cache; anything else there is somebody else's.
_PATTERNS = (
    "*-d*/*.pack",
    "*-d*/*.batch",
    "*-d*/refused.json",
    "*-d*/.*.part",
    "hashes/*.json",
    "hashes/.*.part",
    "engines/*.onnx",  # networks of runs, and how fast they were answered
    "engines/*.json",
    "engines/.*.part",
)


def default_cache() -> Path:
    """Return ``$HURDLES_CACHE``, or the user's cache folder of this platform."""
    chosen = os.environ.get("HURDLES_CACHE")
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("hurdles", appauthor=False)


def cache_folder(cache: str | Path | None = None) -> Path:
    """Return the cache's folder, made for nobody but this user where there is none."""
    folder = Path(default_cache() if cache is None else cache).absolute()
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if cache is None and not os.environ.get("HURDLES_CACHE") and os.name != "nt":
            folder.chmod(0o700)  # that of an earlier version was open to others
    return folder


@dataclass(frozen=True)
class Stored:
    """The size of a cache: its folder, and the files that hurdles wrote there."""

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
