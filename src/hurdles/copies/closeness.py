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


def closeness(x: Prints, y: Prints, shared: Prints) -> NDArray[np.float64]:
    """Return how close prints (n, side^2) are, pair by pair, within [0, 1]: the better direction.

    `shared` has orthonormal rows (k, side^2). Inverted prints are as close as others.
    """
    return np.maximum(_explained(x, y, shared), _explained(y, x, shared))


def _explained(x: Prints, y: Prints, shared: Prints) -> NDArray[np.float64]:
    side = round(x.shape[1] ** 0.5)
    image = y.reshape(-1, side, side)
    down, across = np.gradient(image, axis=1), np.gradient(image, axis=2)
    place = np.linspace(-1, 1, side, dtype=np.float32)
    changes = [across, down, across * place, down * place]
    changes += [across * place[:, None], down * place[:, None]]
    bases = np.stack([image, *changes], axis=1).reshape(len(y), 7, -1)
    bases, x = _left(bases, shared), _left(x, shared)
    gram = (bases @ bases.transpose(0, 2, 1)).astype(np.float64)
    products = (bases @ x[:, :, None]).astype(np.float64)
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None]
    gram += (1e-6 * size + _TINY) * np.eye(7)  # a flat print has no changes
    explained = (products * np.linalg.solve(gram, products)).sum(axis=(1, 2))
    return np.asarray(np.sqrt(np.clip(explained / ((x**2).sum(axis=1) + _TINY), 0, 1)))


def _left(rows: Prints, shared: Prints) -> Prints:
    rows = rows - rows.mean(axis=-1, keepdims=True)
    return np.asarray(rows - (rows @ shared.T) @ shared, dtype=np.float32)
