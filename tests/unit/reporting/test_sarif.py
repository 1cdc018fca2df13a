"""SARIF: held against the schema of the standard, and what a viewer is told."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
from findings_samples import area, data_findings, model_findings

from hurdles.data.inputs import Input, Role
from hurdles.findings.finding import Evidence, Verdict
from hurdles.findings.table import Findings
from hurdles.reporting.sarif import findings_sarif

STANDARD = json.loads((Path(__file__).parent / "sarif-2.1.0.schema.json").read_text())
INPUTS = (
    Input(Role.IMAGES, "ward", "a" * 64, 90),
    Input(Role.TABLE, "my cohort.csv", "b" * 64),
    Input(Role.LIMITS, "limits.toml", "c" * 64),
)
STRANGE = area(
    "{0} [look](http://x) \x1b[31m \ud800 ünï",
    0.9,
    0.01,
    advice="See [this](file:///etc/passwd) {1}.",
    evidence=(Evidence("a b/ü%20#.png", ""), Evidence("x" * 3000, "long")),
)


def faults(text: str) -> list[str]:
    kind = jsonschema.validators.validator_for(STANDARD)
    found = kind(STANDARD, format_checker=kind.FORMAT_CHECKER).iter_errors(json.loads(text))
    return [f"{error.json_path}: {error.message}" for error in found]


@pytest.mark.parametrize(
    "findings",
    [
        model_findings(),
        data_findings(2),
        data_findings(0),
        data_findings(1).made_of(INPUTS),
        Findings((), {}),
        Findings((STRANGE,), {"views": "Is {0} seen?"}),
    ],
)
def test_it_is_as_the_standard_has_it(findings):
    text = findings_sarif(findings)
    assert faults(text) == []
    assert text.isascii()


def test_the_schema_refuses_what_it_must():
    log = json.loads(findings_sarif(data_findings(1)))
    for change in (
        lambda run: run.pop("tool"),
        lambda run: run["results"][0].pop("message"),
        lambda run: run["results"][0].update(level="bad"),
        lambda run: run["results"][0].update(kind="hit"),
        lambda run: run.update(findings=[]),
    ):
        broken = json.loads(json.dumps(log))
        change(broken["runs"][0])
        assert faults(json.dumps(broken))


def test_hits_fail_and_what_is_open_is_no_problem():
    findings = model_findings()
    (run,) = json.loads(findings_sarif(findings))["runs"]
    kinds = {"fail": Verdict.HIT, "open": Verdict.INCONCLUSIVE}
    for kind, verdict in kinds.items():
        wanted = [row for row in findings.rows if row.verdict is verdict]
        found = [r for r in run["results"] if r["kind"] == kind]
        assert len(found) == len(wanted) > 0
        assert {r["level"] for r in found} == {"error" if kind == "fail" else "none"}
    assert len(run["results"]) < len(findings)  # nothing that is cleared or only shown
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert any("two further seeds" in note["message"]["text"] for note in notes)
    assert run["invocations"][0]["executionSuccessful"] is True
    assert run["properties"]["verdicts"]["stability"] == "could not run"
    assert "not a medical device" in run["properties"]["use"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == findings.hurdles
    assert all(rules[r["ruleIndex"]] == r["ruleId"] for r in run["results"])


def test_a_fault_of_a_hurdle_is_an_execution_that_failed():
    rows = (replace(model_findings().of("stability")[0], is_fault=True),)
    (run,) = json.loads(findings_sarif(Findings(rows, {"stability": "?"})))["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    assert run["results"] == []


def test_results_are_of_the_table_that_was_given_and_inputs_have_their_hashes():
    findings = data_findings(1).made_of(INPUTS)
    (run,) = json.loads(findings_sarif(findings))["runs"]
    (result,) = run["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20cohort.csv"
    assert [a["hashes"]["sha-256"] for a in run["artifacts"]] == ["b" * 64, "c" * 64]
    assert run["properties"]["digest"] == findings.digest
    again = json.loads(findings_sarif(data_findings(1)))["runs"][0]["results"][0]
    assert again["partialFingerprints"] == result["partialFingerprints"]  # the same alert


def test_names_are_shown_and_not_obeyed():
    (run,) = json.loads(findings_sarif(Findings((STRANGE,), {"views": "?"})))["runs"]
    text = run["results"][0]["message"]["text"]
    assert "](" not in text
    assert "{{0}}" in text
    assert "\x1b" not in text
    places = [
        r["physicalLocation"]["artifactLocation"] for r in run["results"][0]["relatedLocations"]
    ]
    assert places[0]["uri"] == "a%20b/%C3%BC%2520%23.png"
