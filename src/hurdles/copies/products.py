"""Products of the rows of two tables: of all pairs in tiles, or of given pairs, by threads."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.progress import one_blas_thread, processors

#: Rows of the first set, rows of the second, and the correlations of their prints.
Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]

_CHUNK = 512
#: Columns of a product at once: it stays in the processor's cache.
_TILE = 1024


def above(a: NDArray[np.float32], b: NDArray[np.float32], gate: float, within: bool) -> Pairs:
    """Return the pairs that correlate, or anti-correlate, by so much."""

    def some(start: int) -> list[Pairs]:
        first = start if within else 0  # the pairs before it were seen from the other side
        parts = []
        for left in range(first, len(b), _TILE):
            product = a[start : start + _CHUNK] @ b[left : left + _TILE].T
            places = np.flatnonzero(np.abs(product) >= gate)
            rows, columns = np.divmod(places, product.shape[1])
            pairs = rows + start, columns + left, product.ravel()[places]
            parts.append(where(pairs[0] < pairs[1], pairs) if within else pairs)
        return parts

    with one_blas_thread(), ThreadPoolExecutor(processors()) as pool:
        parts = pool.map(some, range(0, len(a), _CHUNK))
        return joined(pairs for part in parts for pairs in part)


def joined(parts: Iterable[Pairs]) -> Pairs:
    """Return all pairs of some parts, in their order."""
    none = np.empty(0, dtype=np.int64)
    rows, columns, correlations = zip((none, none, none.astype(np.float32)), *parts, strict=True)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(correlations)


def where(kept: NDArray[np.bool_], pairs: Pairs) -> Pairs:
    """Return some of the pairs."""
    rows, columns, correlations = pairs
    return rows[kept], columns[kept], correlations[kept]


def correlations_of(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the products of some rows of one table with some of the other, pair by pair."""

    def some(start: int) -> NDArray[np.float32]:
        here = slice(start, start + _CHUNK)
        return np.asarray(np.einsum("ij,ij->i", a[rows[here]], b[columns[here]]))

    with ThreadPoolExecutor(processors()) as pool:
        parts = list(pool.map(some, range(0, len(rows), _CHUNK)))
    return np.concatenate([np.empty(0, dtype=np.float32), *parts])
