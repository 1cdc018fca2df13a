"""From path lengths to a picture: attenuation, scatter, noise, film curve, and what is burnt in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from hurdles.phantom.parameters import ImageParameters

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_SCATTER = 0.32  # scattered over primary radiation behind a grid, on average


def _cv2() -> Any:
    import cv2

    return cv2


def expose(attenuation: Float, lung: npt.NDArray[np.bool_], image: ImageParameters) -> Float:
    """Return grey levels in [0, 1] (bone bright) for the line integral of attenuation.

    Beer and Lambert give the transmission exp(-L); a wide blur of it is added as scatter; quantum
    noise grows with the square root of the signal; the display is a sigmoid of the logarithm,
    placed by an automatic exposure that looks at the lungs as real ones do.
    """
    cv2 = _cv2()
    size = attenuation.shape[0]
    primary = np.exp(-attenuation)
    inside = np.minimum(primary, 0.2)  # the open beam beside the body scatters nowhere
    small = cv2.resize(inside, (56, 56), interpolation=cv2.INTER_AREA)
    haze = cv2.resize(cv2.GaussianBlur(small, (0, 0), 5.0), (size, size))
    signal = primary + np.float32(_SCATTER) * haze
    rng = np.random.default_rng(image.noise_seed)
    reference = np.float32(np.median(signal[lung]) if lung.any() else np.median(signal))
    grain = rng.standard_normal((size, size), dtype=np.float32)
    signal = signal + np.float32(image.noise) * np.sqrt(signal * reference) * grain
    blurred = cv2.GaussianBlur(signal, (0, 0), max(image.blur * size / 224.0, 0.05))
    density = -np.log(np.maximum(blurred, np.float32(1e-5)))
    if image.enhancement > 0:
        soft = cv2.GaussianBlur(density, (0, 0), 4.0 * size / 224.0)
        density = density + np.float32(image.enhancement) * (density - soft)
    centre = -np.log(reference) + np.float32(0.42 - 0.5 * image.exposure)
    grey = 1.0 / (1.0 + np.exp(np.float32(-1.5 * image.contrast) * (density - centre)))
    return np.asarray(grey ** np.float32(image.gamma), dtype=np.float32)


def decorate(grey: Float, image: ImageParameters) -> Bytes:
    """Return the final uint8 image: inverted, collimated, marked and compressed as drawn."""
    pixels: Bytes = np.asarray(np.clip(grey, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    collimate(pixels, image.border)
    mark(pixels, image.marker)
    if image.inverted:
        pixels = np.asarray(255 - pixels, dtype=np.uint8)
    if image.jpeg_quality:
        cv2 = _cv2()
        _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, image.jpeg_quality])
        pixels = np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return pixels


def collimate(pixels: Bytes, border: tuple[float, float, float, float]) -> None:
    """Blacken the sides of an image, in place, as a collimator does."""
    size = pixels.shape[0]
    left, top, right, bottom = (round(share * size) for share in border)
    pixels[:, :left] = 6
    pixels[:top, :] = 6
    pixels[:, size - right :] = 6
    pixels[size - bottom :, :] = 6


def mark(pixels: Bytes, text: str, height: float = 1.0) -> None:
    """Burn a side marker into an image, in place: L, the patient's left, at the image's right."""
    if not text:
        return
    cv2 = _cv2()
    size = pixels.shape[0]
    word = len(text) > 4
    scale = (0.36 if word else 0.62) * size / 224.0 * height
    thickness = max(round((1 if word else 2) * size / 224.0), 1)
    (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    margin = round(0.045 * size)
    x = size - margin - width if text.startswith("L") else margin
    y = margin + tall
    cv2.putText(pixels, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 245, thickness, cv2.LINE_AA)
