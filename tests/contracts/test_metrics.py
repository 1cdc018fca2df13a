"""What must hold for every metric: one table of metrics, one of properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.metrics import METRICS, Metric, get_metric
from hurdles.evaluation.statistics import PatientTable, auc

CLASSES = ("a", "b", "c")


@st.composite
def tables(draw: st.DrawFn):
    """True classes and scores of a few images; predictions are the class of the highest score."""
    n = draw(st.integers(1, 25))
    truth = np.array(draw(st.lists(st.sampled_from(CLASSES), min_size=n, max_size=n)))
    # Few distinct values, so that ties are common.
    cells = st.lists(st.integers(0, 4), min_size=3 * n, max_size=3 * n)
    return truth, np.array(draw(cells), dtype=float).reshape(n, 3)


def said(scores):
    return np.array(CLASSES)[np.argmax(scores, axis=1)]


def score(metric: Metric, truth, scores, positive="a", classes=CLASSES):
    named = np.array(classes)[np.argmax(scores, axis=1)]
    alone = np.arange(len(truth))
    table = PatientTable(tuple(classes), truth, named, scores, alone, len(truth))
    statistic = table.statistic(metric.name, positive if metric.per_class else None)
    return statistic.at(np.ones((1, len(truth))))[0]


def same(one, two):
    return one == pytest.approx(two, abs=1e-12, nan_ok=True)


# -- slow and obvious versions: count one image, or one pair, at a time --------------------------


def slow(name, truth, scores, positive="a"):
    guess = said(scores)
    rows = list(zip(truth, guess, scores[:, CLASSES.index(positive)], strict=True))
    if name == "accuracy":
        return share([t == g for t, g, _ in rows])
    if name == "balanced_accuracy":
        each = [share([g == c for t, g, _ in rows if t == c]) for c in sorted(set(truth))]
        return sum(each) / len(each) if len(each) > 1 else math.nan
    if name == "sensitivity":
        return share([g == positive for t, g, _ in rows if t == positive])
    if name == "specificity":
        return share([g != positive for t, g, _ in rows if t != positive])
    if name == "ppv":
        return share([t == positive for t, g, _ in rows if g == positive])
    if name == "npv":
        return share([t != positive for t, g, _ in rows if g != positive])
    if name == "f1":
        recall = slow("sensitivity", truth, scores)
        precision = slow("ppv", truth, scores)
        if math.isnan(recall) or recall == 0:
            return recall
        return 2 * precision * recall / (precision + recall)
    if name == "average_precision":  # the precision at each image of the class
        pairs = [(t == positive, s) for t, _, s in rows]
        return share([share([u for u, r in pairs if r >= s]) for right, s in pairs if right])
    if name == "miss_rate":
        return share([g != positive for t, g, _ in rows if t == positive])
    if name == "diagnostic_odds_ratio":
        kinds = [(t == positive, g == positive) for t, g, _ in rows]
        if len({sick for sick, _ in kinds}) < 2 or len({named for _, named in kinds}) < 2:
            return math.nan
        cells = [
            kinds.count(k) for k in [(True, True), (False, False), (True, False), (False, True)]
        ]
        if 0 in cells:
            cells = [n + 0.5 for n in cells]
        return (cells[0] / cells[2]) / (cells[3] / cells[1])
    wins = [
        1.0 if s > r else 0.5 if s == r else 0.0
        for t, _, s in rows
        if t == positive
        for u, _, r in rows
        if u != positive
    ]
    return share(wins)


def share(flags):
    return sum(flags) / len(flags) if flags else math.nan


# -- properties: each takes a metric and one drawn table -----------------------------------------


def is_within_its_range(metric, truth, scores):
    value = score(metric, truth, scores)
    assert math.isnan(value) or metric.low <= value <= metric.high


def equals_the_slow_version(metric, truth, scores):
    assert same(score(metric, truth, scores), slow(metric.name, truth, scores))


def ignores_the_order_of_rows(metric, truth, scores):
    order = np.random.default_rng(0).permutation(len(truth))
    assert same(score(metric, truth[order], scores[order]), score(metric, truth, scores))


def ignores_the_names_of_classes(metric, truth, scores):
    names = {"a": "Zürich", "b": "b b", "c": "0"}
    renamed = np.array([names[t] for t in truth])
    other = score(metric, renamed, scores, "Zürich", ("Zürich", "b b", "0"))
    assert same(other, score(metric, truth, scores))


def is_unchanged_when_every_row_stands_twice(metric, truth, scores):
    if metric.name == "diagnostic_odds_ratio":
        kinds = set(zip(truth == "a", said(scores) == "a", strict=True))
        if len(kinds) < 4:
            return  # half an image is added once, however many there are
    twice = score(metric, np.repeat(truth, 2), np.repeat(scores, 2, axis=0))
    assert same(twice, score(metric, truth, scores))


def is_never_worse_when_an_image_is_put_right(metric, truth, scores):
    before = score(metric, truth, scores)
    for row in range(len(truth)):
        better = scores.copy()
        column = CLASSES.index(truth[row])
        better[row, column] = max(5.0, better[row, column])
        better[row, [k for k in range(3) if k != column]] = -1.0
        after = score(metric, truth, better)
        # An undefined value may become defined, and PPV undefined where its last error goes.
        if not math.isnan(before) and not math.isnan(after):
            gain = after - before if metric.higher_is_better else before - after
            assert gain >= -1e-12


def is_perfect_for_a_perfect_model(metric, truth, scores):
    perfect = (truth[:, None] == np.array(CLASSES)).astype(float)
    value = score(metric, truth, perfect)
    best = 1.0 if metric.higher_is_better else 0.0
    if metric.name == "diagnostic_odds_ratio":
        best = (2 * (truth == "a").sum() + 1) * (2 * (truth != "a").sum() + 1)
    assert math.isnan(value) or same(value, best)


def exists_or_not_as_the_counts_say(metric, truth, scores):
    guess = said(scores)
    needed = {
        "accuracy": len(truth) > 0,
        "balanced_accuracy": len(set(truth)) > 1,
        "sensitivity": "a" in truth,
        "specificity": (truth != "a").any(),
        "ppv": "a" in guess,
        "npv": (guess != "a").any(),
        "f1": "a" in truth,
        "auc": 0 < (truth == "a").sum() < len(truth),
        "average_precision": "a" in truth,
        "miss_rate": "a" in truth,
        "diagnostic_odds_ratio": 0 < (truth == "a").sum() < len(truth)
        and 0 < (guess == "a").sum() < len(truth),
    }
    assert math.isnan(score(metric, truth, scores)) == (not needed[metric.name])


def equals_scikit_learn(metric, truth, scores):
    from sklearn import metrics as theirs

    value, guess = score(metric, truth, scores), said(scores)
    # Where it is undefined scikit-learn warns or gives 0; there is nothing to agree on. Its
    # balanced accuracy of a class that is predicted and absent is the same, with a warning.
    if math.isnan(value) or (metric.name == "balanced_accuracy" and set(guess) - set(truth)):
        return
    positive, named = truth == "a", guess == "a"
    expected = {
        "accuracy": lambda: theirs.accuracy_score(truth, guess),
        "balanced_accuracy": lambda: theirs.balanced_accuracy_score(truth, guess),
        "sensitivity": lambda: theirs.recall_score(positive, named),
        "specificity": lambda: theirs.recall_score(~positive, ~named),
        "ppv": lambda: theirs.precision_score(positive, named),
        "npv": lambda: theirs.precision_score(~positive, ~named),
        "f1": lambda: theirs.f1_score(positive, named),
        "auc": lambda: theirs.roc_auc_score(positive, scores[:, 0]),
        "average_precision": lambda: theirs.average_precision_score(positive, scores[:, 0]),
        "miss_rate": lambda: 1 - theirs.recall_score(positive, named),
        "diagnostic_odds_ratio": lambda: _odds(theirs.confusion_matrix(positive, named)),
    }
    assert same(value, expected[metric.name]())


def _odds(counts):
    (tn, fp), (fn, tp) = counts if counts.all() else counts + 0.5
    return tp / fn * (tn / fp)


PROPERTIES = (
    is_within_its_range,
    equals_the_slow_version,
    equals_scikit_learn,
    ignores_the_order_of_rows,
    ignores_the_names_of_classes,
    is_unchanged_when_every_row_stands_twice,
    is_never_worse_when_an_image_is_put_right,
    is_perfect_for_a_perfect_model,
    exists_or_not_as_the_counts_say,
)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric(metric, holds):
    @given(tables())
    @settings(max_examples=25, deadline=None)
    def check(table):
        holds(metric, *table)

    check()


@given(tables())
@settings(max_examples=50, deadline=None)
def test_auc_depends_only_on_the_order_of_scores(table):
    truth, scores = table
    warped = np.exp(3 * scores[:, 0]) - 7
    assert same(auc(truth == "a", warped), auc(truth == "a", scores[:, 0]))


def test_auc_of_reversed_scores_is_its_complement():
    truth, scores = np.array([True, True, False, False, False]), np.array([3.0, 1, 1, 2, 0])
    assert auc(truth, scores) == 4.5 / 6
    assert auc(truth, -scores) == 1 - 4.5 / 6
    assert math.isnan(auc(truth, np.full(5, math.nan)))


def test_every_metric_has_its_name_and_a_sentence():
    assert all(name == m.name and m.sentence.endswith(".") for name, m in METRICS.items())


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_reason_is_a_sentence_about_the_class(metric):
    reason = metric.why_undefined("COVID-19")
    assert "{" not in reason
    assert ("COVID-19" in reason) == metric.per_class


def test_an_unknown_metric_lists_the_known_ones():
    with pytest.raises(EvaluationError, match=r"'recall'.*sensitivity"):
        get_metric("recall")
