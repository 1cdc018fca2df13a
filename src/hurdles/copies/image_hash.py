"""Hashes of radiographs: near for copies, far for other chests, and far too short for an image.

All chests look alike, so the usual perceptual hashes of two patients agree in most of their bits.
The bits here are signs of 256 fixed weighted sums of a small print (`hurdles.copies.alignment`).
The sums look along the 64 directions in which prints of radiographs differ most, as against those
of copies of one; what all chests share is left out, and four random rotations of the 64 give the
bits, so that each is set in half of all images and, within a word, tells nothing of its
neighbours. The weights were learnt from public collections by
``python bench/near_duplicates.py FOLDER --learn`` and ship as 64 KB of small integers.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.copies.alignment import central, prints
from hurdles.copies.near import BITS, RADIUS, WORDS, NearPairs, near_pairs

#: Share cut off each side of an image before it is hashed: a crop meets its whole in one of them.
CUTS = (0.0, 0.04, 0.08)
#: The hashes of an image, in their order.
VIEWS = (*(f"{cut:.0%} cut" for cut in CUTS), "mirrored")

_MIRRORED = len(CUTS)
_SMALL = 16
_CHUNK = 512
#: Which views of two images are compared: wholes, and the whole of either with crops of the other.
_CROPPED = ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0))


class HashMatch(NamedTuple):
    """Two images whose hashes are near.

    Parameters
    ----------
    a, b : int
        Rows.
    distance : int
        Bits in which their nearest views differ, of 256.
    inverted, mirrored : bool
        Whether bright and dark, or left and right, are exchanged.
    cut_a, cut_b : float
        Share cut off each side of either image in these views.
    """

    a: int
    b: int
    distance: int
    inverted: bool = False
    mirrored: bool = False
    cut_a: float = 0.0
    cut_b: float = 0.0


def image_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the hashes of images: of the whole, of two central parts, and of its mirror image.

    Resizing, JPEG and tone curves change a few of the 256 bits, a crop that meets one of the views
    or a rotation by two degrees about 25, another patient about half. An inverted image has the
    complement. An image without structure has zeros only.

    Examples
    --------
    >>> chest = np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8)
    >>> one, inverted = image_hashes(np.concatenate([chest, 255 - chest]))
    >>> bool((one == ~inverted).all())
    True
    """
    hashes = np.zeros((len(pixels), len(VIEWS), WORDS), dtype=np.uint64)
    for start in range(0, len(pixels), _CHUNK):
        some = prints(pixels[start : start + _CHUNK])
        for view, cut in enumerate(CUTS):
            hashes[start : start + _CHUNK, view] = _signs(small_prints(some, cut))
        hashes[start : start + _CHUNK, _MIRRORED] = _signs(small_prints(some[:, :, ::-1]))
    return hashes


def small_prints(whole: NDArray[np.float32], cut: float = 0.0) -> NDArray[np.float32]:
    """Return the central parts of prints, averaged down to 16x16, as rows of length one."""
    rows = np.empty((len(whole), _SMALL * _SMALL), dtype=np.float32)
    for row, one in enumerate(whole):
        rows[row] = central(np.ascontiguousarray(one), cut, _SMALL).ravel()
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-4, rows / np.maximum(norms, 1e-4), np.float32(0))


def hash_matches(
    a: NDArray[np.uint64],
    b: NDArray[np.uint64] | None = None,
    *,
    radius: int = RADIUS,
    mirrored: bool = True,
) -> list[HashMatch]:
    """Return the pairs of images of which some views are near."""
    best: dict[tuple[int, int], HashMatch] = {}
    for one, two in [*_CROPPED, *([(_MIRRORED, 0)] if mirrored else [])]:
        for match in _between(a, b, one, two, radius):
            known = best.get(match[:2])
            if known is None or match.distance < known.distance:
                best[match[:2]] = match
    return [best[rows] for rows in sorted(best)]


def _between(
    a: NDArray[np.uint64], b: NDArray[np.uint64] | None, one: int, two: int, radius: int
) -> list[HashMatch]:
    if b is None and one == two:
        found = near_pairs(a[:, one], radius=radius)
    else:
        found = near_pairs(a[:, one], (a if b is None else b)[:, two], radius=radius)
    mirrored = one == _MIRRORED
    cuts = (0.0 if mirrored else CUTS[one], CUTS[two])
    rows = _in_order(found) if b is None else found
    return [
        HashMatch(int(i), int(j), int(d), bool(inverted), mirrored, *cuts)
        for i, j, d, inverted in zip(rows.a, rows.b, rows.distance, rows.inverted, strict=True)
    ]


def _in_order(found: NearPairs) -> NearPairs:
    # Of views that differ, (i, j) and (j, i) are two comparisons; the other one has its own turn.
    keep = found.a < found.b
    return NearPairs(found.a[keep], found.b[keep], found.distance[keep], found.inverted[keep])


def _signs(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    sums = rows @ _directions()
    signs = sums > 0
    # An exact zero has no sign; the inverted image must still have the complement.
    signs[~rows.any(axis=1)] = False
    packed = np.packbits(signs, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64)


@cache
def _directions() -> NDArray[np.float32]:
    """Return the weights, shape (256, 256): a column for each bit."""
    file = resources.files("hurdles.copies") / "fingerprints" / "directions.npy"
    with file.open("rb") as opened:
        weights = np.load(opened, allow_pickle=False)
    if weights.shape != (_SMALL * _SMALL, BITS) or weights.dtype != np.int8:
        raise ValueError(f"directions.npy has shape {weights.shape}; install hurdles again.")
    return np.asarray(weights, dtype=np.float32)
