"""Non-inferiority: the verdict of a margin, read off the interval of a paired difference."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import Comparison, compare
from hurdles.evaluation.estimate import Estimate, undefined


def row(low, high, margin, metric="accuracy"):
    one = Estimate(0.8, 0.7, 0.9, 0.95, "some", 9, 9)
    difference = Estimate((low + high) / 2, low, high, 0.95, "some", 9, 9)
    return Comparison(metric, "", one, one, difference, 0.5, "some", margin)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.04, 0.02, "non-inferior"),
        (0.01, 0.03, "non-inferior"),
        (-0.05, 0.02, "inconclusive"),  # the margin itself is not excluded
        (-0.06, 0.02, "inconclusive"),
        (-0.20, -0.05, "inconclusive"),
        (-0.20, -0.06, "inferior"),
        (-0.04, -0.01, "non-inferior"),  # worse, and not by as much as matters
    ],
)
def test_the_whole_interval_has_to_be_on_one_side_of_the_margin(low, high, verdict):
    assert row(low, high, 0.05).verdict == verdict
    # Of a measure that is better when low it is the other end that counts.
    assert row(-high, -low, 0.05, "miss_rate").verdict == verdict


def test_without_a_margin_or_a_difference_nothing_is_judged():
    assert row(-0.1, 0.1, None).verdict == ""
    assert "margin" not in row(-0.1, 0.1, None).to_dict()
    gone = Comparison("accuracy", "", *[undefined("no image")] * 3, math.nan, "none", margin=0.05)
    assert gone.verdict == "inconclusive"


def test_the_margin_comes_back_from_json():
    for margin in (None, 0.05):
        plain = json.loads(json.dumps(row(-0.01, 0.02, margin).to_dict()))
        assert Comparison.from_dict(plain) == row(-0.01, 0.02, margin)
        assert plain.get("verdict", "") == row(-0.01, 0.02, margin).verdict


def test_every_row_of_a_metric_has_its_margin_and_no_other(make):
    rows = compare(make(), make(seed=1), margins={"sensitivity": 0.1}, n_resamples=40)
    for one in rows:
        assert one.margin == (0.1 if one.metric == "sensitivity" else None)
        assert one.verdict == "" or one.metric == "sensitivity"
    plain = compare(make(), make(seed=1), n_resamples=40)
    assert [r.to_dict() for r in plain] == [
        {k: v for k, v in r.to_dict().items() if k not in ("margin", "verdict")} for r in rows
    ]


@pytest.mark.parametrize(
    ("margins", "message"),
    [
        ({"recall": 0.1}, "no metric is called 'recall'"),
        ({"accuracy": 0}, "the margin of accuracy is 0; .* between 0 and 1"),
        ({"accuracy": 5}, "the margin of accuracy is 5; .* five points"),
        ({"accuracy": math.nan}, "the margin of accuracy is nan"),
        ({"average_precision": 0.1}, "no row of it; compared are accuracy, .* as a metric, too"),
    ],
)
def test_a_margin_that_cannot_be_used(make, margins, message):
    with pytest.raises(EvaluationError, match=message):
        compare(make(), make(seed=1), margins=margins, n_resamples=40)


def test_average_precision_is_compared_on_request_by_its_interval_alone(make):
    rows = compare(make(), make(seed=1), metrics=["average_precision"], n_resamples=100)
    assert [r.class_ for r in rows] == ["COVID-19", "Normal", "Viral pneumonia"]
    for one in rows:
        assert math.isnan(one.p_value)
        assert one.p_method == "none"
        assert one.difference.value == pytest.approx(one.a.value - one.b.value)
        assert one.difference.low < one.difference.value < one.difference.high


def test_a_model_that_is_worse_by_the_margin_is_seldom_called_non_inferior(answers):
    """One-sided, nominal 2.5 %: 100 images, right in 80 and 90 % of them, margin 10 points."""
    rng, called = np.random.default_rng(0), 0
    for _ in range(150):
        kind = rng.choice(4, 100, p=[0.05, 0.15, 0.75, 0.05])  # only a, only b, both, neither
        a, b = answers((kind == 0) | (kind == 2)), answers((kind == 1) | (kind == 2))
        found = compare(a, b, metrics=["accuracy"], margins={"accuracy": 0.1}, n_resamples=100)
        called += found[0].verdict == "non-inferior"
    assert called <= 9  # of 150 at 2.5 % more come about once in 100
