from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import wilson, wilson_bounds
from hurdles.evaluation.comparisons import mcnemar
from hurdles.evaluation.sample_size import (
    detectable_difference,
    interval_width,
    mcnemar_from_totals,
    mcnemar_power,
    smallest_significant_lead,
)


def p_of(only_a, only_b):
    found = mcnemar([1] * only_a + [0] * only_b, [0] * only_a + [1] * only_b)
    return found.p_value


@pytest.mark.parametrize(("only_a", "only_b"), [(0.3, 0.05), (0.2, 0.2), (0.4, 0.0)])
def test_power_equals_summing_over_every_table(only_a, only_b):
    n, power = 18, 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            if p_of(a, b) <= 0.05:
                ways = math.comb(n, a) * math.comb(n - a, b)
                power += ways * only_a**a * only_b**b * (1 - only_a - only_b) ** (n - a - b)
    found = mcnemar_power(n, only_a=only_a, only_b=only_b)
    assert found == pytest.approx(power, abs=1e-12)


def test_power_agrees_with_simulation():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(33, [0.25, 0.05, 0.7], size=4000)
    seen = np.mean([p_of(a, b) <= 0.05 for a, b, _ in counts])
    assert mcnemar_power(33, only_a=0.25, only_b=0.05) == pytest.approx(seen, abs=0.03)


@given(st.integers(5, 120), st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_equal_models_are_told_apart_no_more_often_than_alpha(n, each):
    assert mcnemar_power(n, only_a=each, only_b=each) <= 0.05


def test_smallest_difference_has_the_power_and_a_smaller_one_has_not():
    found = detectable_difference(100, discordance=0.2)

    def power(difference):
        return mcnemar_power(100, only_a=(0.2 + difference) / 2, only_b=(0.2 - difference) / 2)

    assert power(found) >= 0.8 > power(found - 3e-4)
    assert detectable_difference(400, discordance=0.2) < found
    assert detectable_difference(100, discordance=0.2, power=0.5) < found


def test_33_images_cannot_tell_26_from_29():
    """The published 78.78 % and 87.87 % of COVID-19 images, whichever images they were."""
    found = mcnemar_from_totals(26, 29, 33)
    assert found.smallest == 0.25
    assert (found.fewest, found.most) == (3, 11)
    every = [p_of(3 + both, both) for both in range(5)]
    assert (found.smallest, found.largest) == pytest.approx((min(every), max(every)))
    assert found == mcnemar_from_totals(29, 26, 33)
    # Even a model that loses no image needs a lead of six of the 33, 18 points.
    assert smallest_significant_lead() == 6
    assert math.isnan(detectable_difference(33, discordance=3 / 33))


@given(st.integers(0, 25))
def test_smallest_lead_is_significant_and_one_less_is_not(losses):
    lead = smallest_significant_lead(losses=losses)
    assert p_of(losses + lead, losses) <= 0.05 < p_of(losses + lead - 1, losses)


@given(st.integers(1, 12), st.data())
def test_range_of_p_values_holds_every_table_with_these_totals(n, data):
    a, b = (data.draw(st.integers(0, n)) for _ in range(2))
    found = mcnemar_from_totals(a, b, n)
    every = [p_of(a - both, b - both) for both in range(n + 1)
             if both <= min(a, b) and a + b - both <= n]  # fmt: skip
    assert (found.smallest, found.largest) == pytest.approx((min(every), max(every)))


def test_width_sums_over_every_outcome():
    n, p = 12, 0.8
    chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    every = [wilson(k, n) for k in range(n + 1)]
    width = sum(c * (e.high - e.low) for c, e in zip(chance, every, strict=True))
    assert interval_width(n, p) == pytest.approx(width)


@pytest.mark.parametrize("n", [30, 33, 100, 400])
@pytest.mark.parametrize("p", [0.8, 0.9, 0.95, 0.99])
def test_wilson_covers_about_95_percent(n, p):
    chance = binom.pmf(np.arange(n + 1), n, p)
    bounds = [wilson_bounds(k / n, n) for k in range(n + 1)]
    held = sum(c for c, (low, high) in zip(chance, bounds, strict=True) if low <= p <= high)
    assert 0.92 <= held <= 0.98


def test_impossible_questions_are_refused():
    with pytest.raises(EvaluationError, match="impossible"):
        mcnemar_power(10, only_a=0.8, only_b=0.4)
    with pytest.raises(EvaluationError, match="no total can exceed 33"):
        mcnemar_from_totals(34, 20, 33)
    with pytest.raises(EvaluationError, match="n = 0"):
        interval_width(0, 0.5)
