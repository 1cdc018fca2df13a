"""Prints of radiographs, and how alike two of them are once they lie over one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["PRINT_SIZE", "aligned_correlation", "central", "prints"]

#: Height and width of a print: ribs are told apart, traces of JPEG are not.
PRINT_SIZE = 64

#: Width of the neighbourhood that a pixel is compared with, in pixels of the print.
_SIGMA = 4.0
#: Added to the local standard deviation of ranks in [0, 1], so that flat areas stay flat.
_FLOOR = 0.03
#: An affine map beyond these makes other chests fit: least overlap, and largest change of length.
_OVERLAP = 0.6
_STRETCH = 1.4


def prints(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what is left of images when overall brightness and contrast are taken away.

    Grey values are replaced by their ranks, which no gamma and no other rising curve changes; then
    the mean of a pixel's neighbourhood is subtracted and the rest divided by its standard deviation
    there. An inverted image gives the negative print.

    Parameters
    ----------
    pixels : uint8 array of shape (N, size, size)
        At least 64x64.

    Returns
    -------
    float32 array of shape (N, 64, 64)
        About within [-4, 4].

    Raises
    ------
    ValueError
        If the images are smaller than 64x64.

    Examples
    --------
    >>> chest = np.random.default_rng(0).integers(0, 128, (1, 64, 64), dtype=np.uint8)
    >>> bool(np.abs(prints(2 * chest) - prints(chest)).max() < 1e-5)
    True
    >>> bool(np.abs(prints(255 - chest) + prints(chest)).max() < 1e-5)
    True
    """
    import cv2

    if pixels.ndim != 3 or min(pixels.shape[1:]) < PRINT_SIZE:
        raise ValueError(
            f"pixels have shape {pixels.shape}; copies are looked for in images of shape (N, 64, "
            "64) or larger: prepare them with size=64."
        )
    found = np.empty((len(pixels), PRINT_SIZE, PRINT_SIZE), dtype=np.float32)
    for row, image in enumerate(pixels):
        if image.shape != (PRINT_SIZE, PRINT_SIZE):
            size = (PRINT_SIZE, PRINT_SIZE)
            image = cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_AREA)
        ranks = _ranks(image)
        centred = ranks - _blur(ranks)
        found[row] = centred / (np.sqrt(_blur(centred * centred)) + _FLOOR)
    return found


def central(image: NDArray[np.float32], cut: float, size: int) -> NDArray[np.float32]:
    """Return the central part of a print, averaged down.

    Parameters
    ----------
    image : float32 array of shape (64, 64)
    cut : float
        Share cut off each side, within [0, 0.5).
    size : int
        Height and width of the result.

    Returns
    -------
    float32 array of shape (size, size)
    """
    import cv2

    if cut:
        image = cv2.warpAffine(image, _zoom(1 - 2 * cut), image.shape, flags=_inverse())
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


def aligned_correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], scale: float = 1.0
) -> float:
    """Return the correlation of two prints where they overlap, `b` moved onto `a`.

    The affine map is found by maximising the enhanced correlation coefficient (Evangelidis and
    Psarakis 2008, doi:10.1109/TPAMI.2008.113).

    Parameters
    ----------
    a, b : float32 arrays of shape (64, 64)
        Prints; an inverted image's with its sign changed.
    scale : float
        Where the search starts: how much of the side of `b` the side of `a` covers; below 1
        where `a` is a crop of `b`.

    Returns
    -------
    float
        Within [-1, 1]; 0 where no map was found that leaves at least 60 % to compare and
        changes no length by more than 40 %.

    Examples
    --------
    >>> chest = prints(np.random.default_rng(0).integers(0, 255, (1, 64, 64), dtype=np.uint8))[0]
    >>> round(aligned_correlation(chest, chest), 3)
    1.0
    """
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)
    try:
        _, warp = cv2.findTransformECC(a, b, _zoom(scale), cv2.MOTION_AFFINE, stop, None, 3)
    except cv2.error:  # it says so where the images have nothing in common
        return 0.0
    if not np.isfinite(warp).all():
        return 0.0
    stretches = np.linalg.svd(warp[:, :2], compute_uv=False)
    if stretches.max() > _STRETCH or stretches.min() < 1 / _STRETCH:
        return 0.0
    moved = cv2.warpAffine(b, warp, b.shape, flags=_inverse())
    inside = cv2.warpAffine(np.ones_like(b), warp, b.shape, flags=_inverse()) > 0.99
    if inside.mean() < _OVERLAP:
        return 0.0
    x, y = a[inside] - a[inside].mean(), moved[inside] - moved[inside].mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > 0 else 0.0


def _ranks(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = np.bincount(image.ravel(), minlength=256)
    middle = np.cumsum(counts) - counts / 2  # equal values share the mean of their ranks
    return (middle / image.size).astype(np.float32)[image]


def _blur(image: NDArray[np.float32]) -> NDArray[np.float32]:
    import cv2

    blurred = cv2.GaussianBlur(image, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, dtype=np.float32)


def _zoom(scale: float) -> NDArray[np.float32]:
    """Return the map from pixels of a print to those of its central part, scaled."""
    offset = (1 - scale) * (PRINT_SIZE - 1) / 2
    return np.array([[scale, 0, offset], [0, scale, offset]], dtype=np.float32)


def _inverse() -> int:
    """Return the flags of a warp whose matrix leads from the result to the image."""
    import cv2

    return int(cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
