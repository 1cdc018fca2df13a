"""Seals of a folder: what was written is known again, and what is damaged is not used.

``checksums.json`` names every file of a folder with the SHA-256 of its content, and every further
set of images that a run was tested on has such a file of its own. What is not named is not judged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hurdles._version import __version__
from hurdles.data.files import file_hash, write_text
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdlesError, RunError

#: The file that holds them.
SEALS = "checksums.json"

# Written again at any time, or only while training.
_UNSEALED = re.compile(
    r"\.lock|\..*\.part|.*\.html|audit\..*|checksums\..*|\.written|st(ate|art)\.safetensors"
)

_ADVICE = "Restore the file, or make the run again in another folder."

#: Folders that this process has found whole, with the dates of their files.
_WHOLE: dict[Path, dict[str, int]] = {}


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file's content into an error that names the file."""
    try:
        yield
    except Exception as error:
        if isinstance(error, HurdlesError) and str(path) in str(error):
            raise
        what = str(error) if isinstance(error, HurdlesError) else type(error).__name__
        raise RunError(f"{path} is damaged ({what}). {_ADVICE}") from error


def seal(folder: Path, coming: Mapping[str, str] | None = None, *, of: str = "") -> None:
    """Note the content of every file that is read again, so that damage to it is noticed."""
    pattern = f"*.{of}.*" if of else "*"
    files = [p for p in folder.rglob("*") if p.is_file() and not _UNSEALED.fullmatch(p.name)]
    chosen = [p for p in files if p.match(pattern) or p.match(f"predictions/{of}.*")]
    seals = {path.relative_to(folder).as_posix(): _content(path) for path in chosen}
    for name, text in (coming or {}).items():
        seals[name] = hashlib.sha256(text.encode()).hexdigest()
    write_text(_seals_of(folder, of), json.dumps(seals, indent=1, sort_keys=True) + "\n")


def sealed(folder: Path) -> list[Path]:
    """Return the files that are sealed; none where a folder was written by an earlier version."""
    return [folder / name for name in _seals(folder)]


def unseal(folder: Path, of: str) -> None:
    """Judge no longer what is held of a further set of images, which will be written anew."""
    _seals_of(folder, of).unlink(missing_ok=True)


def require_whole(folder: Path) -> None:
    """Raise a RunError if a file that is sealed has changed; its reader says if it is missing.

    A folder without seals, as earlier versions wrote it, is taken as it is.
    """
    seals = _seals(folder)
    paths = {name: folder / name for name in seals}
    dates = {n: path.stat().st_mtime_ns if path.is_file() else -1 for n, path in paths.items()}
    if dates == _WHOLE.get(folder.absolute()):
        return
    for name, content in seals.items():
        path = paths[name]
        if path.is_file() and _content(path) != content:
            raise RunError(f"{path} is damaged, or was changed after the run. {_ADVICE}")
    _WHOLE[folder.absolute()] = dates


def require_version(folder: Path, meta: Mapping[str, Any]) -> None:
    """Raise a RunError if a run was written by a version whose runs this one does not read."""
    wrote = str(dict(meta.get("environment") or {}).get("hurdles", __version__))
    if wrote.split(".")[:2] != __version__.split(".")[:2]:
        raise RunError(
            f"{folder} was written by hurdles {wrote}, and this is hurdles {__version__}, which "
            "cannot read it. Install that version, or make the run again in another folder."
        )


def _content(path: Path) -> str:
    """Return the hash of a file; of a manifest that of its content: images may be moved."""
    if not re.fullmatch(r"manifest(\.[^.]+)?\.csv", path.name) or "exclusions" in path.name:
        return file_hash(path)
    with reading(path):
        return Manifest.load(path).content_hash


def _seals_of(folder: Path, of: str) -> Path:
    return folder / (f"checksums.{of}.json" if of else SEALS)


def _seals(folder: Path) -> dict[str, str]:
    seals: dict[str, str] = {}
    for path in sorted(folder.glob("checksums*.json")):
        with reading(path):
            plain = dict(json.loads(path.read_text(encoding="utf-8")))
            seals |= {str(name): str(content) for name, content in plain.items()}
    return seals
