"""One finding: its verdict, its limit, and its way through JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from findings_samples import area, estimate
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Beyond, Evidence, Finding, Limit, Verdict, counted

bounds = st.floats(-2, 2)


def finding(found: Estimate, limit: Limit | None) -> Finding:
    return Finding("views", "border", "AUC", found, limit)


@pytest.mark.parametrize(
    ("low", "high", "beyond", "verdict"),
    [
        (0.60, 0.70, Beyond.ABOVE, Verdict.HIT),
        (0.50, 0.70, Beyond.ABOVE, Verdict.CLEARED),  # straddles: the point alone is beyond
        (0.55, 0.75, Beyond.ABOVE, Verdict.CLEARED),  # the limit itself still clears
        (0.30, 0.54, Beyond.BELOW, Verdict.HIT),
        (0.30, 0.60, Beyond.BELOW, Verdict.CLEARED),
        (0.30, 0.55, Beyond.BELOW, Verdict.CLEARED),
        (-math.inf, 0.9, Beyond.ABOVE, Verdict.CLEARED),
        (0.6, math.inf, Beyond.ABOVE, Verdict.HIT),
        (math.nan, math.nan, Beyond.ABOVE, Verdict.CLEARED),
        (math.nan, math.nan, Beyond.BELOW, Verdict.CLEARED),
    ],
)
def test_only_an_interval_that_lies_beyond_as_a_whole_is_a_hit(low, high, beyond, verdict):
    middle = (low + high) / 2
    value = middle if math.isfinite(middle) else 0.65
    found = Estimate(value, low, high, 0.95, "DeLong", 100, 90)
    assert finding(found, Limit(0.55, "made up", beyond)).verdict is verdict


@given(low=bounds, width=st.floats(0, 1), limit=bounds)
def test_a_statistic_is_judged_as_its_mirror_image_is(low, width, limit):
    above = Estimate(low + width / 2, low, low + width, 0.95, "m", 9, 9)
    below = Estimate(-above.value, -above.high, -above.low, 0.95, "m", 9, 9)
    one = finding(above, Limit(limit, "made up"))
    other = finding(below, Limit(-limit, "made up", Beyond.BELOW))
    assert one.verdict is other.verdict


def test_what_is_undefined_could_not_run_even_where_nothing_is_judged():
    assert finding(undefined("one class"), None).verdict is Verdict.COULD_NOT_RUN
    assert finding(undefined("one class"), Limit(0, "made up")).verdict is Verdict.COULD_NOT_RUN


def test_what_is_not_judged_clears_however_large():
    assert finding(estimate(0.99, 0.98, 1.0), None).verdict is Verdict.CLEARED


def test_a_count_above_none_is_a_hit():
    limit = Limit(0, "by definition")
    assert finding(counted(1, n_images=9), limit).verdict is Verdict.HIT
    assert finding(counted(0, n_images=9), limit).verdict is Verdict.CLEARED


@pytest.mark.parametrize(("value", "source"), [(math.nan, "a paper"), (0.5, "")])
def test_a_limit_that_cannot_be_defended_is_refused(value, source):
    with pytest.raises(EvaluationError, match="cannot be defended"):
        Limit(value, source)


def through_json(one: Finding) -> Finding:
    return Finding.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)))


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (0.7, 0.6, 0.8),
        (12.0, 3.1, math.inf),
        (0.1, -math.inf, 0.4),
        (0.5, math.nan, math.nan),
        (math.nan, math.nan, math.nan),
    ],
)
@pytest.mark.parametrize("beyond", list(Beyond))
def test_numbers_and_open_bounds_come_back_from_json(value, low, high, beyond):
    found = Estimate(value, low, high, 0.99, "MOVER", 12, 11, "few")
    one = Finding(
        "views", "a/b", "x", found, Limit(0.5, "p", beyond), "Do.", (Evidence("i", "j", "/k"),)
    )
    back = through_json(one)
    assert np.array_equal(
        [back.estimate.value, back.estimate.low, back.estimate.high],
        [value, low, high],
        equal_nan=True,
    )
    assert back.verdict is one.verdict
    assert (back.limit, back.advice, back.evidence) == (one.limit, one.advice, one.evidence)
    assert (back.estimate.note, back.estimate.level, back.estimate.n_patients) == ("few", 0.99, 11)


def test_details_with_numbers_that_are_not_finite_are_written_as_null():
    details = {"bins": [{"low": math.nan, "n": np.int64(3)}], "at": np.array([1.0, math.inf]), 7: 1}
    one = area("border", 0.8, 0.1, details=details)
    assert through_json(one).details == {"bins": [{"low": None, "n": 3}], "at": [1.0, None], "7": 1}
