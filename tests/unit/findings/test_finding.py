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
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Beyond, Evidence, Finding, Limit, Scale, Verdict, counted

bounds = st.floats(-2, 2)


def finding(found: Estimate, limit: Limit | None) -> Finding:
    return Finding("views", "border", "AUC", found, limit)


@pytest.mark.parametrize(
    ("low", "high", "beyond", "verdict"),
    [
        (0.60, 0.70, Beyond.ABOVE, Verdict.HIT),
        (0.50, 0.70, Beyond.ABOVE, Verdict.INCONCLUSIVE),  # straddles: the point alone is beyond
        (0.55, 0.75, Beyond.ABOVE, Verdict.INCONCLUSIVE),
        (0.40, 0.55, Beyond.ABOVE, Verdict.CLEARED),  # the margin itself still clears
        (0.30, 0.54, Beyond.BELOW, Verdict.HIT),
        (0.30, 0.60, Beyond.BELOW, Verdict.INCONCLUSIVE),
        (0.55, 0.60, Beyond.BELOW, Verdict.CLEARED),
        (-math.inf, 0.9, Beyond.ABOVE, Verdict.INCONCLUSIVE),
        (-math.inf, 0.5, Beyond.ABOVE, Verdict.CLEARED),
        (0.6, math.inf, Beyond.ABOVE, Verdict.HIT),
        (math.nan, math.nan, Beyond.ABOVE, Verdict.INCONCLUSIVE),
        (math.nan, math.nan, Beyond.BELOW, Verdict.INCONCLUSIVE),
        (math.nan, 0.5, Beyond.ABOVE, Verdict.CLEARED),  # the bound that decides is there
    ],
)
def test_only_an_interval_that_lies_on_one_side_as_a_whole_decides(low, high, beyond, verdict):
    middle = (low + high) / 2
    value = middle if math.isfinite(middle) else 0.65
    found = Estimate(value, low, high, 0.95, "DeLong", 100, 90)
    assert finding(found, Limit(0.55, "made up", beyond)).verdict is verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.54, 0.70, Verdict.HIT),
        (0.54, 0.60, Verdict.HIT),  # small, and there all the same
        (0.50, 0.64, Verdict.CLEARED),
        (0.50, 0.65, Verdict.INCONCLUSIVE),
        (0.45, 0.47, Verdict.CLEARED),
    ],
)
def test_a_margin_beyond_the_limit_clears_what_would_not_matter(low, high, verdict):
    limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    assert finding(estimate((low + high) / 2, low, high), limit).verdict is verdict


def test_bounds_in_the_wrong_order_clear_and_hit_nothing():
    for limit in (0.3, 0.5, 0.7):
        found = finding(estimate(0.5, 0.6, 0.4), Limit(limit, "by definition"))
        assert found.verdict is Verdict.INCONCLUSIVE


def test_without_a_margin_the_limit_is_the_margin():
    limit = Limit(0.5, "by definition")
    assert (limit.clears, limit.margin_source) == (0.5, "by definition")
    with pytest.raises(EvaluationError, match="cannot be defended"):
        Limit(0.5, "by definition", margin=0.6)


def settled(value: float, low: float, high: float, limit: Limit) -> float | None:
    return finding(estimate(value, low, high), limit).to_settle


def test_patients_that_would_settle_it_follow_from_the_width():
    limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    n = estimate(0.5, 0.4, 0.6).n_patients
    # Half the way to the margin that the interval reaches: four times the patients.
    assert settled(0.50, 0.40, 0.78, limit) == pytest.approx(4 * n)
    # Either bound may settle it, and the nearer one does.
    assert settled(0.60, 0.46, 0.80, limit) == pytest.approx(4 * n)
    mirror = Limit(-0.53, "calibrated", Beyond.BELOW, -0.64, "a choice")
    assert settled(-0.60, -0.80, -0.46, mirror) == pytest.approx(4 * n)
    strict = Limit(0.7, "calibrated", margin=0.64, margin_source="a choice")
    assert settled(0.66, 0.5, 0.8, strict) == math.inf  # between the two for ever
    assert settled(0.5, 0.4, 0.6, limit) is None  # cleared already
    # No flip among 44: a share at 0 is known to 5 % from far fewer than a square root would say.
    flips = Limit(0.1, "calibrated", margin=0.05, margin_source="a choice")
    none = Estimate(0.0, 0.0, 1 - 0.025 ** (1 / 44), 0.95, "Clopper-Pearson", 44, 44)
    share = Finding("h", "", "s", none, flips, scale=Scale.SHARE)
    assert share.to_settle == pytest.approx(math.log(0.025) / math.log(0.95), abs=2)
    assert settled(0.5, math.nan, math.nan, limit) is None
    # A ratio of 2 [1/2, 8] reaches 4 times to both sides; from a limit of 1 it is 2 times away.
    least = Limit(1, "by definition", Beyond.BELOW)
    ratio = Finding("h", "", "s", estimate(2, 0.5, 8), least, scale=Scale.RATIO)
    assert ratio.to_settle == pytest.approx(4 * n)
    one = finding(estimate(0.6, 0.46, 0.8), limit)
    assert Finding("h", "", "s", one.estimate, limit, settled_by="").to_settle is None


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 11])
@pytest.mark.parametrize("n", [20, 46, 111, 400])
def test_never_fewer_patients_than_there_are_would_settle_a_share(n, level):
    limit = Limit(0.034, "calibrated", margin=0.05, margin_source="a choice")
    for flipped in range(n // 3):
        share = patient_share(np.arange(n) < flipped, np.arange(n), level=level, exact=True)
        needed = Finding("h", "", "s", share, limit, scale=Scale.SHARE).to_settle
        assert needed is None or needed > n


@given(low=bounds, width=st.floats(0, 1), limit=bounds, further=st.floats(-1, 1))
def test_a_statistic_is_judged_as_its_mirror_image_is(low, width, limit, further):
    above = Estimate(low + width / 2, low, low + width, 0.95, "m", 9, 9)
    below = Estimate(-above.value, -above.high, -above.low, 0.95, "m", 9, 9)
    one = finding(above, Limit(limit, "a", margin=limit + further, margin_source="b"))
    other = finding(below, Limit(-limit, "a", Beyond.BELOW, -(limit + further), "b"))
    assert one.verdict is other.verdict


def test_what_is_undefined_could_not_run_even_where_nothing_is_judged():
    assert finding(undefined("one class"), None).verdict is Verdict.COULD_NOT_RUN
    assert finding(undefined("one class"), Limit(0, "made up")).verdict is Verdict.COULD_NOT_RUN


def test_what_is_held_against_nothing_is_shown_and_never_cleared():
    assert finding(estimate(0.5, 0.49, 0.51), None).verdict is Verdict.SHOWN


def test_a_fault_of_a_hurdle_is_no_verdict_on_the_data():
    failed = Finding("views", "", "nothing", undefined("sys.exit"), None, is_fault=True)
    assert failed.verdict is Verdict.FAILED
    assert through_json(failed).verdict is Verdict.FAILED


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
        "views",
        "a/b",
        "x",
        found,
        Limit(0.5, "p", beyond, 0.45, "q"),
        "Do.",
        (Evidence("i", "j", "/k"),),
        scale=Scale.RATIO,
        settled_by="images",
    )
    back = through_json(one)
    assert np.array_equal(
        [back.estimate.value, back.estimate.low, back.estimate.high],
        [value, low, high],
        equal_nan=True,
    )
    assert back.verdict is one.verdict
    assert (back.limit, back.advice, back.evidence) == (one.limit, one.advice, one.evidence)
    assert (back.scale, back.settled_by) == (Scale.RATIO, "images")
    assert (back.estimate.note, back.estimate.level, back.estimate.n_patients) == ("few", 0.99, 11)


def test_details_with_numbers_that_are_not_finite_are_written_as_null():
    details = {"bins": [{"low": math.nan, "n": np.int64(3)}], "at": np.array([1.0, math.inf]), 7: 1}
    one = area("border", 0.8, 0.1, details=details)
    assert through_json(one).details == {"bins": [{"low": None, "n": 3}], "at": [1.0, None], "7": 1}
