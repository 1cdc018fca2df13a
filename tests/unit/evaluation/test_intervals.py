from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation import intervals
from hurdles.evaluation.bounds import (
    auc_variance,
    design_effect,
    kish,
    mover_difference,
    newcombe_bounds,
    odds_ratio_bounds,
    proportion_bounds,
    wilson,
    wilson_bounds,
)
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import measures
from hurdles.evaluation.intervals import draw_patients, estimate, replicate
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.statistics import PatientTable, together

EVERY = [(m.name, "COVID-19" if m.per_class else None) for m in METRICS.values()]
IDS = list(METRICS)


def by_rows(scikit_learn, table, metric, class_, counts):
    """Compute a measure on rows that are literally repeated as often as their patient was drawn."""
    names = np.unique(table.groups)
    rows = [
        row
        for patient, times in zip(names, counts, strict=True)
        for row in np.flatnonzero(table.groups == patient).tolist() * int(times)
    ]
    second = table.y_pred[rows]
    if metric == "balanced_accuracy" and set(table.y_true) - set(table.y_true[rows]):
        return math.nan  # a class that the set has, and the resample has not
    if metric in ("auc", "average_precision"):
        second = table.y_prob[rows, table.classes.index(class_)]
    return scikit_learn(metric, table.y_true[rows], second, class_)


@pytest.mark.parametrize(("metric", "class_"), EVERY, ids=IDS)
@pytest.mark.parametrize("images_each", [1, 3])
def test_resamples_equal_literally_repeated_rows(make, scikit_learn, metric, class_, images_each):
    table = make(30, images_each=images_each, prior=(0.1, 0.5, 0.4))
    numbered = PatientTable.of(table)
    drawn = np.concatenate(list(draw_patients(numbered.n_patients, 60, seed=5)))
    fast = numbered.statistic(metric, class_).at(drawn)
    slow = np.array([by_rows(scikit_learn, table, metric, class_, counts) for counts in drawn])
    np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
    # Ours are of whole numbers; scikit-learn sums up trapezoids, and takes means otherwise.
    summed = ("auc", "average_precision", "balanced_accuracy", "miss_rate", "diagnostic_odds_ratio")
    exact = metric not in summed
    tolerance = 0.0 if exact else 1e-13
    np.testing.assert_allclose(fast, slow, rtol=0, atol=tolerance)
    if class_ and images_each == 3 and metric in ("sensitivity", "f1", "auc"):
        assert np.isnan(slow).any(), "the rare class must be missing from some resample"


def test_ties_in_the_scores_count_one_half_in_every_resample(make, scikit_learn):
    table = make(40)
    frame = table.frame.copy()
    rounded = np.round(table.y_prob * 4) / 4
    rounded[:, 2] = 1 - rounded[:, 0] - rounded[:, 1]
    keep = (rounded >= 0).all(axis=1)
    for i, c in enumerate(table.classes):
        frame[f"p:{c}"] = rounded[:, i]
    tied = type(table)(frame[keep].reset_index(drop=True))
    numbered = PatientTable.of(tied)
    drawn = np.concatenate(list(draw_patients(numbered.n_patients, 40, seed=1)))
    slow = [by_rows(scikit_learn, tied, "auc", "Normal", counts) for counts in drawn]
    np.testing.assert_allclose(numbered.statistic("auc", "Normal").at(drawn), slow, atol=1e-14)


def test_draws_do_not_depend_on_the_size_of_blocks(monkeypatch):
    whole = np.concatenate(list(draw_patients(7, 50, seed=3)))
    monkeypatch.setattr(intervals, "_CELLS", 21)
    blocks = list(draw_patients(7, 50, seed=3))
    assert len(blocks) == 17
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    assert (whole.sum(axis=1) == 7).all()


# -- Wilson --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (416, 436, 0.930, 0.970),  # the accuracy of the published table
        (81, 263, 0.2553, 0.3662),  # Newcombe, Stat Med 1998;17:857-872, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
        (33, 33, 0.8957, 1.0000),
    ],
)
def test_wilson_agrees_with_published_values(successes, n, low, high):
    found = wilson(successes, n)
    digits = 3 if n == 436 else 4
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)
    assert found.method == "Wilson"


@given(st.integers(1, 300), st.data())
def test_wilson_holds_its_value_and_mirrors(n, data):
    k = data.draw(st.integers(0, n))
    low, high = wilson_bounds(k / n, n)
    assert 0 <= low <= k / n <= high <= 1
    assert low < high
    mirrored = wilson_bounds((n - k) / n, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_impossible_counts_and_levels_are_refused():
    with pytest.raises(EvaluationError, match="34 of 33"):
        wilson(34, 33)
    with pytest.raises(EvaluationError, match="level is 95"):
        wilson(1, 2, level=95)
    assert str(wilson(0, 0)) == "undefined (there is no image)"


# -- patients ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "class_"), EVERY, ids=IDS)
def test_five_copies_of_every_image_do_not_narrow_the_interval(make, repeat_images, metric, class_):
    """Where images were taken for patients, the interval would shrink by the root of five."""
    once = make(150, skill=1.2)
    widths = []
    for table in (once, repeat_images(once, 5)):
        found = estimate(PatientTable.of(table), metric, class_)
        widths.append(found.high - found.low)
    # Student's quantile of an area's images in clusters adds a little for the 19 patients.
    wider = 1.1 if metric == "auc" else 1.06
    assert 0.94 * widths[0] < widths[1] < wider * widths[0]
    # The guard itself: the same copies, each as a patient of its own, do narrow it.
    alone = repeat_images(once, 5)
    frame = alone.frame.assign(group=alone.frame["image"])
    narrow = estimate(PatientTable.of(type(alone)(frame)), metric, class_)
    assert narrow.high - narrow.low < 0.6 * widths[0]


def test_all_right_counts_every_patient_once(answers):
    found = estimate(PatientTable.of(answers([True] * 33)), "sensitivity", "x")
    assert (found.low, found.high) == pytest.approx((0.8957, 1.0), abs=1e-4)
    ten = answers([True] * 33, groups=[i % 11 for i in range(33)])
    found = estimate(PatientTable.of(ten), "sensitivity", "x")
    assert found.low == pytest.approx(wilson(11, 11).low)
    assert (found.n_images, found.n_patients) == (33, 11)
    assert "33 images worth 11.0" in found.method


def test_a_better_result_never_has_a_lower_bound(answers):
    groups = [i // 3 for i in range(300)]
    lows = []
    for wrong in range(8):
        right = np.ones(300, dtype=bool)
        right[: 3 * wrong : 3] = False
        lows.append(estimate(PatientTable.of(answers(right, groups)), "accuracy").low)
    assert lows == sorted(lows, reverse=True)


def test_one_patient_is_worth_one_image(answers):
    found = estimate(PatientTable.of(answers([1, 1, 1, 0], groups=[0] * 4)), "accuracy")
    assert (found.low, found.high) == pytest.approx(wilson_bounds(0.75, 1))


def test_design_effect_lies_between_independence_and_the_worst_case():
    rng = np.random.default_rng(0)
    whole = np.full(400, 4.0)
    alone = rng.binomial(4, 0.7, 400).astype(float)
    agreed = 4.0 * rng.binomial(1, 0.7, 400)
    assert design_effect(alone, whole) == pytest.approx(1, abs=0.25)
    assert design_effect(agreed, whole) == pytest.approx(4, abs=0.1)
    assert design_effect(alone > 2, np.ones(400)) == 1
    assert kish(np.array([3, 1])) == 1.6


# -- where a bootstrap could not speak ------------------------------------------------------------


@pytest.mark.parametrize("metric", ["balanced_accuracy", "f1", "auc"])
def test_a_perfect_model_keeps_an_honest_lower_bound(make, metric):
    class_ = "COVID-19" if METRICS[metric].per_class else None
    found = estimate(PatientTable.of(make(100, skill=50)), metric, class_)
    assert found.value == 1.0
    assert found.high == 1.0
    assert 0.8 < found.low < 0.99


def test_perfect_auc_of_repeated_images_counts_patients(make, repeat_images):
    once = make(40, skill=50)
    one, five = (
        estimate(PatientTable.of(t), "auc", "Normal") for t in (once, repeat_images(once, 5))
    )
    assert (five.low, five.high) == (one.low, one.high)
    assert one.method == "Newcombe, each patient once"


def test_a_class_of_one_image_has_an_interval(make):
    table = make(30, seed=3)
    frame = table.frame.copy()
    frame["label"] = ["COVID-19"] + ["Normal"] * 29
    found = estimate(PatientTable.of(type(table)(frame)), "sensitivity", "COVID-19")
    assert found.method == "Wilson"
    assert found.low < found.high
    area = estimate(PatientTable.of(type(table)(frame)), "auc", "COVID-19")
    assert area.method == "Newcombe, each patient once"
    assert area.low < area.value < area.high


def test_a_measure_that_does_not_exist_says_why(answers):
    table = PatientTable.of(answers([True] * 5))
    assert str(estimate(table, "sensitivity", "y")) == "undefined (no image of y in the set)"
    assert str(estimate(table, "specificity", "x")) == "undefined (every image is of x)"
    assert str(estimate(table, "ppv", "y")) == "undefined (no image is predicted as y)"
    assert "both images of x and of other" in str(estimate(table, "auc", "x"))
    assert not estimate(table, "f1", "y").is_defined


def test_wrong_questions_are_refused(make):
    table = PatientTable.of(make(20))
    with pytest.raises(EvaluationError, match="'Measles' is not a class"):
        estimate(table, "auc", "Measles")
    with pytest.raises(EvaluationError, match="accuracy is of all classes"):
        estimate(table, "accuracy", "Normal")
    with pytest.raises(EvaluationError, match="at least 20"):
        replicate([table.statistic("accuracy")], 20, n_resamples=3)
    with pytest.raises(EvaluationError, match="no metric is called 'recall'"):
        estimate(table, "recall")


# -- the other closed forms ----------------------------------------------------------------------


def test_auc_bounds_are_where_the_score_test_turns():
    value, m, n = 0.85, 30, 50
    for bound in newcombe_bounds(value, m, n):
        z = abs(value - bound) / math.sqrt(auc_variance(bound, m, n))
        assert z == pytest.approx(1.959964, abs=1e-5)


def test_auc_bounds_agree_with_hanley_and_mcneil_in_the_middle():
    low, high = newcombe_bounds(0.70, 100, 100)
    assert (low, high) == pytest.approx((0.63, 0.77), abs=0.01)


@given(st.floats(0, 1), st.integers(1, 200), st.integers(1, 200), st.floats(1, 10))
def test_auc_bounds_hold_the_value_and_mirror(value, m, n, inflation):
    low, high = newcombe_bounds(value, m, n, inflation=inflation)
    assert -1e-9 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1 + 1e-9
    assert newcombe_bounds(1 - value, n, m, inflation=inflation) == pytest.approx(
        (1 - high, 1 - low)
    )


def test_image_variance_equals_delong_by_pairs(make):
    table = PatientTable.of(make(40))
    scores, truth = table.prob[:, 1], table.truth == "Normal"
    wins = (scores[truth][:, None] > scores[~truth]).astype(float)
    expected = wins.mean(axis=1).var(ddof=1) / truth.sum()
    expected += wins.mean(axis=0).var(ddof=1) / (~truth).sum()
    assert table.statistic("auc", "Normal").image_variance() == pytest.approx(expected)


def uneven(spread):
    """Return 30 positives whose scores vary `spread` times as much as those of 90 negatives."""
    rng = np.random.default_rng(0)
    truth = np.repeat(["x", "y"], [30, 90])
    score = rng.normal(size=120) * np.where(truth == "x", spread, 1) + 2.5 * (truth == "x")
    prob = 1 / (1 + np.exp(-score))
    columns = np.column_stack([prob, 1 - prob])
    return PatientTable(("x", "y"), truth, truth, columns, np.arange(120), 120)


def test_auc_interval_widens_with_what_the_patients_show_and_never_narrows():
    for spread, wider in ((0.3, False), (3.0, True)):
        found = estimate(uneven(spread), "auc", "x")
        low, high = newcombe_bounds(found.value, 30, 90)
        ratio = (found.high - found.low) / (high - low)
        assert ratio > 1.1 if wider else ratio == pytest.approx(1)


def test_odds_ratio_bounds_agree_with_woolf_and_open_where_a_count_is_zero():
    one = np.ones(100)
    right = (np.arange(100) < 80).astype(float)
    low, high = odds_ratio_bounds((right[60:], one[60:]), (right, one))  # 20 of 40; 80 of 100
    error = math.sqrt(1 / 20 + 1 / 20 + 1 / 80 + 1 / 20)
    assert (low, high) == pytest.approx([4 * math.exp(k * 1.959964 * error) for k in (-1, 1)])
    assert odds_ratio_bounds((one, one), (right, one))[1] == math.inf
    assert odds_ratio_bounds((0 * one, one), (right, one))[0] == 0.0
    assert odds_ratio_bounds((one, one), (0 * one, one)) == (0.0, math.inf)


def test_f1_interval_is_that_of_the_proportion_behind_it(make):
    table = make(80)
    found = estimate(PatientTable.of(table), "f1", "Normal")
    both = (table.y_true == "Normal") & (table.y_pred == "Normal")
    either = (table.y_true == "Normal") | (table.y_pred == "Normal")
    low, high = wilson_bounds(both.sum() / either.sum(), either.sum())
    assert (found.low, found.high) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))


def test_mover_of_independent_proportions_is_newcombes_interval():
    # Newcombe, Stat Med 1998;17:873-890, table II: 56/70 - 48/80, method 10.
    a, b = wilson(56, 70), wilson(48, 80)
    assert mover_difference(a, b, 0.0) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_mover_narrows_with_correlation():
    a = Estimate(0.9, 0.8, 0.95, 0.95, "", 50, 50)
    wide, narrow = mover_difference(a, a, 0.0), mover_difference(a, a, 0.8)
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_replicates_share_their_draws(make):
    table = PatientTable.of(make(50))
    once = table.statistic("accuracy")
    one, two = replicate([once, once], table.n_patients, n_resamples=100, seed=4)
    np.testing.assert_array_equal(one, two)


@pytest.mark.full
def test_coverage_of_clustered_proportions_is_near_nominal():
    """Wilson by image holds the truth in two sets of three here; by patient in 19 of 20."""
    rng = np.random.default_rng(0)
    whole = np.resize([1.0, 2, 3, 4, 5], 60)
    held = {"patient": 0, "image": 0}
    for _ in range(2000):
        chance = rng.beta(0.9 / 9, 0.1 / 9, size=60)  # mean 0.9, correlation 0.9
        part = rng.binomial(whole.astype(int), chance).astype(float)
        by_image = wilson_bounds(part.sum() / whole.sum(), whole.sum())
        for name, bounds in (("patient", proportion_bounds(part, whole)), ("image", by_image)):
            held[name] += bounds[0] <= 0.9 <= bounds[1]
    assert 0.92 <= held["patient"] / 2000 <= 0.99
    assert held["image"] / 2000 < 0.8


def test_all_measures_of_one_pass_are_to_the_bit_those_of_one_each(make):
    table = PatientTable.of(make(120, images_each=3))
    statistics = [table.statistic(*m) for m in measures(table.classes)]
    drawn = next(draw_patients(table.n_patients, 50, seed=1))
    for fast, statistic in zip(together(statistics)(drawn), statistics, strict=True):
        assert np.array_equal(fast, statistic.at(drawn), equal_nan=True)
