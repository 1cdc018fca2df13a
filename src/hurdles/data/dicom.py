"""DICOM radiographs, read with pydicom and whichever decoders are installed beside it.

What stored values mean is told in `hurdles.data.greyscale`. Colour becomes luma, as in
`hurdles.data.raster`. An object of several frames is refused, and so is a compressed frame whose
own size is not the one that the header announces.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from hurdles.data.containers import check_jpeg_head, read_container
from hurdles.data.greyscale import grey_table
from hurdles.data.header import ImageHeader, check_header
from hurdles.data.vocabulary import Sex, View
from hurdles.errors import (
    ImageError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)

__all__ = ["decode_dicom", "is_dicom", "read_dicom_header"]

_VIEWS = {"PA": View.PA, "AP": View.AP, "LL": View.LATERAL, "RL": View.LATERAL}
#: In this order. GDCM ends the whole process when some damaged streams reach it, so it is asked
#: only where nothing else reads a transfer syntax: JPEG-LS and lossless JPEG.
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow", "pydicom", "gdcm")
_DAYS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM: by its preamble, or by a plausible first element.

    Files without the preamble (old archives) begin with group 0002 or 0008, in little endian.
    """
    if head[128:132] == b"DICM":
        return True
    group, element = head[:2], int.from_bytes(head[2:4], "little")
    if group not in (b"\x02\x00", b"\x08\x00") or element > 0x0018:
        return False
    explicit = re.fullmatch(rb"UL|UI|CS|OB|SH|DA", head[4:6]) is not None
    return explicit or int.from_bytes(head[4:8], "little") <= 64


def read_dicom_header(handle: BinaryIO) -> ImageHeader:
    """Return the header of an open DICOM file, reading no pixel."""
    with _damage_named():
        return _header(_dataset(handle, stop_before_pixels=True))


def decode_dicom(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the content of a DICOM file: ``float32`` (H, W) within [0, 1]."""
    with _damage_named():
        dataset = _dataset(io.BytesIO(data))
        header = _header(dataset)
        check_header(header, max_pixels)
        stored = _stored(dataset)
        if header.photometric == "PALETTE COLOR":
            from pydicom.pixels import apply_color_lut

            return _luma(apply_color_lut(stored, dataset)[..., :3])
        if stored.ndim == 3:
            return _luma(stored, (1 << header.bits) - 1)
        return _looked_up(stored, grey_table(dataset, stored, header))


@contextmanager
def _damage_named() -> Iterator[None]:
    """Give damage its name: pydicom parses an element only when it is asked for."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise TruncatedImageError(
            f"the DICOM header is damaged ({error}); fetch the file again."
        ) from error


# --- reading -------------------------------------------------------------------------------------


def _dataset(handle: BinaryIO, *, stop_before_pixels: bool = False) -> Any:
    import pydicom

    return pydicom.dcmread(handle, force=True, stop_before_pixels=stop_before_pixels)


def _header(dataset: Any) -> ImageHeader:
    missing = [k for k in ("Rows", "Columns", "BitsStored") if dataset.get(k) in (None, "")]
    if missing:
        what = dataset.get("Modality") or "unknown modality"
        raise NotAnImageError(
            f"this DICOM object ({what}) has no {', '.join(missing)}, so it holds no image; "
            "leave it out."
        )
    bits, allocated = int(dataset.BitsStored), int(dataset.get("BitsAllocated") or 0)
    if not 1 <= bits <= allocated:
        raise TruncatedImageError(
            f"the DICOM header announces {bits} of {allocated} bits; fetch the file again."
        )
    return ImageHeader(
        format="DICOM",
        height=int(dataset.Rows),
        width=int(dataset.Columns),
        bits=bits,
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        frames=int(dataset.get("NumberOfFrames") or 1),
        view=_VIEWS.get(str(dataset.get("ViewPosition") or "")),
        sex=_sex(dataset.get("PatientSex")),
        age=_age(dataset.get("PatientAge")),
        patient=str(dataset.get("PatientID") or "").strip() or None,
    )


def _sex(value: Any) -> Sex | None:
    return next((sex for sex in Sex if sex == str(value)), None)


def _age(value: Any) -> float | None:
    """DICOM Age String (PS3.5, 6.2), such as ``045Y`` or ``008M``, in years."""
    match = re.fullmatch(r"\s*(\d{1,3})([DWMY])\s*", str(value or ""))
    return int(match[1]) / _DAYS[match[2]] if match else None


def _check_codestream(dataset: Any) -> None:
    """Refuse a compressed frame that is malformed, or of another size than the header's."""
    from pydicom.encaps import get_frame

    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if frame.startswith(b"\xff\xd8"):
        check_jpeg_head(frame)
    size = _jpeg_size(frame) or _jpeg2000_size(frame)
    if size not in (None, (dataset.Rows, dataset.Columns)):
        raise TruncatedImageError(
            f"the compressed frame holds {size[1]} x {size[0]} pixels, but the header announces "
            f"{dataset.Columns} x {dataset.Rows}; fetch the file again."
        )


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    if not frame.startswith(b"\xff\xd8"):
        return None
    try:
        container = read_container(io.BytesIO(frame), "JPEG")
    except TruncatedImageError:  # its decoder will say so
        return None
    return container.height, container.width


def _jpeg2000_size(frame: bytes) -> tuple[int, int] | None:
    """Height and width on the reference grid (ISO/IEC 15444-1, A.5.1, the SIZ marker segment)."""
    start = frame[:4096].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(frame) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
    return bottom - top, right - left


def _stored(dataset: Any) -> np.ndarray:
    """Return the stored samples, (H, W) or (H, W, 3); YBR comes as RGB."""
    from pydicom.pixels import pixel_array

    if "PixelData" not in dataset:
        raise UnsupportedImageError(
            "the DICOM object has no integer Pixel Data; export it as a plain radiograph."
        )
    try:
        plugin = _prepare_decoding(dataset)
        samples = np.asarray(pixel_array(dataset, decoding_plugin=plugin))
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # pydicom and its plug-ins fail in many ways on damaged bytes
        raise _undecodable(error) from error
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise UnsupportedImageError(
            f"the DICOM pixels are {samples.dtype}; radiographs have 8 or 16 bits."
        )
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


def _prepare_decoding(dataset: Any) -> str:
    """Check what can be checked before pixels are decoded, and return which plug-in to ask."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset.ensure_file_meta()
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # a file without meta information leaves it open
        implicit = dataset.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        decoder = None
    if decoder is None or not decoder.is_available:
        raise UnsupportedImageError(
            f"no installed decoder reads transfer syntax {syntax.name}; re-export the file "
            "uncompressed."
        )
    if not decoder.is_encapsulated:
        return ""
    _check_codestream(dataset)
    return next((name for name in _PLUGINS if name in decoder.available_plugins), "")


def _undecodable(error: Exception) -> ImageError:
    """Tell a form that no plug-in knows from damage."""
    why = " ".join(str(error).split())
    # pydicom asks each plug-in in turn, and lists every answer in a line below its own.
    answers = str(error).splitlines()[1:]
    if answers and all("not support" in answer for answer in answers):
        return UnsupportedImageError(
            f"no installed decoder reads these pixels ({why}); re-export the file uncompressed."
        )
    return TruncatedImageError(f"the DICOM pixels are damaged ({why}); fetch the file again.")


# --- pixels --------------------------------------------------------------------------------------


def _looked_up(stored: np.ndarray, table: np.ndarray) -> np.ndarray:
    import cv2

    codes = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    try:
        return np.asarray(cv2.LUT(codes, table))
    except cv2.error:  # before OpenCV 5 only 8-bit tables are known
        return np.asarray(np.take(table, codes))


def _luma(samples: np.ndarray, highest: int | None = None) -> np.ndarray:
    import cv2

    top = np.iinfo(samples.dtype).max if highest is None else highest
    luma = cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY)
    unit = np.divide(luma, np.float32(top), dtype=np.float32)
    return np.asarray(np.minimum(unit, 1, out=unit))
