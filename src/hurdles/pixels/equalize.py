"""Gray levels made comparable: histogram equalization, CLAHE, the range of a region, one reference.

Each function takes and returns ``float32`` pixels within [0, 1], as `hurdles.pixels.decode.decode`
gives them, and draws nothing at random. Equalization and scaling are monotone: no pixel that was
darker becomes brighter than another.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["clahe", "equalize", "harmonize", "scale_to"]

Pixels: TypeAlias = NDArray[np.float32]

#: Brightest of the levels that are counted. 8-bit files keep their 256 levels (255 divides it), and
#: deep ones lose none that a prepared image could show.
_TOP = 65535


def equalize(pixels: Pixels, mask: NDArray[np.bool_] | None = None) -> Pixels:
    """Equalize the histogram: every pixel becomes its rank among all pixels.

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


def clahe(pixels: Pixels, *, limit: float = 2.0, tiles: int = 8) -> Pixels:
    """Equalize locally with limited contrast (CLAHE), by OpenCV, on 256 levels.

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
    equalized = method.apply(_levels(pixels, 255).astype(np.uint8))
    return np.asarray(equalized, dtype=np.float32) / np.float32(255)


def scale_to(
    pixels: Pixels,
    mask: NDArray[np.bool_],
    *,
    percentiles: tuple[float, float] = (0.5, 99.5),
) -> Pixels:
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


def _levels(pixels: Pixels, top: int) -> Pixels:
    return np.asarray(np.rint(np.clip(pixels, 0, 1) * np.float32(top)))


def _check(pixels: Pixels, mask: NDArray[np.bool_] | None) -> None:
    if mask is None:
        return
    if mask.shape != pixels.shape:
        raise ValueError(
            f"the mask has shape {mask.shape} and the image {pixels.shape}; stretch the mask to "
            "the image (hurdles.pixels.prepare.stretched)."
        )
    if not mask.any():
        raise ValueError("the mask holds no pixel; there is no range to be read from it.")


# --- one reference -------------------------------------------------------------------------------

#: The longer side of an image is reduced to so many pixels.
SIDE = 256
#: A band is made at most so many times stronger or weaker, over all rounds.
LARGEST = 3.0

# The reference is the median of 200 phantoms without a shortcut, from ten hospitals, as
# bench/harmonize_reference.py prints it.

#: Gray levels of the reference at equally spaced ranks, from the darkest pixel to the brightest.
GRAYS = (
    *(0.039, 0.188, 0.229, 0.265, 0.298, 0.333, 0.365, 0.4, 0.439),
    *(0.484, 0.545, 0.6, 0.663, 0.729, 0.784, 0.831, 0.914),
)
#: Root mean square of the bands of the reference, from fine to coarse.
ENERGIES = (0.01, 0.0139, 0.0239, 0.0309, 0.0459, 0.0623)

_ROUNDS = 3
#: Standard deviations of the blurs between the bands, in pixels of an image of `SIDE`.
_BLURS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: A blur narrower than this many pixels changes nothing that could be measured.
_NARROWEST = 0.7
#: Counted is the middle of the image: this share of height and width at either side is not.
_EDGE = 0.1
#: Of the absolute values of a band; a letter or an electrode is not to decide on its energy.
_CLIPPED = 99.0
#: A band weaker than a quarter of a gray level of 255 is rounding, not texture.
_NOTHING = 0.25 / 255


def harmonize(pixels: Pixels) -> Pixels:
    """Bring gray levels and texture to one reference, so that equipment leaves less of itself.

    Two steps, three times over, each image for itself:

    1. *Tone.* The histogram becomes a fixed one: a pixel's rank decides on its gray level. Whatever
       monotone curve an equipment applied (exposure, contrast, gamma) is undone.
    2. *Texture.* The image is split into bands of spatial frequency, each twice as coarse as the
       one before: differences of Gaussian blurs. Each band is multiplied by a number, so that its
       energy (root mean square) becomes that of the reference. Blur, sharpening and noise are
       evened out. What is coarser than the last band stays.

    Bands are measured in parts of the image, not in pixels, and images are reduced to `SIDE` pixels
    first: texture finer than that is of the detector, not of the chest, and tells a collection of
    large scans from one of small ones. An image prepared to more than that many pixels is therefore
    a soft one. Pixels near the border and those in the corners, where letters and collimation are,
    are mapped by the same table and factors but not counted.

    What is lost: how dense an image is on the whole, by which a radiologist tells little, since
    equipment sets it anew for each image, but a white lung makes the rest darker.

    Parameters
    ----------
    pixels : float32 array of shape (H, W), within [0, 1]

    Returns
    -------
    float32 array of at most 256 pixels a side, within [0, 1]
        Reduced only where the middle of the image is of one level.

    References
    ----------
    Philipsen et al. 2015, "Localized Energy-Based Normalization of Medical Images: Application to
    Chest Radiography", IEEE Transactions on Medical Imaging 34:1965, doi
    10.1109/TMI.2015.2418031, with these differences: the histogram is fixed, too; energies are
    measured over the middle of the image instead of the lungs, so that no lungs have to be found;
    the factors are the same everywhere ("localized" there means tiles), because opacities change
    the energy of their surroundings and are to be seen afterwards; and a factor is at most
    `LARGEST`, because a band that a coarse scan does not hold cannot be brought back, only its
    noise.

    Examples
    --------
    >>> x = np.linspace(0, 1, 64, dtype=np.float32)
    >>> image = np.sin(20 * x[:, None] * x) / 2 + np.float32(0.5)
    >>> apart = [np.abs(f(image) - f(image**2)).mean() for f in (np.asarray, harmonize)]
    >>> [round(float(difference), 3) for difference in apart]
    [0.132, 0.002]
    """
    image = _reduced(np.asarray(pixels, dtype=np.float32))
    middle = _middle(image.shape)
    if np.ptp(image[middle]) == 0:
        return image
    factors = np.ones(len(_BLURS))
    image = _toned(image, middle)
    for _ in range(_ROUNDS):
        bands, rest = _bands(image)
        image = rest
        for n, band in bands.items():
            energy = _energy(band[middle])
            ratio = ENERGIES[n] / energy if energy > _NOTHING else 1.0
            factor = np.clip(factors[n] * ratio, 1 / LARGEST, LARGEST) / factors[n]
            factors[n] *= factor
            image = image + np.float32(factor) * band
        image = _toned(np.clip(image, 0, 1), middle)
    return image


def band_energies(pixels: Pixels) -> dict[int, float]:
    """Return the energy of each band that an image of this size can hold.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    >>> {band: round(energy, 2) for band, energy in band_energies(noise).items()}[2]
    0.25
    """
    image = _reduced(pixels)
    bands, _ = _bands(image)
    middle = _middle(image.shape)
    return {n: _energy(band[middle]) for n, band in bands.items()}


def gray_quantiles(pixels: Pixels, n: int) -> NDArray[np.float64]:
    """Return the gray levels at `n` equally spaced ranks of the middle of an image."""
    image = _reduced(pixels)
    return np.asarray(np.quantile(image[_middle(image.shape)], np.linspace(0, 1, n)))


def _reduced(pixels: Pixels) -> Pixels:
    import cv2

    height, width = pixels.shape
    longer = max(height, width)
    if longer <= SIDE:
        return pixels
    size = (max(1, round(width * SIDE / longer)), max(1, round(height * SIDE / longer)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


def _middle(shape: tuple[int, ...]) -> tuple[slice, slice]:
    edges = [int(_EDGE * side) for side in shape]
    return slice(edges[0], shape[0] - edges[0]), slice(edges[1], shape[1] - edges[1])


def _toned(image: Pixels, middle: tuple[slice, slice]) -> Pixels:
    counted = np.zeros(image.shape, dtype=np.bool_)
    counted[middle] = True
    ranks = equalize(image, counted)
    return np.interp(ranks, np.linspace(0, 1, len(GRAYS)), GRAYS).astype(np.float32)


def _bands(image: Pixels) -> tuple[dict[int, Pixels], Pixels]:
    """Return the bands by number, and what is coarser than all of them; they sum to the image."""
    import cv2

    scale = max(image.shape) / SIDE
    bands: dict[int, Pixels] = {}
    finer = image
    for n, blur in enumerate(_BLURS):
        if blur * scale < _NARROWEST:
            continue  # a small image holds nothing so fine
        around = cv2.BORDER_REFLECT_101
        coarser = np.asarray(cv2.GaussianBlur(image, (0, 0), blur * scale, borderType=around))
        bands[n] = finer - coarser
        finer = coarser
    return bands, finer


def _energy(band: Pixels) -> float:
    sizes = np.abs(band)
    top = np.percentile(sizes, _CLIPPED)
    return float(np.sqrt(np.mean(np.minimum(sizes, top) ** 2, dtype=np.float64)))
