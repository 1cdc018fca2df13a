"""Bounds in closed form: exact ones, and how often one end of them errs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.evaluation.bounds import exact_bounds, proportion_bounds


def once(right, n):
    return (np.arange(n) < right).astype(float), np.ones(n)


@given(st.integers(1, 200), st.data(), st.sampled_from([0.8, 0.95, 0.9954]))
@settings(deadline=None, max_examples=60)
def test_exact_bounds_are_scipys_where_each_patient_has_one_image(n, data, level):
    from scipy.stats import binomtest

    right = data.draw(st.integers(0, n))
    expected = binomtest(right, n).proportion_ci(level, method="exact")
    found = exact_bounds(*once(right, n), level)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


def false_hits(bounds, n, p, level):
    """Return how often the lower end of n images' interval passes the true share, exactly."""
    passed = [k for k in range(n + 1) if bounds(*once(k, n), level)[0] > p]
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in passed)


@pytest.mark.parametrize("n", [10, 44, 120])
@pytest.mark.parametrize("p", [0.01, 0.034, 0.2])
@pytest.mark.parametrize("level", [0.95, 0.9954])
def test_the_lower_end_alone_errs_no_more_often_than_its_half_of_the_level(n, p, level):
    assert false_hits(exact_bounds, n, p, level) <= (1 - level) / 2 + 1e-12


def test_wilsons_lower_end_errs_many_times_as_often():
    """Two flips of ten images, a limit of 3.4 %: 4.3 % false hits at a nominal 0.23 %."""
    wilson, exact = (
        false_hits(bounds, 10, 0.034, 0.9954) for bounds in (proportion_bounds, exact_bounds)
    )
    assert wilson == pytest.approx(0.043, abs=0.001)
    assert exact < 0.0023


@pytest.mark.parametrize("agree", [0.2, 0.8])
def test_the_ends_hold_their_level_where_patients_have_several_images(agree):
    rng, sets, p = np.random.default_rng(0), 1500, 0.1
    sizes = np.resize([1.0, 2, 3, 4, 5], 30)
    scale = (1 - agree) / agree
    below = above = 0
    for _ in range(sets):
        chance = rng.beta(p * scale, (1 - p) * scale, size=len(sizes))
        low, high = exact_bounds(rng.binomial(sizes.astype(int), chance).astype(float), sizes)
        below, above = below + (low > p), above + (high < p)
    assert below / sets <= 0.032
    assert above / sets <= 0.05  # few patients show how rare the rare ones are


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=12))
@settings(deadline=None)
def test_exact_bounds_hold_the_share_and_stay_within_0_and_1(patients):
    whole = np.array([float(n) for _, n in patients])
    part = np.array([float(min(right, n)) for right, n in patients])
    low, high = exact_bounds(part, whole)
    assert 0 <= low <= part.sum() / whole.sum() <= high <= 1
    assert low < high
