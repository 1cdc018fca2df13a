"""Findings as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from hurdles.findings.finding import COULD_NOT, Finding, Scale, Verdict
from hurdles.findings.summary import (
    CLEARED_MEANS,
    against_text,
    name_text,
    ranked,
    sentence,
    settled_text,
    value_text,
)
from hurdles.findings.table import Findings

_WIDTH = 100
_INDENT = "    "
#: How many findings of a hurdle are named: those of a hit, and those of any other verdict.
_HITS, _OTHERS = 4, 2
_ADVICE = 3
_WORDS = {
    Verdict.HIT: "HIT",
    Verdict.FAILED: "FAILED",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.CLEARED: "cleared",
    Verdict.COULD_NOT_RUN: "could not run",
    Verdict.SHOWN: "not judged",
}


def finding_lines(findings: Findings) -> list[str]:
    r"""Return what a reader needs of all findings, in lines of at most 100 characters.

    For each hurdle its verdict and its question, the findings that speak loudest with interval and
    limit, what to do about a hit, and why something could not run; then the overall answer.

    Examples
    --------
    >>> from hurdles.findings.finding import Limit, counted
    >>> shared = Finding("duplicates", "", "pairs", counted(3, n_images=90), Limit(0, "by name"))
    >>> findings = Findings((shared,), {"duplicates": "Are any images shared?"})
    >>> print(*finding_lines(findings), sep="\n")
    HIT            duplicates - Are any images shared?
        pairs: 3 (hit above 0)
    <BLANKLINE>
    1 of 1 hurdle is hit (duplicates).
    Research use only. Not a medical device.
    """
    lines = [line for hurdle in findings.hurdles for line in _hurdle_lines(findings, hurdle)]
    lines += [""] if lines else []
    lines += _wrapped(sentence(findings), "", "")
    if findings.with_verdict(Verdict.CLEARED):
        lines += _wrapped(CLEARED_MEANS, "", "")
    if patients := findings.about.get("patients"):
        lines += _wrapped(f"Patients: {patients}.", "", "")
    return [*lines, "Research use only. Not a medical device."]


def _hurdle_lines(findings: Findings, hurdle: str) -> Iterator[str]:
    verdict = findings.verdict(hurdle)
    widest = max(map(len, _WORDS.values())) + 2
    head = f"{_WORDS[verdict].ljust(widest)}{hurdle} - {findings.questions[hurdle]}"
    yield from _wrapped(head, "", " " * widest)
    rows = ranked(findings.of(hurdle))
    hits = [row for row in rows if row.verdict is Verdict.HIT]
    missing = [row for row in rows if row.verdict in (Verdict.COULD_NOT_RUN, Verdict.FAILED)]
    if hits:
        yield from _named(hits, _HITS, "more hit")
    else:
        for other in (Verdict.INCONCLUSIVE, Verdict.CLEARED, Verdict.SHOWN):
            if those := [row for row in rows if row.verdict is other]:
                yield from _named(those, _OTHERS, f"more {_WORDS[other]}")
                break
    counts = [row for row in rows if row.scale is Scale.COUNT and row.estimate.is_defined]
    if len(counts) > 1:
        yield from _wrapped(f"counts: {', '.join(f'{r.subject} {value_text(r)}' for r in counts)}")
    advice = list(dict.fromkeys(row.advice for row in hits if row.advice))
    for line in advice[:_ADVICE]:
        yield from _wrapped(f"do: {line}")
    if len(advice) > _ADVICE:
        yield f"{_INDENT}and {len(advice) - _ADVICE} more to do; see the page"
    for why in dict.fromkeys(row.estimate.note for row in missing):
        which = [row.subject for row in missing if row.estimate.note == why and _is_named(row)]
        yield from _wrapped(f"could not run ({_few(which)}): {why}" if which else why)


def _named(rows: list[Finding], most: int, rest: str) -> Iterator[str]:
    """Yield the first findings; those of one statistic in a table beneath its words."""
    tables: dict[str, list[Finding]] = {}
    for row in rows[:most]:
        tables.setdefault(f"{row.statistic} ({against_text(row)})", []).append(row)
    for words, together in tables.items():
        if len(together) == 1:
            (row,) = together
            against = "; ".join(filter(None, (against_text(row), settled_text(row))))
            yield from _wrapped(f"{name_text(row)}: {value_text(row)} ({against})")
            continue
        yield from _wrapped(f"{words}:")
        widest = min(max(len(row.subject) for row in together), _WIDTH // 2)
        for row in together:
            more = settled_text(row)
            text = f"{row.subject.ljust(widest)}  {value_text(row)}{f'; {more}' if more else ''}"
            yield from _wrapped(text, _INDENT * 2, _INDENT * 3)
    if len(rows) > most:
        yield f"{_INDENT}and {len(rows) - most} {rest}"


def _is_named(finding: Finding) -> bool:
    # What `run_hurdles` says of a hurdle that could not run as a whole is said by the verdict.
    return finding.subject not in ("", COULD_NOT)


def _few(names: list[str], most: int = 4) -> str:
    named = ", ".join(names[:most])
    return named + (f" and {len(names) - most} more" if len(names) > most else "")


def _wrapped(text: str, first: str = _INDENT, later: str = _INDENT * 2) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    )
