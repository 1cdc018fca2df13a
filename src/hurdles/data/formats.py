"""The format of a file, told from its first bytes and never from its name."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import BinaryIO

from hurdles.errors import (
    ImageError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)

#: Extensions that are taken for images, in lower case. What a file really holds is for the decoder.
IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dcm", ".dicom", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
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
#: So many first bytes tell every format.
SNIFFED_BYTES = 352
#: Sizes of the second header of a BMP, which tell its version.
_BMP_HEADERS = frozenset({12, 40, 52, 56, 64, 108, 124})


def opened(path: str | Path) -> BinaryIO:
    """Open a plain file; a pipe or a device would wait, or never end."""
    try:
        plain = stat.S_ISREG(Path(path).stat().st_mode)
    except ValueError as error:  # NUL, or what the file system cannot write
        raise ImageError(f"the path is none that a file can have ({error}); correct it.") from error
    if not plain:
        raise NotAnImageError("this is no plain file (a folder, a pipe or a device); leave it out.")
    return Path(path).open("rb")


def format_of(head: bytes) -> str:
    """Return the format of a file that begins so; an error names one that is not read."""
    # DICOM first: its preamble may hold the head of a TIFF (PS3.10, 7.1).
    if is_dicom(head):
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


def is_image(path: str | Path) -> bool:
    """Return whether a file begins as one that `decode` reads; False where it cannot be opened."""
    try:
        with opened(path) as handle:
            return bool(format_of(handle.read(SNIFFED_BYTES)))
    except OSError:  # as an ImageError is
        return False


def is_dicom(head: bytes) -> bool:
    """Return whether such a head is DICOM's: by its preamble, or a plausible first element.

    Files without the preamble (old archives) begin with group 0002 or 0008, in little endian.
    """
    if head[128:132] == b"DICM":
        return True
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    if group not in (b"\x02\x00", b"\x08\x00") or element > 0x0018:
        return False
    explicit = re.fullmatch(rb"UL|UI|CS|OB|SH|DA", head[4:6]) is not None
    return explicit or int.from_bytes(head[4:8], "little") <= 64


def starts_as_dicom(path: str | Path) -> bool:
    """Return whether a file is DICOM by its first bytes; False where it cannot be read."""
    try:
        with Path(path).open("rb") as handle:
            return is_dicom(handle.read(132))
    except OSError:
        return False
