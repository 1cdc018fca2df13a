"""Altered copies of radiographs: drawn first as a table, then applied deterministically."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAW", "apply_draws", "draw", "inner_scale"]

#: One altered (or unaltered) image: its position among the prepared pixels, whether it is
#: flipped left to right, and by how many degrees it is turned, counter-clockwise.
DRAW = np.dtype([("position", np.int64), ("flip", np.bool_), ("degrees", np.float32)])


def draw(
    positions: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    flip: float,
    rotation: float,
    degrees: float,
) -> NDArray[np.void]:
    """Draw one alteration for each position.

    Parameters
    ----------
    positions : int array of shape (n,)
        Positions of the images among the prepared pixels.
    rng : numpy.random.Generator
        Where the numbers come from.
    flip, rotation : float
        Probabilities, within [0, 1], of a flip and of a rotation.
    degrees : float
        A rotation is uniform within -degrees to degrees.

    Returns
    -------
    array of shape (n,) and dtype `DRAW`
    """
    draws = np.zeros(len(positions), dtype=DRAW)
    draws["position"] = positions
    draws["flip"] = rng.random(len(positions)) < flip
    turned = rng.random(len(positions)) < rotation
    draws["degrees"] = np.where(turned, rng.uniform(-degrees, degrees, len(positions)), 0.0)
    return draws


def apply_draws(
    pixels: NDArray[np.uint8], draws: NDArray[np.void], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return the images that the draws describe.

    A turned image is enlarged until no corner is empty, as the Augmentor library does, which seed
    004 used: where only one class is altered, black corners would name the class.

    Parameters
    ----------
    pixels : uint8 array of shape (N, size, size)
    draws : array of shape (n,) and dtype `DRAW`
    out : uint8 array of shape (n, size, size), optional
        Where the result is written.

    Returns
    -------
    uint8 array of shape (n, size, size)
    """
    if out is None:
        out = np.empty((len(draws), *pixels.shape[1:]), dtype=np.uint8)
    for target, (position, flip, degrees) in zip(out, draws, strict=True):
        image = pixels[position]
        if degrees:
            image = _turned(image, float(degrees))
        target[:] = image[:, ::-1] if flip else image
    return out


def inner_scale(degrees: float) -> float:
    """Return by how much a turned square grows so that an upright square of its size fits in.

    An upright square inscribed in the unit square turned by a has the side
    1 / (|cos a| + |sin a|).

    Examples
    --------
    >>> round(inner_scale(0.0), 3), round(inner_scale(15.0), 3)
    (1.0, 1.225)
    """
    angle = math.radians(degrees)
    return abs(math.cos(angle)) + abs(math.sin(angle))


def _turned(image: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    import cv2

    size = image.shape[0]
    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, inner_scale(degrees))
    return np.asarray(
        cv2.warpAffine(
            np.ascontiguousarray(image),
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )
