"""One door for every file: bytes in, ``float32`` pixels within [0, 1] out.

The format is told from the content, never from the name: PNG, JPEG, WebP, TIFF, BMP and DICOM. The
rules that turn a file's numbers into [0, 1] stand in `hurdles.data.raster` and
`hurdles.data.dicom`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hurdles.data import dicom, raster
from hurdles.data.header import DEFAULT_MAX_PIXELS, ImageHeader
from hurdles.data.notices import about, notice
from hurdles.errors import (
    ConstantImageError,
    ImageError,
    ImageTooLargeError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)

__all__ = ["DECODER_VERSION", "decode", "is_image", "read_header"]

#: Part of every cache key. Raise it when the same file comes to give other pixels.
DECODER_VERSION = 2

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_KNOWN_BUT_UNREAD: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "GIF"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftyp", "HEIF or AVIF"),
    (344, b"n+1\x00", "NIfTI"),
)
_SNIFFED = 352
#: Sizes of the second header of a BMP, which tell its version.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})
#: The largest file: so many bytes a pixel (four samples of 16 bits), and so many for the rest.
_BYTES_PER_PIXEL, _MORE_BYTES = 8, 64 << 20
#: Half a grey level of 16 bits: only a window that cuts everything off leaves less.
_SMALLEST_STEP = 0.5 / 65535
#: A 12-bit picture that is taken for one of 16 bits uses a sixteenth.
_SLIVER = 1 / 8


def decode(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> np.ndarray:
    """Read one radiograph.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, WebP, TIFF, BMP or DICOM file; its name does not matter.
    max_pixels : int
        The header's height times width may not exceed this; it is checked before decoding.

    Returns
    -------
    ndarray of float32, shape (H, W), within [0, 1]
        0 is the darkest value that the file's format can hold, or the low end of the DICOM
        window; 1 the brightest. Bone is bright.

    Raises
    ------
    ImageError
        With the path, and as the subclass that says what is wrong: `NotAnImageError`,
        `TruncatedImageError`, `ImageTooLargeError`, `ConstantImageError`, `MultiFrameError`,
        `UnsupportedImageError`; plain `ImageError` where the file itself cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> path = Path(tempfile.mkdtemp()) / "ramp.png"
    >>> Image.fromarray(np.array([[0, 51, 255]], dtype=np.uint8)).save(path)
    >>> decode(path).tolist()
    [[0.0, 0.20000000298023224, 1.0]]
    """
    with _naming(path), _opened(path) as handle:
        _check_size(handle, max_pixels)
        data = handle.read()
        kind = _sniff(data)
        if kind == "DICOM":
            pixels = dicom.decode_dicom(data, max_pixels)
        else:
            pixels = raster.decode_raster(data, kind, max_pixels)
        _check_pixels(pixels)
        return pixels


def read_header(path: str | Path) -> ImageHeader:
    """Return what the file says about its image; no pixel is decoded.

    Raises
    ------
    ImageError
        With the path, as `decode` does.
    """
    with _naming(path), _opened(path) as handle:
        kind = _sniff(handle.read(_SNIFFED))
        handle.seek(0)
        if kind == "DICOM":
            return dicom.read_dicom_header(handle)
        return raster.read_raster_header(handle, kind)


def _opened(path: str | Path) -> BinaryIO:
    """Open a plain file; a pipe or a device would wait, or never end."""
    try:
        plain = stat.S_ISREG(Path(path).stat().st_mode)
    except ValueError as error:  # NUL, or what the file system cannot write
        raise ImageError(f"the path is none that a file can have ({error}); correct it.") from error
    if not plain:
        raise NotAnImageError("this is no plain file (a folder, a pipe or a device); leave it out.")
    return Path(path).open("rb")


def _check_size(handle: BinaryIO, max_pixels: int) -> None:
    size, most = os.fstat(handle.fileno()).st_size, _BYTES_PER_PIXEL * max_pixels + _MORE_BYTES
    if size > most:
        raise ImageTooLargeError(
            f"the file has {size >> 20:,} MB, more than {most >> 20:,} MB, in which {max_pixels:,} "
            "pixels are written without compression; leave it out, or raise max_pixels."
        )


def _check_pixels(pixels: np.ndarray) -> None:
    """Hold decoded pixels to what `decode` promises, whatever their format."""
    low, high = float(pixels.min()), float(pixels.max())
    if not 0 <= low <= high <= 1:  # NaN is none of these
        raise TruncatedImageError(
            f"the file is damaged (its grey levels run from {low:g} to {high:g} of 1); fetch it "
            "again."
        )
    if high - low < _SMALLEST_STEP:
        raise ConstantImageError(
            f"every pixel has the same value, {low:.3g} of 1; there is nothing to see, leave the "
            "file out."
        )
    if high - low < _SLIVER:
        notice(
            "sliver",
            f"the picture uses grey levels from {low:.3f} to {high:.3f} of 1 only; if that is not "
            "meant, correct the window or the depth that the file states",
        )


def is_image(path: str | Path) -> bool:
    """Whether a file begins as one that `decode` reads; False where it cannot be opened."""
    try:
        with _opened(path) as handle:
            return bool(_sniff(handle.read(_SNIFFED)))
    except OSError:  # as an ImageError is
        return False


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Attach the path to every error on its way out."""
    try:
        with about(path):
            yield
    except ImageError as error:
        error.path = error.path or Path(path)
        raise
    except MemoryError as error:
        raise ImageTooLargeError(
            "there is not enough memory to decode it; free some, or leave the file out.", path
        ) from error
    except OSError as error:
        why = error.strerror or str(error)
        raise ImageError(f"the file cannot be opened ({why}); check the path.", path) from error


def _sniff(head: bytes) -> str:
    # DICOM first: its preamble may hold the head of a TIFF (PS3.10, 7.1).
    if dicom.is_dicom(head):
        return "DICOM"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if not head.strip(b"\x00"):
        what = "is empty" if not head else "begins with nothing but zeros"
        raise TruncatedImageError(f"the file {what}; fetch it again.")
    for offset, signature, name in _KNOWN_BUT_UNREAD:
        if head[offset:].startswith(signature):
            raise UnsupportedImageError(
                f"this is a {name} file; convert it to PNG, or give the DICOM original."
            )
    raise NotAnImageError(
        "the content is neither PNG, JPEG, WebP, TIFF, BMP nor DICOM; leave the file out."
    )
