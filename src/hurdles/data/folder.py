"""A manifest from a folder of class folders, the layout that most people have."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

from hurdles.data.inventory import (
    FolderEntry,
    ManifestBuilder,
    drawn_on,
    drawn_over,
    is_mask_folder,
    walk,
)
from hurdles.data.manifest import Manifest
from hurdles.data.people import with_headers
from hurdles.data.untrusted import listed
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


def manifest_from_folder(path: str | Path, *, source: str | None = None) -> Manifest:
    """Read a folder whose sub-folders are classes.

    The first level below the root names the class; images may lie at any depth below it. Where
    all sub-folders are called train, val (or valid, validation) and test, the class is one level
    deeper and the ``split`` column is filled, as it is where every class folder has such folders
    below. A class folder's name is kept as it is. Folders of masks are no classes; `mask` is the
    picture of the same name in ``masks/``. Patient, sex, age and view are read from DICOM headers.
    Everything that is left out is in `exclusions`, with the reason.
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
    builder = ManifestBuilder(root, source)
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
    for folder in _empty_class_folders(root, label_level + 1, names):
        builder.leave(folder, "a class folder without an image")
    manifest = builder.manifest()
    frame, notes = with_headers(manifest.frame, names=manifest.frame["image"].tolist())
    notes += _note_of_one_class(manifest, label_level) if split_level is None else []
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
