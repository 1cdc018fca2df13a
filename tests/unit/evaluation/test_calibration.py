"""Calibration error, Brier score, reliability: slow twins, known truths, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_samples import Answers
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import patient_mean
from hurdles.evaluation.calibration import (
    _binned,
    _normal,
    _quantile_is_below,
    _shown,
    brier_error,
    calibration_error,
    plain_calibration_error,
    reliability,
)
from hurdles.evaluation.predictions import Predictions


def table(truth, said, classes="ab", groups=None, kind=Predictions):
    names = [str(i) for i in range(len(truth))]
    return kind.from_arrays(
        list(classes), y_true=list(truth), y_prob=said, images=names, groups=groups or names
    )


def confident(n, seed, *, off=0.0, each=1, kind=Predictions):
    """Return two-class answers whose confidence exceeds the true share of right ones by `off`."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.7, 1, n)
    luck = rng.random(n)[np.arange(n) // each] if each > 1 else rng.random(n)
    truth = np.where(luck < p - off, "a", "b")
    groups = [f"p{i // each}" for i in range(n)]
    return table(truth, np.stack([p, 1 - p], axis=1), groups=groups, kind=kind)


def by_hand(predictions, bins):
    """Return the expected calibration error, one image after another."""
    rows = sorted(
        (max(p), bool(np.array(predictions.classes)[np.argmax(p)] == t))
        for p, t in zip(predictions.y_prob.tolist(), predictions.y_true, strict=True)
    )
    n, total, start = len(rows), 0.0, 0
    for b in range(bins):
        size = n // bins + (b < n % bins)
        part = rows[start : start + size]
        start += size
        total += size / n * abs(sum(p for p, _ in part) - sum(r for _, r in part)) / size
    return total


@settings(max_examples=40)
@given(st.integers(0, 1000), st.integers(1, 12))
def test_the_plain_error_equals_one_image_after_another(seed, bins):
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.ones(3), 40)
    found = table(rng.choice(list("abc"), 40), said, "abc")
    assert plain_calibration_error(found, bins=bins) == pytest.approx(by_hand(found, bins))


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 60))
def test_the_interval_is_one_and_holds_the_estimate(seed, n):
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.ones(2) / 2, n)
    found = calibration_error(table(rng.choice(list("ab"), n), said))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high > found.low


def test_the_estimate_is_less_biased_than_the_plain_error():
    plain, estimated = [], []
    for seed in range(40):
        found = confident(120, seed)  # perfectly calibrated: the true error is 0
        plain.append(plain_calibration_error(found))
        estimated.append(calibration_error(found).value)
    assert np.mean(plain) > 0.05
    assert np.mean(estimated) < 0.5 * np.mean(plain)


def test_perfect_answers_are_not_thought_perfectly_calibrated():
    # 33 of 33 right at 99 %: a share of 90 % is compatible with that, as Wilson says, too.
    said = np.full((33, 2), [0.99, 0.01])
    found = calibration_error(table("a" * 33, said))
    assert found.low == 0
    assert 0.06 < found.high < 0.16


def test_patients_count_not_images():
    once = confident(100, 1, off=0.2)
    frame = once.frame.loc[once.frame.index.repeat(5)].reset_index(drop=True)
    frame["image"] = [f"{name} {i}" for i, name in enumerate(frame["image"])]
    single, fivefold, as_if = (
        calibration_error(one, bins=5)
        for one in (once, Predictions(frame), Predictions(frame.assign(group=frame["image"])))
    )
    assert "500 images worth" in fivefold.method
    assert fivefold.high - fivefold.low > 0.95 * (single.high - single.low)
    assert as_if.high - as_if.low < 0.6 * (single.high - single.low)


def test_the_reliability_curve_is_counted():
    curve = reliability(confident(200, 3))
    assert [point.n for point in curve] == [20] * 10
    assert [p.mean_probability for p in curve] == sorted(p.mean_probability for p in curve)
    assert all(0 <= p.low <= p.share <= p.high <= 1 for p in curve)
    error = np.mean([abs(p.mean_probability - p.share) for p in curve])
    assert error == pytest.approx(plain_calibration_error(confident(200, 3)))
    with pytest.raises(EvaluationError, match="0 bins of 200 images"):
        reliability(confident(200, 3), bins=0)


def test_brier_is_scikit_learns_doubled():
    from sklearn.metrics import brier_score_loss

    found = confident(150, 2)
    expected = 2 * brier_score_loss(found.y_true == "a", found.y_prob[:, 0])
    assert brier_error(found).value == pytest.approx(expected)


def test_a_class_that_the_model_does_not_know_is_an_error():
    found = table(["z", "a"], np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert brier_error(found).value == pytest.approx(1.0)
    assert plain_calibration_error(found) == pytest.approx(0.5)


def test_the_mean_over_patients_is_scipys_where_each_has_one_image():
    from scipy.stats import t

    values = np.random.default_rng(0).normal(3, 2, 25)
    found = patient_mean(values, [str(i) for i in range(25)], level=0.9)
    sem = values.std(ddof=1) / 5
    assert (found.low, found.high) == pytest.approx(t.interval(0.9, 24, values.mean(), sem))


def test_repeating_every_image_of_a_patient_changes_no_interval():
    values, groups = np.arange(10.0) ** 1.5, np.arange(10).astype(str)
    once, thrice = (
        patient_mean(values, groups),
        patient_mean(np.tile(values, 3), np.tile(groups, 3)),
    )
    assert (once.low, once.high) == pytest.approx((thrice.low, thrice.high))
    with pytest.raises(EvaluationError, match="make no mean"):
        patient_mean([1.0, np.nan], ["a", "b"])


@pytest.mark.full
@pytest.mark.parametrize(
    ("n", "off", "each"), [(60, 0, 1), (150, 0, 1), (150, 0.15, 1), (400, 0.1, 1), (300, 0.15, 3)]
)
def test_the_interval_holds_the_true_error(n, off, each):
    held = []
    for seed in range(200):
        found = calibration_error(confident(n, seed, off=off, each=each, kind=Answers))
        held.append(found.low <= off + 1e-12 and off <= found.high)
    # Two standard errors of 200 repeats below 95 %; an interval of 88 % fails 97 times in 100.
    assert np.mean(held) > 0.92


@pytest.mark.parametrize(("n", "bins"), [(60, None), (77, 7), (5, 5), (203, None)])
def test_what_samples_show_is_what_one_bin_after_another_shows(make, n, bins):
    cut, effect, size = _binned(make(n), bins), 1.3, 0.4
    shape = np.linspace(-0.3, 0.5, len(cut.rows))
    true, spread = [], []
    for rows, step, confidence in zip(cut.rows, shape, cut.confidence, strict=True):
        moved = np.clip(cut.probability[rows] + size * step, 0, 1)
        true.append(moved.mean() - confidence)
        spread.append(np.sqrt(effect * (moved * (1 - moved)).sum()) / len(moved))
    error, samples = _shown(cut, effect, shape, size)
    assert error == float(cut.weight @ np.abs(true))
    expected = np.abs(np.array(true) + np.array(spread) * _normal(len(shape))) @ cut.weight
    np.testing.assert_array_equal(samples, expected)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.floats(0, 1), st.integers(-1, 10))
def test_counting_says_what_the_quantile_says(samples, quantile, bound):
    """With ties, and bounds on, between and beyond the samples."""
    drawn = np.array(samples) / 9
    for end in (bound / 9, (bound + 0.5) / 9):
        expected = np.quantile(drawn, quantile) < end
        assert _quantile_is_below(drawn, quantile, end) == expected
