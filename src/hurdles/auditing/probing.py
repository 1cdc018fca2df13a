"""Probes: how well the class can be told from numbers that should not tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.errors import HurdleError
from hurdles.evaluation.delong import AUC, auc_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import out_of_fold, patients_of
from hurdles.evaluation.statistics import auc
from hurdles.findings.finding import Evidence, Finding, Limit, Scale, evidence_of

__all__ = ["class_probe"]

_FOLDS = 5


def class_probe(
    material: Material,
    features: NDArray[np.floating],
    *,
    hurdle: str,
    subject: str,
    statistic: str,
    advice: str,
    of: int = 1,
    limit: Limit | None = None,
    shown: int = 0,
) -> Finding:
    """Tell the class from features by a probe that has not seen the patient.

    A ridge logistic regression, cross-validated over patients (`out_of_fold`); the statistic is
    the mean AUC of each class against the rest, 0.5 being chance.

    Parameters
    ----------
    material : Material
        n images; classes with fewer than ten patients are left out.
    features : array of shape (n, D)
        Finite numbers of any unit.
    hurdle, subject, statistic, advice : str
        As in the finding.
    of : int
        Intervals that hold together with this one (Bonferroni).
    limit : Limit, optional
        None for an AUC that is shown and not judged.
    shown : int
        Images of each class that are named as evidence: those told most surely.

    Returns
    -------
    Finding
        Undefined where fewer than two classes have enough patients.

    Raises
    ------
    HurdleError
        If there is not one row of features for each image.
    """
    labels, groups = material.labels, material.groups
    counts = patients_of(labels, groups)
    small = [name for name, n in counts.items() if n < 2 * _FOLDS]
    few = ", ".join(f"{name} ({counts[name]})" for name in small)
    level = joined_level(material.level, of)
    if len(counts) - len(small) < 2:
        why = f"fewer than two classes have {2 * _FOLDS} patients; too few: {few or 'the others'}"
        none = undefined(why, level=level, n_images=len(material))
        return Finding(hurdle, subject, statistic, none, limit, advice, scale=Scale.AUC)
    table = np.asarray(features, dtype=np.float64)
    if len(table) != len(material):
        raise HurdleError(f"{len(table)} rows of features for {len(material)} images.")
    rows = np.flatnonzero(~np.isin(labels, small))
    images = material.take(rows) if small else material
    probability = out_of_fold(
        table[rows], images.labels, images.groups, folds=_FOLDS, seed=material.seed
    )
    predictions = images.predictions(np.unique(images.labels).tolist(), probability)
    estimate = simultaneous(macro_auc(predictions, level=level), of)
    return Finding(
        hurdle,
        subject,
        statistic,
        estimate.noted(f"too few patients: {few}") if few else estimate,
        limit,
        advice,
        extremes(predictions, shown, f"{subject} alone"),
        {"auc_by_class": class_aucs(predictions), "n_features": table.shape[1]},
        scale=Scale.AUC,
        uncleared=f"not asked of {few}" if few else hidden_classes(predictions, limit, level),
    )


def joined_level(level: float, of: int) -> float:
    """Return the level at which each of several intervals is made so that all hold together.

    Examples
    --------
    >>> joined_level(0.95, 5)
    0.99
    """
    return 1 - (1 - level) / max(of, 1)


def simultaneous(estimate: Estimate, of: int) -> Estimate:
    """Return the estimate with its method saying that it is one of several."""
    if of < 2 or not estimate.is_defined:
        return estimate
    return replace(estimate, method=f"{estimate.method}; simultaneous over {of} (Bonferroni)")


def class_aucs(predictions: Predictions) -> dict[str, float]:
    """Return the AUC of each class that has images, and others beside it, against the rest."""
    truth = predictions.y_true
    return {
        name: auc(truth == name, predictions.y_prob[:, column])
        for column, name in enumerate(predictions.classes)
        if 0 < int((truth == name).sum()) < len(truth)
    }


def hidden_classes(predictions: Predictions, limit: Limit | None, level: float) -> str:
    """Name the classes that a mean within the margin would hide; empty where there are none."""
    names = list(class_aucs(predictions))
    if limit is None or len(names) < 3:
        return ""
    beyond = []
    for name in names:
        scores = predictions.y_prob[:, predictions.classes.index(name)]
        area = AUC.of(predictions.y_true, scores, positive=name, groups=predictions.groups)
        low, high, _ = auc_bounds(area, joined_level(level, len(names)))
        if high > limit.clears:
            beyond.append(f"{name} {area.value:.3f} [{low:.3f}, {high:.3f}]")
    return f"the mean hides what is not within the margin: {', '.join(beyond)}" if beyond else ""


def extremes(predictions: Predictions, count: int, by: str) -> tuple[Evidence, ...]:
    """Return `count` images of each class that were told most surely, one patient once."""
    names, groups = predictions.frame["image"].tolist(), predictions.groups
    evidence: list[Evidence] = []
    for column, label in enumerate(predictions.classes):
        probability = predictions.y_prob[:, column]
        own = np.flatnonzero(predictions.y_true == label).tolist()
        own.sort(key=lambda row: (-probability[row], names[row]))
        rows = one_per_patient(own, groups)[:count]
        texts = [f"{label}, told by {by} with {100 * probability[row]:.0f} %" for row in rows]
        evidence += evidence_of(predictions.frame, rows, texts)
    return tuple(evidence)


def one_per_patient(rows: Iterable[int], groups: NDArray[np.str_]) -> list[int]:
    """Return the first of these rows of each patient, in their order."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(groups[row], row)
    return list(first.values())
