"""What all findings come to: one sentence, one exit code, and the order in which to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from hurdles.findings.finding import COULD_NOT, Beyond, Finding, Scale, Verdict
from hurdles.findings.table import Findings

__all__ = [
    "CLEARED_MEANS",
    "Answer",
    "ExitCode",
    "against_text",
    "answer",
    "excess",
    "exit_code",
    "limit_text",
    "margin_text",
    "name_text",
    "ranked",
    "sentence",
    "settled_text",
    "tally",
    "value_text",
    "worst",
]

#: What must stand wherever a hurdle is called cleared.
CLEARED_MEANS = (
    "A cleared hurdle says only that what this test measures lies within its margin; it "
)
CLEARED_MEANS += "does not say that the model or the data are sound."


class ExitCode(IntEnum):
    """What `hurdles check` and `hurdles audit` exit with; a larger one beats a smaller one."""

    NOTHING = 0
    BAD_INPUT = 2
    HIT = 3
    OPEN = 4  # asked for by --strict; a hit beats it
    FAULT = 5


#: A share that no more than this much is unsure of says something.
_SHARP = 0.5


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


def exit_code(findings: Findings, strict: bool = False) -> ExitCode:
    """Return what a program should exit with, for continuous integration.

    Parameters
    ----------
    findings : Findings
        Of all hurdles that were asked.
    strict : bool
        Whether what is inconclusive or could not run is a failure too.

    Returns
    -------
    ExitCode
        5 if a hurdle failed by a fault of its own; else 3 if one is hit; else 4 if `strict` and
        one, as a whole, is inconclusive or could not run; else 0.
    """
    if any(row.verdict is Verdict.FAILED for row in findings.rows):
        return ExitCode.FAULT
    if findings.with_verdict(Verdict.HIT):
        return ExitCode.HIT
    open_ = (Verdict.INCONCLUSIVE, Verdict.COULD_NOT_RUN)
    if strict and any(findings.with_verdict(verdict) for verdict in open_):
        return ExitCode.OPEN
    return ExitCode.NOTHING


def ranked(found: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order in which to read them.

    Hits first, by how far beyond the limit they are; then whatever keeps the hurdle from being
    cleared (what failed, is inconclusive, or was to be judged and could not run); then what is
    cleared, the closest to its limit first; then what is only shown, in its own order.

    Parameters
    ----------
    found : sequence of Finding
        Of one hurdle: the statistics of two are not on one scale.
    """
    order = [
        Verdict.HIT,
        Verdict.FAILED,
        Verdict.INCONCLUSIVE,
        Verdict.COULD_NOT_RUN,
        Verdict.CLEARED,
        Verdict.SHOWN,
    ]

    def key(row: Finding) -> tuple[int, float]:
        judged = row.limit is not None or row.subject == COULD_NOT
        place = row.verdict if judged else Verdict.SHOWN
        return order.index(place), -excess(row)

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

    It never calls data or a model good: that hurdles are cleared only says that what they measure
    lies within their margins.

    Parameters
    ----------
    findings : Findings
        Of data or of a model.

    Examples
    --------
    >>> from hurdles.findings.finding import Limit, counted
    >>> shared = Finding("duplicates", "", "pairs", counted(3, n_images=90), Limit(0, "by name"))
    >>> apart = Finding("patients", "", "shared", counted(0, n_images=90), Limit(0, "by name"))
    >>> sentence(Findings((shared, apart), {"duplicates": "Any?", "patients": "Apart?"}))
    '1 of 2 hurdles is hit (duplicates), 1 is cleared (patients).'
    """
    return str(answer(findings))


def answer(findings: Findings) -> Answer:
    """Return the same in its pieces: the most telling fact, and the tally of verdicts."""
    return Answer(_fact(findings), tally(findings))


#: Each verdict in the words of the tally, after a number; what is hit comes first.
_TALLY = {
    Verdict.HIT: "{are} hit",
    Verdict.FAILED: "failed by a fault of its own",
    Verdict.INCONCLUSIVE: "{are} inconclusive",
    Verdict.CLEARED: "{are} cleared",
    Verdict.SHOWN: "only shown",
    Verdict.COULD_NOT_RUN: "could not run",
}


def tally(findings: Findings) -> str:
    """Return how many hurdles are hit, inconclusive, cleared or could not run, and which."""
    total = len(findings.hurdles)
    if not total:
        return "no hurdle was asked, so nothing can be said"
    named = {verdict: findings.with_verdict(verdict) for verdict in _TALLY}
    of = f"of {total} hurdle{'' if total == 1 else 's'}"
    if len(named[Verdict.COULD_NOT_RUN]) == total:
        return f"none {of} could run ({_listed(findings.hurdles)}), so nothing can be said"
    words = [] if named[Verdict.HIT] else [f"none {of} is hit"]
    for verdict, names in named.items():
        if names:
            which = _TALLY[verdict].format(are="is" if len(names) == 1 else "are")
            words.append(f"{len(names)} {'' if words else f'{of} '}{which} ({_listed(names)})")
    return ", ".join(words)


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
    >>> value_text(Finding("views", "", "share of answers", share, None, scale=Scale.SHARE), 0)
    '82 % [74, 90]'
    """
    found, scale = finding.estimate, finding.scale
    if not found.is_defined:
        return "undefined"
    if scale is Scale.COUNT:
        most = f" to {found.high:,.0f}" if found.high > found.value else ""
        return f"{found.value:,.0f}{most}"
    factor = 100 if scale is Scale.SHARE else 1
    places = digits if digits is not None else 1 if scale is Scale.SHARE else 3
    value, low, high = (_decimal(factor * x, places) for x in (found.value, found.low, found.high))
    unit = " %" if scale is Scale.SHARE else ""
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
    return "shown, not judged" if limit is None else _side(finding, limit.value)


def margin_text(finding: Finding) -> str:
    """Return within what a statistic is cleared; empty where that is the limit itself.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> from hurdles.findings.finding import Limit
    >>> auc = Estimate(0.81, 0.75, 0.86, 0.95, "DeLong", 436, 400)
    >>> limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    >>> margin_text(Finding("pixels", "border", "AUC", auc, limit))
    'at most 0.64'
    """
    limit = finding.limit
    if limit is None or limit.clears == limit.value:
        return ""
    return _side(finding, limit.clears)


def against_text(finding: Finding) -> str:
    """Return in one phrase where a statistic is a hit and where it is cleared.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> from hurdles.findings.finding import Limit
    >>> slope = Estimate(0.85, 0.75, 0.95, 0.95, "bootstrap", 436, 400)
    >>> limit = Limit(0.9, "Riley", "below", margin=0.8, margin_source="a choice")
    >>> against_text(Finding("calibration", "", "slope", slope, limit))
    'hit below 0.9, cleared from 0.8'
    """
    limit = finding.limit
    if limit is None:
        return "shown, not judged"
    above = limit.beyond is Beyond.ABOVE
    hit = f"hit {'above' if above else 'below'} {_number(finding, limit.value)}"
    if limit.clears == limit.value:
        return hit
    return f"{hit}, cleared {'up to' if above else 'from'} {_number(finding, limit.clears)}"


def settled_text(finding: Finding) -> str:
    """Return about how many patients would settle what is inconclusive; empty where it is not.

    Two digits at most: the number rests on the estimate, which would move as well.

    Examples
    --------
    >>> from hurdles.evaluation.estimate import Estimate
    >>> from hurdles.findings.finding import Limit
    >>> auc = Estimate(0.55, 0.43, 0.67, 0.95, "DeLong", 44, 44)
    >>> limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    >>> settled_text(Finding("pixels", "border", "AUC", auc, limit))
    'about 78 patients would settle it if the estimate stayed'
    """
    if finding.verdict is Verdict.INCONCLUSIVE and finding.uncleared:
        return finding.uncleared
    needed = finding.to_settle
    if needed is None:
        return ""
    if math.isinf(needed):
        return f"between margin and limit: more {finding.settled_by} alone would not settle it"
    digits = max(0, math.floor(math.log10(needed)) - 1) if needed >= 1 else 0
    number = round(needed / 10**digits) * 10**digits
    return f"about {number:,} {finding.settled_by} would settle it if the estimate stayed"


def _side(finding: Finding, value: float) -> str:
    assert finding.limit is not None
    side = "most" if finding.limit.beyond is Beyond.ABOVE else "least"
    return f"at {side} {_number(finding, value)}"


def _number(finding: Finding, value: float) -> str:
    return f"{100 * value:.3g} %" if finding.scale is Scale.SHARE else f"{value:.3g}"


def _decimal(value: float, digits: int) -> str:
    if math.isinf(value):
        return "no bound"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.") else text


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _fact(findings: Findings) -> str:
    """Return what tells most: first of a model without lungs, then of data without a look."""
    for row in findings.of("views"):
        share = row.estimate
        says_something = share.low > 0 and share.high - share.low <= _SHARP  # NaN says nothing
        if row.subject == "without any lung" and says_something:
            return (
                "a small probe that sees no lung reaches "
                f"{value_text(row, 0)} of what this model's AUC has above chance"
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
    return [row for row in hits if row.scale is Scale.AUC and row.subject]
