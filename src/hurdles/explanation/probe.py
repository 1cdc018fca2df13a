"""How well features tell which collection an image comes from.

If a straight line through a network's features parts the collections, the network knows the
hospital, and where class and collection go together it may answer with the one for the other.
A probe that fails shows less: the knowledge may be there in a form that no straight line finds, and
images that two collections share (`hurdles.copies.finder`) cannot be told by anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import out_of_fold
from hurdles.evaluation.statistics import PatientTable

_CHANCE_AUC = 0.5


@dataclass(frozen=True)
class Probe:
    """What a linear probe could tell of the collections.

    Parameters
    ----------
    within : str
        The class whose images were told apart; empty for images of all classes.
    images, patients : dict of str to int
        Of each collection.
    auc : Estimate
        Mean over collections of the area under the curve of one against the rest; 0.5 is chance.
        See `hurdles.evaluation.macro.macro_auc`.
    accuracy : Estimate
        Share of the images whose collection was named.
    chance : float
        The accuracy of always naming the largest collection, within [0, 1].
    note : str
        What was left out; empty otherwise. Why it is undefined stands in `auc`.

    Examples
    --------
    >>> sources, groups = ["ours", "theirs"] * 30, [f"p{i}" for i in range(60)]
    >>> features = np.random.default_rng(0).normal(size=(60, 3))
    >>> features[1::2] += 10
    >>> probe = source_probe(features, sources, groups=groups)
    >>> probe.auc.value, probe.chance
    (1.0, 0.5)
    """

    within: str
    images: dict[str, int]
    patients: dict[str, int]
    auc: Estimate
    accuracy: Estimate
    chance: float
    note: str = ""

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

    Logistic regression with a ridge penalty on standardised features, cross-validated
    (`hurdles.evaluation.probing.out_of_fold`): a patient is in one fold only, scaling and penalty
    are chosen within the training folds (the latter on patients held out from them), and every
    image is judged by the model that did not see it. The interval counts patients, not images, and
    holds for these models: others, trained on other patients, would vary a little more.
    """
    table = np.asarray(features, dtype=np.float64)
    names, patients = np.asarray(sources, dtype=str), np.asarray(groups, dtype=str)
    _check(table, names, patients, folds)
    counts = {s: len(np.unique(patients[names == s])) for s in np.unique(names).tolist()}
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
    rows = PatientTable.of(judged)
    images = {s: int((names == s).sum()) for s in enough}
    return Probe(
        within,
        images,
        {s: counts[s] for s in enough},
        macro_auc(judged, level=level),
        estimate(rows, "accuracy", level=level),
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
    table, names, patients = np.asarray(features), np.asarray(sources), np.asarray(groups)
    classes = np.asarray(labels, dtype=str)
    if len(classes) != len(table):
        raise EvaluationError(f"{len(classes)} labels for {len(table)} images; give one each.")
    found = [
        source_probe(table, sources, groups=groups, folds=folds, seed=seed, level=level),
    ]
    for label in np.unique(classes).tolist():
        rows = classes == label
        found.append(
            source_probe(
                table[rows],
                names[rows].tolist(),
                groups=patients[rows].tolist(),
                within=label,
                folds=folds,
                seed=seed,
                level=level,
            )
        )
    return found


def thumbnails(pixels: NDArray[np.uint8], size: int = 16) -> NDArray[np.float32]:
    """Return grey values of small images as features: what is told without any network.

    Examples
    --------
    >>> thumbnails(np.full((3, 64, 64), 255, dtype=np.uint8), size=2).tolist()[0]
    [1.0, 1.0, 1.0, 1.0]
    """
    import cv2

    found = np.empty((len(pixels), size * size), dtype=np.float32)
    for row, image in enumerate(pixels):
        grey = np.asarray(image, dtype=np.float32) / 255  # before averaging: bytes would be rounded
        found[row] = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA).ravel()
    return found


def _check(
    table: NDArray[np.float64], names: NDArray[Any], patients: NDArray[Any], folds: int
) -> None:
    if table.ndim != 2 or not len(table) == len(names) == len(patients):
        raise EvaluationError(
            f"features have shape {table.shape}, with {len(names)} sources and {len(patients)} "
            "groups; give one row, one source and one group per image."
        )
    if not np.isfinite(table).all():
        raise EvaluationError("features have values that are not finite numbers; drop those rows.")
    if folds < 2:
        raise EvaluationError(f"{folds} folds leave nothing to test on; give at least 2, best 5.")
