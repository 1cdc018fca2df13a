"""Forecasts of the area outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.forecast import Record, forecast_auc, track_record
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions


def told(scores):
    n = len(scores)
    return Predictions.from_arrays(
        ["a", "b"],
        y_true=["a"] * (n // 2) + ["b"] * (n // 2),
        y_prob=np.column_stack([scores, 1 - np.asarray(scores)]),
        images=[str(i) for i in range(n)],
        groups=[str(i) for i in range(n)],
    )


GOOD = np.linspace(0.9, 0.1, 60)


@settings(deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=60, max_size=60))
def test_it_lies_between_chance_and_the_area_inside(numbers):
    model, blind = told(GOOD), told(np.array(numbers) / 1000)
    found = forecast_auc(model, blind)
    assert 0.5 <= found.value <= macro_auc(model).value
    assert found.low <= found.value <= found.high


def test_it_takes_away_what_the_blind_know():
    mixed = np.where(np.arange(60) % 3 == 0, 0.5, GOOD)
    expected = macro_auc(told(GOOD)).value - macro_auc(told(mixed)).value + 0.5
    assert forecast_auc(told(GOOD), told(mixed)).value == pytest.approx(expected)


def test_who_is_blind_and_wrong_takes_nothing_away():
    assert forecast_auc(told(GOOD), told(GOOD[::-1])).value == macro_auc(told(GOOD)).value


def test_a_blind_that_knows_all_leaves_chance():
    assert forecast_auc(told(GOOD), told(GOOD)).value == 0.5


def test_the_record_is_of_absolute_errors():
    record = track_record([0.7, 0.9], [0.95, 0.95], [0.8, 0.8])
    assert record == Record(pytest.approx(0.1), pytest.approx(0.15), 2)


@pytest.mark.parametrize(("said", "came"), [([], []), ([0.7], [0.7, 0.8])])
def test_a_record_needs_forecasts_and_outcomes(said, came):
    with pytest.raises(EvaluationError, match="a record needs one of each"):
        track_record(said, [0.9] * len(came), came)
