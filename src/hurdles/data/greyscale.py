"""What the stored values of a grey-scale DICOM image mean: one table for the whole pipeline.

The rules, with the clauses of DICOM PS3.3:

1. Modality LUT or rescale (C.11.1), then the first VOI LUT, or else the first window (C.11.2):
   LINEAR, LINEAR_EXACT or SIGMOID. The low end of the window becomes 0, the high end 1.
2. Without a window, or with one that the standard does not allow, samples of at most 8 bits keep
   the range of their format, as a PNG would; deeper ones are stretched from the smallest to the
   largest value present, because stored depth says little: 12-bit data in 16 bits are common.
3. MONOCHROME1 is inverted (C.7.6.3.1.2).
4. Padding (C.7.5.1.1.2) counts for no range, and becomes black.

A stored value has at most 16 bits, so the pipeline runs over 65,536 values, not over each pixel.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from hurdles.data.header import ImageHeader

__all__ = ["grey_table"]

_log = logging.getLogger("hurdles")


def grey_table(dataset: Any, stored: np.ndarray, header: ImageHeader) -> np.ndarray:
    """Return what each stored value becomes.

    Parameters
    ----------
    dataset : pydicom.Dataset
        The elements of the modality and VOI transformations, and of padding.
    stored : ndarray of 8- or 16-bit integers, shape (H, W)
        The stored values; looked at only where there is no window.
    header : ImageHeader
        Bits stored, and the photometric interpretation.

    Returns
    -------
    ndarray of float32, 256 or 65,536 entries within [0, 1]
        Indexed by a stored value's bit pattern, taken as an unsigned integer.
    """
    from pydicom.pixels import apply_modality_lut

    entries = 1 << (8 * stored.dtype.itemsize)
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    # Bits above those stored may hold an overlay (C.9.2, retired form): they are shifted out.
    unused = max(8 * stored.dtype.itemsize - header.bits, 0)
    patterns = np.arange(entries).astype(unsigned)
    values = (patterns << unused).view(stored.dtype) >> unused
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
    return np.asarray(np.clip((modal - low) / ((high - low) or 1), 0, 1))
