"""From decoded pixels of any size to the square of bytes that networks are fed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hurdles.registry import Registry

__all__ = ["PREPARATIONS", "Preparation", "resize_square"]

#: Functions from decoded pixels, ``float32`` (H, W) in [0, 1], to pixels of the same kind and any
#: size; the resize to a square follows. A function carries its own ``version`` where it has one.
PREPARATIONS: Registry[Callable[[np.ndarray], np.ndarray]] = Registry("preparation")

#: Part of every key. Raise it when `resize_square` or the rounding comes to give other bytes.
_VERSION = 1


@PREPARATIONS.register("raw")
def _raw(pixels: np.ndarray) -> np.ndarray:
    """Leave the pixels as they were decoded."""
    return pixels


@dataclass(frozen=True)
class Preparation:
    """How decoded pixels become a network's input.

    Parameters
    ----------
    size : int
        Height and width of the result, in pixels.
    name : str
        Which registered function the pixels pass first; ``raw`` changes nothing.

    Raises
    ------
    RegistryError
        If no preparation has this name.
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> prepare = Preparation(size=2)
    >>> prepare.key
    'raw-2px-v1'
    >>> prepare(np.array([[0, 1], [0.2, 0.4]], dtype=np.float32)).tolist()
    [[0, 255], [51, 102]]
    """

    size: int = 224
    name: str = "raw"

    def __post_init__(self) -> None:
        PREPARATIONS.get(self.name)
        if self.size < 1:
            raise ValueError(f"size is {self.size}; a prepared image has at least one pixel.")

    @property
    def key(self) -> str:
        """Every setting and the version of the algorithm, as text: equal keys, equal bytes."""
        return f"{self.name}-{self.size}px-v{_VERSION}"

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Turn ``float32`` (H, W) in [0, 1] into ``uint8`` (size, size), rounding to nearest."""
        square = resize_square(PREPARATIONS.get(self.name)(pixels), self.size)
        scaled: np.ndarray = np.rint(np.clip(square, 0, 1) * np.float32(255))
        return scaled.astype(np.uint8)


def resize_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Stretch ``float32`` (H, W) to (size, size); the aspect ratio is not kept.

    Each axis for itself: where it shrinks, a result is the mean of the area that it covers; where
    it grows, values between are linear. Shrinking comes first. An axis that fits is left alone.
    """
    import cv2

    # One axis at a time, the other turned: faster in OpenCV than both at once.
    for _ in range(2):
        if pixels.shape[0] > size:
            rows = (pixels.shape[1], size)
            pixels = cv2.resize(pixels, rows, interpolation=cv2.INTER_AREA)
        pixels = cv2.transpose(pixels)
    if pixels.shape != (size, size):
        pixels = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels)
