"""PNG, JPEG, WebP, TIFF and BMP to gray levels: bytes where 8 bits hold them, else within [0, 1].

The rules:

- The range is the format's: 8-bit samples are divided by 255, 16-bit by 65535, and so on; a picture
  of 12 bits in a file of 16 is divided by 4095, and this is said. Gamma and color profiles are not
  applied.
- Color becomes luma, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); equal channels stay exact.
- What is transparent lies on black, the color of what the collimator left unexposed; only in a BMP
  transparency counts for nothing, as in its viewers.
- An EXIF orientation is applied, as every viewer does, so a photographed film stands upright.
- A JPEG that its decoder warns of is damaged: it would fill what is missing with gray.
- Of a TIFF the largest page is read, by Pillow, and by OpenCV where color has 16 bits, in another
  process (`hurdles.pixels.frames`). "White is zero" is inverted. Pages that are marked as smaller
  copies, or have at most half as many pixels as the largest, are none of the image's frames. Signed
  and floating-point samples, and 32-bit integers, have no range of their own and are refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from hurdles.errors import ImageError, ImageTooLargeError, UnsupportedImageError
from hurdles.pixels.frames import decode_page
from hurdles.pixels.header import (
    Container,
    ImageHeader,
    check_header,
    damaged,
    failing_as,
    notice,
    read_container,
    whole,
)


def read_raster_header(handle: BinaryIO, kind: str) -> ImageHeader:
    """Return the header of an open file of this `kind`, reading no pixel."""
    if kind == "TIFF":
        return _tiff_header(_tiff(handle))
    if kind == "BMP":
        return _bmp(handle)[0]
    return read_container(handle, kind).header(kind)


def decode_raster(data: bytes, kind: str, max_pixels: int) -> np.ndarray:
    """Decode the content of a file that is no DICOM: levels (H, W), see `unit`, upright."""
    if kind == "TIFF":
        return _decode_tiff(data, max_pixels)
    if kind == "BMP":
        header, image = _bmp(io.BytesIO(data))
        check_header(header, max_pixels)
        with failing_as(_bmp_failure):
            mode = "L" if header.photometric == "MONOCHROME2" else "RGB"
            return gray(np.asarray(image.convert(mode)))
    container = read_container(io.BytesIO(data), kind)
    check_header(container.header(kind), max_pixels)
    if kind == "JPEG":
        pixels = _decode_jpeg(data, container)
    else:
        pixels = _decode_color(whole(data, kind), kind, container)
    # An EXIF orientation (1 to 8) is undone: first mirror, then turn.
    if container.orientation in (2, 4, 5, 7):
        pixels = pixels[:, ::-1]
    if quarter_turns := {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(container.orientation):
        pixels = np.rot90(pixels, quarter_turns)
    return np.ascontiguousarray(pixels)


# --- samples -------------------------------------------------------------------------------------

#: Depths of detectors and of displays. A picture of fewer bits than its file has uses the next one.
_DEPTHS = (8, 10, 12, 14)


def unit(levels: np.ndarray) -> np.ndarray:
    """Return levels, bytes or what is ``float32`` within [0, 1] already, as the latter."""
    return _divided(levels, 255) if levels.dtype == np.uint8 else levels


def gray(samples: np.ndarray, *, blue_first: bool = False) -> np.ndarray:
    """Return gray, RGB or RGBA integers (H, W[, C]) as levels (H, W): luma, on black."""
    import cv2

    if samples.ndim == 2:
        return _levels(samples)
    code = cv2.COLOR_BGR2GRAY if blue_first else cv2.COLOR_RGB2GRAY
    highest = _highest(samples[..., :3])
    luma = _levels(np.asarray(cv2.cvtColor(np.ascontiguousarray(samples[..., :3]), code)), highest)
    if samples.shape[2] == 3:
        return luma
    opaque = _divided(samples[..., 3], int(np.iinfo(samples.dtype).max))
    return np.asarray(unit(luma) * opaque)


def _levels(samples: np.ndarray, highest: int | None = None) -> np.ndarray:
    """Divide by `highest`, by default that of the bits that are in use, what is no byte."""
    if samples.dtype == np.uint8:
        return samples
    return _divided(samples, _highest(samples) if highest is None else highest)


def _divided(samples: np.ndarray, highest: int) -> np.ndarray:
    return np.asarray(np.divide(samples, np.float32(highest), dtype=np.float32))


def _highest(samples: np.ndarray) -> int:
    """Return the value that is white: of the format, or of 12 bits where 16 hold only 12.

    The same is done for DICOM, and for the same reason: taken for 16 bits, a picture of 12 has 17
    of 256 gray levels.
    """
    format_top = int(np.iinfo(samples.dtype).max)
    if samples.dtype.itemsize == 1:
        return format_top
    used = int(samples.max()).bit_length()
    depth = next((depth for depth in _DEPTHS if used <= depth), 16)
    if depth == 16 or used == 0:
        return format_top
    notice(
        "bits in use",
        f"a file of 16 bits whose values need only {used}; read as a picture of {depth} bits",
    )
    return (1 << depth) - 1


# --- JPEG ----------------------------------------------------------------------------------------

#: A progressive JPEG is decoded once for each of its scans: of 100 megapixels usual files have 10.
MAX_SCANNED_PIXELS = 1_500_000_000
#: Sequential and progressive Huffman coding.
_COMMON_JPEG = (0xC0, 0xC1, 0xC2)


def _decode_jpeg(data: bytes, container: Container) -> np.ndarray:
    import simplejpeg

    if container.bits != 8:
        raise UnsupportedImageError(
            f"the JPEG has {container.bits} bits; convert it to 16-bit PNG, or give the DICOM."
        )
    scans = _count_scans(data)
    if scans * container.height * container.width > MAX_SCANNED_PIXELS:
        raise ImageTooLargeError(
            f"the JPEG goes {scans:,} times over its {container.width} x {container.height} "
            f"pixels, {MAX_SCANNED_PIXELS:,} pixels at most are decoded; leave the file out."
        )
    cmyk = container.photometric == "CMYK"
    try:
        # Gray is the stored Y channel, so the color conversion is not even computed.
        samples = simplejpeg.decode_jpeg(data, "CMYK" if cmyk else "GRAY", strict=True)
    except ValueError as error:
        if "subsampling" in str(error):
            return _by_pillow(data)
        if container.process not in _COMMON_JPEG and "Unsupported" in str(error):
            raise UnsupportedImageError(
                "the JPEG is lossless or arithmetically coded; convert it to PNG."
            ) from error
        raise damaged("JPEG", str(error)) from error
    return _by_pillow(data) if cmyk else np.asarray(samples[..., 0])


def _count_scans(data: bytes) -> int:
    """Count the marker FF DA in a JPEG, as ``data.count`` in an eighth of the time."""
    pairs = (np.frombuffer(data, "<u2", (len(data) - odd) // 2, odd) for odd in (0, 1))
    return sum(int(np.count_nonzero(pair == 0xDAFF)) for pair in pairs)


def _by_pillow(data: bytes) -> np.ndarray:
    """Decode what simplejpeg does not: CMYK as gray, and unusual subsampling."""
    from PIL.JpegImagePlugin import JpegImageFile

    with failing_as(lambda error: damaged("JPEG", str(error))):
        image = JpegImageFile(io.BytesIO(data))
        image.draft("L", image.size)  # the stored Y channel, where there is one
        return np.asarray(image.convert("L"))


# --- PNG and WebP --------------------------------------------------------------------------------


def _decode_color(data: bytes, kind: str, container: Container) -> np.ndarray:
    import cv2

    try:
        samples = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise damaged(kind, str(error.err)) from error
    if samples is None:
        raise damaged(kind, "its pixels cannot be decoded")
    pixels = gray(np.asarray(samples), blue_first=True)
    if container.transparent is not None and samples.ndim == 2:  # OpenCV looks at colors only
        scale = 255 // ((1 << container.bits) - 1) if container.bits < 8 else 1
        pixels[samples == container.transparent * scale] = 0
    return pixels


# --- BMP -----------------------------------------------------------------------------------------


def _bmp(handle: BinaryIO) -> tuple[ImageHeader, Any]:
    from PIL.BmpImagePlugin import BmpImageFile

    with failing_as(_bmp_failure):
        image = BmpImageFile(handle)
    photometric = {"1": "MONOCHROME2", "L": "MONOCHROME2", "P": "PALETTE COLOR"}.get(image.mode)
    bits = 1 if image.mode == "1" else 8
    return ImageHeader("BMP", image.height, image.width, bits, photometric or "RGB"), image


def _bmp_failure(error: Exception) -> ImageError:
    if "nsupported" in str(error):
        return UnsupportedImageError(
            f"the BMP is of a kind that is not read ({error}); convert it to PNG."
        )
    return damaged("BMP", str(error))


# --- TIFF ----------------------------------------------------------------------------------------

#: TIFF 6.0: NewSubfileType, ImageWidth, ImageLength, BitsPerSample, Compression ...
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _FORMAT, _EXTRA = 273, 277, 278, 284, 339, 338
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_SIGNED, _FLOAT = 2, 3
_MULTIPLIED = 1
#: No pixels lie in the first bytes of a file.
_HEAD = 8
_COLORS = {"P": "PALETTE COLOR", "PA": "PALETTE COLOR", "CMYK": "CMYK"}
_MOST_PAGES = 1000
#: Compressions: none, LZW, Deflate, PackBits; fax, JPEG, LZMA and Zstandard.
_IN_OPENCV = frozenset({1, 5, 8, 32773, 32946})
_IN_PILLOW = frozenset({2, 3, 4, 6, 7, 34925, 50000})
#: Tags without which Pillow gives up with a bare KeyError; any other is a compression.
_NEEDED = frozenset(
    {_WIDTH, _HEIGHT, _STRIPS, _ROWS_PER_STRIP, 279, _TILE_WIDTH, _TILE_HEIGHT, _TILES, 325}
)


def _decode_tiff(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the content of a TIFF: ``float32`` (H, W) within [0, 1], turned upright."""
    image = _tiff(io.BytesIO(data))
    header = _tiff_header(image)
    check_header(header, max_pixels)
    _check_form(image, header)
    with failing_as(_tiff_failure):
        _check_parts(image)
        return np.ascontiguousarray(_pixels(image, header, data))


def _tiff(handle: BinaryIO) -> Any:
    # `PIL.Image.open` would apply a limit of its own, which is global.
    from PIL.TiffImagePlugin import TiffImageFile

    with failing_as(_tiff_failure):
        return TiffImageFile(handle)


def _tiff_failure(error: Exception) -> ImageError:
    """Tell a form that Pillow does not know from damage."""
    words = str(error)
    cause = error.__cause__ or error
    compression = isinstance(cause, KeyError) and cause.args[0] not in _NEEDED
    if words == "unknown pixel mode":
        what = f"a form of pixels that is not read ({words})"
    elif compression or "not available" in words or "not yet supported" in words:
        what = f"a compression ({words}) that is not read"
    else:
        return damaged("TIFF", words or type(error).__name__)
    return UnsupportedImageError(f"the TIFF has {what}; convert it to PNG.")


def _tiff_header(image: Any) -> ImageHeader:
    """Turn to the largest page, the image, and return its header."""
    with failing_as(_tiff_failure):
        sizes: dict[int, int] = {}
        for number in range(_MOST_PAGES):
            try:
                image.seek(number)
            except EOFError:
                break
            marked_smaller = int(image.tag_v2.get(_SUBFILE, 0)) & 1
            sizes[number] = 0 if marked_smaller else image.width * image.height
        most = max(sizes.values())
        frames = sum(size > most // 2 for size in sizes.values()) if most else 1
        image.seek(next(number for number, size in sizes.items() if size == most))
        bits = int(image.tag_v2.get(_BITS, (1,))[0])
    colors = _COLORS.get(image.mode)
    if image.tag_v2.get(_PHOTOMETRIC) == 0:
        colors = "MONOCHROME1"
    elif image.mode.startswith(("RGB", "YCbCr")):
        colors = "RGB"
    return ImageHeader("TIFF", image.height, image.width, bits, colors or "MONOCHROME2", frames)


def _check_form(image: Any, header: ImageHeader) -> None:
    """Refuse samples that would be taken for something else."""
    tags = image.tag_v2
    kind = int(np.atleast_1d(tags.get(_FORMAT, 1))[0])
    if kind in (_SIGNED, _FLOAT):
        what = "signed" if kind == _SIGNED else "floating-point"
        raise UnsupportedImageError(
            f"the TIFF holds {what} {header.bits}-bit samples (mode {image.mode}) without a range "
            "of their own; scale them to 16-bit unsigned integers."
        )
    deep_color = header.bits > 8 and tags.get(_SAMPLES, 1) > 1
    if deep_color and tags.get(_PLANAR, 1) == 2:
        raise UnsupportedImageError(
            f"the TIFF holds {header.bits}-bit colors in separate planes; convert it to PNG."
        )
    compression = tags.get(_COMPRESSION, 1)
    if compression not in (_IN_OPENCV if deep_color else _IN_OPENCV | _IN_PILLOW):
        raise UnsupportedImageError(
            f"the TIFF has a compression ({compression}) that is not read; convert it to PNG."
        )


def _check_parts(image: Any) -> None:
    """Refuse a page of which strips or tiles are missing: Pillow leaves them black."""

    def first(tag: int, otherwise: int) -> int:
        return int(np.atleast_1d(image.tag_v2.get(tag, otherwise))[0])

    planes = first(_SAMPLES, 1) if first(_PLANAR, 1) == 2 else 1
    tiled = _TILES in image.tag_v2
    width, height = first(_WIDTH, 0), first(_HEIGHT, 0)  # before the image is turned
    if tiled:
        across, high = -(-width // first(_TILE_WIDTH, 0)), first(_TILE_HEIGHT, 0)
    else:
        across, high = 1, min(first(_ROWS_PER_STRIP, height), height)
    places = image.tag_v2.get(_TILES if tiled else _STRIPS, ())
    announced = max(across * -(-height // high) * planes, len(places))
    there = sum(place >= _HEAD for place in places)
    if there < announced:
        what = "tiles" if tiled else "strips"
        raise damaged("TIFF", f"it holds {there:,} of {announced:,} {what}")


def _pixels(image: Any, header: ImageHeader, data: bytes) -> np.ndarray:
    """Return the pixels; Pillow applies the orientation itself."""
    mode, bits = image.mode, header.bits
    size = image.width * image.height * len(image.getbands())

    def decoded(wanted: str | None) -> np.ndarray:
        return decode_page(data, image.tell(), size, wanted)

    if mode.startswith("I;16"):
        samples = decoded("").astype(np.uint16, copy=False)
        if header.photometric == "MONOCHROME1":
            return 1 - _divided(samples, (1 << bits) - 1)
        return _levels(samples, (1 << bits) - 1 if bits < 16 else None)
    if mode in ("RGB", "RGBA") and bits == 16:  # of these Pillow keeps only the upper byte
        deep = decoded(None)
        if image.tag_v2.get(_EXTRA, (0,))[0] == _MULTIPLIED:  # transparency has darkened it already
            deep = deep[..., :3]
        return gray(deep, blue_first=True)
    if mode in ("1", "L"):
        return decoded("L")
    if mode in ("LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"):
        return gray(decoded("RGBA" if mode in ("LA", "RGBA", "PA") else "RGB"))
    if mode in ("I", "F"):
        raise UnsupportedImageError(
            f"the TIFF holds {bits}-bit samples (mode {mode}) without a range of their own; scale "
            "them to 16-bit unsigned integers."
        )
    raise UnsupportedImageError(
        f"the TIFF holds colors in a form that is not read (mode {mode}); convert it to PNG."
    )
