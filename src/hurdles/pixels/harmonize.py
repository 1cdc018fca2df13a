"""Grey levels and texture brought to one reference, so that equipment leaves less of itself.

Two steps, three times over, each image for itself:

1. *Tone.* The histogram becomes a fixed one: a pixel's rank decides on its grey level. Whatever
   monotone curve an equipment applied (exposure, contrast, gamma) is undone.
2. *Texture.* The image is split into bands of spatial frequency, each twice as coarse as the one
   before: differences of Gaussian blurs. Each band is multiplied by a number, so that its energy
   (root mean square) becomes that of the reference. Blur, sharpening and noise are evened out. What
   is coarser than the last band stays.

This follows Philipsen et al. 2015, "Localized Energy-Based Normalization of Medical Images:
Application to Chest Radiography", IEEE Transactions on Medical Imaging 34:1965, doi
10.1109/TMI.2015.2418031, with these differences: the histogram is fixed, too; energies are measured
over the middle of the image instead of the lungs, so that no lungs have to be found; the factors
are the same everywhere ("localised" there means tiles), because opacities change the energy of
their surroundings and are to be seen afterwards; and a factor is at most `LARGEST`, because a band
that a coarse scan does not hold cannot be brought back, only its noise.

Bands are measured in parts of the image, not in pixels, and images are reduced to `SIDE` pixels
first: texture finer than that is of the detector, not of the chest, and tells a collection of large
scans from one of small ones. An image prepared to more than that many pixels is therefore a soft
one. Pixels near the border and those in the corners, where letters and collimation are, are mapped
by the same table and factors but not counted.

What is lost: how dense an image is on the whole, by which a radiologist tells little, since
equipment sets it anew for each image, but a white lung makes the rest darker.

The reference is the median of 200 phantoms without a shortcut, from ten hospitals; the numbers are
printed by ``bench/harmonise_reference.py``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.pixels.equalize import equalize

Pixels: TypeAlias = NDArray[np.float32]

#: The longer side of an image is reduced to so many pixels.
SIDE = 256
#: A band is made at most so many times stronger or weaker, over all rounds.
LARGEST = 3.0

#: Grey levels of the reference at equally spaced ranks, from the darkest pixel to the brightest.
GREYS = (
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
#: A band weaker than a quarter of a grey level of 255 is rounding, not texture.
_NOTHING = 0.25 / 255


def harmonize(pixels: Pixels) -> Pixels:
    """Bring grey levels and texture to those of the reference.

    References
    ----------
    Philipsen et al. 2015; see the head of this module for what is done otherwise.

    Examples
    --------
    >>> x = np.linspace(0, 1, 64, dtype=np.float32)
    >>> image = np.sin(20 * x[:, None] * x) / 2 + np.float32(0.5)
    >>> found = [np.abs(f(image) - f(image**2)).mean() for f in (np.asarray, harmonize)]
    >>> [round(float(difference), 3) for difference in found]
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
            found = _energy(band[middle])
            wanted = ENERGIES[n] / found if found > _NOTHING else 1.0
            factor = np.clip(factors[n] * wanted, 1 / LARGEST, LARGEST) / factors[n]
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


def grey_quantiles(pixels: Pixels, n: int) -> NDArray[np.float64]:
    """Return the grey levels at `n` equally spaced ranks of the middle of an image."""
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
    return np.interp(ranks, np.linspace(0, 1, len(GREYS)), GREYS).astype(np.float32)


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
