"""Mean and standard deviation of the training images, exact."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError

# Images at a time, so that a memory map larger than the memory will do.
_CHUNK = 256


def pixel_scaling(pixels: NDArray[np.uint8], positions: NDArray[np.integer]) -> tuple[float, float]:
    """Return the mean and the standard deviation of all pixels of some images, from 0 to 1.

    Bytes are counted by their value, so that sums are of integers and nothing depends on the order.

    Examples
    --------
    >>> pixels = np.array([[[0, 255]], [[255, 0]], [[9, 9]]], dtype=np.uint8)
    >>> pixel_scaling(pixels, np.array([0, 1]))
    (0.5, 0.5)
    """
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(positions), _CHUNK):
        chunk = pixels[positions[start : start + _CHUNK]]
        counts += np.bincount(chunk.reshape(-1), minlength=256)
    tally: list[int] = counts.tolist()  # Python integers: squares overflow nowhere
    n = sum(tally)
    total = sum(value * count for value, count in enumerate(tally))
    squares = sum(value * value * count for value, count in enumerate(tally))
    spread = n * squares - total * total
    if not spread:
        raise RecipeError(
            f"all {len(positions)} training images are of one and the same grey, which "
            "model.scaling = 'training' would divide by zero. Look at the images, or set 'none'."
        )
    return total / n / 255, math.sqrt(spread) / n / 255
