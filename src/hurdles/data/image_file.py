"""Image files before their pixels: the format by the first bytes, and the header of a DICOM file.

The format is never told from a file's name. A DICOM header says what may follow, and only then are
pixels read: a header that is damaged cannot make them be read, and a data set that is compressed as
a whole ("deflated", PS3.5, A.5) is inflated no further than its own header explains; pydicom would
inflate two megabytes to gigabytes. Elements are taken as they are found: empty, padded, in lower
case, with a comma.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from hurdles.data.vocabulary import age_of, least_age, sex_of, view_of
from hurdles.errors import (
    ImageError,
    ImageTooLargeError,
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
        plain = stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - here and below: once a file
    except ValueError as error:  # NUL, or what the file system cannot write
        raise ImageError(f"the path is none that a file can have ({error}); correct it.") from error
    if not plain:
        raise NotAnImageError("this is no plain file (a folder, a pipe or a device); leave it out.")
    return open(path, "rb")  # noqa: PTH123 - once a file


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


# --- DICOM ---------------------------------------------------------------------------------------


#: For all elements of a deflated file but its pixels.
MAX_HEADER_BYTES = 16 << 20
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
#: Elements of patient and projection, in the file's order: nothing behind the last is read.
_TAGS = {
    "institution": 0x0008_0080,
    "patient": 0x0010_0020,
    "sex": 0x0010_0040,
    "age": 0x0010_1010,
    "view": 0x0018_5101,
}
_THREADS = 8


class DicomFile:
    """One DICOM file, from a handle that is open at its start.

    ``dataset``, a pydicom.Dataset, holds the elements before the pixels; `read_pixels` adds the
    others.
    """

    def __init__(self, handle: BinaryIO) -> None:
        import pydicom

        self._handle = handle
        self._meta_end = self._end_of_deflated_meta()
        self._stream = self._inflated(MAX_HEADER_BYTES) if self._meta_end else handle
        self.dataset: Any = pydicom.dcmread(self._stream, force=True, stop_before_pixels=True)
        if self._meta_end:
            if self._stream.tell() >= self._meta_end + MAX_HEADER_BYTES:
                raise ImageTooLargeError(
                    f"the file inflates to more than {MAX_HEADER_BYTES >> 20} MB before its "
                    "pixels; leave it out, or re-export it."
                )
            syntax = pydicom.uid.DeflatedExplicitVRLittleEndian
            self.dataset.file_meta.TransferSyntaxUID = syntax

    def read_pixels(self) -> None:
        """Add the elements from the pixels on to `dataset`."""
        from pydicom.filereader import read_dataset

        at, stream = self._stream.tell(), self._stream
        if self._meta_end:
            sides = math.prod(whole(self.dataset, name, 1) for name in ("Rows", "Columns"))
            samples = whole(self.dataset, "SamplesPerPixel", 3)
            announced = sides * samples * min(whole(self.dataset, "BitsAllocated", 64), 64) // 8
            most = self._meta_end + MAX_HEADER_BYTES + announced
            stream = self._inflated(most)
            if stream.seek(0, io.SEEK_END) >= most:
                raise ImageTooLargeError(
                    f"the file inflates to more than {most >> 20} MB, which the size in its header "
                    "does not explain; leave it out, or re-export it."
                )
        stream.seek(at)
        if not stream.read(1):
            return
        stream.seek(at)
        self.dataset.update(read_dataset(stream, *self.dataset.original_encoding))
        if not any(name in self.dataset for name in _PIXELS):
            raise TruncatedImageError("the DICOM file is damaged (its pixel data end early); "
                                      "fetch it again.")  # fmt: skip

    def _inflated(self, most: int) -> BinaryIO:
        """Return the file as a plain one; its data set may take `most` bytes."""
        self._handle.seek(0)
        meta = self._handle.read(self._meta_end).replace(_DEFLATED, _PLAIN, 1)
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._handle.read(), most)
        return io.BytesIO(meta + body)

    def _end_of_deflated_meta(self) -> int:
        """Return where the meta information of a deflated file ends; 0 if it is not deflated."""
        from pydicom.filereader import read_dataset, read_preamble

        read_preamble(self._handle, force=True)
        meta = read_dataset(self._handle, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
        end = self._handle.tell()
        self._handle.seek(0)
        return end if str(meta.get("TransferSyntaxUID")) == _DEFLATED.decode() else 0


def open_dataset(handle: BinaryIO) -> Any:
    """Return the elements before the pixels of an open file, as a pydicom.Dataset."""
    return DicomFile(handle).dataset


def number(dataset: Any, keyword: str, place: int = 0) -> float | None:
    """Return a value of an element; NaN where it is no number, None where it is empty."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for, and refuses "1,5" so
        value = dataset.get_item(keyword).value
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    values = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    value = next(islice(values, place, None), None)
    written = "" if value is None else str(value).strip(" \0").replace(",", ".")
    try:
        return float(written) if written else None
    except ValueError:
        return math.nan


def whole(dataset: Any, keyword: str, otherwise: int) -> int:
    """Return the first value of an element as an integer."""
    value = number(dataset, keyword)
    return otherwise if value is None or not math.isfinite(value) else int(value)


def text(dataset: Any, keyword: str, place: int = 0) -> str:
    """Return a code string in capitals and without padding."""
    value = dataset.get(keyword) or ""
    values = [value] if isinstance(value, str) else value
    return str(next(islice(values, place, None), "")).strip(" \0").upper()


def read_headers(paths: Sequence[str]) -> pd.DataFrame:
    """Read institution, patient, sex, age and view of files; `dicom` says whether each is DICOM.

    Never a name. Of files that are not DICOM, the first kilobyte is read.
    """
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder speaks of bad headers, if they matter
        rows = list(pool.map(_read_header, paths))
    frame = pd.DataFrame(rows, columns=["dicom", *_TAGS], dtype=object)
    return frame.where(frame.notna(), None).astype({"dicom": bool})


def _read_header(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(1024)
    except OSError:
        return {"dicom": False}
    if not is_dicom(head):
        return {"dicom": False}
    try:
        with Path(path).open("rb") as handle:
            dataset = open_dataset(handle) if _DEFLATED in head else _first_groups(handle)
        values = {name: dataset[tag].value for name, tag in _TAGS.items() if tag in dataset}
    except Exception:  # pydicom fails in many ways on damaged bytes
        return {"dicom": True}
    cells = {
        name: str("" if value is None else value).replace("\0", "").strip()
        for name, value in values.items()
    }
    age = cells.get("age", "")
    return {
        "dicom": True,
        "institution": cells.get("institution") or None,
        "patient": cells.get("patient") or None,
        "sex": sex_of(cells.get("sex", "")),
        "age": least_age(age) if age_of(age) is None else age_of(age),
        "view": view_of(cells.get("view", "")),
    }


def _first_groups(handle: BinaryIO) -> Any:
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    tags = [Tag(tag) for tag in _TAGS.values()]
    return read_partial(
        handle, stop_when=lambda tag, *_: bool(tag > tags[-1]), force=True, specific_tags=tags
    )
