"""What all findings come to: one sentence, one exit code, and the order in which to read them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hurdles.findings.finding import Beyond, Finding, Verdict
from hurdles.findings.table import Findings

__all__ = [
    "CLEARED_MEANS",
    "Answer",
    "Kind",
    "answer",
    "excess",
    "exit_code",
    "kind",
    "limit_text",
    "name_text",
    "ranked",
    "sentence",
    "tally",
    "value_text",
    "worst",
]

#: What must stand wherever a hurdle is called cleared.
CLEARED_MEANS = "A cleared hurdle says only that this test found nothing; it does not say that the "
CLEARED_MEANS += "model or the data are sound."

_NOTHING, _HIT, _NOT_RUN = 0, 3, 4
#: A statistic whose words say that it is a ratio or a difference is neither a share nor an area.
_RELATIVE = re.compile(r"\b(ratio|over (the|its|their)|relative to|divided by|times)\b")
_DIFFERENCE = re.compile(r"\b(drop|loss|lost|gap|difference|change|gain|width|minus)\b")
_SHARES = ("share", "sensitivity", "specificity", "accuracy", "error of calibration")


class Kind(StrEnum):
    """What sort of number a statistic is, and so how it is written and drawn."""

    COUNT = "count"
    SHARE = "share"
    AREA = "area"
    NUMBER = "number"


@dataclass(frozen=True)
class Answer:
    """The overall answer in the two pieces that a page sets differently.

    Parameters
    ----------
    fact : str
        The most telling fact, without a full stop; empty where there is none to lead with.
    tally : str
        How many hurdles are hit, which, and what became of the others; without a full stop.
    """

    fact: str
    tally: str

    def __str__(self) -> str:
        words = f"{self.fact}; {self.tally}" if self.fact else self.tally
        return f"{words[0].upper()}{words[1:]}."


def exit_code(findings: Findings, strict: bool = False) -> int:
    """Return what a program should exit with, for continuous integration.

    Parameters
    ----------
    findings : Findings
        Of all hurdles that were asked.
    strict : bool
        Whether a hurdle that could not run is a failure too.

    Returns
    -------
    int
        3 if a hurdle is hit; else 4 if `strict` and a hurdle, as a whole, could not run; else 0.
    """
    if findings.with_verdict(Verdict.HIT):
        return _HIT
    return _NOT_RUN if strict and findings.with_verdict(Verdict.COULD_NOT_RUN) else _NOTHING


def ranked(found: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order in which to read them.

    Hits first, by how far beyond the limit they are; then what is judged and cleared, the closest
    to its limit first; then what could not run; then what is only shown, in its own order.

    Parameters
    ----------
    found : sequence of Finding
        Of one hurdle: the statistics of two are not on one scale.
    """
    order = {Verdict.HIT: 0, Verdict.CLEARED: 1, Verdict.COULD_NOT_RUN: 2}

    def key(finding: Finding) -> tuple[int, float]:
        shown = finding.limit is None and finding.verdict is Verdict.CLEARED
        return (3 if shown else order[finding.verdict], -excess(finding))

    return sorted(found, key=key)


def worst(findings: Findings, hurdle: str) -> Finding | None:
    """Return the finding that speaks loudest for a hurdle's verdict; None where it has none.

    Parameters
    ----------
    findings, hurdle
        As for `Findings.of`.
    """
    return next(iter(ranked(findings.of(hurdle))), None)


def excess(finding: Finding) -> float:
    """Return how far the interval lies beyond the limit, in the statistic's own unit.

    Negative where it does not lie beyond it as a whole: then by how much it falls short of that.
    Minus infinity where nothing is judged.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> from hurdles.findings.finding import Limit
    >>> auc = Estimate(0.81, 0.75, 0.86, 0.95, "DeLong", 436, 400)
    >>> excess(Finding("pixels", "border", "AUC", auc, Limit(0.5, "a coin")))
    0.25
    """
    found, limit = finding.estimate, finding.limit
    if limit is None or not found.is_defined:
        return -math.inf
    above = limit.beyond is Beyond.ABOVE
    beyond = found.low - limit.value if above else limit.value - found.high
    return -math.inf if math.isnan(beyond) else beyond


def sentence(findings: Findings) -> str:
    """Return the overall answer in one sentence.

    It never calls data or a model good: that hurdles are cleared only says that these tests found
    nothing.

    Parameters
    ----------
    findings : Findings
        Of data or of a model.

    Examples
    --------
    >>> from hurdles.findings.finding import Limit, counted
    >>> shared = Finding("duplicates", "", "pairs", counted(3, n_images=90), Limit(0, "by name"))
    >>> sentence(Findings((shared,), {"duplicates": "Are any?", "patients": "Do they stay apart?"}))
    '1 of 2 hurdles is hit (duplicates), 1 cleared.'
    """
    return str(answer(findings))


def answer(findings: Findings) -> Answer:
    """Return the same in its pieces: the most telling fact, and the tally of verdicts."""
    return Answer(_fact(findings), tally(findings))


def tally(findings: Findings) -> str:
    """Return how many hurdles are hit and which, how many cleared, and which could not run."""
    total = len(findings.hurdles)
    hit, cleared, missing = (
        findings.with_verdict(v) for v in (Verdict.HIT, Verdict.CLEARED, Verdict.COULD_NOT_RUN)
    )
    if not total:
        return "no hurdle was asked, so nothing can be said"
    if len(missing) == total:
        return f"none of {_hurdles(total)} could run ({_listed(missing)}), so nothing can be said"
    if hit:
        is_or_are = "is" if len(hit) == 1 else "are"
        words = f"{len(hit)} of {_hurdles(total)} {is_or_are} hit ({_listed(hit)})"
        words += f", {len(cleared)} cleared" if cleared else ""
    else:
        words = f"none of {_hurdles(total)} is hit: {len(cleared)} cleared, which says only that "
        words += "these tests found nothing"
    return words + (f", {len(missing)} could not run ({_listed(missing)})" if missing else "")


def kind(finding: Finding) -> Kind:
    """Return what sort of number a finding states.

    Its ``details["written"]`` says so (``count``, ``share``, ``area`` or ``number``); where that is
    missing, what was counted is a count, and the words of the statistic tell the rest.

    Parameters
    ----------
    finding : Finding
        Any; one that could not run as well.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> auc = Estimate(0.81, 0.75, 0.86, 0.95, "DeLong", 436, 400)
    >>> words = ["macro AUC", "drop in AUC", "share of answers that flip", "share over its area"]
    >>> [str(kind(Finding("h", "", statistic, auc, None))) for statistic in words]
    ['area', 'number', 'share', 'number']
    """
    said = finding.details.get("written")
    if said in set(Kind):
        return Kind(said)
    if finding.estimate.method == "counted":
        return Kind.COUNT
    words = finding.statistic.lower()
    if _RELATIVE.search(words):
        return Kind.NUMBER
    if words.startswith(_SHARES):
        return Kind.SHARE
    is_area = bool(re.search(r"\bauc\b|area under", words)) and not _DIFFERENCE.search(words)
    return Kind.AREA if is_area else Kind.NUMBER


def name_text(finding: Finding) -> str:
    """Return what was measured, of what; a subject that the statistic names is not said twice.

    Parameters
    ----------
    finding : Finding
        Any.

    Examples
    --------
    >>> from hurdles.findings.finding import counted
    >>> none = counted(0, n_images=9)
    >>> for subject in ("noise", "all"):
    ...     print(name_text(Finding("pixels", subject, "AUC from noise", none, None)))
    AUC from noise
    all: AUC from noise
    """
    if not finding.subject or finding.subject.casefold() in finding.statistic.casefold():
        return finding.statistic
    return f"{finding.subject}: {finding.statistic}"


def value_text(finding: Finding, digits: int | None = None) -> str:
    """Return a finding's number with its interval, or ``undefined``.

    Parameters
    ----------
    finding : Finding
        Any.
    digits : int, optional
        Decimals; default: none of a count, one of percent, three of anything else.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> share = Estimate(0.824, 0.741, 0.903, 0.95, "MOVER", 436, 400)
    >>> value_text(Finding("views", "", "share of the AUC above chance", share, None), 0)
    '82 % [74, 90]'
    """
    found, sort = finding.estimate, kind(finding)
    if not found.is_defined:
        return "undefined"
    if sort is Kind.COUNT:
        return f"{found.value:,.0f}"
    scale = 100 if sort is Kind.SHARE else 1
    places = digits if digits is not None else 1 if sort is Kind.SHARE else 3
    value, low, high = (_decimal(scale * x, places) for x in (found.value, found.low, found.high))
    unit = " %" if sort is Kind.SHARE else ""
    if found.low == found.value == found.high:
        # Calculated, not estimated: there is nothing to be unsure of.
        return f"{value}{unit}"
    if math.isnan(found.low) or math.isnan(found.high):
        return f"{value}{unit}, no interval"
    return f"{value}{unit} [{low}, {high}]"


def limit_text(finding: Finding) -> str:
    """Return what a statistic may be at most or must be at least, or that it is not judged.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> from hurdles.findings.finding import Limit
    >>> auc = Estimate(0.81, 0.75, 0.86, 0.95, "DeLong", 436, 400)
    >>> limit_text(Finding("pixels", "border", "AUC", auc, Limit(0.55, "calibrated")))
    'at most 0.55'
    """
    limit = finding.limit
    if limit is None:
        return "shown, not judged"
    is_share = kind(finding) is Kind.SHARE
    value = f"{100 * limit.value:.3g} %" if is_share else f"{limit.value:.3g}"
    return f"at most {value}" if limit.beyond is Beyond.ABOVE else f"at least {value}"


def _decimal(value: float, digits: int) -> str:
    if math.isinf(value):
        return "no bound"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def _hurdles(number: int) -> str:
    return f"{number} hurdle{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _fact(findings: Findings) -> str:
    """Return what tells most: first of a model without lungs, then of data without a look."""
    for row in findings.of("views"):
        if "without any lung" in row.subject and row.estimate.is_defined:
            return (
                f"{value_text(row, 0)} of what this model's AUC has above chance is reachable "
                "without any lung"
            )
    for row in _hit_areas(findings, "lungs-removed"):
        return f"with the lungs blanked out, this model's AUC is {value_text(row)}"
    areas = _hit_areas(findings, "confounders") + _hit_areas(findings, "pixels")
    single = [row for row in areas if "together" not in row.subject] or areas
    for row in sorted(single, key=excess, reverse=True):
        return f"the class can be told from {row.subject} alone with an AUC of {value_text(row)}"
    return ""


def _hit_areas(findings: Findings, hurdle: str) -> list[Finding]:
    hits = [row for row in ranked(findings.of(hurdle)) if row.verdict is Verdict.HIT]
    return [row for row in hits if kind(row) is Kind.AREA and row.subject]
