"""Findings as JUnit XML, which every server for continuous integration shows as tests.

A hurdle is a suite and a finding a test: a hit is a failure, a hurdle's own fault an error. What is
inconclusive, could not run or is held against nothing was *skipped*, with its reason: it did not
pass. Only what is cleared passes.
"""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

from hurdles._version import USE
from hurdles.data.untrusted import shown
from hurdles.findings.finding import Finding, Verdict
from hurdles.findings.summary import against_text, name_text, ranked, sentence, value_text
from hurdles.findings.table import Findings

_IMAGES = 20
_ELEMENTS = {
    Verdict.HIT: "failure",
    Verdict.FAILED: "error",
    Verdict.INCONCLUSIVE: "skipped",
    Verdict.COULD_NOT_RUN: "skipped",
    Verdict.SHOWN: "skipped",
}


def findings_junit(findings: Findings) -> str:
    """Return findings as JUnit XML, with the elements and attributes that Jenkins' schema knows."""
    counts = _counted(list(findings.rows))
    counts.pop("skipped")  # of suites only
    root = ElementTree.Element("testsuites", {"name": "hurdles", **counts})
    about = {key: value for key, value in findings.about.items() if key in ("images", "hurdles")}
    about |= {"answer": sentence(findings), "digest": findings.digest, "use": USE}
    about |= {f"{each} (SHA-256)": each.sha256 for each in findings.inputs}
    made = findings.about.get("made", "")[:19]
    for hurdle, question in findings.questions.items():
        rows = ranked(findings.of(hurdle))
        when = {"timestamp": made} if made else {}
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _text(hurdle), **_counted(rows), **when}
        )
        properties = ElementTree.SubElement(suite, "properties")
        known = {"question": question, "verdict": str(findings.verdict(hurdle)), **about}
        for name, value in known.items():
            attributes = {"name": _text(name), "value": _text(value)}
            ElementTree.SubElement(properties, "property", attributes)
        for row in rows:
            _add_test(suite, row)
    ElementTree.indent(root, " ")
    text: str = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _counted(rows: list[Finding]) -> dict[str, str]:
    kinds = Counter(_ELEMENTS.get(row.verdict, "") for row in rows)
    names = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return {"tests": str(len(rows))} | {key: str(kinds[kind]) for key, kind in names.items()}


def _add_test(suite: ElementTree.Element, row: Finding) -> None:
    names = {"classname": _text(f"hurdles.{row.hurdle}"), "name": _text(name_text(row))}
    test = ElementTree.SubElement(suite, "testcase", names)
    if row.verdict not in _ELEMENTS:
        return
    is_open = not row.estimate.is_defined
    words = row.estimate.note if is_open else f"{value_text(row)} ({against_text(row)})"
    attributes = {"message": _text(f"{row.verdict}: {words}"), "type": str(row.verdict)}
    outcome = ElementTree.SubElement(test, _ELEMENTS[row.verdict], attributes)
    if row.verdict is Verdict.HIT:
        source = "" if row.limit is None else f"The limit comes from: {row.limit.source}"
        images = [f"{each.image}: {each.says}" for each in row.evidence[:_IMAGES]]
        outcome.text = _text("\n".join(filter(None, [row.advice, source, *images])))


def _text(text: str) -> str:
    """Return text without what XML cannot hold: it is written out."""
    kept = "".join(c for c in shown(text) if c not in "\ufffe\uffff")
    return kept.encode("utf-8", "backslashreplace").decode("utf-8")
