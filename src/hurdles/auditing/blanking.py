"""Images with parts taken away: the lungs, all but the lungs, all but the edges.

What is taken away becomes the mean gray of what is left, so that its own brightness is gone; what
cannot be hidden is where it was; `outside_box` leaves of the outline no more than a box.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.descriptors import frame
from hurdles.errors import HurdleError, LungsNotFoundError
from hurdles.pixels.prepare import (
    BLANK_MARGIN,
    CROP_MARGIN,
    PREPARATIONS,
    MaskedImage,
    box_of,
    grown,
    resize_square,
)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_EDGES = 1 / 12


def stepped(preparation: str, pixels: Floats, mask: Flags | None) -> MaskedImage:
    """Return an image within [0, 1] and its lungs after the steps of a preparation."""
    view = MaskedImage(pixels, mask)
    for step in PREPARATIONS.get(preparation):
        view = step.apply(view)
    return view


def as_bytes(pixels: Floats, size: int) -> Bytes:
    """Return an image within [0, 1] stretched to a square of bytes, as `Preparation` does."""
    square = np.clip(resize_square(pixels, size), 0, 1)
    return np.asarray(np.rint(square * np.float32(255)), dtype=np.uint8)


def without_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images whose lungs, with a margin around them, are blank: as ``background`` does."""
    return _each(pixels, masks, lambda image, mask: stepped("background", image, mask).pixels)


def only_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images of nothing but the lungs, whose grays fill the scale: as ``masked`` does."""
    return _each(pixels, masks, lambda image, mask: stepped("masked", image, mask).pixels)


def lungs_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return the lungs' box with a margin, stretched to the whole image: as ``cropped`` does."""
    return _each(pixels, masks, lambda image, mask: stepped("cropped", image, mask).pixels)


def outside_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images in which the lungs' box with a margin is blank."""

    def blank(image: Floats, mask: Flags) -> Floats:
        inside = np.zeros(mask.shape, dtype=bool)
        inside[box_of(mask, CROP_MARGIN)] = True
        gray = image[~inside].mean(dtype=np.float64) if not inside.all() else 0.5
        return np.where(inside, np.float32(gray), image)

    return _each(pixels, masks, blank)


def only_edges(pixels: Bytes) -> Bytes:
    """Return images of which a twelfth on every side is left.

    Examples
    --------
    >>> image = np.zeros((1, 24, 24), dtype=np.uint8)
    >>> image[:, 2:-2, 2:-2] = 200
    >>> int(only_edges(image).max())
    0
    """
    inside = ~frame(pixels.shape[1], _EDGES)
    edges = pixels[:, ~inside].mean(axis=1)
    altered = pixels.copy()
    altered[:, inside] = np.rint(edges).astype(np.uint8)[:, None]
    return altered


def blankable(masks: Flags) -> Flags:
    """Return in which images lungs were found that leave something outside, shape (n,)."""
    able = np.asarray(masks.any(axis=(1, 2)))
    for row in np.flatnonzero(able):
        able[row] = not grown(masks[row], BLANK_MARGIN).all()
    return able


def _each(pixels: Bytes, masks: Flags, alter: Callable[[Floats, Flags], Floats]) -> Bytes:
    altered = np.empty_like(pixels)
    for row, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        try:
            altered[row] = as_bytes(alter(image.astype(np.float32) / 255, mask), len(image))
        except (LungsNotFoundError, ValueError) as error:
            raise HurdleError(f"row {row} of {len(pixels)}: {error}") from error
    return altered
