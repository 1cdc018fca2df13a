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
from hurdles.findings.finding import COULD_NOT, Beyond, Finding, Limit, Scale, counted
from hurdles.findings.summary import (
    against_text,
    excess,
    exit_code,
    limit_text,
    margin_text,
    name_text,
    ranked,
    sentence,
    settled_text,
    value_text,
    worst,
)
from hurdles.findings.table import Findings

MISSING = Finding("views", "", "AUC", undefined("no lungs were found"), CALIBRATED)
FAULT = Finding("views", COULD_NOT, "nothing", undefined("sys.exit"), None, is_fault=True)


def of_views(*rows: Finding) -> Findings:
    return Findings(rows, {"views": "?"})


def test_the_sentence_where_none_is_hit_praises_nothing():
    said = sentence(data_findings(0))
    assert said == "None of 3 hurdles is hit, 3 are cleared (files, patients and duplicates)."


def test_the_sentence_where_some_or_all_are_hit():
    assert sentence(data_findings(1)) == (
        "1 of 3 hurdles is hit (files), 2 are cleared (patients and duplicates)."
    )
    assert sentence(data_findings(3)) == "3 of 3 hurdles are hit (files, patients and duplicates)."


def test_the_sentence_of_a_model_leads_with_what_is_reachable_without_a_lung():
    assert sentence(model_findings()) == (
        "A small probe that sees no lung reaches 82 % [74, 90] of what this model's AUC has above "
        "chance; 4 of 7 hurdles are hit (views, lungs-removed, attention and perturbations), 2 are "
        "inconclusive (source and calibration), 1 could not run (stability)."
    )


@pytest.mark.parametrize(
    ("value", "low", "high"), [(0.5, 0.05, 0.95), (0.2, -0.1, 0.3), (0.5, math.nan, math.nan)]
)
def test_a_share_whose_interval_says_nothing_does_not_lead(value, low, high):
    rows = [
        replace(row, estimate=estimate(value, low, high))
        if row.subject == "without any lung"
        else row
        for row in model_findings().rows
    ]
    assert "probe" not in sentence(replace(model_findings(), rows=tuple(rows)))


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
    assert said == "None of 1 hurdle is hit, 1 is inconclusive (lungs-removed)."


def test_data_lead_with_the_single_column_that_tells_the_class():
    rows = [
        Finding(
            "confounders",
            subject,
            "AUC",
            estimate(v, v - 0.02, v + 0.01),
            CALIBRATED,
            scale=Scale.AUC,
        )
        for subject, v in (("source", 0.93), ("all of them together", 0.98), ("aspect", 0.7))
    ]
    said = sentence(Findings(tuple(rows), {"confounders": "?"}))
    assert said.startswith(
        "The class can be told from source alone with an AUC of 0.930 [0.910, 0.940]; 1 of"
    )


def test_what_could_not_run_is_not_counted_among_those_that_are_not_hit():
    files = data_findings(0).of("files")
    for more, said in (
        ([], "Of the 1 hurdle that could run none is hit, 1 is cleared (files), 1 could not run"),
        (
            data_findings(0).of("patients"),
            "Of the 2 hurdles that could run none is hit, 2 are cleared (files and patients), 1",
        ),
    ):
        rows = (*files, *more, MISSING)
        names = dict.fromkeys((row.hurdle for row in rows), "?")
        assert sentence(Findings(rows, names)).startswith(said)


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
        (of_views(MISSING, area("border", 0.5, 0.05)), 0, 4),  # a part of it could not
        (of_views(area("border", 0.6, 0.1)), 0, 4),  # inconclusive
        (of_views(area("border", 0.5, 0.05)), 0, 0),
        (of_views(area("lungs", 0.9, 0.05, None)), 0, 0),  # judges nothing
        (of_views(FAULT), 5, 5),
        (of_views(area("border", 0.8, 0.05), FAULT), 5, 5),  # a fault outweighs a hit
    ],
)
def test_exit_codes(findings, plain, strict):
    assert exit_code(findings) == plain
    assert exit_code(findings, ["inconclusive", "could-not-run"]) == strict


def test_an_interval_that_straddles_its_limit_changes_no_exit_code():
    assert exit_code(of_views(area("border", 0.61, 0.04))) == 0  # [0.57, 0.65] around 0.58
    assert exit_code(of_views(area("border", 0.63, 0.04))) == 3


def test_findings_are_read_hits_first_and_what_is_only_shown_last():
    rows = [*view_findings(), replace(MISSING, subject="boxes")]
    names = [row.subject for row in ranked(rows)]
    # What was to be judged and could not run stands before what is cleared: it keeps it from that.
    assert names[:5] == ["background", "border", "outside the lungs' box", "boxes", "metadata"]
    assert names[5:] == [
        "thumbnail", "histogram", "lungs' box", "lungs", "full image", "without any lung",
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


def test_a_verdict_of_each_kind_is_counted_and_named():
    rows = {
        "a": area("x", 0.8, 0.05),
        "b": FAULT,
        "c": area("x", 0.6, 0.1),
        "d": area("x", 0.5, 0.05),
        "e": area("x", 0.5, 0.05, None),
        "f": MISSING,
    }
    found = Findings(
        tuple(replace(row, hurdle=name) for name, row in rows.items()), dict.fromkeys(rows, "?")
    )
    assert sentence(found) == (
        "1 of 6 hurdles is hit (a), 1 failed by a fault of its own (b), 1 is inconclusive (c), "
        "1 is cleared (d), 1 only shown (e), 1 could not run (f)."
    )


@pytest.mark.parametrize(
    ("scale", "value", "limit"),
    [
        (Scale.AUC, "0.200 [0.100, 0.300]", "at most 0.58"),
        (Scale.SHARE, "20.0 % [10.0, 30.0]", "at most 58 %"),
        (Scale.DIFFERENCE, "0.200 [0.100, 0.300]", "at most 0.58"),
        (Scale.RATIO, "0.200 [0.100, 0.300]", "at most 0.58"),
        (Scale.COUNT, "0 to 0", "at most 0.58"),
    ],
)
def test_the_scale_says_how_a_number_is_written_whatever_its_words(scale, value, limit):
    for words in ("share of the AUC", "drop in AUC", "count", "sensitivity"):
        found = Finding("h", "", words, estimate(0.2, 0.1, 0.3), CALIBRATED, scale=scale)
        assert (value_text(found), limit_text(found)) == (value, limit)


def test_what_is_inconclusive_says_what_would_settle_it():
    limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    found = Finding("h", "", "AUC", estimate(0.5, 0.4, 0.78), limit, settled_by="images")
    assert margin_text(found) == "at most 0.64"
    assert settled_text(found) == "about 1,600 images would settle it if the estimate stayed"
    strict = replace(limit, value=0.7)
    between = replace(found, limit=strict, estimate=estimate(0.66, 0.5, 0.8))
    assert settled_text(between) == (
        "between margin and limit: more images alone would not settle it"
    )
    assert settled_text(replace(found, estimate=estimate(0.5, 0.4, 0.6))) == ""


def test_numbers_are_written_with_their_interval():
    share = Finding(
        "h", "", "answers", estimate(0.0004, -0.0004, 0.5), CALIBRATED, scale=Scale.SHARE
    )
    assert value_text(share) == "0.0 % [0.0, 50.0]"
    assert limit_text(share) == "at most 58 %"
    odds = Finding("h", "", "odds", estimate(12.0, 3.1, math.inf), Limit(1, "s", Beyond.BELOW))
    assert value_text(odds) == "12.000 [3.100, no bound]"
    assert limit_text(odds) == "at least 1"
    assert value_text(replace(odds, estimate=estimate(0.5, math.nan, math.nan))) == (
        "0.500, no interval"
    )
    assert value_text(MISSING) == "undefined"
    many = Finding("h", "", "pairs", counted(1234, n_images=9999), None, scale=Scale.COUNT)
    assert value_text(many) == "1,234"


def test_a_phrase_says_where_a_number_is_hit_and_where_cleared():
    limit = Limit(0.9, "Riley", "below", margin=0.8, margin_source="a choice")
    slope = Finding("calibration", "", "slope", estimate(0.85, 0.75, 0.95), limit)
    assert against_text(slope) == "hit below 0.9, cleared from 0.8"
    assert against_text(replace(slope, limit=Limit(0.9, "Riley"))) == "hit above 0.9"
    assert against_text(replace(slope, limit=None)) == "shown, not judged"


def test_a_subject_that_the_statistic_names_is_not_said_twice():
    rows = [area(subject, 0.5, 0.1) for subject in ("auc", "all")]
    assert [name_text(row) for row in rows] == [
        "AUC of telling the class, macro", "all: AUC of telling the class, macro",
    ]  # fmt: skip
