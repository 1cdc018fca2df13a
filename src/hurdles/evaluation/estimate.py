"""A number with its interval: the only form in which hurdles states how good a model is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["Estimate", "undefined"]


@dataclass(frozen=True)
class Estimate:
    """A point estimate, its interval, and where both come from.

    Parameters
    ----------
    value, low, high : float
        The estimate and the bounds of its interval; NaN where the measure is undefined. An odds
        ratio may have no upper bound: infinity.
    level : float
        Confidence level of the interval, within (0, 1).
    method : str
        How the interval was made, e.g. ``"Wilson"`` or ``"bootstrap over patients, 2000"``.
    n_images, n_patients : int
        What it rests on: images counted, and independent groups among them.
    note : str
        Why it is undefined, or what weakens it; empty otherwise.

    Examples
    --------
    >>> print(Estimate(0.954, 0.930, 0.970, 0.95, "Wilson", 436, 436))
    0.954 [0.930, 0.970]
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    n_images: int
    n_patients: int
    note: str = ""

    @property
    def is_defined(self) -> bool:
        """True where there is a value at all."""
        return not math.isnan(self.value)

    def noted(self, note: str) -> Estimate:
        """Return the same with one more remark, if there is one."""
        return replace(self, note="; ".join(filter(None, (self.note, note))))

    def percent(self, digits: int = 1) -> str:
        """Return e.g. ``95.4 % [93.0, 97.0]``, or ``undefined (why)``."""
        if not self.is_defined:
            return str(self)
        bounds = f"{100 * self.low:.{digits}f}, {100 * self.high:.{digits}f}"
        return f"{100 * self.value:.{digits}f} % [{bounds}]"

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which NaN, and a bound that is open, become None."""
        plain = asdict(self)
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in plain.items()
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Estimate:
        """Read what `to_dict` wrote."""
        for key in ("value", "low", "high"):
            if plain[key] is not None:
                math.isnan(plain[key])  # a TypeError or OverflowError where it is no number
        numbers = {k: math.nan for k in ("value", "low", "high") if plain[k] is None}
        # With a value, one bound that is missing beside the other is open; both: no interval.
        if plain["value"] is not None and len(numbers) == 1:
            numbers = {k: math.inf if k == "high" else -math.inf for k in numbers}
        return cls(**{**plain, **numbers})

    def __str__(self) -> str:
        if not self.is_defined:
            return f"undefined ({self.note})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def undefined(
    note: str, *, level: float = 0.95, n_images: int = 0, n_patients: int = 0
) -> Estimate:
    """Return the estimate of a measure that does not exist here; `note` says why.

    `level`, `n_images` and `n_patients` are those of `Estimate`.
    """
    return Estimate(math.nan, math.nan, math.nan, level, "none", n_images, n_patients, note)
