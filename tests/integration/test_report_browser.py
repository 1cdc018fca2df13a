"""The report in a real browser, at the widths and in the colours that readers have."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "reporting"))
import report_samples as samples

from hurdles.reporting.page import write_report

pytestmark = pytest.mark.full

_WIDTHS = [390, 1280]
_SCHEMES = ["light", "dark"]

#: Ratio of text to what lies behind it (WCAG 2.2, 1.4.3), for every element that holds text.
_CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parse = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]));
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].filter(n => n.nodeType === 3);
    const text = own.map(n => n.data.trim()).join("");
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const front = over(parse(element.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), text.slice(0, 40), parseFloat(style.fontSize)]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}
"""

#: Everything that sticks out of the window and is not inside a box that scrolls by itself.
_OVERFLOW = """
() => [...document.querySelectorAll("body *")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > innerWidth + 0.5 && !e.closest(".scroll, .paths, .film");
}).map(e => e.tagName + "." + e.className)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not chromium:
        pytest.skip("no chromium is installed; set CHROMIUM to its path to run this")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    long = {"a very long setting " * 3: "x" * 300}
    content = samples.content(
        manifest=samples.manifest(patients=False),
        title="Verylongwordwithoutanyspace" * 4,
        recipe={**samples.content().recipe, "long": long},
        environment={"path": "/" + "folder" * 60},
    )
    return write_report(content, tmp_path_factory.mktemp("report") / "bericht ä.html")


@pytest.fixture(params=[(w, s) for w in _WIDTHS for s in _SCHEMES], ids=lambda p: f"{p[0]}-{p[1]}")
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.messages, page.requests = [], []
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    context.close()


def test_a_quiet_page_that_asks_for_nothing(page: Any, report: Path):
    assert page.messages == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    broken = "() => [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_nothing_sticks_out(page: Any):
    for opened in (False, True):
        page.evaluate("o => document.querySelectorAll('details').forEach(d => d.open = o)", opened)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(_OVERFLOW) == []


def test_text_stands_out_from_its_ground(page: Any):
    page.evaluate("() => document.querySelectorAll('details').forEach(d => d.open = true)")
    found = page.evaluate(_CONTRAST)
    assert len(found) > 200
    assert found[0][0] >= 4.5, found[:5]


def test_the_answer_and_its_warnings_are_on_the_first_screen(page: Any):
    for selector in (".research", ".answer", ".caveat", ".warnings li"):
        box = page.locator(selector).first.bounding_box()
        assert box["y"] + box["height"] < 844, selector


def test_the_page_follows_the_readers_colours(page: Any, request: pytest.FixtureRequest):
    shade = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    light = sum(int(v) for v in shade.removeprefix("rgb(").removesuffix(")").split(",")) > 380
    assert light == (request.node.callspec.params["page"][1] == "light")


def test_the_heat_maps_can_be_taken_away(page: Any):
    visible = (
        "() => [...document.querySelectorAll('.heat')]"
        ".filter(e => getComputedStyle(e).visibility === 'visible').length"
    )
    assert page.evaluate(visible) == 22
    page.get_by_label("Show the heat-maps").uncheck()
    assert page.evaluate(visible) == 0


def test_what_is_touched_is_large_enough(page: Any):
    """44 CSS pixels for what stands alone (WCAG 2.2, 2.5.5)."""
    for selector in ("nav a", "summary", ".heat-control label"):
        for box in [e.bounding_box() for e in page.locator(selector).all()]:
            assert box["height"] >= 43.5, selector
