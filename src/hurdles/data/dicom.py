"""DICOM radiographs.

The rules, with the clauses of DICOM PS3.3:

1. Modality LUT or rescale (C.11.1), then the first VOI LUT, or else the first window (C.11.2):
   LINEAR, LINEAR_EXACT or SIGMOID. The low end of the window becomes 0, the high end 1.
2. Without a window, samples of at most 8 bits keep the range of their format, as a PNG would;
   deeper ones are stretched from the smallest to the largest value present, because stored depth
   says little about them: 12-bit data in 16 stored bits are common.
3. MONOCHROME1 is inverted (C.7.6.3.1.2).
4. Padding (C.7.5.1.1.2) counts for no range, and becomes black.
5. Colour becomes luma, as in `hurdles.data.raster`.

All of that is one table of at most 65,536 entries, so each pixel costs one look-up.
"""

from __future__ import annotations

import io
import logging
import re
from typing import IO, Any

import numpy as np

from hurdles.data.header import ImageHeader, check_header
from hurdles.data.vocabulary import Sex, View
from hurdles.errors import (
    NotAnImageError,
    TruncatedImageError,
    UnsupportedImageError,
)

__all__ = ["decode_dicom", "is_dicom", "read_dicom_header"]

_log = logging.getLogger("hurdles")
_VIEWS = {"PA": View.PA, "AP": View.AP, "LL": View.LATERAL, "RL": View.LATERAL}
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


def read_dicom_header(handle: IO[bytes]) -> ImageHeader:
    """Return the header of an open DICOM file, reading no pixel."""
    return _header(_dataset(handle, stop_before_pixels=True))


def decode_dicom(data: bytes, max_pixels: int) -> np.ndarray:
    """Decode the content of a DICOM file: ``float32`` (H, W) within [0, 1]."""
    dataset = _dataset(io.BytesIO(data))
    header = _header(dataset)
    check_header(header, max_pixels)
    stored = _stored(dataset)
    if header.photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        return _luma(apply_color_lut(stored, dataset)[..., :3])
    if stored.ndim == 3:
        return _luma(stored, (1 << header.bits) - 1)
    return _looked_up(stored, _grey_table(dataset, stored, header))


# --- reading -------------------------------------------------------------------------------------


def _dataset(handle: IO[bytes], *, stop_before_pixels: bool = False) -> Any:
    import pydicom

    try:
        dataset = pydicom.dcmread(handle, force=True, stop_before_pixels=stop_before_pixels)
        dataset.get("Rows")
    except Exception as error:
        raise _damaged_header(error) from error
    return dataset


def _header(dataset: Any) -> ImageHeader:
    try:
        missing = [k for k in ("Rows", "Columns", "BitsStored") if dataset.get(k) in (None, "")]
    except Exception as error:  # values are parsed when they are asked for
        raise _damaged_header(error) from error
    if missing:
        what = dataset.get("Modality") or "unknown modality"
        raise NotAnImageError(
            f"this DICOM object ({what}) has no {', '.join(missing)}, so it holds no image; "
            "leave it out."
        )
    try:
        height, width, bits = (int(dataset[k].value) for k in ("Rows", "Columns", "BitsStored"))
        frames = int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        raise _damaged_header(error) from error
    return ImageHeader(
        format="DICOM",
        height=height,
        width=width,
        bits=bits,
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2"),
        frames=frames,
        view=_VIEWS.get(str(dataset.get("ViewPosition") or "")),
        sex=_sex(dataset.get("PatientSex")),
        age=_age(dataset.get("PatientAge")),
        patient=str(dataset.get("PatientID") or "").strip() or None,
    )


def _damaged_header(error: Exception) -> TruncatedImageError:
    return TruncatedImageError(f"the DICOM header is damaged ({error}); fetch the file again.")


def _sex(value: Any) -> Sex | None:
    return Sex(value) if value in set(Sex) else None


def _age(value: Any) -> float | None:
    """DICOM Age String (PS3.5, 6.2), such as ``045Y`` or ``008M``, in years."""
    match = re.fullmatch(r"\s*(\d{1,3})([DWMY])\s*", str(value or ""))
    return int(match[1]) / _DAYS[match[2]] if match else None


def _stored(dataset: Any) -> np.ndarray:
    """Return the stored samples, (H, W) or (H, W, 3); YBR comes as RGB."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if "PixelData" not in dataset:
        raise UnsupportedImageError(
            "the DICOM object has no integer Pixel Data; export it as a plain radiograph."
        )
    if syntax is None:
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

        implicit = dataset.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.ensure_file_meta()
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
    try:
        samples = np.asarray(pixel_array(dataset))
    except Exception as error:
        why = " ".join(str(error).split())
        if "not support" in why:  # pydicom asks each plug-in in turn and lists their answers
            raise UnsupportedImageError(
                f"no installed decoder reads this form of {syntax.name} ({why}); re-export the "
                "file uncompressed."
            ) from error
        raise TruncatedImageError(
            f"the DICOM pixels are damaged ({why}); fetch the file again."
        ) from error
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 2:
        raise UnsupportedImageError(
            f"the DICOM pixels are {samples.dtype}; radiographs have 8 or 16 bits."
        )
    return samples.astype(samples.dtype.newbyteorder("="), copy=False)


# --- grey values ---------------------------------------------------------------------------------


def _grey_table(dataset: Any, stored: np.ndarray, header: ImageHeader) -> np.ndarray:
    """Return what each stored value becomes, indexed by its bit pattern: ``float32`` in [0, 1]."""
    from pydicom.pixels import apply_modality_lut

    entries = 1 << (8 * stored.dtype.itemsize)
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    values = np.arange(entries).astype(unsigned).view(stored.dtype)
    padding = _padding(dataset, values)
    modal = np.asarray(apply_modality_lut(values, dataset), dtype=np.float64)
    grey = _voi_lut(dataset, modal)
    if grey is None:
        grey = _windowed(dataset, modal)
    if grey is None:
        if header.bits <= 8:
            counted = _legal(values, header.bits, signed=stored.dtype.kind == "i")
        else:
            codes = stored.view(unsigned).ravel()
            counted = (np.bincount(codes, minlength=entries) > 0) & ~padding
        grey = _stretched(modal, counted)
    if header.photometric == "MONOCHROME1":
        grey = 1 - grey
    grey[padding] = 0
    return grey.astype(np.float32)


def _padding(dataset: Any, values: np.ndarray) -> np.ndarray:
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(values.shape, dtype=bool)
    last = dataset.get("PixelPaddingRangeLimit")
    ends = sorted((int(first), int(first if last is None else last)))
    padded: np.ndarray = (values >= ends[0]) & (values <= ends[1])
    return padded


def _legal(values: np.ndarray, bits: int, *, signed: bool) -> np.ndarray:
    low = -(1 << (bits - 1)) if signed else 0
    legal: np.ndarray = (values >= low) & (values < low + (1 << bits))
    return legal


def _voi_lut(dataset: Any, modal: np.ndarray) -> np.ndarray | None:
    """Apply the first VOI LUT, over the whole range that its descriptor declares."""
    from pydicom.pixels import apply_voi

    items = dataset.get("VOILUTSequence") or []
    if not items or not items[0].get("LUTDescriptor") or items[0].get("LUTData") is None:
        return None
    highest = (1 << int(items[0].LUTDescriptor[2])) - 1
    mapped = apply_voi(np.rint(modal).astype(np.int64), dataset, index=0)
    return np.clip(np.asarray(mapped, dtype=np.float64) / highest, 0, 1)


def _windowed(dataset: Any, modal: np.ndarray) -> np.ndarray | None:
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if centre is None or width is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    if width <= 0 or (function == "LINEAR" and width < 1):
        _log.warning("window width %g is not allowed; taken as a missing window", width)
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (modal - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((modal - centre) / width + 0.5, 0, 1))
    if width == 1:
        return np.asarray(modal > centre - 0.5, dtype=np.float64)
    return np.asarray(np.clip((modal - (centre - 0.5)) / (width - 1) + 0.5, 0, 1))


def _first(value: Any) -> float | None:
    try:
        return float(value if isinstance(value, (str, int, float)) else value[0])
    except (TypeError, ValueError, IndexError):
        return None


def _stretched(modal: np.ndarray, counted: np.ndarray) -> np.ndarray:
    if not counted.any():
        return np.zeros_like(modal)
    low, high = modal[counted].min(), modal[counted].max()
    span = max(high - low, np.finfo(float).tiny)
    return np.asarray(np.clip((modal - low) / span, 0, 1))


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
    return np.asarray(np.divide(luma, np.float32(top), dtype=np.float32))
