"""Prints of radiographs, and how alike two of them are once they lie over one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Height and width of a print: ribs are told apart, traces of JPEG are not.
PRINT_SIZE = 64

#: Width of the neighborhood that a pixel is compared with, in pixels of the print.
_SIGMA = 4.0
#: Added to the local standard deviation of ranks in [0, 1], so that flat areas stay flat.
_FLOOR = 0.03
#: An affine map beyond these makes other chests fit: least overlap, and largest change of length.
_OVERLAP = 0.6
_STRETCH = 1.4
#: Prints that agree less once aligned are of two chests, and not printed anew.
_WORTH_PRINTING = 0.75
#: Both are softened by so much before that, in pixels: a copy may be less sharp, or have traces
#: of JPEG.
_SOFTENED = 0.7
#: Share of the overlap that may differ because something was drawn on one of the images.
_DRAWN_ON = 0.05


def prints(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what is left of images when overall brightness and contrast are taken away.

    Gray values are replaced by their ranks, which no gamma and no other rising curve changes; then
    the mean of a pixel's neighborhood is subtracted and the rest divided by its standard deviation
    there. An inverted image gives the negative print.

    Examples
    --------
    >>> chest = np.random.default_rng(0).integers(0, 128, (1, 64, 64), dtype=np.uint8)
    >>> bool(np.abs(prints(2 * chest) - prints(chest)).max() < 1e-5)
    True
    >>> bool(np.abs(prints(255 - chest) + prints(chest)).max() < 1e-5)
    True
    """
    if pixels.ndim != 3 or min(pixels.shape[1:]) < PRINT_SIZE:
        raise ValueError(
            f"pixels have shape {pixels.shape}; copies are looked for in images of shape (N, 64, "
            "64) or larger: prepare them with size=64."
        )
    made = np.empty((len(pixels), PRINT_SIZE, PRINT_SIZE), dtype=np.float32)
    for row, image in enumerate(map(_reduced, pixels)):
        ranks = _ranks(image, image)
        centered = ranks - _blur(ranks)
        made[row] = centered / (np.sqrt(_blur(centered * centered)) + _FLOOR)
    return made


def central(
    image: NDArray[np.float32], cut: float, size: int, *, sides: Sequence[float] = ()
) -> NDArray[np.float32]:
    """Return the central part of a print, averaged down."""
    import cv2

    if len(sides):
        top, bottom, left, right = sides
        last = PRINT_SIZE - 1
        part = [[1 - left - right, 0, left * last], [0, 1 - top - bottom, top * last]]
        image = cv2.warpAffine(image, np.array(part, np.float32), image.shape, flags=_inverse())
    elif cut:
        image = cv2.warpAffine(image, _zoom(1 - 2 * cut), image.shape, flags=_inverse())
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))


class Thumbnail(NamedTuple):
    """An image reduced to 64x64, and its print: as two of them are laid over one another."""

    gray: NDArray[np.uint8]
    print: NDArray[np.float32]

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Thumbnail:
        """Return the thumbnail of an image of 64x64 or more."""
        return cls(_reduced(image), prints(image[None])[0])

    def turned(self, *, inverted: bool = False, mirrored: bool = False) -> Thumbnail:
        """Return the same with bright and dark, or left and right, exchanged."""
        gray, whole = self
        if inverted:
            gray, whole = 255 - gray, -whole
        if mirrored:
            gray, whole = np.ascontiguousarray(gray[:, ::-1]), np.ascontiguousarray(whole[:, ::-1])
        return Thumbnail(gray, whole)


def aligned_similarity(a: Thumbnail, b: Thumbnail, scale: float = 1.0) -> float:
    """Return the correlation of two images where they overlap, `b` moved onto `a`.

    The affine map is found by maximizing the enhanced correlation coefficient of their prints
    (Evangelidis and Psarakis 2008, doi:10.1109/TPAMI.2008.113). Where these then agree at all,
    both images are printed anew inside the overlap only: the print of a crop, whose neighborhoods
    are another share of the chest, becomes that of the same part of the whole image. The twentieth
    of the pixels that differ most is left out, so that an arrow or a letter that was drawn in does
    not hide a copy.

    Examples
    --------
    >>> chest = Thumbnail.of(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    >>> round(aligned_similarity(chest, chest), 3)
    1.0
    """
    import cv2

    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 1e-3)
    start = _zoom(scale)
    try:
        _, warp = cv2.findTransformECC(a.print, b.print, start, cv2.MOTION_AFFINE, stop, None, 3)
    except cv2.error:  # it says so where the images have nothing in common
        return 0.0
    if not np.isfinite(warp).all():
        return 0.0
    stretches = np.linalg.svd(warp[:, :2], compute_uv=False)
    if stretches.max() > _STRETCH or stretches.min() < 1 / _STRETCH:
        return 0.0

    def moved(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.warpAffine(image, warp, image.shape, flags=_inverse()))

    inside = moved(np.ones_like(b.print)) > 0.99
    if inside.mean() < _OVERLAP:
        return 0.0
    rough = _correlation(a.print[inside], moved(b.print)[inside])
    if rough < _WORTH_PRINTING:
        return rough
    one = _print_inside(a.gray.astype(np.float32), inside)[inside]
    two = _print_inside(moved(b.gray.astype(np.float32)), inside)[inside]
    apart = np.abs(one - two)
    alike = apart <= np.quantile(apart, 1 - _DRAWN_ON)
    return _correlation(one[alike], two[alike])


def _correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > 0 else 0.0


def _print_inside(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the print of a part of an image, as if there were nothing else."""
    import cv2

    share = inside.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), _SOFTENED)
    there = np.maximum(_blur(share), 1e-6)
    gray = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    ranks = _ranks(gray, gray[inside])
    centered = np.asarray((ranks - _blur(ranks * share) / there) * share, dtype=np.float32)
    spread = np.sqrt(_blur(centered * centered) / there) + _FLOOR
    return np.asarray(centered / spread, dtype=np.float32)


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    size = (PRINT_SIZE, PRINT_SIZE)
    if image.shape == size:
        return np.asarray(image)
    return np.asarray(cv2.resize(np.asarray(image), size, interpolation=cv2.INTER_AREA))


def _ranks(image: NDArray[np.uint8], among: NDArray[np.uint8]) -> NDArray[np.float32]:
    counts = np.bincount(among.ravel(), minlength=256)
    middle = np.cumsum(counts) - counts / 2  # equal values share the mean of their ranks
    return (middle / among.size).astype(np.float32)[image]


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
