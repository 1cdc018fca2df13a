"""Histograms of scores: how sure a model is, by true class and by collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    groups, prob = [*_groups(predictions)], predictions.y_prob
    found = []
    for column, scored in enumerate(classes[:1] if len(classes) == 2 else classes):
        # A probability of 0.3 is in the bin that begins there, however 10 x 0.3 is rounded.
        places = np.minimum(np.floor(prob[:, column] * BINS + 1e-9).astype(int), BINS - 1)
        found += [group.histogram(scored, places, level) for group in groups]
    return tuple(found)


class _Group(NamedTuple):
    """The images of one true class in one collection, and their patients."""

    label: str
    source: str
    rows: NDArray[np.intp]
    codes: NDArray[np.intp]  # the patient of each of these images, from 0
    known: NDArray[np.bool_]  # whether a patient is one

    def histogram(self, scored: str, places: NDArray[np.intp], level: float) -> Histogram:
        """Count these images by the bins that all images have."""
        n = len(self.known)
        flat = np.bincount(places[self.rows] * n + self.codes, minlength=BINS * n)
        parts = flat.reshape(BINS, n).astype("float64")
        whole = parts.sum(axis=0)
        low, high = zip(*(proportion_bounds(p, whole, level) for p in parts), strict=True)
        return Histogram(
            scored, self.label, self.source, len(self.rows), int(self.known.sum()),
            tuple(parts.sum(axis=1).astype(int).tolist()),
            tuple((parts[:, self.known] > 0).sum(axis=1).tolist()),
            low, high, level,
        )  # fmt: skip


def _groups(predictions: Predictions) -> Iterator[_Group]:
    truth, classes, unknown = predictions.y_true, predictions.classes, predictions.unknown
    sources = predictions.frame["source"].fillna("").to_numpy(dtype=str)
    patients = np.unique(predictions.groups, return_inverse=True)[1]
    there = set(truth.tolist())
    for label in [c for c in classes if c in there] + sorted(there - set(classes)):
        of_label = np.flatnonzero(truth == label)
        for source in np.unique(sources[of_label]):
            rows = of_label[sources[of_label] == source]
            names, codes = np.unique(patients[rows], return_inverse=True)
            known = np.ones(len(names), dtype=bool)
            known[codes[unknown[rows]]] = False
            yield _Group(label, str(source), rows, codes, known)
