"""Measures with each patient once, and the test whether sizes of patients tell anything."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_1samp

from hurdles.evaluation.bounds import newcombe_bounds, wilson_bounds
from hurdles.evaluation.cluster_size import (
    PATIENT_WEIGHTED,
    association,
    is_size_note,
    patient_weighted,
    weighted_auc,
    weighted_share_bounds,
)
from hurdles.evaluation.delong import AUC
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import PatientTable, Ranking
from hurdles.reporting.console import evaluation_lines


def table(truth, prob, groups, classes=("sick", "well")):
    names = [str(i) for i in range(len(truth))]
    return Predictions.from_arrays(
        list(classes),
        y_true=list(truth),
        y_prob=np.asarray(prob),
        images=names,
        groups=[str(g) for g in groups],
    )


def drawn(*, informative, seed=0, patients=60):
    """Return answers about patients with 1 to 20 images, worse the more there are, or not."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 21, patients)
    codes = np.repeat(np.arange(patients), sizes)
    sick = (np.arange(patients) < patients // 2)[codes]
    chance = 0.95 - 0.04 * sizes if informative else np.full(patients, 0.75)
    right = rng.random(len(codes)) < chance[codes]
    p = np.where(right == sick, 0.8, 0.2) + 0.01 * rng.normal(size=len(codes))
    return table(np.where(sick, "sick", "well"), np.column_stack([p, 1 - p]), codes)


def resampled(predictions, measure, class_, times=2000):
    """Draw one image of each patient, again and again: the definition."""
    rng, groups, values = np.random.default_rng(1), predictions.groups, []
    for _ in range(times):
        order = rng.permutation(len(groups))
        rows = order[np.unique(groups[order], return_index=True)[1]]
        one = PatientTable.of(Predictions(predictions.frame.iloc[rows]))
        values.append(one.statistic(measure, class_).at(np.ones((1, one.n_patients)))[0])
    return np.array(values)


@pytest.mark.parametrize(
    ("measure", "class_"), [("accuracy", None), ("sensitivity", "sick"), ("auc", "sick")]
)
def test_the_value_is_the_mean_over_draws_of_one_image_of_each_patient(measure, class_):
    predictions = drawn(informative=True, patients=20)
    found = patient_weighted(PatientTable.of(predictions), measure, class_)
    values = resampled(predictions, measure, class_, times=300)
    assert ttest_1samp(values, found.value).pvalue > 0.001
    by_image = evaluate(predictions).get(measure, class_).value
    assert ttest_1samp(values, by_image).pvalue < 1e-6, "the two must differ here"


@st.composite
def ranked(draw: st.DrawFn):
    n = draw(st.integers(4, 20))
    truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    truth[:2] = [True, False]
    scores = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=float)
    patients = np.array(draw(st.lists(st.integers(0, 5), min_size=n, max_size=n)))
    return truth, scores, np.unique(patients, return_inverse=True)[1]


@given(ranked())
@settings(deadline=None)
def test_the_auc_is_a_mean_over_pairs_of_patients(drawn):
    """The obvious way: of each pair of patients, the mean over pairs of their images."""
    truth, scores, patients = drawn
    auc = weighted_auc(Ranking.of(truth, scores, patients), patients.max() + 1)
    wins = []
    for i in set(patients[truth]):
        for j in set(patients[~truth]):
            up, down = scores[truth & (patients == i)], scores[~truth & (patients == j)]
            wins.append(np.mean((up[:, None] > down) + 0.5 * (up[:, None] == down)))
    assert auc.value == pytest.approx(np.mean(wins))
    assert auc.sick.sum() == pytest.approx(0, abs=1e-12)
    assert auc.well.sum() == pytest.approx(0, abs=1e-12)


def test_with_one_image_each_nothing_changes():
    rng = np.random.default_rng(3)
    truth, scores = rng.random(40) < 0.4, np.round(rng.normal(size=40), 1)
    ranking, names = Ranking.of(truth, scores, np.arange(40)), np.arange(40).astype(str)
    once, usual = weighted_auc(ranking, 40), AUC.of_ranking(ranking, names)
    assert (once.value, once.variance) == pytest.approx((usual.value, usual.variance))
    part = truth.astype(float)
    assert weighted_share_bounds(part, np.ones(40)) == wilson_bounds(truth.mean(), 40)


def test_the_same_image_several_times_counts_as_one():
    """A share, and an AUC, of patients who agree in all their images: that of the patients."""
    right, sizes = np.arange(30) < 24, np.resize([1, 4, 9], 30)
    part, whole = right * sizes.astype(float), sizes.astype(float)
    low, high = weighted_share_bounds(part, whole)
    assert low < wilson_bounds(0.8, 30)[0] + 1e-9
    assert high > wilson_bounds(0.8, 30)[1] - 1e-9
    assert high - low < 1.15 * np.ptp(wilson_bounds(0.8, 30))


def test_a_perfect_result_of_many_images_is_no_better_than_that_of_its_patients():
    truth = ["sick"] * 40 + ["well"] * 60
    prob = [[0.9, 0.1]] * 40 + [[0.1, 0.9]] * 60
    found = evaluate(table(truth, prob, np.arange(100) // 10))
    assert found.patient_weighted["sensitivity", "sick"].low == wilson_bounds(1.0, 4)[0]
    assert found.patient_weighted["auc", "sick"].low == newcombe_bounds(1.0, 4, 6)[0]


def test_they_stand_beside_the_measures_of_images_where_patients_repeat(make):
    assert evaluate(make()).patient_weighted == {}
    found = evaluate(drawn(informative=False))
    assert {measure for measure, _ in found.patient_weighted} == set(PATIENT_WEIGHTED)
    for key, each in found.patient_weighted.items():
        assert each.low < each.value < each.high
        assert each.n_patients == found.estimates[key].n_patients
    plain = json.loads(json.dumps(found.to_dict()))
    assert Evaluation.from_dict(plain) == found
    del plain["patient_weighted"]
    assert Evaluation.from_dict(plain).patient_weighted == {}
    text = "\n".join(evaluation_lines(found))
    accuracy = found.patient_weighted["accuracy", ""]
    assert f"accuracy           {accuracy.percent()}" in text.split("each patient once")[1]


def test_what_is_undefined_says_why():
    found = evaluate(table(["sick"] * 4, [[0.9, 0.1]] * 4, [1, 1, 2, 2])).patient_weighted
    assert found["sensitivity", "well"].note == "no image of well in the set"
    assert found["specificity", "sick"].note == "every image is of sick"
    assert found["balanced_accuracy", ""].note == "fewer than two classes have an image"
    assert "there are not both images" in found["auc", "sick"].note


def test_images_of_a_class_that_the_model_does_not_know_are_wrong():
    truth = ["sick", "sick", "well", "zoster", "zoster"]
    found = evaluate(table(truth, [[0.9, 0.1]] * 2 + [[0.1, 0.9]] * 3, [1, 1, 2, 3, 3]))
    assert found.patient_weighted["accuracy", ""].value == pytest.approx(2 / 3)
    assert found.patient_weighted["balanced_accuracy", ""].value == pytest.approx(2 / 3)


def test_informative_sizes_are_noted_with_both_values():
    found = evaluate(drawn(informative=True))
    (note,) = [n for n in found.notes if n.startswith("Patients of class 'sick'")]
    assert is_size_note(note)
    once = found.patient_weighted["sensitivity", "sick"].value
    assert f"{found.get('sensitivity', 'sick').value:.3f} by image, {once:.3f} by patient" in note


def test_of_many_classes_one_can_still_be_noted():
    """Of 60 questions none could be, if sizes were dealt out 999 times."""
    classes = [f"finding {k:02}" for k in range(20)]
    sizes = np.tile([1, 2, 3, 6, 7, 8], 2 * len(classes))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    truth = (np.arange(len(sizes)) // 12)[codes]
    wrong = (truth == 4) & (sizes[codes] > 3)
    p = np.full((len(codes), len(classes)), 0.01)
    p[np.arange(len(codes)), np.where(wrong, 5, truth)] += 0.8
    names = [classes[k] for k in truth]
    notes = evaluate(table(names, p / p.sum(axis=1, keepdims=True), codes, classes)).notes
    assert any(n.startswith("Patients of class 'finding 04' with more images") for n in notes)


def test_sizes_that_tell_nothing_are_rarely_noted():
    """At 5 %: of 40 sets at most six, with a chance of 99 %."""
    noted = sum(
        any(map(is_size_note, evaluate(drawn(informative=False, seed=seed, patients=30)).notes))
        for seed in range(40)
    )
    assert noted <= 6


def test_a_class_with_more_images_is_noted():
    rng = np.random.default_rng(0)
    sizes = np.concatenate([rng.integers(4, 9, 20), rng.integers(1, 4, 20)])
    codes = np.repeat(np.arange(40), sizes)
    truth = np.where(codes < 20, "sick", "well")
    p = rng.random(len(codes))
    notes = evaluate(table(truth, np.column_stack([p, 1 - p]), codes)).notes
    assert any(n.startswith("How many images a patient has goes with being of") for n in notes)


def test_few_patients_with_most_of_the_images_are_noted():
    codes = np.concatenate([np.arange(40), np.zeros(30, int), np.full(20, 20)])
    truth = np.where(codes < 20, "sick", "well")
    notes = evaluate(table(truth, np.tile([0.6, 0.4], (90, 1)), codes)).notes
    (note,) = [n for n in notes if n.startswith("Few patients have most of the images of 'sick'")]
    # (19 + 31)^2 / (19 + 31^2)
    assert "as on 3 of 20 patients" in note
    even = evaluate(table(truth[:40], np.tile([0.6, 0.4], (40, 1)), np.arange(40) // 2)).notes
    assert not any(map(is_size_note, even))


def test_the_test_agrees_with_the_permutation_test_of_scipy():
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 9, 25).astype(float)
    values = 0.5 * (sizes - 4) + 3 * rng.normal(size=25)

    def studentized(x, y):
        x, y = x - x.mean(), y - y.mean()
        return (x * y).sum() / np.sqrt((x**2 * y**2).sum())

    wanted = permutation_test(
        (values,),
        lambda y: studentized(sizes, y),
        permutation_type="pairings",
        n_resamples=4000,
        rng=np.random.default_rng(0),
        vectorized=False,
    ).pvalue
    assert association(sizes, values) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("patients", [30, 401])
def test_the_test_does_not_depend_on_the_order_or_scale_and_knows_no_difference(patients):
    rng = np.random.default_rng(7)
    sizes, values = rng.integers(1, 6, patients).astype(float), rng.random(patients)
    p = association(sizes, values)
    assert association(sizes, 1 - 2 * values) == pytest.approx(p)
    assert association(np.full(patients, 3.0), values) == 1.0
    assert association(sizes, np.ones(patients)) == 1.0
    assert association(sizes, 10 * sizes + values) < 0.01
