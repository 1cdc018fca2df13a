"""Forecasts of the area outside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.forecast import (
    Record,
    expected_auc,
    forecast_auc,
    track_record,
)
from hurdles.evaluation.macro import class_aucs, macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import auc


def told(scores, truth=None):
    n = len(scores)
    return Predictions.from_arrays(
        ["a", "b"],
        y_true=["a"] * (n // 2) + ["b"] * (n // 2) if truth is None else truth,
        y_prob=np.column_stack([scores, 1 - np.asarray(scores)]),
        images=[str(i) for i in range(n)],
        groups=[str(i) for i in range(n)],
    )


def signs(rng, n, lung, shortcut):
    """Return two independent normal signs of 2n images, the first n of the class."""
    sick = np.repeat([1.0, 0.0], n)
    return rng.normal(size=2 * n) + lung * sick, rng.normal(size=2 * n) + shortcut * sick


def squeezed(logits):
    return 1 / (1 + np.exp(-logits))


GOOD = np.linspace(0.9, 0.1, 60)
SLIP = np.r_[GOOD[:25], GOOD[30:35], GOOD[25:30], GOOD[35:]]  # five of a below five of b


@pytest.mark.parametrize("lung", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("shortcut", [0.0, 0.5, 1.0, 2.0])
def test_squared_effects_add_up_for_independent_normal_signs(lung, shortcut):
    """The model looks at both signs as is best; outside, the shortcut's has no class."""
    n = 200_000
    rng, truth = np.random.default_rng(0), ["a"] * n + ["b"] * n
    (lungs, seen), (_, unrelated) = signs(rng, n, lung, shortcut), signs(rng, n, 0, 0)
    inside, outside, blind, constant = (
        auc(np.array(truth) == "a", score)
        for score in (
            lung * lungs + shortcut * seen,
            lung * lungs + shortcut * unrelated,
            seen,
            lungs,
        )
    )
    assert expected_auc(inside, blind) == pytest.approx(outside, abs=0.004)
    assert constant >= outside - 0.004
    if (lung, shortcut) == (2.0, 1.0):
        found = [round(x, 2) for x in (inside, blind, outside, constant)]
        assert found == [0.94, 0.76, 0.90, 0.92]
        assert abs(inside - blind + 0.5 - outside) > 0.2, "areas do not add"


def test_a_blind_view_that_knows_nothing_biases_nothing():
    """Below 0.5 half the time, it takes away and gives alike."""
    rng, found, naive = np.random.default_rng(0), [], []
    for _ in range(150):
        lungs, seen = signs(rng, 30, 1.0, 0.0)
        inside, blind = (macro_auc(told(squeezed(s))).value for s in (lungs, seen))
        found.append(expected_auc(inside, blind))
        naive.append(expected_auc(inside, max(blind, 0.5)))
    true = 0.760
    assert np.mean(found) == pytest.approx(true, abs=0.012)
    assert np.mean(naive) < np.mean(found) - 0.005


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng, held, true = np.random.default_rng(2), 0, 0.8970
    for _ in range(200):
        lungs, seen = signs(rng, 40, 2.0, 1.0)
        model, blind = told(squeezed(2 * lungs + seen)), told(squeezed(seen))
        found = forecast_auc(model, blind)
        held += found.low <= true <= found.high
    assert 0.92 <= held / 200 <= 0.995


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 1000), min_size=60, max_size=60),
    st.lists(st.integers(0, 9), min_size=60, max_size=60),
)
def test_it_is_an_area_with_bounds_around_it_or_says_why_not(numbers, scores):
    model, blind = (told(np.array(x) / max(max(x), 1)) for x in (scores, numbers))
    found = forecast_auc(model, blind)
    if found.is_defined:
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.low < found.high
        assert 0.5 < macro_auc(model).value < 1
    else:
        assert found.note


def test_a_blind_that_knows_all_leaves_chance_and_not_for_certain():
    found = forecast_auc(told(SLIP), told(SLIP))
    assert found.value == 0.5
    assert found.low < 0.4 < 0.6 < found.high


@pytest.mark.parametrize(
    ("model", "blind", "why"),
    [
        (GOOD, SLIP, "a: the AUC inside is 1: how far apart the classes lie has no upper end"),
        (SLIP[::-1], SLIP, "is not above chance"),
        (SLIP, GOOD, "a: the blind view's AUC is 1: what it sees has no finite size"),
        (SLIP, GOOD[::-1], "a: the blind view's AUC is 0"),
    ],
)
def test_without_a_finite_effect_there_is_no_forecast(model, blind, why):
    found = forecast_auc(told(model), told(blind))
    assert math.isnan(found.value)
    assert why in found.note


def three(seed, skill):
    truth = np.repeat(["a", "b", "c"], 25)
    logits = np.random.default_rng(seed).normal(size=(75, 3))
    logits[np.arange(75), np.repeat([0, 1, 2], 25)] += skill
    return Predictions.from_arrays(
        ["a", "b", "c"],
        y_true=truth.tolist(),
        y_prob=np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True),
        images=[str(i) for i in range(75)],
        groups=[str(i) for i in range(75)],
    )


def test_of_several_classes_it_is_the_mean():
    model, blind = three(0, np.array([2.5, 1.5, 2.0]).repeat(25)), three(1, 0.5)
    found = forecast_auc(model, blind)
    inside, unseeing = class_aucs(model), class_aucs(blind)
    each = [expected_auc(inside[c].value, unseeing[c].value) for c in "abc"]
    assert found.value == pytest.approx(np.mean(each))
    assert found.low < found.value < found.high
    shuffled = Predictions(blind.frame.sample(frac=1, random_state=0))
    assert forecast_auc(model, shuffled).value == pytest.approx(found.value)


def test_one_perfect_class_is_named_and_leaves_no_mean():
    model, blind = three(0, 2.0), three(1, 0.5)
    frame = model.frame.copy()
    frame.loc[frame["label"] == "a", ["p:a", "p:b", "p:c"]] = [1.0, 0.0, 0.0]
    perfect = Predictions(frame)
    found = forecast_auc(perfect, blind)
    assert not found.is_defined
    assert found.note.startswith("a: the AUC inside is 1")
    assert "b:" not in found.note


def test_one_class_alone_has_no_forecast():
    alone = told(np.full(4, 0.7), ["a"] * 4)
    assert "fewer than two classes" in forecast_auc(alone, alone).note


def test_other_images_are_refused():
    with pytest.raises(EvaluationError, match="tables are of different images"):
        forecast_auc(told(GOOD), told(GOOD[:50]))


def test_the_record_is_of_absolute_errors_where_there_is_a_forecast():
    record = track_record([0.7, 0.9, math.nan], [0.95, 0.95, 0.95], [0.8, 0.8, 0.1])
    assert record == Record(pytest.approx(0.1), pytest.approx(0.15), 2)
    none = track_record([math.nan], [1.0], [0.8])
    assert str(none) == "no forecast can be held against what came"


@pytest.mark.parametrize(("said", "came"), [([], []), ([0.7], [0.7, 0.8])])
def test_a_record_needs_forecasts_and_outcomes(said, came):
    with pytest.raises(EvaluationError, match="a record needs one of each"):
        track_record(said, [0.9] * len(came), came)
