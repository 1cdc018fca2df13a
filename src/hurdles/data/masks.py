"""Drawings of lungs and lesions that lie among radiographs: known by the names they are given."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

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
