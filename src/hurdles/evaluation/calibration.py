"""Are probabilities true? Calibration error, Brier score and the reliability curve.

For any number of classes the question asked is the one that a user sees: *of the images of which
the model is 90 % sure, is it right about 90 %?* So confidence is the largest probability of an
image, and the event is that this class is the true one. (The classes one by one are looked at by
the slope and the intercepts, `hurdles.evaluation.recalibration`.)

The expected calibration error of a sample is never zero, even where the true one is: with 100
images in 10 bins about 0.1 (Bröcker 2012; Kumar et al. 2019; Roelofs et al. 2022). Here the whole
distribution of what a sample shows is computed for true errors of every size, and inverted: the
estimate is the true error whose median is what was seen, and the interval holds the errors for
which what was seen is not extreme. A bootstrap would add the bias a second time.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, design_effect, proportion_bounds
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.means import patient_mean
from hurdles.evaluation.predictions import Predictions

__all__ = [
    "ReliabilityBin",
    "brier_error",
    "calibration_error",
    "plain_calibration_error",
    "reliability",
]

Floats = NDArray[np.float64]

#: Images in a bin, if there are enough of them for two bins.
_BIN = 20
#: Samples imagined for every true error.
_DRAWS = 2000
#: A smaller gap of a bin is none.
_LEAST_GAP = 1e-3


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Parameters
    ----------
    mean_probability : float
        Mean confidence of its images.
    share : float
        Share of them that the model names rightly.
    low, high : float
        Wilson's interval of that share over patients.
    n : int
        Images.
    """

    mean_probability: float
    share: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Bins:
    """Images sorted by confidence and cut into equal parts."""

    rows: tuple[NDArray[np.intp], ...]
    confidence: Floats  # mean of each bin
    share: Floats  # named rightly in each bin
    weight: Floats  # share of all images

    @classmethod
    def of(cls, confidence: Floats, right: NDArray[np.bool_], bins: int) -> _Bins:
        parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
        means = [np.array([v[part].mean() for part in parts]) for v in (confidence, right)]
        sizes = np.array([len(part) for part in parts])
        return cls(tuple(parts), means[0], means[1], sizes / sizes.sum())

    @property
    def error(self) -> float:
        return float(self.weight @ np.abs(self.share - self.confidence))


def plain_calibration_error(predictions: Predictions, *, bins: int | None = None) -> float:
    """Return the expected calibration error as papers state it: biased upwards.

    Parameters
    ----------
    predictions : Predictions
    bins : int, optional
        Bins of equally many images; default 10, or fewer so that each has 20 images.

    Raises
    ------
    EvaluationError
        If `bins` is not within 1 and the number of images.

    Examples
    --------
    >>> table = Predictions.from_arrays(["a", "b"], y_true=list("aaab"),
    ...     y_prob=np.full((4, 2), [0.9, 0.1]), images=list("wxyz"), groups=list("wxyz"))
    >>> round(plain_calibration_error(table), 3)
    0.15
    """
    confidence, right = _asked(predictions)
    return _Bins.of(confidence, right, _number(bins, len(right))).error


def calibration_error(
    predictions: Predictions, *, bins: int | None = None, level: float = 0.95
) -> Estimate:
    """Return the expected calibration error without its bias, with an interval over patients.

    What a sample shows of a true error is computed for errors of the shape seen here (which bins
    are off, and to which side), of its opposite, and of being too sure or not sure enough all over;
    the interval is the widest of theirs. Where patients have several images, the number of images
    is divided by the design effect of being right.

    Parameters
    ----------
    predictions : Predictions
        An image whose class the model does not know is named wrongly.
    bins : int, optional
        Bins of equally many images; default 10, or fewer so that each has 20 images.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    Estimate
        Within [0, 1]; 0 is perfect, and the lower bound of most well calibrated models.

    Raises
    ------
    EvaluationError
        If `bins` is not within 1 and the number of images.

    References
    ----------
    Guo et al. 2017, arXiv 1706.04599 (the measure); Bröcker, Clim Dyn 2012;39:655-667 and Kumar,
    Liang and Ma 2019, arXiv 1909.10155 (its bias); Roelofs et al. 2022, arXiv 2012.08668 (bins of
    equal mass).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(0.5, 1, 300)
    >>> true = np.where(rng.random(300) < p, "a", "b").tolist()
    >>> names = [str(i) for i in range(300)]
    >>> table = Predictions.from_arrays(["a", "b"], y_true=true,
    ...     y_prob=np.stack([p, 1 - p], axis=1), images=names, groups=names)
    >>> plain_calibration_error(table) > calibration_error(table).value
    True
    """
    check_level(level)
    confidence, right = _asked(predictions)
    cut = _Bins.of(confidence, right, _number(bins, len(right)))
    patients, codes = np.unique(predictions.groups, return_inverse=True)
    part, whole = np.bincount(codes, right).astype("float64"), np.bincount(codes).astype("float64")
    effect = design_effect(part, whole)
    gaps = cut.share - cut.confidence
    every = np.full_like(gaps, np.abs(gaps).max(initial=_LEAST_GAP))
    shapes = [_Shape(cut, confidence, effect, shape) for shape in (gaps, -gaps, every, -every)]
    value = shapes[0].error_showing(cut.error, 0.5)
    low = min(shape.error_showing(cut.error, (1 + level) / 2) for shape in shapes)
    # A sample that shows less than perfect calibration mostly does would leave no error at all (an
    # empty interval): what is extreme is judged among such samples (Read, J Phys G 2002;28:2693).
    tail = (1 - level) / 2 * shapes[0].share_showing_less(cut.error)
    high = max(shape.error_showing(cut.error, tail) for shape in shapes)
    # The error is never less than that of the mean confidence: where every answer is certain and
    # right, bins vary as little as they are off, but the share named rightly is known to a degree.
    in_all = [abs(end - confidence.mean()) for end in proportion_bounds(part, whole, level)]
    high = max(high, *map(float, in_all))
    method = f"inverted distribution over {len(cut.rows)} bins of equal mass"
    if effect > 1:
        method += f", {len(right)} images worth {len(right) / effect:.1f}"
    return Estimate(value, low, high, level, method, len(right), len(patients))


def brier_error(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return the Brier score: the mean squared distance of the probabilities from the truth.

    Parameters
    ----------
    predictions : Predictions
        The truth of an image whose class the model does not know is at distance 1 + sum of squares.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    Estimate
        Within [0, 2], summed over classes as Brier did: for two classes twice the form in use in
        medicine.

    References
    ----------
    Brier, Mon Weather Rev 1950;78:1-3.

    Examples
    --------
    >>> table = Predictions.from_arrays(["a", "b"], y_true=list("aab"),
    ...     y_prob=np.full((3, 2), [0.5, 0.5]), images=list("xyz"), groups=list("xyz"))
    >>> brier_error(table).value
    0.5
    """
    p = predictions.y_prob
    truth = predictions.y_true[:, None] == np.array(predictions.classes)
    unknown = ~truth.any(axis=1)
    squares = ((p - truth) ** 2).sum(axis=1) + unknown
    # Rows sum to one only nearly.
    return patient_mean(squares.clip(0, 2), predictions.groups, level=level, low=0, high=2)


def reliability(
    predictions: Predictions, *, bins: int | None = None, level: float = 0.95
) -> list[ReliabilityBin]:
    """Return the reliability curve: confidence against the share named rightly.

    Parameters
    ----------
    predictions : Predictions
    bins : int, optional
        Bins of equally many images; default 10, or fewer so that each has 20 images.
    level : float
        Confidence level of each bin's interval, within (0, 1).

    Returns
    -------
    list of ReliabilityBin
        From the lowest confidence to the highest.

    Raises
    ------
    EvaluationError
        If `bins` is not within 1 and the number of images.
    """
    check_level(level)
    confidence, right = _asked(predictions)
    cut = _Bins.of(confidence, right, _number(bins, len(right)))
    curve = []
    for rows, mean, share in zip(cut.rows, cut.confidence, cut.share, strict=True):
        codes = np.unique(predictions.groups[rows], return_inverse=True)[1]
        part = np.bincount(codes, right[rows]).astype("float64")
        whole = np.bincount(codes).astype("float64")
        low, high = proportion_bounds(part, whole, level)
        curve.append(ReliabilityBin(float(mean), float(share), low, high, len(rows)))
    return curve


def _asked(predictions: Predictions) -> tuple[Floats, NDArray[np.bool_]]:
    """Return each image's largest probability, and whether that class is the true one."""
    p = predictions.y_prob
    named = np.array(predictions.classes)[p.argmax(axis=1)]
    return p.max(axis=1), np.asarray(named == predictions.y_true)


def _number(bins: int | None, n: int) -> int:
    if bins is None:
        return max(1, min(10, n // _BIN))
    if not 1 <= bins <= n:
        raise EvaluationError(f"{bins} bins of {n} images; give 1 to {n}.")
    return bins


@dataclass(frozen=True, eq=False)
class _Shape:
    """True errors of one shape: at size t, the share named rightly is t times the shape off.

    A bin's share varies as that of independent images, each with a probability of its own, of which
    there are fewer by the design effect.
    """

    bins: _Bins
    confidence: Floats
    effect: float
    shape: Floats

    def error_showing(self, seen: float, quantile: float) -> float:
        """Return the true error of which `seen` is this quantile, 0 where even none shows more."""

        def shows_less(size: float) -> bool:
            return float(np.quantile(self._shown(size)[1], quantile)) < seen

        if not shows_less(0.0):
            return 0.0
        low, high = 0.0, 1.0
        while shows_less(high):
            low, high = high, 2 * high
            if high > 1 / _LEAST_GAP:  # the share cannot be further off
                return self._shown(high)[0]
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if shows_less(middle) else (low, middle)
        return self._shown(high)[0]

    def share_showing_less(self, seen: float) -> float:
        """Return how often perfect calibration shows as little as `seen`, within (0, 1]."""
        return float(max((self._shown(0.0)[1] <= seen).mean(), 1 / _DRAWS))

    def _shown(self, size: float) -> tuple[float, Floats]:
        """Return the true error of this size, and what samples show of it."""
        z = _normal(len(self.shape))
        moved = [
            np.clip(self.confidence[rows] + size * step, 0, 1)
            for rows, step in zip(self.bins.rows, self.shape, strict=True)
        ]
        true = np.array([m.mean() for m in moved]) - self.bins.confidence
        spread = np.array([math.sqrt(self.effect * (m * (1 - m)).sum()) / len(m) for m in moved])
        error = float(self.bins.weight @ np.abs(true))
        return error, np.abs(true + spread * z) @ self.bins.weight


@cache
def _normal(bins: int) -> Floats:
    """Return the same normal numbers every time, and their negatives, shape (draws, bins)."""
    z = np.random.default_rng(0).standard_normal((_DRAWS // 2, bins))
    return np.concatenate([z, -z])
