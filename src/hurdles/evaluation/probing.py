"""Probes: a ridge logistic regression tells a label from features of patients it has not seen.

A logistic regression is a weak reader, and that is its use: what it can tell is there to
be had by any network. A probe that fails shows less: the knowledge may be there in a form that no
regression finds, and images that two collections share (`hurdles.copies.finder`) cannot be told
apart. The regression is that of `hurdles.evaluation.ridge`; its penalty is chosen on patients held
out from training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.ridge import Regression, regressions
from hurdles.evaluation.statistics import Floats, PatientTable
from hurdles.progress import one_blas_thread, processors

#: Strengths of the ridge penalty (C: weight of the likelihood against half the squared weights),
#: strongest penalty first, of which each fit chooses by itself.
STRENGTHS = (1e-4, 1e-2, 1.0)

#: Patients of a label that are enough for the five folds of a probe.
FEWEST = 10
#: Parts into which training patients are dealt to choose the penalty; one of them is held out.
_INNER = 4
_CHANCE_AUC = 0.5


def out_of_fold(
    features: NDArray[np.floating],
    labels: ArrayLike,
    groups: ArrayLike,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return probabilities (N, labels in order), each from a regression that saw no such patient.

    Every fold's probabilities are brought to the frequencies of labels in all images. Otherwise a
    fold in which a label happens to be rare would be answered by regressions that know it as
    frequent, and features that say nothing would seem to say the opposite.

    Examples
    --------
    >>> labels = ["a", "b"] * 20
    >>> features = np.random.default_rng(0).normal(size=(40, 3))
    >>> features[1::2] += 10
    >>> probability = out_of_fold(features, labels, [f"p{i}" for i in range(40)])
    >>> bool((probability.argmax(axis=1) == np.tile([0, 1], 20)).all())
    True
    """
    table, names, patients = _checked(features, labels, groups)
    if folds < 2:
        raise EvaluationError(f"{folds} folds leave nothing to test on; give at least 2, best 5.")
    if len(np.unique(patients)) < 2:
        raise EvaluationError("all images are of one patient; there is nobody to test on.")
    known = np.unique(names)
    share = _shares(names, known)
    probability = np.empty((len(names), len(known)))
    part = patient_folds(names, patients, folds, seed=seed)

    def one(fold: int) -> None:
        test, train = part == fold, part != fold
        answered = _predicted(table[train], names[train], patients[train], table[test], known, seed)
        there = _shares(names[train], known)
        answered *= np.divide(share, there, out=np.zeros_like(share), where=there > 0)
        probability[test] = answered

    # A fold is a thread: products of these sizes gain nothing from two, which would wait for one
    # another spinning; and so a sum has the same bits on any number of processors.
    with one_blas_thread(), ThreadPoolExecutor(processors()) as pool:
        list(pool.map(one, np.unique(part).tolist()))
    return np.asarray(probability / probability.sum(axis=1, keepdims=True))


def _shares(names: NDArray[np.str_], known: NDArray[np.str_]) -> Floats:
    return np.asarray((names[:, None] == known).mean(axis=0))


def fit_predict(
    train_features: NDArray[np.floating],
    train_labels: ArrayLike,
    train_groups: ArrayLike,
    features: NDArray[np.floating],
    *,
    seed: int = 0,
) -> Floats:
    """Learn labels from some images; return their probabilities (n, labels) for others."""
    table, names, patients = _checked(train_features, train_labels, train_groups)
    others = np.asarray(features, dtype=np.float64)
    if others.ndim != 2 or others.shape[1] != table.shape[1] or not np.isfinite(others).all():
        raise EvaluationError(
            f"features have shape {others.shape}; give finite numbers in {table.shape[1]} columns, "
            "as in training."
        )
    with one_blas_thread():
        return _predicted(table, names, patients, others, np.unique(names), seed)


def patient_folds(
    labels: ArrayLike, groups: ArrayLike, folds: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Return the fold of each image, from 0: patients are dealt so that folds share every label.

    Patients whose images have the same labels are dealt out in turn, those with most images first,
    starting with the fold that has the fewest such images; the seed decides among those alike.
    scikit-learn's StratifiedGroupKFold does the same patient by patient, which takes longer than
    the regressions.
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


def patients_of(labels: NDArray[Any], groups: NDArray[Any]) -> dict[str, int]:
    """Return how many patients each label has, in the order of labels."""
    return {name: len(np.unique(groups[labels == name])) for name in np.unique(labels).tolist()}


@dataclass(frozen=True)
class Probe:
    """Result of a linear probe for the collections."""

    within: str  # the class whose images were told apart; empty for images of all classes
    images: dict[str, int]  # of each collection
    patients: dict[str, int]
    #: Mean over collections of the AUC of one against the rest; 0.5 is chance. See `macro_auc`.
    auc: Estimate
    accuracy: Estimate  # share of the images whose collection was named
    chance: float  # the accuracy of always naming the largest collection, within [0, 1]
    note: str = ""  # what was left out; empty otherwise. Why it is undefined stands in `auc`

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which NaN becomes None."""
        return {
            "within": self.within,
            "images": dict(self.images),
            "patients": dict(self.patients),
            "auc": self.auc.to_dict(),
            "accuracy": self.accuracy.to_dict(),
            "chance_auc": _CHANCE_AUC,
            "chance_accuracy": None if math.isnan(self.chance) else self.chance,
            "note": self.note,
        }

    def __str__(self) -> str:
        """Return e.g. ``AUC 0.981 [0.974, 0.986], chance 0.5; accuracy ...``."""
        if not self.auc.is_defined:
            return f"AUC {self.auc}"
        tail = f" ({self.note})" if self.note else ""
        return (
            f"AUC {self.auc}, chance 0.5; accuracy {self.accuracy.percent()}, chance "
            f"{100 * self.chance:.1f} %{tail}"
        )


def source_probe(
    features: NDArray[np.floating],
    sources: Sequence[str],
    *,
    groups: Sequence[str],
    within: str = "",
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> Probe:
    """Predict the collection from features by a line that has not seen the patient.

    Cross-validated (`out_of_fold`): every image is judged by a model that did not see its patient.
    The interval counts patients, and holds for these models: others, trained on other patients,
    would vary a little more.
    """
    table, names, patients = _checked(features, sources, groups, empty=True)
    counts = patients_of(names, patients)
    enough = [s for s, n in counts.items() if n >= 2 * folds]
    few = ", ".join(f"{s} ({n})" for s, n in counts.items() if s not in enough)
    if len(enough) < 2:
        why = f"{', '.join(enough) or 'no collection'} alone has {2 * folds} patients or more"
        why += f"; too few: {few}" if few else ""
        none = undefined(why, level=level, n_images=len(table), n_patients=len(set(patients)))
        images = {s: int((names == s).sum()) for s in counts}
        return Probe(within, images, counts, none, none, math.nan)
    keep = np.isin(names, enough)
    table, names, patients = table[keep], names[keep], patients[keep]
    judged = Predictions.from_arrays(
        enough,
        y_true=names.tolist(),
        y_prob=out_of_fold(table, names, patients, folds=folds, seed=seed),
        images=[str(i) for i in range(len(names))],
        groups=patients.tolist(),
    )
    images = {s: int((names == s).sum()) for s in enough}
    return Probe(
        within,
        images,
        {s: counts[s] for s in enough},
        macro_auc(judged, level=level),
        estimate(PatientTable.of(judged), "accuracy", level=level),
        max(images.values()) / len(names),
        f"too few patients: {few}" if few else "",
    )


def source_probes(
    features: NDArray[np.floating],
    sources: Sequence[str],
    labels: Sequence[str],
    *,
    groups: Sequence[str],
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> list[Probe]:
    """Probe all images, then those of each class apart.

    Where collections differ in their classes, telling the class tells the collection: only within
    a class is it the collection alone that is told.
    """
    probe = partial(source_probe, folds=folds, seed=seed, level=level)
    within = source_probes_within(
        features, sources, labels, groups=groups, folds=folds, seed=seed, level=level
    )
    return [probe(features, sources, groups=groups), *within]


def source_probes_within(
    features: NDArray[np.floating],
    sources: Sequence[str],
    labels: Sequence[str],
    *,
    groups: Sequence[str],
    folds: int = 5,
    seed: int = 0,
    level: float = 0.95,
) -> list[Probe]:
    """Probe the images of each class apart, in the order of the classes."""
    table, names, patients = np.asarray(features), np.asarray(sources), np.asarray(groups)
    classes = np.asarray(labels, dtype=str)
    if len(classes) != len(table):
        raise EvaluationError(f"{len(classes)} labels for {len(table)} images; give one each.")
    probe = partial(source_probe, folds=folds, seed=seed, level=level)
    probes = []
    for label in np.unique(classes).tolist():
        rows = classes == label
        groups_ = patients[rows].tolist()
        probes.append(probe(table[rows], names[rows].tolist(), groups=groups_, within=label))
    return probes


def thumbnails(pixels: NDArray[np.uint8], size: int = 16) -> NDArray[np.float32]:
    """Return gray values of small images as features: what is told without any network."""
    import cv2

    features = np.empty((len(pixels), size * size), dtype=np.float32)
    for row, image in enumerate(pixels):
        gray = np.asarray(image, dtype=np.float32) / 255  # before averaging: bytes would be rounded
        features[row] = cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA).ravel()
    return features


def _checked(
    features: NDArray[np.floating], labels: ArrayLike, groups: ArrayLike, *, empty: bool = False
) -> tuple[Floats, NDArray[np.str_], NDArray[np.str_]]:
    table = np.asarray(features, dtype=np.float64)
    names, patients = np.asarray(labels).astype(str), np.asarray(groups).astype(str)
    fits = table.ndim == 2 and len(table) == len(names) == len(patients)
    if not fits or not (len(table) or empty):
        raise EvaluationError(
            f"features have shape {table.shape}, with {len(names)} labels and {len(patients)} "
            "groups; give one row, one label and one group per image."
        )
    if not np.isfinite(table).all():
        raise EvaluationError("features have values that are not finite numbers; drop those rows.")
    return table, names, patients


def _predicted(
    table: Floats,
    names: NDArray[np.str_],
    patients: NDArray[np.str_],
    others: Floats,
    known: NDArray[np.str_],
    seed: int,
) -> Floats:
    """Return probabilities of shape (others, known); what was not trained on has none."""
    probability = np.zeros((len(others), len(known)))
    there, counts = np.unique(names, return_counts=True)
    columns = np.searchsorted(known, there)
    # Without anything to go by a solver comes only near the frequencies: folds would differ.
    if len(there) == 1 or not np.ptp(table, axis=0).any():
        probability[:, columns] = counts / len(names)
        return probability
    probability[:, columns] = _fitted(table, names, patients, seed).probabilities(others)
    return probability


def _fitted(
    table: Floats, names: NDArray[np.str_], patients: NDArray[np.str_], seed: int
) -> Regression:
    """Fit with the penalty that has the least log-loss on patients held out from training."""
    held = patient_folds(names, patients, _INNER, seed=seed) == 0
    there = np.unique(names[~held])
    rows = np.flatnonzero(held & np.isin(names, there))
    if len(there) < 2 or not len(rows):
        return next(regressions(table, names, STRENGTHS[:1]))
    true = np.arange(len(rows)), np.searchsorted(there, names[rows])
    tried = []
    for strength, one in zip(
        STRENGTHS, regressions(table[~held], names[~held], STRENGTHS), strict=True
    ):
        loss = float(-np.log(one.probabilities(table[rows])[true] + 1e-12).mean())
        tried.append((loss, strength, one))
    _, strength, start = min(tried, key=lambda each: each[0])
    return next(regressions(table, names, [strength], start=start))
