"""Calibration slope and intercept: against scikit-learn and statsmodels' formulas, and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_samples import Answers

from hurdles.errors import EvaluationError
from hurdles.evaluation.calibration import calibration_intercept, calibration_slope
from hurdles.evaluation.predictions import Predictions


def drawn(n, slope, seed, *, classes="ab", each=1, shared=0.0, kind=Predictions):
    """Return probabilities whose logarithms must be multiplied by `slope` to be true.

    With `shared`, that part of a patient's images have one and the same luck.
    """
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (n, len(classes)))
    if len(classes) == 2:
        z[:, 1] = 0
    true = np.exp(slope * z)
    true /= true.sum(axis=1, keepdims=True)
    patient = np.arange(n) // each
    luck = np.where(rng.random(n) < shared, rng.random(n)[patient], rng.random(n))
    truth = np.array(list(classes))[(luck[:, None] > true.cumsum(axis=1)).sum(axis=1)]
    said = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return table(truth, said, classes, [f"p{g}" for g in patient], kind)


def table(truth, said, classes="ab", groups=None, kind=Predictions):
    names = [str(i) for i in range(len(truth))]
    return kind.from_arrays(
        list(classes), y_true=list(truth), y_prob=said, images=names, groups=groups or names
    )


@pytest.mark.parametrize("classes", ["ab", "abc"])
def test_the_slope_is_what_a_plain_optimiser_finds(classes):
    from scipy.optimize import minimize

    found = drawn(200, 0.6, 3, classes=classes)
    logs, k = np.log(found.y_prob), len(classes)
    truth = np.array([classes.index(c) for c in found.y_true])

    def surprise(theta):
        z = theta[0] * logs + np.concatenate([[0.0], theta[1:]])
        return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), truth]).sum()

    expected = minimize(surprise, np.r_[1.0, np.zeros(k - 1)], tol=1e-12).x[0]
    assert calibration_slope(found).value == pytest.approx(expected, abs=1e-5)


def test_the_interval_is_that_of_a_logistic_regression_with_one_image_a_patient():
    # Inverse of the information of logit(P) = a + b logit(p), computed the textbook way.
    found = drawn(400, 0.7, 8)
    x = np.log(found.y_prob[:, 1] / found.y_prob[:, 0])
    slope = calibration_slope(found)
    intercept = brentq_intercept(x, slope.value, found.y_true == "b")
    p = 1 / (1 + np.exp(-(intercept + slope.value * x)))
    design = np.stack([np.ones_like(x), x], axis=1)
    naive = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    scores = design * ((found.y_true == "b") - p)[:, None]
    robust = naive @ scores.T @ scores @ naive * 400 / 399
    from scipy.stats import t

    error = np.sqrt(max(naive[1, 1], robust[1, 1]))
    assert slope.high - slope.value == pytest.approx(t.ppf(0.975, 399) * error, rel=1e-6)


def brentq_intercept(x, slope, is_b):
    from scipy.optimize import brentq

    return brentq(lambda a: (is_b - 1 / (1 + np.exp(-(a + slope * x)))).sum(), -9, 9, xtol=1e-13)


def test_patients_with_several_alike_images_widen_the_interval():
    once = drawn(150, 1, 5)
    frame = once.frame.loc[once.frame.index.repeat(4)].reset_index(drop=True)
    frame["image"] = [f"{name} {i}" for i, name in enumerate(frame["image"])]
    alike = Predictions(frame)
    single, fourfold = calibration_slope(once), calibration_slope(alike)
    assert fourfold.value == pytest.approx(single.value)
    assert fourfold.n_patients == single.n_patients
    assert fourfold.high - fourfold.low > 0.93 * (single.high - single.low)
    as_if = Predictions(frame.assign(group=frame["image"]))
    taken_for_independent = calibration_slope(as_if)
    assert taken_for_independent.high - taken_for_independent.low < 0.6 * (single.high - single.low)


def test_perfect_separation_has_no_slope():
    said = np.array([[0.9, 0.1]] * 20 + [[0.2, 0.8]] * 20)
    found = calibration_slope(table(["a"] * 20 + ["b"] * 20, said))
    assert not found.is_defined
    assert "separate the classes perfectly" in found.note
    three = np.full((30, 3), 0.1) + 0.7 * np.repeat(np.eye(3), 10, axis=0)
    assert not calibration_slope(table("a" * 10 + "b" * 10 + "c" * 10, three, "abc")).is_defined


@pytest.mark.parametrize(
    ("truth", "said", "why"),
    [
        ("aaaa", [[0.6, 0.4]] * 4, "two classes"),
        ("abab", [[0.6, 0.4]] * 4, "the same probabilities"),
    ],
)
def test_what_has_no_slope_says_why(truth, said, why):
    assert why in calibration_slope(table(truth, np.array(said))).note


def test_certain_answers_are_finite():
    said = np.array([[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20)
    found = calibration_slope(table("a" * 18 + "b" * 20 + "a" * 2, said))
    assert 0 < found.value < 0.5
    assert np.isfinite([found.low, found.high]).all()


def test_an_absent_class_is_taken_to_be_impossible():
    three = drawn(200, 0.7, 2, classes="abc")
    rows = three.y_true != "c"
    left = Predictions(three.frame[rows])
    p = left.y_prob[:, :2] / left.y_prob[:, :2].sum(axis=1, keepdims=True)
    assert calibration_slope(left).value == pytest.approx(
        calibration_slope(table(left.y_true, p)).value
    )


def test_the_intercept_makes_the_expected_number_the_true_one():
    found = drawn(300, 1, 4, classes="abc")
    shift = calibration_intercept(found, "b").value
    p = found.y_prob[:, 1]
    moved = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + shift)))
    assert moved.sum() == pytest.approx((found.y_true == "b").sum())
    assert not calibration_intercept(table("aa", np.full((2, 2), 0.5)), "b").is_defined
    with pytest.raises(EvaluationError, match="no class 'd'; its classes are a, b, c"):
        calibration_intercept(found, "d")


@pytest.mark.full
@pytest.mark.parametrize(
    ("n", "slope", "classes", "each", "shared"),
    [(60, 1, "ab", 1, 0), (150, 0.5, "ab", 1, 0), (150, 1, "abc", 1, 0), (300, 1, "ab", 3, 0.8)],
)
def test_the_interval_holds_the_truth(n, slope, classes, each, shared):
    held = []
    for seed in range(400):
        said = drawn(n, slope, seed, classes=classes, each=each, shared=shared, kind=Answers)
        found = calibration_slope(said)
        held.append(found.low <= slope <= found.high)
    # Three standard errors of 400 repeats below 95 %.
    assert np.mean(held) > 0.917


def test_answers_without_a_table_are_judged_as_those_with_one():
    """The simulations above, and those of other measures, rest on it."""
    one, other = (drawn(60, 1, 5, classes="abc", each=2, kind=k) for k in (Predictions, Answers))
    assert calibration_slope(one) == calibration_slope(other)


def test_inverted_and_barely_parted_classes_are_not_called_perfect():
    """Each is said in its own true words."""
    upright = np.array([[0.9, 0.1], [0.7, 0.3], [0.4, 0.6], [0.2, 0.8]] * 5)
    perfect = table("aabb" * 5, upright)
    inverted = table("bbaa" * 5, upright)
    notes = [calibration_slope(t).note for t in (perfect, inverted)]
    assert notes[0].endswith("separate the classes perfectly, rightly: no slope is largest")
    assert notes[1].endswith("the classes perfectly, the wrong way round: no slope is smallest")
    # Two images, one of each class, share the probability at which the classes would be parted.
    tied = np.array([[0.9, 0.1], [0.5, 0.5], [0.5, 0.5], [0.2, 0.8]] * 5)
    for truth, how in (("aabb", "rightly"), ("bbaa", "the wrong way round")):
        note = calibration_slope(table(truth * 5, tied)).note
        assert "perfectly" not in note
        assert "but for images of several classes that have the very same ones" in note
        assert how in note
    crossed = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]] * 5)
    assert calibration_slope(table("aabb" * 5, crossed)).is_defined


def test_three_classes_may_be_parted_by_factors_that_two_by_two_would_not_show():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 10)
    logits = 3.0 * np.eye(3)[truth] + rng.uniform(-1, 1, (30, 3)) + [0, 4, -4]
    said = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = np.array(list("abc"))[truth]
    assert (names != np.array(list("abc"))[said.argmax(axis=1)]).any(), "not right as it stands"
    assert "perfectly, rightly" in calibration_slope(table(names, said, "abc")).note


def test_hard_answers_have_no_intercept_and_their_slope_says_where_they_were_cut():
    hard = np.array([[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 20)
    truth = "a" * 18 + "b" * 20 + "a" * 2
    found = calibration_intercept(table(truth, hard), "a")
    assert not found.is_defined
    assert found.note == "40 of 40 probabilities of 'a' are 0 or 1: log-odds are infinite"
    slope = calibration_slope(table(truth, hard))
    assert slope.note == "40 images have a probability of 0 or 1, taken for 1e-06 from there"


def test_a_few_certain_and_right_answers_change_nothing():
    soft = drawn(200, 1, 4)
    frame = soft.frame.copy()
    sure = np.flatnonzero(frame["label"] == "a")[:5]
    frame.loc[sure, ["p:a", "p:b"]] = [1.0, 0.0]
    found = calibration_intercept(Predictions(frame), "a")
    assert found.is_defined
    assert found.high - found.low < 1.5


def test_two_patients_have_no_intercept():
    two = table("abab", np.array([[0.6, 0.4]] * 4), groups=["p", "p", "q", "q"])
    assert calibration_intercept(two, "a").note == "images of three patients are needed"
