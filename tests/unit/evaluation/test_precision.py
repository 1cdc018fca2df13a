"""Average precision: its jackknife by patient beside a slow one, its interval beside the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.intervals import estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import PatientTable, PrecisionCurve


@given(st.integers(2, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_variance_is_that_of_small_changes_of_one_patient_at_a_time(n, seed):
    rng = np.random.default_rng(seed)
    truth, scores = rng.random(n) < 0.4, rng.integers(0, 6, n) / 5
    truth[0] = True
    patients = np.unique(rng.integers(0, n, n), return_inverse=True)[1]
    curve, count = PrecisionCurve.of(truth, scores, patients), patients.max() + 1
    weights, step = np.eye(count), 1e-5
    moves = (curve.at(1 + step * weights) - curve.at(1 - step * weights)) / (2 * step)
    if count == 1:
        assert math.isnan(curve.variance())
        return
    assert moves.sum() == pytest.approx(0, abs=1e-6)
    assert curve.variance() == pytest.approx(count / (count - 1) * (moves @ moves), abs=1e-6)


def test_the_value_is_that_of_scikit_learn_with_ties(make):
    table = make(200, images_each=2)
    found = evaluate(table)
    for column, class_ in enumerate(table.classes):
        theirs = average_precision_score(table.y_true == class_, table.y_prob[:, column])
        assert found.get("average_precision", class_).value == pytest.approx(theirs, abs=1e-12)


def test_copies_of_images_narrow_nothing(make, repeat_images):
    once = make(60)
    for class_ in once.classes:
        one, often = (
            evaluate(table).get("average_precision", class_)
            for table in (once, repeat_images(once, 4))
        )
        assert often.value == pytest.approx(one.value)
        assert often.high - often.low > 0.98 * (one.high - one.low)


def test_a_perfect_model_and_one_patient_have_an_interval():
    def table(groups):
        prob = np.array([[0.9, 0.1]] * 3 + [[0.1, 0.9]] * 5)
        return Predictions.from_arrays(
            ["x", "y"], y_true=["x"] * 3 + ["y"] * 5, y_prob=prob,
            images=list("abcdefgh"), groups=groups,
        )  # fmt: skip

    for groups in (list("abcdefgh"), ["one"] * 8):
        one = evaluate(table(groups)).get("average_precision", "x")
        assert one.value == one.high == 1
        assert one.low < 0.5
    gone = evaluate(Predictions(table(list("abcdefgh")).frame.iloc[3:].reset_index(drop=True)))
    assert gone.get("average_precision", "x").note == "no image of x in the set"


def test_the_interval_holds_the_truth_where_percentiles_do_not():
    """20 patients of the class and 100 others, three images each; AUC 0.99. The bench has more."""
    from scipy.special import ndtr, ndtri

    rng, shift, held = np.random.default_rng(0), math.sqrt(2) * ndtri(0.99), []
    z = np.linspace(-9, 9, 20001)
    right, mass = 20 * ndtr(-z), np.exp(-z * z / 2)
    truth = float((mass * right / (right + 100 * ndtr(-z - shift))).sum() / mass.sum())
    codes = np.repeat(np.arange(120), 3)
    sick, names = codes < 20, np.where(codes < 20, "x", "y")
    for _ in range(200):
        score = math.sqrt(0.8) * rng.normal(size=120)[codes] + math.sqrt(0.2) * rng.normal(size=360)
        p = 1 / (1 + np.exp(-(score + shift * sick)))
        table = PatientTable(("x", "y"), names, names, np.column_stack([p, 1 - p]), codes, 120)
        found = estimate(table, "average_precision", "x")
        held.append(found.low <= truth <= found.high)
    assert np.mean(held) > 0.93
