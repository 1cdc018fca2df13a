"""Which images are meant, and a file name for each that no other image takes."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, takewhile
from pathlib import Path

from hurdles.data.tally import walk
from hurdles.errors import ManifestError

#: Names that the results themselves need: a mask may not be called like a contact sheet.
_TAKEN = re.compile(r"sheet(-\d+)?", re.IGNORECASE)
#: Bytes: file systems take 255, of which the extension and a temporary name need some.
_LONGEST = 180


def image_files(paths: Iterable[str | Path], out: Path) -> tuple[list[Path], int]:
    """Return the files that are meant: those named, and the images below the folders named."""
    results = os.path.realpath(out)
    kept: dict[str, Path] = {}
    others = 0
    for path in map(Path, paths):
        if not path.exists():
            raise ManifestError(f"{path} does not exist; give images, or folders of images.")
        if not path.is_dir():
            kept.setdefault(os.path.realpath(path), path)
            continue
        if os.path.realpath(path) == results:
            raise ManifestError(f"{path} is the folder for the results too; give another one.")
        for seen in walk(path):
            if not _is_below(seen.real, results):
                others += bool(seen.refusal)
                if not seen.refusal:
                    kept.setdefault(seen.real, seen.path)
    inside = [path for real, path in kept.items() if _is_below(real, results)]
    if inside:
        raise ManifestError(
            f"{inside[0]} lies in {out}, the folder for the results, where a mask might replace "
            "it; give another folder."
        )
    if not kept:
        raise ManifestError(
            f"there is no image to segment ({others} other files were seen); give PNG, JPEG, "
            "WebP, TIFF or DICOM files, or folders of them."
        )
    return list(kept.values()), others


def mask_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file's mask, without extension: its stem where no other has it.

    Where several have it, the folders in which they differ come before it, then the extension
    after it, at last a number. Names that differ only in case count as one: some systems see no
    difference.

    Examples
    --------
    >>> mask_names([Path("a/1.png"), Path("b/1.png"), Path("b/2.png"), Path("b/2.jpg")])
    ['a__1', 'b__1', '2_png', '2_jpg']
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[path.stem.casefold()].append(path)
    names = {path: name for group in groups.values() for path, name in _told_apart(group)}
    return _numbered([_short(names[path]) for path in paths])


def _told_apart(group: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield paths of one stem, each with a name that says where it differs from the others."""
    if len(group) == 1:
        yield group[0], group[0].stem
        return
    folders = [path.absolute().parent.parts for path in group]
    levels = zip(*folders, strict=False)  # to the shortest
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, levels))
    named = [
        "__".join([*(part.strip(os.sep) for part in parts[shared:]), path.stem])
        for parts, path in zip(folders, group, strict=True)
    ]
    counts = Counter(name.casefold() for name in named)
    for path, name in zip(group, named, strict=True):
        repeated = counts[name.casefold()] > 1
        yield path, name + path.suffix.replace(".", "_") if repeated else name


def _short(name: str) -> str:
    """Cut off the beginning of a name that a file system would not take."""
    return name.encode()[-_LONGEST:].decode(errors="ignore")


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names; one that is taken gets the first number that makes it free."""
    taken: set[str] = set()
    free: list[str] = []
    for name in names:
        candidates = (f"{name}_{n}" if n > 1 else name for n in count(1))
        free.append(
            next(c for c in candidates if c.casefold() not in taken and not _TAKEN.fullmatch(c))
        )
        taken.add(free[-1].casefold())
    return free


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)
