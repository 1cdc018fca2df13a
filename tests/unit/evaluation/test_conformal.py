"""Prediction sets: against a slow twin by p-values, and their coverage on draws of known truth."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.conformal import prediction_sets
from hurdles.evaluation.predictions import Predictions


def table(truth, p, groups, classes=("a", "b", "c")) -> Predictions:
    return Predictions.from_arrays(
        list(classes),
        y_true=list(truth),
        y_prob=np.asarray(p),
        images=[str(i) for i in range(len(truth))],
        groups=[str(g) for g in groups],
    )


def random_table(rng, n, n_patients, digits) -> Predictions:
    """Return a table with ties, where digits are few."""
    p = rng.dirichlet(np.ones(3), n).round(digits)
    p[:, 2] = 1 - p[:, 0] - p[:, 1]
    truth = rng.choice(["a", "b", "c"], n)
    return table(truth, np.clip(p, 0, 1), rng.integers(0, n_patients, n))


def slow_sets(validation: Predictions, p: np.ndarray, coverage: Fraction) -> list[list[str]]:
    """Return the classes whose conformal p-value is above 1 - coverage, patient by patient."""
    rows = []
    for row in p:
        inside = []
        for column, label in enumerate(validation.classes):
            worst: dict[str, float] = {}
            for group, truth, probs in zip(
                validation.groups, validation.y_true, validation.y_prob, strict=True
            ):
                if truth == label:
                    worst[group] = max(worst.get(group, -math.inf), 1 - probs[column])
            as_strange = sum(score >= 1 - row[column] for score in worst.values())
            if Fraction(as_strange + 1, len(worst) + 1) > 1 - coverage:
                inside.append(label)
        rows.append(inside)
    return rows


@given(
    st.integers(1, 80),
    st.integers(1, 60),
    st.sampled_from(["1/2", "3/4", "4/5", "9/10", "19/20"]),
    st.sampled_from([1, 2, 12]),
    st.integers(0, 10_000),
)
def test_sets_are_those_of_a_slow_twin(n, n_patients, coverage, digits, seed):
    rng = np.random.default_rng(seed)
    validation = random_table(rng, n, n_patients, digits)
    share = Fraction(coverage)
    rule = prediction_sets(validation, coverage=float(share))
    new = random_table(rng, 12, 12, digits).y_prob
    assert rule.named(new) == slow_sets(validation, new, share)


def drawn(rng, n_patients, most_images=4) -> tuple[np.ndarray, np.ndarray]:
    """Return the true class's probability in images of patients who share a part of it."""
    images = rng.integers(1, most_images + 1, n_patients)
    groups = np.repeat(np.arange(n_patients), images)
    z = rng.normal(1, 1, n_patients)[groups] + rng.normal(0, 1, len(groups))
    return 1 / (1 + np.exp(-z)), groups


@pytest.mark.parametrize(("n", "coverage"), [(9, 0.9), (25, 0.9), (60, 0.8)])
def test_the_coverage_of_new_patients_is_what_is_promised(n, coverage):
    """On average over draws at least the share, and hardly more; from draw to draw as is said."""
    rng, shares, within = np.random.default_rng(n), [], []
    for _ in range(400):
        p, groups = drawn(rng, n)
        both = np.column_stack([p, 1 - p])
        validation = table(["a"] * len(p), both, groups, classes=("a", "b"))
        rule = prediction_sets(validation, coverage=coverage)
        limit = rule.limits[0]
        assert (limit.n_patients, limit.n_images) == (n, len(p))
        new, of = drawn(rng, 400)
        inside = rule.contain(np.column_stack([new, 1 - new]))[:, 0]
        covered = ~np.isin(np.arange(400), of[~inside])  # every image of the patient
        shares.append(covered.mean())
        within.append(limit.low - 0.02 <= shares[-1] <= limit.high + 0.02)
    error = 3 * np.std(shares) / math.sqrt(len(shares))
    assert coverage - error <= np.mean(shares) <= coverage + 1 / (n + 1) + error
    assert np.mean(within) >= 0.87


def test_other_images_of_a_patient_do_not_make_the_limit_surer():
    p = np.linspace(0.5, 0.95, 10)
    one = table(["a"] * 10, np.column_stack([p, 1 - p]), range(10), classes=("a", "b"))
    q = np.concatenate([p, np.full(10, 0.99)])
    more = table(
        ["a"] * 20, np.column_stack([q, 1 - q]), [*range(10), *range(10)], classes=("a", "b")
    )
    limits = [prediction_sets(each, coverage=0.8).limits[0] for each in (one, more)]
    assert limits[0].limit == limits[1].limit
    assert [limit.n_patients for limit in limits] == [10, 10]


@pytest.mark.parametrize(("n", "coverage", "least"), [(8, 0.9, 9), (18, 0.95, 19), (3, 0.8, 4)])
def test_a_class_of_too_few_patients_is_in_every_set(n, coverage, least):
    p = np.full(n, 0.99)
    few = table(["a"] * n, np.column_stack([p, 1 - p]), range(n), classes=("a", "b"))
    rule = prediction_sets(few, coverage=coverage)
    assert rule.least == least
    assert all(limit.is_always_in for limit in rule.limits)
    assert rule.named(np.array([[0.0, 1.0]])) == [["a", "b"]]
    assert f"  a: {n} validation patients, too few" in rule.lines()[1]
    assert "  b: 0 validation patients, too few" in rule.lines()[2]
    one_more = np.full(n + 1, 0.99)
    enough = table(
        ["a"] * (n + 1), np.column_stack([one_more, 1 - one_more]), range(n + 1), ("a", "b")
    )
    assert not prediction_sets(enough, coverage=coverage).limits[0].is_always_in


def test_a_set_may_be_empty():
    p = np.full(20, 0.99)
    sure = np.concatenate([np.column_stack([p, 1 - p]), np.column_stack([1 - p, p])])
    rule = prediction_sets(table(["a"] * 20 + ["b"] * 20, sure, range(40), ("a", "b")))
    assert rule.named(np.array([[0.5, 0.5]])) == [[]]


def test_images_without_a_patient_count_as_one_each_and_it_is_told():
    p = np.full(12, 0.9)
    both = np.column_stack([p, 1 - p])
    unknown = table(["a"] * 12, both, [f"\x1e{i}" for i in range(12)], ("a", "b"))
    assert "12 validation images, no patient known" in "\n".join(prediction_sets(unknown).lines())
    some = table(["a"] * 12, both, ["\x1e0", *map(str, range(11))], ("a", "b"))
    assert "1 validation images name no patient" in prediction_sets(some).lines()[-1]


def test_the_words_claim_no_more_than_the_guarantee():
    p = np.full(12, 0.9)
    rule = prediction_sets(table(["a"] * 12, np.column_stack([p, 1 - p]), range(12), ("a", "b")))
    words = rule.lines()[0]
    assert "on average over draws" in words
    assert "chose the epoch too, so this is approximate" in words


def test_the_rule_is_json():
    p = np.full(12, 0.9)
    rule = prediction_sets(table(["a"] * 12, np.column_stack([p, 1 - p]), range(12), ("a", "b")))
    plain = rule.to_dict()
    assert plain["coverage"] == 0.9
    assert plain["limits"][0]["limit"] == pytest.approx(0.1)
    assert plain["limits"][1]["limit"] is None


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 1.5, math.nan])
def test_a_coverage_that_is_no_share_is_refused(coverage):
    p = np.full(3, 0.9)
    with pytest.raises(EvaluationError, match="is no share"):
        prediction_sets(
            table(["a"] * 3, np.column_stack([p, 1 - p]), range(3), ("a", "b")), coverage=coverage
        )
