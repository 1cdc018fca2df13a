"""A manifest from a folder of class folders, the layout that most people have.

Drawings of lungs and lesions that lie among radiographs: known by the names they are given.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hurdles.data.manifest import Manifest
from hurdles.data.people import with_headers
from hurdles.data.tally import Seen, Tally, walk
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

__all__ = ["manifest_from_folder"]


#: Names of folders whose pictures are drawings, letters only.
_MASKS = frozenset({"lungmask", "lungmasks", "mask", "masks"})
ANNOTATIONS = _MASKS | {
    "annotation", "annotations", "groundtruth", "heatmaps", "overlays", "segmentation",
    "segmentations",
}  # fmt: skip
_AFFIX = r"(?:lung)?[ _.-]?(?:mask|seg|segmentation|annotation|groundtruth|gt)s?"
_DRAWN = (
    re.compile(rf"(?P<stem>.+?)[ _.-]+{_AFFIX}", re.IGNORECASE),
    re.compile(rf"{_AFFIX}[ _.-]+(?P<stem>.+)", re.IGNORECASE),
    re.compile(r"(?P<stem>.+)@"),
)
#: A name without one of these is no drawing's, which is soon said of thousands.
_HINT = re.compile(r"mask|seg|annotation|groundtruth|gt|@", re.IGNORECASE)


def is_mask_folder(name: str) -> bool:
    """Whether a folder of this name holds masks or other drawings, not radiographs.

    Examples
    --------
    >>> is_mask_folder("Lung Masks"), is_mask_folder("annotations"), is_mask_folder("Unmasked")
    (True, True, False)
    """
    return _letters(name) in ANNOTATIONS


def drawn_on(names: Sequence[str]) -> dict[str, str]:
    """Return the images that are drawings by their own name, each with the image it is drawn on.

    A name tells nothing by itself: ``a_mask.png`` is a mask where ``a.png`` lies beside it.

    Examples
    --------
    >>> drawn_on(["x/a.png", "x/a_mask.png", "x/a@.png", "x/mask_b.png"])
    {'x/a_mask.png': 'x/a.png', 'x/a@.png': 'x/a.png'}
    """
    maybe = [name for name in names if _HINT.search(name)]
    stems: dict[str, str] = {}
    for name in names if maybe else ():
        stems.setdefault(_key(PurePosixPath(name)), name)
    found = {}
    for name in maybe:
        path = PurePosixPath(name)
        for match in filter(None, (form.fullmatch(path.stem) for form in _DRAWN)):
            base = stems.get(_key(path.with_name(match["stem"] + path.suffix)))
            if base is not None and base != name:
                found[name] = base
    return found


def drawn_over(drawings: Iterable[str], images: Iterable[str]) -> dict[str, str]:
    """Return the images that have a mask in a folder of masks, each with that mask.

    The mask has the image's name, or that with ``mask`` before or behind it. It lies in ``masks/``
    beside the image, or in ``masks/`` where the image lies in ``images/``.

    Examples
    --------
    >>> drawn_over(["COVID/masks/1.png"], ["COVID/images/1.png", "COVID/images/2.png"])
    {'COVID/images/1.png': 'COVID/masks/1.png'}
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
    found = {}
    for name in images:
        image = PurePosixPath(name)
        for above in image.parents:
            masks = places.get(above.as_posix())
            if not masks:
                continue
            below = image.relative_to(above)
            short = PurePosixPath(*below.parts[1:]) if len(below.parts) > 1 else below
            keys = [_key(each) for each in (below, short)]
            if mask := next((masks[key] for key in keys if key in masks), None):
                found[name] = mask
                break
    return found


def _key(path: PurePosixPath) -> str:
    return f"{path.parent.as_posix()}/{path.stem}".casefold()


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalpha())


logger = logging.getLogger("hurdles.data")

_SPLITS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}
#: ``train_images`` may be a part of a split, or a folder that says nothing of any class.
_LONG_SPLIT = re.compile(r"([a-z]+)[ _-]?(?:set|data|images|imgs|split)")
#: A single folder of such a name is no class.
_CONTAINERS = frozenset({"cxr", "data", "dataset", "images", "imgs", "xrays"})
_EXPECTED = (
    "Expected one folder per class with its images below, ROOT/Normal/*.png and "
    "ROOT/Pneumonia/*.png, or the same below ROOT/train, ROOT/val and ROOT/test."
)


@dataclass(frozen=True)
class _Layout:
    """At which level of a path the class and the part of the split stand; 0 is the first."""

    label: int
    split: int | None = None

    def split_of(self, parts: list[str]) -> str | None:
        return None if self.split is None else _part(parts[self.split])


def manifest_from_folder(path: str | Path, *, source: str | None = None) -> Manifest:
    """Read a folder whose sub-folders are classes.

    The first level below the root names the class; images may lie at any depth below it. Where
    all sub-folders are called train, val (or valid, validation) and test, the class is one level
    deeper and the ``split`` column is filled, as it is where every class folder has such folders
    below. A class folder's name is kept as it is. Folders of masks are no classes.

    Parameters
    ----------
    path : str or Path
        The root. Spaces and any script are fine.
    source : str, optional
        Collection or hospital that the images come from; needed to merge several folders.

    Returns
    -------
    Manifest
        `image` is the path relative to the root with forward slashes. Patient, sex, age and view
        are read from DICOM headers and stay empty for other files: a folder does not tell them.
        `mask` is the picture of the same name in ``masks/``. Everything that was left out is in
        `exclusions`, with the reason: what is not an image by its extension, what lies outside
        every class, masks, class folders without an image, and links to a file that has its row
        already.

    Raises
    ------
    ManifestError
        If the root is no folder, has no class folders, mixes train/val/test with others, or holds
        one file under two classes (by links).

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("train/Normal/1.png", "train/Ill/2.png", "test/Ill/3.png", "notes.txt"):
    ...     (root / name).parent.mkdir(parents=True, exist_ok=True)
    ...     _ = (root / name).write_bytes(b"")
    >>> manifest = manifest_from_folder(root, source="clinic")
    >>> manifest.frame[["image", "label", "split"]].values.tolist()
    [['test/Ill/3.png', 'Ill', 'test'], ['train/Ill/2.png', 'Ill', 'train'], \
['train/Normal/1.png', 'Normal', 'train']]
    >>> len(manifest.exclusions)
    1
    """
    root = Path(path).absolute()
    if not root.is_dir():
        raise ManifestError(f"{root} is not a folder. {_EXPECTED}")
    seen = list(walk(root))
    drawings = {f.name: f for f in seen if not f.refusal and _is_drawing(f.name)}
    images = [f.name for f in seen if not f.refusal and f.name not in drawings]
    masks, by_name = drawn_over(drawings, images), drawn_on(images)
    layout = _layout(root, images)
    tally, used = Tally(root, source), set(masks.values())
    firsts: dict[str, tuple[str, str]] = {}
    for file in seen:
        parts = file.name.split("/")
        if file.refusal:
            tally.leave(file.path, file.refusal)
        elif file.name in drawings:
            if file.name not in used:
                tally.leave(file.path, "in a folder of masks, no X-ray")
        elif file.name in by_name:
            tally.leave(file.path, "a mask by its name, beside its image; no X-ray")
        elif len(parts) <= layout.label + 1:
            tally.leave(file.path, "outside every class folder")
        elif not _is_repeated(tally, file, parts[layout.label], firsts):
            mask = masks.get(file.name)
            tally.keep(
                file.path,
                parts[layout.label],
                split=layout.split_of(parts),
                mask=str(drawings[mask].path) if mask else None,
            )
    if not firsts:
        found = sum(not file.refusal for file in seen)
        raise ManifestError(
            f"{root} has no class folders with images ({found} image{'s' * (found != 1)} and "
            f"{len(seen) - found} other files were seen). {_EXPECTED}"
        )
    kept = {name for name, _ in firsts.values()} | set(drawings)
    for folder in _empty_class_folders(root, layout.label + 1, kept):
        tally.leave(folder, "a class folder without an image")
    manifest = tally.manifest()
    frame, notes = with_headers(manifest.frame, names=manifest.frame["image"].tolist())
    notes += _one_class(manifest, layout.label) if layout.split is None else []
    for note in notes:
        logger.warning("%s: %s", root, note)
    return replace(manifest, frame=frame, notes=tuple(notes))


def _is_drawing(name: str) -> bool:
    return any(is_mask_folder(part) for part in name.split("/")[:-1])


def _part(name: str) -> str | None:
    """Return the part of a split that a folder's name says."""
    known = _SPLITS.get(name.lower())
    if known is None and (match := _LONG_SPLIT.fullmatch(name.lower())):
        known = _SPLITS.get(match[1])
    return known.value if known else None


def _layout(root: Path, images: list[str]) -> _Layout:
    """Find the level of the classes; a mixture with the parts of a split is not guessed at."""
    folders = [parts for parts in (name.split("/")[:-1] for name in images) if parts]
    level = 0
    while _is_wrapper(folders, level):
        level += 1
    inside = [parts[level:] for parts in folders if len(parts) > level]
    tops = sorted({parts[0] for parts in inside})
    splits = [top for top in tops if top.lower() in _SPLITS]
    others = [top for top in tops if top.lower() not in _SPLITS]
    deep = all(len(parts) > 1 for parts in inside)
    if splits and others and not (deep and all(map(_part, tops))):
        raise ManifestError(
            f"{root} mixes folders of a split ({', '.join(splits)}) with others "
            f"({', '.join(others[:5])}), so its classes are not clear. {_EXPECTED}"
        )
    if splits or (tops and deep and all(map(_part, tops))):
        return _Layout(label=level + 1, split=level)
    below = {parts[1].lower() in _SPLITS if len(parts) > 1 else False for parts in inside}
    if below == {True}:
        return _Layout(label=level, split=level + 1)
    if True in below:
        raise ManifestError(
            f"{root} has folders of a split below some of its classes but not below all of them; "
            f"put every image into one, or move them out. {_EXPECTED}"
        )
    return _Layout(label=level)


def _is_wrapper(folders: list[list[str]], level: int) -> bool:
    """Whether all images lie in one folder that is no class: by its name, or above a split."""
    if not folders or not all(len(parts) > level + 1 for parts in folders):
        return False
    names = {parts[level].lower() for parts in folders}
    above = all(len(parts) > level + 2 and _part(parts[level + 1]) for parts in folders)
    return len(names) == 1 and (names <= _CONTAINERS or above)


def _one_class(manifest: Manifest, level: int) -> list[str]:
    """Name folders below the only class, which may be the classes that are meant."""
    parts = [name.split("/") for name in manifest.frame["image"]]
    below = sorted({p[level + 1] for p in parts if len(p) > level + 2})
    if len(manifest.labels) > 1 or len(below) < 2:
        return []
    shown = ", ".join(map(repr, below[:5])) + (", ..." if len(below) > 5 else "")
    inside = "/".join(parts[0][: level + 1])
    return [
        f"there is one class, {manifest.labels[0]!r}; if the classes are the folders below it "
        f"({shown}), give the folder {inside!r}"
    ]


def _is_repeated(tally: Tally, file: Seen, label: str, firsts: dict[str, tuple[str, str]]) -> bool:
    """Leave out a second path to a file met before; one file in two classes is refused."""
    if file.real not in firsts:
        firsts[file.real] = (file.name, label)
        return False
    name, first_label = firsts[file.real]
    if first_label != label:
        raise ManifestError(
            f"{name} and {file.name} below {tally.root} are one file ({file.real}), linked, but of "
            f"the classes {first_label!r} and {label!r}. Keep it in one of them alone."
        )
    tally.leave(file.path, f"the same file as {name}, by a link")
    return True


def _empty_class_folders(root: Path, depth: int, kept: set[str]) -> list[Path]:
    used = {"/".join(name.split("/")[:depth]) for name in kept}
    level = [root]
    for _ in range(depth):
        level = [child for parent in level for child in _folders(parent)]
    named = {unicodedata.normalize("NFC", f.relative_to(root).as_posix()): f for f in level}
    return [folder for name, folder in named.items() if name not in used]


def _folders(parent: Path) -> list[Path]:
    return sorted(
        child
        for child in parent.iterdir()
        if child.is_dir() and not child.name.startswith(".") and child.name != "__MACOSX"
    )
