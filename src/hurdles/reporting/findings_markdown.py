"""Findings as a page in Markdown: for a repository, where images have no place."""

from __future__ import annotations

from collections.abc import Iterator

from hurdles.data.untrusted import plain_markdown as _plain
from hurdles.findings.finding import COULD_NOT, Finding, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    answer,
    limit_text,
    margin_text,
    name_text,
    ranked,
    settled_text,
    value_text,
    worst,
)
from hurdles.findings.table import Findings

#: Evidence that is named before the rest is only counted.
_NAMED = 4


def findings_markdown(findings: Findings, *, title: str) -> str:
    """Return findings as Markdown: the answer, the table of hurdles, then each with its rows.

    Examples
    --------
    >>> from hurdles.findings.finding import Limit, counted
    >>> shared = Finding("duplicates", "", "pairs", counted(3, n_images=9), Limit(0, "by name"))
    >>> page = findings_markdown(Findings((shared,), {"duplicates": "Are any?"}), title="Ours")
    >>> page.splitlines()[2]
    '**1 of 1 hurdle is hit (duplicates).**'
    """
    lines = [f"# {_plain(title)}", "", f"**{_plain(str(answer(findings)))}**", ""]
    if findings.with_verdict(Verdict.CLEARED):
        lines += [CLEARED_MEANS, ""]
    lines += _overview(findings)
    for hurdle in findings.hurdles:
        lines += _section(findings, hurdle)
    about = "; ".join(f"{name} {value}" for name, value in findings.about.items())
    if about:
        lines += [f"Looked at: {_plain(about)}.", ""]
    lines.append("Research use only; not a medical device.")
    return "\n".join(lines) + "\n"


def _overview(findings: Findings) -> Iterator[str]:
    yield "| hurdle | verdict | what tells most | number | no hit | cleared |"
    yield "|---|---|---|---|---|---|"
    for hurdle in findings.hurdles:
        loudest = worst(findings, hurdle)
        told = [""] * 4 if loudest is None else _cells(loudest)
        yield f"| {hurdle} | {findings.verdict(hurdle)} | {' | '.join(told)} |"
    yield ""


def _section(findings: Findings, hurdle: str) -> Iterator[str]:
    yield f"## {hurdle}: {findings.verdict(hurdle)}"
    yield ""
    yield _plain(findings.questions[hurdle])
    yield ""
    rows = ranked(findings.of(hurdle))
    there = [row for row in rows if row.estimate.is_defined]
    if there:
        yield "| what | number | no hit | cleared | verdict |"
        yield "|---|---|---|---|---|"
        for row in there:
            settled = settled_text(row)
            verdict = f"{row.verdict}: {_plain(settled)}" if settled else str(row.verdict)
            yield f"| {' | '.join(_cells(row))} | {verdict} |"
        yield ""
    for row in rows:
        if not row.estimate.is_defined:
            what = "" if row.subject == COULD_NOT else f", {_plain(name_text(row))}"
            how = str(row.verdict).capitalize()
            yield f"- {how}{what}: {_plain(row.estimate.note)}"
    hits = [row for row in there if row.verdict is Verdict.HIT]
    for advice in dict.fromkeys(row.advice for row in hits if row.advice):
        yield f"- To do: {_plain(advice)}"
    for row in hits:
        if row.evidence:
            yield f"- Look at, for {_plain(row.subject or hurdle)}: {_evidence(row)}"
    limits = [row.limit for row in there if row.limit is not None]
    for source in dict.fromkeys(limit.source for limit in limits):
        yield f"- A limit comes from: {_plain(source)}"
    for source in dict.fromkeys(x.margin_source for x in limits if x.clears != x.value):
        yield f"- A margin comes from: {_plain(source)}"
    yield ""


def _cells(row: Finding) -> list[str]:
    if not row.estimate.is_defined:
        return [
            "" if row.subject == COULD_NOT else _plain(name_text(row)),
            "undefined",
            "",
            "",
        ]
    limit = "" if row.limit is None else limit_text(row)
    cleared = "" if row.limit is None else margin_text(row) or limit
    return [_plain(name_text(row)), value_text(row), limit, cleared]


def _evidence(row: Finding) -> str:
    shown = "; ".join(f"{_plain(e.image)} ({_plain(e.says)})" for e in row.evidence[:_NAMED])
    more = len(row.evidence) - _NAMED
    return shown + (f" and {more} more" if more > 0 else "")
