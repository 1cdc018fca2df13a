"""Facts that image files state: size, format, compression, tags; no pixel is decoded.

A network does not see a header, but whatever made the header differ (another camera, another
export, another place) also left its traces in the pixels. Where a header tells the class, the
images come from different places.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.image_file import open_dataset
from hurdles.data.manifest import Manifest
from hurdles.errors import ImageError
from hurdles.pixels.decode import read_header

#: Every column with its meaning. A cell is empty where the file does not say.
COLUMNS: dict[str, str] = {
    "format": "PNG, JPEG, WebP, TIFF, BMP or DICOM",
    "height": "pixels, upright",
    "width": "pixels, upright",
    "aspect": "width divided by height",
    "bits": "bits stored per sample",
    "photometric": "how samples are to be read: MONOCHROME2, RGB, PALETTE COLOR ...",
    "bytes": "size of the file",
    "bytes_per_pixel": "size of the file divided by height times width",
    "jpeg_quality": "quality, 1 to 100, whose quantization table of brightness is the nearest",
    "coding": "JPEG: baseline or progressive, and how color is thinned; DICOM: transfer syntax",
    "dpi": "pixels per inch that the file states; for DICOM from its pixel spacing",
    "exif": "whether there is EXIF",
    "icc": "whether there is a color profile",
    "comment": "whether there is a comment or other text",
    "software": "program that wrote the file, as it names itself",
    "modality": "DICOM Modality (0008,0060)",
    "manufacturer": "DICOM Manufacturer (0008,0070), with the model's name",
    "body_part": "DICOM Body Part Examined (0018,0015)",
    "view_position": "DICOM View Position (0018,5101)",
    "burned_in": "DICOM Burned In Annotation (0028,0301)",
}
_NUMBERS = ("height", "width", "aspect", "bits", "bytes", "bytes_per_pixel", "jpeg_quality", "dpi")
_FLAGS = ("exif", "icc", "comment")

_SOFTWARE, _DESCRIPTION = 305, 270
_MM_PER_INCH = 25.4
#: Formats that Pillow reads, as its own classes are called: `PIL.Image.open` would apply a limit of
#: its own, which is global.
_PILLOW = {"JPEG": "Jpeg", "PNG": "Png", "WebP": "WebP", "TIFF": "Tiff", "BMP": "Bmp"}
#: How color is thinned, by the sampling factors (across, down) of brightness.
_THINNING = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}

_log = logging.getLogger("hurdles")
_THREADS = 8


def facts_of(manifest: Manifest) -> pd.DataFrame:
    """Read the headers of the files of a manifest: one row each, columns as in `COLUMNS`."""
    paths = [str(path) for path in manifest.frame["path"]]
    # Filters of warnings are shared by all threads, so they are set here and not in each.
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged tag is an empty cell, not the user's news
        rows = list(pool.map(_facts, paths))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    for column in COLUMNS:
        if column in _NUMBERS or column in _FLAGS:
            frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        else:
            text = frame[column].astype("str")
            frame[column] = text.where(frame[column].notna(), None).astype("str")
    return frame


def _facts(path: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    try:
        header = read_header(path)
        row["format"] = header.format
        row["bytes"] = Path(path).stat().st_size
        row |= {"height": header.height, "width": header.width, "bits": header.bits}
        row["photometric"] = header.photometric
        if header.height > 0 and header.width > 0:
            row["aspect"] = header.width / header.height
            row["bytes_per_pixel"] = row["bytes"] / (header.height * header.width)
    except (ImageError, OSError):
        return row
    try:
        with Path(path).open("rb") as handle:
            pillow = _PILLOW.get(header.format)
            more = _dicom_tags(handle) if pillow is None else _pillow_tags(handle, pillow)
        row |= {k: v for k, v in more.items() if v is not None and v != ""}
    except Exception as error:  # tags are read for what they are worth; libraries fail every way
        _log.debug("%s: tags cannot be read (%s)", path, error)
    return row


def _pillow_tags(handle: BinaryIO, name: str) -> dict[str, Any]:
    image = getattr(importlib.import_module(f"PIL.{name}ImagePlugin"), f"{name}ImageFile")(handle)
    info = dict(image.info)
    tags = dict(getattr(image, "tag_v2", {}) or {})
    exif = bool(info.get("exif"))
    if exif:
        tags |= dict(image.getexif())
    # Software has a column of its own, and Pillow puts the compression there by itself.
    texts = [
        k for k, v in info.items() if v.__class__ is str and k not in ("Software", "compression")
    ]
    dpi = info.get("dpi")
    row = {
        "exif": float(exif),
        "icc": float(bool(info.get("icc_profile"))),
        "comment": float(bool(info.get("comment") or texts or tags.get(_DESCRIPTION))),
        "software": str(info.get("Software") or tags.get(_SOFTWARE) or "").strip("\0 ")[:80],
        "dpi": round(float(dpi[0]), 1) if dpi and float(dpi[0]) > 0 else None,
    }
    if name == "Tiff":
        row["coding"] = str(info.get("compression") or "")
    if name == "Jpeg":
        tables = getattr(image, "quantization", {}) or {}
        row["jpeg_quality"] = jpeg_quality(tables[min(tables)]) if tables else None
        kind = "progressive" if info.get("progressive") else "baseline"
        row["coding"] = f"{kind} {_thinning([layer[1:3] for layer in getattr(image, 'layer', [])])}"
    return row


def _thinning(factors: list[Any]) -> str:
    """Name how color is thinned, from the sampling factors (across, down) of each component."""
    if len(factors) == 1:
        return "gray"
    if len(factors) < 3:
        return f"{len(factors)} components"
    across, down = factors[0][0] // max(factors[1][0], 1), factors[0][1] // max(factors[1][1], 1)
    return _THINNING.get((across, down), f"thinned {across}x{down}")


def _dicom_tags(handle: BinaryIO) -> dict[str, Any]:
    data = open_dataset(handle)

    def text(keyword: str) -> str:
        """Return an element as text of at most 80 characters; several values joined."""
        value = data.get(keyword)
        if value is None:
            return ""
        parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
        return " ".join(str(part).strip() for part in parts)[:80]

    maker = [text("Manufacturer"), text("ManufacturerModelName")]
    syntax = getattr(getattr(data, "file_meta", None), "TransferSyntaxUID", None)
    spacing = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
    width = float(spacing[1]) if spacing is not None and len(spacing) == 2 else 0.0
    return {
        "coding": "" if syntax is None else syntax.name,
        "comment": float(bool(text("ImageComments"))),
        "software": text("SoftwareVersions"),
        "modality": text("Modality"),
        "manufacturer": " ".join(filter(None, maker)),
        "body_part": text("BodyPartExamined").upper(),
        "view_position": text("ViewPosition").upper(),
        "burned_in": text("BurnedInAnnotation").upper(),
        "icc": float("ICCProfile" in data),
        "dpi": round(_MM_PER_INCH / width, 1) if width > 0 else None,
    }


# --- quality of a JPEG ---------------------------------------------------------------------------

# ITU-T T.81, table K.1: brightness, row by row.
_K1 = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


def jpeg_quality(table: Sequence[int]) -> int:
    """Return the quality, 1 to 100, whose table of brightness is nearest to a quantization table.

    The Independent JPEG Group's library scales the standard's example table (ITU-T T.81, annex K.1)
    by 5000/q per cent below quality 50 and by 200 - 2q above (libjpeg, ``jpeg_set_quality``); most
    programs do as it does. A program with tables of its own gets the quality at which the library's
    rounding is as coarse. The order of the table does not matter: both are sorted first, since
    libraries hand it out row by row or in zigzag.

    Examples
    --------
    >>> jpeg_quality([1] * 64), jpeg_quality(_K1)
    (100, 50)
    """
    if len(table) != 64:
        raise ImageError(f"a quantization table has 64 entries, this one {len(table)}.")
    steps = np.sort(np.asarray(table, dtype=np.float64))
    # On the scale of logarithms a step of 2 instead of 1 is as far off as one of 40 instead of 20.
    distance = np.abs(np.log(_scaled()) - np.log(np.maximum(steps, 1.0))).sum(axis=1)
    return int(np.argmin(distance)) + 1


@cache
def _scaled() -> NDArray[np.float64]:
    """Return the library's tables, shape (100, 64), each sorted."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = (np.asarray(_K1)[None, :] * scale + 50) // 100
    return np.sort(np.clip(tables, 1, 255), axis=1).astype(np.float64)
