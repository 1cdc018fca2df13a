"""Content hashes of many files, remembered as long as the files stay as they are.

One small JSON file per folder of images maps a name to its size, times and hash. It only saves
reading: without it, or with a damaged one, files are hashed again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hurdles.data.files import file_hash, read_sealed, write_sealed
from hurdles.errors import ImageError

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
