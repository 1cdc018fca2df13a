"""Gray levels of a DICOM image: one table for all that is done to a stored value.

The rules, with the clauses of DICOM PS3.3:

1. Modality LUT or rescale (C.11.1), then the first VOI LUT, or else the first window (C.11.2):
   LINEAR, LINEAR_EXACT or SIGMOID. The low end of the window becomes 0, the high end 1; of a VOI
   LUT 1 is the depth that it announces, or its own maximum where that needs fewer bits or more.
2. Without a window, or with one that the standard does not allow, samples of at most 8 bits keep
   the range of their format, as a PNG would; deeper ones are stretched from the smallest to the
   largest value present, because stored depth says little: 12-bit data in 16 bits are common.
3. MONOCHROME1 is inverted (C.7.6.3.1.2).
4. Padding (C.7.5.1.1.2) counts for no range, and becomes black.
5. What is empty counts as missing. A slope or intercept that is no number is an error, since
   nothing can be said of the values; a window that is none counts as missing, and is warned of.

A stored value has at most 16 bits, so the pipeline runs over 65,536 values, not over each pixel.
Look-up tables (C.11.1.1, C.11.2.1.1, C.7.6.3.1.5) are read as they are found in files: pydicom's
own functions compute the index in the type of the pixels, where it wraps, and take the table as its
descriptor announces it. Files announce other depths than they have, pack two entries of 8 bits into
a word, and write a negative first value without a sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hurdles.data.image_file import number, text
from hurdles.errors import ConstantImageError, TruncatedImageError
from hurdles.pixels.header import ImageHeader, notice


def gray_table(
    dataset: Any, stored: np.ndarray, header: ImageHeader, high_bit: int | None = None
) -> np.ndarray:
    """Return what each stored value becomes."""
    values, modal = _pipeline(dataset, stored, header, high_bit)
    padding = _padding(dataset, values)
    lut = _first_lut(dataset, "VOILUTSequence", signed=bool(modal.min() < 0))
    gray = _windowed(dataset, modal) if lut is None else np.clip(lut(modal) / lut.top, 0, 1)
    if gray is None:
        if header.bits <= 8:
            lowest = -(1 << (header.bits - 1)) if stored.dtype.kind == "i" else 0
            counted = (values >= lowest) & (values < lowest + (1 << header.bits))
        else:
            counted = _present(stored) & ~padding
        gray = np.zeros_like(modal)
        if counted.any():
            low, high = modal[counted].min(), modal[counted].max()
            gray = np.clip((modal - low) / ((high - low) or 1), 0, 1)
    if header.photometric == "MONOCHROME1":
        gray = 1 - gray
    gray[padding] = 0
    return gray.astype(np.float32)


def check_window(
    dataset: Any, stored: np.ndarray, header: ImageHeader, high_bit: int | None = None
) -> None:
    """Say of a picture in which nothing is seen whether its window is the reason."""
    values, modal = _pipeline(dataset, stored, header, high_bit)
    seen = modal[_present(stored) & ~_padding(dataset, values)]
    windowed = _windowed(dataset, seen) if seen.size and seen.min() < seen.max() else None
    if windowed is not None:
        raise ConstantImageError(
            f"the window in the header (center {number(dataset, 'WindowCenter'):g}, width "
            f"{number(dataset, 'WindowWidth'):g}) lies beside the values ({seen.min():g} to "
            f"{seen.max():g}), so every pixel has the same value, {windowed[0]:.3g} of 1; correct "
            "or delete the window, or leave the file out."
        )


def _pipeline(
    dataset: Any, stored: np.ndarray, header: ImageHeader, high_bit: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the value of each bit pattern, and what the modality transformation makes of it."""
    depth = 8 * stored.dtype.itemsize
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    # Bits beside those stored may hold an overlay (C.9.2, retired form): they are shifted out.
    above = max(depth - 1 - (header.bits - 1 if high_bit is None else high_bit), 0)
    patterns = np.arange(1 << depth).astype(unsigned)
    values = (patterns << above).view(stored.dtype) >> max(depth - header.bits, 0)
    return values, _modal(dataset, values)


def _present(stored: np.ndarray) -> np.ndarray:
    """Return which bit patterns occur."""
    size = stored.dtype.itemsize
    codes = stored.view(f"u{size}").ravel()
    return np.asarray(np.bincount(codes, minlength=1 << (8 * size)) > 0)


def _padding(dataset: Any, values: np.ndarray) -> np.ndarray:
    first = number(dataset, "PixelPaddingValue")
    if first is None or not math.isfinite(first):
        return np.zeros(values.shape, dtype=bool)
    last = number(dataset, "PixelPaddingRangeLimit")
    ends = sorted((int(first), int(first if last is None else last)))
    padded: np.ndarray = (values >= ends[0]) & (values <= ends[1])
    return padded


def _modal(dataset: Any, values: np.ndarray) -> np.ndarray:
    """Apply the modality LUT, or else slope and intercept."""
    lut = _first_lut(dataset, "ModalityLUTSequence", signed=values.dtype.kind == "i")
    if lut is not None:
        return lut(values).astype(np.float64)
    slope, intercept = (number(dataset, f"Rescale{name}") for name in ("Slope", "Intercept"))
    for name, value in (("slope", slope), ("intercept", intercept)):
        if value is not None and not math.isfinite(value):
            raise TruncatedImageError(
                f"the DICOM header is damaged (the rescale {name} is no finite number, so the "
                "values mean nothing); fetch the file again."
            )
    if slope is None or intercept is None:
        return values.astype(np.float64)
    if slope == 0:
        notice("slope 0", "a rescale slope of 0 is not allowed; it is not applied")
        return values.astype(np.float64)
    return values.astype(np.float64) * slope + intercept


def _first_lut(dataset: Any, sequence: str, *, signed: bool) -> Lut | None:
    """Return the first table of a sequence that is one; items may be empty."""
    tables = (read_lut(item, signed=signed) for item in dataset.get(sequence) or [])
    return next((table for table in tables if table is not None), None)


def _windowed(dataset: Any, modal: np.ndarray) -> np.ndarray | None:
    """Apply the first window; None where there is none."""
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if center is None or width is None:
        return None
    function = text(dataset, "VOILUTFunction") or "LINEAR"
    window = f"window (center {center:g}, width {width:g})"
    if not (math.isfinite(center) and math.isfinite(width)):
        notice("window", f"the {window} is no pair of numbers; taken as a missing window")
        return None
    if width <= 0 or (function == "LINEAR" and width < 1):
        notice("window", f"the {window} is not allowed; taken as a missing window")
        return None
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-4 * (modal - center) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((modal - center) / width + 0.5, 0, 1))
    if width == 1:
        return np.asarray(modal > center - 0.5, dtype=np.float64)
    return np.asarray(np.clip((modal - (center - 0.5)) / (width - 1) + 0.5, 0, 1))


# --- look-up tables -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Lut:
    """A table: the value of its first entry, its announced depth, its entries (int64, not none)."""

    first: int
    bits: int
    entries: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the entries of these values; beyond the table its ends count."""
        index = np.rint(values).astype(np.int64) - self.first
        return np.asarray(self.entries[np.clip(index, 0, len(self.entries) - 1)])

    @property
    def top(self) -> int:
        """Highest entry that counts as white.

        The announced depth, unless no entry needs all of its bits, or one needs more: then the
        table's own maximum, as Horos and Cornerstone have it.
        """
        highest = int(self.entries.max())
        announced = (1 << self.bits) - 1
        return announced if highest.bit_length() == self.bits else max(highest, 1)


def read_lut(item: Any, prefix: str = "LUT", *, signed: bool = False) -> Lut | None:
    """Read a table."""
    little = bool(item.original_encoding[1]) if item.original_encoding[1] is not None else True
    descriptor = _words(item.get(f"{prefix}Descriptor"), little)
    words = _words(item.get(f"{prefix}Data"), little)
    if len(descriptor) < 3 or not len(words):
        return None
    count, first, bits = int(descriptor[0]) or 1 << 16, int(descriptor[1]), int(descriptor[2])
    if signed and first >= 1 << 15:
        first -= 1 << 16
    if len(words) < count and len(words) == (count + 1) // 2:  # 8 bits each, the lower byte first
        words = np.stack([words & 0xFF, words >> 8], axis=1).ravel()
    if len(words) < count:
        raise TruncatedImageError(
            f"a look-up table of the header has {len(words)} of {count} entries; fetch the file "
            "again."
        )
    return Lut(first, bits, words[:count])


def _words(value: Any, little: bool) -> np.ndarray:
    """Return a value as 16-bit words without sign, whatever it was read as."""
    if isinstance(value, (bytes, bytearray)):
        padded = bytes(value) + b"\0" * (len(value) % 2)
        return np.frombuffer(padded, dtype="<u2" if little else ">u2").astype(np.int64)
    if value is None or isinstance(value, str):
        return np.empty(0, dtype=np.int64)
    return np.atleast_1d(np.asarray(value, dtype=np.int64)) & 0xFFFF
