"""The matrix of models and test sets: how good each is on each, and what is lost elsewhere.

Three tables, each one row per number: `matrix` (every measure of every cell), `gaps` (one model,
inside against outside), `paired` (two models, same images). A measure that a test set does not
allow is undefined and says why; an undefined comparison is no member of Holm's family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level
from hurdles.evaluation.comparisons import holm
from hurdles.evaluation.delong import AUC, AUCDifference, compare_aucs
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.predictions import Predictions, align
from hurdles.evaluation.statistics import PatientTable

Key = tuple[str, str]

#: Measures of the matrix, keys of `METRICS`, in the order of its rows.
MEASURES = (
    "accuracy",
    "auc",
    "sensitivity",
    "specificity",
    "f1",
    "balanced_accuracy",
    "miss_rate",
    "diagnostic_odds_ratio",
)
#: Columns of `matrix`. NaN in value, low and high: undefined, and `note` says why.
MATRIX_COLUMNS: dict[str, str] = {
    "model": "name of the model",
    "test": "name of the test set",
    "measure": "key of METRICS",
    "class": "the class against the rest; empty for measures of all classes together",
    "value": "the estimate",
    "low": "lower bound of its interval",
    "high": "upper bound; infinity where an odds ratio has none",
    "n_images": "images counted",
    "n_patients": "patients among those",
    "note": "why it is undefined, or what weakens it",
}
_TESTED = {
    "difference": "of the AUCs, -1 to 1",
    "low": "lower bound of its interval",
    "high": "upper bound of its interval",
    "p_value": "of no difference, two-sided (DeLong); NaN where undefined",
    "p_holm": "the same, adjusted for all rows of this table that have one (Holm)",
}
_RESTS_ON = {
    "n_images": "images of both, each once",
    "n_patients": "patients of both, each once",
    "method": "how the test was made",
    "note": "why it is undefined, or what weakens it",
}
#: Columns of `gaps`; the difference is inside - outside: what is lost.
GAP_COLUMNS: dict[str, str] = {
    "model": "name of the model",
    "inside": "test set of the model's own collection",
    "outside": "the other test set",
    "auc_inside": "AUC inside",
    "auc_outside": "AUC outside",
    **_TESTED,
    **_RESTS_ON,
}
#: Columns of `paired`; the difference is a - b.
PAIRED_COLUMNS: dict[str, str] = {
    "model_a": "name of the first model",
    "test_a": "test set it was asked about",
    "model_b": "name of the second model",
    "test_b": "test set it was asked about",
    "auc_a": "AUC of the first on the common images",
    "auc_b": "AUC of the second on the common images",
    **_TESTED,
    **_RESTS_ON,
}


def matrix(
    results: Mapping[Key, Predictions], *, positive: str, level: float = 0.95
) -> pd.DataFrame:
    """Return every measure of every model on every test set.

    One row per cell and measure of `MEASURES`, in their order; `MATRIX_COLUMNS`. Intervals
    count patients; nothing is drawn.
    """
    check_level(level)
    rows: list[dict[str, Any]] = []
    for key, predictions in results.items():
        table = PatientTable.of(predictions)
        one = partial(estimate, table, level=level)
        rows += _rows(key, table.classes, positive, one)
    return pd.DataFrame(rows, columns=list(MATRIX_COLUMNS))


def measured(result: Evaluation, key: Key, *, positive: str) -> pd.DataFrame:
    """Return the same rows of one model on one test set that was measured already, as in folds."""
    rows = _rows(key, result.classes, positive, result.get)
    return pd.DataFrame(rows, columns=list(MATRIX_COLUMNS))


def _rows(
    key: Key, classes: Sequence[str], positive: str, one: Callable[[str, str | None], Estimate]
) -> Iterator[dict[str, Any]]:
    for measure in MEASURES:
        class_ = positive if METRICS[measure].per_class else ""
        known = not class_ or class_ in classes
        found = one(measure, class_ or None) if known else undefined(_unknown(positive, classes))
        cell = {"model": key[0], "test": key[1], "measure": measure, "class": class_}
        yield cell | _numbers(found)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    kept = ("value", "low", "high", "n_images", "n_patients", "note")
    return {name: getattr(estimate, name) for name in kept}


def gaps(
    results: Mapping[Key, Predictions],
    *,
    inside: Mapping[str, str],
    positive: str,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return how much AUC each model loses from its own collection's test set to every other.

    The two sets are of other patients (unpaired); where they share some, as merged sets do, their
    covariance counts.

    One row per model and outside test set; `GAP_COLUMNS`. `p_holm` is adjusted over all rows.
    """
    check_level(level)
    rows = []
    for model, own in inside.items():
        tests = [test for name, test in results if name == model]
        if own not in tests:
            raise EvaluationError(
                f"{model!r} has no predictions on its own test set {own!r}; it has: "
                f"{', '.join(map(repr, tests)) or 'none'}. Evaluate it there first."
            )
        for test in tests:
            if test != own:
                one, two = results[model, own], results[model, test]
                names = {"model": model, "inside": own, "outside": test}
                rows.append(names | _compared(one, two, positive, level, ("inside", "outside")))
    return _adjusted(rows, GAP_COLUMNS)


def paired(
    results: Mapping[Key, Predictions],
    pairs: Sequence[tuple[Key, Key]],
    *,
    positive: str,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compare two models' AUCs on the images that both were asked about.

    One row per pair, in their order; `PAIRED_COLUMNS`. `p_holm` is adjusted over all rows.
    """
    check_level(level)
    rows = []
    for a, b in pairs:
        missing = [key for key in (a, b) if key not in results]
        if missing:
            raise EvaluationError(
                f"there are no predictions of {missing[0][0]!r} on {missing[0][1]!r} to compare; "
                "give pairs of cells that are done."
            )
        names = {"model_a": a[0], "test_a": a[1], "model_b": b[0], "test_b": b[1]}
        rows.append(names | _on_common(results[a], results[b], positive, level))
    return _adjusted(rows, PAIRED_COLUMNS)


def _on_common(a: Predictions, b: Predictions, positive: str, level: float) -> dict[str, Any]:
    common = set(a.frame["image"]) & set(b.frame["image"])
    if not common:
        return _row(undefined("no image was predicted by both", level=level), ("a", "b"))
    one, two = (Predictions(t.frame[t.frame["image"].isin(common)]) for t in (a, b))
    row = _compared(one, align(one, two), positive, level, ("a", "b"))
    left = (len(a) - len(common), len(b) - len(common))
    if any(left):
        note = f"{left[0]} images of a and {left[1]} of b are not common to both and left out"
        row["note"] = "; ".join(filter(None, (row["note"], note)))
    # The same images twice: each counts once.
    return row | {"n_images": len(common)}


def _compared(
    a: Predictions, b: Predictions, positive: str, level: float, ends: tuple[str, str]
) -> dict[str, Any]:
    (one, why_one), (two, why_two) = _auc(a, positive), _auc(b, positive)
    values = [math.nan if auc is None else auc.value for auc in (one, two)]
    if one is None or two is None:
        reasons = [
            f"{end}: {why}" for end, why in zip(ends, (why_one, why_two), strict=True) if why
        ]
        return _row(undefined("; ".join(reasons), level=level), ends, values)
    tested = compare_aucs(one, two, level=level)
    images = len(set(a.frame["image"]) | set(b.frame["image"]))
    return _row(replace(tested.difference, n_images=images), ends, values, tested)


def _auc(predictions: Predictions, positive: str) -> tuple[AUC | None, str]:
    """Return the AUC, or None and why there is none."""
    if positive not in predictions.classes:
        return None, _unknown(positive, predictions.classes)
    truth = predictions.y_true == positive
    if truth.all() or not truth.any():
        return None, METRICS["auc"].why_undefined(positive)
    scores = predictions.y_prob[:, predictions.classes.index(positive)]
    groups = predictions.groups
    return AUC.of(predictions.y_true, scores, positive=positive, groups=groups), ""


def _unknown(positive: str, classes: Sequence[str]) -> str:
    return f"the model does not know {positive}, only {', '.join(classes)}"


def _row(
    difference: Estimate,
    ends: tuple[str, str],
    values: Sequence[float] = (math.nan, math.nan),
    tested: AUCDifference | None = None,
) -> dict[str, Any]:
    numbers = _numbers(difference)
    return {
        f"auc_{ends[0]}": values[0],
        f"auc_{ends[1]}": values[1],
        "difference": numbers.pop("value"),
        "p_value": math.nan if tested is None else tested.p_value,
        "method": "none" if tested is None else tested.method,
        **numbers,
    }


def _adjusted(rows: list[dict[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    adjusted = holm([row["p_value"] for row in rows])
    full = [{**row, "p_holm": p} for row, p in zip(rows, adjusted, strict=True)]
    return pd.DataFrame(full, columns=list(columns))
