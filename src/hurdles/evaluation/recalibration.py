"""Calibration slope and intercept: what would have to be done to probabilities to make them true.

Logistic recalibration (Cox 1958; Van Calster et al. 2019) for any number of classes K: the
probabilities p are raised to the power of a slope b and weighed by one factor per class,
``softmax(b log p + a)``, and b and a are fitted to what was true. For two classes this is the
usual calibration slope. Below 1 the probabilities are too extreme (overconfident), above 1 too
timid; 1/b is the temperature that repairs them (Guo et al. 2017).

A patient's images are not independent: the variance is the sandwich over patients, and never less
than the one that takes images for independent.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, student_quantile
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.predictions import Predictions

__all__ = ["calibration_intercept", "calibration_slope"]

Floats = NDArray[np.float64]

#: Probabilities are kept this far from 0 and 1, whose logarithms are infinite.
_SMALLEST = 1e-6
#: Kept so far instead, what is found must not be another.
_SMALLER = 1e-9
_STEPS = 100


def calibration_slope(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return the calibration slope, with an interval over patients.

    Parameters
    ----------
    predictions : Predictions
        Images whose true class the model does not know are left out; classes without an image are
        taken to be impossible.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    Estimate
        1 is perfect, below 1 overconfident. Undefined, with the reason, where the probabilities
        part the classes, rightly or the wrong way round, with or without ties at the border: any
        slope, however far from 0, then fits better than a nearer one. Probabilities of 0 and 1 are
        taken for 1e-6 and 1 - 1e-6, and the note says of how many images.

    References
    ----------
    Albert and Anderson, Biometrika 1984;71:1-10 (when there is no largest likelihood); Cox,
    Biometrika 1958;45:562-565; Van Calster et al., BMC Med 2019;17:230; for several classes
    Van Hoorde et al., Stat Med 2014;33:2585-2596, here with one slope for all.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> logit = rng.normal(0, 2, 600)
    >>> ill = rng.random(600) < 1 / (1 + np.exp(-logit / 2))
    >>> p = 1 / (1 + np.exp(-logit))
    >>> names = [str(i) for i in range(600)]
    >>> print(calibration_slope(Predictions.from_arrays(["ill", "well"],
    ...     y_true=np.where(ill, "ill", "well").tolist(), y_prob=np.stack([p, 1 - p], axis=1),
    ...     images=names, groups=names)))
    0.429 [0.325, 0.533]
    """
    check_level(level)
    logs, truth, groups = _known(predictions)
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
    fitted = _fitted(design, np.zeros_like(logs), truth, start=1.0)
    if fitted is None:
        return undefined("no finite slope was found", level=level, **size)
    covariance = _covariance(design, *fitted, truth, groups)
    found = _wald(float(fitted[0][0]), float(covariance[0, 0]), level, **size)
    certain = int(_certain(predictions.y_prob).any(axis=1).sum())
    note = f"{certain} images have a probability of 0 or 1, taken for {_SMALLEST:g} from there"
    return replace(found, note=note) if certain else found


def calibration_intercept(
    predictions: Predictions, class_: str, *, level: float = 0.95
) -> Estimate:
    """Return calibration in the large of one class: how far its log-odds are off on the whole.

    Parameters
    ----------
    predictions : Predictions
        All images count; those of other classes together are the rest.
    class_ : str
        One of the model's classes.
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    Estimate
        Added to the log-odds of the class, it makes the expected number of its images the true one:
        above 0 the class is named with too little probability, below 0 with too much. Undefined
        where no image, or every image, is of the class, or where the probabilities are 0 or 1, to
        whose infinite log-odds nothing can be added.

    Raises
    ------
    EvaluationError
        If the model does not know the class.

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
    found = _intercept(p.clip(_SMALLEST, 1 - _SMALLEST), truth, predictions.groups, level)
    certain = int(_certain(p).sum())
    if found is not None and certain:
        nearer = _intercept(p.clip(_SMALLER, 1 - _SMALLER), truth, predictions.groups, level)
        found = found if nearer is not None and _agree(found, nearer) else None
    if found is None:
        why = f"{certain} of {len(p)} probabilities of {class_!r} are 0 or 1: log-odds are infinite"
        return undefined(why if certain else "no finite intercept was found", level=level, **size)
    return found


def _intercept(
    p: Floats, truth: NDArray[np.intp], groups: NDArray[np.str_], level: float
) -> Estimate | None:
    offset = np.stack([np.zeros(len(p)), np.log(p / (1 - p))], axis=1)
    design = np.broadcast_to(np.array([[0.0], [1.0]]), (len(p), 2, 1))
    fitted = _fitted(design, offset, truth, start=0.0)
    if fitted is None:
        return None
    covariance = _covariance(design, *fitted, truth, groups)
    size = {"n_images": len(truth), "n_patients": len(np.unique(groups))}
    return _wald(float(fitted[0][0]), float(covariance[0, 0]), level, **size)


def _agree(one: Estimate, two: Estimate) -> bool:
    """Return whether two intervals are about as wide, and each holds the other's value."""
    reach = [found.high - found.value for found in (one, two)]
    return max(reach) < 2 * min(reach) and abs(one.value - two.value) < min(reach)


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


def _known(predictions: Predictions) -> tuple[Floats, NDArray[np.intp], NDArray[np.str_]]:
    """Return log-probabilities of the classes present, the true one's column, and patients."""
    there = set(predictions.y_true.tolist())
    present = [c for c in predictions.classes if c in there]
    rows = np.isin(predictions.y_true, present)
    columns = [predictions.classes.index(c) for c in present]
    logs = np.log(predictions.y_prob[rows][:, columns].clip(_SMALLEST, 1 - _SMALLEST))
    position = {c: i for i, c in enumerate(present)}
    truth = np.array([position[c] for c in predictions.y_true[rows].tolist()], dtype=np.intp)
    return logs, truth, predictions.groups[rows]


def _fitted(
    design: Floats, offset: Floats, truth: NDArray[np.intp], *, start: float
) -> tuple[Floats, Floats] | None:
    """Maximise the likelihood of ``softmax(offset + design @ theta)`` by Newton's steps.

    Parameters: design (n, K, q), offset (n, K), truth (n,). Returns theta (q,) and the fitted
    probabilities (n, K), or None where there is no finite maximum.
    """
    theta = np.zeros(design.shape[2])
    theta[0] = start
    rows = np.arange(len(truth))
    surprise, p = _surprise(design, offset, truth, theta)
    for _ in range(_STEPS):
        residual = -p
        residual[rows, truth] += 1
        gradient = np.einsum("nkq,nk->q", design, residual)
        try:
            step = np.linalg.solve(_information(design, p), gradient)
        except np.linalg.LinAlgError:
            return None
        length = 1.0
        while True:
            tried, found = _surprise(design, offset, truth, theta + length * step)
            if tried <= surprise + 1e-12 or length < 1e-8:
                break
            length /= 2
        theta, surprise, p = theta + length * step, tried, found
        if np.abs(theta).max() > 1 / _SMALLEST:
            return None
        if np.abs(length * step).max() < 1e-9:
            return theta, p
    return None


def _surprise(
    design: Floats, offset: Floats, truth: NDArray[np.intp], theta: Floats
) -> tuple[float, Floats]:
    """Return minus the log-likelihood, and the probabilities."""
    z = offset + design @ theta
    z = z - z.max(axis=1, keepdims=True)
    total = np.log(np.exp(z).sum(axis=1))
    return float((total - z[np.arange(len(truth)), truth]).sum()), np.exp(z - total[:, None])


def _information(design: Floats, p: Floats) -> Floats:
    mean = np.einsum("nkq,nk->nq", design, p)
    return np.asarray(np.einsum("nkq,nk,nkr->qr", design, p, design) - mean.T @ mean)


def _covariance(
    design: Floats, theta: Floats, p: Floats, truth: NDArray[np.intp], groups: NDArray[np.str_]
) -> Floats:
    """Return the covariance of `theta` over patients, its variances at least the model's own."""
    residual = -p
    residual[np.arange(len(truth)), truth] += 1
    scores = np.einsum("nkq,nk->nq", design, residual)
    names, codes = np.unique(groups, return_inverse=True)
    summed = np.zeros((len(names), len(theta)))
    np.add.at(summed, codes, scores)
    naive = np.linalg.inv(_information(design, p))
    robust = naive @ summed.T @ summed @ naive * len(names) / (len(names) - 1)
    return np.asarray(robust + np.diag(np.maximum(0.0, np.diag(naive) - np.diag(robust))))


def _wald(
    value: float, variance: float, level: float, *, n_images: int, n_patients: int
) -> Estimate:
    reach = student_quantile(level, n_patients - 1) * math.sqrt(variance)
    method = "logistic recalibration, sandwich over patients"
    return Estimate(value, value - reach, value + reach, level, method, n_images, n_patients)
