"""A finding: what one hurdle measured, how sure that is, and what it is held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Beyond", "Evidence", "Finding", "Limit", "Scale", "Verdict", "counted"]

#: Method of an estimate that was counted in all images.
COUNTED = "counted"
#: Subject of the one finding of a hurdle that could not be run at all.
COULD_NOT = "could not be run"


class Verdict(StrEnum):
    """Outcome of a hurdle."""

    HIT = "hit"
    INCONCLUSIVE = "inconclusive"
    CLEARED = "cleared"
    COULD_NOT_RUN = "could not run"
    FAILED = "failed"  # by a fault of the hurdle's own code
    SHOWN = "shown"  # measured, and held against nothing


class Beyond(StrEnum):
    """Side of its limit on which a statistic is bad."""

    ABOVE = "above"
    BELOW = "below"


class Scale(StrEnum):
    """Kind of number that a statistic is, which decides how it is written and drawn."""

    COUNT = "count"
    SHARE = "share"  # of a whole, within 0 and 1
    AUC = "AUC"
    RATIO = "ratio"
    DIFFERENCE = "difference"  # of two shares or two AUCs
    NUMBER = "number"  # anything else: a slope, log-odds, a width


@dataclass(frozen=True)
class Limit:
    """Number beyond which a statistic is a hit, and a margin within which it is cleared.

    Two questions have two numbers. Is there more than there is without a fault? The *limit*
    answers that. Is there so little that it would not matter? That is the *margin*, as in a trial
    of non-inferiority. Held against the limit alone, every small set would be cleared by the width
    of its intervals.

    Parameters
    ----------
    value : float
        A statistic whose whole interval lies beyond it is a hit.
    source : str
        Where it comes from: a calibration, a paper, or what the words mean.
    beyond : Beyond
        The bad side.
    margin : float, optional
        A statistic whose whole interval lies on its good side is cleared; the margin itself
        clears. Default: the limit, as where both hold by definition.
    margin_source : str
        Where the margin comes from; default: as the limit.

    Raises
    ------
    EvaluationError
        If a number is none, or nothing is said of its source.

    Examples
    --------
    >>> limit = Limit(0.53, "calibrated", margin=0.64, margin_source="a choice")
    >>> small, large = ((0.60, 0.44, 0.76), (0.52, 0.50, 0.54))
    >>> [str(limit.judge(Estimate(*x, 0.95, "DeLong", 60, 60))) for x in (small, large)]
    ['inconclusive', 'cleared']
    """

    value: float
    source: str
    beyond: Beyond = Beyond.ABOVE
    margin: float | None = None
    margin_source: str = ""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "beyond", Beyond(self.beyond))
        set_(self, "value", float(self.value))
        if self.margin is None:
            set_(self, "margin_source", self.source)
        set_(self, "margin", float(self.clears))
        for number, source in ((self.value, self.source), (self.clears, self.margin_source)):
            if math.isnan(number) or not source:
                raise EvaluationError(
                    f"a limit of {number} with source {source!r} cannot be defended; give a "
                    "number and say where it comes from."
                )

    @property
    def clears(self) -> float:
        """The margin; the limit, where none was given."""
        return self.value if self.margin is None else self.margin

    @property
    def has_margin(self) -> bool:
        """True where a margin was given beside the limit, even where both come to be equal."""
        return self.clears != self.value or self.margin_source != self.source

    def judge(self, estimate: Estimate) -> Verdict:
        """Return hit, cleared or inconclusive by where the whole interval lies.

        An interval that is beyond the limit and still within the margin is a hit: what is there is
        small, but it is there.
        """
        if not estimate.is_defined:
            return Verdict.COULD_NOT_RUN
        if estimate.low > estimate.high:  # no interval, as a hurdle of one's own may give it
            return Verdict.INCONCLUSIVE
        above = self.beyond is Beyond.ABOVE
        if estimate.low > self.value if above else estimate.high < self.value:
            return Verdict.HIT
        # Comparisons with NaN are false, so an interval that is none clears nothing.
        clears = estimate.high <= self.clears if above else estimate.low >= self.clears
        return Verdict.CLEARED if clears else Verdict.INCONCLUSIVE

    def patients_to_settle(self, estimate: Estimate, scale: Scale = Scale.NUMBER) -> float:
        """Return about how many patients would bring a verdict if the estimate stayed where it is.

        The interval is thought to shrink with the square root of the number of patients; that of a
        share as Wilson's does, which near 0 and 1 is faster, and that of a ratio on the log scale,
        where it reaches equally far to both sides. It is the interval at hand that shrinks, so
        never fewer than there are would do. Infinite where no number would, because the estimate
        lies between margin and limit; NaN where there is nothing to reckon with.

        Examples
        --------
        >>> auc = Estimate(0.55, 0.45, 0.65, 0.95, "DeLong", 100, 100)
        >>> limit = Limit(0.5, "by definition", margin=0.6, margin_source="a choice")
        >>> round(limit.patients_to_settle(auc))
        400
        """
        low, value, high = estimate.low, estimate.value, estimate.high
        limit, margin = self.value, self.clears
        if scale is Scale.RATIO and min(low, limit, margin) > 0:
            numbers = (low, value, high, limit, margin)
            low, value, high, limit, margin = (math.log(number) for number in numbers)
        if self.beyond is Beyond.BELOW:  # turned, so that higher is worse
            low, value, high, limit, margin = -high, -value, -low, -limit, -margin
        if math.isnan(low) or math.isnan(high):
            return math.nan
        goals = [(limit, low)] if value > limit else []
        goals += [(margin, high)] if value < margin else []
        n = estimate.n_patients or estimate.n_images
        needed = [math.inf]
        for goal, end in goals:
            times = ((end - value) / (goal - value)) ** 2
            at_goal, at_end = (abs(x) * (1 - abs(x)) for x in (goal, end))
            if scale is Scale.SHARE and min(at_goal, at_end) > 0:
                # Wilson's end lies where the share's own variance would put it.
                times = times * at_goal / at_end
            needed.append(n * times)
        return float(min(needed))


@dataclass(frozen=True)
class Evidence:
    """Image that shows what a finding is about.

    Parameters
    ----------
    image : str
        Name, as in the manifest.
    says : str
        What is to be seen there, in a few words; with a pair, the name of the other image.
    path : str
        The file; empty where there is none.
    """

    image: str
    says: str
    path: str = ""


@dataclass(frozen=True)
class Finding:
    """One measured number of a hurdle, with its interval, its limit and its evidence.

    A finding is *hit* where the whole interval of its statistic lies beyond the limit, *cleared*
    where all of it lies within the margin, and *inconclusive* otherwise, so that a small set is
    neither condemned nor acquitted by chance. It is *shown* where it is held against nothing, and
    *could not run* where the statistic is undefined.

    Parameters
    ----------
    hurdle : str
        Name of the hurdle.
    subject : str
        What of the data or the model it is about, e.g. ``"sharpness"``; empty where there is
        only one.
    statistic : str
        What was measured, in words and with its unit.
    estimate : Estimate
        The number with its interval; undefined, with the reason, where it could not be had.
    limit : Limit or None
        None for a number that is shown and not judged.
    advice : str
        What to do about a hit; a sentence.
    evidence : tuple of Evidence
        Images to look at.
    details : dict
        Further numbers for a figure or a table; must be JSON but for numbers that are not finite,
        which are written as null.
    scale : Scale
        What sort of number the statistic is. What was `counted` is a count without being told.
    settled_by : str
        What there must be more of to settle what is inconclusive; empty where no more of anything
        that can be counted would.
    uncleared : str
        What keeps it from being cleared although its interval lies within the margin, as a class
        that a mean over classes hides; empty where nothing does.
    is_fault : bool
        Whether there is no number because the hurdle itself failed.

    Examples
    --------
    >>> auc = Estimate(0.81, 0.76, 0.86, 0.95, "DeLong", 436, 400)
    >>> limit = Limit(0.55, "highest in 95 of 100 cohorts without a shortcut")
    >>> print(Finding("pixels", "sharpness", "AUC", auc, limit, scale=Scale.AUC).verdict)
    hit
    """

    hurdle: str
    subject: str
    statistic: str
    estimate: Estimate
    limit: Limit | None
    advice: str = ""
    evidence: tuple[Evidence, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    scale: Scale = field(default=Scale.NUMBER, kw_only=True)
    settled_by: str = field(default="patients", kw_only=True)
    uncleared: str = field(default="", kw_only=True)
    is_fault: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        scale = Scale(self.scale)
        if scale is Scale.NUMBER and self.estimate.method == COUNTED:
            scale = Scale.COUNT
        object.__setattr__(self, "scale", scale)

    @property
    def verdict(self) -> Verdict:
        """Outcome, judged by the interval alone."""
        if self.is_fault:
            return Verdict.FAILED
        if not self.estimate.is_defined:
            return Verdict.COULD_NOT_RUN
        judged = Verdict.SHOWN if self.limit is None else self.limit.judge(self.estimate)
        return Verdict.INCONCLUSIVE if judged is Verdict.CLEARED and self.uncleared else judged

    @property
    def to_settle(self) -> float | None:
        """About how many patients (or what `settled_by` names) would settle it.

        None where there is nothing to settle, or no such number can be given; infinite where the
        estimate lies between margin and limit, so that no number would.
        """
        if self.verdict is not Verdict.INCONCLUSIVE or self.limit is None or not self.settled_by:
            return None
        if self.limit.judge(self.estimate) is not Verdict.INCONCLUSIVE:
            return None  # it is something else that is not settled
        needed = self.limit.patients_to_settle(self.estimate, self.scale)
        return None if math.isnan(needed) else needed

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, with the verdict."""
        return {
            "hurdle": self.hurdle,
            "subject": self.subject,
            "statistic": self.statistic,
            "verdict": str(self.verdict),
            "estimate": self.estimate.to_dict(),
            "scale": str(self.scale),
            "limit": None if self.limit is None else asdict(self.limit),
            "settled_by": self.settled_by,
            "uncleared": self.uncleared,
            "to_settle": _plain(self.to_settle),
            "advice": self.advice,
            "evidence": [asdict(e) for e in self.evidence],
            "details": _plain(self.details),
            "is_fault": self.is_fault,
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Finding:
        """Read what `to_dict` wrote; the verdict is judged again."""
        limit = plain["limit"]
        parts: dict[str, Any] = {
            "estimate": Estimate.from_dict(plain["estimate"]),
            "limit": None if limit is None else Limit(**limit),
            "evidence": tuple(Evidence(**e) for e in plain["evidence"]),
        }
        as_they_are = [f.name for f in fields(cls) if f.name not in parts]
        return cls(**parts, **{name: plain[name] for name in as_they_are})


def _plain(value: Any) -> Any:
    """Return details for JSON; a number that is not finite becomes null and costs no file."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def counted(number: int, *, n_images: int, n_patients: int = 0) -> Estimate:
    """Return an estimate of what was counted in all images: there is nothing to be unsure of.

    Parameters
    ----------
    number : int
        How many.
    n_images, n_patients : int
        Among how many.

    Examples
    --------
    >>> counted(3, n_images=100).high
    3.0
    """
    value = float(number)
    return Estimate(value, value, value, 0.95, COUNTED, n_images, n_patients)


def evidence_of(
    frame: pd.DataFrame, rows: Iterable[int], texts: str | Sequence[str]
) -> tuple[Evidence, ...]:
    """Return the images at these positions of a table, with a text for each or one for all."""
    images, paths = frame["image"].to_numpy(), frame["path"].to_numpy()
    rows = list(rows)
    words = [texts] * len(rows) if isinstance(texts, str) else texts
    return tuple(
        Evidence(str(images[row]), text, str(paths[row]))
        for row, text in zip(rows, words, strict=True)
    )
