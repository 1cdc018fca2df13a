"""PNG, JPEG, WebP, TIFF and BMP.

The rules:

- The range is the format's: 8-bit samples are divided by 255, 16-bit by 65535, and so on; a picture
  of 12 bits in a file of 16 is divided by 4095, and this is said. Gamma and colour profiles are not
  applied.
- Colour becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); equal channels stay exact.
- What is transparent lies on black, the colour of what the collimator left unexposed; only in a BMP
  transparency counts for nothing, as in its viewers.
- An EXIF orientation is applied, as every viewer does, so a photographed film stands upright.
- A JPEG that its decoder warns of is damaged: it would fill what is missing with grey.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from hurdles.errors import ImageTooLargeError, UnsupportedImageError
from hurdles.pixels.containers import Container, damaged, read_container, whole
from hurdles.pixels.header import ImageHeader, check_header
from hurdles.pixels.samples import grey, unit
from hurdles.pixels.tiff import decode_tiff, read_tiff_header

#: A progressive JPEG is decoded once for each of its scans: of 100 megapixels usual files have 10.
MAX_SCANNED_PIXELS = 1_500_000_000
#: Sequential and progressive Huffman coding.
_COMMON_JPEG = (0xC0, 0xC1, 0xC2)


def read_raster_header(handle: BinaryIO, kind: str) -> ImageHeader:
    """Return the header of an open file of this `kind`, reading no pixel."""
    if kind == "TIFF":
        return read_tiff_header(handle)
    if kind == "BMP":
        return _bmp(handle)[0]
    return _header(read_container(handle, kind), kind)


def decode_raster(data: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Decode the content of a file that is no DICOM."""
    if kind == "TIFF":
        return decode_tiff(data, max_pixels)
    if kind == "BMP":
        return _decode_bmp(data, max_pixels)
    container = read_container(io.BytesIO(data), kind)
    check_header(_header(container, kind), max_pixels)
    if kind == "JPEG":
        pixels = _decode_jpeg(data, container)
    else:
        pixels = _decode_colour(whole(data, kind), kind, container)
    return np.ascontiguousarray(_upright(pixels, container.orientation))


def _header(container: Container, kind: str) -> ImageHeader:
    height, width = container.height, container.width
    if container.orientation >= 5:
        height, width = width, height
    return ImageHeader(kind, height, width, container.bits, container.photometric, container.frames)


# --- JPEG ----------------------------------------------------------------------------------------


def _decode_jpeg(data: bytes, container: Container) -> np.ndarray:
    import simplejpeg

    if container.bits != 8:
        raise UnsupportedImageError(
            f"the JPEG has {container.bits} bits; convert it to 16-bit PNG, or give the DICOM."
        )
    scans = data.count(b"\xff\xda")
    if scans * container.height * container.width > MAX_SCANNED_PIXELS:
        raise ImageTooLargeError(
            f"the JPEG goes {scans:,} times over its {container.width} x {container.height} "
            f"pixels, {MAX_SCANNED_PIXELS:,} pixels at most are decoded; leave the file out."
        )
    cmyk = container.photometric == "CMYK"
    try:
        # Grey is the stored Y channel, so the colour conversion is not even computed.
        samples = simplejpeg.decode_jpeg(data, "CMYK" if cmyk else "GRAY", strict=True)
    except ValueError as error:
        if "subsampling" in str(error):
            return unit(_by_pillow(data))
        if container.process not in _COMMON_JPEG and "Unsupported" in str(error):
            raise UnsupportedImageError(
                "the JPEG is lossless or arithmetically coded; convert it to PNG."
            ) from error
        raise damaged("JPEG", str(error)) from error
    return unit(_by_pillow(data) if cmyk else samples[..., 0])


def _by_pillow(data: bytes) -> np.ndarray:
    """Decode what simplejpeg does not: CMYK as grey, and unusual subsampling."""
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        image = JpegImageFile(io.BytesIO(data))
        image.draft("L", image.size)  # the stored Y channel, where there is one
        return np.asarray(image.convert("L"))
    except Exception as error:  # Pillow fails in every way there is on damaged bytes
        raise damaged("JPEG", str(error)) from error


# --- PNG and WebP --------------------------------------------------------------------------------


def _decode_colour(data: bytes, kind: str, container: Container) -> np.ndarray:
    import cv2

    try:
        samples = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise damaged(kind, str(error.err)) from error
    if samples is None:
        raise damaged(kind, "its pixels cannot be decoded")
    pixels = grey(np.asarray(samples), blue_first=True)
    if container.transparent is not None and samples.ndim == 2:  # OpenCV looks at colours only
        scale = 255 // ((1 << container.bits) - 1) if container.bits < 8 else 1
        pixels[samples == container.transparent * scale] = 0
    return pixels


# --- BMP -----------------------------------------------------------------------------------------


def _bmp(handle: BinaryIO) -> tuple[ImageHeader, Any]:
    from PIL.BmpImagePlugin import BmpImageFile

    try:
        image = BmpImageFile(handle)
    except Exception as error:
        if "nsupported" in str(error):
            raise UnsupportedImageError(
                f"the BMP is of a kind that is not read ({error}); convert it to PNG."
            ) from error
        raise damaged("BMP", str(error)) from error
    photometric = {"1": "MONOCHROME2", "L": "MONOCHROME2", "P": "PALETTE COLOR"}.get(image.mode)
    bits = 1 if image.mode == "1" else 8
    return ImageHeader("BMP", image.height, image.width, bits, photometric or "RGB"), image


def _decode_bmp(data: bytes, max_pixels: int) -> np.ndarray:
    header, image = _bmp(io.BytesIO(data))
    check_header(header, max_pixels)
    try:
        wanted = "L" if header.photometric == "MONOCHROME2" else "RGB"
        return grey(np.asarray(image.convert(wanted)))
    except Exception as error:
        raise damaged("BMP", str(error)) from error


# --- orientation ---------------------------------------------------------------------------------


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (1 to 8): first mirror, then turn."""
    if orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)
