"""Altered copies of radiographs: drawn first as a table, then applied deterministically."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: One altered image, or an unaltered one: apart from the position, zero alters nothing.
#:
#: =============== =================================================================================
#: position        of the image among the prepared pixels
#: flip            whether it is flipped left to right, after the moves
#: degrees         by which it is turned, counter-clockwise
#: shift_x         by which it is moved to the right, as a share of its side
#: shift_y         by which it is moved down, as a share of its side
#: growth          by which it is enlarged about its center: 0.1 is a tenth larger
#: contrast        by which distances from middle gray grow: -0.2 is a fifth flatter
#: brightness      which is added, as a share of the range from black to white
#: =============== =================================================================================
DRAW = np.dtype(
    [
        ("position", np.int64),
        ("flip", np.bool_),
        ("degrees", np.float32),
        ("shift_x", np.float32),
        ("shift_y", np.float32),
        ("growth", np.float32),
        ("contrast", np.float32),
        ("brightness", np.float32),
    ]
)

_MIDDLE = 127.5


def draw(
    positions: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    flip: float,
    rotation: float,
    degrees: float,
    shift: float = 0.0,
    scale: float = 1.0,
    contrast: float = 0.0,
) -> NDArray[np.void]:
    """Draw one alteration for each position.

    Flips and rotations come by chance; every image is shifted, enlarged and changed in contrast and
    brightness, each uniformly within its range. What has no range draws no number, so that a recipe
    without it keeps its random numbers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> made = draw(np.array([7, 3]), rng, flip=0, rotation=0, degrees=0, shift=0.1)
    >>> made["position"].tolist(), bool((abs(made["shift_y"]) <= 0.1).all()), made["growth"].any()
    ([7, 3], True, np.False_)
    """
    n = len(positions)
    draws = np.zeros(n, dtype=DRAW)
    draws["position"] = positions
    draws["flip"] = rng.random(n) < flip
    turned = rng.random(n) < rotation
    draws["degrees"] = np.where(turned, rng.uniform(-degrees, degrees, n), 0.0)
    if shift:
        draws["shift_x"], draws["shift_y"] = rng.uniform(-shift, shift, (2, n))
    if scale != 1:
        draws["growth"] = rng.uniform(0, scale - 1, n)
    if contrast:
        draws["contrast"], draws["brightness"] = rng.uniform(-contrast, contrast, (2, n))
    return draws


def apply_draws(
    pixels: NDArray[np.uint8], draws: NDArray[np.void], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Return the images that the draws describe.

    A turned image is enlarged until no corner is empty, as the Augmentor library does, which seed
    004 used: where only one class is altered, black corners would name the class. What a shift
    brings in from beyond the edge is the mirrored image. Rotation, enlargement and shift are one
    resampling, so that an image is blurred once.
    """
    import cv2

    levels = np.arange(256)
    if out is None:
        out = np.empty((len(draws), *pixels.shape[1:]), dtype=np.uint8)
    # tolist gives plain Python numbers, which are several times faster to read than records.
    for target, one in zip(out, draws.tolist(), strict=True):
        position, flip, degrees, right, down, growth, contrast, brightness = one
        image = pixels[position]
        if degrees or right or down or growth:
            # Without a shift only rounding reaches beyond the edge.
            scale, still = inner_scale(degrees) * (1 + growth), not (right or down)
            image = moved(
                image, degrees=degrees, scale=scale, right=right, down=down, replicate=still
            )
        if contrast or brightness:
            toned = (levels - _MIDDLE) * (1 + contrast) + _MIDDLE + 255 * brightness
            table = np.rint(toned).clip(0, 255).astype(np.uint8)
            image = cv2.LUT(np.ascontiguousarray(image), table)
        target[:] = image[:, ::-1] if flip else image
    return out


def inner_scale(degrees: float) -> float:
    """Return by how much a turned square grows so that an upright square of its size fits in.

    An upright square inscribed in the unit square turned by a has the side
    1 / (|cos a| + |sin a|).
    """
    angle = math.radians(degrees)
    return abs(math.cos(angle)) + abs(math.sin(angle))


def moved(
    image: NDArray[np.uint8],
    *,
    degrees: float = 0.0,
    scale: float = 1.0,
    right: float = 0.0,
    down: float = 0.0,
    replicate: bool = False,
) -> NDArray[np.uint8]:
    """Turn and enlarge a square image about its center and shift it, in one resampling.

    Degrees run counter-clockwise, shifts are shares of the side. Beyond the edge lies the
    mirrored image, or its outermost pixel again.
    """
    import cv2

    size = image.shape[0]
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), degrees, scale)
    matrix[:, 2] += (right * size, down * size)
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_REFLECT_101
    whole = np.ascontiguousarray(image)
    return np.asarray(cv2.warpAffine(whole, matrix, (size, size), borderMode=border))
