"""The page of findings, and the same findings in a run's report."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
import findings_samples as samples
import report_samples
from report_samples import Page

from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import Beyond, Evidence, Finding, Limit, counted
from hurdles.findings.summary import CLEARED_MEANS
from hurdles.findings.table import Findings
from hurdles.reporting.findings import hurdles_of
from hurdles.reporting.findings_page import (
    hurdle_block,
    render_findings,
    shared_words,
    write_findings,
)
from hurdles.reporting.page import render


def of_views(*rows: Finding) -> Findings:
    return Findings(rows, {"views": "What is left without lungs?"})


def shown(findings: Findings, **more) -> Page:
    return Page(render_findings(findings, title="A run", **more))


@pytest.fixture(scope="module")
def page() -> Page:
    return shown(samples.model_findings(), thumbnails=samples.thumbnails())


def test_the_answer_comes_first_and_verdicts_are_words(page: Page):
    text = page.text
    assert text.index("82 % [74, 90] of what this model's AUC") < text.index("What tells most")
    assert "4 of 7 hurdles are hit (views, lungs-removed, attention and perturbations)" in text
    assert CLEARED_MEANS not in text  # none is
    assert CLEARED_MEANS in shown(samples.data_findings(1)).text
    badges = page.named("span", class_="verdict")
    assert len(badges) == 2 * 7 + sum(r.estimate.is_defined for r in samples.model_findings().rows)
    for word in ("hit", "cleared", "inconclusive", "could not run", "not judged"):
        assert f" {word} " in text


def test_every_finding_stands_there_with_its_interval_and_its_limit(page: Page):
    for row in samples.model_findings().rows:
        if row.estimate.is_defined:
            assert row.subject in page.text
        else:
            assert row.estimate.note in page.text
        assert row.limit is None or row.limit.source in page.text
    assert "0.897 0.867 to 0.927 at most 0.58" in page.text
    assert "12.000 from 3.100 up" in page.text


def test_only_the_advice_on_what_is_hit_is_given(page: Page):
    assert page.text.count("What to do:") == 4
    assert "What to do:" not in shown(samples.data_findings(0)).text


def test_nothing_runs_and_nothing_is_loaded(page: Page):
    assert not page.named("script")
    sources = [a["src"] for a in page.named("img")]
    assert len(sources) == 2
    assert all(source.startswith("data:image/") for source in sources)
    links = [a["href"] for a in page.named("a")]
    assert links
    assert {link[1:] for link in links} <= {a["id"] for _, a in page.tags if "id" in a}


def test_names_are_escaped_wherever_they_stand():
    bad = '<script>alert("1")</script>&amp;'
    found = samples.estimate(0.9, 0.88, 0.92)
    found = replace(found, note=bad, method=bad)
    evidence = (Evidence(bad, bad), Evidence("a.png", bad))
    point = {"amount": 0, "auc": 0.9, bad: 1}
    details = {"curve": [point, {**point, "amount": 1}], "reliability": [{bad: bad}], bad: bad}
    rows = (
        Finding(bad, bad, bad, found, Limit(0.5, bad), bad, evidence, details),
        Finding(bad, f"{bad}2", bad, undefined(bad), None),
    )
    findings = Findings(rows, {bad: bad}, {bad: bad})
    for html in (
        render_findings(findings, title=bad,
                        thumbnails={"a.png": samples.thumbnails()["normal/NORMAL (7).png"]}),
        render(report_samples.content(findings=findings)),
    ):  # fmt: skip
        read = Page(html)
        assert not read.named("script")
        assert bad in " ".join(read.words)
        assert "<script>" not in html


def places(page: Page, name: str) -> list[dict[str, float]]:
    """Return the numbers in the styles of the marks of one class, in percent of the axis."""
    styles = [a["style"] for a in page.named("span", class_=name)]
    return [{k: float(v) for k, v in re.findall(r"(left|width):([\d.]+)%", s)} for s in styles]


def test_marks_lie_where_the_numbers_are():
    (point,), (ci,), (limit,) = (
        places(shown(of_views(samples.area("border", 0.8, 0.1))), name)
        for name in ("point", "ci", "limit")
    )
    # The axis of an area goes from chance to 1: 0.8 lies at three fifths.
    assert point["left"] == pytest.approx(60)
    assert (ci["left"], ci["width"]) == pytest.approx((40, 40))
    assert limit["left"] == pytest.approx(16)


def test_the_bad_side_is_where_the_limit_says():
    for beyond, style in ((Beyond.ABOVE, "left:16.00%;right:0"), (Beyond.BELOW, "left:0;width:16")):
        row = samples.area("border", 0.8, 0.1, Limit(0.58, "made up", beyond))
        (bad,) = shown(of_views(row)).named("span", class_="bad")
        assert bad["style"].startswith(style)


def test_an_interval_that_straddles_its_limit_is_not_shown_as_a_hit():
    page = shown(of_views(samples.area("border", 0.60, 0.05)))
    assert not page.named("span", class_="is-hit")
    assert shown(of_views(samples.area("border", 0.70, 0.05))).named("span", class_="is-hit")


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(0.7, math.nan, math.nan), (0.7, -math.inf, 0.9), (3.0, 1.0, math.inf), (1e9, -1e9, 1e9),
     (0.0, 0.0, 0.0), (math.nan, math.nan, math.nan)],
)  # fmt: skip
@pytest.mark.parametrize("words", ["AUC", "share of answers", "slope"])
def test_any_number_can_be_drawn(value, low, high, words):
    row = Finding("views", "x", words, samples.estimate(value, low, high), Limit(0.5, "made up"))
    page = shown(of_views(row))
    assert "nan" not in re.sub(r"[a-z]+nan|nan[a-z]+", "", page.text.lower())
    for mark in ("ci", "point", "limit"):
        for place in places(page, mark):
            assert all(0 <= number <= 100 for number in place.values())
    assert shown(of_views(replace(row, limit=None))).text


def test_areas_are_seen_beside_chance_and_the_model(page: Page):
    assert "Dotted: chance, 0.5; the model, 0.981." in page.text
    views = samples.view_findings()
    alone = shown(of_views(*(row for row in views if not row.details)))
    assert "Dotted: chance, 0.5." in alone.text
    assert "Dotted" not in shown(samples.data_findings(1)).text


def test_views_stay_in_the_order_in_which_they_are_nested():
    rows = samples.view_findings()
    (views,) = hurdles_of(of_views(*rows))
    block = hurdle_block(views, {})
    names = [row["name"] for group in block["groups"] for row in group["rows"]]
    assert names == [row.subject for row in rows]


def test_counts_have_no_axis():
    page = shown(samples.data_findings(1))
    assert not page.named("span", class_="point")
    assert "images with a fault of files in all hit 2 at most 0" in page.text


def test_words_that_statistics_share_are_said_once_above_them():
    words = "AUC of telling the class from"
    one = replace(samples.area("noise", 0.9, 0.05), statistic=f"{words} noise (0.5 is chance)")
    two = replace(one, subject="edges", statistic=f"{words} border strips (0.5 is chance)")
    text = shown(of_views(one, two)).text.partition("One by one")[2]
    assert text.count(words) == 1
    assert f"{words} … (0.5 is chance) noise hit" in text
    assert "edges border strips hit" in text


@pytest.mark.parametrize(
    ("texts", "heading", "own"),
    [
        (["a b", "a b"], "a b", ["", ""]),
        (["a b c d x", "a b c d y z"], "a b c d …", ["x", "y z"]),
        (["a b x c d", "a b c d"], "a b … c d", ["x", ""]),
        (["a b c d", "a b c d e"], "a b c d …", ["", "e"]),
        (["a b c x", "a b c y"], "", ["a b c x", "a b c y"]),
        (["a a a a a a", "a a a a a"], "a a a a a …", ["a", ""]),
    ],
)
def test_shared_words_lose_none(texts, heading, own):
    assert shared_words(texts) == (heading, own)


def test_images_without_pixels_are_named():
    text = shown(samples.model_findings()).text
    assert "normal/NORMAL (7).png: the letter R" in text


def test_evidence_that_several_findings_share_is_shown_once(page: Page):
    row = samples.area("border", 0.9, 0.01, evidence=(Evidence("a.png", "R"),) * 2)
    again = replace(row, subject="corners")
    assert shown(of_views(row, again)).text.count("a.png: R") == 1


def test_many_findings_and_images_are_folded_away():
    evidence = tuple(Evidence(f"{i}.png", "") for i in range(40))
    rows = [samples.area(f"view {i}", 0.9, 0.01, evidence=evidence) for i in range(20)]
    text = shown(of_views(*rows)).text
    assert "8 more" in text
    assert "And 16 more; the JSON file names them all." in text


def test_a_hurdle_in_which_nothing_is_judged_is_not_called_cleared():
    page = shown(of_views(samples.area("lungs", 0.9, 0.01, None)))
    assert "nothing judged" in page.text
    assert not page.named("span", class_="is-cleared")


def test_none_asked_and_none_found_make_a_page():
    assert "No hurdle was asked, so nothing can be said." in shown(Findings((), {})).text
    assert "nothing was found to measure" in shown(of_views()).text


def test_the_page_is_written_whole(tmp_path):
    path = write_findings(samples.data_findings(2), tmp_path / "a" / "page.html", title="T")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_report_without_findings_has_no_section_of_them():
    page = Page(render(report_samples.content()))
    assert not page.named("section", id="hurdles")
    assert "Hurdles" not in page.text


def test_a_report_shows_the_answer_on_its_first_screen_and_the_same_blocks(page: Page):
    findings = samples.model_findings()
    text = Page(render(report_samples.content(findings=findings))).text
    first, nav = text.index("82 % [74, 90] of what"), text.index("Who was in the data")
    assert first < nav
    alone = shown(findings).text
    block = alone[alone.index("How much of the task") : alone.index("What was looked")]
    assert block in text


def test_a_count_is_not_mistaken_for_an_interval():
    row = Finding("views", "", "pairs", counted(0, n_images=9), Limit(0, "by definition"))
    assert "counted in 9 images" in shown(of_views(row)).text


def test_a_note_that_all_rows_have_is_said_once():
    def rows(notes):
        auc = undefined("").__class__(0.8, 0.7, 0.9, 0.95, "DeLong", 90, 80)
        made = [
            Finding("views", f"view {i}", "AUC", replace(auc, note=note), Limit(0.6, "made up"))
            for i, note in enumerate(notes)
        ]
        return render_findings(Findings(tuple(made), {"views": "Which?"}), title="t")

    shared = rows(["9 images left out", "9 images left out"])
    assert shared.count("9 images left out") == 1
    apart = rows(["9 images left out", "8 images left out"])
    assert apart.count("9 images left out") == apart.count("8 images left out") == 1
    assert rows(["9 images left out"]).count("9 images left out") == 1
