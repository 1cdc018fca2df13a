"""Means over images: within their bounds, and never a point for want of spread."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import patient_mean, wilson_bounds


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5)), min_size=2, max_size=20),
    st.sampled_from([0.5, 0.95, 0.999]),
)
def test_a_bounded_mean_stays_in_its_bounds_and_is_no_point(images, level):
    values, groups = zip(*images, strict=True)
    found = patient_mean(values, groups, level=level, low=0, high=2)
    if len(set(groups)) < 2:
        assert found.note == "all images are of one patient"
    else:
        assert 0 <= found.low <= found.value <= found.high <= 2
        assert found.low < found.high or np.ptp(values) > 0


def test_values_that_are_all_one_have_the_interval_of_a_share():
    found = patient_mean([0.0] * 10, range(10), low=0, high=2)
    assert (found.low, found.high) == pytest.approx((0, 2 * wilson_bounds(0, 10)[1]))


def test_a_value_out_of_bounds_is_refused():
    with pytest.raises(EvaluationError, match=r"from 0 to 3 are not all within \[0, 2\]"):
        patient_mean([0, 3], ["p", "q"], low=0, high=2)


def test_patients_who_agree_are_no_surer_than_independent_images():
    """Each patient has a right and a wrong image: the patients' sums do not vary at all."""
    values = np.tile([0.0, 1.0], 20)
    alike = patient_mean(values, np.repeat(np.arange(20), 2), low=0, high=1)
    apart = patient_mean(values, np.arange(40), low=0, high=1)
    assert alike.low <= apart.low < 0.5 < apart.high <= alike.high
