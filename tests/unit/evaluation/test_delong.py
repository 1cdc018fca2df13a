from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from hurdles.errors import EvaluationError
from hurdles.evaluation.delong import (
    AUC,
    auc_bounds,
    compare_aucs,
    joint_covariance,
    logit_bounds,
    reach_apart,
)


@st.composite
def scored(draw: st.DrawFn):
    """Truth, tied scores of two models, and patients, some with images of both classes."""
    n = draw(st.integers(6, 24))
    cells = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    truth[:4] = [True, True, False, False]
    groups = np.array(draw(st.lists(st.integers(0, 8), min_size=n, max_size=n)))
    groups[:4] = [90, 91, 92, 93]  # at least two patients on either side
    return truth, np.array(draw(cells), float), np.array(draw(cells), float), groups


def area(truth, scores, groups=None):
    labels = np.where(truth, "x", "y")
    names = None if groups is None else np.asarray(groups).astype(str)
    return AUC.of(labels, scores, positive="x", groups=names)


def pairs(truth, scores):
    """Return which positive (row) beats which negative (column): the obvious O(n^2) way."""
    up, down = scores[truth][:, None], scores[~truth][None, :]
    return (up > down) + 0.5 * (up == down)


def slow_covariance(truth, one, two, groups):
    """Obuchowski's formulas, patient by patient."""
    up, down = groups[truth], groups[~truth]
    sums = []
    for scores in (one, two):
        wins = pairs(truth, scores)
        theta = wins.mean()
        sums.append(
            {
                g: (
                    sum(wins.mean(axis=1)[i] - theta for i in np.flatnonzero(up == g)),
                    sum(wins.mean(axis=0)[j] - theta for j in np.flatnonzero(down == g)),
                )
                for g in set(groups)
            }
        )
    m, n, i10, i01, i = len(up), len(down), len(set(up)), len(set(down)), len(set(groups))
    s10 = i10 / ((i10 - 1) * m) * sum(sums[0][g][0] * sums[1][g][0] for g in set(groups))
    s01 = i01 / ((i01 - 1) * n) * sum(sums[0][g][1] * sums[1][g][1] for g in set(groups))
    s11, s11_other = (
        i / (i - 1) * sum(sums[k][g][0] * sums[1 - k][g][1] for g in set(groups)) for k in (0, 1)
    )
    return s10 / m + s01 / n + (s11 + s11_other) / (m * n)


@given(scored())
@settings(deadline=None)
def test_value_variance_and_covariance_equal_the_slow_versions(drawn):
    truth, one, two, groups = drawn
    a, b = area(truth, one, groups), area(truth, two, groups)
    assert a.value == pytest.approx(pairs(truth, one).mean())
    assert a.variance == pytest.approx(slow_covariance(truth, one, one, groups), abs=1e-12)
    assert a.covariance(b) == pytest.approx(slow_covariance(truth, one, two, groups), abs=1e-12)
    assert a.covariance(b) == pytest.approx(b.covariance(a), abs=1e-15)


@given(scored())
@settings(deadline=None)
def test_with_one_image_per_patient_it_is_delong(drawn):
    truth, scores, _, _ = drawn
    wins = pairs(truth, scores)
    expected = wins.mean(axis=1).var(ddof=1) / truth.sum()
    expected += wins.mean(axis=0).var(ddof=1) / (~truth).sum()
    assert area(truth, scores).variance == pytest.approx(expected, abs=1e-12)


@given(scored())
@settings(deadline=None)
def test_only_the_order_of_scores_counts_and_turning_them_mirrors(drawn):
    truth, scores, _, groups = drawn
    a, warped, turned = (area(truth, s, groups) for s in (scores, np.exp(scores) - 3, -scores))
    assert (warped.value, warped.variance) == (a.value, a.variance)
    assert turned.value == pytest.approx(1 - a.value)
    assert turned.variance == pytest.approx(a.variance, abs=1e-12)


def clustered(seed=0, patients=60, images=3, shift=1.2, mixed=True):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), images)
    sick = rng.random(len(groups)) < 0.4 if mixed else np.repeat(rng.random(patients) < 0.4, images)
    noise = rng.normal(size=patients)[groups] + 0.5 * rng.normal(size=len(groups))
    return sick, shift * sick + noise, groups


@pytest.mark.parametrize("mixed", [True, False])
def test_the_variance_is_what_a_jackknife_and_a_bootstrap_over_patients_see(mixed):
    truth, scores, groups = clustered(mixed=mixed)
    a, names = area(truth, scores, groups), np.unique(groups)
    left_out = [pairs(truth[groups != g], scores[groups != g]).mean() for g in names]
    jackknife = (len(names) - 1) / len(names) * ((left_out - np.mean(left_out)) ** 2).sum()
    assert a.variance == pytest.approx(jackknife, rel=0.05)
    rng, rows = np.random.default_rng(1), {g: np.flatnonzero(groups == g) for g in names}
    values = []
    for _ in range(1000):
        picked = np.concatenate([rows[g] for g in rng.choice(names, len(names))])
        values.append(pairs(truth[picked], scores[picked]).mean())
    assert a.variance == pytest.approx(np.var(values), rel=0.2)


def test_taking_images_for_patients_would_be_too_sure():
    """Planted fault: the same images without their patients; the guard must notice."""
    truth, scores, groups = clustered(mixed=False)
    honest, fooled = area(truth, scores, groups), area(truth, scores)
    assert honest.variance > 2 * fooled.variance
    low, high, _ = auc_bounds(honest)
    narrow, wide, _ = auc_bounds(fooled)
    assert high - low > 1.3 * (wide - narrow)


@pytest.mark.parametrize("images", [1, 3])
def test_a_perfect_area_is_no_certainty(images):
    truth, groups = np.repeat([True, False], 12 * images), np.repeat(np.arange(24), images)
    perfect = area(truth, truth.astype(float), groups)
    assert (perfect.value, perfect.variance) == (1.0, 0.0)
    low, high, method = auc_bounds(perfect)
    assert 0.7 < low < 0.95
    assert high == 1.0
    assert method == "Newcombe, each patient once"
    assert logit_bounds(perfect) == (low, high)
    once = area(truth[::images], truth[::images].astype(float))
    assert auc_bounds(once)[0] == pytest.approx(low), "copies are no evidence"
    turned = area(truth, -truth.astype(float), groups)
    assert auc_bounds(turned)[:2] == pytest.approx((0.0, 1 - low))


def test_one_patient_with_all_images_of_a_class_has_no_variance_and_an_interval():
    truth = np.array([True] * 4 + [False] * 20)
    groups = np.array([0] * 4 + list(range(1, 21)))
    a = area(truth, np.r_[[3.5, 7.5, 30, 30], np.arange(20)], groups)
    assert math.isnan(a.variance)
    low, high, method = auc_bounds(a)
    assert 0 <= low < a.value < high <= 1
    assert method == "Newcombe, each patient once"
    found = compare_aucs(a, a)
    assert found.p_value == 1.0


@given(scored(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_intervals_hold_the_value_and_are_never_empty(drawn, level):
    truth, one, two, groups = drawn
    a, b = area(truth, one, groups), area(truth, two, groups)
    for low, high in (auc_bounds(a, level)[:2], logit_bounds(a, level)):
        assert 0 <= low <= a.value + 1e-9
        assert a.value - 1e-9 <= high <= 1
        assert low < high
    found = compare_aucs(a, b, level=level)
    assert found.difference.low < found.difference.high
    assert found.difference.low <= found.difference.value <= found.difference.high
    assert 0 <= found.p_value <= 1


def test_paired_is_sharper_than_unpaired_and_both_are_the_textbook_z():
    truth, scores, groups = clustered(mixed=False, images=1, patients=150)
    worse = scores + np.random.default_rng(5).normal(size=150) * 0.8
    a, b = area(truth, scores, groups), area(truth, worse, groups)
    elsewhere = area(truth, worse, groups + 1000)
    paired, unpaired = compare_aucs(a, b), compare_aucs(a, elsewhere)
    assert (paired.method, unpaired.method) == ("DeLong, paired", "DeLong, unpaired")
    assert paired.p_value < unpaired.p_value
    for found, covariance in ((paired, a.covariance(b)), (unpaired, 0.0)):
        error = math.sqrt(a.variance + b.variance - 2 * covariance)
        assert found.standard_error == pytest.approx(error)
        z = (a.value - b.value) / error
        assert found.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))
    assert (paired.difference.n_images, unpaired.difference.n_images) == (150, 300)
    assert (paired.difference.n_patients, unpaired.difference.n_patients) == (150, 300)


def test_where_patients_repeat_the_test_is_students_over_kishs_number_of_them():
    truth, scores, _ = clustered(mixed=False, patients=40)
    groups = np.concatenate([np.repeat(np.arange(20), 1), np.repeat(np.arange(20, 40), 5)])
    truth = np.isin(groups, np.r_[0:10, 20:30])
    scores = scores[:120] + truth
    other = scores + np.random.default_rng(2).normal(size=120)
    a, b = area(truth, scores, groups), area(truth, other, groups)
    found = compare_aucs(a, b)
    # 10 patients of the class with one image, 10 with five: (10 + 50)^2 / (10 + 250).
    degrees = 60**2 / 260 - 1
    assert found.degrees == pytest.approx(degrees)
    t = found.difference.value / found.standard_error
    assert found.p_value == pytest.approx(2 * student.sf(abs(t), degrees))
    alone = compare_aucs(area(truth, scores), area(truth, other))
    assert math.isinf(alone.degrees)


def test_sets_that_share_patients_share_their_covariance():
    truth, scores, groups = clustered(mixed=False, patients=80)
    whole = area(truth, scores, groups)
    part = groups < 50
    other = area(truth[part], scores[part], groups[part])
    found = compare_aucs(whole, other)
    assert found.method.startswith("DeLong, some patients shared, Student's t of ")
    assert whole.covariance(other) > 0
    renamed = area(truth[part], scores[part], groups[part] + 500)
    assert found.standard_error < compare_aucs(whole, renamed).standard_error


def test_a_perfect_model_against_a_good_one_is_not_taken_as_known_exactly():
    truth = np.repeat([True, False], 15)
    scores = np.r_[np.arange(15) + 10.0, np.arange(15)]
    perfect, good = area(truth, truth.astype(float)), area(truth, scores)
    found = compare_aucs(perfect, good)
    naive = math.erfc((1 - good.value) / math.sqrt(good.variance) / math.sqrt(2))
    assert found.p_value > naive
    both = compare_aucs(perfect, perfect)
    assert both.p_value == 1.0
    assert both.difference.low < 0 < both.difference.high


def test_wrong_input_is_named():
    with pytest.raises(EvaluationError, match="not both images of 'x' and of other classes"):
        AUC.of(["x", "x"], [0.1, 0.2], positive="x")
    with pytest.raises(EvaluationError, match="one number, not NaN, and one patient"):
        AUC.of(["x", "y"], [0.1, math.nan], positive="x")
    with pytest.raises(EvaluationError, match=r"groups \(1,\)"):
        AUC.of(["x", "y"], [0.1, 0.2], positive="x", groups=["p"])
    a = AUC.of(["x", "y"], [0.1, 0.2], positive="x")
    with pytest.raises(EvaluationError, match="level is 95"):
        compare_aucs(a, a, level=95)


def test_thousands_of_images_take_no_pairs():
    """A table of 20,000 x 20,000 pairs would need 3 GB."""
    rng = np.random.default_rng(0)
    truth = np.repeat([True, False], 20_000)
    a = area(truth, truth + rng.normal(size=40_000), rng.integers(0, 9_000, 40_000))
    assert 0.7 < a.value < 0.8
    assert 0 < a.variance < 1e-4


@given(scored(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(deadline=None)
def test_a_difference_holds_zero_if_and_only_if_the_test_does_not_reject(drawn, level):
    truth, one, two, groups = drawn
    a, b = area(truth, one, groups), area(truth, two, groups)
    for other in (b, area(truth, two, groups + 500)):
        found = compare_aucs(a, other, level=level)
        held = found.difference.low <= 0 <= found.difference.high
        assert held == (found.p_value > 1 - level)


@pytest.mark.parametrize("pairs", [3, 10, 200])
def test_areas_that_every_patient_moves_alike_do_not_differ_without_error(pairs):
    truth, scores = list("pn") * pairs, np.arange(2 * pairs)
    swapped = scores + np.tile([1, -1], pairs)
    one, two = (AUC.of(truth, x, positive="p") for x in (swapped, scores))
    found = compare_aucs(one, two)
    assert found.difference.value == pytest.approx(1 / pairs)
    assert found.standard_error == pytest.approx(math.sqrt(one.variance + two.variance))
    assert found.p_value > 0.3
    assert found.difference.low < 0
    assert found.difference.note == "every patient moves both alike"


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(-1, 1))
def test_how_far_one_may_rise_above_another_equals_a_walk_around_the_ellipse(ends, correlation):
    turn = np.linspace(0, 2 * np.pi, 2001)
    one = np.cos(turn)
    two = correlation * one + math.sqrt(1 - correlation**2) * np.sin(turn)
    rises, falls = (ends[0], ends[1]), (ends[2], ends[3])
    apart = one * np.where(one > 0, *rises) - two * np.where(two > 0, *falls)
    assert reach_apart(rises, falls, correlation) == pytest.approx(apart.max(), abs=4e-3)


def drawn_models(rng, positives, negatives, areas, common):
    """Two models' areas on the same images, of true areas; `common` of their noise is shared."""
    from scipy.special import ndtri

    truth = np.arange(positives + negatives) < positives
    shared = rng.normal(size=len(truth))
    return [
        area(
            truth,
            math.sqrt(2) * ndtri(true) * truth
            + math.sqrt(common) * shared
            + math.sqrt(1 - common) * rng.normal(size=len(truth)),
        )
        for true in areas
    ]


def test_near_one_a_paired_difference_is_about_as_wide_as_delong_makes_it():
    """30 and 70 images, 0.99 against 0.99: the width was 0.099 where DeLong's is 0.019."""
    rng, held, widths, delong = np.random.default_rng(0), 0, [], []
    for _ in range(150):
        found = compare_aucs(*drawn_models(rng, 30, 70, (0.99, 0.99), 0.95))
        held += found.difference.low <= 0 <= found.difference.high
        widths.append(found.difference.high - found.difference.low)
        delong.append(2 * 1.96 * found.standard_error)
    assert held >= 140
    assert np.mean(widths) < 1.6 * np.mean(delong) < 0.05


def test_a_difference_near_one_holds_the_truth_where_delong_does_not():
    rng, held, delong = np.random.default_rng(1), 0, 0
    for _ in range(300):
        found = compare_aucs(*drawn_models(rng, 30, 70, (0.99, 0.95), 0.5))
        held += found.difference.low <= 0.04 <= found.difference.high
        delong += abs(found.difference.value - 0.04) <= 1.96 * found.standard_error
    assert held >= 276 > delong  # 92 %


def test_patients_who_look_like_the_other_class_are_allowed_for():
    """One patient in ten looks well in all images, and often none of the 20 here is such a one."""
    from scipy.special import ndtr

    rng, held, true = np.random.default_rng(3), 0, 0.9 * ndtr(3 / math.sqrt(2)) + 0.1 * 0.5
    groups = np.repeat(np.arange(120), 3)
    truth = groups < 20
    for _ in range(200):
        seems = truth & ~(rng.random(120) < 0.1)[groups]
        noise = math.sqrt(0.8) * rng.normal(size=120)[groups] + math.sqrt(0.2) * rng.normal(
            size=360
        )
        low, high, method = auc_bounds(area(truth, 3 * seems + noise, groups))
        held += low <= true <= high
    assert method.endswith("Student's t of 19")
    assert held >= 186  # 93 %


@given(scored())
@settings(deadline=None)
def test_no_area_has_better_bounds_than_a_perfect_one_of_the_same_patients(drawn):
    truth, scores, _, groups = drawn
    perfect = area(truth, truth.astype(float), groups)
    assert auc_bounds(area(truth, scores, groups))[0] <= auc_bounds(perfect)[0] + 1e-9


@given(scored())
@settings(deadline=None)
def test_joint_covariances_are_those_of_each_pair(drawn):
    truth, one, two, groups = drawn
    areas = [area(truth, one, groups), area(~truth, two, groups), area(truth, two, groups)]
    slow = [[a.covariance(b) for b in areas[:2]] for a in areas]
    assert joint_covariance(areas, areas[:2]) == pytest.approx(np.array(slow), abs=1e-12)
