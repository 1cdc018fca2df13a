"""The badge: honest words, no color of praise, nothing fetched."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
from findings_samples import area, data_findings, model_findings

from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT
from hurdles.findings.table import Findings
from hurdles.reporting.badge import badge_svg, badge_text

OPEN = area("border", 0.6, 0.1)
FAULT = replace(OPEN, subject=COULD_NOT, estimate=undefined("an error"), is_fault=True, limit=None)
STOPPED = replace(OPEN, estimate=undefined("no lungs"))


def of_views(row, *more):
    names = {"views": "?"} | dict.fromkeys(more, "?")
    return Findings((row,), names)


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        (data_findings(2), "2 hits of 3"),
        (data_findings(1), "1 hit of 3"),
        (data_findings(0), "0 hits of 3"),
        (of_views(OPEN), "none of 1 decided"),
        (of_views(STOPPED), "none of 1 decided"),
        (of_views(area("border", 0.9, 0.01), "empty"), "1 hit of 2, 1 undecided"),
        (of_views(FAULT), "0 hits of 1, 1 failed"),
        (Findings((), {}), "no hurdle was run"),
    ],
)
def test_the_words_count_and_do_not_praise(findings, words):
    assert badge_text(findings) == words
    root = ET.fromstring(badge_svg(findings))
    space = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in root.iter(f"{space}text")] == ["hurdles", words]
    assert root.get("aria-label") == f"hurdles: {words}"
    assert "not a medical device" in root.find(f"{space}title").text


@pytest.mark.parametrize("findings", [data_findings(n) for n in range(3)] + [model_findings()])
def test_nothing_is_fetched_and_no_color_is_green(findings):
    text = badge_svg(findings)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|image|style|use|a)\b|url\(|@import", text)
    for color in re.findall(r'fill="#(\w{6})"', text):
        red, green, blue = (int(color[i : i + 2], 16) for i in (0, 2, 4))
        assert green <= max(red, blue), color


def test_words_of_the_findings_cannot_break_out():
    odd = Findings((), {"<b>&\"'": "?"})
    ET.fromstring(badge_svg(odd))
