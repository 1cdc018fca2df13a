from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.errors import EvaluationError
from hurdles.explanation.heatmap import Heatmap, share_inside


def _heat(raw: np.ndarray) -> Heatmap:
    return Heatmap.from_raw("x", "ill", "occlusion", np.asarray(raw, dtype="float64"))


@given(
    hnp.arrays("float64", (5, 4), elements=st.floats(0, 100)),
    hnp.arrays(bool, (5, 4)),
)
def test_shares_are_bounded_and_those_of_a_mask_and_its_rest_add_up(raw, mask):
    inside, outside = share_inside(_heat(raw), mask), share_inside(_heat(raw), ~mask)
    assert inside.area + outside.area == pytest.approx(1)
    if not raw.any():
        assert math.isnan(inside.heat)
        return
    assert 0 <= inside.heat <= 1
    assert inside.heat + outside.heat == pytest.approx(1)
    slow = sum(raw[i, j] for i in range(5) for j in range(4) if mask[i, j]) / raw.sum()
    assert inside.heat == pytest.approx(slow, abs=1e-6)


def test_even_heat_has_a_gain_of_one():
    mask = np.zeros((224, 224), dtype=bool)
    mask[30:190, 20:100] = True
    found = share_inside(_heat(np.full((224, 224), 0.3)), mask)
    assert found.gain == pytest.approx(1, abs=1e-9)
    assert found.area == pytest.approx(160 * 80 / 224**2)


def test_an_empty_mask_has_no_gain_and_a_full_one_holds_everything():
    heat = _heat(np.arange(6).reshape(2, 3))
    nothing = share_inside(heat, np.zeros((2, 3), dtype=bool))
    assert (nothing.heat, nothing.area) == (0, 0)
    assert math.isnan(nothing.gain)
    everything = share_inside(heat, np.ones((2, 3), dtype=bool))
    assert (everything.heat, everything.area, everything.gain) == (1, 1, 1)


@pytest.mark.parametrize("mask", [np.ones((3, 2), dtype=bool), np.full((2, 3), 255, dtype="uint8")])
def test_a_mask_of_another_shape_or_kind_is_refused(mask):
    # A mask of 0 and 255 would index rows, not choose pixels.
    with pytest.raises(EvaluationError, match=r"must be bool of shape \(2, 3\), not"):
        share_inside(_heat(np.ones((2, 3))), mask)
