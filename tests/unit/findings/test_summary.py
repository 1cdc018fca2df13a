"""The one sentence, the exit code, and the order of findings."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from findings_samples import (
    CALIBRATED,
    area,
    data_findings,
    estimate,
    model_findings,
    view_findings,
)

from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import Beyond, Finding, Limit, counted
from hurdles.findings.summary import (
    Kind,
    excess,
    exit_code,
    kind,
    limit_text,
    ranked,
    sentence,
    value_text,
    worst,
)
from hurdles.findings.table import Findings

MISSING = Finding("views", "", "AUC", undefined("no lungs were found"), CALIBRATED)


def of_views(*rows: Finding) -> Findings:
    return Findings(rows, {"views": "?"})


def test_the_sentence_where_none_is_hit_praises_nothing():
    said = sentence(data_findings(0))
    assert said == (
        "None of 3 hurdles is hit: 3 cleared, which says only that these tests found nothing."
    )
    assert "good" not in said


def test_the_sentence_where_some_or_all_are_hit():
    assert sentence(data_findings(1)) == "1 of 3 hurdles is hit (files), 2 cleared."
    assert sentence(data_findings(3)) == "3 of 3 hurdles are hit (files, patients and duplicates)."


def test_the_sentence_of_a_model_leads_with_what_is_reachable_without_a_lung():
    assert sentence(model_findings()) == (
        "82 % [74, 90] of what this model's AUC has above chance is reachable without any lung; "
        "4 of 7 hurdles are hit (views, lungs-removed, attention and perturbations), 2 cleared, "
        "1 could not run (stability)."
    )


def test_where_that_is_undefined_the_next_fact_leads():
    findings = model_findings()
    rows = [
        replace(row, estimate=undefined("the AUC is at chance"))
        if row.subject == "without any lung"
        else row
        for row in findings.rows
    ]
    said = sentence(replace(findings, rows=tuple(rows)))
    assert said.startswith("With the lungs blanked out, this model's AUC is 0.912 [0.880, 0.940];")


def test_a_fact_that_is_no_hit_does_not_lead():
    found = Finding("lungs-removed", "background", "AUC", estimate(0.6, 0.5, 0.7), CALIBRATED)
    said = sentence(Findings((found,), {"lungs-removed": "?"}))
    assert said.startswith("None of 1 hurdle is hit")


def test_data_lead_with_the_single_column_that_tells_the_class():
    rows = [
        Finding("confounders", subject, "AUC", estimate(v, v - 0.02, v + 0.01), CALIBRATED)
        for subject, v in (("source", 0.93), ("all of them together", 0.98), ("aspect", 0.7))
    ]
    said = sentence(Findings(tuple(rows), {"confounders": "?"}))
    assert said.startswith(
        "The class can be told from source alone with an AUC of 0.930 [0.910, 0.940]; 1 of"
    )


def test_where_nothing_could_be_said_it_says_so():
    assert sentence(Findings((), {})) == "No hurdle was asked, so nothing can be said."
    assert sentence(of_views(MISSING)) == (
        "None of 1 hurdle could run (views), so nothing can be said."
    )


@pytest.mark.parametrize(
    ("findings", "plain", "strict"),
    [
        (data_findings(0), 0, 0),
        (data_findings(1), 3, 3),
        (of_views(MISSING), 0, 4),
        (model_findings(), 3, 3),  # a hit outweighs what could not run
        (of_views(MISSING, area("border", 0.5, 0.1)), 0, 0),  # as a whole, it could
    ],
)
def test_exit_codes(findings, plain, strict):
    assert exit_code(findings) == plain
    assert exit_code(findings, strict=True) == strict


def test_an_interval_that_straddles_its_limit_changes_no_exit_code():
    assert exit_code(of_views(area("border", 0.61, 0.04))) == 0  # [0.57, 0.65] around 0.58
    assert exit_code(of_views(area("border", 0.63, 0.04))) == 3


def test_findings_are_read_hits_first_and_what_is_only_shown_last():
    rows = [*view_findings(), replace(MISSING, subject="boxes")]
    names = [row.subject for row in ranked(rows)]
    assert names[:4] == ["background", "border", "outside the lungs' box", "metadata"]
    assert names[4:] == [
        "boxes", "thumbnail", "histogram", "lungs' box", "lungs", "full image", "without any lung",
    ]  # fmt: skip
    assert worst(of_views(*rows), "views") is ranked(rows)[0]
    assert worst(of_views(), "views") is None


def test_below_its_limit_is_as_far_beyond_as_above_it():
    below = Limit(1, "evenly", Beyond.BELOW)
    found = Finding("attention", "a", "ratio", estimate(0.7, 0.6, 0.8), below)
    assert excess(found) == pytest.approx(0.2)
    assert excess(replace(found, estimate=estimate(0.95, 0.8, 1.1))) == pytest.approx(-0.1)
    assert excess(replace(found, limit=None)) == -math.inf
    assert excess(replace(found, estimate=estimate(0.9, math.nan, math.nan))) == -math.inf


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        ("macro AUC of telling the class", Kind.AREA),
        ("drop in AUC", Kind.NUMBER),
        ("share of images whose answer flips", Kind.SHARE),
        ("share of heat in the lungs over their share of the area", Kind.NUMBER),
        ("AUC lost outside: inside less outside", Kind.NUMBER),
        ("AUC of a small probe that sees this view only (0.5 is chance)", Kind.AREA),
        ("share of what the model's AUC has above chance that needs no lung", Kind.SHARE),
        ("share of images on which two seeds disagree, mean over pairs", Kind.SHARE),
        ("AUC: group minus rest (level 0.995: 10 comparisons)", Kind.NUMBER),
        ("calibration slope", Kind.NUMBER),
        ("width of the interval of sensitivity", Kind.NUMBER),
    ],
)
def test_the_words_of_a_statistic_say_how_it_is_written(statistic, expected):
    found = Finding("h", "", statistic, estimate(0.2, 0.1, 0.3), None)
    assert kind(found) is expected
    assert kind(replace(found, details={"written": "share"})) is Kind.SHARE
    assert kind(replace(found, details={"written": "nonsense"})) is expected
    assert kind(replace(found, estimate=counted(3, n_images=9))) is Kind.COUNT


def test_numbers_are_written_with_their_interval():
    share = Finding("h", "", "share of answers", estimate(0.0004, -0.0004, 0.5), CALIBRATED)
    assert value_text(share) == "0.0 % [0.0, 50.0]"
    assert limit_text(share) == "at most 58 %"
    odds = Finding("h", "", "odds", estimate(12.0, 3.1, math.inf), Limit(1, "s", Beyond.BELOW))
    assert value_text(odds) == "12.000 [3.100, no bound]"
    assert limit_text(odds) == "at least 1"
    assert value_text(replace(odds, estimate=estimate(0.5, math.nan, math.nan))) == (
        "0.500, no interval"
    )
    assert value_text(MISSING) == "undefined"
    many = Finding("h", "", "pairs", counted(1234, n_images=9999), None)
    assert value_text(many) == "1,234"
