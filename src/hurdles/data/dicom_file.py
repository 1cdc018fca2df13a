"""DICOM files: the header, which says what may follow, and only then the pixels.

A header that is damaged cannot make the pixels be read, and a data set that is compressed as a
whole ("deflated", PS3.5, A.5) is inflated no further than its own header explains; pydicom would
inflate two megabytes to gigabytes. Elements are taken as they are found: empty, padded, in lower
case, with a comma.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from hurdles.data.formats import starts_as_dicom
from hurdles.data.vocabulary import age_of, least_age, sex_of, view_of
from hurdles.errors import ImageTooLargeError, TruncatedImageError

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

    Never a name. Of files that are not DICOM, 132 bytes are read.
    """
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder speaks of bad headers, if they matter
        rows = list(pool.map(_read_header, paths))
    frame = pd.DataFrame(rows, columns=["dicom", *_TAGS], dtype=object)
    return frame.where(frame.notna(), None).astype({"dicom": bool})


def _read_header(path: str) -> dict[str, Any]:
    if not starts_as_dicom(path):
        return {"dicom": False}
    try:
        with Path(path).open("rb") as handle:
            deflated = _DEFLATED in handle.read(1024)
            handle.seek(0)
            dataset = open_dataset(handle) if deflated else _first_groups(handle)
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
