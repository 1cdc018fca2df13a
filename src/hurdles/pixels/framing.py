"""Framing and resizing: the square of a radiograph, as models from elsewhere take it."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Framing", "Resize", "framed", "resized"]


Scalar = TypeVar("Scalar", bound=np.generic)


class Framing(StrEnum):
    """Ways to bring a radiograph that is not square to a square."""

    STRETCH = "stretch"
    CROP = "crop"
    PAD = "pad"


class Resize(StrEnum):
    """Ways to resize an image, as libraries have them; they differ in how sharp the result is."""

    AREA = "area"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    SHARP = "bilinear-sharp"
    NEAREST = "nearest"


def framed(
    pixels: NDArray[Scalar], framing: Framing | str, fraction: float = 1.0
) -> NDArray[Scalar]:
    """Cut or fill up an image at its own size; a resize to a square follows.

    Parameters
    ----------
    pixels : array of shape (H, W)
        Pixels, or a mask; any type.
    framing : Framing
        ``stretch`` keeps every pixel, ``crop`` the largest square in the middle, ``pad`` puts the
        image in the middle of the smallest square around it, filled up with 0 (black).
    fraction : float, default 1
        Of what `framing` gives, the middle is kept: this share of its height and of its width,
        within (0, 1]. Of a resize to 256 and a crop to 224 it is 0.875.

    Returns
    -------
    array of shape (h, w), of the same type
        A view where nothing is filled up. Square, but for ``stretch``.

    Raises
    ------
    ValueError
        If `fraction` is no such share.

    Examples
    --------
    >>> framed(np.ones((2, 4), np.uint8), "pad").shape
    (4, 4)
    >>> framed(np.ones((200, 400), np.uint8), "crop", 0.875).shape
    (175, 175)
    """
    way = Framing(framing)
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction is {fraction}; give a share above 0 and at most 1.")
    height, width = pixels.shape
    if way is Framing.PAD:
        side = max(height, width)
        rest = [(side - length) // 2 for length in (height, width)]
        sides = [(side - length - r) for r, length in zip(rest, (height, width), strict=True)]
        pixels = np.pad(pixels, list(zip(rest, sides, strict=True)))
        height = width = side
    elif way is Framing.CROP:
        height = width = min(height, width)
    return _middle(pixels, (_share(height, fraction), _share(width, fraction)))


def resized(pixels: NDArray[np.float32], resize: Resize | str, size: int) -> NDArray[np.float32]:
    """Stretch an image to a square by the filter of another library.

    Parameters
    ----------
    pixels : float32 array of shape (H, W)
    resize : Resize
        ``bilinear`` and ``bicubic`` as Pillow and torchvision have them, smoothed where an image
        shrinks; ``bilinear-sharp`` as OpenCV and TensorFlow, where it is not; ``nearest`` as
        Keras's generators. ``area`` is `hurdles.pixels.prepare.resize_square`, which is not here.
    size : int

    Returns
    -------
    float32 array of shape (size, size)

    Raises
    ------
    KeyError
        For ``area``.

    Examples
    --------
    >>> resized(np.array([[0, 1], [2, 3]], np.float32), "nearest", 1).tolist()
    [[3.0]]
    """
    import cv2
    from PIL import Image

    way, square = Resize(resize), (size, size)
    if way is Resize.SHARP:
        return np.asarray(cv2.resize(pixels, square, interpolation=cv2.INTER_LINEAR))
    filters = {
        Resize.BILINEAR: Image.Resampling.BILINEAR,
        Resize.BICUBIC: Image.Resampling.BICUBIC,
        Resize.NEAREST: Image.Resampling.NEAREST,
    }
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(image.resize(square, filters[way]), dtype=np.float32)


def _share(length: int, fraction: float) -> int:
    return max(1, round(length * fraction))


def _middle(pixels: NDArray[Scalar], shape: tuple[int, int]) -> NDArray[Scalar]:
    top, left = ((have - keep) // 2 for have, keep in zip(pixels.shape, shape, strict=True))
    return pixels[top : top + shape[0], left : left + shape[1]]
