"""Look-up tables of DICOM (PS3.3, C.11.1.1, C.11.2.1.1, C.7.6.3.1.5), as they are found in files.

pydicom's own functions compute the index in the type of the pixels, where it wraps, and take the
table as its descriptor announces it. Files announce other depths than they have, pack two entries
of 8 bits into a word, and write a negative first value without a sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hurdles.errors import TruncatedImageError


@dataclass(frozen=True, eq=False)
class Lut:
    """A table with the value that its first entry stands for.

    Parameters
    ----------
    first : int
        Every value up to this one becomes the first entry.
    bits : int
        Depth of the entries, as announced.
    entries : ndarray of int64, shape (N,)
        At least one.
    """

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
