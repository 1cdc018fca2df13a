"""Histograms of scores: how sure a model is, by true class and by collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hurdles.evaluation.bounds import proportion_bounds
from hurdles.evaluation.predictions import Predictions

__all__ = ["Histogram", "score_histograms"]

#: Bins of equal width, from a probability of 0 to 1.
BINS = 10


@dataclass(frozen=True)
class Histogram:
    """Probabilities of one class, given to the images of one true class in one collection.

    Parameters
    ----------
    scored : str
        The class whose probability it is.
    label, source : str
        True class and collection of the images; the source is empty where it is not known.
    n_images, n_patients : int
        Images, and the patients that are known among those whom they show.
    images, patients : tuple of int
        In each of ten bins of equal width from 0 to 1, the last with its upper end: images, and
        known patients who have one there.
    low, high : tuple of float
        Interval of the share of images that lie in each bin, by patient, within [0, 1]; an image
        without a patient counts as one more patient.
    level : float
        Confidence level of these intervals, within (0, 1).
    """

    scored: str
    label: str
    source: str
    n_images: int
    n_patients: int
    images: tuple[int, ...]
    patients: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Histogram:
        """Read what `to_dict` wrote."""
        row: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**row)


def score_histograms(predictions: Predictions, *, level: float = 0.95) -> tuple[Histogram, ...]:
    """Count the probabilities of each class, by true class and collection.

    Parameters
    ----------
    predictions : Predictions
        The table.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    tuple of Histogram
        Of two classes the first alone: the other's probabilities mirror its own.

    Examples
    --------
    >>> table = Predictions.from_arrays(["sick", "well"], y_true=["sick", "well"],
    ...     y_prob=np.array([[0.95, 0.05], [0.3, 0.7]]), images=["1", "2"], groups=["a", "b"])
    >>> [(h.label, h.images.index(1)) for h in score_histograms(table)]
    [('sick', 9), ('well', 3)]
    """
    classes = predictions.classes
    truth, sources = predictions.y_true, predictions.frame["source"].fillna("").to_numpy(dtype=str)
    prob = predictions.y_prob
    groups = predictions.groups
    labels = [c for c in classes if c in truth] + sorted(set(truth.tolist()) - set(classes))
    found = []
    for column, scored in enumerate(classes[:1] if len(classes) == 2 else classes):
        # A probability of 0.3 is in the bin that begins there, however 10 x 0.3 is rounded.
        places = np.minimum(np.floor(prob[:, column] * BINS + 1e-9).astype(int), BINS - 1)
        for label in labels:
            for source in np.unique(sources[truth == label]):
                rows = (truth == label) & (sources == source)
                names, codes = np.unique(groups[rows], return_inverse=True)
                known = np.ones(len(names), dtype=bool)
                known[codes[predictions.unknown[rows]]] = False
                parts = np.zeros((BINS, len(names)))
                np.add.at(parts, (places[rows], codes), 1)
                whole = parts.sum(axis=0)
                low, high = zip(*(proportion_bounds(p, whole, level) for p in parts), strict=True)
                found.append(
                    Histogram(
                        scored, label, str(source), int(rows.sum()), int(known.sum()),
                        tuple(parts.sum(axis=1).astype(int).tolist()),
                        tuple((parts[:, known] > 0).sum(axis=1).tolist()),
                        low, high, level,
                    )
                )  # fmt: skip
    return tuple(found)
