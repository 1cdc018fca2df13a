"""Learning curves: how an AUC grows with the patients trained on, and what more would buy.

An inverse power law is fitted, ``AUC(n) = a - b n^-c`` (Figueroa et al., BMC Med Inform Decis Mak
2012;12:8; Viering and Loog, IEEE Trans Pattern Anal Mach Intell 2023;45:7799-7819). Its interval
comes from resamples of the tested patients and of the seeds, each fitted anew. No curve is followed
beyond `FARTHEST` times its last point: what happens there, no point of it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import MAX_UNDEFINED, draw_patients
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import Floats, PatientTable

__all__ = ["FARTHEST", "LearningCurve"]

#: How many times as many patients as the last point has are spoken of at most.
FARTHEST = 4.0
#: Fewer numbers of patients do not show how a curve bends: a law has three unknowns.
FEWEST = 3
#: Exponents that are tried.
_EXPONENTS = np.linspace(0.05, 2.0, 196)


class Point(NamedTuple):
    """One trained model of a curve."""

    share: float  # of the patients of the training part, within (0, 1]
    seed: int
    patients: int  # trained on
    test: Predictions


class PowerLaw(NamedTuple):
    """``a - b n^-c``, with ``a`` at most 1, and ``b`` and ``c`` not below 0; each of shape (m,)."""

    a: Floats
    b: Floats
    c: Floats

    def at(self, n: float) -> Floats:
        """Return the value for n patients, shape (m,)."""
        return np.asarray(self.a - self.b * n ** (-self.c))


def fit_power_law(n: Sequence[float], values: Floats) -> PowerLaw:
    """Return the power laws that come closest to values, shape (m, k), at k numbers of patients.

    Least squares: for each of 196 exponents from 0.05 to 2 the best line within the bounds, and of
    these the best.

    Examples
    --------
    >>> n = np.array([20.0, 40.0, 80.0, 160.0])
    >>> law = fit_power_law(n, (0.9 - 0.8 * n**-0.5)[None])
    >>> [round(float(part[0]), 3) for part in law]
    [0.9, 0.8, 0.5]
    """
    sizes, y = np.asarray(n, dtype="float64"), np.asarray(values, dtype="float64")
    if len(np.unique(sizes)) < FEWEST:
        raise EvaluationError(
            f"{len(np.unique(sizes))} numbers of patients do not show how a curve bends; give "
            f"{FEWEST} or more."
        )
    best = np.full(len(y), np.inf)
    law = np.empty((3, len(y)))
    for c in _EXPONENTS:
        x = sizes**-c
        apart, mean = x - x.mean(), y.mean(axis=1)
        b = np.maximum(0.0, -(y @ apart) / (apart @ apart))
        a = mean + b * x.mean()
        high = a > 1  # no AUC is above 1: the best line through that end
        b = np.where(high, np.maximum(0.0, ((1 - y) @ x) / (x @ x)), b)
        a = np.where(high, 1.0, a)
        misfit = ((y - a[:, None] + b[:, None] * x) ** 2).sum(axis=1)
        better = misfit < best - 1e-15
        best = np.where(better, misfit, best)
        law[:, better] = np.stack([a, b, np.full(len(y), c)])[:, better]
    return PowerLaw(*law)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Models trained on growing numbers of patients, several seeds each, and what follows.

    Parameters
    ----------
    points : tuple of Point
        Each seed with each share; of one seed all are tested on the same images.
    level : float
        Confidence level, within (0, 1).
    resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    EvaluationError
        If a share lacks a seed, there are fewer than three shares, or models know other classes.
    """

    points: tuple[Point, ...]
    level: float = 0.95
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_level(self.level)
        pairs = [(p.share, p.seed) for p in self.points]
        if sorted(pairs) != sorted((a, b) for a in self.shares for b in self.seeds):
            raise EvaluationError("a learning curve has every seed with every share, once.")
        if len(self.shares) < FEWEST:
            raise EvaluationError(
                f"{len(self.shares)} shares of the patients do not show how a curve bends; give "
                f"{FEWEST} or more."
            )
        if len({tuple(p.test.classes) for p in self.points}) > 1:
            raise EvaluationError("the models of a learning curve know the same classes.")

    @property
    def shares(self) -> list[float]:
        """Shares of the training patients, ascending."""
        return sorted({p.share for p in self.points})

    @property
    def seeds(self) -> list[int]:
        """Seeds, ascending."""
        return sorted({p.seed for p in self.points})

    @cached_property
    def patients(self) -> list[float]:
        """Mean number of patients trained on, of each share."""
        return [
            float(np.mean([p.patients for p in self.points if p.share == share]))
            for share in self.shares
        ]

    @cached_property
    def _groups(self) -> NDArray[np.str_]:
        return np.unique(np.concatenate([p.test.groups for p in self.points]))

    def _aucs(self, weights: Floats) -> Floats:
        """Return the mean AUC over classes of each model, shape (m, shares, seeds)."""
        found = np.empty((len(weights), len(self.shares), len(self.seeds)))
        for point in self.points:
            table = PatientTable.of(point.test)
            own = np.searchsorted(self._groups, np.unique(point.test.groups))
            classes = table.classes[:1] if len(table.classes) == 2 else table.classes
            each = [table.ranking(c).at(weights[:, own]) for c in classes]
            place = self.shares.index(point.share), self.seeds.index(point.seed)
            found[:, place[0], place[1]] = np.mean(each, axis=0)
        return found

    @cached_property
    def aucs(self) -> Floats:
        """Mean AUC over classes of each model, shape (shares, seeds)."""
        return np.asarray(self._aucs(np.ones((1, len(self._groups))))[0])

    @cached_property
    def law(self) -> PowerLaw:
        """The law of the means over seeds; each part of shape (1,)."""
        return fit_power_law(self.patients, self.aucs.mean(axis=1)[None])

    @cached_property
    def _drawn(self) -> Floats:
        """Means over seeds of each share, shape (m, shares): of resamples that have values."""
        rng = np.random.default_rng([self.seed, 1])
        parts = []
        for weights in draw_patients(len(self._groups), self.resamples, self.seed):
            values = self._aucs(weights)
            rows = rng.integers(0, len(self.seeds), size=(len(values), len(self.seeds)))
            parts.append(np.take_along_axis(values, rows[:, None, :], axis=2).mean(axis=2))
        means = np.concatenate(parts)
        return np.asarray(means[np.isfinite(means).all(axis=1)])

    @cached_property
    def _laws(self) -> PowerLaw:
        return fit_power_law(self.patients, self._drawn)

    def measured(self) -> list[Estimate]:
        """Return the mean AUC over seeds of each share, with its interval."""
        return [
            self._estimate(float(value), self._drawn[:, row])
            for row, value in enumerate(self.aucs.mean(axis=1))
        ]

    def expected(self, times: float) -> Estimate:
        """Return the AUC to expect of so many times the patients of the last point.

        Raises
        ------
        EvaluationError
            If `times` is not above 0, or more than `FARTHEST`.
        """
        n = self._within(times)
        return self._estimate(float(self.law.at(n)[0]), self._laws.at(n))

    def gain(self, times: float) -> Estimate:
        """Return what so many times the patients would add to the AUC of the last point.

        Raises
        ------
        EvaluationError
            As for `expected`.
        """
        n, now = self._within(times), self.patients[-1]
        value = float(self.law.at(n)[0] - self.law.at(now)[0])
        return self._estimate(value, self._laws.at(n) - self._laws.at(now))

    def _within(self, times: float) -> float:
        if not 0 < times <= FARTHEST:
            raise EvaluationError(
                f"{times:g} times the patients: a curve is not followed beyond {FARTHEST:g} times "
                "its last point, since none of its points tells what happens there."
            )
        return times * self.patients[-1]

    def _estimate(self, value: float, drawn: Floats) -> Estimate:
        tested = self.points[0].test
        size = {"n_images": len(tested), "n_patients": len(self._groups)}
        if np.isnan(value) or len(drawn) < (1 - MAX_UNDEFINED) * self.resamples:
            why = f"{self.resamples - len(drawn)} of {self.resamples} resamples have no AUC"
            return undefined(why, level=self.level, **size)
        ends = [(1 - self.level) / 2, (1 + self.level) / 2]
        low, high = (float(end) for end in np.quantile(drawn, ends))
        method = f"percentiles of {len(drawn)} resamples of patients and seeds"
        note = "" if len(self.seeds) > 1 else "one seed: what chance does in training is not in it"
        return Estimate(
            value, min(low, value), max(high, value), self.level, method, note=note, **size
        )

    def lines(self) -> list[str]:
        """Return the curve, and what more patients would buy, in sentences."""
        lines = [
            f"{n:.0f} patients trained on: AUC {estimate}"
            for n, estimate in zip(self.patients, self.measured(), strict=True)
        ]
        for times in (2.0, FARTHEST):
            expected, gain = self.expected(times), self.gain(times)
            if not gain.is_defined:
                lines.append(f"{times:g} times as many: {gain}")
                continue
            words = f"{times:g} times as many ({times * self.patients[-1]:.0f}): AUC {expected}, "
            words += f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
            if gain.low < 0.005:
                words += "; inconclusive: they may buy next to nothing"
            lines.append(words)
        lines.append(
            f"Beyond {FARTHEST:g} times the curve is not followed. The law is one of several that "
            "fit few points, and how often its interval holds the truth was not measured."
        )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        law = {name: float(value[0]) for name, value in self.law._asdict().items()}
        return {
            "patients": self.patients,
            "shares": self.shares,
            "seeds": self.seeds,
            "auc": self.aucs.tolist(),
            "measured": [each.to_dict() for each in self.measured()],
            "law": law,
            "more": [
                {
                    "times": times,
                    "auc": self.expected(times).to_dict(),
                    "gain": self.gain(times).to_dict(),
                }
                for times in (2.0, FARTHEST)
            ],
        }
