"""DICOM radiographs, read with pydicom and whichever decoders are installed beside it.

Stored values become gray levels by the rules of `hurdles.pixels.grayscale`; color becomes luma, as
in `hurdles.pixels.raster`. An object of several frames is refused, and so is a compressed frame
whose own size is not the one that the header announces. Elements that the field leaves empty,
writes in lower case or with a comma are read as they are meant.
"""

from __future__ import annotations

import re
import struct
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from hurdles.data.image_file import DicomFile, number, open_dataset, text, whole
from hurdles.data.vocabulary import Sex, View
from hurdles.errors import (
    ImageError,
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)
from hurdles.pixels.frames import decode_frame
from hurdles.pixels.grayscale import check_window, gray_table, read_lut
from hurdles.pixels.header import JPEG_FRAMES, ImageHeader, check_header, failing_as, notice

_VIEWS = {"PA": View.PA, "AP": View.AP, "LL": View.LATERAL, "RL": View.LATERAL}
_DAYS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_COLORS = frozenset(
    {"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT", "YBR_RCT"}
)
_GRAYS = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_JPEG_LS = 0xF7
#: How a frame is coded, by its start-of-frame marker (T.81, table B.1; T.87), as a transfer syntax.
_SYNTAXES = {0xC0: "50", 0xC1: "51", 0xC2: "50", 0xC3: "57", _JPEG_LS: "80"}
_JPEG_2000 = b"\xff\x4f\xff\x51"
_SQUARE = (0.98, 1.02)
#: JPEG 2000 fills what it holds no bytes for with gray. A JPEG has at most 256 pixels in a byte: a
#: block of 64 takes two bits at least; only flat areas of other codes take less.
_MOST_PIXELS_PER_BYTE = 2000
_ITEM = b"\xfe\xff\x00\xe0"


def read_dicom_header(handle: BinaryIO) -> ImageHeader:
    """Return the header of an open DICOM file, reading no pixel."""
    with failing_as(_damaged_header):
        return _header(open_dataset(handle))


def decode_dicom(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the content of a DICOM file: ``float32`` (H, W) within [0, 1]."""
    with failing_as(_damaged_header):
        file = DicomFile(BytesIO(data))
        dataset = file.dataset
        header = _header(dataset)
        check_header(header, max_pixels)
        file.read_pixels()
        _put_right(dataset, header)
        _notice_geometry(dataset)
        stored = _stored(dataset)
        if header.photometric == "PALETTE COLOR":
            return _from_palette(stored, dataset)
        high = _high_bit(dataset, stored, header.bits)
        if stored.ndim == 3:
            highest = (1 << header.bits) - 1
            return _luma(stored >> max(high + 1 - header.bits, 0) & highest, highest)
        pixels = _looked_up(stored, gray_table(dataset, stored, header, high))
        if "VOILUTSequence" not in dataset and _is_flat(pixels):
            check_window(dataset, stored, header, high)
        return pixels


def _damaged_header(error: Exception) -> ImageError:
    """Return the error for an element that pydicom cannot parse when it is asked for."""
    return TruncatedImageError(f"the DICOM header is damaged ({error}); fetch the file again.")


# --- header --------------------------------------------------------------------------------------


def _header(dataset: Any) -> ImageHeader:
    missing = [k for k in ("Rows", "Columns", "BitsStored") if whole(dataset, k, 0) == 0]
    if len(missing) == 3 or any(dataset.get(k) in (None, "") for k in missing):
        what = dataset.get("Modality") or "unknown modality"
        raise NotAnImageError(
            f"this DICOM object ({what}) has no {', '.join(missing)}, so it holds no image; "
            "leave it out."
        )
    bits, allocated = whole(dataset, "BitsStored", 0), whole(dataset, "BitsAllocated", 0)
    if not 1 <= bits <= allocated:
        raise TruncatedImageError(
            f"the DICOM header announces {bits} of {allocated} bits; fetch the file again."
        )
    several = whole(dataset, "SamplesPerPixel", 1) > 1
    # Age String (PS3.5, 6.2), such as 045Y or 008M.
    age = re.fullmatch(r"\s*(\d{1,3})([DWMY])\s*", str(dataset.get("PatientAge") or ""))
    return ImageHeader(
        format="DICOM",
        height=whole(dataset, "Rows", 0),
        width=whole(dataset, "Columns", 0),
        bits=bits,
        photometric=text(dataset, "PhotometricInterpretation") or ("MONOCHROME2", "RGB")[several],
        frames=whole(dataset, "NumberOfFrames", 1) or 1,
        view=_VIEWS.get(text(dataset, "ViewPosition")),
        sex=next((sex for sex in Sex if sex == str(dataset.get("PatientSex"))), None),
        age=int(age[1]) / _DAYS[age[2]] if age else None,
        patient=str(dataset.get("PatientID") or "").strip() or None,
    )


def _put_right(dataset: Any, header: ImageHeader) -> None:
    """Write the elements that decoders need as they are meant, and refuse what nobody reads."""
    from pydicom.datadict import dictionary_VR

    allocated = whole(dataset, "BitsAllocated", 0)
    if allocated not in (1, 8, 16):
        raise UnsupportedImageError(
            f"the DICOM pixels have {allocated} bits; radiographs have 8 or 16 bits."
        )
    if header.photometric not in _COLORS | _GRAYS:
        raise UnsupportedImageError(
            f"the DICOM header says {header.photometric!r} of how pixels are to be read; re-export "
            "the file as MONOCHROME2."
        )
    samples = whole(dataset, "SamplesPerPixel", 3 if header.photometric in _COLORS else 1)
    signed = whole(dataset, "PixelRepresentation", 0)
    if samples not in (1, 3) or signed not in (0, 1):  # decoders die of others
        raise TruncatedImageError(
            f"the DICOM header announces {samples} samples per pixel (1 or 3 are possible) and "
            f"pixel representation {signed} (0 or 1); fetch the file again."
        )
    read = {
        "SamplesPerPixel": samples, "PhotometricInterpretation": header.photometric,
        "Rows": header.height, "Columns": header.width, "NumberOfFrames": 1,
        "BitsAllocated": allocated, "BitsStored": header.bits, "PixelRepresentation": signed,
    }  # fmt: skip
    if samples > 1:
        read["PlanarConfiguration"] = whole(dataset, "PlanarConfiguration", 0)
    for keyword, value in read.items():  # in the place of what pydicom may refuse to read
        dataset.add_new(keyword, dictionary_VR(keyword), value)


def _notice_geometry(dataset: Any) -> None:
    """Say where the picture does not lie as it is shown; it is read as it is stored."""
    across, down = ((text(dataset, "PatientOrientation", place) or " ")[0] for place in (0, 1))
    if across in "RHF" or down == "H":  # usual are L\F, and A\F or P\F of a lateral view
        notice(
            "orientation",
            f"its rows run to {across}, its columns to {down} (Patient Orientation), so it is "
            "mirrored or turned; it is read as it is stored",
        )
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        high, wide = (number(dataset, keyword, place) for place in (0, 1))
        if high and wide and not _SQUARE[0] < high / wide < _SQUARE[1]:
            notice(
                "aspect",
                f"its pixels are not square ({keyword} {high:g} by {wide:g}); it is read as it is "
                "stored, so it looks drawn out",
            )
            return


def _high_bit(dataset: Any, stored: np.ndarray, bits: int) -> int:
    """Return the position of the highest bit of a sample in its word (PS3.5, 8.1.1)."""
    right = bits - 1
    high = whole(dataset, "HighBit", right)
    if high == right or (dataset.file_meta.TransferSyntaxUID.is_compressed and _fit(stored, bits)):
        return right
    within = right < high < 8 * stored.dtype.itemsize
    # What fits as it is, with bits in use below those that the header names, is not left-aligned.
    if not within or (_fit(stored, bits) and (stored & ((1 << (high - right)) - 1)).any()):
        raise UnsupportedImageError(
            f"the DICOM header contradicts the pixels ({bits} bits stored, the highest is bit "
            f"{high}, values are {stored.min()} to {stored.max()}); re-export the file."
        )
    return high


def _fit(stored: np.ndarray, bits: int) -> bool:
    low = -(1 << (bits - 1)) if stored.dtype.kind == "i" else 0
    return bool(stored.min() >= low and stored.max() < low + (1 << bits))


# --- stored values -------------------------------------------------------------------------------


def _stored(dataset: Any) -> np.ndarray:
    """Return the stored samples, (H, W) or (H, W, 3); YBR comes as RGB."""
    if dataset.get("PixelData") is None:
        raise UnsupportedImageError(
            "the DICOM object has no integer Pixel Data; export it as a plain radiograph."
        )
    syntax = _syntax(dataset)
    with failing_as(_undecodable):
        samples = _frame(dataset, syntax) if syntax.is_encapsulated else _native(dataset)
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise UnsupportedImageError(
            f"the DICOM pixels are {samples.dtype}; radiographs have 8 or 16 bits."
        )
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


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


def _syntax(dataset: Any) -> Any:
    """Return the transfer syntax that the pixels have, and write it into the meta information."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    dataset.ensure_file_meta()
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:  # a file without meta information leaves it open
        syntax = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
    data = dataset.PixelData
    looks_encapsulated = dataset["PixelData"].is_undefined_length or (
        data.startswith(_ITEM) and len(data) < _bytes_announced(dataset)
    )
    if not syntax.is_encapsulated and looks_encapsulated:
        *_, code = _form(_first_frame(dataset)) or (None,)
        if code is None:
            raise TruncatedImageError(
                f"the DICOM header says {syntax.name}, but the pixels are compressed in a form "
                "that they do not tell; fetch the file again."
            )
        syntax = UID(f"1.2.840.10008.1.2.4.{code}")
    dataset.file_meta.TransferSyntaxUID = syntax
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        raise UnsupportedImageError(
            f"no installed decoder reads transfer syntax {syntax.name}; re-export the file "
            "uncompressed."
        )
    return syntax


def _bytes_announced(dataset: Any) -> int:
    bits = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated
    thinned = dataset.PhotometricInterpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")
    return int(-(-bits // 8) * 2 // 3 if thinned else -(-bits // 8))


def _native(dataset: Any) -> np.ndarray:
    from pydicom.pixels import pixel_array

    announced = _bytes_announced(dataset)
    if len(dataset.PixelData) < announced:
        raise TruncatedImageError(
            f"the DICOM file is damaged (its pixel data end early: {len(dataset.PixelData):,} of "
            f"{announced:,} bytes); fetch it again."
        )
    if len(dataset.PixelData) >= 2 * announced:  # pydicom would return several frames
        raise TruncatedImageError(
            f"the DICOM header announces {dataset.Columns} x {dataset.Rows} pixels, "
            f"{announced:,} bytes, but the pixel data have {len(dataset.PixelData):,}; fetch the "
            "file again."
        )
    return np.asarray(pixel_array(dataset, correct_unused_bits=False, view_only=True))


def _first_frame(dataset: Any) -> bytes:
    from pydicom.encaps import get_frame

    return bytes(get_frame(dataset.PixelData, 0, number_of_frames=1))


def _frame(dataset: Any, syntax: Any) -> np.ndarray:
    """Decode the one compressed frame."""
    frame = _first_frame(dataset)
    form = _form(frame)
    if form is not None and form[:2] != (dataset.Rows, dataset.Columns):
        raise TruncatedImageError(
            f"the compressed frame holds {form[1]} x {form[0]} pixels, but the header "
            f"announces {dataset.Columns} x {dataset.Rows}; fetch the file again."
        )
    if dataset.Rows * dataset.Columns > _MOST_PIXELS_PER_BYTE * len(frame):
        raise TruncatedImageError(
            f"the compressed frame has {len(frame):,} bytes for {dataset.Columns} x {dataset.Rows} "
            "pixels, too few for a radiograph; fetch the file again."
        )
    options = {
        "rows": dataset.Rows,
        "columns": dataset.Columns,
        "samples_per_pixel": dataset.SamplesPerPixel,
        "photometric_interpretation": dataset.PhotometricInterpretation,
        "bits_allocated": dataset.BitsAllocated,
        "bits_stored": dataset.BitsStored,
        "pixel_representation": dataset.PixelRepresentation,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
        "correct_unused_bits": False,  # where they are, HighBit tells
        "pixel_vr": "OB",
    }
    if dataset.SamplesPerPixel > 1:
        options["planar_configuration"] = dataset.PlanarConfiguration
    return decode_frame(frame, syntax, options)


def _form(frame: bytes) -> tuple[int, int, str | None] | None:
    """Return height, width and the end of the transfer syntax as a code stream states them.

    None for a stream that is no JPEG, JPEG-LS or JPEG 2000.
    """
    start = frame[:4096].find(_JPEG_2000)
    if start >= 0:  # ISO/IEC 15444-1, A.5.1: the reference grid
        if len(frame) < start + 24:
            return None
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        return bottom - top, right - left, "90"
    at = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in JPEG_FRAMES | {_JPEG_LS}:
            height, width = struct.unpack_from(">HH", frame, at + 5)
            return height, width, _SYNTAXES.get(marker)
        at += 1 if marker == 0xFF else 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    return None


# --- pixels --------------------------------------------------------------------------------------


def _from_palette(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Look up each color of a palette (C.7.6.3.1.5), brought to the bits that its entries use."""
    signed = stored.dtype.kind == "i"
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    tables = [read_lut(dataset, name, signed=signed) for name in names]
    if any(table is None for table in tables):
        from pydicom.pixels import apply_color_lut  # the palette may be written in segments

        return _luma(apply_color_lut(stored, dataset)[..., :3])
    known = [table for table in tables if table is not None]
    rgb = np.stack([table(stored) for table in known], axis=-1).astype(np.uint16)
    return _luma(rgb, 0xFF if max(table.entries.max() for table in known) <= 0xFF else 0xFFFF)


def _looked_up(stored: np.ndarray, table: np.ndarray) -> np.ndarray:
    import cv2

    codes = np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")
    try:
        return np.asarray(cv2.LUT(codes, table))
    except cv2.error:  # before OpenCV 5 only 8-bit tables are known
        return np.asarray(np.take(table, codes))


def _is_flat(pixels: np.ndarray) -> bool:
    first = pixels[0, 0]
    return bool((pixels[::16] == first).all() and (pixels == first).all())  # most are not at once


def _luma(samples: np.ndarray, highest: int | None = None) -> np.ndarray:
    import cv2

    top = np.iinfo(samples.dtype).max if highest is None else highest
    luma = cv2.cvtColor(np.ascontiguousarray(samples), cv2.COLOR_RGB2GRAY)
    unit = np.divide(luma, np.float32(top), dtype=np.float32)
    return np.asarray(np.minimum(unit, 1, out=unit))
