"""Findings as SARIF 2.1.0 (OASIS), which code scanning shows beside a change.

A hit is a result of the kind ``fail``; what is inconclusive is ``open``, whose level is ``none``.
What could not run or failed is a notification of the tool, since it is no result. What is cleared
or only shown is counted: viewers that know no kinds would call it a problem.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from hurdles._version import USE, USE_SENTENCE, __version__
from hurdles.data.inputs import Role
from hurdles.data.untrusted import shown
from hurdles.findings.finding import Finding, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    against_text,
    name_text,
    ranked,
    sentence,
    value_text,
)
from hurdles.findings.table import Findings

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
#: Images that a result names.
_IMAGES = 20
_KINDS = {Verdict.HIT: ("fail", "error"), Verdict.INCONCLUSIVE: ("open", "none")}
_LEVELS = {Verdict.COULD_NOT_RUN: "warning", Verdict.FAILED: "error"}


def findings_sarif(findings: Findings) -> str:
    """Return findings as a SARIF log of one run."""
    rules = {name: i for i, name in enumerate(findings.questions)}
    where = _where(findings)
    rows = [row for name in findings.hurdles for row in ranked(findings.of(name))]
    run = {
        "tool": {
            "driver": {
                "name": "hurdles",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(name, question) for name, question in findings.questions.items()],
            }
        },
        "invocations": [
            {
                "executionSuccessful": all(row.verdict is not Verdict.FAILED for row in rows),
                "toolExecutionNotifications": [
                    {
                        "level": _LEVELS[row.verdict],
                        "message": _message(f"{name_text(row)}: {row.estimate.note}"),
                        "associatedRule": {"id": row.hurdle, "index": rules[row.hurdle]},
                    }
                    for row in rows
                    if row.verdict in _LEVELS
                ],
            }
        ],
        "artifacts": [
            {"location": {"uri": _uri(each.name)}, "hashes": {"sha-256": each.sha256}}
            for each in findings.inputs
            if each.n is None
        ],
        "results": [_result(row, rules, where) for row in rows if row.verdict in _KINDS],
        "columnKind": "unicodeCodePoints",
        "properties": {
            "answer": sentence(findings),
            "digest": findings.digest,
            "verdicts": {name: str(findings.verdict(name)) for name in findings.hurdles},
            "use": USE,
        },
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _where(findings: Findings) -> str:
    """Return the file or the images that a result is of."""
    for role in (Role.TABLE, Role.RECIPE, Role.MODEL, Role.PREDICTIONS, Role.IMAGES):
        for each in findings.inputs:
            if each.role is role:
                return each.name
    return "images"


def _rule(name: str, question: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "shortDescription": _message(question),
        "fullDescription": _message(question),
        "help": _message(f"{question} {CLEARED_MEANS} {USE_SENTENCE}"),
    }


def _result(row: Finding, rules: dict[str, int], where: str) -> dict[str, Any]:
    kind, level = _KINDS[row.verdict]
    words = f"{name_text(row)}: {value_text(row)} ({against_text(row)})."
    advice = f" {row.advice}" if row.verdict is Verdict.HIT and row.advice else ""
    name = f"{row.hurdle}\n{row.subject}\n{row.statistic}".encode("utf-8", "surrogatepass")
    known = hashlib.sha256(name).hexdigest()
    return {
        "ruleId": row.hurdle,
        "ruleIndex": rules[row.hurdle],
        "kind": kind,
        "level": level,
        "message": _message(words + advice),
        "locations": [_location(where)],
        "partialFingerprints": {"primaryLocationLineHash": f"{known[:16]}:1"},
        "relatedLocations": [
            {"id": i, **_location(each.image), "message": _message(each.says or each.image)}
            for i, each in enumerate(row.evidence[:_IMAGES])
        ],
    }


def _location(name: str) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": _uri(name)}, "region": {"startLine": 1}}
    return {"physicalLocation": place}


def _uri(name: str) -> str:
    return quote(name, errors="surrogatepass")


def _message(text: str) -> dict[str, str]:
    # Braces would be placeholders (3.11.5), and brackets before a parenthesis a link (3.11.6).
    plain = shown(text).replace("{", "{{").replace("}", "}}").replace("](", "] (")
    return {"text": plain or "nothing"}
