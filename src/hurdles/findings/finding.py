"""A finding: what one hurdle measured, how sure that is, and what it is held against."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate

__all__ = ["COULD_NOT", "Beyond", "Evidence", "Finding", "Limit", "Verdict", "counted"]


#: Subject of the one finding of a hurdle that could not be run at all.
COULD_NOT = "could not be run"


class Verdict(StrEnum):
    """What came out of a hurdle."""

    CLEARED = "cleared"
    HIT = "hit"
    COULD_NOT_RUN = "could not run"


class Beyond(StrEnum):
    """On which side of its limit a statistic is bad."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True)
class Limit:
    """What a statistic is held against, and why against that.

    Parameters
    ----------
    value : float
        The limit itself still clears.
    source : str
        Where it comes from: a calibration, a paper, or what the words mean.
    beyond : Beyond
        The bad side.

    Raises
    ------
    EvaluationError
        If the value is not a number, or nothing is said of its source.
    """

    value: float
    source: str
    beyond: Beyond = Beyond.ABOVE

    def __post_init__(self) -> None:
        object.__setattr__(self, "beyond", Beyond(self.beyond))
        object.__setattr__(self, "value", float(self.value))
        if math.isnan(self.value) or not self.source:
            raise EvaluationError(
                f"a limit of {self.value} with source {self.source!r} cannot be defended; give a "
                "number and say where it comes from."
            )

    def is_passed_by(self, estimate: Estimate) -> bool:
        """Return whether the whole interval lies on the bad side."""
        if self.beyond is Beyond.ABOVE:
            return estimate.low > self.value
        return estimate.high < self.value


@dataclass(frozen=True)
class Evidence:
    """An image that shows what a finding says.

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
    """One row of what a hurdle found.

    A finding is *hit* where the whole interval of its statistic lies beyond the limit, so that a
    small set is not condemned by chance, and *could not run* where the statistic is undefined.

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

    Examples
    --------
    >>> auc = Estimate(0.81, 0.76, 0.86, 0.95, "DeLong", 436, 400)
    >>> limit = Limit(0.55, "highest in 95 of 100 cohorts without a shortcut")
    >>> print(Finding("pixels", "sharpness", "AUC", auc, limit, "Look at them.").verdict)
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

    @property
    def verdict(self) -> Verdict:
        """Cleared, hit, or could not run; what is not judged clears."""
        if not self.estimate.is_defined:
            return Verdict.COULD_NOT_RUN
        hit = self.limit is not None and self.limit.is_passed_by(self.estimate)
        return Verdict.HIT if hit else Verdict.CLEARED

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, with the verdict."""
        return {
            "hurdle": self.hurdle,
            "subject": self.subject,
            "statistic": self.statistic,
            "verdict": str(self.verdict),
            "estimate": self.estimate.to_dict(),
            "limit": None if self.limit is None else asdict(self.limit),
            "advice": self.advice,
            "evidence": [asdict(e) for e in self.evidence],
            "details": _plain(self.details),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Finding:
        """Read what `to_dict` wrote; the verdict is judged again."""
        limit = plain["limit"]
        return cls(
            plain["hurdle"],
            plain["subject"],
            plain["statistic"],
            Estimate.from_dict(plain["estimate"]),
            None if limit is None else Limit(**limit),
            plain["advice"],
            tuple(Evidence(**e) for e in plain["evidence"]),
            plain["details"],
        )


def _plain(value: Any) -> Any:
    """Return details as JSON has them: what is not a finite number is null there.

    A statistic that is undefined for one bin must not cost an audit its file.
    """
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
    return Estimate(value, value, value, 0.95, "counted", n_images, n_patients)
