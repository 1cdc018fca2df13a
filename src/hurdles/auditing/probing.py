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
from hurdles.evaluation.delong import Area
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import out_of_fold
from hurdles.findings.finding import Evidence, Finding, Limit

__all__ = [
    "class_aucs",
    "class_probe",
    "extremes",
    "joined_level",
    "said_of",
    "simultaneous",
]

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

    Parameters
    ----------
    material : Material
        N images. A class with fewer than ten patients is left out, and named in the note.
    features : array of shape (N, D)
        Finite numbers of any unit.
    hurdle, subject, statistic, advice : str
        As for `Finding`.
    of : int
        How many findings the hurdle tests together: the interval is widened (Bonferroni) so that
        all of them hold at the material's level.
    limit : Limit, optional
        What the area is held against; None: shown, not judged.
    shown : int
        How many images of each class to show that its features give away most surely.

    Returns
    -------
    Finding
        Undefined, with the reason, where fewer than two classes have ten patients. Details: the
        area of each class, and the number of images.

    Raises
    ------
    EvaluationError
        If there is not one row of finite features per image.
    """
    rows, few = _enough(material)
    level = joined_level(material.level, of)
    if len(np.unique(material.labels[rows])) < 2:
        why = f"fewer than two classes have {2 * _FOLDS} patients; too few: {few or 'the others'}"
        none = undefined(why, level=level, n_images=len(material))
        return Finding(hurdle, subject, statistic, none, limit, advice)
    table = np.asarray(features, dtype=np.float64)
    if len(table) != len(material):
        raise HurdleError(f"{len(table)} rows of features for {len(material)} images.")
    asked = material.take(rows) if len(rows) < len(material) else material
    told = out_of_fold(table[rows], asked.labels, asked.groups, folds=_FOLDS, seed=material.seed)
    said = said_of(asked, told)
    found = simultaneous(macro_auc(said, level=level), of)
    if few:
        found = _noted(found, f"too few patients: {few}")
    details: dict[str, Any] = {"auc_by_class": class_aucs(said), "n_features": table.shape[1]}
    evidence = extremes(said, shown, f"{subject} alone") if shown else ()
    return Finding(hurdle, subject, statistic, found, limit, advice, evidence, details)


def joined_level(level: float, of: int) -> float:
    """Return the level at which each of several intervals is made so that all hold together.

    Parameters
    ----------
    level : float
        Wanted for all at once, within (0, 1).
    of : int
        How many intervals there are; at least 1.

    Examples
    --------
    >>> joined_level(0.95, 5)
    0.99
    """
    return 1 - (1 - level) / max(of, 1)


def simultaneous(estimate: Estimate, of: int) -> Estimate:
    """Return the estimate with its method saying that it is one of several.

    Parameters
    ----------
    estimate : Estimate
        Its interval is made at `joined_level` already.
    of : int
        How many findings hold together.
    """
    if of < 2 or not estimate.is_defined:
        return estimate
    words = f"{estimate.method}; simultaneous over {of} (Bonferroni)"
    return replace(estimate, method=words)


def said_of(
    material: Material, probability: NDArray[np.float64], classes: Sequence[str] | None = None
) -> Predictions:
    """Return probabilities as a table of predictions of these images.

    Parameters
    ----------
    material : Material
        n images.
    probability : array of shape (n, K)
        Rows sum to 1.
    classes : sequence of str, optional
        The columns; default: the material's own classes, sorted.
    """
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
    """Return the area of each class that has images, and others beside it, against the rest."""
    truth = said.y_true
    return {
        c: Area.of(truth, said.y_prob[:, i], positive=c).value
        for i, c in enumerate(said.classes)
        if 0 < int((truth == c).sum()) < len(truth)
    }


def extremes(said: Predictions, count: int, by: str) -> tuple[Evidence, ...]:
    """Return images of each class that were told most surely, one patient once.

    Parameters
    ----------
    said : Predictions
        What features said of them.
    count : int
        How many of each class, at most.
    by : str
        What told them, e.g. ``"corners alone"``.
    """
    found: list[Evidence] = []
    for column, name in enumerate(said.classes):
        own = said.frame[said.y_true == name]
        sure = own.assign(p=said.y_prob[said.y_true == name, column])
        best = sure.sort_values(["p", "image"], ascending=[False, True], kind="stable")
        for row in best.drop_duplicates("group").head(count).itertuples():
            words = f"{name}, told by {by} with {100 * float(row.p):.0f} %"
            found.append(Evidence(str(row.image), words, str(row.path)))
    return tuple(found)


def _enough(material: Material) -> tuple[NDArray[np.intp], str]:
    """Return the rows of classes with enough patients, and the names of the other classes."""
    pairs = pd.DataFrame({"label": material.labels, "group": material.groups}).drop_duplicates()
    counts = pairs["label"].value_counts().sort_index()
    few = counts[counts < 2 * _FOLDS]
    named = ", ".join(f"{name} ({n})" for name, n in few.items())
    return np.flatnonzero(~np.isin(material.labels, few.index.to_numpy(dtype=str))), named


def _noted(estimate: Estimate, note: str) -> Estimate:
    return replace(estimate, note="; ".join(filter(None, (estimate.note, note))))
