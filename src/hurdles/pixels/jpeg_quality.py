"""With which quality a JPEG was written, told from its quantisation table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import ImageError

# ITU-T T.81, table K.1: brightness, row by row.
_K1 = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip


def jpeg_quality(table: Sequence[int]) -> int:
    """Return the quality whose table is nearest to a table of brightness.

    The Independent JPEG Group's library scales the standard's example table by 5000/q per cent
    below quality 50 and by 200 - 2q above; most programs do as it does. A program with tables of
    its own gets the quality at which the library's rounding is as coarse. The order of the table
    does not matter: both are sorted first, since libraries hand it out row by row or in zigzag.

    References
    ----------
    ITU-T T.81 (1992), annex K.1; libjpeg, ``jpeg_set_quality``.

    Examples
    --------
    >>> jpeg_quality([1] * 64), jpeg_quality(_K1)
    (100, 50)
    """
    if len(table) != 64:
        raise ImageError(f"a quantisation table has 64 entries, this one {len(table)}.")
    steps = np.sort(np.asarray(table, dtype=np.float64))
    # On the scale of logarithms a step of 2 instead of 1 is as far off as one of 40 instead of 20.
    distance = np.abs(np.log(_scaled()) - np.log(np.maximum(steps, 1.0))).sum(axis=1)
    return int(np.argmin(distance)) + 1


@cache
def _scaled() -> NDArray[np.float64]:
    """Return the library's tables, shape (100, 64), each sorted."""
    quality = np.arange(1, 101)[:, None]
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    tables = (np.asarray(_K1)[None, :] * scale + 50) // 100
    return np.sort(np.clip(tables, 1, 255), axis=1).astype(np.float64)
