"""JUnit XML: what Jenkins' schema allows, and what other programs read in it."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import junitparser
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "findings"))
from findings_samples import area, data_findings, model_findings

from hurdles.data.inputs import Input, Role
from hurdles.findings.finding import Evidence, Verdict
from hurdles.findings.table import Findings
from hurdles.reporting.junit import findings_junit

#: Elements, their attributes (required ones first) and children, of junit-10.xsd (Jenkins, MIT).
ALLOWED = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"skipped", "timestamp", "time", "hostname", "id", "package", "file"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    "testcase": ({"name"}, {"time", "classname", "group"}, {"skipped", "error", "failure"}),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
}
STRANGE = area(
    "a\x00b \x1b[0m <&\"' \ud800 \ufffe",
    0.9,
    0.01,
    advice="]]> & <script>",
    evidence=(Evidence("\x07.png", "bell"),),
)
FAULT = replace(model_findings().of("stability")[0], is_fault=True)
TABLES = [
    model_findings(),
    data_findings(2),
    data_findings(0),
    Findings((), {}),
    Findings((FAULT,), {"stability": "?"}),
    Findings((STRANGE,), {"views": "<Is it?>"}, {"made": "2026-01-02T03:04:05+00:00"}),
]


@pytest.mark.parametrize("findings", TABLES)
def test_it_has_the_structure_that_servers_know(findings):
    root = ET.fromstring(findings_junit(findings))
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional, children = ALLOWED[element.tag]
        assert required <= set(element.attrib) <= required | optional, element.tag
        assert {child.tag for child in element} <= children, element.tag


@pytest.mark.parametrize("findings", TABLES)
def test_another_program_counts_as_the_file_does(findings):
    """junitparser counts the cases that it reads; the file's own numbers are ours."""
    text = findings_junit(findings)
    parsed = junitparser.JUnitXml.fromstring(text.encode())
    suites = list(parsed)
    assert [suite.name for suite in suites] == findings.hurdles
    for suite in suites:
        written = (suite.tests, suite.failures, suite.errors, suite.skipped)
        suite.update_statistics()
        assert (suite.tests, suite.failures, suite.errors, suite.skipped) == written
    assert int(ET.fromstring(text).get("tests")) == len(findings)


def test_only_what_is_cleared_passes():
    findings = model_findings()
    cases = [case for suite in junitparser.JUnitXml.fromstring(findings_junit(findings).encode())
             for case in suite]  # fmt: skip
    passed = sum(case.is_passed for case in cases)
    assert passed == sum(row.verdict is Verdict.CLEARED for row in findings.rows) > 0
    kinds = {type(r).__name__: str(r.message) for case in cases for r in case.result}
    assert set(kinds) == {"Failure", "Skipped"}
    words = [str(r.message) for case in cases for r in case.result]
    assert any(w.startswith("hit: 0.846 [") for w in words)
    assert any(w.startswith("shown: ") for w in words)
    assert any(w.startswith("could not run: ") and "two further seeds" in w for w in words)


def test_a_failure_says_what_to_do_and_a_suite_what_it_was_made_of():
    inputs = (Input(Role.TABLE, "p.csv", "b" * 64),)
    text = findings_junit(data_findings(1).made_of(inputs))
    suite = next(iter(junitparser.JUnitXml.fromstring(text.encode())))
    (failure,) = next(iter(suite)).result
    assert "Drop them." in failure.text
    assert "a.png: b.png, 0.99" in failure.text
    known = {p.name: p.value for p in suite.properties()}
    assert known["table p.csv (SHA-256)"] == "b" * 64
    assert known["verdict"] == "hit"
    assert known["use"] == "research use only; not a medical device"


def test_what_xml_cannot_hold_is_written_out():
    text = findings_junit(TABLES[-1])
    assert not set(text) & {"\x00", "\x1b", "\x07", "\ufffe"}
    case = next(iter(next(iter(junitparser.JUnitXml.fromstring(text.encode())))))
    assert "\\x00" in case.name
    assert "<script>" in case.result[0].text
