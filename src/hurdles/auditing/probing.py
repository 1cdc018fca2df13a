"""How well the class can be told from numbers that should not tell it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.errors import HurdleError
from hurdles.evaluation.delong import AUC, auc_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import out_of_fold, patients_of
from hurdles.evaluation.statistics import auc
from hurdles.findings.finding import Evidence, Finding, Limit, Scale

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
    """Tell the class from features by a line that has not seen the patient.

    A ridge logistic regression, cross-validated over patients (`out_of_fold`); the statistic is
    the mean area under the curve of each class against the rest, 0.5 being chance.
    """
    rows, few = _enough(material)
    level = joined_level(material.level, of)
    if len(np.unique(material.labels[rows])) < 2:
        why = f"fewer than two classes have {2 * _FOLDS} patients; too few: {few or 'the others'}"
        none = undefined(why, level=level, n_images=len(material))
        return Finding(hurdle, subject, statistic, none, limit, advice, scale=Scale.AUC)
    table = np.asarray(features, dtype=np.float64)
    if len(table) != len(material):
        raise HurdleError(f"{len(table)} rows of features for {len(material)} images.")
    asked = material.take(rows) if len(rows) < len(material) else material
    told = out_of_fold(table[rows], asked.labels, asked.groups, folds=_FOLDS, seed=material.seed)
    said = said_of(asked, told)
    found = simultaneous(macro_auc(said, level=level), of)
    if few:
        found = found.noted(f"too few patients: {few}")
    details: dict[str, Any] = {"auc_by_class": class_aucs(said), "n_features": table.shape[1]}
    evidence = extremes(said, shown, f"{subject} alone") if shown else ()
    return Finding(
        hurdle,
        subject,
        statistic,
        found,
        limit,
        advice,
        evidence,
        details,
        scale=Scale.AUC,
        uncleared=f"not asked of {few}" if few else hidden_classes(said, limit, level),
    )


def hidden_classes(said: Predictions, limit: Limit | None, level: float) -> str:
    """Name the classes that a mean within the margin would hide; empty where there are none."""
    there = [c for c in said.classes if 0 < int((said.y_true == c).sum()) < len(said.y_true)]
    if limit is None or len(there) < 3:
        return ""
    beyond = []
    for name in there:
        scores = said.y_prob[:, said.classes.index(name)]
        area = AUC.of(said.y_true, scores, positive=name, groups=said.groups)
        low, high, _ = auc_bounds(area, joined_level(level, len(there)))
        if high > limit.clears:
            beyond.append(f"{name} {area.value:.3f} [{low:.3f}, {high:.3f}]")
    return f"the mean hides what is not within the margin: {', '.join(beyond)}" if beyond else ""


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
    words = f"{estimate.method}; simultaneous over {of} (Bonferroni)"
    return replace(estimate, method=words)


def said_of(
    material: Material, probability: NDArray[np.float64], classes: Sequence[str] | None = None
) -> Predictions:
    """Return probabilities as a table of predictions of these images."""
    frame = material.manifest.frame
    known = np.unique(material.labels).tolist() if classes is None else list(classes)
    return Predictions.from_arrays(
        known,
        y_true=frame["label"].tolist(),
        y_prob=probability,
        images=frame["image"].tolist(),
        groups=material.groups.tolist(),
        sources=[None if pd.isna(s) else str(s) for s in frame["source"]],
        paths=frame["path"].tolist(),
    )


def class_aucs(said: Predictions) -> dict[str, float]:
    """Return the AUC of each class that has images, and others beside it, against the rest."""
    columns = {c: (said.y_true == c, said.y_prob[:, i]) for i, c in enumerate(said.classes)}
    return {c: auc(true, p) for c, (true, p) in columns.items() if true.any() and not true.all()}


def extremes(said: Predictions, count: int, by: str) -> tuple[Evidence, ...]:
    """Return images of each class that were told most surely, one patient once."""
    found: list[Evidence] = []
    names, paths = said.frame["image"].tolist(), said.frame["path"].tolist()
    truth, groups, told = said.y_true, said.groups.tolist(), said.y_prob
    for column, name in enumerate(said.classes):
        own = np.flatnonzero(truth == name).tolist()
        seen: set[str] = set()
        for row in sorted(own, key=lambda i: (-told[i, column], names[i])):
            if len(seen) == count:
                break
            if groups[row] not in seen:
                seen.add(groups[row])
                words = f"{name}, told by {by} with {100 * told[row, column]:.0f} %"
                found.append(Evidence(names[row], words, paths[row]))
    return tuple(found)


def _enough(material: Material) -> tuple[NDArray[np.intp], str]:
    """Return the rows of classes with enough patients, and the names of the other classes."""
    patients = patients_of(material.labels, material.groups)
    few = {name: n for name, n in patients.items() if n < 2 * _FOLDS}
    rows = np.flatnonzero(~np.isin(material.labels, list(few)))
    return rows, ", ".join(f"{name} ({n})" for name, n in few.items())
