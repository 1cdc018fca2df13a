"""Two recipes in the same folds: paired differences that allow for other training patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level
from hurdles.evaluation.comparisons import Comparison, compare
from hurdles.evaluation.delong import compare_aucs
from hurdles.evaluation.folds import (
    FoldAnswers,
    evaluate_folds,
    fold_tables,
    training_factor,
    wider_level,
    within_auc,
)

__all__ = ["compare_folds"]


def compare_folds(
    a: FoldAnswers,
    b: FoldAnswers,
    *,
    metrics: Sequence[str] | None = None,
    margins: Mapping[str, float] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare two recipes that were trained and tested in the same folds, measure by measure.

    Parameters
    ----------
    a, b : FoldAnswers
        With the same images in the same folds; the first repeat of each is compared.
    metrics, margins, level, n_resamples, seed
        As for `hurdles.evaluation.comparisons.compare`.

    Returns
    -------
    list of Comparison
        Differences are ``a - b``. AUCs compare images of one fold. Intervals are as much wider, and
        p-values as much larger, as other training patients would make them (the correction that
        Nadeau and Bengio, Mach Learn 2003;52:239-281, made for this); an interval holds zero if and
        only if its p-value is above 1 - level.

    Raises
    ------
    EvaluationError
        If the folds differ, or an average precision is wanted, which has no such interval.
    """
    check_level(level)
    _require_same_folds(a, b)
    if "average_precision" in (metrics or ()):
        raise EvaluationError(
            "average precisions of folds are not compared; compare the AUC, which ranks the same "
            "answers."
        )
    times = math.sqrt(training_factor(a.k))
    wide = wider_level(level, times)
    rows = compare(
        a.pooled(),
        b.pooled(),
        metrics=metrics,
        margins=margins,
        level=wide,
        n_resamples=n_resamples,
        seed=seed,
    )
    ends = [evaluate_folds(replace(each, tests=each.tests[:1], validations=each.validations[:1]),
                           level=level) for each in (a, b)]  # fmt: skip
    which = "" if a.repeats == b.repeats == 1 else ", first repeat"
    done = []
    for row in rows:
        if row.metric == "auc":
            row = _within_folds(row, a, b, wide)
        one, two = (each.get(row.metric, row.class_ or None) for each in ends)
        difference = row.difference
        if difference.is_defined:
            method = f"{difference.method}, {times:.2f} times as wide{which}"
            difference = replace(difference, method=method)
        done.append(
            replace(
                row,
                a=one,
                b=two,
                difference=replace(difference, level=level),
                p_value=corrected_p_value(row.p_value, times),
                p_method=f"{row.p_method}, corrected for folds"
                if row.p_method != "none"
                else "none",
            )
        )
    return done


def corrected_p_value(p_value: float, times: float) -> float:
    """Return the two-sided p-value where the standard error is so many times as large.

    Examples
    --------
    >>> round(corrected_p_value(0.05, 1.5), 3)
    0.191
    """
    from scipy.special import ndtr, ndtri

    return float(2 * ndtr(ndtri(p_value / 2) / times))


def _within_folds(row: Comparison, a: FoldAnswers, b: FoldAnswers, level: float) -> Comparison:
    """Return a row of AUCs that compare images of one fold."""
    aucs = [within_auc(fold_tables(each), row.class_) for each in (a, b)]
    if not row.difference.is_defined or aucs[0] is None or aucs[1] is None:
        return row
    tested = compare_aucs(aucs[0], aucs[1], level=level)
    difference = replace(tested.difference, method=f"{tested.difference.method}, within folds")
    return replace(
        row,
        difference=difference,
        p_value=tested.p_value,
        p_method=f"{tested.method}, within folds",
    )


def _require_same_folds(a: FoldAnswers, b: FoldAnswers) -> None:
    one, two = a.pooled(), b.pooled()
    if one.frame["image"].tolist() != two.frame["image"].tolist():
        raise EvaluationError("the folds are of different images; compare runs of the same.")
    if a.k != b.k or (a.fold_of() != b.fold_of()).any():
        raise EvaluationError(
            "the same images were parted into other folds, so that the networks were not trained "
            "on the same patients. Give both runs the same split.folds and split.seed."
        )
