"""PNG, JPEG, WebP and TIFF.

The rules:

- The range is the format's: 8-bit samples are divided by 255, 16-bit by 65535, and so on. Gamma
  and colour profiles are not applied.
- Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); equal channels stay exact.
- What is transparent lies on black, the colour of what the collimator left unexposed.
- An EXIF orientation is applied, as every viewer does, so a photographed film stands upright.
- TIFF with a "white is zero" interpretation is inverted. Pages marked as smaller copies are
  skipped. Floating point and 32-bit integers have no range of their own and are refused.
- A JPEG must reach its end-of-image marker, a PNG its last chunk with every checksum right: the
  decoders themselves fill a missing rest with grey.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import IO, Any

import numpy as np

from hurdles.data.header import ImageHeader, check_header
from hurdles.errors import (
    ImageError,
    ImageTooLargeError,
    TruncatedImageError,
    UnsupportedImageError,
)

__all__ = ["decode_raster", "read_raster_header"]

_ORIENTATION = 0x0112
#: Within JPEG's compressed data 0xFF is followed by zero or a restart marker; all else ends it.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PHOTOMETRICS = {"P": "PALETTE COLOR", "PA": "PALETTE COLOR", "CMYK": "CMYK"}


def read_raster_header(handle: IO[bytes], kind: str) -> ImageHeader:
    """Return the header of an open file of this `kind`, reading no pixel."""
    image = _open(handle, kind)
    turned = kind != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF itself
    width, height = image.size[::-1] if turned else image.size
    return ImageHeader(
        format=kind,
        height=height,
        width=width,
        bits=_bits(image, kind),
        photometric=_photometric(image, kind),
        frames=_frames(image, kind),
    )


def decode_raster(data: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Decode the content of a file of this `kind`: ``float32`` (H, W) within [0, 1]."""
    check_header(read_raster_header(io.BytesIO(data), kind), max_pixels)
    _COMPLETE[kind](data)
    try:
        samples = _DECODERS[kind](data)
    except ImageError:
        raise
    except Exception as error:  # decoders fail in every way there is on damaged bytes
        raise _damaged(kind, str(error)) from error
    return np.ascontiguousarray(samples)


def _damaged(kind: str, why: str) -> TruncatedImageError:
    return TruncatedImageError(f"the {kind} file is damaged ({why}); fetch it again.")


# --- headers -------------------------------------------------------------------------------------


def _open(handle: IO[bytes], kind: str) -> Any:
    """Open with the reader of one format; `PIL.Image.open` has a size limit that is global."""
    from PIL import JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

    readers: dict[str, Any] = {
        "PNG": PngImagePlugin.PngImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "WebP": WebPImagePlugin.WebPImageFile,
    }
    from PIL.Image import DecompressionBombError

    try:
        return readers[kind](handle)
    except DecompressionBombError as error:
        raise ImageTooLargeError(f"{error} Leave the file out.") from error
    except Exception as error:
        raise _damaged(kind, str(error)) from error


def _orientation(image: Any) -> int:
    from PIL.Image import Exif

    raw = image.info.get("exif")
    if not raw:
        return 1
    exif = Exif()
    try:
        exif.load(raw)
        value = exif.get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block must not cost the image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _bits(image: Any, kind: str) -> int:
    if kind == "TIFF":
        return int(image.tag_v2.get(258, (1,))[0])
    if kind == "PNG":
        return _png_bits(image)
    return 8


def _png_bits(image: Any) -> int:
    image.fp.seek(24)
    return int(image.fp.read(1)[0])


def _photometric(image: Any, kind: str) -> str:
    if kind == "TIFF" and image.tag_v2.get(262) == 0:
        return "MONOCHROME1"
    if image.mode in _PHOTOMETRICS:
        return _PHOTOMETRICS[image.mode]
    return "RGB" if image.mode.startswith(("RGB", "YCbCr")) else "MONOCHROME2"


def _frames(image: Any, kind: str) -> int:
    if kind != "TIFF":
        # A multi-picture JPEG holds previews of its one photograph.
        return 1 if kind == "JPEG" else int(getattr(image, "n_frames", 1))
    full = 0
    for page in range(image.n_frames):
        image.seek(page)
        full += not int(image.tag_v2.get(254, 0)) & 1
    image.seek(0)
    return max(full, 1)


# --- is it all there? ----------------------------------------------------------------------------


def _complete_jpeg(data: bytes) -> None:
    position = 2
    while True:
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            raise TruncatedImageError(
                "the JPEG file ends before its end-of-image marker; fetch it again."
            )
        marker = data[found.start() + 1]
        if marker == 0xD9:
            return
        length = data[found.end() : found.end() + 2]
        if len(length) < 2:
            raise TruncatedImageError("the JPEG file ends within a marker; fetch it again.")
        position = found.end() + int.from_bytes(length, "big")


def _complete_png(data: bytes) -> None:
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        name = data[position + 4 : position + 8]
        if end > len(data):
            break
        checksum = zlib.crc32(memoryview(data)[position + 4 : end - 4])
        if checksum != int.from_bytes(data[end - 4 : end], "big"):
            raise _damaged("PNG", f"wrong checksum in chunk {name.decode('latin-1')!r}")
        if name == b"IEND":
            return
        position = end
    raise TruncatedImageError("the PNG file ends before its last chunk; fetch it again.")


def _complete_webp(data: bytes) -> None:
    announced = 8 + int.from_bytes(data[4:8], "little")
    if len(data) < announced:
        raise TruncatedImageError(
            f"the WebP file has {len(data)} of {announced} bytes; fetch it again."
        )


def _complete_tiff(data: bytes) -> None:
    """TIFF has no end; its decoder reports strips that are missing."""


_COMPLETE = {
    "JPEG": _complete_jpeg,
    "PNG": _complete_png,
    "WebP": _complete_webp,
    "TIFF": _complete_tiff,
}


# --- pixels --------------------------------------------------------------------------------------


def _decode_jpeg(data: bytes) -> np.ndarray:
    import cv2

    image = _open(io.BytesIO(data), "JPEG")
    if image.mode in ("L", "RGB"):
        flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
        grey = _by_opencv(data, flags, "JPEG")
    else:
        grey = np.asarray(image.convert("L"))
    return _upright(_unit(grey), _orientation(image))


def _decode_png(data: bytes) -> np.ndarray:
    import cv2

    samples = _by_opencv(data, cv2.IMREAD_UNCHANGED, "PNG")
    return _upright(_grey(samples, blue_first=True), _orientation(_open(io.BytesIO(data), "PNG")))


def _decode_webp(data: bytes) -> np.ndarray:
    image = _open(io.BytesIO(data), "WebP")
    return _upright(_grey(np.asarray(image)), _orientation(image))


def _decode_tiff(data: bytes) -> np.ndarray:
    import cv2

    image = _open(io.BytesIO(data), "TIFF")
    bits, mode = _bits(image, "TIFF"), image.mode
    white_is_zero = image.tag_v2.get(262) == 0
    if mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint16, copy=False)
        unit = _unit(grey, (1 << bits) - 1)
        return 1 - unit if white_is_zero else unit
    if mode in ("RGB", "RGBA") and bits == 16:
        # Pillow keeps only the upper byte of 16-bit colour.
        return _grey(_by_opencv(data, cv2.IMREAD_UNCHANGED, "TIFF"), blue_first=True)
    if mode in ("1", "L"):
        return _unit(np.asarray(image.convert("L")))
    if mode in ("LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"):
        wanted = "RGBA" if mode in ("LA", "RGBA", "PA") else "RGB"
        return _grey(np.asarray(image.convert(wanted)))
    raise UnsupportedImageError(
        f"the TIFF holds {bits}-bit samples (mode {mode}) without a range of their own; scale "
        "them to 16-bit unsigned integers."
    )


_DECODERS = {
    "JPEG": _decode_jpeg,
    "PNG": _decode_png,
    "WebP": _decode_webp,
    "TIFF": _decode_tiff,
}


def _by_opencv(data: bytes, flags: int, kind: str) -> np.ndarray:
    import cv2

    samples = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if samples is None:
        raise _damaged(kind, "its pixels cannot be decoded")
    return np.asarray(samples)


def _grey(samples: np.ndarray, *, blue_first: bool = False) -> np.ndarray:
    """Grey, RGB or RGBA integers (H, W[, C]) to ``float32`` (H, W): luma, on black."""
    import cv2

    if samples.ndim == 2:
        return _unit(samples)
    code = cv2.COLOR_BGR2GRAY if blue_first else cv2.COLOR_RGB2GRAY
    luma: np.ndarray = _unit(np.asarray(cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), code)))
    if samples.shape[2] == 3:
        return luma
    return np.asarray(luma * _unit(samples[..., 3]))


def _unit(samples: np.ndarray, highest: int | None = None) -> np.ndarray:
    top = np.float32(np.iinfo(samples.dtype).max if highest is None else highest)
    return np.asarray(np.divide(samples, top, dtype=np.float32))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1 to 8): first mirror, then turn."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)
