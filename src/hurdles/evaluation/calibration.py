"""Are probabilities true? Calibration error, Brier score, reliability curve, slope and intercept.

*Calibration error.* Confidence is the largest probability of an image, and the event is that this
class is the true one. The error that a sample shows is never zero, even where the true one is: with
100 images in 10 bins about 0.1 (Bröcker 2012; Kumar et al. 2019; Roelofs et al. 2022). Here the
distribution of what a sample shows is computed for true errors of every size, and inverted: the
estimate is the true error whose median is what was seen, and the interval holds the errors for
which what was seen is not extreme. A bootstrap would add the bias a second time.

*Slope and intercept.* In logistic recalibration (Cox 1958; Van Calster et al. 2019) the
probabilities p of K classes become ``softmax(b log p + a)``, and the slope b and one a for each
class are fitted to what was true; with two classes b is the usual calibration slope. Below 1 the
probabilities are too extreme, above 1 too timid; 1/b is the temperature that repairs them (Guo et
al. 2017). The variance is the sandwich over patients, never less than that of independent images.
scikit-learn's regression knows neither a slope that all classes share nor an offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import (
    check_level,
    design_effect,
    effective_degrees,
    patient_mean,
    proportion_bounds,
    student_quantile,
)
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import Floats

#: Images in a bin, if there are enough of them for two bins.
_BIN = 20
#: Samples imagined for every true error.
_DRAWS = 2000
#: A smaller gap of a bin is none.
_LEAST_GAP = 1e-3
#: Probabilities are kept this far from 0 and 1, whose logarithms are infinite.
_SMALLEST = 1e-6
#: Kept so far instead, an intercept must not be another.
_SMALLER = 1e-9
#: Newton steps at most.
_STEPS = 100


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve."""

    mean_probability: float  # mean confidence of its images
    share: float  # share of them that the model names rightly
    low: float  # Wilson's interval of that share over patients
    high: float
    n: int  # images

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)


def plain_calibration_error(predictions: Predictions, *, bins: int | None = None) -> float:
    """Return the expected calibration error as papers state it: biased upwards.

    Bins are of equally many images: 10 unless told otherwise, or fewer so that each has 20.

    Examples
    --------
    >>> table = Predictions.from_arrays(["a", "b"], y_true=list("aaab"),
    ...     y_prob=np.full((4, 2), [0.9, 0.1]), images=list("wxyz"), groups=list("wxyz"))
    >>> round(plain_calibration_error(table), 3)
    0.15
    """
    return _binned(predictions, bins).error


def calibration_error(
    predictions: Predictions, *, bins: int | None = None, level: float = 0.95
) -> Estimate:
    """Return the expected calibration error without its bias, with an interval over patients.

    What a sample shows of a true error is computed for errors of the shape seen here (which bins
    are off, and to which side), of its opposite, and of being too sure or not sure enough all over;
    the interval is the widest of theirs. Where patients have several images, the number of images
    is divided by the design effect of being right. An image whose class the model does not know is
    named wrongly.

    Within [0, 1]; 0 is perfect, and the lower bound of most well calibrated models.

    Guo et al. 2017, arXiv 1706.04599 (the measure); Bröcker, Clim Dyn 2012;39:655-667 and Kumar,
    Liang and Ma 2019, arXiv 1909.10155 (its bias); Roelofs et al. 2022, arXiv 2012.08668 (bins of
    equal mass).
    """
    check_level(level)
    cut = _binned(predictions, bins)
    n = len(cut.right)
    patients, codes = np.unique(predictions.groups, return_inverse=True)
    part, whole = _by_patient(codes, cut.right)
    effect = design_effect(part, whole)
    gaps = cut.share - cut.confidence
    every = np.full_like(gaps, np.abs(gaps).max(initial=_LEAST_GAP))
    shapes = [partial(_shown, cut, effect, shape) for shape in (gaps, -gaps, every, -every)]
    value = _error_showing(shapes[0], cut.error, 0.5)
    low = min(_error_showing(shape, cut.error, (1 + level) / 2) for shape in shapes)
    # A sample that shows less than perfect calibration mostly does would leave no error at all (an
    # empty interval): what is extreme is judged among such samples (Read, J Phys G 2002;28:2693).
    showing_less = float(max((shapes[0](0.0)[1] <= cut.error).mean(), 1 / _DRAWS))
    tail = (1 - level) / 2 * showing_less
    high = max(_error_showing(shape, cut.error, tail) for shape in shapes)
    # The error is never less than that of the mean confidence: where every answer is certain and
    # right, bins vary as little as they are off, but the share named rightly is known to a degree.
    mean = cut.probability.mean()
    high = max(high, *(float(abs(end - mean)) for end in proportion_bounds(part, whole, level)))
    method = f"inverted distribution over {len(cut.rows)} bins of equal mass"
    if effect > 1:
        method += f", {n} images worth {n / effect:.1f}"
    return Estimate(value, low, high, level, method, n, len(patients))


@dataclass(frozen=True, eq=False)
class _Bins:
    """Images sorted by confidence and cut into equal parts."""

    probability: Floats  # the largest of each image: its confidence
    right: NDArray[np.bool_]  # whether that class is the true one
    rows: list[NDArray[np.intp]]  # images of each bin
    confidence: Floats  # mean of each bin
    share: Floats  # named rightly in each bin
    weight: Floats  # share of all images

    @property
    def error(self) -> float:
        return float(self.weight @ np.abs(self.share - self.confidence))

    @cached_property
    def tables(self) -> list[tuple[int, Floats]]:
        """The first bin and the probabilities of bins of one size; sizes differ by one at most."""
        sizes = [len(rows) for rows in self.rows]
        cuts = [0, *(i for i in range(1, len(sizes)) if sizes[i] != sizes[i - 1]), len(sizes)]
        return [(a, self.probability[np.stack(self.rows[a:b])]) for a, b in pairwise(cuts)]


def _binned(predictions: Predictions, bins: int | None) -> _Bins:
    probability, n = predictions.y_prob.max(axis=1), len(predictions)
    classes = np.array(predictions.classes)
    right = np.asarray(classes[predictions.y_prob.argmax(axis=1)] == predictions.y_true)
    if bins is None:
        bins = max(1, min(10, n // _BIN))
    if not 1 <= bins <= n:
        raise EvaluationError(f"{bins} bins of {n} images; give 1 to {n}.")
    rows = np.array_split(np.argsort(probability, kind="stable"), bins)
    confidence, share = (np.array([v[part].mean() for part in rows]) for v in (probability, right))
    weight = np.array([len(part) for part in rows]) / n
    return _Bins(probability, right, rows, confidence, share, weight)


def _by_patient(codes: NDArray[np.intp], right: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return how many images of each patient are right, and how many there are."""
    return np.bincount(codes, right).astype("float64"), np.bincount(codes).astype("float64")


def _shown(cut: _Bins, effect: float, shape: Floats, size: float) -> tuple[float, Floats]:
    """Return a true error, and what samples show of it: the confidence is off by size * shape.

    A bin's share varies as that of independent images, each with a probability of its own, of which
    there are fewer by the design effect.
    """
    means, sums = [], []
    for start, table in cut.tables:  # a row for each bin
        steps = shape[start : start + len(table), None]
        moved = np.clip(table + size * steps, 0, 1)
        means.append(moved.mean(axis=1))
        sums.append((moved * (1 - moved)).sum(axis=1))
    true = np.concatenate(means) - cut.confidence
    spread = np.sqrt(effect * np.concatenate(sums)) / [len(rows) for rows in cut.rows]
    error = float(cut.weight @ np.abs(true))
    return error, np.abs(true + spread * _normal(len(shape))) @ cut.weight


@cache
def _normal(bins: int) -> Floats:
    """Return the same normal numbers every time, and their negatives, shape (draws, bins)."""
    z = np.random.default_rng(0).standard_normal((_DRAWS // 2, bins))
    return np.concatenate([z, -z])


def _error_showing(
    shown: Callable[[float], tuple[float, Floats]], seen: float, quantile: float
) -> float:
    """Return the true error of which `seen` is this quantile, 0 where even none shows more."""

    def shows_less(size: float) -> bool:
        return _quantile_is_below(shown(size)[1], quantile, seen)

    if not shows_less(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while shows_less(high):
        low, high = high, 2 * high
        if high > 1 / _LEAST_GAP:  # the share cannot be further off
            return shown(high)[0]
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if shows_less(middle) else (low, middle)
    return shown(high)[0]


def _quantile_is_below(samples: Floats, quantile: float, bound: float) -> bool:
    """Return ``np.quantile(samples, quantile) < bound``, mostly without sorting."""
    at = int(quantile * (len(samples) - 1))
    below = int(np.count_nonzero(samples < bound))
    # The quantile lies between the samples of ranks `at` and `at` + 1.
    if below != at + 1:
        return below > at
    return float(np.quantile(samples, quantile)) < bound


def brier_error(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return the Brier score: the mean squared distance of the probabilities from the truth.

    Within [0, 2], summed over classes as Brier did: for two classes twice the form in use in
    medicine. The truth of an image whose class the model does not know is at distance 1 + sum of
    squares.

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

    From the lowest confidence to the highest.
    """
    check_level(level)
    cut, curve = _binned(predictions, bins), []
    for rows, mean, share in zip(cut.rows, cut.confidence, cut.share, strict=True):
        codes = np.unique(predictions.groups[rows], return_inverse=True)[1]
        bounds = proportion_bounds(*_by_patient(codes, cut.right[rows]), level)
        curve.append(ReliabilityBin(float(mean), float(share), *bounds, len(rows)))
    return curve


def calibration_slope(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return the calibration slope, with an interval over patients.

    1 is perfect, below 1 overconfident. Undefined, with the reason, where the probabilities
    part the classes, rightly or the wrong way round, with or without ties at the border: any
    slope, however far from 0, then fits better than a nearer one. Probabilities of 0 and 1 are
    taken for 1e-6 and 1 - 1e-6, and the note says of how many images. Images whose true class the
    model does not know are left out; classes without an image are taken to be impossible.

    Albert and Anderson, Biometrika 1984;71:1-10 (when there is no largest likelihood); Cox,
    Biometrika 1958;45:562-565; Van Calster et al., BMC Med 2019;17:230; for several classes
    Van Hoorde et al., Stat Med 2014;33:2585-2596, here with one slope for all.
    """
    check_level(level)
    logs, truth, groups = _present(predictions)
    size = {"n_images": len(truth), "n_patients": len(np.unique(groups))}
    if logs.shape[1] < 2 or size["n_patients"] < 3:
        why = "images of two classes, and of three patients, are needed"
        return undefined(why, level=level, **size)
    if not np.ptp(logs, axis=0).any():
        return undefined("every image has the same probabilities", level=level, **size)
    if why := _parted(logs, truth):
        return undefined(why, level=level, **size)
    # Columns: the slope's log-probabilities, and one factor for each class but the first.
    classes = logs.shape[1]
    factors = np.broadcast_to(np.eye(classes)[:, 1:], (len(logs), classes, classes - 1))
    design = np.concatenate([logs[:, :, None], factors], axis=2)
    slope = _recalibrated(design, np.zeros_like(logs), truth, groups, start=1.0, level=level)
    if slope is None:
        return undefined("no finite slope was found", level=level, **size)
    certain = int(_certain(predictions.y_prob).any(axis=1).sum())
    note = f"{certain} images have a probability of 0 or 1, taken for {_SMALLEST:g} from there"
    return slope.noted(note) if certain else slope


def calibration_intercept(
    predictions: Predictions, class_: str, *, level: float = 0.95
) -> Estimate:
    """Return calibration in the large of one class: how far its log-odds are off on the whole.

    Added to the log-odds of the class, it makes the expected number of its images the true one:
    above 0 the class is named with too little probability, below 0 with too much. Undefined
    where no image, or every image, is of the class, or where the probabilities are 0 or 1, to
    whose infinite log-odds nothing can be added.

    Examples
    --------
    >>> table = Predictions.from_arrays(["a", "b"], y_true=["a"] * 50 + ["b"] * 50,
    ...     y_prob=np.full((100, 2), [0.8, 0.2]), images=[str(i) for i in range(100)],
    ...     groups=[str(i) for i in range(100)])
    >>> print(calibration_intercept(table, "a"))
    -1.386 [-1.785, -0.987]
    """
    check_level(level)
    if class_ not in predictions.classes:
        known = ", ".join(predictions.classes)
        raise EvaluationError(f"the model has no class {class_!r}; its classes are {known}.")
    p = predictions.y_prob[:, predictions.classes.index(class_)]
    truth = (predictions.y_true == class_).astype(int)
    size = {"n_images": len(truth), "n_patients": len(np.unique(predictions.groups))}
    if truth.all() or not truth.any():
        which = "every image" if truth.all() else "no image"
        return undefined(f"{which} is of {class_!r}", level=level, **size)
    if size["n_patients"] < 3:
        return undefined("images of three patients are needed", level=level, **size)

    def fitted(smallest: float) -> Estimate | None:
        kept = p.clip(smallest, 1 - smallest)
        offset = np.stack([np.zeros(len(p)), np.log(kept / (1 - kept))], axis=1)
        design = np.broadcast_to(np.array([[0.0], [1.0]]), (len(p), 2, 1))
        return _recalibrated(design, offset, truth, predictions.groups, start=0.0, level=level)

    intercept, certain = fitted(_SMALLEST), int(_certain(p).sum())
    if intercept is not None and certain:
        nearer = fitted(_SMALLER)
        # Two intervals agree if they are about as wide and each holds the other's value.
        reach = [one.high - one.value for one in (intercept, nearer) if one is not None]
        if (
            nearer is None
            or max(reach) >= 2 * min(reach)
            or abs(intercept.value - nearer.value) >= min(reach)
        ):
            intercept = None
    if intercept is None:
        why = f"{certain} of {len(p)} probabilities of {class_!r} are 0 or 1: log-odds are infinite"
        return undefined(why if certain else "no finite intercept was found", level=level, **size)
    return intercept


def inverse_temperature(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return one over the temperature that repairs probabilities, with an interval over patients.

    The log-probabilities are multiplied by it, as by `tempered`; the factor is that of the largest
    likelihood. Below 1 the probabilities are too extreme. Unlike `calibration_slope` there is no
    other factor beside it, so that no answer changes. Undefined, with the reason, where every image
    is named rightly (the more extreme the probabilities, the better they fit) or where the
    probabilities speak against the true classes. Images whose class the model does not know are
    left out.

    Guo et al. 2017, arXiv 1706.04599.
    """
    check_level(level)
    known = np.isin(predictions.y_true, predictions.classes)
    position = {c: i for i, c in enumerate(predictions.classes)}
    truth = np.array([position[c] for c in predictions.y_true[known].tolist()], dtype=np.intp)
    logs, groups = _logs(predictions.y_prob[known]), predictions.groups[known]
    size = {"n_images": len(truth), "n_patients": len(np.unique(groups))}
    if size["n_patients"] < 3:
        return undefined("images of three patients are needed", level=level, **size)
    rows = np.arange(len(truth))
    others = logs.copy()
    others[rows, truth] = -np.inf
    if (logs[rows, truth] >= others.max(axis=1)).all():
        why = (
            "every image is named rightly, and the more extreme the better: no temperature is best"
        )
        return undefined(why, level=level, **size)
    offset = np.zeros_like(logs)
    factor = _recalibrated(logs[:, :, None], offset, truth, groups, start=1.0, level=level)
    if factor is None:
        return undefined("no finite temperature was found", level=level, **size)
    if factor.value <= 0:
        why = "the probabilities speak against the true classes, which no temperature mends"
        return undefined(why, level=level, **size)
    return factor


def tempered(y_prob: Floats, factor: float) -> Floats:
    """Return probabilities whose logarithms are multiplied by a factor, shape (n, classes).

    Examples
    --------
    >>> tempered(np.array([[0.9, 0.1]]), 0.5).round(2).tolist()
    [[0.75, 0.25]]
    """
    z = factor * _logs(y_prob)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _logs(y_prob: Floats) -> Floats:
    """Return log-probabilities, of 0 that of the smallest number."""
    return np.asarray(np.log(np.maximum(y_prob, np.finfo("float64").tiny)))


def _certain(p: Floats) -> NDArray[np.bool_]:
    return np.asarray((p < _SMALLEST) | (p > 1 - _SMALLEST))


def _parted(logs: Floats, truth: NDArray[np.intp]) -> str:
    """Return in words how the probabilities part the classes; empty where they do not.

    A slope of either sign, however far from 0, keeps every image on its class's side if factors a
    exist with ``a[k] - a[c] <= sign * (logs[i, c] - logs[i, k])`` for every image i of every class
    c. Such differences can be met unless they add up to less than nothing around a circle of
    classes; where one adds up to nothing, images lie on the border.
    """
    classes = range(logs.shape[1])
    for sign, how in ((1, "rightly"), (-1, "the wrong way round")):
        room = np.array(
            [[(sign * (logs[truth == c, c] - logs[truth == c, k])).min() for k in classes]
             for c in classes]
        )  # fmt: skip
        np.fill_diagonal(room, np.inf)
        for via in classes:
            room = np.minimum(room, room[:, via, None] + room[None, via])
        least = float(np.diag(room).min())
        if least > 0:
            extreme = "largest" if sign > 0 else "smallest"
            return f"the probabilities separate the classes perfectly, {how}: no slope is {extreme}"
        if least == 0:
            return (
                f"the probabilities part the classes, {how}, but for images of several classes "
                "that have the very same ones: no slope is the best"
            )
    return ""


def _present(predictions: Predictions) -> tuple[Floats, NDArray[np.intp], NDArray[np.str_]]:
    """Return log-probabilities of the classes present, the true one's column, and patients."""
    there = set(predictions.y_true.tolist())
    present = [c for c in predictions.classes if c in there]
    rows = np.isin(predictions.y_true, present)
    columns = [predictions.classes.index(c) for c in present]
    logs = np.log(predictions.y_prob[rows][:, columns].clip(_SMALLEST, 1 - _SMALLEST))
    position = {c: i for i, c in enumerate(present)}
    truth = np.array([position[c] for c in predictions.y_true[rows].tolist()], dtype=np.intp)
    return logs, truth, predictions.groups[rows]


def _recalibrated(
    design: Floats,
    offset: Floats,
    truth: NDArray[np.intp],
    groups: NDArray[np.str_],
    *,
    start: float,
    level: float,
) -> Estimate | None:
    """Return the first of the coefficients of ``softmax(offset + design @ theta)``.

    Shapes are design (n, K, q), offset (n, K), truth (n,). The variance is that over patients, at
    least the model's own. None where the likelihood has no finite maximum.
    """
    theta = _fitted(design, offset, truth, start)
    if theta is None:
        return None
    residual = -_likelihood(design, offset, truth, theta)[1]
    naive = np.linalg.inv(_information(design, -residual))
    residual[np.arange(len(truth)), truth] += 1
    names, codes = np.unique(groups, return_inverse=True)
    summed = np.zeros((len(names), len(theta)))
    np.add.at(summed, codes, np.einsum("nkq,nk->nq", design, residual))
    robust = naive @ summed.T @ summed @ naive * len(names) / (len(names) - 1)
    variance = float(robust[0, 0] + max(0.0, naive[0, 0] - robust[0, 0]))
    value = float(theta[0])
    reach = student_quantile(level, effective_degrees(np.bincount(codes))) * math.sqrt(variance)
    method = "logistic recalibration, sandwich over patients"
    return Estimate(value, value - reach, value + reach, level, method, len(truth), len(names))


def _fitted(design: Floats, offset: Floats, truth: NDArray[np.intp], start: float) -> Floats | None:
    """Maximize the likelihood by Newton's steps; None where there is no finite maximum."""
    theta = np.zeros(design.shape[2])
    theta[0] = start
    loss, p = _likelihood(design, offset, truth, theta)
    for _ in range(_STEPS):
        residual = -p
        residual[np.arange(len(truth)), truth] += 1
        gradient = design.reshape(-1, design.shape[2]).T @ residual.ravel()
        try:
            step = np.linalg.solve(_information(design, p), gradient)
        except np.linalg.LinAlgError:
            return None
        length = 1.0
        while True:
            new_loss, p = _likelihood(design, offset, truth, theta + length * step)
            if new_loss <= loss + 1e-12 or length < 1e-8:
                break
            length /= 2
        theta, loss = theta + length * step, new_loss
        if np.abs(theta).max() > 1 / _SMALLEST:
            return None
        if np.abs(length * step).max() < 1e-9:
            return theta
    return None


def _likelihood(
    design: Floats, offset: Floats, truth: NDArray[np.intp], theta: Floats
) -> tuple[float, Floats]:
    """Return minus the log-likelihood, and the probabilities."""
    z = offset + design @ theta
    z = z - z.max(axis=1, keepdims=True)
    total = np.log(np.exp(z).sum(axis=1))
    return float((total - z[np.arange(len(truth)), truth]).sum()), np.exp(z - total[:, None])


def _information(design: Floats, p: Floats) -> Floats:
    flat = design.reshape(-1, design.shape[2])
    mean = np.einsum("nkq,nk->nq", design, p)
    return np.asarray((flat * p.reshape(-1, 1)).T @ flat - mean.T @ mean)
