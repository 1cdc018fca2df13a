"""What a straight line tells of a label, and that it never saw the patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation import probing
from hurdles.evaluation.probing import STRENGTHS, fit_predict, out_of_fold, patient_folds
from hurdles.evaluation.statistics import auc


def names(n, *labels):
    return np.array([labels[i % len(labels)] for i in range(n)])


def alone(n):
    return np.array([f"p{i:04d}" for i in range(n)])


def noise(n, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def area(told, labels, positive="a"):
    column = np.unique(labels).tolist().index(positive)
    return auc(labels == positive, told[:, column])


def test_areas_are_those_of_the_same_regression_by_scikit_learn():
    from sklearn.linear_model import LogisticRegressionCV

    labels, groups = names(240, "a", "b", "c"), alone(240)
    table = noise(240, 40, 1)
    table[:, :6] += 0.7 * (labels == "a")[:, None]
    fold = patient_folds(labels, groups, 5)
    slow = np.empty((240, 3))
    for part in range(5):
        train = fold != part
        mean, scale = table[train].mean(axis=0), table[train].std(axis=0)
        model = LogisticRegressionCV(
            Cs=list(STRENGTHS), scoring="neg_log_loss", use_legacy_attributes=False, l1_ratios=(0,)
        )
        model.fit((table[train] - mean) / scale, labels[train])
        slow[~train] = model.predict_proba((table[~train] - mean) / scale)
    fast = out_of_fold(table, labels, groups)
    assert area(fast, labels) == pytest.approx(area(slow, labels), abs=0.02)
    assert area(fast, labels) > 0.8


def test_folds_at_once_answer_as_one_after_the_other():
    labels, groups = names(90, "a", "b", "c"), alone(90)
    table = noise(90, 12, 3)
    fold = patient_folds(labels, groups, 5)
    slow = np.empty((90, 3))
    for part in range(5):
        test, train = fold == part, fold != part
        told = fit_predict(table[train], labels[train], groups[train], table[test])
        there = [(labels[train] == name).mean() for name in "abc"]
        slow[test] = told * (1 / 3 / np.array(there))
    slow /= slow.sum(axis=1, keepdims=True)
    assert out_of_fold(table, labels, groups) == pytest.approx(slow, rel=1e-14)


def test_no_image_is_judged_by_a_regression_that_saw_its_patient(monkeypatch):
    seen = []
    predicted = probing._predicted
    monkeypatch.setattr(
        probing,
        "_predicted",
        lambda *a: seen.append((set(a[2]), set(a[3][:, -1]))) or predicted(*a),
    )
    inner = []
    folds = probing.patient_folds

    def spy(labels, groups, count, *, seed):
        found = folds(labels, groups, count, seed=seed)
        inner.append((set(groups[found == 0]), set(groups[found != 0])))
        return found

    monkeypatch.setattr(probing, "patient_folds", spy)
    number = np.repeat(np.arange(60), 4)
    table = np.column_stack([noise(240), number])
    out_of_fold(table, names(240, "a", "b"), alone(60)[number])
    assert len(seen) == 5
    for train, test in seen:
        assert not {int(name[1:]) for name in train} & test
    assert len(inner) == 6
    assert all(not held & rest for held, rest in inner)


def leaking():
    """Noise in which every patient has four equal images, and nothing tells the label."""
    return np.repeat(noise(60, 200), 4, axis=0), np.repeat(names(60, "a", "b"), 4)


def test_a_patients_copies_do_not_help():
    table, labels = leaking()
    assert area(out_of_fold(table, labels, np.repeat(alone(60), 4)), labels) < 0.65
    # Without the patients the same rows are told at once: the guard is what makes the difference.
    assert area(out_of_fold(table, labels, alone(240)), labels) > 0.99


def test_what_says_nothing_does_not_seem_to_say_the_opposite(monkeypatch):
    """Pooled over folds, plain probabilities of empty features rank labels upside down."""
    labels = np.array(["a"] * 13 + ["b"] * 29)
    values = [
        area(out_of_fold(np.zeros((42, 1)), labels, alone(42), seed=seed), labels)
        for seed in range(5)
    ]
    assert values == pytest.approx([0.5] * 5, abs=1e-9)
    monkeypatch.setattr(probing, "_shares", lambda names, known: np.ones(len(known)))
    assert area(out_of_fold(np.zeros((42, 1)), labels, alone(42)), labels) < 0.45


def test_noise_is_at_chance_on_average():
    labels = names(80, "a", "b")
    values = [
        area(out_of_fold(noise(80, 6, s), labels, alone(80), seed=s), labels) for s in range(20)
    ]
    assert np.mean(values) == pytest.approx(0.5, abs=0.04)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), min_size=1, max_size=60),
    st.integers(1, 6),
    st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_folds_keep_patients_together(rows, folds, seed):
    labels, groups = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = patient_folds(labels, groups, folds, seed=seed)
    assert set(found) <= set(range(folds))
    assert all(len(set(found[groups == g])) == 1 for g in set(groups))
    assert (found == patient_folds(labels, groups, folds, seed=seed)).all()


def test_folds_share_out_every_label_exactly_where_patients_have_one_image():
    labels = np.array(["a"] * 20 + ["b"] * 31)
    found = patient_folds(labels, alone(51), 5, seed=3)
    assert np.bincount(found[labels == "a"]).tolist() == [4] * 5
    assert sorted(np.bincount(found[labels == "b"])) == [6, 6, 6, 6, 7]
    assert (found != patient_folds(labels, alone(51), 5, seed=4)).any()


def test_new_images_are_told_by_what_was_learnt():
    labels = names(90, "a", "b", "c")
    table = noise(180, 4)
    table += 4.0 * np.array(["abc".index(x) for x in np.tile(labels, 2)])[:, None]
    told = fit_predict(table[:90], labels, alone(90), table[90:])
    assert told.shape == (90, 3)
    assert told.sum(axis=1) == pytest.approx(np.ones(90))
    assert area(told, labels) > 0.97


def test_a_label_that_a_fold_has_not_seen_is_given_no_probability():
    labels = np.array(["a"] * 30 + ["b"] * 4)
    groups = np.array([*alone(30), *["b"] * 4])
    told = out_of_fold(noise(34), labels, groups)
    assert told[30:].tolist() == [[1.0, 0.0]] * 4
    assert fit_predict(noise(5), ["a"] * 5, alone(5), noise(2)).tolist() == [[1.0], [1.0]]


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.floats(-50, 50))
@settings(max_examples=5, deadline=None)
def test_units_and_constants_do_not_matter(seed, scale, offset):
    labels, table = names(40, "a", "b"), noise(40, 3, seed)
    plain = out_of_fold(table, labels, alone(40))
    other = np.column_stack([table * scale + offset, np.full(40, 0.1)])
    assert out_of_fold(other, labels, alone(40)) == pytest.approx(plain, abs=5e-3)


@pytest.mark.parametrize(
    ("table", "groups", "folds", "message"),
    [
        (noise(3), alone(4), 5, "one row, one label and one group"),
        (noise(4)[0], alone(4), 5, r"shape \(5,\)"),
        (np.full((4, 2), np.nan), alone(4), 5, "not finite numbers"),
        (noise(4), alone(4), 1, "1 folds leave nothing"),
        (noise(4), ["p"] * 4, 5, "all images are of one patient"),
    ],
)
def test_what_cannot_be_probed_is_refused(table, groups, folds, message):
    with pytest.raises(EvaluationError, match=message):
        out_of_fold(table, names(4, "a", "b"), groups, folds=folds)


def test_features_of_other_columns_are_refused():
    with pytest.raises(EvaluationError, match="finite numbers in 5 columns"):
        fit_predict(noise(6), names(6, "a", "b"), alone(6), noise(2, 4))
