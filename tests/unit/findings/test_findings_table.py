"""The table of findings: what it refuses, its verdicts, its files."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pandas as pd
import pytest
from findings_samples import CALIBRATED, area, estimate, model_findings

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT, Finding, Verdict
from hurdles.findings.table import COLUMNS, Findings

VIEWS = {"views": "What is left without lungs?"}


def table(*rows: Finding) -> Findings:
    return Findings(rows, VIEWS)


def test_a_finding_of_a_hurdle_that_was_not_asked_is_refused():
    with pytest.raises(EvaluationError, match="'views', which was not asked"):
        Findings((area("border", 0.8, 0.1),), {"source": "?"})


def test_the_same_thing_found_twice_is_refused():
    with pytest.raises(EvaluationError, match=r"border / AUC.* was found twice"):
        table(area("border", 0.8, 0.1), area("border", 0.7, 0.1))


MISSING = Finding("views", "metadata", "AUC", undefined("one source"), CALIBRATED)
STOPPED = Finding("views", COULD_NOT, "nothing", undefined("no lungs"), None)
FAULT = replace(STOPPED, is_fault=True)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([area("border", 0.8, 0.1), MISSING], Verdict.HIT),
        ([area("border", 0.5, 0.05)], Verdict.CLEARED),
        ([area("border", 0.5, 0.05), area("lungs", 0.99, 0.01, None)], Verdict.CLEARED),
        # A part that could not run is not cleared by the rest.
        ([area("border", 0.5, 0.05), MISSING], Verdict.INCONCLUSIVE),
        ([area("border", 0.5, 0.05), STOPPED], Verdict.INCONCLUSIVE),
        ([area("border", 0.5, 0.05), FAULT], Verdict.FAILED),
        ([area("border", 0.8, 0.05), FAULT], Verdict.HIT),
        ([area("lungs", 0.99, 0.01, None), MISSING], Verdict.COULD_NOT_RUN),
        ([area("lungs", 0.99, 0.01, None)], Verdict.SHOWN),  # nothing was judged
        ([MISSING], Verdict.COULD_NOT_RUN),
        ([], Verdict.COULD_NOT_RUN),
        ([area("border", 0.60, 0.1)], Verdict.INCONCLUSIVE),  # straddles its limit
        ([area("border", 0.5, 0.05), area("box", 0.60, 0.1)], Verdict.INCONCLUSIVE),
    ],
)
def test_a_hurdle_is_hit_by_one_finding_and_cleared_by_all(rows, verdict):
    assert table(*rows).verdict("views") is verdict


def test_the_table_has_one_row_for_each_finding_and_its_columns_are_documented():
    findings = model_findings()
    frame = findings.frame
    assert list(frame) == list(COLUMNS)
    assert len(frame) == len(findings)
    assert frame["verdict"].tolist() == [str(row.verdict) for row in findings.rows]


def test_findings_come_back_from_their_file(tmp_path):
    findings = model_findings()
    path = findings.save(tmp_path / "findings.json")
    back = Findings.load(path)
    assert back.to_dict() == findings.to_dict()
    assert back.questions == findings.questions
    assert {h: back.verdict(h) for h in back.hurdles} == {
        h: findings.verdict(h) for h in findings.hurdles
    }
    odds = next(row for row in back.rows if row.subject == "odds")
    assert odds.estimate.high == math.inf
    beside = pd.read_csv(path.with_suffix(".csv"), keep_default_na=False)
    assert beside["subject"].tolist() == [row.subject for row in findings.rows]


def test_a_verdict_in_a_file_is_judged_again(tmp_path):
    # A limit that was changed by hand must not leave the old verdict standing.
    path = table(area("border", 0.8, 0.05)).save(tmp_path / "findings.json")
    plain = json.loads(path.read_text())
    assert plain["hurdles"][0]["verdict"] == "hit"
    plain["findings"][0]["limit"] |= {"value": 0.9, "margin": 0.9}
    path.write_text(json.dumps(plain))
    assert Findings.load(path).verdict("views") is Verdict.CLEARED


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"hurdles": [], "findings": [{}], "about": {}}'])
def test_a_file_without_findings_is_refused(tmp_path, text):
    path = tmp_path / "findings.json"
    path.write_text(text)
    with pytest.raises(EvaluationError, match="holds no findings"):
        Findings.load(path)


def test_details_that_are_not_finite_do_not_cost_the_file(tmp_path):
    found = Finding("views", "b", "AUC", estimate(0.7, 0.6, 0.8), None, details={"x": math.nan})
    assert Findings.load(table(found).save(tmp_path / "f.json")).rows[0].details == {"x": None}
