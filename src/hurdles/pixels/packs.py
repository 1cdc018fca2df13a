"""Packs: files that hold prepared images, each row known by the content it was made from.

A pack is a NumPy file (``numpy.load`` opens it) of ``uint8`` (N, size, size), followed by a JSON
footer that names every row's content hash and checksum, and by the footer's length and checksum.
It is written beside and renamed into place, so it is whole or absent. What is used of it is held
against its checksums before: a damaged row is made anew.

Any pack serves as a source for another: a set with ten new images copies the old rows and decodes
ten. What is decoded is put away in small packs as it comes (``*.batch``), so that a killed run
loses little, and these are removed once a whole set (``*.pack``) holds their rows.

What a preparation could not use, remembered: looking for lungs twice would not find them.

One small JSON file beside the packs of a preparation maps the hash of a file's content to the
reason. Only refusals that follow from the content and the preparation's key alone are kept; a file
that cannot be decoded is tried again each time, since another decoder may be installed by then.

Preparations one above another: what a lung mask is to the image that is masked by it.

Every layer keeps its rows in a folder of its own key, so that what lies beneath is made once for
all preparations that need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from hurdles.data.files import read_sealed, replacing, sweep, write_sealed
from hurdles.errors import CacheError, ImageError, LungsNotFoundError
from hurdles.pixels.decode import DECODER_VERSION

_MAGIC = b"hurdles1"
_TAIL = struct.Struct("<QI8s")  # footer length, footer checksum, magic
#: Packs of which every row was found intact, as they were then: within a process that is enough.
_VERIFIED: set[tuple[str, int, int, int]] = set()


@dataclass(frozen=True, eq=False)
class Pack:
    """An open pack.

    Parameters
    ----------
    path : Path
        The file.
    keys : list of str
        SHA-256 of the file that each row was made from; N of them.
    checksums : list of int
        CRC of each row, as it was written; N of them.
    pixels : uint8 array of shape (N, size, size)
        Memory-mapped and read-only.
    """

    path: Path
    keys: list[str]
    checksums: list[int]
    pixels: np.ndarray

    def is_intact(self, row: int) -> bool:
        """Whether a row is byte for byte what was written."""
        return _checksum(self.pixels[row]) == self.checksums[row]

    def is_whole(self) -> bool:
        """Whether every row is; a file that stays as it is is read through once a process."""
        state = self.path.stat()
        known = (str(self.path), state.st_ino, state.st_size, state.st_mtime_ns)
        if known not in _VERIFIED:
            if not all(self.is_intact(row) for row in range(len(self.keys))):
                return False
            _VERIFIED.add(known)
        return True


class Packs:
    """All packs of one preparation.

    Parameters
    ----------
    folder : Path
        Where they lie; made where it is missing.
    size : int
        Height and width of every image.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        with _writing(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sweep(folder)

    def whole(self, keys: Sequence[str]) -> Pack | None:
        """Return the pack of exactly these rows in this order, or None; all of it is intact."""
        pack = self._open(self._path(keys, "pack"))
        if pack is None or pack.keys != list(keys) or not pack.is_whole():
            return None
        self._remove_batches(keys)  # of a process that was killed before it came to that
        return pack

    def rows(self, keys: Iterable[str]) -> dict[str, np.ndarray]:
        """Return the images that some pack holds intact, by key; they stay memory-mapped."""
        wanted = set(keys)
        found: dict[str, np.ndarray] = {}
        for pack in self._all():
            for row, key in enumerate(pack.keys):
                if key in wanted and pack.is_intact(row):
                    found[key] = pack.pixels[row]
                    wanted.discard(key)
            if not wanted:
                break
        return found

    def put_away(self, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Write a batch of images and return them memory-mapped."""
        path = self._path(list(rows), "batch")
        self._write(path, rows, list(rows))
        pack = self._open(path)
        # Another process may have merged and removed it already: then memory keeps it.
        return dict(rows) if pack is None else dict(zip(pack.keys, pack.pixels, strict=True))

    def write(self, keys: Sequence[str], rows: dict[str, np.ndarray]) -> Pack:
        """Write and open the pack of these rows in this order; remove batches it makes needless."""
        path = self._path(keys, "pack")
        self._write(path, rows, keys)
        pack = self._open(path)
        if pack is None:
            raise CacheError(f"{path} was written but cannot be read back; choose another cache.")
        self._remove_batches(keys)
        return pack

    def merge(self) -> None:
        """Write the rows of all batches into one pack, also those that a killed process left."""
        rows = {
            key: batch.pixels[row]
            for batch in self._all([".batch"])
            for row, key in enumerate(batch.keys)
            if batch.is_intact(row)
        }
        if rows:
            self.write(sorted(rows), rows)

    def _remove_batches(self, keys: Sequence[str]) -> None:
        held = set(keys)
        for batch in self._all([".batch"]):
            if held.issuperset(batch.keys):
                _remove(batch.path)

    def _path(self, keys: Sequence[str], kind: str) -> Path:
        digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.{kind}"

    def _all(self, kinds: Sequence[str] = (".pack", ".batch")) -> Iterator[Pack]:
        for path in sorted(self.folder.iterdir()):
            pack = self._open(path) if path.suffix in kinds else None
            if pack is not None:
                yield pack

    def _write(self, path: Path, rows: dict[str, np.ndarray], keys: Sequence[str]) -> None:
        shape = (len(keys), self.size, self.size)
        footer = json.dumps({"keys": list(keys), "checksums": [_checksum(rows[k]) for k in keys]})
        encoded = footer.encode()
        with _writing(path), replacing(path) as part, part.open("wb") as out:
            layout = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, layout)
            for key in keys:
                out.write(np.ascontiguousarray(rows[key]).data)
            out.write(encoded + _TAIL.pack(len(encoded), zlib.crc32(encoded), _MAGIC))

    def _open(self, path: Path) -> Pack | None:
        """Open a pack; None where it is absent, cut short or damaged."""
        try:
            with path.open("rb") as handle:
                shape, start = _read_shape(handle)
                keys, checksums, end = _read_footer(handle)
            pixels = np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=shape)
        except (OSError, ValueError, KeyError, TypeError, struct.error):
            return None
        fits = shape[1:] == (self.size, self.size) and end - start == pixels.nbytes
        if not fits or not len(keys) == len(checksums) == shape[0]:
            return None
        return Pack(path, keys, checksums, pixels)


def _checksum(image: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)


def _read_shape(handle: BinaryIO) -> tuple[tuple[int, ...], int]:
    """Return the shape of the images and the offset of the first."""
    if np.lib.format.read_magic(handle) != (1, 0):
        raise ValueError("not a pack")
    shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
    if dtype != np.uint8 or len(shape) != 3:
        raise ValueError("not a pack")
    return shape, handle.tell()


def _read_footer(handle: BinaryIO) -> tuple[list[str], list[int], int]:
    """Return keys, checksums, and the offset where the images end."""
    handle.seek(-_TAIL.size, os.SEEK_END)
    length, checksum, magic = _TAIL.unpack(handle.read())
    end = handle.tell() - _TAIL.size - length
    if magic != _MAGIC or end < 0:
        raise ValueError("not a pack, or cut short")
    handle.seek(end)
    encoded = handle.read(length)
    if zlib.crc32(encoded) != checksum:
        raise ValueError("the footer is damaged")
    footer = json.loads(encoded)
    return footer["keys"], footer["checksums"], end


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error if error.strerror is None else f"{error.strerror}: {path}"
        raise CacheError(
            f"the cache cannot be written ({why}); free some space, or "
            "set HURDLES_CACHE to a folder that you may write to."
        ) from error


def _remove(path: Path) -> None:
    """Remove a file that nobody needs; a system that forbids it while it is open keeps it."""
    with contextlib.suppress(OSError):
        path.unlink()


class Refusals:
    """The refused contents of one preparation.

    Parameters
    ----------
    folder : Path
        Where the preparation's packs lie.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "refused.json"
        self._reasons = self._read()

    def error(self, key: str, path: str) -> LungsNotFoundError | None:
        """Return why a content was refused, as the error of the file at `path`, or None."""
        reason = self._reasons.get(key)
        return None if reason is None else LungsNotFoundError(reason, path)

    def put_away(self, errors: dict[str, LungsNotFoundError]) -> None:
        """Remember refusals by content; where two processes write at once, one may be forgotten."""
        if not errors:
            return
        new = {key: error.message for key, error in errors.items()}
        self._reasons = self._read() | self._reasons | new
        try:
            write_sealed(self._path, self._reasons)
        except OSError as error:
            raise CacheError(
                f"the cache cannot be written ({error.strerror or error}: {self._path}); free "
                "some space, or set HURDLES_CACHE to a folder that you may write to."
            ) from error

    def _read(self) -> dict[str, str]:
        found: dict[str, str] | None = read_sealed(self._path)
        return found or {}  # absent or damaged: it is found out again


class PixelPreparation(Protocol):
    """What turns decoded pixels into stored ones; `hurdles.pixels.prepare` has the usual one."""

    @property
    def size(self) -> int:
        """Height and width of the result."""

    @property
    def key(self) -> str:
        """All settings and the version of the algorithm: equal keys mean equal results."""

    def __call__(self, pixels: np.ndarray, /) -> np.ndarray:
        """Turn ``float32`` (H, W) in [0, 1] into ``uint8`` (size, size)."""


class LayeredPreparation(PixelPreparation, Protocol):
    """A preparation that may need another one's result of the same pixels."""

    @property
    def beneath(self) -> PixelPreparation | None:
        """What has to be prepared first, if anything; its key is part of this one's."""

    def __call__(self, pixels: np.ndarray, lower: np.ndarray | None = None, /) -> np.ndarray:
        """Turn pixels into ``uint8`` (size, size); `lower` is what `beneath` made of them."""


class Layer:
    """One preparation with its rows, and the contents that it refuses.

    Parameters
    ----------
    preparation : PixelPreparation
        What makes a row of decoded pixels.
    cache : Path
        The cache's folder.
    """

    def __init__(self, preparation: PixelPreparation, cache: Path) -> None:
        self.preparation = preparation
        folder = cache / f"{preparation.key}-d{DECODER_VERSION}"
        self.packs = Packs(folder, preparation.size)
        self.refusals = Refusals(folder)
        self.rows: dict[str, np.ndarray] = {}

    def find(self, keys: Iterable[str]) -> None:
        """Open the rows of these contents, as far as they were made before."""
        self.rows = self.packs.rows(keys)

    def make(self, pixels: np.ndarray, lower: np.ndarray | None, path: str) -> np.ndarray:
        """Prepare one image."""
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

    def keep(self, batch: Sequence[Made]) -> None:
        """Put away what this layer made or refused of a batch of files."""
        rows = {made.key: made.rows[self] for made in batch if self in made.rows}
        if rows:
            self.rows |= self.packs.put_away(rows)
        refused = {made.key: made.error for made in batch if made.refused_by is self}
        self.refusals.put_away(
            {key: error for key, error in refused.items() if isinstance(error, LungsNotFoundError)}
        )

    def merge(self) -> None:
        """Write what was put away into one pack, in place of its batches."""
        self.packs.merge()


@dataclass(frozen=True, eq=False)
class Made:
    """What became of one file.

    Parameters
    ----------
    key : str
        Hash of the file's content.
    rows : dict of Layer to uint8 array
        What was made now: nothing for a layer that had a row already.
    error : ImageError, optional
        Why the file cannot be used.
    refused_by : Layer, optional
        Which layer could not use it; None also where it could not be decoded.
    """

    key: str
    rows: dict[Layer, np.ndarray] = field(default_factory=dict)
    error: ImageError | None = None
    refused_by: Layer | None = None


def layers_of(preparation: PixelPreparation, cache: Path) -> list[Layer]:
    """Return a preparation and all that lies beneath it, the lowest first."""
    found: list[Layer] = []
    current: PixelPreparation | None = preparation
    while current is not None:
        found.insert(0, Layer(current, cache))
        current = getattr(current, "beneath", None)
    return found
