"""Findings as rows to read: one model, from which lines, Markdown and the HTML page are made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TypeVar

from hurdles._version import USE_SENTENCE
from hurdles.data.untrusted import plain_markdown as _plain
from hurdles.findings.finding import COULD_NOT, Finding, Scale, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    against_text,
    caveats,
    limit_text,
    margin_text,
    name_text,
    ranked,
    sentence,
    settled_text,
    value_text,
)
from hurdles.findings.table import Findings

K = TypeVar("K")
V = TypeVar("V")

_WIDTH = 100
_INDENT = "    "
#: Findings of a hurdle that a terminal names: those of a hit, and those of any other verdict.
_HITS, _OTHERS = 4, 2
#: Advice that a terminal gives, and names that it lists, before the rest is only counted.
_ADVICE, _NAMES = 3, 4
#: Evidence that Markdown names before the rest is only counted.
_EVIDENCE = 4
_WORDS = {
    Verdict.HIT: "HIT",
    Verdict.FAILED: "FAILED",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.CLEARED: "cleared",
    Verdict.COULD_NOT_RUN: "could not run",
    Verdict.SHOWN: "not judged",
}


@dataclass(frozen=True)
class Row:
    """A finding with its texts, each empty where there is nothing to say.

    `name` is what was measured and of what, `limit` is beyond what it is a hit, `margin` is within
    what it is cleared where that is not the limit itself, `settled` is what would settle it.
    """

    finding: Finding
    verdict: Verdict
    name: str
    value: str
    limit: str
    margin: str
    settled: str

    @classmethod
    def of(cls, finding: Finding) -> Row:
        """Return the row of a finding."""
        return cls(
            finding,
            finding.verdict,
            # What stopped a whole hurdle has no name of its own.
            name="" if finding.subject == COULD_NOT else name_text(finding),
            value=value_text(finding),
            limit="" if finding.limit is None else limit_text(finding),
            margin=margin_text(finding),
            settled=settled_text(finding),
        )

    @property
    def is_open(self) -> bool:
        """True if there is no number to look at: it could not run, or failed."""
        return self.verdict in (Verdict.COULD_NOT_RUN, Verdict.FAILED)


@dataclass(frozen=True)
class Hurdle:
    """A hurdle with its rows, as they were found and in the order in which to read them."""

    name: str
    question: str
    verdict: Verdict
    rows: Sequence[Row]
    ranked: Sequence[Row]

    @property
    def hits(self) -> list[Row]:
        """The rows that are hit."""
        return [row for row in self.ranked if row.verdict is Verdict.HIT]

    @property
    def advice(self) -> list[str]:
        """Advice on the hits, each once."""
        return list(dict.fromkeys(r.finding.advice for r in self.hits if r.finding.advice))


def hurdles_of(findings: Findings) -> list[Hurdle]:
    """Return every hurdle that was asked with its rows."""
    hurdles = []
    for name, question in findings.questions.items():
        rows = {id(finding): Row.of(finding) for finding in findings.of(name)}
        order = [rows[id(finding)] for finding in ranked(findings.of(name))]
        hurdles.append(Hurdle(name, question, findings.verdict(name), list(rows.values()), order))
    return hurdles


def together(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return the values of each key, keys in the order in which they come."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def finding_lines(findings: Findings) -> list[str]:
    r"""Return what a reader needs of all findings, in lines of at most 100 characters.

    For each hurdle its verdict and its question, the findings that speak loudest with interval and
    limit, what to do about a hit, and why something could not run; then the overall answer.
    """
    lines = [line for hurdle in hurdles_of(findings) for line in _hurdle_lines(hurdle)]
    lines += [""] if lines else []
    lines += _wrapped(sentence(findings), "", "")
    if findings.with_verdict(Verdict.CLEARED):
        lines += _wrapped(CLEARED_MEANS, "", "")
    for caveat in caveats(findings):
        lines += _wrapped(caveat, "", "")
    return [*lines, "Research use only. Not a medical device."]


def _hurdle_lines(hurdle: Hurdle) -> Iterator[str]:
    widest = max(map(len, _WORDS.values())) + 2
    head = f"{_WORDS[hurdle.verdict].ljust(widest)}{hurdle.name} - {hurdle.question}"
    yield from _wrapped(head, "", " " * widest)
    if hurdle.hits:
        yield from _loudest_lines(hurdle.hits, _HITS, "more hit")
    else:
        for verdict in (Verdict.INCONCLUSIVE, Verdict.CLEARED, Verdict.SHOWN):
            if rows := [row for row in hurdle.ranked if row.verdict is verdict]:
                yield from _loudest_lines(rows, _OTHERS, f"more {_WORDS[verdict]}")
                break
    counts = [
        f"{row.finding.subject} {row.value}"
        for row in hurdle.ranked
        if row.finding.scale is Scale.COUNT and row.finding.estimate.is_defined
    ]
    if len(counts) > 1:
        yield from _wrapped(f"counts: {', '.join(counts)}")
    for line in hurdle.advice[:_ADVICE]:
        yield from _wrapped(f"do: {line}")
    if len(hurdle.advice) > _ADVICE:
        yield f"{_INDENT}and {len(hurdle.advice) - _ADVICE} more to do; see the page"
    # That the hurdle could not run as a whole is said by its verdict.
    subjects = (
        (row.finding.estimate.note, row.finding.subject if row.name else "")
        for row in hurdle.ranked
        if row.is_open
    )
    for why, names in together(subjects).items():
        names = list(filter(None, names))
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        which = ", ".join(names[:_NAMES]) + more
        yield from _wrapped(f"could not run ({which}): {why}" if names else why)


def _loudest_lines(rows: Sequence[Row], most: int, rest: str) -> Iterator[str]:
    """Yield the first rows; those of one statistic in a table beneath its words."""
    words = (f"{row.finding.statistic} ({against_text(row.finding)})" for row in rows)
    tables = together(zip(words, rows[:most], strict=False))
    for heading, table in tables.items():
        if len(table) == 1:
            (row,) = table
            against = "; ".join(filter(None, (against_text(row.finding), row.settled)))
            yield from _wrapped(f"{row.name}: {row.value} ({against})")
            continue
        yield from _wrapped(f"{heading}:")
        widest = min(max(len(row.finding.subject) for row in table), _WIDTH // 2)
        for row in table:
            more = f"; {row.settled}" if row.settled else ""
            text = f"{row.finding.subject.ljust(widest)}  {row.value}{more}"
            yield from _wrapped(text, _INDENT * 2, _INDENT * 3)
    if len(rows) > most:
        yield f"{_INDENT}and {len(rows) - most} {rest}"


def _wrapped(text: str, first: str = _INDENT, later: str = _INDENT * 2) -> list[str]:
    return wrap(text, _WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)


def findings_markdown(findings: Findings, *, title: str) -> str:
    """Return findings as Markdown, for a repository, where images have no place.

    The answer, the table of hurdles, then each with its rows.
    """
    hurdles = hurdles_of(findings)
    lines = [f"# {_plain(title)}", "", f"**{_plain(sentence(findings))}**", ""]
    if findings.with_verdict(Verdict.CLEARED):
        lines += [CLEARED_MEANS, ""]
    for caveat in caveats(findings):
        lines += [_plain(caveat), ""]
    lines += _table(
        ["hurdle", "verdict", "what tells most", "number", "no hit", "cleared"],
        [[h.name, h.verdict, *(_cells(h.ranked[0]) if h.ranked else [""] * 4)] for h in hurdles],
    )
    for hurdle in hurdles:
        lines += _section(hurdle)
    about = "; ".join(f"{name} {value}" for name, value in findings.about.items())
    if about:
        lines += [f"Looked at: {_plain(about)}.", ""]
    if findings.inputs:
        lines += ["Made of, by SHA-256:", ""]
        lines += [f"- {_plain(str(each))}: `{each.sha256}`" for each in findings.inputs]
        lines += [f"- these findings: `{findings.digest}`", ""]
    lines.append(USE_SENTENCE)
    return "\n".join(lines) + "\n"


def _section(hurdle: Hurdle) -> Iterator[str]:
    yield from (f"## {hurdle.name}: {hurdle.verdict}", "", _plain(hurdle.question), "")
    measured = [row for row in hurdle.ranked if not row.is_open]
    if measured:
        verdicts = (": ".join(filter(None, (r.verdict, _plain(r.settled)))) for r in measured)
        yield from _table(
            ["what", "number", "no hit", "cleared", "verdict"],
            [[*_cells(row), verdict] for row, verdict in zip(measured, verdicts, strict=True)],
        )
    for row in hurdle.ranked:
        if row.is_open:
            name = f", {_plain(row.name)}" if row.name else ""
            yield f"- {str(row.verdict).capitalize()}{name}: {_plain(row.finding.estimate.note)}"
    for advice in hurdle.advice:
        yield f"- To do: {_plain(advice)}"
    for finding in (row.finding for row in hurdle.hits):
        if finding.evidence:
            shown = (f"{_plain(e.image)} ({_plain(e.says)})" for e in finding.evidence[:_EVIDENCE])
            more = len(finding.evidence) - _EVIDENCE
            yield f"- Look at, for {_plain(finding.subject or hurdle.name)}: {'; '.join(shown)}" + (
                f" and {more} more" if more > 0 else ""
            )
    limits = [row.finding.limit for row in measured if row.finding.limit is not None]
    for source in dict.fromkeys(limit.source for limit in limits):
        yield f"- A limit comes from: {_plain(source)}"
    for source in dict.fromkeys(x.margin_source for x in limits if x.has_margin):
        yield f"- A margin comes from: {_plain(source)}"
    yield ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _cells(row: Row) -> list[str]:
    if row.is_open:
        return [_plain(row.name), "undefined", "", ""]
    return [_plain(row.name), row.value, row.limit, row.margin or row.limit]
