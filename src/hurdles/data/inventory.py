"""Taking in a folder without losing a file: what is kept, what is left out, and why.

Drawings of lungs and lesions that lie among radiographs are known by the names they are given.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from hurdles.data.formats import IMAGE_SUFFIXES, is_image
from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.data.untrusted import shown
from hurdles.errors import ManifestError


class FolderEntry(NamedTuple):
    """One file of a folder, or a sub-folder that is not looked into."""

    path: Path  # absolute, links not followed
    name: str  # relative, with "/", in Unicode's composed form: the same on every system
    refusal: str  # why it cannot be an image; empty where it can
    real: str  # the path with every link followed: entries with one `real` are one file


def walk(root: str | Path) -> Iterator[FolderEntry]:
    """Yield every file below `root`, sorted by name, links followed but never in circles.

    Hidden folders and ``__MACOSX`` are yielded once, as a whole, with the reason for refusing them.
    """
    above = Path(os.path.realpath(root)).parents
    yield from _walk(Path(root).absolute(), "", frozenset(map(str, above)))


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[FolderEntry]:
    here = os.path.realpath(folder)
    if here in above:
        refusal = "a link back to a folder that holds it"
        yield FolderEntry(folder, prefix.rstrip("/"), refusal, here)
        return
    with os.scandir(folder) as entries:
        children = sorted(entries, key=lambda entry: entry.name)
    for child in children:
        path = folder / child.name
        try:
            child.name.encode()
        except UnicodeEncodeError:  # some systems allow any bytes
            name = shown(child.name)
            refusal = "its name is not UTF-8; rename it"
            yield FolderEntry(folder / name, prefix + name, refusal, name)
            continue
        name = prefix + unicodedata.normalize("NFC", child.name)
        refusal = _refusal(path, child)
        if not refusal and child.is_dir():
            yield from _walk(path, name + "/", above | {here})
        else:
            real = os.path.realpath(path) if child.is_symlink() else f"{here}{os.sep}{child.name}"
            yield FolderEntry(path, name, refusal, real)


def _refusal(path: Path, entry: os.DirEntry[str]) -> str:
    if entry.name.startswith("."):
        return "hidden"
    if entry.name == "__MACOSX":
        return "macOS side files, no images"
    if entry.name.lower() in {"thumbs.db", "desktop.ini", "ehthumbs.db"}:
        return "a system file, no image"
    if entry.is_dir():
        return ""
    if not entry.is_file():
        return "a link that leads nowhere" if entry.is_symlink() else "not a plain file"
    if entry.name.upper() == "DICOMDIR":
        return "a DICOM directory, no image"
    # PACS exports often have no extension, or one that means something else (.ima, .img, .dic).
    if path.suffix.lower() in IMAGE_SUFFIXES or is_image(path):
        return ""
    return "not an image, by its extension"


class ManifestBuilder:
    """Collects the rows of a manifest and the reasons for what is left out.

    Every file or row of a table is either kept or left, so that both together account for all.
    Images are named by their path relative to `root`; `source` is that of rows that name none.
    """

    def __init__(self, root: Path, source: str | None = None) -> None:
        self.root = root
        self.source = source
        self._rows: dict[Path, dict[str, Any]] = {}
        self._left: list[tuple[str, str]] = []
        self._met: set[Path] = set()
        self._disputed: dict[Path, str] = {}

    def images(self, folder: Path) -> Iterator[FolderEntry]:
        """Yield the files below a folder that can be images; leave the others out."""
        for entry in walk(folder):
            if entry.refusal:
                self.leave(entry.path, entry.refusal)
            else:
                yield entry

    def keep(self, path: Path, label: str, **cells: Any) -> None:
        """Add one image.

        A second row for the same file is left out; if its label is another, so is the first.
        """
        if path in self._disputed:
            self.leave(path, self._disputed[path])
        elif path not in self._rows:
            image = unicodedata.normalize("NFC", path.relative_to(self.root).as_posix())
            row = {"image": image, "path": str(path), "label": label, "source": self.source}
            self._rows[path] = row | cells
            self._met.add(path)
        elif (first := self._rows[path]["label"]) == label:
            self.leave(path, "named again by a later row; the first one is used")
        else:
            del self._rows[path]
            self._disputed[path] = f"called {first!r} by one row and {label!r} by another"
            self.leave(path, self._disputed[path])
            self.leave(path, self._disputed[path])

    def leave(self, path: Path, reason: str) -> None:
        """Note a file, or a row that names it, as left out."""
        self._left.append((str(path), reason))
        self._met.add(path)

    def leave_rest(self, entries: Iterable[FolderEntry], reason: str) -> None:
        """Leave out what cannot be an image, then what was neither kept nor left so far."""
        for entry in sorted(entries, key=lambda entry: not entry.refusal):
            if entry.refusal or entry.path not in self._met:
                self.leave(entry.path, entry.refusal or reason)

    def manifest(self) -> Manifest:
        """Return what was kept, with what was left."""
        if not self._rows:
            reasons = Counter(reason for _, reason in self._left).most_common(5)
            why = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "it is empty"
            raise ManifestError(f"{self.root} holds no usable image ({why}).")
        frame = pd.DataFrame(list(self._rows.values()))
        for column in frame.columns:
            if frame[column].dtype == object:
                # Text stays text: a column of empty strings and None must not turn into float.
                frame[column] = frame[column].astype("str").where(frame[column].notna(), None)
        return Manifest(frame, exclusions_table(self._left))


#: Names of folders whose pictures are drawings, letters only.
_MASKS = frozenset({"lungmask", "lungmasks", "mask", "masks"})
_DRAWINGS = _MASKS | {
    "annotation", "annotations", "groundtruth", "heatmaps", "overlays", "segmentation",
    "segmentations",
}  # fmt: skip
_AFFIX = r"(?:lung)?[ _.-]?(?:mask|seg|segmentation|annotation|groundtruth|gt)s?"
_DRAWN = (
    re.compile(rf"(?P<stem>.+?)[ _.-]+{_AFFIX}", re.IGNORECASE),
    re.compile(rf"{_AFFIX}[ _.-]+(?P<stem>.+)", re.IGNORECASE),
    re.compile(r"(?P<stem>.+)@"),
)
#: A name without one of these is no drawing's: a quick test, as there are thousands of names.
_HINT = re.compile(r"mask|seg|annotation|groundtruth|gt|@", re.IGNORECASE)


def is_mask_folder(name: str) -> bool:
    """Return whether a folder of this name holds masks or other drawings, not radiographs."""
    return _letters(name) in _DRAWINGS


def drawn_on(names: Sequence[str]) -> dict[str, str]:
    """Return the images that are drawings by their own name, each with the image it is drawn on.

    A name tells nothing by itself: ``a_mask.png`` is a mask where ``a.png`` lies beside it.
    """
    maybe = [name for name in names if _HINT.search(name)]
    stems: dict[str, str] = {}
    for name in names if maybe else ():
        stems.setdefault(_key(PurePosixPath(name)), name)
    drawings = {}
    for name in maybe:
        path = PurePosixPath(name)
        for match in filter(None, (form.fullmatch(path.stem) for form in _DRAWN)):
            base = stems.get(_key(path.with_name(match["stem"] + path.suffix)))
            if base is not None and base != name:
                drawings[name] = base
    return drawings


def drawn_over(drawings: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Return the images that have a mask in a folder of masks, each with that mask.

    The mask has the image's name, or that with ``mask`` before or behind it. It lies in ``masks/``
    beside the image, or in ``masks/`` where the image lies in ``images/``.
    """
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name in drawings:
        path = PurePosixPath(name)
        spot = next((p for p in path.parents if _letters(p.name) in _MASKS), None)
        if spot is None:
            continue
        inner = path.relative_to(spot).parent.as_posix()
        stems = [path.stem, *(m["stem"] for f in _DRAWN if (m := f.fullmatch(path.stem)))]
        for stem in stems:
            places[spot.parent.as_posix()].setdefault(f"{inner}/{stem}".casefold(), name)
    masked = {}
    for name in images:
        image = PurePosixPath(name)
        for above in image.parents:
            if not (masks := places.get(above.as_posix())):
                continue
            below = image.relative_to(above)
            short = PurePosixPath(*below.parts[1:]) if len(below.parts) > 1 else below
            if mask := masks.get(_key(below)) or masks.get(_key(short)):
                masked[name] = mask
                break
    return masked


def _key(path: PurePosixPath) -> str:
    return f"{path.parent.as_posix()}/{path.stem}".casefold()


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalpha())
