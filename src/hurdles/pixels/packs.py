"""Packs: files that hold prepared images, each row known by the content it was made from.

A pack is a NumPy file (``numpy.load`` opens it) of ``uint8`` (N, size, size), followed by a JSON
footer that names every row's content hash and checksum, and by the footer's length and checksum.
It is written beside and renamed into place, so it is whole or absent. What is used of it is held
against its checksums before: a damaged row is made anew. So the disk is not waited for either.

Any pack serves as a source for another: a set with ten new images copies the old rows and decodes
ten. What is decoded is put away in small packs as it comes (``*.batch``), so that a killed run
loses little, and these are removed once a whole set (``*.pack``) holds their rows.

Beside the packs of a preparation lies what it could not use: looking for lungs twice would not
find them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hurdles.data.files import read_sealed, replacing, sweep, write_sealed
from hurdles.errors import CacheError, LungsNotFoundError
from hurdles.progress import processors

_MAGIC = b"hurdles1"
_TAIL = struct.Struct("<QI8s")  # footer length, footer checksum, magic
#: Packs of which every row was found intact, as they were then: within a process that is enough.
_VERIFIED: set[tuple[str, int, int, int]] = set()


class Pack(NamedTuple):
    """An open pack: for each row the hash of its source and its checksum, and the mapped pixels."""

    path: Path
    keys: list[str]
    checksums: list[int]
    pixels: np.ndarray

    def intact(self) -> Callable[[int], bool]:
        """Return a function that says whether a row is byte for byte what was written."""
        plain = self.pixels.view(np.ndarray)  # rows of a memmap are slow to make
        return lambda row: _checksum(plain[row]) == self.checksums[row]

    def is_whole(self) -> bool:
        """Return whether every row is intact; an unchanged file is read through once a process."""
        state = self.path.stat()
        known = (str(self.path), state.st_ino, state.st_size, state.st_mtime_ns)
        if known not in _VERIFIED:
            is_intact = self.intact()
            with ThreadPoolExecutor(processors()) as pool:  # checksums let other threads run
                n, step = len(self.keys), 64
                parts = [range(start, min(start + step, n)) for start in range(0, n, step)]
                if not all(pool.map(lambda rows: all(map(is_intact, rows)), parts)):
                    return False
            _VERIFIED.add(known)
        return True


class Packs:
    """All packs of one preparation, in one folder; every image has one size."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._checksums: dict[str, int] = {}  # of what was put away: not computed a second time
        with writing(folder):
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
        rows: dict[str, np.ndarray] = {}
        for pack in self._all(".pack", ".batch"):
            is_intact = pack.intact()
            for row, key in enumerate(pack.keys):
                if key in wanted and is_intact(row):
                    rows[key] = pack.pixels[row]
                    wanted.discard(key)
            if not wanted:
                break
        return rows

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
            for batch in self._all(".batch")
            for is_intact in [batch.intact()]
            for row, key in enumerate(batch.keys)
            if is_intact(row)
        }
        if rows:
            self.write(sorted(rows), rows)

    def _remove_batches(self, keys: Sequence[str]) -> None:
        held = set(keys)
        for batch in self._all(".batch"):
            if held.issuperset(batch.keys):
                with contextlib.suppress(OSError):  # a system may forbid it while it is open
                    batch.path.unlink()

    def _path(self, keys: Sequence[str], kind: str) -> Path:
        digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.{kind}"

    def _all(self, *kinds: str) -> Iterator[Pack]:
        for path in sorted(self.folder.iterdir()):
            pack = self._open(path) if path.suffix in kinds else None
            if pack is not None:
                yield pack

    def _write(self, path: Path, rows: dict[str, np.ndarray], keys: Sequence[str]) -> None:
        shape = (len(keys), self.size, self.size)
        for key in keys:
            if key not in self._checksums:
                self._checksums[key] = _checksum(rows[key])
        checksums = [self._checksums[key] for key in keys]
        footer = json.dumps({"keys": list(keys), "checksums": checksums})
        encoded = footer.encode()
        with writing(path), replacing(path, synced=False) as part, part.open("wb") as out:
            layout = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, layout)
            for key in keys:
                out.write(np.ascontiguousarray(rows[key]).data)
            out.write(encoded + _TAIL.pack(len(encoded), zlib.crc32(encoded), _MAGIC))

    def _open(self, path: Path) -> Pack | None:
        """Open a pack; None where it is absent, cut short or damaged."""
        try:
            with path.open("rb") as handle:
                version = np.lib.format.read_magic(handle)
                shape, _, dtype = np.lib.format.read_array_header_1_0(handle)
                start = handle.tell()
                handle.seek(-_TAIL.size, os.SEEK_END)
                length, checksum, magic = _TAIL.unpack(handle.read())
                end = handle.tell() - _TAIL.size - length
                handle.seek(end)
                encoded = handle.read(length)
            sound = version == (1, 0) and dtype == np.uint8 and magic == _MAGIC
            if not sound or zlib.crc32(encoded) != checksum:
                return None
            footer = json.loads(encoded)
            keys, checksums = footer["keys"], footer["checksums"]
            pixels = np.memmap(path, np.uint8, "r", start, shape)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, struct.error):
            return None
        fits = shape[1:] == (self.size, self.size) and end - start == pixels.nbytes
        if not fits or not len(keys) == len(checksums) == shape[0]:
            return None
        return Pack(path, keys, checksums, pixels)


def _checksum(image: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(image).data)


class Refusals:
    """Contents that one preparation cannot use, with the reason, in one small file of its folder.

    Only refusals that follow from the content and the preparation's key alone are kept; a file
    that cannot be decoded is tried again each time, since another decoder may be installed by then.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "refused.json"
        self._reasons = self._read()

    def __len__(self) -> int:
        return len(self._reasons)

    def error(self, key: str, path: str) -> LungsNotFoundError | None:
        """Return why a content was refused, as the error of the file at `path`, or None."""
        reason = self._reasons.get(key)
        return None if reason is None else LungsNotFoundError(reason, path)

    def put_away(self, errors: dict[str, LungsNotFoundError]) -> None:
        """Remember refusals by content; where two processes write at once, one may be forgotten."""
        if errors:
            new = {key: error.message for key, error in errors.items()}
            self._reasons = self._read() | self._reasons | new
            with writing(self._path):
                write_sealed(self._path, self._reasons)

    def _read(self) -> dict[str, str]:
        return read_sealed(self._path) or {}  # absent or damaged: it is found out again


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every failure to write into the cache into a `CacheError` that names the path."""
    try:
        yield
    except OSError as error:
        why = error if error.strerror is None else f"{error.strerror}: {path}"
        raise CacheError(
            f"the cache cannot be written ({why}); free some space, or "
            "set HURDLES_CACHE to a folder that you may write to."
        ) from error
