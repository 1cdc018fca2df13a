"""Images with parts taken away: the lungs, all but the lungs, all but the edges.

What is taken away becomes the mean grey of what is left, so that its own brightness is gone; what
cannot be hidden is where it was; `outside_box` leaves of the outline no more than a box.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.descriptors import frame
from hurdles.errors import HurdleError, LungsNotFoundError
from hurdles.pixels.prepare import BLANK_MARGIN, CROP_MARGIN, PREPARATIONS, View, resize_square
from hurdles.pixels.regions import box_of, grown

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]

_EDGES = 1 / 12


def without_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images whose lungs, with a margin around them, are blank: as ``background`` does."""
    return _each(pixels, masks, lambda image, mask: _step("background", image, mask))


def only_lungs(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images of nothing but the lungs, whose greys fill the scale: as ``masked`` does."""
    return _each(pixels, masks, lambda image, mask: _step("masked", image, mask))


def lungs_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return the lungs' box with a margin, stretched to the whole image: as ``cropped`` does."""
    return _each(pixels, masks, lambda image, mask: _step("cropped", image, mask))


def outside_box(pixels: Bytes, masks: Flags) -> Bytes:
    """Return images in which the lungs' box with a margin is blank."""

    def one(image: NDArray[np.float32], mask: Flags) -> NDArray[np.float32]:
        inside = np.zeros(mask.shape, dtype=bool)
        inside[box_of(mask, CROP_MARGIN)] = True
        return _blank(image, inside)

    return _each(pixels, masks, one)


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
    found = pixels.copy()
    found[:, inside] = np.rint(edges).astype(np.uint8)[:, None]
    return found


def blankable(masks: Flags) -> Flags:
    """Return in which images lungs were found that leave something outside, shape (n,)."""
    found = np.asarray(masks.any(axis=(1, 2)))
    for row in np.flatnonzero(found):
        found[row] = not grown(masks[row], BLANK_MARGIN).all()
    return found


def _blank(image: NDArray[np.float32], inside: Flags) -> NDArray[np.float32]:
    grey = image[~inside].mean(dtype=np.float64) if not inside.all() else 0.5
    return np.where(inside, np.float32(grey), image)


def _step(name: str, image: NDArray[np.float32], mask: Flags) -> NDArray[np.float32]:
    view = View(image, mask)
    for step in PREPARATIONS.get(name):
        view = step.apply(view)
    return view.pixels


def _each(
    pixels: Bytes,
    masks: Flags,
    one: Callable[[NDArray[np.float32], Flags], NDArray[np.float32]],
) -> Bytes:
    found = np.empty_like(pixels)
    for row, (image, mask) in enumerate(zip(pixels, masks, strict=True)):
        try:
            altered = one(image.astype(np.float32) / 255, mask)
        except (LungsNotFoundError, ValueError) as error:
            raise HurdleError(f"row {row} of {len(pixels)}: {error}") from error
        square = resize_square(altered, pixels.shape[1])
        found[row] = np.rint(np.clip(square, 0, 1) * 255)
    return found
