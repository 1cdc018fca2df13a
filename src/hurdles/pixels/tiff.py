"""TIFF: its largest page, read by Pillow, and by OpenCV where colour has 16 bits.

Pixels are decoded in another process (`hurdles.pixels.frames`). "White is zero" is inverted. Pages
that are marked as smaller copies, or have at most half as many pixels as the largest, are none of
the image's frames. Signed and floating-point samples, and 32-bit integers, have no range of their
own and are refused.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hurdles.errors import ImageError, UnsupportedImageError
from hurdles.pixels.containers import damaged
from hurdles.pixels.frames import decode_page
from hurdles.pixels.header import ImageHeader, check_header
from hurdles.pixels.samples import grey, unit

#: TIFF 6.0: NewSubfileType, ImageWidth, ImageLength, BitsPerSample, Compression ...
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, _FORMAT, _EXTRA = 273, 277, 278, 284, 339, 338
_TILE_WIDTH, _TILE_HEIGHT, _TILES = 322, 323, 324
_SIGNED, _FLOAT = 2, 3
_MULTIPLIED = 1
#: No pixels lie in the first bytes of a file.
_HEAD = 8
_COLOURS = {"P": "PALETTE COLOR", "PA": "PALETTE COLOR", "CMYK": "CMYK"}
_MOST_PAGES = 1000
#: Compressions: none, LZW, Deflate, PackBits; fax, JPEG, LZMA and Zstandard.
_IN_OPENCV = frozenset({1, 5, 8, 32773, 32946})
_IN_PILLOW = frozenset({2, 3, 4, 6, 7, 34925, 50000})
#: Tags without which Pillow gives up with a bare KeyError; any other is a compression.
_NEEDED = frozenset(
    {_WIDTH, _HEIGHT, _STRIPS, _ROWS_PER_STRIP, 279, _TILE_WIDTH, _TILE_HEIGHT, _TILES, 325}
)


class _Page(NamedTuple):
    """The page that is the image, and how many there are of its size."""

    number: int
    frames: int


def read_tiff_header(handle: BinaryIO) -> ImageHeader:
    """Return the header of an open TIFF, reading no pixel."""
    return _header(_opened(handle))


def decode_tiff(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the content of a TIFF: ``float32`` (H, W) within [0, 1], turned upright."""
    image = _opened(io.BytesIO(data))
    header = _header(image)
    check_header(header, max_pixels)
    _check_form(image, header)
    try:
        _check_parts(image)
        return np.ascontiguousarray(_pixels(image, header, data))
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _failure(error) from error


def _opened(handle: BinaryIO) -> Any:
    # `PIL.Image.open` would apply a limit of its own, which is global.
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        return TiffImageFile(handle)
    except Exception as error:
        raise _failure(error) from error


def _failure(error: Exception) -> ImageError:
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


def _header(image: Any) -> ImageHeader:
    try:
        page = _largest(image)
        image.seek(page.number)
        bits = int(image.tag_v2.get(_BITS, (1,))[0])
    except Exception as error:
        raise _failure(error) from error
    colours = _COLOURS.get(image.mode)
    if image.tag_v2.get(_PHOTOMETRIC) == 0:
        colours = "MONOCHROME1"
    elif image.mode.startswith(("RGB", "YCbCr")):
        colours = "RGB"
    return ImageHeader(
        "TIFF", image.height, image.width, bits, colours or "MONOCHROME2", page.frames
    )


def _largest(image: Any) -> _Page:
    sizes: dict[int, int] = {}
    for number in range(_MOST_PAGES):
        try:
            image.seek(number)
        except EOFError:
            break
        marked_smaller = int(image.tag_v2.get(_SUBFILE, 0)) & 1
        sizes[number] = 0 if marked_smaller else image.width * image.height
    most = max(sizes.values())
    number = next(number for number, size in sizes.items() if size == most)
    return _Page(number, sum(size > most // 2 for size in sizes.values()) if most else 1)


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
    deep_colour = header.bits > 8 and tags.get(_SAMPLES, 1) > 1
    if deep_colour and tags.get(_PLANAR, 1) == 2:
        raise UnsupportedImageError(
            f"the TIFF holds {header.bits}-bit colours in separate planes; convert it to PNG."
        )
    compression = tags.get(_COMPRESSION, 1)
    if compression not in (_IN_OPENCV if deep_colour else _IN_OPENCV | _IN_PILLOW):
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
            return 1 - unit(samples, (1 << bits) - 1)
        return unit(samples, (1 << bits) - 1 if bits < 16 else None)
    if mode in ("RGB", "RGBA") and bits == 16:  # of these Pillow keeps only the upper byte
        deep = decoded(None)
        if image.tag_v2.get(_EXTRA, (0,))[0] == _MULTIPLIED:  # transparency has darkened it already
            deep = deep[..., :3]
        return grey(deep, blue_first=True)
    if mode in ("1", "L"):
        return unit(decoded("L"))
    if mode in ("LA", "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"):
        return grey(decoded("RGBA" if mode in ("LA", "RGBA", "PA") else "RGB"))
    if mode in ("I", "F"):
        raise UnsupportedImageError(
            f"the TIFF holds {bits}-bit samples (mode {mode}) without a range of their own; scale "
            "them to 16-bit unsigned integers."
        )
    raise UnsupportedImageError(
        f"the TIFF holds colors in a form that is not read (mode {mode}); convert it to PNG."
    )
