"""A DICOM file in two steps: the header, which says what may follow, then the pixels.

A header that is damaged cannot make the pixels be read, and a data set that is compressed as a
whole ("deflated", PS3.5, A.5) is inflated no further than its own header explains; pydicom would
inflate two megabytes to gigabytes.

Elements of a DICOM header as they are found: empty, padded, in lower case, with a comma.
"""

from __future__ import annotations

import io
import math
import zlib
from itertools import islice
from typing import Any, BinaryIO

from hurdles.errors import ImageTooLargeError, TruncatedImageError


def number(dataset: Any, keyword: str, place: int = 0) -> float | None:
    """Return a value of an element."""
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
    found = number(dataset, keyword)
    return otherwise if found is None or not math.isfinite(found) else int(found)


def text(dataset: Any, keyword: str, place: int = 0) -> str:
    """Return a code string in capitals and without padding."""
    value = dataset.get(keyword) or ""
    values = [value] if isinstance(value, str) else value
    return str(next(islice(values, place, None), "")).strip(" \0").upper()


#: For all elements of a deflated file but its pixels.
MAX_HEADER_BYTES = 16 << 20
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class DicomFile:
    """One DICOM file.

    Parameters
    ----------
    handle : binary file
        Open at its start.

    Notes
    -----
    ``dataset``, a pydicom.Dataset, holds the elements before the pixels; `read_pixels` adds the
    others.
    """

    def __init__(self, handle: BinaryIO) -> None:
        import pydicom

        self._handle = handle
        self._meta_end = _meta_end(handle)
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
            most = self._meta_end + MAX_HEADER_BYTES + self._announced()
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

    def _announced(self) -> int:
        sides = math.prod(whole(self.dataset, name, 1) for name in ("Rows", "Columns"))
        samples, bits = whole(self.dataset, "SamplesPerPixel", 3), 64
        return sides * samples * min(whole(self.dataset, "BitsAllocated", bits), bits) // 8

    def _inflated(self, most: int) -> BinaryIO:
        """Return the file as a plain one; its data set may take `most` bytes."""
        self._handle.seek(0)
        meta = self._handle.read(self._meta_end).replace(_DEFLATED, _PLAIN, 1)
        body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._handle.read(), most)
        return io.BytesIO(meta + body)


def open_dataset(handle: BinaryIO) -> Any:
    """Return the elements before the pixels of an open file, as a pydicom.Dataset."""
    return DicomFile(handle).dataset


def _meta_end(handle: BinaryIO) -> int:
    """Return where the meta information of a deflated file ends; 0 if it is not deflated."""
    from pydicom.filereader import read_dataset, read_preamble

    read_preamble(handle, force=True)
    meta = read_dataset(handle, False, True, stop_when=lambda tag, *_: tag >> 16 != 2)
    end = handle.tell()
    handle.seek(0)
    return end if str(meta.get("TransferSyntaxUID")) == _DEFLATED.decode() else 0
