"""Counts over drawn sets: how often an interval held the truth, and how often a test rejected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hurdles.evaluation.bounds import exact_share

#: What a count is of, and between which shares it is as promised.
GOALS = {
    "coverage": (0.93, 0.985),
    "type I": (0.0, 0.07),
    "type I at 2.5 %": (0.0, 0.035),
    "type I at 0.23 %": (0.0, 0.0035),
    "type I at 0.33 %": (0.0, 0.005),
    "type I at 1.67 %": (0.0, 0.0235),
    "power": (0.0, 1.0),
    "at least 90 %": (0.885, 1.0),
    "at least 95 %": (0.935, 1.0),
}

#: Parts by the name that the grid gives them.
PARTS: dict[str, Callable[..., None]] = {}


def part(function: Callable[..., None]) -> Callable[..., None]:
    """Enter ``f(tally, rng, sets, **settings)`` under its own name."""
    PARTS[function.__name__] = function
    return function


@dataclass
class Count:
    """Of one quantity of one cell: sets with an answer, and those in which it was so."""

    kind: str
    rival: bool
    truth: float = math.nan
    known: str = ""
    n: int = 0
    hits: int = 0
    width: float = 0.0
    undefined: int = 0
    inconclusive: int = 0
    exact: float = math.nan  # where every outcome was gone through

    def row(self, quantity: str) -> dict[str, Any]:
        """Return what was counted as a row of the table."""
        if math.isnan(self.exact):
            found = exact_share(self.hits, self.n) if self.n else None
            share, low, high = (found.value, found.low, found.high) if found else (math.nan,) * 3
        else:
            share = low = high = self.exact
        sets = self.n + self.undefined
        has_width = self.kind == "coverage" and self.n and math.isnan(self.exact)
        return {
            "quantity": quantity,
            "role": "rival" if self.rival else "house",
            "kind": self.kind,
            "sets": sets,
            "hits": self.hits,
            "share": share,
            "low": low,
            "high": high,
            "width": self.width / self.n if has_width else math.nan,
            "undefined": self.undefined / sets if sets else math.nan,
            "inconclusive": self.inconclusive / sets if sets else math.nan,
            "truth": self.truth,
            "known": self.known,
        }


@dataclass
class Tally:
    """All counts of one cell."""

    counts: dict[tuple[str, str], Count] = field(default_factory=dict)

    def _count(self, quantity: str, kind: str, rival: bool) -> Count:
        return self.counts.setdefault((quantity, kind), Count(kind, rival))

    def held(
        self, quantity: str, low: float, high: float, truth: float, known: str, *, rival=False
    ) -> None:
        """Count an interval; NaN: there is none. `known`: where the true value comes from."""
        count = self._count(quantity, "coverage", rival)
        count.truth, count.known = float(truth), known
        if math.isnan(low):
            count.undefined += 1
            return
        count.n += 1
        count.hits += bool(low - 1e-12 <= truth <= high + 1e-12)
        count.width += float(high - low)

    def decided(self, quantity: str, happened: bool | None, kind: str, *, rival=False) -> None:
        """Count a decision of a test, or whatever else happens or not; None: it could not."""
        count = self._count(quantity, kind, rival)
        if happened is None:
            count.undefined += 1
            return
        count.n += 1
        count.hits += bool(happened)

    def tested(self, quantity: str, p: float, *, null: bool, rival=False, alpha=0.05) -> None:
        """Count whether a test at 5 % rejects; NaN: there is none."""
        kind = "type I" if null else "power"
        self.decided(quantity, None if math.isnan(p) else p <= alpha, kind, rival=rival)

    def judged(self, quantity: str, verdict: str, wrong: str, kind: str) -> None:
        """Count a verdict out of several; the one that decides nothing is counted apart."""
        self.decided(quantity, verdict == wrong, kind)
        self.counts[quantity, kind].inconclusive += bool(verdict == "inconclusive")

    def exact(self, quantity: str, share: float, kind: str, *, rival=False) -> None:
        """Enter a share that was computed over all outcomes."""
        self._count(quantity, kind, rival).exact = float(share)

    def rows(self) -> Iterable[dict[str, Any]]:
        """Return all counts as rows of the table."""
        return [count.row(quantity) for (quantity, _), count in self.counts.items()]


def is_as_promised(row: dict[str, Any]) -> bool:
    """Return whether a row lies within the goal of its kind; one without a share does not."""
    low, high = GOALS[row["kind"]]
    return low <= row["share"] <= high
