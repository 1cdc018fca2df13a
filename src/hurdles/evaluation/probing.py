"""How well numbers tell a label: a ridge logistic regression that has not seen the patient.

A straight line through features is a weak reader, and that is its use: what it can tell is there to
be had by any network. Features are standardised and turned onto their principal axes, in which the
regression is solved in a few dozen steps; the penalty is chosen on patients held out from training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.errors import EvaluationError

__all__ = ["STRENGTHS", "fit_predict", "out_of_fold", "patient_folds"]

Floats = NDArray[np.float64]

#: Strengths of the ridge penalty (C: weight of the likelihood against half the squared weights),
#: strongest penalty first, of which each fit chooses by itself.
STRENGTHS = (1e-4, 1e-2, 1.0)

#: Parts into which training patients are dealt to choose the penalty; one of them is held out.
_INNER = 4
#: Axes whose variance is below this share of the largest are rounding, not information.
_NEGLIGIBLE = 1e-7
_GRADIENT, _STEPS = 1e-4, 200


def out_of_fold(
    features: NDArray[np.floating],
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return probabilities of the labels, each from a regression that saw no such patient.

    Every fold's probabilities are brought to the frequencies of labels in all images. Otherwise a
    fold in which a label happens to be rare would be answered by regressions that know it as
    frequent, and features that say nothing would seem to say the opposite.

    Parameters
    ----------
    features : array of shape (N, D)
        Finite numbers of any unit.
    labels, groups : array-like of shape (N,)
        What is to be told, and the patient of each image.
    folds : int
        At least 2.
    seed : int
        Of the folds.

    Returns
    -------
    float64 array of shape (N, K)
        One column per label, in the order of ``np.unique(labels)``; rows sum to 1.

    Raises
    ------
    EvaluationError
        If lengths differ, a feature is not finite, there are fewer than two folds, or fewer than
        two patients.

    Examples
    --------
    >>> labels = ["a", "b"] * 20
    >>> features = np.random.default_rng(0).normal(size=(40, 3))
    >>> features[1::2] += 10
    >>> found = out_of_fold(features, labels, [f"p{i}" for i in range(40)])
    >>> bool((found.argmax(axis=1) == np.tile([0, 1], 20)).all())
    True
    """
    table, names, patients = _checked(features, labels, groups)
    if folds < 2:
        raise EvaluationError(f"{folds} folds leave nothing to test on; give at least 2, best 5.")
    if len(np.unique(patients)) < 2:
        raise EvaluationError("all images are of one patient; there is nobody to test on.")
    known = np.unique(names)
    share = _shares(names, known)
    found = np.empty((len(names), len(known)))
    part = patient_folds(names, patients, folds, seed=seed)
    for fold in np.unique(part):
        test, train = part == fold, part != fold
        found[test] = _told(table[train], names[train], patients[train], table[test], known, seed)
        there = _shares(names[train], known)
        found[test] *= np.divide(share, there, out=np.zeros_like(share), where=there > 0)
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def fit_predict(
    train_features: NDArray[np.floating],
    train_labels: ArrayLike,
    train_groups: ArrayLike,
    features: NDArray[np.floating],
    *,
    seed: int = 0,
) -> Floats:
    """Learn labels from some images and return their probabilities for others.

    Parameters
    ----------
    train_features : array of shape (N, D)
        Finite numbers of any unit.
    train_labels, train_groups : array-like of shape (N,)
        What is to be told, and the patient of each image.
    features : array of shape (n, D)
        Of the images that are judged.
    seed : int
        Of the patients that are held out to choose the penalty.

    Returns
    -------
    float64 array of shape (n, K)
        One column per label, in the order of ``np.unique(train_labels)``; rows sum to 1.

    Raises
    ------
    EvaluationError
        If lengths or numbers of features differ, or a feature is not finite.

    Examples
    --------
    >>> told = fit_predict(np.array([[0.0], [1.0]] * 9), ["a", "b"] * 9, range(18), np.eye(1))
    >>> bool(told[0, 1] > 0.8)
    True
    """
    table, names, patients = _checked(train_features, train_labels, train_groups)
    asked = np.asarray(features, dtype=np.float64)
    if asked.ndim != 2 or asked.shape[1] != table.shape[1] or not np.isfinite(asked).all():
        raise EvaluationError(
            f"features have shape {asked.shape}; give finite numbers in {table.shape[1]} columns, "
            "as in training."
        )
    return _told(table, names, patients, asked, np.unique(names), seed)


def patient_folds(
    labels: ArrayLike, groups: ArrayLike, folds: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Deal patients to folds so that every fold has its share of every label.

    Patients whose images have the same labels are alike and are dealt out in turn, those with most
    images first, starting with the fold that has the fewest such images so far.

    Parameters
    ----------
    labels, groups : array-like of shape (N,)
        The label and the patient of each image.
    folds : int
        At least 1. With fewer patients than that, some stay empty.
    seed : int
        Decides who of those alike goes where.

    Returns
    -------
    int64 array of shape (N,)
        The fold of each image, from 0.

    Examples
    --------
    >>> patient_folds(list("aaaabb"), [1, 1, 2, 2, 3, 4], 2).tolist()
    [0, 0, 1, 1, 0, 1]
    """
    names, label = np.unique(np.asarray(labels), return_inverse=True)
    patients, patient = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(patients), len(names)), dtype=np.int64)
    np.add.at(counts, (patient, label), 1)
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(patients))
    filled = np.zeros((folds, len(names)), dtype=np.int64)
    fold = np.empty(len(patients), dtype=np.int64)
    for one in np.lexsort((np.arange(len(kinds)), -kinds.sum(axis=1))):
        alike = shuffled[kind.ravel()[shuffled] == one]
        order = np.lexsort((filled.sum(axis=1), filled @ kinds[one]))
        fold[alike] = order[np.arange(len(alike)) % folds]
        np.add.at(filled, fold[alike], kinds[one])
    return np.asarray(fold[patient.ravel()])


def _checked(
    features: NDArray[np.floating], labels: ArrayLike, groups: ArrayLike
) -> tuple[Floats, NDArray[np.str_], NDArray[np.str_]]:
    table = np.asarray(features, dtype=np.float64)
    names, patients = np.asarray(labels).astype(str), np.asarray(groups).astype(str)
    if table.ndim != 2 or not len(table) == len(names) == len(patients) or not len(table):
        raise EvaluationError(
            f"features have shape {table.shape}, with {len(names)} labels and {len(patients)} "
            "groups; give one row, one label and one group per image."
        )
    if not np.isfinite(table).all():
        raise EvaluationError("features have values that are not finite numbers; drop those rows.")
    return table, names, patients


def _shares(names: NDArray[np.str_], known: NDArray[np.str_]) -> Floats:
    return np.asarray((names[:, None] == known).mean(axis=0))


def _told(
    table: Floats,
    names: NDArray[np.str_],
    patients: NDArray[np.str_],
    asked: Floats,
    known: NDArray[np.str_],
    seed: int,
) -> Floats:
    """Return probabilities of shape (asked, known); what was not trained on has none."""
    found = np.zeros((len(asked), len(known)))
    there, truth = np.unique(names, return_inverse=True)
    columns = np.searchsorted(known, there)
    if len(there) == 1:
        found[:, columns] = 1.0
        return found
    upto = STRENGTHS.index(_strength(table, names, patients, seed)) + 1
    axes = _Axes.of(table)
    *_, last = _path(axes.turned(table), truth, STRENGTHS[:upto])
    found[:, columns] = _probabilities(axes.turned(asked), last)
    return found


def _strength(
    table: Floats, names: NDArray[np.str_], patients: NDArray[np.str_], seed: int
) -> float:
    """Choose the penalty on patients held out from the training folds, by the log-loss."""
    held = patient_folds(names, patients, _INNER, seed=seed) == 0
    there, truth = np.unique(names[~held], return_inverse=True)
    rows = np.flatnonzero(held & np.isin(names, there))
    if len(there) < 2 or not len(rows):
        return STRENGTHS[0]
    axes = _Axes.of(table[~held])
    asked = axes.turned(table[rows])
    column = np.searchsorted(there, names[rows])
    losses = []
    for weights in _path(axes.turned(table[~held]), truth, STRENGTHS):
        said = _probabilities(asked, weights)[np.arange(len(rows)), column]
        losses.append(float(-np.log(said + 1e-12).mean()))
    return STRENGTHS[int(np.argmin(losses))]


@dataclass(frozen=True, eq=False)
class _Axes:
    """Standardised features on their principal axes: the same to a ridge, and quick to solve.

    Parameters
    ----------
    mean, scale : ndarray of shape (D,)
        Of the training images.
    directions : ndarray of shape (D, r)
        Orthonormal; r is at most the smaller of the numbers of images and of features.
    """

    mean: Floats
    scale: Floats
    directions: Floats

    @classmethod
    def of(cls, table: Floats) -> _Axes:
        mean, scale = table.mean(axis=0), table.std(axis=0)
        # What never varies in training says nothing, and must not be blown up in testing.
        scale[scale <= 1e-9 * np.maximum(np.abs(mean), 1e-12)] = np.inf
        standard = (table - mean) / scale
        wide = standard.shape[1] > standard.shape[0]
        variances, axes = np.linalg.eigh(standard @ standard.T if wide else standard.T @ standard)
        kept = variances > _NEGLIGIBLE * max(float(variances[-1]), 1e-300)
        axes = axes[:, kept]
        if wide:
            axes = standard.T @ (axes / np.sqrt(variances[kept]))
        return cls(mean, scale, axes)

    def turned(self, table: Floats) -> Floats:
        return np.asarray((table - self.mean) / self.scale @ self.directions)


def _path(axes: Floats, truth: NDArray[np.intp], strengths: Sequence[float]) -> list[Floats]:
    """Return weights of shape (r + 1, K), intercept last, each fit starting from the one before."""
    n, classes = len(truth), int(truth.max()) + 1
    hot = np.eye(classes)[truth]
    weights = np.zeros((axes.shape[1] + 1, classes))
    weights[-1] = np.log(hot.mean(axis=0))
    energy = np.append((axes**2).mean(axis=0), 1.0)[:, None] * hot.var(axis=0)
    found = []
    for strength in strengths:
        # Two classes share one weight vector between them, which halves a penalty on both.
        penalty = (2.0 if classes == 2 else 1.0) / (strength * n)
        weights = _solved(axes, hot, weights, penalty, energy)
        found.append(weights)
    return found


def _solved(axes: Floats, hot: Floats, start: Floats, penalty: float, energy: Floats) -> Floats:
    """Minimise the mean log-loss with a ridge; steps are scaled by the curvature of each axis."""
    from scipy.optimize import minimize

    ridge = np.full((len(start), 1), penalty)
    ridge[-1] = 0.0
    unit = 1.0 / np.sqrt(energy + ridge)

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(start.shape) * unit
        said = _probabilities(axes, weights)
        gap = (said - hot) / len(hot)
        slope = np.vstack([axes.T @ gap, gap.sum(axis=0)]) + ridge * weights
        right = np.log(np.maximum((said * hot).sum(axis=1), 1e-300))
        value = -right.mean() + 0.5 * float((ridge * weights**2).sum())
        return value, (slope * unit).ravel()

    options = {"maxiter": _STEPS, "gtol": _GRADIENT, "ftol": 1e-9, "maxcor": 10}
    solved = minimize(loss, (start / unit).ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(solved.x.reshape(start.shape) * unit)


def _probabilities(axes: Floats, weights: Floats) -> Floats:
    logits = axes @ weights[:-1] + weights[-1]
    logits -= logits.max(axis=1, keepdims=True)
    raised = np.exp(logits)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
