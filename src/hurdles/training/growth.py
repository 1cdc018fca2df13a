"""Images that grow in the course of a training: the size of each epoch, and images of that size.

What most of the weights learn shows in small images already, which take a fraction of the time; the
last epochs, at the size of the preparation, fit the network to what it will be asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hurdles.pixels.perturb import apply_draws
from hurdles.pixels.prepare import resize_square
from hurdles.recipe.recipe import TrainingSection


def size_of(section: TrainingSection, size: int, epoch: int) -> int:
    """Return the side of an epoch's training images; `size` is that of the preparation."""
    return section.sizes[epoch - 1] if epoch <= len(section.sizes) else size


def cost_of(section: TrainingSection, size: int, epoch: int) -> int:
    """Return how many times as long a step of an epoch takes as one of the smallest images."""
    return round((size_of(section, size, epoch) / min(*section.sizes, size, size)) ** 2)


def taken(pixels: NDArray[np.uint8], draws: NDArray[np.void], side: int) -> NDArray[np.uint8]:
    """Return the images that the draws describe, uint8 (n, side, side): shrunk, then altered.

    Alterations are drawn as shares of an image, so they mean the same at every size.
    """
    if side == pixels.shape[1]:
        return apply_draws(pixels, draws)
    small = np.stack([resize_square(pixels[position], side) for position in draws["position"]])
    renumbered = draws.copy()
    renumbered["position"] = np.arange(len(draws))
    return apply_draws(small, renumbered)


def area_means(size: int, side: int) -> NDArray[np.float32]:
    """Return the matrix (side, size) that shrinks a column of pixels: means of what each covers."""
    import cv2

    one = np.eye(size, dtype=np.float32)
    return np.asarray(cv2.resize(one, (size, side), interpolation=cv2.INTER_AREA))
