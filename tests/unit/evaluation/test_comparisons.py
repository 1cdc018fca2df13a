from __future__ import annotations

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student

from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import (
    Comparison,
    compare,
    holm,
    mcnemar,
    ruled_by_test,
    sign_flip,
)
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import PatientTable


@given(st.lists(st.integers(-4, 4), max_size=9))
def test_sign_flip_equals_trying_every_sign(differences):
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in product([-1, 1], repeat=len(differences))]  # fmt: skip
    seen = abs(sum(differences))
    p, mid_p = sign_flip(differences)
    assert p == pytest.approx(np.mean([abs(s) >= seen for s in sums]))
    assert mid_p == pytest.approx(np.mean([(abs(s) > seen) + 0.5 * (abs(s) == seen) for s in sums]))


@pytest.mark.parametrize("seed", range(3))
def test_sign_flip_of_many_equals_the_sum_made_step_by_step(seed):
    rng = np.random.default_rng(seed)
    differences = rng.integers(-4, 5, 700) + rng.integers(0, 2, 700)
    steps, mass = np.abs(differences[differences != 0]), np.ones(1)
    for step in steps:
        grown = np.zeros(len(mass) + 2 * step)
        grown[: len(mass)] += mass / 2
        grown[2 * step :] += mass / 2
        mass = grown
    sums, seen = np.arange(len(mass)) - steps.sum(), abs(differences.sum())
    beyond, tied = mass[np.abs(sums) > seen].sum(), mass[np.abs(sums) == seen].sum()
    slow = beyond + tied, beyond + tied / 2
    assert sign_flip(differences) == pytest.approx(slow, rel=1e-12, abs=0)


def test_sign_flip_is_certain_where_every_sum_is_as_far():
    assert sign_flip([1, -1] * 500)[0] == 1.0
    assert sign_flip([1] * 3) == (0.25, 0.125)


@given(st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None)  # the first call imports scipy.stats
def test_mcnemar_is_the_binomial_test_of_the_discordant_images(only_a, only_b):
    from scipy.stats import binomtest

    a = [True] * only_a + [False] * only_b + [True] * 5
    b = [False] * only_a + [True] * only_b + [True] * 5
    found = mcnemar(a, b)
    total = only_a + only_b
    expected = binomtest(only_a, total).pvalue if total else 1.0
    assert found.p_value == pytest.approx(expected)
    assert found.mid_p <= found.p_value
    assert (found.only_a, found.only_b, found.method) == (only_a, only_b, "exact McNemar")


def test_mid_p_agrees_with_the_published_example():
    # Fagerland et al. 2013, airway hyper-responsiveness: 1 against 7; exact 0.0703, mid-p 0.0391.
    found = mcnemar([True] + [False] * 7, [False] + [True] * 7)
    assert found.p_value == pytest.approx(0.0703, abs=1e-4)
    assert found.mid_p == pytest.approx(0.0391, abs=1e-4)


def test_copies_of_an_image_are_no_evidence():
    """Planted fault: taken for independent, five copies of six images look like certainty."""
    a, b = np.repeat([1, 1, 1, 1, 1, 0], 5), np.repeat([0, 0, 0, 0, 0, 1], 5)
    groups = np.repeat(np.arange(6), 5)
    assert mcnemar(a, b, groups=groups).p_value == mcnemar(a[::5], b[::5]).p_value == 0.21875
    assert mcnemar(a, b).p_value < 0.01
    assert mcnemar(a, b, groups=groups).method == "exact sign-flip over patients"


def test_holm_agrees_with_a_slow_version_and_leaves_nan():
    given_p = [0.04, math.nan, 0.001, 0.03, 0.6]
    found = holm(given_p)
    assert found == pytest.approx([0.09, math.nan, 0.004, 0.09, 0.6], nan_ok=True)
    assert holm([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(values):
    found = holm(values)
    assert all(f >= v for f, v in zip(found, values, strict=True))
    ranked = [f for _, f in sorted(zip(values, found, strict=True))]
    assert ranked == sorted(ranked)


# -- compare -------------------------------------------------------------------------------------


def find(comparisons, metric, class_=""):
    return next(c for c in comparisons if (c.metric, c.class_) == (metric, class_))


def test_every_measure_is_compared(make):
    found = compare(make(seed=1), make(seed=2), n_resamples=200)
    names = {(c.metric, c.class_) for c in found}
    assert len(names) == len(found) == 2 + 6 * 3
    assert {c.metric for c in found} == {m.name for m in METRICS.values() if m.compared}
    for c in found:
        assert c.difference.value == pytest.approx(c.a.value - c.b.value)
        assert -1 <= c.difference.low <= c.difference.value <= c.difference.high <= 1
        assert 0 < c.p_value <= 1
        assert c.difference.n_patients == 120


def test_of_two_classes_each_number_stands_once_and_holm_pays_once(make):
    two = {"classes": ["COVID-19", "Normal"], "prior": (0.4, 0.6)}
    a, b = make(seed=3, skill=0.5, **two), make(seed=2, skill=0.8, **two)
    found = compare(a, b, n_resamples=200)
    values = [(c.a.value, c.b.value, c.a.low) for c in found]
    assert len(set(values)) == len(values) == 9
    assert not {"specificity", "npv"} & {c.metric for c in found}
    assert len([c for c in found if c.metric == "auc"]) == 1
    asked = compare(a, b, n_resamples=200, metrics=["specificity", "auc"])
    assert [(c.metric, c.class_) for c in asked] == [
        (m, c) for m in ("specificity", "auc") for c in two["classes"]
    ]  # what is asked for is given
    mirror = find(found, "sensitivity", "Normal")
    assert find(asked, "specificity", "COVID-19").p_value == mirror.p_value


def test_two_classes_of_three_mirror_nothing(make):
    a, b = make(seed=1), make(seed=2)
    only = [c for c in b.frame if c != "p:Normal"]
    known = b.frame[only].assign(prediction=b.frame["prediction"].replace("Normal", "COVID-19"))
    total = known["p:COVID-19"] + known["p:Viral pneumonia"]
    for column in ("p:COVID-19", "p:Viral pneumonia"):
        known[column] /= total
    known["prediction"] = known[["p:COVID-19", "p:Viral pneumonia"]].idxmax(axis=1).str[2:]
    found = compare(a, Predictions(known), n_resamples=50)
    assert {"specificity", "npv"} <= {c.metric for c in found}


def test_swapping_the_models_turns_the_sign(make):
    a, b = make(seed=1), make(seed=2, skill=2.5)
    there, back = compare(a, b, n_resamples=200), compare(b, a, n_resamples=200)
    for one, two in zip(there, back, strict=True):
        assert one.difference.value == -two.difference.value
        assert one.difference.low == pytest.approx(-two.difference.high)
        assert one.p_value == pytest.approx(two.p_value)


def test_order_of_rows_and_of_outputs_does_not_matter(make):
    a, b = make(seed=1), make(seed=2)
    columns = [c for c in b.frame if not c.startswith("p:")]
    columns += sorted((c for c in b.frame if c.startswith("p:")), reverse=True)
    shuffled = Predictions(b.frame[columns].sample(frac=1, random_state=0))
    one, two = (compare(a, other, n_resamples=50) for other in (shuffled, b))
    for left, right in zip(one, two, strict=True):
        assert left.p_value == right.p_value
        ends = [(c.difference.low, c.difference.high) for c in (left, right)]
        assert ends[0] == pytest.approx(ends[1])


def test_a_model_against_itself_shows_nothing_and_is_not_certain(make):
    table = make()
    for c in compare(table, table, n_resamples=100):
        assert c.difference.value == 0
        assert c.p_value == 1
        assert c.difference.low < 0 < c.difference.high, "no difference seen is not none at all"
        alike = "rank every image alike" if c.metric == "auc" else "agree in every resample"
        assert alike in c.difference.note


def test_paired_interval_is_narrower_than_two_models_on_other_patients(make):
    a = make(300, seed=1)
    frame = a.frame.copy()
    classes = a.classes
    for row in range(0, 300, 40):  # a model that differs on a few images only
        frame.loc[row, [f"p:{c}" for c in classes]] = [1.0, 0.0, 0.0]
        frame.loc[row, "prediction"] = classes[0]
    found = find(compare(a, Predictions(frame), metrics=["accuracy"]), "accuracy")
    alone = math.hypot(found.a.high - found.a.low, found.b.high - found.b.low)
    assert found.difference.high - found.difference.low < 0.5 * alone


def test_exact_tests_for_accuracy_sensitivity_and_specificity(make):
    a, b = make(seed=1), make(seed=2)
    found = compare(a, b, n_resamples=50)
    sick = a.y_true == "COVID-19"
    for metric, rows in (("sensitivity", sick), ("specificity", ~sick)):
        expected = mcnemar(
            ((a.y_pred == "COVID-19") == sick)[rows], ((b.y_pred == "COVID-19") == sick)[rows]
        )
        got = find(found, metric, "COVID-19")
        assert (got.p_value, got.p_method) == (expected.p_value, "exact McNemar")
    accuracy = mcnemar(a.y_pred == a.y_true, b.y_pred == b.y_true)
    assert find(found, "accuracy").p_value == accuracy.p_value


def test_patients_with_several_images_are_swapped_whole(make, repeat_images):
    a, b = make(60, seed=1), make(60, seed=2)
    once = compare(a, b, metrics=["accuracy"])[0]
    copied = compare(repeat_images(a, 4), repeat_images(b, 4), metrics=["accuracy"])[0]
    assert copied.p_value == pytest.approx(once.p_value)
    assert copied.p_method == "exact sign-flip over patients"
    width, wider = (c.difference.high - c.difference.low for c in (once, copied))
    assert wider == pytest.approx(width, rel=0.1)


def test_few_differing_patients_are_swapped_in_every_way(make, scikit_learn):
    a = make(80, seed=1)
    frame = a.frame.copy()
    frame.loc[:3, "prediction"] = "Viral pneumonia"
    differ = int((frame["prediction"] != a.frame["prediction"]).sum())
    assert differ >= 3
    got = find(compare(a, Predictions(frame), metrics=["ppv"]), "ppv", "Normal")
    assert got.p_method == f"exact swap over patients, all {2**differ}"
    values = []
    for kept in product([True, False], repeat=differ):  # the slow and obvious way
        one, two = a.y_pred.copy(), frame["prediction"].to_numpy(dtype=str).copy()
        for row, keep in zip(np.flatnonzero(one != two), kept, strict=True):
            if not keep:
                one[row], two[row] = two[row], one[row]
        values.append(
            scikit_learn("ppv", a.y_true, one, "Normal")
            - scikit_learn("ppv", a.y_true, two, "Normal")
        )
    assert got.p_value == np.mean(np.abs(values) >= abs(values[0]) - 1e-12)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "ppv", "npv", "f1"])
def test_swaps_at_random_are_those_of_whole_tables(make, metric):
    """A slow version: answers are exchanged image by image, patient by patient."""
    a, b = make(90, images_each=2, seed=3), make(90, images_each=2, seed=4)
    rows = compare(a, b, metrics=[metric], n_resamples=200, seed=5)
    own, other, n = a.y_pred, b.y_pred, len(a)
    groups, codes = np.unique(a.groups, return_inverse=True)
    patients = np.unique(codes[own != other])
    keep = np.random.default_rng([5, 1]).integers(0, 2, size=(201, len(patients)))
    keep[0] = 1
    gaps = {row.class_: [] for row in rows}
    for drawn in keep:
        swapped = np.zeros(len(groups), dtype=bool)
        swapped[patients[drawn == 0]] = True
        there = swapped[codes]
        one, two = np.where(there, other, own), np.where(there, own, other)
        tables = [
            PatientTable(tuple(a.classes), a.y_true, said, a.y_prob, np.arange(n), n)
            for said in (one, two)
        ]
        for class_, found in gaps.items():
            x, y = (t.statistic(metric, class_ or None).at(np.ones((1, n)))[0] for t in tables)
            found.append(x - y)
    for row in rows:
        seen = np.abs(gaps[row.class_])
        assert row.p_value == (seen >= seen[0] - 1e-12).mean()
        assert row.p_method == "swap over patients, 200 at random"


def test_what_mirrors_another_measure_is_compared_only_when_asked(make):
    a, b = make(seed=1), make(seed=2, skill=2.5)
    names = ["sensitivity", "miss_rate"]
    seen, missed = (find(compare(a, b, metrics=names), name, "Normal") for name in names)
    assert missed.p_value == seen.p_value
    assert missed.difference.value == pytest.approx(-seen.difference.value)
    with pytest.raises(EvaluationError, match="diagnostic_odds_ratio has no upper end"):
        compare(a, b, metrics=["diagnostic_odds_ratio"])


def test_areas_are_compared_by_delong_and_clustered(make, repeat_images):
    a, b = make(60, seed=1), make(60, seed=2, skill=0.5)
    once, copied = (
        find(compare(*tables, metrics=["auc"]), "auc", "Normal")
        for tables in ((a, b), (repeat_images(a, 4), repeat_images(b, 4)))
    )
    assert once.p_method == "DeLong, paired"
    truth = a.y_true == "Normal"
    # The same number of standard errors, of Student's t over the patients of the smaller class.
    apart = student.isf(copied.p_value / 2, min(truth.sum(), (~truth).sum()) - 1)
    assert apart == pytest.approx(norm.isf(once.p_value / 2))
    scores = [t.y_prob[:, 1] for t in (a, b)]
    wins = [(s[truth][:, None] > s[~truth]).astype(float) for s in scores]
    gap = wins[0] - wins[1]  # the slow and obvious way: every pair
    variance = gap.mean(axis=1).var(ddof=1) / truth.sum()
    variance += gap.mean(axis=0).var(ddof=1) / (~truth).sum()
    z = gap.mean() / math.sqrt(variance)
    assert once.difference.value == pytest.approx(gap.mean())
    assert once.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)))


@pytest.mark.parametrize("metric", ["auc", "f1", "balanced_accuracy"])
def test_a_test_finds_a_better_model_and_not_an_equal_one(make, metric):
    class_ = "Normal" if METRICS[metric].per_class else ""
    good, other, bad = make(seed=1), make(seed=2), make(seed=3, skill=0.2)
    assert find(compare(good, bad, metrics=[metric]), metric, class_).p_value < 0.001
    assert find(compare(good, other, metrics=[metric]), metric, class_).p_value > 0.05


def test_auc_test_ignores_the_scale_of_the_probabilities(make):
    a, b = make(seed=1), make(seed=2, skill=1.0)
    flat = a.frame.copy()
    names = [f"p:{c}" for c in a.classes]
    flat[names] = 0.1 * a.y_prob + 0.9 / 3  # the same order in every class, all less certain
    one, two = (
        find(compare(model, b, metrics=["auc"], n_resamples=500), "auc", "Normal")
        for model in (a, Predictions(flat))
    )
    assert one.difference.value > 0
    assert (one.p_value, one.difference.value) == (two.p_value, two.difference.value)


@pytest.mark.full
@pytest.mark.parametrize("metric", ["auc", "f1"])
def test_the_tests_err_as_often_as_they_say(metric):
    """Models that are alike in truth must be told apart in about 5 of 100 sets, not more."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        truth = np.array(["x", "y"])[rng.integers(0, 2, 60)]
        tables = []
        for _ in range(2):
            score = 1 / (1 + np.exp(-((truth == "x") * 1.5 + rng.normal(size=60))))
            tables.append(
                Predictions.from_arrays(
                    ["x", "y"],
                    y_true=truth.tolist(),
                    y_prob=np.column_stack([score, 1 - score]),
                    images=[str(i) for i in range(60)],
                    groups=[str(i) for i in range(60)],
                )
            )
        found = compare(*tables, metrics=[metric], n_resamples=200)
        alarms += find(found, metric, "x").p_value <= 0.05
    assert 0.015 <= alarms / 200 <= 0.1


def test_a_class_without_images_is_undefined_on_both_sides(answers):
    found = compare(answers([1, 1, 0, 1]), answers([1, 0, 0, 1]), n_resamples=50)
    missing = find(found, "sensitivity", "y")
    assert math.isnan(missing.p_value)
    assert missing.difference.note == (
        "model a: no image of y in the set; model b: no image of y in the set"
    )


def test_tables_of_other_images_labels_or_patients_are_refused(make):
    a = make(10)
    with pytest.raises(EvaluationError, match=r"1 \('image 9'\) only in the first, none only"):
        compare(a, Predictions(a.frame.iloc[:9]))
    other = a.frame.assign(label=["COVID-19", *a.frame["label"].tolist()[1:]])
    assert a.frame["label"][0] != "COVID-19"
    with pytest.raises(EvaluationError, match=r"1 images different labels, e.g. 'image 0'"):
        compare(a, Predictions(other))
    moved = a.frame.assign(group="one and the same")
    with pytest.raises(EvaluationError, match="10 images different patients"):
        compare(a, Predictions(moved))
    with pytest.raises(EvaluationError, match="no metric is called 'recall'"):
        compare(a, a, metrics=["recall"])


def test_only_classes_that_both_models_know_are_compared(make):
    a = make(40, seed=1)
    binary = Predictions.from_arrays(
        ["COVID-19", "Normal"],
        y_true=a.y_true.tolist(),
        y_prob=np.tile([0.3, 0.7], (40, 1)),
        images=a.frame["image"].tolist(),
        groups=a.groups.tolist(),
    )
    found = compare(a, binary, n_resamples=50)
    assert {c.class_ for c in found} == {"", "COVID-19", "Normal"}


def test_comparison_survives_json(answers):
    for c in compare(answers([1, 1, 0, 1]), answers([1, 0, 0, 1]), n_resamples=50):
        plain = json.loads(json.dumps(c.to_dict(), allow_nan=False))
        assert Comparison.from_dict(plain) == c


# -- interval and p-value ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "p", "held"),
    [(5, 0, 40, 0.0625, True), (6, 0, 40, 0.03125, False), (1, 7, 90, 0.0703125, True)],
)
def test_the_exact_test_decides_whether_zero_is_held(answers, only_a, only_b, n, p, held):
    """5 of 40 images, all for one model: 0.125 [0.023, 0.254] beside p = 0.0625 once."""
    rest = n - only_a - only_b
    a, b = ([1] * only_a + [0] * only_b + [1] * rest, [0] * only_a + [1] * only_b + [1] * rest)
    found = find(compare(answers(a), answers(b), metrics=["accuracy"]), "accuracy")
    assert found.p_value == p
    assert (found.difference.low <= 0 <= found.difference.high) == held


@st.composite
def two_models(draw: st.DrawFn):
    """Answers of two models of which one may be better, one image a patient or several."""
    n = draw(st.integers(6, 40))
    classes = ["x", "y", "z"][: draw(st.integers(2, 3))]
    seed, skill = (
        draw(st.integers(0, 10**6)),
        draw(st.lists(st.floats(0, 5), min_size=2, max_size=2)),
    )
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n)
    people = rng.integers(0, draw(st.integers(1, n)), n) if draw(st.booleans()) else np.arange(n)
    tables, shared = [], rng.normal(size=(n, len(classes)))
    for good in skill:
        logits = shared + 0.5 * rng.normal(size=shared.shape)
        logits += good * (truth[:, None] == np.array(classes))
        prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        tables.append(
            Predictions.from_arrays(
                classes,
                y_true=truth.tolist(),
                y_prob=prob,
                images=[str(i) for i in range(n)],
                groups=[str(p) for p in people],
            )
        )
    return tables


@settings(deadline=None, max_examples=60)
@given(two_models(), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_zero_is_held_if_and_only_if_the_test_does_not_reject(tables, level):
    for row in compare(*tables, level=level, n_resamples=40):
        found = row.difference
        if not math.isnan(row.p_value):
            assert (found.low <= 0 <= found.high) == (row.p_value > 1 - level)
        if found.is_defined:
            assert -1 <= found.low <= found.value <= found.high <= 1


@given(
    st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 1), st.floats(0.5, 0.999)
)
@settings(deadline=None)
def test_only_the_end_near_zero_gives_way_to_the_test(value, down, up, p, level):
    given = Estimate(value, max(-1, value - down), min(1, value + up), level, "some", 9, 9)
    found = ruled_by_test(given, 1.0 if value == 0 else p)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (found.low <= 0 <= found.high) == (value == 0 or p > 1 - level)
    far = ("high", "low") if value < 0 else ("low", "high")
    assert getattr(found, far[1]) == getattr(given, far[1])


def test_areas_of_decisions_are_not_held_against_those_of_probabilities():
    """A model against itself, once as decisions: the kind of answer is no difference of models."""
    rng = np.random.default_rng(0)
    sick = np.arange(80) < 40
    p = np.clip(0.5 + 0.2 * (2 * sick - 1) + rng.normal(0, 0.2, 80), 0.01, 0.99)

    def table(p):
        names = [str(i) for i in range(80)]
        return Predictions.from_arrays(
            ["sick", "well"],
            y_true=np.where(sick, "sick", "well").tolist(),
            y_prob=np.column_stack([p, 1 - p]),
            images=names,
            groups=names,
        )

    hard, soft = table((p > 0.5).astype(float)), table(p)
    measures = ["auc", "average_precision", "sensitivity"]
    for a, b, which in ((hard, soft, "a"), (soft, hard, "b")):
        rows = compare(a, b, metrics=measures, margins={"auc": 0.3}, n_resamples=50)
        for row in rows:
            if row.metric == "sensitivity":
                assert row.difference.value == 0
                assert row.p_value == 1
            else:
                assert not row.difference.is_defined
                assert f"model {which} gives decisions" in row.difference.note
                assert math.isnan(row.p_value)
                assert row.verdict in ("", "inconclusive")
    alike = compare(hard, hard, metrics=["auc"], n_resamples=50)
    assert alike[0].difference.is_defined
