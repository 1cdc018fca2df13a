"""From a network's probabilities to a mask of the lungs that may be trusted, or says why not.

Cleaning keeps what two lungs look like: the two largest parts, without bridges, spurs or holes.
What is left is judged by `hurdles.lungs.plausibility`; a mask that cannot be two lungs keeps its
pixels but carries a flaw, and nothing downstream uses it silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hurdles.lungs.plausibility import flaw_of
from hurdles.pixels.regions import stretched

__all__ = ["CLEANING_VERSION", "LungMask", "clean", "stretched"]

#: Part of every cache key. Raise it when the same probabilities come to give another mask or flaw.
CLEANING_VERSION = 1

_THRESHOLD = 0.5
#: Of the disc that opens the mask, in pixels: what is thinner than seven pixels is no lung.
_RADIUS = 3


@dataclass(frozen=True, eq=False)
class LungMask:
    """Where the lungs are, and whether that may be believed.

    Parameters
    ----------
    mask : bool array of shape (H, W)
        True inside the lungs.
    flaw : str
        Empty where the mask is plausible, else what is wrong with it, in a sentence.
    parts : tuple of float
        Area of each part as a share of the image, from the left of the image to its right: on a
        frontal view the patient's right lung comes first.

    Examples
    --------
    >>> rows, columns = np.indices((256, 256))
    >>> outwards = abs(columns - 127.5)
    >>> inside = (rows >= 60) & (rows < 200) & (outwards > 15) & (outwards < rows / 2)
    >>> lungs = clean(0.9 * inside)
    >>> lungs.is_plausible, lungs.box
    (True, (60, 200, 31, 225))
    >>> clean(0.4 * inside).flaw
    'empty: no lung was found'
    """

    mask: NDArray[np.bool_]
    flaw: str
    parts: tuple[float, ...]

    @property
    def is_plausible(self) -> bool:
        """Whether the mask has the shape of two lungs."""
        return not self.flaw

    @property
    def area(self) -> float:
        """Share of the image that lies in the mask, 0 to 1."""
        return float(sum(self.parts))

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Top, bottom, left, right of the mask, as for slices; four zeros where it is empty."""
        rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
        if not rows.size:
            return (0, 0, 0, 0)
        return (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def clean(probability: NDArray[np.floating]) -> LungMask:
    """Turn probabilities into a mask, and judge it.

    In this order: threshold at one half; opening with a disc, which cuts bridges between the lungs
    and smooths the edge; holes filled; the two largest parts kept. Cleaning a clean mask again
    changes nothing, and a mirrored image gives the mirrored mask.

    Parameters
    ----------
    probability : float array of shape (256, 256), within [0, 1]
        Of being lung. Not-a-numbers count as not lung.

    Returns
    -------
    LungMask
        Of the same shape.

    Raises
    ------
    ValueError
        If the array is not two-dimensional.
    """
    import cv2

    if probability.ndim != 2 or not probability.size:
        raise ValueError(f"probabilities have shape {probability.shape}; give one image, (H, W).")
    binary = np.asarray(probability >= _THRESHOLD, dtype=np.uint8)
    opened = _filled(cv2.morphologyEx(binary, cv2.MORPH_OPEN, _disc(_RADIUS)))
    parts = _largest_two(opened)
    mask = np.zeros(binary.shape, dtype=bool)
    for part in parts:
        mask |= part
    return LungMask(mask, flaw_of(parts), tuple(float(part.mean()) for part in parts))


def _disc(radius: int) -> NDArray[np.uint8]:
    across = np.arange(-radius, radius + 1)
    return np.asarray(across**2 + across[:, None] ** 2 <= radius**2 + 1, dtype=np.uint8)


def _filled(binary: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill every hole: background that a path of edge-sharing pixels cannot leave."""
    import cv2

    around = np.pad(binary, 1)
    cv2.floodFill(around, None, (0, 0), 2, flags=4)
    return np.asarray(around[1:-1, 1:-1] != 2, dtype=np.uint8)


def _largest_two(binary: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """Return the largest two parts, from left to right; of equals the one nearer the middle."""
    import cv2

    count, labels, stats, centres = cv2.connectedComponentsWithStats(binary, connectivity=8)
    middle = (binary.shape[1] - 1) / 2

    def rank(part: int) -> tuple[float, float, float]:
        across, down = centres[part]
        return (-stats[part, cv2.CC_STAT_AREA], abs(across - middle), down)

    kept = sorted(sorted(range(1, count), key=rank)[:2], key=lambda part: centres[part][0])
    return [labels == part for part in kept]
