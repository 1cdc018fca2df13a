"""Findings in words: one sentence and one exit code for all, the order to read them, numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple

from hurdles.findings.finding import COULD_NOT, Beyond, Finding, Scale, Verdict
from hurdles.findings.table import Findings

#: Must stand wherever a hurdle is called cleared.
CLEARED_MEANS = (
    "A cleared hurdle says only that what this test measures lies within its margin; it "
    "does not say that the model or the data are sound."
)
#: A share leads the sentence only where its interval is no wider than this.
_WIDEST = 0.5
#: Each verdict in the words of the tally, after a number; what is hit comes first.
_TALLY = {
    Verdict.HIT: "{are} hit",
    Verdict.FAILED: "failed by a fault of its own",
    Verdict.INCONCLUSIVE: "{are} inconclusive",
    Verdict.CLEARED: "{are} cleared",
    Verdict.SHOWN: "only shown",
    Verdict.COULD_NOT_RUN: "could not run",
}
#: Order in which findings are read.
_ORDER = (
    Verdict.HIT,
    Verdict.FAILED,
    Verdict.INCONCLUSIVE,
    Verdict.COULD_NOT_RUN,
    Verdict.CLEARED,
    Verdict.SHOWN,
)


class ExitCode(IntEnum):
    """Exit code of `hurdles check` and `hurdles audit`; a larger one beats a smaller one."""

    NOTHING = 0
    BAD_INPUT = 2
    HIT = 3
    OPEN = 4  # asked for by --fail-on; a hit beats it
    FAULT = 5


class FailOn(StrEnum):
    """Verdict of a hurdle that a command fails on, beside a fault of a hurdle's own."""

    HIT = "hit"
    INCONCLUSIVE = "inconclusive"  # hits as well
    COULD_NOT_RUN = "could-not-run"  # hits as well
    NOTHING = "nothing"  # not even hits


def exit_code(findings: Findings, fail_on: Collection[FailOn | str] = (FailOn.HIT,)) -> ExitCode:
    """Return the exit code; what is open counts only where `fail_on` names it, a hit always.

    A fault of a hurdle's own beats a hit, and a hit beats what is open. With ``nothing`` alone a
    fault is all that counts.
    """
    wanted = set(map(FailOn, fail_on))
    if any(row.verdict is Verdict.FAILED for row in findings.rows):
        return ExitCode.FAULT
    if wanted <= {FailOn.NOTHING}:
        return ExitCode.NOTHING
    if findings.with_verdict(Verdict.HIT):
        return ExitCode.HIT
    open_ = {
        FailOn.INCONCLUSIVE: Verdict.INCONCLUSIVE,
        FailOn.COULD_NOT_RUN: Verdict.COULD_NOT_RUN,
    }
    if any(findings.with_verdict(open_[each]) for each in wanted & set(open_)):
        return ExitCode.OPEN
    return ExitCode.NOTHING


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return one hurdle's findings in the order in which to read them.

    Hits first, by how far beyond the limit they are; then whatever keeps the hurdle from being
    cleared (what failed, is inconclusive, or was to be judged and could not run); then what is
    cleared, the closest to its limit first; then what is only shown, in its own order.
    """

    def key(row: Finding) -> tuple[int, float]:
        judged = row.limit is not None or row.subject == COULD_NOT
        return _ORDER.index(row.verdict if judged else Verdict.SHOWN), -excess(row)

    return sorted(findings, key=key)


def worst(findings: Findings, hurdle: str) -> Finding | None:
    """Return the finding of a hurdle that is read first; None where it has none."""
    return next(iter(ranked(findings.of(hurdle))), None)


def excess(finding: Finding) -> float:
    """Return how far the interval lies beyond the limit, in the statistic's own unit.

    Negative where it does not lie beyond it as a whole: then by how much it falls short of that.
    Minus infinity where nothing is judged.
    """
    estimate, limit = finding.estimate, finding.limit
    if limit is None or not estimate.is_defined:
        return -math.inf
    above = limit.beyond is Beyond.ABOVE
    beyond = estimate.low - limit.value if above else limit.value - estimate.high
    return -math.inf if math.isnan(beyond) else beyond


#: Of what findings are about: what weakens all of them, and is said beside the answer.
_WEAKENING = ("limits", "training", "patients")


def caveats(findings: Findings) -> list[str]:
    """Return what a reader must know before any verdict, a sentence each."""
    about = findings.about
    return [f"{key.capitalize()}: {about[key]}." for key in _WEAKENING if about.get(key)]


class Answer(NamedTuple):
    """Overall answer in two pieces: the most telling fact (or nothing), and the tally of verdicts.

    Neither ends with a full stop; a page sets them differently.
    """

    fact: str
    tally: str

    def __str__(self) -> str:
        words = f"{self.fact}; {self.tally}" if self.fact else self.tally
        return f"{words[0].upper()}{words[1:]}."


def sentence(findings: Findings) -> str:
    """Return the overall answer in one sentence, which never calls data or a model good."""
    return str(answer(findings))


def answer(findings: Findings) -> Answer:
    """Return the overall answer in its pieces."""
    return Answer(_fact(findings), _tally(findings))


def _fact(findings: Findings) -> str:
    """Return the most telling fact: first of a model without lungs, then of data without a look."""
    for row in findings.of("views"):
        share = row.estimate
        is_sharp = share.low > 0 and share.high - share.low <= _WIDEST  # NaN says nothing
        if row.subject == "without any lung" and is_sharp:
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


def _tally(findings: Findings) -> str:
    """Return how many hurdles are hit, inconclusive, cleared or could not run, and which."""

    def listed(names: Sequence[str]) -> str:
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

    total = len(findings.hurdles)
    if not total:
        return "no hurdle was asked, so nothing can be said"
    by_verdict = {verdict: findings.with_verdict(verdict) for verdict in _TALLY}
    of = f"of {total} hurdle{'' if total == 1 else 's'}"
    if len(by_verdict[Verdict.COULD_NOT_RUN]) == total:
        return f"none {of} could run ({listed(findings.hurdles)}), so nothing can be said"
    words = [] if by_verdict[Verdict.HIT] else [f"none {of} is hit"]
    for verdict, names in by_verdict.items():
        if names:
            which = _TALLY[verdict].format(are="is" if len(names) == 1 else "are")
            words.append(f"{len(names)} {'' if words else f'{of} '}{which} ({listed(names)})")
    return ", ".join(words)


def name_text(finding: Finding) -> str:
    """Return subject and statistic; a subject that the statistic names is not said twice."""
    if not finding.subject or finding.subject.casefold() in finding.statistic.casefold():
        return finding.statistic
    return f"{finding.subject}: {finding.statistic}"


def value_text(finding: Finding, digits: int | None = None) -> str:
    """Return a finding's number with its interval, or ``undefined``.

    Decimals by default: none of a count, one of percent, three of anything else.
    """
    estimate, scale = finding.estimate, finding.scale
    if not estimate.is_defined:
        return "undefined"
    if scale is Scale.COUNT:
        most = f" to {estimate.high:,.0f}" if estimate.high > estimate.value else ""
        return f"{estimate.value:,.0f}{most}"
    factor, unit, usual = (100, " %", 1) if scale is Scale.SHARE else (1, "", 3)
    places = usual if digits is None else digits

    def decimal(number: float) -> str:
        if math.isinf(number):
            return "no bound"
        text = f"{factor * number:.{places}f}"
        return text if text.strip("-0.") else text.lstrip("-")  # no minus before a zero

    value = f"{decimal(estimate.value)}{unit}"
    if estimate.low == estimate.value == estimate.high:
        return value  # calculated, not estimated: there is nothing to be unsure of
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return f"{value}, no interval"
    return f"{value} [{decimal(estimate.low)}, {decimal(estimate.high)}]"


def limit_text(finding: Finding) -> str:
    """Return the limit, as in "at most 0.55", or that the statistic is not judged."""
    limit = finding.limit
    return "shown, not judged" if limit is None else _bound(finding, limit.value)


def margin_text(finding: Finding) -> str:
    """Return the margin, as in "at most 0.64"; empty where that is the limit itself."""
    limit = finding.limit
    if limit is None or limit.clears == limit.value:
        return ""
    return _bound(finding, limit.clears)


def _bound(finding: Finding, value: float) -> str:
    assert finding.limit is not None
    side = "most" if finding.limit.beyond is Beyond.ABOVE else "least"
    return f"at {side} {_number(finding, value)}"


def _number(finding: Finding, value: float) -> str:
    return f"{100 * value:.3g} %" if finding.scale is Scale.SHARE else f"{value:.3g}"


def against_text(finding: Finding) -> str:
    """Return limit and margin in one phrase, as in "hit below 0.9, cleared from 0.8"."""
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
