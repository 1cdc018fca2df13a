"""Masks and images brought together: a mask stretched to its image, and the box around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["box_of", "grown", "stretched"]

#: Of the blur before a mask is stretched, in pixels of the mask: takes the staircase off its edge.
_EDGE = 1.0


def stretched(
    mask: NDArray[np.bool_] | NDArray[np.uint8], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Stretch a mask to the size of the image that it belongs to.

    The mask is blurred by a pixel and interpolated before it is cut at one half, so that an edge
    that was a curve stays one instead of becoming a staircase.

    Parameters
    ----------
    mask : bool or uint8 array of shape (h, w)
        Of a uint8 mask, what is above 127 is inside.
    shape : (H, W)
        Wanted height and width in pixels; the aspect ratio need not be kept.

    Returns
    -------
    bool array of shape (H, W)
        A copy of `mask` where it already has this shape.

    Raises
    ------
    ValueError
        If the shape is not that of an image.

    Examples
    --------
    >>> half = np.zeros((8, 8), dtype=bool)
    >>> half[:, :4] = True
    >>> stretched(half, (2, 20))[0].nonzero()[0].tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    import cv2

    height, width = shape
    if height < 1 or width < 1:
        raise ValueError(f"the shape is {shape}; an image has at least one row and one column.")
    inside = np.asarray(mask if mask.dtype == np.bool_ else mask.astype(np.uint8) > 127)
    if inside.shape == (height, width):
        return np.array(inside, dtype=bool)
    soft = np.asarray(inside, dtype=np.float32)
    soft = cv2.GaussianBlur(soft, (0, 0), _EDGE, borderType=cv2.BORDER_REPLICATE)
    # Each axis for itself: where it shrinks by the mean, where it grows linearly.
    for size in ((soft.shape[1], height), (width, height)):
        shrinks = size[0] * size[1] < soft.size
        soft = cv2.resize(soft, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(soft > 0.5)


def box_of(mask: NDArray[np.bool_], margin: float = 0.0) -> tuple[slice, slice]:
    """Return the rows and the columns of the smallest box around a mask, with a margin.

    Parameters
    ----------
    mask : bool array of shape (H, W)
    margin : float
        Added on every side, as a share of the box's own height or width, rounded up to whole
        pixels; the image's border ends it.

    Returns
    -------
    tuple of two slices
        ``pixels[box_of(mask)]`` is the crop; at least one pixel.

    Raises
    ------
    ValueError
        If the mask holds no pixel or the margin is negative.

    Examples
    --------
    >>> mask = np.zeros((100, 100), dtype=bool)
    >>> mask[20:60, 2:52] = True
    >>> box_of(mask, 0.05)
    (slice(18, 62, None), slice(0, 55, None))
    """
    if margin < 0:
        raise ValueError(f"margin is {margin}; give a share of the box that is not negative.")
    if not mask.any():
        raise ValueError("the mask holds no pixel; there is no box around it.")
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    return _extent(np.asarray(rows), margin), _extent(np.asarray(columns), margin)


def grown(mask: NDArray[np.bool_], margin: float) -> NDArray[np.bool_]:
    """Return a mask grown to all sides.

    Parameters
    ----------
    mask : bool array of shape (H, W)
    margin : float
        As a share of the height of the mask's box.

    Returns
    -------
    bool array of shape (H, W)
        Every pixel whose distance to a pixel of the mask is at most the margin.

    Raises
    ------
    ValueError
        If the mask holds no pixel or the margin is negative.

    Examples
    --------
    >>> mask = np.zeros((30, 9), dtype=bool)
    >>> mask[5:25, 4] = True
    >>> grown(mask, 0.1)[15].nonzero()[0].tolist()
    [2, 3, 4, 5, 6]
    """
    import cv2

    rows, _ = box_of(mask, margin)
    tight, _ = box_of(mask)
    reach = margin * (tight.stop - tight.start)
    outside = np.asarray(~mask, dtype=np.uint8)
    # Exact distances, computed where they can be within reach.
    distance = cv2.distanceTransform(outside[rows], cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    result = np.zeros(mask.shape, dtype=bool)
    result[rows] = distance <= reach + 1e-3
    return result


def _extent(inside: NDArray[np.bool_], margin: float) -> slice:
    first, last = np.flatnonzero(inside)[[0, -1]]
    more = int(np.ceil(margin * (last + 1 - first) - 1e-9))  # 0.05 * 40 is a little above 2
    return slice(max(0, int(first) - more), min(len(inside), int(last) + 1 + more))
