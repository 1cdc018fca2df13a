"""Features laid out in the plane, to look at the images that a network finds alike."""

from __future__ import annotations

from enum import StrEnum
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError

#: Dimensions that are kept before images are laid out: van der Maaten and Hinton 2008 keep 30.
_COMPONENTS = 50
_PERPLEXITY = 30.0
#: Fewer images have no neighborhoods to keep.
_FEWEST = 5


class Projection(StrEnum):
    """Ways to lay out features of many dimensions in two."""

    T_SNE = "t-sne"
    UMAP = "umap"


def available_projection(method: Projection | str) -> Projection:
    """Return the projection of this name, if it can be made here: to be asked before long work.

    Examples
    --------
    >>> available_projection("t-sne")
    <Projection.T_SNE: 't-sne'>
    """
    try:
        chosen = Projection(method)
    except ValueError:
        known = ", ".join(Projection)
        raise EvaluationError(f"no projection is called {method!r}; known: {known}.") from None
    if chosen is Projection.UMAP and find_spec("umap") is None:
        raise EvaluationError(
            "UMAP needs a package that is not installed; pip install 'hurdles[umap]', or take the "
            "method 't-sne'."
        )
    return chosen


def project(
    features: NDArray[np.floating], *, method: Projection | str = Projection.T_SNE, seed: int = 0
) -> NDArray[np.float32]:
    """Lay images out in the plane so that neighbors stay neighbors.

    Only neighborhoods mean something in either picture: distances between groups, their sizes and
    densities do not, and groups may appear where there are none. What can be read off with an
    interval is `hurdles.evaluation.probing.source_probe`.
    """
    chosen = available_projection(method)
    if len(features) < _FEWEST:
        raise EvaluationError(
            f"{len(features)} images cannot be laid out by their neighbors; give at least "
            f"{_FEWEST}."
        )
    table = _components(standardized(features))
    if chosen is Projection.T_SNE:
        from sklearn.manifold import TSNE

        start = table[:, :2] / max(float(table[:, 0].std()), 1e-12) * 1e-4  # sklearn's own scale
        perplexity = min(_PERPLEXITY, (len(table) - 1) / 3)
        init = start.astype(np.float32)
        model = TSNE(perplexity=perplexity, init=init, random_state=seed, n_jobs=1)
    else:
        from umap import UMAP

        # One job: several would give another picture at each call.
        neighbors = min(15, len(table) - 1)
        model = UMAP(n_neighbors=neighbors, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(table), dtype=np.float32)


def standardized(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return features of mean 0 and standard deviation 1; those that never vary become 0."""
    table = np.asarray(features, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all():
        what = f"shape {table.shape}" if table.ndim != 2 else "values that are not finite numbers"
        raise EvaluationError(f"features have {what}; give one row of finite numbers per image.")
    centered = table - table.mean(axis=0)
    spread = centered.std(axis=0)
    # Rounding leaves a constant feature a spread of its own, which is not to be blown up.
    spread[spread <= 1e-9 * np.abs(table).max(axis=0, initial=0)] = np.inf
    scaled: NDArray[np.float64] = centered / np.where(spread > 0, spread, np.inf)
    return scaled


def _components(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first principal components of centered rows; exact, zero where none is left."""
    count = min(_COMPONENTS, *table.shape)
    wide = table.shape[1] > len(table)
    # The smaller of the two square matrices; scikit-learn's PCA fails where nothing varies.
    values, vectors = np.linalg.eigh(table @ table.T if wide else table.T @ table)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    components = vectors * np.sqrt(np.maximum(values, 0)) if wide else table @ vectors
    largest = np.abs(components).argmax(axis=0)
    components = components * np.where(
        components[largest, np.arange(count)] < 0, -1, 1
    )  # eigh's sign is chance
    # A network with a single feature lays images on a line.
    return np.pad(components, ((0, 0), (0, max(0, 2 - count))))
