"""Drawings from the details of findings; details may lack anything."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
import findings_samples as samples

from hurdles.findings.finding import Finding
from hurdles.reporting.charts import Chart, drawings

BIN = {"mean_probability": 0.25, "share": 0.5, "low": 0.3, "high": 0.75, "n": 9}
POINT = {"amount": 0.0, "auc": 0.9, "low": 0.8, "high": 1.0, "flipped": 0.0}
VALUES = (None, "x", math.nan, math.inf, -math.inf, True, -1, 0, 0.25, 0.5, 1.0, 3, 1e6)


def drawn(details: dict[str, Any], subject: str = "x") -> list[Chart]:
    row = Finding("h", subject, "slope", samples.estimate(1, 0.9, 1.1), None, details=details)
    return list(drawings([row]))


def places(svg: str, tag: str, *names: str) -> list[tuple[float, ...]]:
    found = [e for e in ElementTree.fromstring(svg).iter() if e.tag == tag]
    return [tuple(float(e.get(n, "nan")) for n in names) for e in found]


def test_a_realistic_audit_has_its_three_drawings():
    made = list(drawings(samples.model_findings().rows))
    assert [chart.title for chart in made] == [
        "blur, strong",
        "gamma, strong",
        "Reliability, slope",
    ]
    assert "AUC from 0.981 at 0 to 0.710 at 2" in made[0].summary
    assert "31\u202f% of the answers flip" in made[0].summary
    assert "surer than it is right in 2, less sure in 0" in made[2].summary


def test_bins_lie_at_their_probability_and_share():
    (made,) = drawn({"reliability": [BIN]})
    ((x, y),) = places(made.svg, "circle", "cx", "cy")
    # 46 units of margin at the left, 12 at the right, 14 above and 50 below, of 320.
    assert x == pytest.approx(46 + 0.25 * 262, abs=0.1)
    assert y == pytest.approx(320 - 50 - 0.5 * 256, abs=0.1)
    assert "less sure in 1;" in made.summary


def test_points_of_a_curve_are_put_in_order():
    curve = [{**POINT, "amount": a} for a in (2, 0, 1)]
    (made,) = drawn({"curve": curve})
    xs = [x for (x,) in places(made.svg, "circle", "cx")]
    assert xs == sorted(xs)


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"reliability": None, "curve": None},
        {"reliability": [], "curve": [POINT]},  # one point is no curve
        {"reliability": "none", "curve": 3},
        {"reliability": [{**BIN, "share": None}], "curve": [{"amount": 1}, {"amount": 2}]},
        {"reliability": [{**BIN, "share": math.nan}], "curve": [None, 7]},
    ],
)
def test_without_the_numbers_there_is_no_drawing(details):
    assert drawn(details) == []


def test_a_bin_without_an_interval_is_drawn_without_one():
    (made,) = drawn({"reliability": [{**BIN, "low": None}]})
    assert "whisker" not in made.svg
    assert made.svg.count("<circle") == 1


entries = st.dictionaries(st.sampled_from([*BIN, *POINT]), st.sampled_from(VALUES))


@given(bins=st.lists(entries, max_size=4), points=st.lists(entries, max_size=4))
def test_whatever_the_details_hold_the_drawing_is_sound(bins, points):
    for made in drawn({"reliability": bins, "curve": points}):
        ElementTree.fromstring(made.svg)
        assert not re.search(r'="(nan|-?inf)"', made.svg)


def test_titles_are_escaped():
    details = {"reliability": [BIN], "curve": [POINT, {**POINT, "amount": 1}]}
    for made in drawn(details, subject='"><script>'):
        ElementTree.fromstring(made.svg)
        assert "<script" not in made.svg
