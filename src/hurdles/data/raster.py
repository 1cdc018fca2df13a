"""PNG, JPEG, WebP and TIFF.

The rules:

- The range is the format's: 8-bit samples are divided by 255, 16-bit by 65535, and so on. Gamma
  and colour profiles are not applied.
- Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); equal channels stay exact.
- What is transparent lies on black, the colour of what the collimator left unexposed.
- An EXIF orientation is applied, as every viewer does, so a photographed film stands upright.
- TIFF with a "white is zero" interpretation is inverted. Pages marked as smaller copies are
  skipped. Floating point and 32-bit integers have no range of their own and are refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from hurdles.data.containers import Container, check_complete, damaged, read_container
from hurdles.data.header import ImageHeader, check_header
from hurdles.errors import ImageError, UnsupportedImageError

__all__ = ["decode_raster", "read_raster_header"]

#: TIFF 6.0: NewSubfileType, BitsPerSample, PhotometricInterpretation.
_SUBFILE, _BITS, _PHOTOMETRIC = 254, 258, 262
_TIFF_COLOURS = {"P": "PALETTE COLOR", "PA": "PALETTE COLOR", "CMYK": "CMYK"}
#: Sequential and progressive Huffman coding; other processes are read where OpenCV can.
_COMMON_JPEG = (0xC0, 0xC1, 0xC2)


def read_raster_header(handle: BinaryIO, kind: str) -> ImageHeader:
    """Return the header of an open file of this `kind`, reading no pixel."""
    if kind == "TIFF":
        return _tiff_header(_open_tiff(handle))
    return _header(read_container(handle, kind), kind)


def decode_raster(data: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Decode the content of a file that is no DICOM.

    Parameters
    ----------
    data : bytes
        The whole file.
    kind : str
        Its format: ``PNG``, ``JPEG``, ``WebP`` or ``TIFF``.
    max_pixels : int
        The header's height times width may not exceed this; it is checked before decoding.

    Returns
    -------
    float32 array of shape (H, W)
        Grey levels within [0, 1], turned upright.

    Raises
    ------
    ImageError
        If the file is damaged, cut short, too large, or of a form that cannot be read.
    """
    if kind == "TIFF":
        return _decode_tiff(data, max_pixels)
    container = read_container(io.BytesIO(data), kind)
    check_header(_header(container, kind), max_pixels)
    check_complete(data, kind)
    pixels = _decode_jpeg(data, container) if kind == "JPEG" else _decode_colour(data, kind)
    return np.ascontiguousarray(_upright(pixels, container.orientation))


def _header(container: Container, kind: str) -> ImageHeader:
    height, width, bits, photometric, frames, orientation, _ = container
    if orientation >= 5:
        height, width = width, height
    return ImageHeader(kind, height, width, bits, photometric, frames)


# --- PNG, JPEG, WebP -----------------------------------------------------------------------------


def _decode_jpeg(data: bytes, container: Container) -> np.ndarray:
    import cv2

    if container.bits != 8:
        raise UnsupportedImageError(
            f"the JPEG has {container.bits} bits; convert it to 16-bit PNG, or give the DICOM."
        )
    if container.photometric == "CMYK":
        return _unit(_cmyk(data))
    # Grey is the stored Y channel, so the colour conversion is not even computed.
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        return _unit(_by_opencv(data, flags, "JPEG"))
    except ImageError as error:
        if container.process in _COMMON_JPEG:
            raise
        raise UnsupportedImageError(
            "the JPEG is lossless or arithmetically coded; convert it to PNG."
        ) from error


def _cmyk(data: bytes) -> np.ndarray:
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        return np.asarray(JpegImageFile(io.BytesIO(data)).convert("L"))
    except Exception as error:  # Pillow fails in every way there is on damaged bytes
        raise damaged("JPEG", str(error)) from error


def _decode_colour(data: bytes, kind: str) -> np.ndarray:
    import cv2

    return _grey(_by_opencv(data, cv2.IMREAD_UNCHANGED, kind), blue_first=True)


def _by_opencv(data: bytes, flags: int, kind: str) -> np.ndarray:
    import cv2

    try:
        samples = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error as error:
        raise damaged(kind, str(error.err)) from error
    if samples is None:
        raise damaged(kind, "its pixels cannot be decoded")
    return np.asarray(samples)


# --- TIFF ----------------------------------------------------------------------------------------


def _open_tiff(handle: BinaryIO) -> Any:
    # `PIL.Image.open` would apply a limit of its own, which is global.
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        return TiffImageFile(handle)
    except Exception as error:
        raise damaged("TIFF", str(error)) from error


def _tiff_header(image: Any) -> ImageHeader:
    try:
        frames = _full_pages(image)
        bits = int(image.tag_v2.get(_BITS, (1,))[0])
    except Exception as error:
        raise damaged("TIFF", str(error)) from error
    colours = _TIFF_COLOURS.get(image.mode)
    if image.tag_v2.get(_PHOTOMETRIC) == 0:
        colours = "MONOCHROME1"
    elif image.mode.startswith(("RGB", "YCbCr")):
        colours = "RGB"
    return ImageHeader("TIFF", image.height, image.width, bits, colours or "MONOCHROME2", frames)


def _full_pages(image: Any) -> int:
    """Count pages, leaving out those that are marked as a smaller copy of another."""
    full = 0
    for page in range(image.n_frames):
        image.seek(page)
        full += not int(image.tag_v2.get(_SUBFILE, 0)) & 1
    image.seek(0)
    return max(full, 1)


def _decode_tiff(data: bytes, max_pixels: int) -> np.ndarray:
    image = _open_tiff(io.BytesIO(data))
    header = _tiff_header(image)
    check_header(header, max_pixels)
    try:
        return np.ascontiguousarray(_tiff_pixels(image, header, data))
    except ImageError:
        raise
    except Exception as error:
        raise damaged("TIFF", str(error)) from error


def _tiff_pixels(image: Any, header: ImageHeader, data: bytes) -> np.ndarray:
    """Return the pixels; Pillow applies the orientation itself."""
    mode, bits = image.mode, header.bits
    if mode.startswith("I;16"):
        samples = np.asarray(image)
        unit = _unit(samples.astype(np.uint16, copy=False), (1 << bits) - 1)
        return 1 - unit if header.photometric == "MONOCHROME1" else unit
    if mode in ("RGB", "RGBA") and bits == 16:
        return _decode_colour(data, "TIFF")  # Pillow keeps only the upper byte
    if mode in ("1", "L"):
        return _unit(np.asarray(image.convert("L")))
    if mode in ("LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"):
        wanted = "RGBA" if mode in ("LA", "RGBA", "PA") else "RGB"
        return _grey(np.asarray(image.convert(wanted)))
    raise UnsupportedImageError(
        f"the TIFF holds {bits}-bit samples (mode {mode}) without a range of their own; scale "
        "them to 16-bit unsigned integers."
    )


# --- samples to grey -----------------------------------------------------------------------------


def _grey(samples: np.ndarray, *, blue_first: bool = False) -> np.ndarray:
    """Grey, RGB or RGBA integers (H, W[, C]) to ``float32`` (H, W): luma, on black."""
    import cv2

    if samples.ndim == 2:
        return _unit(samples)
    code = cv2.COLOR_BGR2GRAY if blue_first else cv2.COLOR_RGB2GRAY
    luma = _unit(np.asarray(cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), code)))
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
