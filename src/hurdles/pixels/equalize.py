"""Grey levels made comparable: histogram equalisation, CLAHE, and the range of a region.

Each function takes and returns pixels as `hurdles.pixels.decode.decode` gives them and draws
nothing at random. Equalisation and scaling are monotone: no pixel that was darker becomes
brighter than another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clahe", "equalize", "scale_to"]

#: Brightest of the levels that are counted. 8-bit files keep their 256 levels (255 divides it), and
#: deep ones lose none that a prepared image could show.
_TOP = 65535


def equalize(
    pixels: NDArray[np.float32], mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Equalise the histogram: every pixel becomes its rank among all pixels.

    The darkest level becomes 0 and the brightest 1; a level between becomes the share of pixels
    that are not brighter, the darkest ones not counted. On 8-bit pixels this is what OpenCV's
    ``equalizeHist`` computes, before it rounds.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    mask : bool array of shape (H, W), optional
        Pixels that are counted; the others are mapped by the same table and change nothing for
        them. Default: all.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]
        An unchanged copy where the counted pixels are all equal.

    Raises
    ------
    ValueError
        If the mask holds no pixel or is of another shape.

    References
    ----------
    Gonzalez and Woods, Digital Image Processing, section 3.3.

    Examples
    --------
    >>> equalize(np.array([[0.1, 0.1], [0.2, 0.9]], dtype=np.float32)).tolist()
    [[0.0, 0.0], [0.5, 1.0]]
    """
    _check(pixels, mask)
    levels = _levels(pixels, _TOP).astype(np.uint16)
    counted = levels.ravel() if mask is None else levels[mask]
    counts = np.bincount(counted, minlength=_TOP + 1)
    not_brighter = np.cumsum(counts)
    darkest = counts[counted.min()]
    others = not_brighter[-1] - darkest
    if not others:
        return pixels.copy()
    table = (np.maximum(not_brighter - darkest, 0) / others).astype(np.float32)
    return np.asarray(table[levels])


def clahe(
    pixels: NDArray[np.float32], *, limit: float = 2.0, tiles: int = 8
) -> NDArray[np.float32]:
    """Equalise locally with limited contrast (CLAHE), by OpenCV, on 256 levels.

    256 levels on purpose: OpenCV measures the limit in pixels per level, so that on 65536 levels
    the same limit would leave a small image as it is.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    limit : float
        How far a level may stand above a flat histogram; positive.
    tiles : int
        Tiles along either side; at least 1.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]

    Raises
    ------
    ValueError
        If `limit` or `tiles` is out of range.

    References
    ----------
    Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV, 1994.
    """
    import cv2

    if limit <= 0 or tiles < 1:
        raise ValueError(f"limit is {limit} and tiles {tiles}; give a positive limit and tiles.")
    # Made anew: one object must not be used by two threads.
    method = cv2.createCLAHE(clipLimit=limit, tileGridSize=(tiles, tiles))
    equalised = method.apply(_levels(pixels, 255).astype(np.uint8))
    return np.asarray(equalised, dtype=np.float32) / np.float32(255)


def scale_to(
    pixels: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> NDArray[np.float32]:
    """Scale so that the range of a region fills [0, 1]; what lies beyond it is clipped.

    Percentiles rather than the extremes: one white marker pixel inside a mask would decide on the
    contrast of the whole lung.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]
    mask : bool array of shape (H, W)
        The region, for instance the lungs.
    percentiles : tuple of float
        Of the region's pixels: what becomes 0 and what becomes 1.

    Returns
    -------
    float32 array of shape (H, W), within [0, 1]
        An unchanged copy where both percentiles are the same level.

    Raises
    ------
    ValueError
        If the mask holds no pixel or is of another shape.

    Examples
    --------
    >>> pixels = np.array([[0.0, 0.25, 0.5, 1.0]], dtype=np.float32)
    >>> scale_to(pixels, pixels < 0.6, percentiles=(0, 100)).tolist()
    [[0.0, 0.5, 1.0, 1.0]]
    """
    _check(pixels, mask)
    low, high = np.percentile(pixels[mask], percentiles).astype(np.float32)
    if not high > low:
        return pixels.copy()
    return np.asarray(np.clip((pixels - low) / (high - low), np.float32(0), np.float32(1)))


def _levels(pixels: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(top)))


def _check(pixels: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
    if mask is None:
        return
    if mask.shape != pixels.shape:
        raise ValueError(
            f"the mask has shape {mask.shape} and the image {pixels.shape}; stretch the mask to "
            "the image (hurdles.pixels.regions.stretched)."
        )
    if not mask.any():
        raise ValueError("the mask holds no pixel; there is no range to be read from it.")
