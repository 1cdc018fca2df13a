"""Forecasts of a place from its answers without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hurdles.errors import EvaluationError
from hurdles.evaluation.places import (
    ESTIMATORS,
    Answers,
    Target,
    confidence_difference,
    density_ratio,
    forecasts,
    shares_by_views,
    threshold_confidence,
    weighted_auc,
)

LUNGS = 1.5


def two(p):
    return np.column_stack([p, 1 - p])


def logistic(z):
    return 1 / (1 + np.exp(-z))


def world(n, follows, seed, *, lungs=LUNGS, share=0.5, per_patient=1):
    """A model that reads a lung sign and a mark; the mark follows the class by -1 to 1."""
    rng = np.random.default_rng(seed)
    sick = rng.uniform(size=n) < share
    lung = lungs * (sick - 0.5) + rng.normal(size=n)
    chance = rng.integers(0, 2, n).astype(bool)
    does = rng.uniform(size=n) < abs(follows)
    mark = 2 * (np.where(does, sick if follows > 0 else ~sick, chance) - 0.5)
    mark = mark + 0.5 * rng.normal(size=n)
    p = logistic(lung + 1.2 * mark)
    return Answers(
        two(p),
        (p < 0.5).astype(int),
        np.array([f"p{k // per_patient}" for k in range(n)]),
        (~sick).astype(int),
        two(logistic(LUNGS * lung)),
        two(logistic(2 * mark)),
    )


def by_name(inside, there, **settings):
    found = forecasts(inside, there, samples=settings.pop("samples", 4), **settings)
    return {(each.target, each.estimator): each for each in found}


def published_threshold(scores, right):
    """Balance what is wrong above with what is right below, as the code of Garg et al. does."""
    order = np.argsort(scores)
    above, below, best, threshold = int((~right).sum()), 0, np.inf, 0.0
    for k in order:
        above, below = (above, below + 1) if right[k] else (above - 1, below)
        if abs(above - below) < best:
            best, threshold = abs(above - below), scores[k]
    return threshold


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_that_of_the_published_code(seed):
    rng = np.random.default_rng(seed)
    inside, there = rng.uniform(0.5, 1, 200), rng.uniform(0.5, 1, 300)
    right = rng.uniform(size=200) < inside
    expected = (there >= published_threshold(inside, right)).mean()
    # Theirs is the last image below the threshold, ours the first above it.
    assert threshold_confidence(inside, right, there) == pytest.approx(expected, abs=2 / 100)


def test_the_place_itself_is_forecast_as_it_is():
    inside = world(500, 0.8, 0)
    for each in forecasts(inside, replace(inside, truth=None), samples=2):
        if each.is_defined and each.estimator != "squared effects":
            own = inside.right.mean()
            own = own if each.target is Target.ACCURACY else inside.auc_of(inside.probability)
            assert each.value == pytest.approx(own, abs=0.003), each


def test_decisions_have_no_threshold_and_no_answer_is_all_right():
    assert np.isnan(threshold_confidence([1, 1, 1], [1, 0, 1], [1, 1]))
    assert threshold_confidence([0.6, 0.7], [0, 0], [0.9]) == 0
    assert threshold_confidence([0.6, 0.7], [1, 1], [0.6, 0.9]) == 1
    assert confidence_difference([0.9, 0.9], [1, 1], [1.0, 1.0]) == 1


@pytest.mark.parametrize(
    ("confidence", "right", "there"), [([0.5], [1, 0], [0.5]), ([], [], [0.5]), ([0.5], [1], [])]
)
def test_confidences_that_do_not_fit_are_refused(confidence, right, there):
    with pytest.raises(EvaluationError, match=r"give (one of each|some of both)"):
        threshold_confidence(confidence, right, there)


@pytest.mark.parametrize("seed", range(3))
def test_the_weighted_auc_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    score, truth = rng.integers(0, 12, 80) / 12, rng.integers(0, 2, 80)
    weights = rng.uniform(size=80)
    expected = roc_auc_score(truth, score, sample_weight=weights)
    own = weighted_auc(score, weights * truth, weights * (1 - truth))
    assert own == pytest.approx(expected)


def test_the_weighted_auc_of_shares_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    score, share = rng.integers(0, 5, 30) / 5, rng.uniform(size=30)
    pairs = share[:, None] * (1 - share)[None]
    np.fill_diagonal(pairs, 0)
    won = (score[:, None] > score[None]) + 0.5 * (score[:, None] == score[None])
    expected = (pairs * won).sum() / pairs.sum()
    assert weighted_auc(score, share, 1 - share) == pytest.approx(expected)
    assert np.isnan(weighted_auc(score, np.ones(30), np.zeros(30)))


@pytest.mark.parametrize("follows", [0.8, 0.0, -0.8])
def test_two_views_foresee_a_mark_that_turns_against_the_class(follows):
    """What is identified without labels is found: 1,500 images a place, the truth apart."""
    inside, there = world(1500, 0.8, 0), world(1500, follows, 1)
    found = by_name(inside, there)
    accuracy, auc = (found[target, "two views"].value for target in Target)
    assert accuracy == pytest.approx(there.right.mean(), abs=0.05)
    assert auc == pytest.approx(there.auc_of(there.probability), abs=0.05)
    if follows < 0:  # what no number made inside foresees
        assert there.auc_of(there.probability) < 0.45
        assert found[Target.AUC, "inside"].value > 0.9
        assert found[Target.AUC, "squared effects"].value > 0.7
        assert found[Target.AUC, "lung-view agreement"].value < 0.8


def test_two_views_do_not_depend_on_the_share_of_a_class():
    inside, there = world(1500, 0.8, 0), world(1500, -0.8, 1, share=0.2)
    found = by_name(inside, there)
    assert found[Target.ACCURACY, "two views"].value == pytest.approx(there.right.mean(), abs=0.06)


def test_shares_by_views_are_those_of_a_regression_that_saw_the_labels():
    inside, there = world(3000, 0.8, 0), world(3000, -0.8, 1)
    _, shares = shares_by_views(inside, there)
    logs = np.column_stack([np.log(v[:, 0] / v[:, 1]) for v in (there.lungs, there.blind)])
    seen = LogisticRegression(C=100).fit(logs, there.truth).predict_proba(logs)
    assert np.abs(seen - shares).mean() < 0.05


def test_lungs_that_are_not_seen_leave_those_that_need_them_silent():
    inside, there = world(200, 0.5, 0), world(200, 0.5, 1)
    found = by_name(replace(inside, lungs=None), there)
    for target in Target:
        for name in ("two views", "lung-view agreement"):
            assert not found[target, name].is_defined
            assert "lungs were not found" in found[target, name].note
    assert found[Target.ACCURACY, "ATC"].is_defined
    found = by_name(replace(inside, blind=None), there)
    assert "no view without lungs" in found[Target.AUC, "two views"].note
    assert found[Target.AUC, "lung-view agreement"].is_defined


def test_a_truth_at_the_place_is_not_looked_at():
    inside, there = world(200, 0.5, 0), world(200, 0.5, 1)
    shuffled = replace(there, truth=1 - there.truth)
    assert repr(forecasts(inside, there, samples=3)) == repr(forecasts(inside, shuffled, samples=3))


def test_the_density_ratio_finds_what_is_frequent_elsewhere():
    """Hard images are frequent at the place, and as hard as inside: the accuracy falls."""

    def place(n, hard, seed):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(n, 2)) + np.array([hard, 0])
        p = logistic(2 - 1.5 * features[:, 0])
        right, truth = rng.uniform(size=n) < p, rng.integers(0, 2, n)
        decided = np.where(right, truth, 1 - truth)
        names = np.arange(n).astype(str)
        return Answers(two(np.maximum(p, 1 - p)), decided, names, truth), features

    rng = np.random.default_rng(0)
    (inside, own), (there, other) = place(2000, 0.0, 1), place(2000, 1.0, 2)
    density = density_ratio(own, other, groups=inside.groups, groups_there=there.groups)
    assert density.weights.mean() == pytest.approx(1)
    assert 500 < density.worth < 1800
    found = by_name(inside, there, density=density)
    estimate = found[Target.ACCURACY, "density ratio"].value
    assert estimate == pytest.approx(there.right.mean(), abs=0.04)
    assert inside.right.mean() - there.right.mean() > 0.15
    apart = density_ratio(own, other + 50, groups=inside.groups, groups_there=there.groups)
    assert apart.separation > 0.99
    far = replace(apart, worth=3.0)
    silent = by_name(inside, there, density=far)[Target.ACCURACY, "density ratio"]
    assert not silent.is_defined
    assert "worth 3.0 patients" in silent.note
    with pytest.raises(EvaluationError, match="give the same columns"):
        density_ratio(own, rng.normal(size=(5, 3)), groups=inside.groups, groups_there="abcde")


def test_the_worth_of_weighted_images_counts_patients():
    inside, there = world(300, 0.5, 0), world(300, 0.5, 1)
    rng = np.random.default_rng(0)
    own, other = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    single = density_ratio(own, other, groups=inside.groups, groups_there=there.groups)
    thrice = np.repeat(inside.groups[:100], 3)
    repeated = density_ratio(own, other, groups=thrice, groups_there=there.groups)
    assert repeated.worth <= 100.0001 < single.worth


def test_the_standard_error_is_that_of_other_patients():
    """Samples of the same two places vary as much as the bootstrap says; patients, not images."""

    def drawn(seed, per_patient=1):
        inside, there = world(150, 0.5, seed), world(150, 0.0, 1000 + seed)
        if per_patient > 1:
            inside, there = (a.take(np.repeat(np.arange(50), 3)) for a in (inside, there))
        return inside, there

    doc = [by_name(*drawn(seed), samples=2)[Target.ACCURACY, "DoC"].value for seed in range(60)]
    said = by_name(*drawn(0), samples=60)[Target.ACCURACY, "DoC"].error
    assert said == pytest.approx(np.std(doc, ddof=1), rel=0.35)
    fewer = by_name(*drawn(0, 3), samples=60)[Target.ACCURACY, "DoC"].error
    assert fewer > 1.3 * said


def test_three_classes_are_averaged():
    def three(n, seed, good):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 3, n)

        def read(strength):
            z = strength * np.eye(3)[truth] + rng.normal(size=(n, 3))
            p = np.exp(z)
            return p / p.sum(axis=1, keepdims=True)

        p = read(good)
        return Answers(p, p.argmax(axis=1), np.arange(n).astype(str), truth, read(2.0), read(0.5))

    inside, there = three(1500, 1, 2.0), three(1500, 2, 0.7)
    found = by_name(inside, there)
    came = there.auc_of(there.probability)
    assert found[Target.AUC, "lung-view agreement"].value == pytest.approx(came, abs=0.05)
    own = [roc_auc_score(there.truth == k, there.probability[:, k]) for k in range(3)]
    assert came == pytest.approx(np.mean(own))


def test_answers_that_do_not_fit_are_refused():
    inside, there = world(20, 0.5, 0), world(20, 0.5, 1)
    with pytest.raises(EvaluationError, match="one row of each per image"):
        replace(inside, truth=inside.truth[:5])
    with pytest.raises(EvaluationError, match="needs the true classes"):
        forecasts(replace(inside, truth=None), there)
    with pytest.raises(EvaluationError, match="one model's answers"):
        forecasts(inside, replace(there, probability=np.full((20, 3), 1 / 3)))
    with pytest.raises(EvaluationError, match="2 at least"):
        forecasts(inside, there, samples=1)
    with pytest.raises(EvaluationError, match="not known here"):
        _ = replace(there, truth=None).right


def test_one_class_inside_has_accuracies_and_no_auc():
    inside = world(100, 0.5, 0)
    alone = inside.take(np.flatnonzero(inside.truth == 0))
    found = by_name(alone, world(100, 0.5, 1))
    assert found[Target.ACCURACY, "DoC"].is_defined
    for (target, name), each in found.items():
        if target is Target.AUC and name != "density ratio":
            assert not each.is_defined, name
            assert "one class" in each.note


def test_every_estimator_has_a_name_of_its_own_for_a_target():
    keys = [(each.target, each.name) for each in ESTIMATORS]
    assert len(set(keys)) == len(keys)
