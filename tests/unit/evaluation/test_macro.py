"""The mean of one-vs-rest areas: its value, its interval, and what share of it a part has."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_samples import Answers

from hurdles.errors import EvaluationError
from hurdles.evaluation import macro
from hurdles.evaluation.delong import AUC, auc_bounds, compare_aucs
from hurdles.evaluation.macro import compare_macro_auc, macro_auc, share_above_chance
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import auc


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def table(truth, logits, groups=None, classes="abc", kind=Predictions):
    n = len(truth)
    names = [f"i{i:04d}" for i in range(n)]
    return kind.from_arrays(
        list(classes[: logits.shape[1]]),
        y_true=list(truth),
        y_prob=softmax(logits),
        images=names,
        groups=names if groups is None else list(groups),
    )


def drawn(rng, n=60, classes=3, effect=1.0, images=1):
    """Logits of n patients of each image's class, who agree with themselves in part."""
    truth = np.repeat(np.arange(n) % classes, images)
    groups = np.repeat([f"p{i:03d}" for i in range(n)], images)
    own = np.repeat(rng.normal(size=(n, classes)), images, axis=0)
    logits = 0.7 * own + 0.7 * rng.normal(size=own.shape) if images > 1 else own
    logits[np.arange(len(truth)), truth] += effect
    return np.array(list("abc"))[truth], logits, groups


def test_two_classes_have_the_usual_area_and_interval():
    truth, logits, groups = drawn(np.random.default_rng(0), classes=2, images=2)
    said = table(truth, logits, groups)
    area = AUC.of(truth, said.y_prob[:, 0], positive="a", groups=groups)
    found = macro_auc(said)
    assert (found.value, found.low, found.high) == (area.value, *auc_bounds(area)[:2])
    assert (found.n_images, found.n_patients) == (120, 60)
    other = table(truth, logits[:, ::-1] + logits, groups)
    twin = AUC.of(truth, other.y_prob[:, 0], positive="a", groups=groups)
    assert compare_macro_auc(said, other) == compare_aucs(area, twin)


def test_the_mean_and_its_variance_are_those_of_the_areas():
    rng = np.random.default_rng(1)
    truth, logits, groups = drawn(rng, 90, images=2)
    said = table(truth, logits, groups)
    areas = [auc(truth == c, said.y_prob[:, i]) for i, c in enumerate("abc")]
    found = macro_auc(said, level=0.68)
    assert found.value == pytest.approx(np.mean(areas), abs=1e-12)
    # The obvious twin of the variance: draw patients again and again.
    people = np.unique(groups)
    rows = {p: np.flatnonzero(groups == p) for p in people}
    again = []
    for _ in range(300):
        take = np.concatenate([rows[p] for p in rng.choice(people, len(people))])
        prob = said.y_prob[take]
        areas = [auc(truth[take] == c, prob[:, i]) for i, c in enumerate("abc")]
        again.append(np.mean(areas))
    half = (found.high - found.low) / 2 / 0.9945  # standard errors that 68 % reaches
    assert half == pytest.approx(np.std(again), rel=0.2)


def test_a_perfect_mean_has_an_interval_and_more_patients_narrow_it():
    def perfect(n):
        truth, _, groups = drawn(np.random.default_rng(0), n)
        logits = 9.0 * (truth[:, None] == np.array(list("abc")))
        return macro_auc(table(truth, logits, groups))

    few, many = perfect(15), perfect(150)
    assert (few.value, few.high) == (1.0, 1.0)
    assert few.low < 0.85 < 0.95 < many.low < 1


def test_many_images_of_few_patients_make_no_narrow_interval():
    truth, logits, groups = drawn(np.random.default_rng(2), 45)
    once = macro_auc(table(truth, logits, groups))
    often = macro_auc(table(*(np.repeat(x, 20, axis=0) for x in (truth, logits, groups))))
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low > 0.9 * (once.high - once.low)


def test_an_absent_class_is_left_out_and_one_class_alone_is_undefined():
    truth, logits, groups = drawn(np.random.default_rng(3))
    two = truth != "c"
    said = table(truth[two], logits[two], groups[two])
    found = macro_auc(said)
    own = [auc(truth[two] == c, said.y_prob[:, i]) for i, c in enumerate("ab")]
    assert found.value == pytest.approx(np.mean(own))
    assert found.note == "no image of c"
    none = macro_auc(table(truth[truth == "a"], logits[truth == "a"]))
    assert not none.is_defined
    assert "fewer than two classes" in str(none)


def test_order_of_rows_and_of_classes_does_not_matter():
    rng = np.random.default_rng(4)
    truth, logits, groups = drawn(rng)
    a, b = (
        table(truth, logits, groups),
        table(truth, logits + rng.normal(size=logits.shape), groups),
    )
    turned = Predictions(b.frame.iloc[::-1][[*b.frame.columns[:6], "p:c", "p:a", "p:b"]])
    assert compare_macro_auc(a, b) == compare_macro_auc(a, turned)
    there, back = compare_macro_auc(a, b).difference, compare_macro_auc(b, a).difference
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )


def test_a_model_and_itself_do_not_differ_and_share_everything():
    said = table(*drawn(np.random.default_rng(5)))
    found = compare_macro_auc(said, said)
    assert (found.difference.value, found.p_value) == (0.0, 1.0)
    assert found.difference.low < 0 < found.difference.high
    share = share_above_chance(said, said)
    assert share.value == 1.0
    assert 0.75 < share.low < 1 < share.high < 1.25


def test_a_share_is_of_what_lies_above_chance():
    rng = np.random.default_rng(6)
    truth, logits, groups = drawn(rng, 150, effect=2.0)
    whole, noise = table(truth, logits, groups), rng.normal(size=logits.shape)
    none = share_above_chance(table(truth, noise, groups), whole)
    assert none.low < 0 < none.high < 0.35
    worse = share_above_chance(table(truth, -logits, groups), whole)
    assert worse.value == pytest.approx(-1.0, abs=0.15)
    assert worse.high < -0.7
    nothing = share_above_chance(whole, table(truth, noise, groups))
    assert not nothing.is_defined
    assert "nothing to have a share of" in nothing.note


@pytest.mark.parametrize("function", [compare_macro_auc, share_above_chance])
def test_only_the_same_images_are_compared(function):
    truth, logits, groups = drawn(np.random.default_rng(7))
    said = table(truth, logits, groups)
    with pytest.raises(EvaluationError, match="tables are of different images"):
        function(said, table(truth[:-1], logits[:-1], groups[:-1]))
    with pytest.raises(EvaluationError, match="different labels"):
        function(said, table(truth[::-1], logits, groups))
    one = truth == "a"
    alone = table(truth[one], logits[one], groups[one])
    with pytest.raises(EvaluationError, match="fewer than two classes"):
        function(alone, alone)


def test_answers_without_a_table_are_judged_as_those_with_one():
    truth, logits, groups = drawn(np.random.default_rng(3), 30, images=3)
    one, other = (table(truth, logits, groups, kind=kind) for kind in (Predictions, Answers))
    assert macro_auc(one) == macro_auc(other)


@pytest.mark.full
@pytest.mark.parametrize(
    ("classes", "n", "images", "effect"), [(3, 45, 1, 1.0), (3, 45, 3, 1.0), (3, 30, 1, 3.0)]
)
def test_intervals_hold_the_truth(classes, n, images, effect):
    """Of 400 intervals at 95 %, fewer than 366 hold the truth with a chance below 0.2 %."""
    rng = np.random.default_rng(0)
    truth, logits, _ = drawn(rng, 6000, classes, effect, images)
    said = table(truth, logits)
    true = np.mean([auc(truth == c, said.y_prob[:, i]) for i, c in enumerate("abc")])
    held = 0
    for _ in range(400):
        found = macro_auc(table(*drawn(rng, n, classes, effect, images), kind=Answers))
        held += found.low <= true <= found.high
    assert held >= 366


def joint(rng, n, kind=Predictions):
    """A whole and a part of it that sees one of two signs; patients of three classes."""
    truth = np.arange(n) % 3
    hot = np.eye(3)[truth]
    first, second = (1.2 * hot + rng.normal(size=hot.shape) for _ in range(2))
    names = np.array(list("abc"))[truth]
    return tuple(table(names, logits, kind=kind) for logits in (first, first + second))


@pytest.mark.full
def test_shares_and_differences_hold_the_truth(monkeypatch):
    monkeypatch.setattr(macro, "in_pairs", lambda a, b: (a, b))  # they are
    rng = np.random.default_rng(1)
    true = [macro_auc(said).value for said in joint(rng, 9000)]
    share, gap = (true[0] - 0.5) / (true[1] - 0.5), true[0] - true[1]
    shares = gaps = 0
    for _ in range(300):
        part, whole = joint(rng, 60, Answers)
        found, other = share_above_chance(part, whole), compare_macro_auc(part, whole).difference
        shares += found.low <= share <= found.high
        gaps += other.low <= gap <= other.high
    # Below 272 of 300 with a chance of 0.2 %.
    assert min(shares, gaps) >= 272


@pytest.mark.parametrize("images", [1, 3])
def test_one_matrix_product_gives_what_every_pair_of_areas_gives(images):
    """The slow twin: each area by itself, each covariance by itself."""
    truth, logits, groups = drawn(np.random.default_rng(8), 60, images=images)
    said = table(truth, logits, groups)
    areas = [
        AUC.of(truth, said.y_prob[:, i], positive=c, groups=said.groups)
        for i, c in enumerate("abc")
    ]
    joint = np.array([[a.covariance(b) for b in areas] for a in areas])
    spread = np.sqrt(np.diag(joint))
    value = np.mean([a.value for a in areas])
    bounds = []
    for side in (0, 1):
        reach = np.array([abs(auc_bounds(a)[side] - a.value) for a in areas])
        bounds.append(np.sqrt(reach @ (joint / np.outer(spread, spread)) @ reach) / 3)
    found = macro_auc(said)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((value - bounds[0], value + bounds[1]))


def test_fourteen_classes_take_no_pair_of_classes():
    import time

    rng, n = np.random.default_rng(9), 20_000
    truth = rng.integers(0, 14, n)
    logits = rng.normal(size=(n, 14))
    logits[np.arange(n), truth] += 1
    names = np.array(list("abcdefghijklmn"))
    said = table(names[truth], logits, classes="abcdefghijklmn")
    start = time.process_time()
    macro_auc(said)
    assert time.process_time() - start < 1.5
