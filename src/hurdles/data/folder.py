"""A folder as a manifest, without losing a file: what is kept, what is left out, and why.

The layout that most people have is a folder of class folders, read by `manifest_from_folder`. Every
reader of a folder walks it by `walk` and accounts for its files with a `ManifestBuilder`. Drawings
of lungs and lesions that lie among radiographs are known by the names they are given.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from hurdles.data.image_file import IMAGE_SUFFIXES, is_image
from hurdles.data.manifest import UNLABELED, Manifest, exclusions_table
from hurdles.data.people import with_headers
from hurdles.data.untrusted import listed, shown
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

logger = logging.getLogger("hurdles.data")

_SPLITS = {
    **dict.fromkeys(("train", "training"), Split.TRAIN.value),
    **dict.fromkeys(("val", "valid", "validation"), Split.VALIDATION.value),
    **dict.fromkeys(("test", "testing"), Split.TEST.value),
}
#: ``train_images`` may be a part of a split, or a folder that says nothing of any class.
_LONG_SPLIT = re.compile(r"([a-z]+)[ _-]?(?:set|data|images|imgs|split)")
#: A single folder of such a name is no class.
_CONTAINERS = frozenset({"cxr", "data", "dataset", "images", "imgs", "xrays"})
_EXPECTED = (
    "Expected one folder per class with its images below, ROOT/Normal/*.png and "
    "ROOT/Pneumonia/*.png, or the same below ROOT/train, ROOT/val and ROOT/test."
)


def manifest_from_folder(path: str | Path, *, unlabeled: bool = False) -> Manifest:
    """Read a folder whose sub-folders are classes.

    The first level below the root names the class; images may lie at any depth below it. Where
    all sub-folders are called train, val (or valid, validation) and test, the class is one level
    deeper and the ``split`` column is filled, as it is where every class folder has such folders
    below. A class folder's name is kept as it is. Folders of masks are no classes; `mask` is the
    picture of the same name in ``masks/``. Patient, sex, age and view are read from DICOM headers.
    Everything that is left out is in `exclusions`, with the reason. If `unlabeled`, a folder
    without class folders is read too, and no class is known of its images.
    """
    root = Path(path).absolute()
    if not root.is_dir():
        raise ManifestError(f"{root} is not a folder. {_EXPECTED}")
    entries = list(walk(root))
    pictures = [e for e in entries if not e.refusal]
    drawings = {e.name: e for e in pictures if any(map(is_mask_folder, e.name.split("/")[:-1]))}
    images = [e.name for e in pictures if e.name not in drawings]
    masks, by_name = drawn_over(drawings, images), drawn_on(images)
    used = set(masks.values())
    label_level, split_level = _levels(root, images)
    parted = [name.split("/") for name in images if name not in by_name]
    tops = {parts[label_level].lower() for parts in parted if len(parts) > label_level + 1}
    classless = unlabeled and (not tops or (len(tops) == 1 and tops <= _CONTAINERS))
    builder = ManifestBuilder(root)
    firsts: dict[str, tuple[str, str]] = {}
    for entry in entries:
        parts = entry.name.split("/")
        if entry.refusal:
            builder.leave(entry.path, entry.refusal)
        elif entry.name in drawings:
            if entry.name not in used:
                builder.leave(entry.path, "in a folder of masks, no X-ray")
        elif entry.name in by_name:
            builder.leave(entry.path, "a mask by its name, beside its image; no X-ray")
        elif classless:
            if not _is_repeated(builder, entry, UNLABELED, firsts):
                mask = masks.get(entry.name)
                drawing = str(drawings[mask].path) if mask else None
                builder.keep(entry.path, UNLABELED, mask=drawing)
        elif len(parts) <= label_level + 1:
            builder.leave(entry.path, "outside every class folder")
        elif not _is_repeated(builder, entry, parts[label_level], firsts):
            mask = masks.get(entry.name)
            builder.keep(
                entry.path,
                parts[label_level],
                split=None if split_level is None else _part(parts[split_level]),
                mask=str(drawings[mask].path) if mask else None,
            )
    if not firsts:
        n = len(pictures)
        raise ManifestError(
            f"{root} has no class folders with images ({n} image{'s' * (n != 1)} and "
            f"{len(entries) - n} other files were seen). {_EXPECTED}"
        )
    names = {name for name, _ in firsts.values()} | set(drawings)
    for folder in [] if classless else _empty_class_folders(root, label_level + 1, names):
        builder.leave(folder, "a class folder without an image")
    manifest = builder.manifest()
    frame, notes = with_headers(manifest.frame, names=manifest.frame["image"].tolist())
    if classless:
        notes.append("there are no class folders, so no class is known of the images")
    elif split_level is None:
        notes += _note_of_one_class(manifest, label_level)
    for note in notes:
        logger.warning("%s: %s", root, note)
    return replace(manifest, frame=frame, notes=tuple(notes))


def _part(name: str) -> str | None:
    """Return the part of a split that a folder's name says."""
    match = _LONG_SPLIT.fullmatch(name.lower())
    return _SPLITS.get(name.lower()) or (_SPLITS.get(match[1]) if match else None)


def _levels(root: Path, images: list[str]) -> tuple[int, int | None]:
    """Find at which level of a path, from 0, the class stands, and the split if it stands there.

    A mixture of classes with the parts of a split is not guessed at.
    """
    folders = [parts for parts in (name.split("/")[:-1] for name in images) if parts]
    level = 0

    def is_wrapper() -> bool:
        """Return whether all lie in one folder that is no class: by its name, or above a split."""
        if not folders or not all(len(parts) > level + 1 for parts in folders):
            return False
        names = {parts[level].lower() for parts in folders}
        above = all(len(parts) > level + 2 and _part(parts[level + 1]) for parts in folders)
        return len(names) == 1 and (names <= _CONTAINERS or above)

    while is_wrapper():
        level += 1
    inside = [parts[level:] for parts in folders if len(parts) > level]
    tops = sorted({parts[0] for parts in inside})
    splits = [top for top in tops if top.lower() in _SPLITS]
    others = [top for top in tops if top.lower() not in _SPLITS]
    by_split = bool(tops) and all(len(parts) > 1 for parts in inside) and all(map(_part, tops))
    if splits and others and not by_split:
        raise ManifestError(
            f"{root} mixes folders of a split ({', '.join(splits)}) with others "
            f"({', '.join(others[:5])}), so its classes are not clear. {_EXPECTED}"
        )
    if splits or by_split:
        return level + 1, level
    below = {len(parts) > 1 and parts[1].lower() in _SPLITS for parts in inside}
    if below == {True, False}:
        raise ManifestError(
            f"{root} has folders of a split below some of its classes but not below all of them; "
            f"put every image into one, or move them out. {_EXPECTED}"
        )
    return level, level + 1 if True in below else None


def _is_repeated(
    builder: ManifestBuilder, entry: FolderEntry, label: str, firsts: dict[str, tuple[str, str]]
) -> bool:
    """Leave out a second path to a file met before; one file in two classes is refused."""
    name, first_label = firsts.setdefault(entry.real, (entry.name, label))
    if name == entry.name:
        return False
    if first_label != label:
        raise ManifestError(
            f"{name} and {entry.name} below {builder.root} are one file ({entry.real}), linked, "
            f"but of the classes {first_label!r} and {label!r}. Keep it in one of them alone."
        )
    builder.leave(entry.path, f"the same file as {name}, by a link")
    return True


def _empty_class_folders(root: Path, depth: int, names: set[str]) -> list[Path]:
    used = {"/".join(name.split("/")[:depth]) for name in names}
    level = [root]
    for _ in range(depth):
        level = [
            child
            for parent in level
            for child in sorted(parent.iterdir())
            if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
        ]
    spelled = {unicodedata.normalize("NFC", f.relative_to(root).as_posix()): f for f in level}
    return [folder for name, folder in spelled.items() if name not in used]


def _note_of_one_class(manifest: Manifest, level: int) -> list[str]:
    """Name folders below the only class, which may be the classes that are meant."""
    parts = [name.split("/") for name in manifest.frame["image"]]
    below = sorted({p[level + 1] for p in parts if len(p) > level + 2})
    if len(manifest.labels) > 1 or len(below) < 2:
        return []
    inside = "/".join(parts[0][: level + 1])
    return [
        f"there is one class, {manifest.labels[0]!r}; if the classes are the folders below it "
        f"({listed(below, 5)}), give the folder {inside!r}"
    ]


# --- files and drawings --------------------------------------------------------------------------


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
