"""What can be seen of a file's faults in its pixels: simple statistics, each with a threshold.

How often each is right and wrong on real images is printed by ``bench/detectors.py``.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

_GRID = 16
_INNER = slice(2, 14)
#: A line of pixels along an edge belongs to a frame if nine tenths of it lie within so many levels.
_EVEN = 8
#: Marks are sought in this share of the image along every edge ...
_OUTER = 0.3
#: ... as strokes that stand out by so many levels from what is around them.
_STROKE = 60


def chest_likeness(pixels: Bytes) -> Floats:
    """Return how much images look like a frontal chest X-ray with bright bone.

    The correlation of a 12 x 12 thumbnail of the middle with the mean of synthetic chests
    (`hurdles.phantom`). Near 1: a chest; near -1: an inverted one; near 0: a lateral view,
    or no chest.

    Examples
    --------
    >>> from hurdles.phantom import phantom_cohort
    >>> chests = phantom_cohort(3, seed=5, size=64).pixels
    >>> bool((chest_likeness(chests) > 0.3).all())
    True
    >>> bool(np.allclose(chest_likeness(255 - chests), -chest_likeness(chests), atol=0.05))
    True
    """
    thumbs = _thumbnails(pixels)
    template = _template()
    return np.asarray(thumbs @ template / thumbs.shape[1])


def frame_width(pixels: Bytes) -> Floats:
    """Return how wide the even band along the edges is, as a share of the side.

    Examples
    --------
    >>> framed = np.random.default_rng(0).integers(0, 255, (1, 100, 100)).astype(np.uint8)
    >>> framed[:, :6] = framed[:, -9:] = 0
    >>> frame_width(framed).tolist()
    [0.06]
    """
    most = pixels.shape[1] // 4
    widths = np.zeros((len(pixels), 4))
    for i, image in enumerate(pixels):
        for j, band in enumerate((image, image[::-1], image.T, image.T[::-1])):
            # Most images end this at their first line.
            uneven = (k for k in range(most) if not _is_even(band[k]))
            widths[i, j] = next(uneven, most)
    return np.asarray(np.sort(widths, axis=1)[:, -2] / pixels.shape[1])


def _is_even(line: Bytes) -> bool:
    rest = len(line) // 20
    ordered = np.sort(line)
    return int(ordered[-1 - rest]) - int(ordered[rest]) <= _EVEN


def marked_share(pixels: Bytes) -> Floats:
    """Return how much of the outer part is covered by bright strokes of the size of letters.

    Examples
    --------
    >>> image = np.full((1, 100, 100), 40, dtype=np.uint8)
    >>> image[0, 5:15, 10:12] = image[0, 13:15, 10:16] = 250
    >>> marked_share(image).tolist(), marked_share(image * 0).tolist()
    ([0.0028], [0.0])
    """
    import cv2

    side = pixels.shape[1]
    stroke = max(3, 2 * (side // 50) + 1)
    kernel = np.ones((stroke, stroke), dtype=np.uint8)
    inner = slice(round(_OUTER * side), round((1 - _OUTER) * side))
    found = np.zeros(len(pixels))
    for i, image in enumerate(pixels):
        hat = cv2.morphologyEx(np.ascontiguousarray(image), cv2.MORPH_TOPHAT, kernel)
        bright = (hat > _STROKE).astype(np.uint8)
        bright[inner, inner] = 0
        count, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
        if count > 1:
            parts = stats[1:]
            longest = parts[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
            area = parts[:, cv2.CC_STAT_AREA]
            # Letters are neither specks of noise nor the long edge of a collimator.
            letters = (longest >= side * 0.015) & (longest <= side * 0.15) & (area >= 4)
            found[i] = area[letters].sum() / side**2
    return found


def blockiness(pixels: Bytes, sides: Floats | None = None) -> Floats:
    """Return how much steeper grey levels change across the 8 x 8 blocks of JPEG than within.

    Examples
    --------
    >>> blocks = np.kron(np.random.default_rng(0).integers(0, 255, (8, 8)), np.ones((8, 8)))
    >>> bool(blockiness(blocks[None].astype(np.uint8)) > 10)
    True
    """
    side = pixels.shape[1]
    edge = np.arange(side - 1) % 8 == 7
    found = np.full(len(pixels), np.nan)
    for i, image in enumerate(pixels):
        if sides is None or sides[i] == side:
            grey = image.astype(np.int16)
            steps = [np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
            across = sum(float(s[edge].mean()) for s in steps)
            within = sum(float(s[~edge].mean()) for s in steps)
            found[i] = (across + 0.1) / (within + 0.1)
    return found


def grey_levels(pixels: Bytes) -> NDArray[np.int64]:
    """Return how many different grey levels occur in each image, shape (N,).

    Examples
    --------
    >>> grey_levels(np.array([[[0, 1], [1, 9]]], dtype=np.uint8)).tolist()
    [3]
    """
    return np.array([np.count_nonzero(np.bincount(p.ravel(), minlength=256)) for p in pixels])


def _thumbnails(pixels: Bytes) -> Floats:
    import cv2

    shape = (_GRID, _GRID)
    small = [cv2.resize(p, shape, interpolation=cv2.INTER_AREA)[_INNER, _INNER] for p in pixels]
    table = np.asarray(small, dtype=np.float64).reshape(len(pixels), -1)
    table -= table.mean(axis=1, keepdims=True)
    spread = table.std(axis=1, keepdims=True)
    return np.asarray(np.divide(table, spread, out=np.zeros_like(table), where=spread > 0))


@cache
def _template() -> Floats:
    from hurdles.phantom import phantom_cohort

    mean = _thumbnails(phantom_cohort(24, seed=0, size=64).pixels).mean(axis=0)
    return np.asarray(mean / mean.std())


def sides_of(facts: pd.DataFrame) -> Floats | None:
    """Return the longer side of every file's image, (N,), or None where there are no files."""
    if not {"height", "width"} <= set(facts.columns):
        return None
    return np.asarray(facts[["height", "width"]].max(axis=1), dtype=np.float64)
