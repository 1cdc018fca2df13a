"""The style of images: their gray levels and their sharpness, and images put into another.

Devices and consoles leave their hand on the whole image: a tone curve, blur, grain, sharpening, a
compression. Two averages over many images hold most of it: the histogram and the amplitude of each
band of spatial frequencies, whatever their direction. Both are taken outside the lungs, so that no
disease is among them. `restyle` moves whole images from the averages of some to those of others:
whom they show stays, and how they were taken changes.

Mixing amplitudes and keeping phases is the idea of Yang and Soatto 2020 (FDA, arXiv 2004.05498);
here amplitudes are those of the source instead of one image's, so that no anatomy is carried over.
Bands are measured where they are (filtered first, then looked at some way off the lungs): a
spectrum of an image with holes would be one of the holes' edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Floats = NDArray[np.float32]

#: Center of the lowest band, in cycles per image. It and all below are those of anatomy and field
#: of view, not style; each further band lies half an octave higher.
_LOWEST = 4.0
#: Frequencies are gained by this factor at most, since what an image does not hold no filter can
#: bring back; and damped to this one at most.
_GAIN, _DAMPING = 4.0, 0.02
#: Amplitude below which a frequency is not there, in gray levels.
_TINY = 1e-3
#: Width of the soft edge around the lungs, as a share of the image's side.
_EDGE = 0.03
#: Mirrored around an image while it is filtered, as a share of its side: filters wrap around.
_PADDING = 0.125
#: Images filtered at a time: few, so that a band of theirs stays in a processor's cache.
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Style:
    """Averages over images, outside the lungs.

    The histogram, shape (256,), is the mean share of pixels at each gray level; the spectrum is
    the geometric mean of the amplitude (root mean square, in gray levels) of each band of
    `bands_of`; size is the images' side in pixels.
    """

    histogram: NDArray[np.float64]
    spectrum: NDArray[np.float64]
    size: int
    n_images: int

    def __post_init__(self) -> None:
        bands = (len(bands_of(self.size)),)
        if self.histogram.shape != (256,) or not np.isclose(self.histogram.sum(), 1):
            raise ValueError(
                f"a histogram of shape {self.histogram.shape} that sums to "
                f"{self.histogram.sum():g} is none; take the style of images by style_of."
            )
        if self.spectrum.shape != bands:
            raise ValueError(
                f"a spectrum of shape {self.spectrum.shape} does not fit images of {self.size} "
                f"pixels a side, which have {bands[0]} bands; take their style by style_of."
            )

    def tone_to(self, other: Style) -> NDArray[np.float64]:
        """Return the gray level of another style for each of the 256, rising, shape (256,).

        It is the level that has the same rank there (histogram specification, Gonzalez and Woods,
        Digital Image Processing, section 3.3).
        """
        # The middle of each level's share: symmetric, and the identity between equal histograms.
        own, others = (np.cumsum(h) - h / 2 for h in (self.histogram, other.histogram))
        levels = np.flatnonzero(other.histogram > 0)
        tone = np.interp(own, others[levels], levels)
        return np.asarray(np.maximum.accumulate(tone), dtype=np.float64)

    def gain_to(self, other: Style) -> NDArray[np.float64]:
        """Return by what each band's amplitude is multiplied, shape (bands,).

        1 in the lowest band, by which both are set level: what changes is the share of the finer
        ones, and contrast is left to the tone.
        """
        ratio = np.log((other.spectrum + _TINY) / (self.spectrum + _TINY))
        return np.asarray(np.clip(np.exp(ratio - ratio[0]), _DAMPING, _GAIN))


def bands_of(size: int) -> NDArray[np.float64]:
    """Return the centers of the bands of images of this side, in cycles per image.

    Half an octave apart, from four cycles to the finest that a row of pixels can hold; the last
    band takes in all that is finer.
    """
    octaves = np.log2(max(size, 4 * _LOWEST) / 2 / _LOWEST)
    return np.asarray(_LOWEST * 2 ** (np.arange(int(2 * octaves + 1e-9) + 1) / 2))


def style_of(pixels: Bytes, masks: Masks) -> Style:
    """Return the style of images: their mean histogram and amplitudes outside the lungs."""
    return mean_style(*styles_of(pixels, masks), pixels.shape[1])


def styles_of(pixels: Bytes, masks: Masks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return of each image its histogram, shape (n, 256), and the logarithms of its amplitudes."""
    _check(pixels, masks)
    outside = (image[~mask] for image, mask in zip(pixels, masks, strict=True))
    histograms = np.stack([np.bincount(gray, minlength=256) / gray.size for gray in outside])
    logarithms = [
        np.log(_amplitudes(pixels[start : start + _BATCH], masks[start : start + _BATCH]) + _TINY)
        for start in range(0, len(pixels), _BATCH)
    ]
    return histograms, np.concatenate(logarithms)


def mean_style(
    histograms: NDArray[np.float64], logarithms: NDArray[np.float64], size: int
) -> Style:
    """Return the style of images of which `styles_of` returned these."""
    spectrum = np.exp(logarithms.mean(axis=0)) - _TINY
    return Style(histograms.mean(axis=0), spectrum, size, len(histograms))


def restyle(pixels: Bytes, own: Style, other: Style) -> Bytes:
    """Return images in another style, the whole of each, the lungs too.

    Bands are gained by the ratio of both spectra; then one monotone curve carries the histogram of
    the one style to that of the other. The same gains and curve for all images: what makes an
    image differ from others of its own stays.
    """
    if {own.size, other.size} != {pixels.shape[-1]}:
        raise ValueError(
            f"the images have {pixels.shape[-1]} pixels a side, the styles are of {own.size} and "
            f"{other.size}; take the styles of images resized alike."
        )
    made = np.empty(pixels.shape, dtype=np.uint8)
    size, gain, tone = own.size, own.gain_to(other), own.tone_to(other)
    # Amplitudes are multiplied by the gain of their band; phases stay.
    factor = np.exp(np.interp(_positions(size), np.arange(gain.size), np.log(gain)))
    for start in range(0, len(pixels), _BATCH):
        batch = slice(start, start + _BATCH)
        filtered = _back(
            _spectra(pixels[batch].astype(np.float32)) * factor.astype(np.float32), size
        )
        styled = np.interp(filtered, np.arange(256), tone)
        made[batch] = np.clip(np.rint(styled), 0, 255).astype(np.uint8)
    return made


def _check(pixels: Bytes, masks: Masks) -> None:
    if masks.shape != pixels.shape or pixels.ndim != 3 or not len(pixels):
        raise ValueError(
            f"pixels have the shape {pixels.shape} and masks {masks.shape}; give one mask for "
            "each of at least one square image."
        )
    if masks.all(axis=(1, 2)).any():
        raise ValueError("a mask is the whole image: nothing outside the lungs has a style.")


def _outside(masks: Masks, apart: float = 0.0) -> Floats:
    """Return 0 in the lungs, 1 far from them, and a ramp between that begins some way off."""
    import cv2

    reach = max(1.0, _EDGE * masks.shape[1])
    weight = np.ones(masks.shape, dtype=np.float32)
    for one, mask in zip(weight, masks, strict=True):
        if mask.any():
            away = cv2.distanceTransform(np.asarray(~mask, dtype=np.uint8), cv2.DIST_L2, 5)
            # Where lungs leave hardly anything else, what there is has to do.
            begin = min(apart, away.max() / reach / 2)
            one[:] = np.clip(away / np.float32(reach) - np.float32(begin), 0, 1)
    return weight


def _amplitudes(pixels: Bytes, masks: Masks) -> NDArray[np.float64]:
    """Return each image's root mean square in each band outside the lungs, shape (n, bands)."""
    size, weight = pixels.shape[1], _outside(masks, apart=1.0)
    whole = weight.sum(axis=(1, 2))
    spectra = _spectra(pixels.astype(np.float32))
    levels = []
    for band in range(len(bands_of(size))):
        # A triangle between the neighbors' centers, in octaves.
        passed = np.maximum(0, 1 - np.abs(_positions(size) - band)).astype(np.float32)
        power = _back(spectra * passed, size) ** 2
        levels.append(np.sqrt((weight * power).sum(axis=(1, 2)) / whole))
    return np.asarray(np.stack(levels, axis=1), dtype=np.float64)


@cache
def _positions(size: int) -> Floats:
    """Return each frequency's place among the bands: -1 or less is below them all."""
    side = size + 2 * _pad(size)
    down, across = np.fft.fftfreq(side)[:, None] * size, np.fft.rfftfreq(side)[None, :] * size
    octaves = np.log2(np.maximum(np.hypot(down, across), 1e-6) / _LOWEST)
    return np.asarray(np.clip(2 * octaves, -2, len(bands_of(size)) - 1), dtype=np.float32)


def _pad(size: int) -> int:
    return max(1, round(_PADDING * size))


def _spectra(gray: Floats) -> Any:
    from scipy import fft

    pad = _pad(gray.shape[1])
    return fft.rfft2(np.pad(gray, ((0, 0), (pad, pad), (pad, pad)), mode="reflect"))


def _back(spectra: Any, size: int) -> Floats:
    from scipy import fft

    pad = _pad(size)
    side = size + 2 * pad
    made = fft.irfft2(spectra, s=(side, side))
    return np.asarray(made[:, pad : pad + size, pad : pad + size], dtype=np.float32)
