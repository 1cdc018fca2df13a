"""A manifest from a folder of class folders, the layout that most people have."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.tally import Seen, Tally, walk
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

__all__ = ["manifest_from_folder"]

_SPLITS = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
}
_EXPECTED = (
    "Expected one folder per class with its images below, ROOT/Normal/*.png and "
    "ROOT/Pneumonia/*.png, or the same below ROOT/train, ROOT/val and ROOT/test."
)


def manifest_from_folder(path: str | Path, *, source: str | None = None) -> Manifest:
    """Read a folder whose sub-folders are classes.

    The first level below the root names the class; images may lie at any depth below it. Where
    all sub-folders are called train, val (or valid, validation) and test, the class is one level
    deeper and the ``split`` column is filled. A class folder's name is kept as it is.

    Parameters
    ----------
    path : str or Path
        The root. Spaces and any script are fine.
    source : str, optional
        Collection or hospital that the images come from; needed to merge several folders.

    Returns
    -------
    Manifest
        `image` is the path relative to the root with forward slashes. Patients stay empty: a
        folder does not tell them. Everything that was left out is in `exclusions`, with the
        reason: what is not an image by its extension, what lies outside every class, class
        folders without an image, and links to a file that has its row already.

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
    depth = 2 if _is_split(root, seen) else 1
    tally = Tally(root, source)
    firsts: dict[str, tuple[str, str]] = {}
    for file in seen:
        parts = file.name.split("/")
        if file.refusal:
            tally.leave(file.path, file.refusal)
        elif len(parts) <= depth:
            tally.leave(file.path, "outside every class folder")
        elif not _is_repeated(tally, file, parts[depth - 1], firsts):
            split = _SPLITS[parts[0].lower()].value if depth == 2 else None
            tally.keep(file.path, parts[depth - 1], split=split)
    if not firsts:
        found = sum(not file.refusal for file in seen)
        raise ManifestError(
            f"{root} has no class folders with images ({found} image{'s' * (found != 1)} and "
            f"{len(seen) - found} other files were seen). {_EXPECTED}"
        )
    for folder in _empty_class_folders(root, depth, {name for name, _ in firsts.values()}):
        tally.leave(folder, "a class folder without an image")
    return tally.manifest()


def _is_split(root: Path, seen: list[Seen]) -> bool:
    """Whether the first level says train, val and test; a mixture is refused, not guessed at."""
    tops = sorted({f.name.split("/")[0] for f in seen if not f.refusal and "/" in f.name})
    splits = [top for top in tops if top.lower() in _SPLITS]
    others = [top for top in tops if top.lower() not in _SPLITS]
    if splits and others:
        raise ManifestError(
            f"{root} mixes folders of a split ({', '.join(splits)}) with others "
            f"({', '.join(others[:5])}), so its classes are not clear. {_EXPECTED}"
        )
    return bool(splits)


def _is_repeated(tally: Tally, file: Seen, label: str, firsts: dict[str, tuple[str, str]]) -> bool:
    """Leave out a second path to a file met before; one file in two classes is refused."""
    if file.real not in firsts:
        firsts[file.real] = (file.name, label)
        return False
    name, first_label = firsts[file.real]
    if first_label != label:
        raise ManifestError(
            f"{name} and {file.name} below {tally.root} are one file ({file.real}), linked, but of "
            f"the classes {first_label!r} and {label!r}. Remove one of them."
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
