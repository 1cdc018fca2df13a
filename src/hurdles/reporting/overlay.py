"""Heat-maps laid over radiographs.

The colours are matplotlib's "inferno" without its darkest part: lightness rises evenly with the
value, so no contour appears where there is none (as it does with "jet"), and it reads alike to
people with colour-vision deficiency (Crameri, Shephard and Heron 2020, Nature Communications
11:5444). Cold regions are transparent: the radiograph stays visible.
"""

from __future__ import annotations

import base64
from typing import Literal

import numpy as np
from numpy.typing import NDArray

_COLOURS = (0.28, 0.97)
#: Opacity rises smoothly from nothing at the first share of the maximum to full at the second.
_FADE = (0.12, 0.75)
_STRONGEST = 0.68


def heat_fault(heat: NDArray[np.floating] | None) -> str:
    """Return why a heat-map cannot be drawn, or nothing if it can.

    Examples
    --------
    >>> heat_fault(np.zeros((7, 7), "float32"))
    'the heat-map is empty: no region raised the score'
    >>> heat_fault(np.eye(7, dtype="float32"))
    ''
    """
    if heat is None:
        return "no heat-map was made"
    if heat.ndim != 2 or not heat.size:
        return f"the heat-map has shape {heat.shape} and cannot be laid over an image"
    bad = int((~np.isfinite(heat)).sum())
    if bad:
        return f"the heat-map is broken: {bad:,} of its {heat.size:,} values are not numbers"
    if heat.max() <= 0:
        return "the heat-map is empty: no region raised the score"
    if heat.max() == heat.min():
        return "the heat-map is flat: it points at no region"
    return ""


def heat_layer(heat: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a heat-map as a colour layer."""
    import cv2
    from matplotlib import colormaps

    fault = heat_fault(heat)
    if fault:
        raise ValueError(f"{fault}; ask heat_fault before drawing one.")
    warm = np.clip(np.asarray(heat, dtype="float32"), 0, None) / np.float32(heat.max())
    shrinks = shape[0] * shape[1] < warm.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    warm = np.clip(cv2.resize(warm, (shape[1], shape[0]), interpolation=how), 0, 1)
    low, high = _COLOURS
    layer = np.empty((*shape, 4), dtype="uint8")
    layer[..., :3] = colormaps["inferno"](low + (high - low) * warm, bytes=True)[..., :3]
    fade = np.clip((warm - _FADE[0]) / (_FADE[1] - _FADE[0]), 0, 1)
    layer[..., 3] = np.round(255 * _STRONGEST * fade * fade * (3 - 2 * fade))
    return layer


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the radiograph with its heat-map laid over it.

    Examples
    --------
    >>> heat = np.zeros((4, 4), "float32")
    >>> heat[1, 2] = 1
    >>> picture = overlay(np.full((4, 4), 100, "uint8"), heat)
    >>> picture[0, 0].tolist(), bool(picture[1, 2, 0] > picture[1, 2, 2])
    ([100, 100, 100], True)
    """
    height, width = pixels.shape
    layer = heat_layer(heat, (height, width)).astype("float32")
    opacity = layer[..., 3:] / 255
    mixed = layer[..., :3] * opacity + pixels[..., None].astype("float32") * (1 - opacity)
    return np.round(mixed).astype("uint8")


def legend_stops(n: int = 9) -> list[str]:
    """Return `n` colours from weak to strong, as ``rgb(...)`` for a style sheet."""
    from matplotlib import colormaps

    positions = np.linspace(*_COLOURS, n)
    colours = colormaps["inferno"](positions, bytes=True)[:, :3].tolist()
    return [f"rgb({red} {green} {blue})" for red, green, blue in colours]


def data_uri(
    pixels: NDArray[np.uint8], form: Literal["jpeg", "png"], *, longest: int, quality: int = 84
) -> str:
    """Return pixels as a ``data:`` address that a page can hold."""
    import cv2

    scale = longest / max(pixels.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(scale * side)) for side in pixels.shape[1::-1])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, orders[pixels.shape[2]])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if form == "jpeg" else []
    done, encoded = cv2.imencode("." + form, pixels, options)
    if not done:
        raise ValueError(f"an image of shape {pixels.shape} could not be written as {form}.")
    return f"data:image/{form};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
