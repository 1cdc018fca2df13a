"""Recipes compared in the same folds: as without folds, and as much surer as folds allow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import compare
from hurdles.evaluation.fold_comparisons import compare_folds, corrected_p_value
from hurdles.evaluation.folds import FoldAnswers, evaluate_folds
from hurdles.evaluation.predictions import Predictions


def folds(seed: int, *, apart=1.0, k=5, patients=120, moved=0.0, turned=0) -> FoldAnswers:
    """Answers whose folds are the same for every seed, with scores `moved` apart by fold."""
    rng = np.random.default_rng(seed)
    sick = np.arange(patients) < patients // 2
    fold = (np.arange(patients) + turned) % k
    score = apart * sick + rng.normal(size=patients) - apart / 2 + moved * fold

    def table(rows) -> Predictions:
        p = 1 / (1 + np.exp(-score[rows]))
        names = [f"i{n:03}" for n in np.flatnonzero(rows)]
        return Predictions.from_arrays(
            ["sick", "well"],
            y_true=np.where(sick[rows], "sick", "well").tolist(),
            y_prob=np.column_stack([p, 1 - p]),
            images=names,
            groups=names,
        )

    tests = tuple(table(fold == number) for number in range(k))
    held = tuple(table(fold == (number + 1) % k) for number in range(k))
    return FoldAnswers((tests,), (held,))


def test_p_values_are_those_of_a_larger_standard_error():
    for p in (0.9, 0.05, 1e-6):
        z = norm.isf(p / 2)
        assert corrected_p_value(p, 1.5) == pytest.approx(2 * norm.sf(z / 1.5))
    assert corrected_p_value(1.0, 1.5) == 1.0
    assert np.isnan(corrected_p_value(np.nan, 1.5))


def test_differences_are_those_without_folds_and_less_sure():
    a, b = folds(0, apart=2.2), folds(1, apart=0.8)
    plain = {(r.metric, r.class_): r for r in compare(a.pooled(), b.pooled(), n_resamples=400)}
    rows = compare_folds(a, b, n_resamples=400)
    assert {(r.metric, r.class_) for r in rows} == set(plain)
    for row in rows:
        other = plain[row.metric, row.class_]
        if row.metric != "auc":
            assert row.difference.value == pytest.approx(other.difference.value)
        assert row.p_value > other.p_value
        wide = row.difference.high - row.difference.low
        assert wide > 1.25 * (other.difference.high - other.difference.low)
        assert (row.difference.low <= 0 <= row.difference.high) == (row.p_value > 0.05)
        assert row.a == evaluate_folds(a).get(row.metric, row.class_ or None)


def test_areas_compare_images_of_one_fold():
    a, b = folds(0, apart=1.5), folds(1, apart=1.5)
    moved = folds(0, apart=1.5, moved=5.0)
    (plain,) = compare_folds(a, b, metrics=["auc"])[:1]
    (same,) = compare_folds(moved, b, metrics=["auc"])[:1]
    assert same.difference.value == pytest.approx(plain.difference.value)
    assert same.p_value == pytest.approx(plain.p_value)
    naive = compare(moved.pooled(), b.pooled(), metrics=["auc"])[0]
    assert naive.difference.value < same.difference.value - 0.1


def test_one_model_differs_from_itself_by_nothing():
    a = folds(0)
    assert {row.difference.value for row in compare_folds(a, a, n_resamples=100)} == {0.0}
    assert {row.p_value for row in compare_folds(a, a, n_resamples=100)} == {1.0}


def test_other_folds_are_refused():
    a = folds(0)
    with pytest.raises(EvaluationError, match="parted into other folds"):
        compare_folds(a, folds(1, turned=1))
    with pytest.raises(EvaluationError, match="parted into other folds"):
        compare_folds(a, folds(1, k=4))
    with pytest.raises(EvaluationError, match="different images"):
        compare_folds(a, folds(1, patients=100))
    with pytest.raises(EvaluationError, match="are not compared"):
        compare_folds(a, a, metrics=["average_precision"])
