from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.errors import EvaluationError
from hurdles.explanation.heatmap import Heatmap, HeatmapStatus

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(hnp.arrays("float32", SHAPES, elements=FINITE))
def test_a_finite_map_is_scaled_to_its_maximum_or_empty(raw):
    heat = Heatmap.from_raw("x", "ill", "grad-cam", raw)
    assert heat.values.shape == raw.shape
    if raw.max() > 0:
        assert heat.is_drawable
        assert heat.peak == raw.max()
        assert heat.values.max() == 1
        assert heat.values[np.unravel_index(raw.argmax(), raw.shape)] == 1
        assert not heat.values[raw <= 0].any()
    else:
        assert heat.status is HeatmapStatus.EMPTY
        assert math.isnan(heat.peak)
        assert "'ill'" in heat.message


@given(hnp.arrays("float32", SHAPES, elements=st.floats(width=32)))
def test_a_map_with_one_value_that_is_not_a_number_is_never_drawn(raw):
    heat = Heatmap.from_raw("x", "ill", "grad-cam", raw)
    assert (heat.status is HeatmapStatus.NOT_FINITE) == (not np.isfinite(raw).all())
    assert np.isfinite(heat.values).all()
    assert heat.is_drawable == bool(heat.values.any())


@pytest.mark.parametrize(
    ("values", "status", "message"),
    [
        (np.ones((2, 2)), "ok", "float32 of shape"),
        (np.ones(4, dtype="float32"), "ok", "float32 of shape"),
        (np.full((2, 2), 0.5, dtype="float32"), "ok", "largest value is 0.5"),
        (np.full((2, 2), np.nan, dtype="float32"), "ok", "largest value is nan"),
        (np.array([[1, -1]], dtype="float32"), "ok", "make it with Heatmap.from_raw"),
        (np.ones((2, 2), dtype="float32"), "empty", "is 'empty' but its largest value is 1.0"),
        (np.ones((2, 2), dtype="float32"), "not finite", "is 'not finite' but"),
    ],
)
def test_values_that_contradict_the_status_are_refused(values, status, message):
    with pytest.raises(EvaluationError, match=message):
        Heatmap("x", "ill", "grad-cam", values, HeatmapStatus(status))


def test_an_empty_map_without_sign_says_so():
    heat = Heatmap.from_raw("x", "ill", "smoothgrad", np.zeros((2, 2)))
    assert heat.message == "no pixel speaks for or against 'ill'"
