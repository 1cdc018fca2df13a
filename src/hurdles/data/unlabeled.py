"""Images of which no class is known: files, folders of them, and patterns.

They stand in a manifest under one label, `hurdles.data.manifest.UNLABELED`.
"""

from __future__ import annotations

import glob
import logging
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from hurdles.data.files import expanded
from hurdles.data.folder import drawn_on, is_mask_folder, walk
from hurdles.data.manifest import UNLABELED, Manifest, exclusions_table
from hurdles.data.people import with_headers
from hurdles.data.spreadsheet import SUFFIXES
from hurdles.errors import ManifestError

logger = logging.getLogger("hurdles.data")

_SIGNS = "*?["


def is_place_of_images(part: str | Path) -> bool:
    """Return whether something names images by themselves: a file that is no table, a pattern."""
    path = expanded(part)
    if path.is_file():
        return path.suffix.lower() not in SUFFIXES
    return not path.exists() and any(sign in str(part) for sign in _SIGNS)


def manifest_of_images(places: Sequence[str | Path]) -> Manifest:
    """Read image files, folders of them and patterns such as ``new/**/*.dcm``; no class is known.

    A file that is named is taken whatever its name is; of folders and patterns, what can be an
    image by its name or its first bytes. Each file counts once, under the name by which it was met
    first: of a folder alone, its path below that; otherwise the path as it was given. Sub-folders
    say nothing of classes. Patient, sex, age and view are read from DICOM headers.
    """
    rows: dict[str, tuple[str, str]] = {}
    left: list[tuple[str, str]] = []
    alone = len(places) == 1
    for place in places:
        for name, path, refusal in _files_at(place, alone):
            real = os.path.realpath(path)
            if refusal:
                left.append((str(path), refusal))
            elif real not in rows:
                rows[real] = (name, str(path))
    if not rows:
        where = ", ".join(map(str, places)) or "nothing was named"
        more = f"; {len(left)} other files are there" if left else ""
        raise ManifestError(f"no image is to be read ({where}){more}. Name images or folders.")
    frame = pd.DataFrame(list(rows.values()), columns=["image", "path"])
    twice = frame["image"].duplicated(keep=False)
    frame["image"] = frame["image"].where(~twice, frame["path"])
    manifest = Manifest(frame.assign(label=UNLABELED), exclusions_table(left))
    filled, notes = with_headers(manifest.frame, names=manifest.frame["image"].tolist())
    for note in notes:
        logger.warning(note)
    return replace(manifest, frame=filled, notes=tuple(notes))


def _files_at(place: str | Path, alone: bool) -> Iterator[tuple[str, Path, str]]:
    """Yield a name, the path, and why it cannot be an image, of every file at a place."""
    path = expanded(place)
    if path.is_dir():
        prefix = "" if alone else f"{Path(place).as_posix()}/"
        yield from _files_below(path, prefix)
    elif path.exists():
        yield str(place), path.absolute(), ""
    elif any(sign in str(place) for sign in _SIGNS):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute ones too
        if not matches:
            raise ManifestError(f"no file is called {place}; give another pattern.")
        files = [Path(match) for match in matches if Path(match).is_file()]
        yield from ((str(file), file.absolute(), "") for file in files)
    else:
        raise ManifestError(
            f"{place} is not there: neither a file, nor a folder, nor a pattern that fits files."
        )


def _files_below(root: Path, prefix: str) -> Iterator[tuple[str, Path, str]]:
    entries = list(walk(root))
    images = [entry.name for entry in entries if not entry.refusal]
    drawings = drawn_on(images)
    for entry in entries:
        refusal = entry.refusal
        if not refusal and any(map(is_mask_folder, entry.name.split("/")[:-1])):
            refusal = "in a folder of masks, no X-ray"
        elif not refusal and entry.name in drawings:
            refusal = "a mask by its name, beside its image; no X-ray"
        yield prefix + unicodedata.normalize("NFC", entry.name), entry.path, refusal
