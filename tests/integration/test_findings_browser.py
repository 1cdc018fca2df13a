"""The page of findings in a real browser, at the widths and in the colours that readers have."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "findings"))
import findings_samples as samples
from test_report_browser import _CONTRAST, _OVERFLOW, browser

from hurdles.findings.table import Findings
from hurdles.reporting.findings_page import write_findings

pytestmark = pytest.mark.full
__all__ = ["browser"]  # a fixture that both files use


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    findings = samples.model_findings()
    long = "Averylongwordwithoutanyspace" * 6
    row = samples.area(long, 0.9, 0.05, advice=long)
    odd = replace(row, hurdle="source", statistic=f"AUC {long}")
    many = [samples.area(f"view {i}", 0.9, 0.01) for i in range(12)]
    findings = Findings((*findings.rows, row, odd, *many), findings.questions, {long: long})
    path = tmp_path_factory.mktemp("findings") / "findings.html"
    return write_findings(findings, path, title=long, thumbnails=samples.thumbnails())


@pytest.fixture(params=[(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")], ids=str)
def page(request: pytest.FixtureRequest, browser: Any, written: Path) -> Iterator[Any]:
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.messages, page.requests = [], []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(written.as_uri())
    yield page
    context.close()


def test_it_is_quiet_and_asks_for_nothing(page: Any, written: Path):
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith("data:")] == [written.as_uri()]
    assert page.evaluate("() => [...document.images].every(i => i.complete && i.naturalWidth)")


def test_nothing_sticks_out(page: Any):
    for opened in (False, True):
        page.evaluate("o => document.querySelectorAll('details').forEach(d => d.open = o)", opened)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(_OVERFLOW) == []


def test_text_stands_out_from_its_ground(page: Any):
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate(_CONTRAST)
    assert len(found) > 100
    assert found[0][0] >= 4.5, found[:5]


def test_what_is_drawn_beyond_the_limit_is_what_is_called_a_hit(page: Any):
    # Measured where it was drawn: all of the interval's bar lies within the hatched part.
    rows = page.evaluate(
        """() => [...document.querySelectorAll(".judged li")].filter(
             li => li.querySelector(".bad") && li.querySelector(".ci")).map(li => {
               const box = name => li.querySelector(name).getBoundingClientRect();
               const [ci, bad] = [box(".ci"), box(".bad")];
               const inside = ci.left > bad.left - .5 && ci.right < bad.right + .5;
               return [inside, li.querySelector(".verdict").textContent];
             })"""
    )
    assert len(rows) > 6
    assert {inside for inside, _ in rows} == {True, False}
    assert all((verdict == "hit") == inside for inside, verdict in rows)
