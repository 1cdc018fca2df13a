"""Closeness of two small prints: what of one a small affine map of the other explains.

Aligning two radiographs takes a millisecond, and of the likely pairs of a large set nine in ten are
two chests. Here the map is taken as linear: to the other print are added its changes under shifts,
stretches and shears, and the multiple correlation with all seven is what an alignment can come to,
as far as it is small. What all chests share is left out of both. Hundreds of pairs are solved at
once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Prints = NDArray[np.float32]

_TINY = 1e-9
#: Pairs at once: their bases stay in the processor's cache.
_CHUNK = 64


def closeness(x: Prints, y: Prints, shared: Prints) -> NDArray[np.float64]:
    """Return how close prints (n, side^2) are, pair by pair, within [0, 1]: the better direction.

    `shared` has rows (k, side^2). Inverted prints are as close as others.
    """
    constant = np.ones((1, x.shape[1]), dtype=np.float32)
    common = np.linalg.qr(np.concatenate([constant, shared]).T)[0].astype(np.float32)
    close = np.empty(len(x))
    for start in range(0, len(x), _CHUNK):
        here = slice(start, start + _CHUNK)
        ways = _explained(x[here], y[here], common), _explained(y[here], x[here], common)
        close[here] = np.maximum(*ways)
    return close


def _explained(x: Prints, y: Prints, common: Prints) -> NDArray[np.float64]:
    side = round(x.shape[1] ** 0.5)
    maps = np.empty((len(y), 7, side, side), dtype=np.float32)
    maps[:, 0] = y.reshape(-1, side, side)
    maps[:, 1], maps[:, 2] = np.gradient(maps[:, 0], axis=(1, 2))
    place = np.linspace(-1, 1, side, dtype=np.float32)
    np.multiply(maps[:, 1:3], place, out=maps[:, 3:5])
    np.multiply(maps[:, 1:3], place[:, None], out=maps[:, 5:7])
    bases = maps.reshape(len(y), 7, -1)
    x = np.asarray(x - (x @ common) @ common.T, dtype=np.float32)
    # What all share is taken out of the products of bases: out of them it takes thrice as long.
    along = (bases.reshape(-1, x.shape[1]) @ common).reshape(len(y), 7, -1)
    left = bases @ bases.transpose(0, 2, 1) - along @ along.transpose(0, 2, 1)
    gram = left.astype(np.float64)
    products = (bases @ x[:, :, None]).astype(np.float64)
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    gram += (1e-6 * size + _TINY) * np.eye(7)  # a flat print has no changes
    explained = (products * np.linalg.solve(gram, products)).sum(axis=(1, 2))
    return np.asarray(np.sqrt(np.clip(explained / ((x**2).sum(axis=1) + _TINY), 0, 1)))
