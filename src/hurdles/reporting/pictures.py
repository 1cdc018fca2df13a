"""Radiographs with their heat-maps laid over them, and many of them on one picture.

The colors are matplotlib's "inferno" without its darkest part: lightness rises evenly with the
value, so no contour appears where there is none (as it does with "jet"), and it reads alike to
people with color-vision deficiency (Crameri, Shephard and Heron 2020, Nature Communications
11:5444). Cold regions are transparent: the radiograph stays visible.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

    from hurdles.explanation.heatmap import Heatmap

_COLORS = (0.28, 0.97)
#: Opacity rises smoothly from nothing at the first share of the maximum to full at the second.
_FADE = (0.12, 0.75)
_STRONGEST = 0.68
_JPEG_QUALITY = 84
_PAPER, _INK = (250, 249, 246), (38, 46, 51)
_GAP, _MARGIN = 14, 18


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    columns: int,
    *,
    cell: int = 224,
    font_size: int = 13,
) -> bytes:
    r"""Return a PNG with the images in rows, each with its caption below.

    For a radiograph beside its heat-map give two images, the second from
    `hurdles.reporting.pictures.overlay`, and two columns.
    """
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    if not images or len(images) != len(captions) or columns < 1:
        raise ValueError(
            f"{len(images)} images, {len(captions)} captions, {columns} columns; give at least one "
            "image, a caption for each, and at least one column."
        )
    columns = min(columns, len(images))
    # From matplotlib's own files: it has Latin, Greek and Cyrillic everywhere.
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", font_size)
    wrapped = [_wrap(text, font, cell) for text in captions]
    line = round(font_size * 1.35)
    starts = range(0, len(images), columns)
    text_heights = [line * max(map(len, wrapped[i : i + columns])) + 6 for i in starts]
    width = 2 * _MARGIN + columns * cell + (columns - 1) * _GAP
    height = 2 * _MARGIN + len(starts) * (cell + _GAP) - _GAP + sum(text_heights)
    page = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(page)
    top = _MARGIN
    for start, text_height in zip(starts, text_heights, strict=True):
        for column, image in enumerate(images[start : start + columns]):
            left = _MARGIN + column * (cell + _GAP)
            picture = _fitted(image, cell)
            page.paste(
                picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2)
            )
            for number, words in enumerate(wrapped[start + column]):
                pen.text((left, top + cell + 5 + number * line), words, fill=_INK, font=font)
        top += cell + text_height + _GAP
    buffer = io.BytesIO()
    # Level 3 takes a tenth of the time of the best level for a tenth more bytes.
    page.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _fitted(image: NDArray[np.uint8], cell: int) -> Image:
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"an image is {image.dtype} of shape {image.shape}; give uint8 (H, W) or (H, W, 3)."
        )
    picture = Image.fromarray(image).convert("RGB")
    scale = cell / max(picture.size)
    size = tuple(max(1, round(scale * side)) for side in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS)  # type: ignore[arg-type] # two ints


def _wrap(text: str, font: Any, width: int, most: int = 3) -> list[str]:
    def cut(line: str) -> str:
        if font.getlength(line) <= width:
            return line
        kept = line.removesuffix("…")
        while kept and font.getlength(kept + "…") > width:
            kept = kept[:-1]
        return kept.rstrip() + "…"

    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        lines.append("")
        for word in paragraph.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and font.getlength(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1] + " …"]
    return [cut(line) for line in lines]


def heatmap_sheet(
    pixels: NDArray[np.uint8],
    maps: Sequence[Heatmap],
    labels: Sequence[str],
    probabilities: NDArray[np.floating],
    *,
    note: str = "",
) -> bytes:
    """Return a PNG with each radiograph, its probabilities below, beside its heat-map.

    A note stands below each heat-map.
    """
    images: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    for radiograph, heat, row in zip(pixels, maps, probabilities, strict=True):
        answers = (f"{label} {100 * p:.0f} %" for label, p in zip(labels, row, strict=True))
        captions.append(f"{Path(heat.image).name}: {', '.join(answers)}")
        words = f"{heat.method} {heat.speaks}" if heat.is_drawable else heat.message
        captions.append(f"{words}\n{note}" if note else words)
        images.append(radiograph)
        images.append(overlay(radiograph, heat.values) if heat.is_drawable else radiograph)
    return contact_sheet(images, captions, columns=2)


def heat_fault(heat: NDArray[np.floating] | None) -> str:
    """Return why a heat-map cannot be drawn, or nothing if it can."""
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
    """Return a heat-map as a color layer."""
    import cv2
    from matplotlib import colormaps

    fault = heat_fault(heat)
    if fault:
        raise ValueError(f"{fault}; ask heat_fault before drawing one.")
    warm = np.clip(np.asarray(heat, dtype="float32"), 0, None) / np.float32(heat.max())
    shrinks = shape[0] * shape[1] < warm.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    warm = np.clip(cv2.resize(warm, (shape[1], shape[0]), interpolation=how), 0, 1)
    low, high = _COLORS
    layer = np.empty((*shape, 4), dtype="uint8")
    layer[..., :3] = colormaps["inferno"](low + (high - low) * warm, bytes=True)[..., :3]
    fade = np.clip((warm - _FADE[0]) / (_FADE[1] - _FADE[0]), 0, 1)
    layer[..., 3] = np.round(255 * _STRONGEST * fade * fade * (3 - 2 * fade))
    return layer


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the radiograph with its heat-map laid over it."""
    height, width = pixels.shape
    layer = heat_layer(heat, (height, width)).astype("float32")
    opacity = layer[..., 3:] / 255
    mixed = layer[..., :3] * opacity + pixels[..., None].astype("float32") * (1 - opacity)
    return np.round(mixed).astype("uint8")


def legend_stops(n: int = 9) -> list[str]:
    """Return `n` colors from weak to strong, as ``rgb(...)`` for a style sheet."""
    from matplotlib import colormaps

    positions = np.linspace(*_COLORS, n)
    colors = colormaps["inferno"](positions, bytes=True)[:, :3].tolist()
    return [f"rgb({red} {green} {blue})" for red, green, blue in colors]


def data_uri(pixels: NDArray[np.uint8], form: Literal["jpeg", "png"], *, longest: int) -> str:
    """Return pixels as a ``data:`` address that a page can hold."""
    import cv2

    scale = longest / max(pixels.shape[:2])
    if scale < 1:
        size = tuple(max(1, round(scale * side)) for side in pixels.shape[1::-1])
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    orders = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, orders[pixels.shape[2]])
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if form == "jpeg" else []
    done, encoded = cv2.imencode("." + form, pixels, options)
    if not done:
        raise ValueError(f"an image of shape {pixels.shape} could not be written as {form}.")
    return f"data:image/{form};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
