from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.decisions import Threshold, apply, youden_threshold
from hurdles.evaluation.predictions import Predictions


def table(p, truth, classes=("sick", "well")):
    p = np.asarray(p, dtype=float)
    names = [f"i{k}" for k in range(len(p))]
    return Predictions.from_arrays(
        list(classes),
        y_true=["sick" if t else "well" for t in truth],
        y_prob=np.column_stack([p, 1 - p]),
        images=names,
        groups=names,
    )


def slow_youden(p, truth):
    """Try every middle between neighbours: the best index, and the lowest cut that reaches it."""
    values = sorted(set(p))
    cuts = [(a + b) / 2 for a, b in pairwise(values)]
    found = []
    for cut in cuts:
        sens = sum(x >= cut for x, t in zip(p, truth, strict=True) if t) * truth.count(False)
        spec = sum(x < cut for x, t in zip(p, truth, strict=True) if not t) * truth.count(True)
        found.append((-(sens + spec), cut))
    return min(found)[1]


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=3, max_size=30))
@settings(deadline=None)
def test_it_is_the_best_of_every_cut(rows):
    p, truth = [0.1 + n / 10 for n, _ in rows], [t for _, t in rows]
    if len(set(p)) < 2 or len(set(truth)) < 2:
        return
    found = youden_threshold(table(p, truth), "sick")
    assert found.value == pytest.approx(slow_youden(p, truth))
    said = apply(table(p, truth), found).y_pred == "sick"
    known = np.array(truth)
    assert found.sensitivity == said[known].mean()
    assert found.specificity == (~said)[~known].mean()
    assert (found.n_validation, found.n_positive) == (len(p), sum(truth))


def test_the_order_of_rows_and_of_classes_does_not_matter():
    rng = np.random.default_rng(0)
    truth = rng.random(80) < 0.4
    said = table(np.clip(0.3 * truth + 0.6 * rng.random(80), 0, 1), truth)
    first = youden_threshold(said, "sick")
    assert youden_threshold(Predictions(said.frame.sample(frac=1, random_state=3)), "sick") == first
    turned = said.frame[[*said.frame.columns[:6], "p:well", "p:sick"]]
    assert youden_threshold(Predictions(turned), "sick") == first


def test_it_lies_in_the_middle_of_a_gap_and_of_equals_misses_the_fewest():
    found = youden_threshold(table([0.9, 0.5, 0.4, 0.1], [1, 1, 0, 0]), "sick")
    assert found.value == pytest.approx(0.45)
    # From 0.3 on: 2 of 2 and 1 of 2; from 0.75 on: 1 of 2 and 2 of 2. Both sum to 1.5.
    even = youden_threshold(table([0.9, 0.4, 0.6, 0.2], [1, 1, 0, 0]), "sick")
    assert (even.value, even.sensitivity, even.specificity) == (pytest.approx(0.3), 1.0, 0.5)


def test_probabilities_that_touch_are_still_parted():
    low = 0.3
    high = np.nextafter(low, 1)
    said = table([high, low], [1, 0])
    found = youden_threshold(said, "sick")
    assert apply(said, found).y_pred.tolist() == ["sick", "well"]


def test_a_model_that_says_the_same_of_all_gets_a_half_and_a_note():
    found = youden_threshold(table([0.7] * 4, [1, 1, 0, 0]), "sick")
    assert (found.value, found.sensitivity, found.specificity) == (0.5, 1.0, 0.0)
    assert "the same probability" in found.note
    worse = youden_threshold(table([0.1, 0.9], [1, 0]), "sick")
    assert "no threshold is better than chance" in worse.note


def test_apply_changes_the_class_and_nothing_else():
    said = table([0.9, 0.45, 0.2], [1, 0, 1])
    out = apply(said, Threshold("sick", 0.2, "youden", 10, 4, 1.0, 0.5))
    assert out.y_pred.tolist() == ["sick"] * 3
    assert out.frame.drop(columns="prediction").equals(said.frame.drop(columns="prediction"))
    assert said.y_pred.tolist() == ["sick", "well", "well"], "what was given is left alone"
    other = apply(said, Threshold("well", 0.6, "youden", 10, 4, 1.0, 0.5))
    assert other.y_pred.tolist() == ["sick", "sick", "well"]
    assert (out.frame.dtypes == said.frame.dtypes).all()


def test_three_classes_a_strange_class_and_a_lacking_class_are_refused(make):
    threshold = Threshold("COVID-19", 0.3, "youden", 10, 4, 1.0, 0.5)
    with pytest.raises(EvaluationError, match=r"the model has 3 .*argmax"):
        apply(make(), threshold)
    with pytest.raises(EvaluationError, match="the model has 3"):
        youden_threshold(make(), "COVID-19")
    said = table([0.9, 0.1], [1, 0])
    with pytest.raises(EvaluationError, match=r"'COVID-19' is not a class .* sick and well"):
        apply(said, threshold)
    with pytest.raises(EvaluationError, match="no validation image is sick"):
        youden_threshold(table([0.9, 0.1], [0, 0]), "sick")
    with pytest.raises(EvaluationError, match="no validation image is other than sick"):
        youden_threshold(table([0.9, 0.1], [1, 1]), "sick")


@pytest.mark.parametrize("value", [0.0, 1.5, math.nan, -1.0])
def test_what_is_no_probability_is_no_threshold(value):
    with pytest.raises(EvaluationError, match="must be a probability above 0"):
        Threshold("sick", value, "youden", 10, 4, 1.0, 0.5)


def test_json_keeps_it_to_the_bit_and_damage_is_named():
    found = youden_threshold(table([0.9, 1 / 3, 0.1], [1, 1, 0]), "sick")
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert Threshold.from_dict(plain) == found
    with pytest.raises(EvaluationError, match=r"this is no threshold.*unexpected"):
        Threshold.from_dict({**plain, "colour": "red"})
    with pytest.raises(EvaluationError, match=r"this is no threshold.*value"):
        Threshold.from_dict({k: v for k, v in plain.items() if k != "value"})
    with pytest.raises(EvaluationError, match="takes images of both classes"):
        Threshold.from_dict({**plain, "n_positive": 0})
