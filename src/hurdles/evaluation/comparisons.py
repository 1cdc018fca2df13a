"""Two models on the same images: what differs, and whether chance alone could do it.

Differences are paired: their intervals join those of the two models by the correlation that a
bootstrap shows, in which every resample draws the same patients for both. (The percentiles of that
bootstrap are too narrow for the few images of a rare class; ``bench/coverage`` measures both.)

AUCs are compared by DeLong's test (`hurdles.evaluation.delong`). The other tests swap the two
models' answers patient by patient, which changes nothing if the models are alike; for the accuracy,
and one image per patient, that is exactly McNemar's test.

A row holds zero in its interval if and only if its p-value is above 1 - level: where interval and
test would disagree, the test rules. Neither is adjusted for the other rows; `holm` adjusts the
p-values alone. Of two classes, the one's specificity is the other's sensitivity: unasked, a number
that stands there already is no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.data.untrusted import notebook_table
from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import mover_difference, normal_quantile
from hurdles.evaluation.delong import AUC, compare_aucs
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.evaluation import measures
from hurdles.evaluation.intervals import MAX_UNDEFINED, estimate, replicate
from hurdles.evaluation.metrics import METRICS, get_metric, written
from hurdles.evaluation.predictions import Predictions, align
from hurdles.evaluation.statistics import Floats, PatientTable, SumStatistic

__all__ = [
    "Comparison",
    "compare",
    "holm",
    "mcnemar",
]

#: With at most so many patients on whom the models differ, every swap is tried (2^12 = 4096).
_ENUMERATE = 12
#: Cells of weights in memory at a time (float64: 16 MB).
_CELLS = 2_000_000
#: Measures of the order of answers, which decisions do not have.
_RANKED = frozenset({"auc", "average_precision"})
#: Measures whose denominator the answers change, so that no exact count tests them.
_SWAPPED = frozenset({"balanced_accuracy", "ppv", "npv", "f1"})
#: Of two classes, these are the sensitivity and the positive predictive value of the other.
_MIRRORS = frozenset({"specificity", "npv"})


@dataclass(frozen=True)
class Comparison:
    """One measure of two models on the same images.

    Parameters
    ----------
    metric, class_ : str
        The measure, and its class (empty for measures of all classes together).
    a, b : Estimate
        Of either model.
    difference : Estimate
        Of ``a - b``, paired; its interval holds zero if and only if `p_value` is above 1 - level.
    p_value : float
        Two-sided, within [0, 1], not adjusted for other comparisons (see `holm`); NaN where
        there is none.
    p_method : str
        How it was made.
    margin : float, optional
        How much worse ``a`` may be than ``b`` and still count as no worse, above 0 (non-inferiority
        margin); fixed before the numbers were seen. None: not judged.
    """

    metric: str
    class_: str
    a: Estimate
    b: Estimate
    difference: Estimate
    p_value: float
    p_method: str
    margin: float | None = None

    @property
    def verdict(self) -> str:
        """Verdict on ``a`` beside ``b``: ``non-inferior``, ``inferior`` or ``inconclusive``.

        Read off the interval of the difference: non-inferior where all of it is better than the
        margin, inferior where all of it is worse. Empty where there is no margin.
        """
        if self.margin is None:
            return ""
        worst, best = self.difference.low, self.difference.high
        if not METRICS[self.metric].higher_is_better:
            worst, best = -best, -worst
        # Both comparisons are false of NaN.
        if worst > -self.margin:
            return "non-inferior"
        return "inferior" if best < -self.margin else "inconclusive"

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which NaN becomes None."""
        ends = {name: getattr(self, name).to_dict() for name in ("a", "b", "difference")}
        p_value = None if math.isnan(self.p_value) else self.p_value
        names = {"metric": self.metric, "class": self.class_}
        judged = {} if self.margin is None else {"margin": self.margin, "verdict": self.verdict}
        return {**names, **ends, "p_value": p_value, "p_method": self.p_method, **judged}

    def _repr_html_(self) -> str:
        """Show both values, their difference and its test."""
        ends = (("a", self.a), ("b", self.b), ("a - b", self.difference))
        rows = [[name, written(self.metric, estimate)] for name, estimate in ends]
        p = "none" if math.isnan(self.p_value) else f"{self.p_value:.3g}"
        rows.append(["p, not adjusted", f"{p} ({self.p_method})"])
        if self.margin is not None:
            rows.append([f"a to b, margin {self.margin:g}", self.verdict])
        of = f", {self.class_}" if self.class_ else ""
        title = f"Comparison: {METRICS[self.metric].title}{of}"
        return notebook_table(title, ["", "value [interval]"], rows)

    def without_patients(self) -> Comparison:
        """Return the same where no patient is known: its estimates name no number of them."""
        a, b, difference = (replace(e, n_patients=0) for e in (self.a, self.b, self.difference))
        return replace(self, a=a, b=b, difference=difference)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Comparison:
        """Read what `to_dict` wrote."""
        a, b, difference = (Estimate.from_dict(plain[n]) for n in ("a", "b", "difference"))
        p_value = math.nan if plain["p_value"] is None else plain["p_value"]
        margin = plain.get("margin")
        names = plain["metric"], plain["class"]
        return cls(*names, a, b, difference, p_value, plain["p_method"], margin)


def compare(
    a: Predictions,
    b: Predictions,
    *,
    metrics: Sequence[str] | None = None,
    margins: Mapping[str, float] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare two models on the same images, measure by measure.

    Parameters
    ----------
    a, b : Predictions
        Of the same images with the same labels and patients; the order may differ.
    metrics : sequence of str, optional
        Keys of `METRICS`; if not given, all but those that only mirror another or have no
        meaningful difference (see `Metric.compared`); of two classes, also without specificity,
        negative predictive value and the second AUC, which are numbers of the other class.
    margins : mapping, optional
        Of these -> how much worse ``a`` may be and still count as no worse, within (0, 1); see
        `Comparison.verdict`. At a level of 0.95 that is a one-sided test at 2.5 %.
    level : float
        Confidence level, within (0, 1).
    n_resamples, seed : int
        Of the paired bootstrap, and of the swaps where not every one is tried.

    Returns
    -------
    list of Comparison
        Differences are ``a - b``; classes that only one model knows are left out. Where one of
        the two gives decisions alone, areas have none: they would compare the kind of answer.

    Raises
    ------
    EvaluationError
        If the tables are of different images, labels or patients (the message names some), a
        metric is unknown or has no difference, or a margin is no such number or of no row.

    Examples
    --------
    >>> def model(p):
    ...     return Predictions.from_arrays(["x", "y"], y_true=["x"] * 8, images=list("abcdefgh"),
    ...         y_prob=np.array([[p, 1 - p]] * 8), groups=list("abcdefgh"))
    >>> row = compare(model(0.9), model(0.1), metrics=["accuracy"])[0]
    >>> row.difference.value, row.p_value, row.p_method
    (1.0, 0.0078125, 'exact McNemar')
    """
    margins = margins or {}
    first, second = tables = PatientTable.of(a), PatientTable.of(align(a, b))
    decided = [name for name, t in zip("ab", tables, strict=True) if t.is_decided]
    shared = tuple(c for c in first.classes if c in second.classes)
    wanted = _wanted(shared, metrics)
    # Of two classes, where all that is not of the one is of the other, in truth and answer:
    of_two = all({*t.classes, *t.truth, *t.answers} == {*shared} for t in tables)
    if metrics is None and len(shared) == 2 and of_two:
        wanted = [m for m in wanted if m[0] not in _MIRRORS and m != ("auc", shared[1])]
    _check_margins(margins, wanted)
    resampled = [m for m in wanted if m[0] != "auc"]
    statistics = [t.statistic(*m) for m in resampled for t in tables]
    drawn = replicate(statistics, first.n_patients, n_resamples=n_resamples, seed=seed)
    values = {m: (drawn[2 * i], drawn[2 * i + 1]) for i, m in enumerate(resampled)}
    swaps = _Swaps.of(_stacked(first, second), n_resamples, seed)
    swapped = swaps.p_values([m for m in wanted if m[0] in _SWAPPED])
    comparisons = []
    for metric, class_ in wanted:
        one, two = (estimate(table, metric, class_, level=level) for table in tables)
        if metric in _RANKED and len(decided) == 1 and one.is_defined and two.is_defined:
            why = f"model {decided[0]} gives decisions, whose order cannot be compared"
            size = {"n_images": one.n_images, "n_patients": one.n_patients}
            difference, p_value, method = undefined(why, level=level, **size), math.nan, "none"
        elif metric == "auc" and one.is_defined and two.is_defined:
            tested = compare_aucs(_auc(first, class_), _auc(second, class_), level=level)
            difference, p_value, method = tested.difference, tested.p_value, tested.method
        else:
            both = values.get((metric, class_), (np.empty(0), np.empty(0)))
            difference = _difference(one, two, both, first, level)
            if not difference.is_defined:
                p_value, method = math.nan, "none"
            elif metric == "average_precision":
                p_value, method = math.nan, "none"  # swapping scores would test their scale, too
            elif exact := _exact(first, second, metric, class_):
                p_value, method = exact.p_value, exact.method
            else:
                p_value, method = swapped[metric, class_], swaps.method
        difference = ruled_by_test(difference, p_value)
        judged = p_value, method, margins.get(metric)
        comparisons.append(Comparison(metric, class_ or "", one, two, difference, *judged))
    return comparisons


def _wanted(
    classes: tuple[str, ...], metrics: Sequence[str] | None
) -> list[tuple[str, str | None]]:
    known = [m for m in measures(classes) if math.isfinite(METRICS[m[0]].high)]
    if metrics is None:
        return [m for m in known if METRICS[m[0]].compared]
    for name in metrics:
        if not math.isfinite(get_metric(name).high):
            raise EvaluationError(
                f"{name} has no upper end, so two of them have no meaningful difference; compare "
                "sensitivity and specificity, which it is made of."
            )
    return [m for m in known if m[0] in metrics]


def _check_margins(margins: Mapping[str, float], wanted: Sequence[tuple[str, str | None]]) -> None:
    compared = dict.fromkeys(metric for metric, _ in wanted)
    for metric, margin in margins.items():
        get_metric(metric)
        if not 0 < margin < 1:
            raise EvaluationError(
                f"the margin of {metric} is {margin}; give a difference between 0 and 1, as in "
                "0.05 for five points of percent."
            )
        if metric not in compared:
            raise EvaluationError(
                f"there is a margin of {metric}, and no row of it; compared are "
                f"{', '.join(compared)}. Name it as a metric, too."
            )


def _auc(table: PatientTable, class_: str | None) -> AUC:
    assert class_ is not None
    return AUC.of_ranking(table.ranking(class_), table.numbers)


def _difference(
    a: Estimate, b: Estimate, drawn: tuple[Floats, Floats], table: PatientTable, level: float
) -> Estimate:
    size = {"n_images": len(table.truth), "n_patients": table.n_patients}
    if not (a.is_defined and b.is_defined):
        reasons = [f"model {n}: {e.note}" for n, e in (("a", a), ("b", b)) if not e.is_defined]
        return undefined("; ".join(reasons), level=level, **size)
    defined = ~np.isnan(drawn[0]) & ~np.isnan(drawn[1])
    missing = int((~defined).sum())
    one, two = drawn[0][defined], drawn[1][defined]
    correlation, method = 0.0, "MOVER, as if independent"
    note = f"{missing} of {len(defined)} resamples have no value" if missing else ""
    if missing > MAX_UNDEFINED * len(defined) or min(np.ptp(one), np.ptp(two)) == 0:
        note = note or "a model has the same value in every resample"
    elif np.ptp(one - two) == 0:
        # A correlation of 1 would leave no width: that no patient here parts the models does not
        # show that none ever will.
        note = "the models agree in every resample"
    else:
        correlation = float(np.corrcoef(one, two)[0, 1])
        method = f"MOVER, correlation from {len(defined)} paired resamples of patients"
    low, high = mover_difference(a, b, correlation)
    return Estimate(a.value - b.value, low, high, level, method, note=note, **size)


def _exact(a: PatientTable, b: PatientTable, metric: str, class_: str | None) -> McNemar | None:
    """Test the measures whose denominator the truth fixes: their difference is a count."""
    if metric == "accuracy":
        chosen = np.ones(len(a.truth), dtype=bool)
        right_a, right_b = a.is_right, b.is_right
    elif class_ is not None and metric in ("sensitivity", "miss_rate"):
        chosen = a.is_true(class_)
        right_a, right_b = a.is_answer(class_), b.is_answer(class_)
    elif class_ is not None and metric == "specificity":
        chosen = ~a.is_true(class_)
        right_a, right_b = ~a.is_answer(class_), ~b.is_answer(class_)
    else:
        return None
    return mcnemar(right_a[chosen], right_b[chosen], groups=a.patients[chosen])


@dataclass(frozen=True, eq=False)
class _Swaps:
    """Swaps of two models' answers, patient by patient.

    The first is the tables as they are: if the models are alike, it is one swap like any other.
    """

    stacked: PatientTable
    patients: NDArray[np.intp]  # on whom the models differ; a swap of others changes nothing
    n: int  # of swaps at random; where so many are not needed, every one is tried
    seed: int

    @classmethod
    def of(cls, stacked: PatientTable, n: int, seed: int) -> _Swaps:
        """Return the swaps of two tables that stand one below the other."""
        images = len(stacked.truth) // 2
        differs = stacked.answers[:images] != stacked.answers[images:]
        return cls(stacked, np.unique(stacked.patients[:images][differs]), n, seed)

    @property
    def method(self) -> str:
        """Name of the way in which swaps are made."""
        if self._tries_all:
            return f"exact swap over patients, all {2 ** len(self.patients)}"
        return f"swap over patients, {self.n} at random"

    @property
    def _tries_all(self) -> bool:
        return len(self.patients) <= _ENUMERATE

    def _kept(self) -> Iterator[Floats]:
        """Yield who keeps his own answers (1) in every swap, in blocks (swaps, patients)."""
        if self._tries_all:
            yield np.array(list(product([1.0, 0.0], repeat=len(self.patients))))
            return
        rng, rows = np.random.default_rng([self.seed, 1]), max(1, _CELLS // len(self.patients))
        for start in range(0, self.n + 1, rows):
            b = min(rows, self.n + 1 - start)
            keep = rng.integers(0, 2, size=(b, len(self.patients))).astype("float64")
            if start == 0:
                keep[0] = 1.0
            yield keep

    def p_values(
        self, wanted: Sequence[tuple[str, str | None]]
    ) -> dict[tuple[str, str | None], float]:
        """Return the p-value of each measure, all from the same swaps.

        A swap moves what a patient adds to one model's sums to those of the other.
        """
        statistics, pairs = {}, []
        for m in wanted:
            statistic = self.stacked.statistic(*m)
            if isinstance(statistic, SumStatistic):
                statistics[m] = statistic
                pairs.append(np.split(statistic.columns, 2))
        if not statistics:
            return {}
        one, two = (np.hstack(side) for side in zip(*pairs, strict=True))
        moved = (one - two)[self.patients]
        both = one.sum(axis=0) + two.sum(axis=0)
        fixed = one.sum(axis=0) - moved.sum(axis=0)  # where nobody keeps his own
        ends = np.cumsum([a.shape[1] for a, _ in pairs])[:-1]
        gaps: dict[tuple[str, str | None], list[Floats]] = {m: [] for m in statistics}
        for keep in self._kept():
            sums = fixed + keep @ moved
            mine, theirs = np.split(sums, ends, axis=1), np.split(both - sums, ends, axis=1)
            for (m, statistic), a, b in zip(statistics.items(), mine, theirs, strict=True):
                gaps[m].append(statistic.of_sums(a) - statistic.of_sums(b))
        return {m: _p_of_swaps(np.concatenate(parts)) for m, parts in gaps.items()}


def _p_of_swaps(swapped: Floats) -> float:
    defined = swapped[~np.isnan(swapped)]
    if not len(defined):
        return math.nan
    # A swap that gives the same difference by another sum must not miss it by rounding.
    return float((np.abs(defined) >= abs(swapped[0]) - 1e-12).mean())


def _stacked(a: PatientTable, b: PatientTable) -> PatientTable:
    """Return both models' answers as one table, b's patients numbered after a's."""
    return PatientTable(
        tuple(sorted(c for c in a.classes if c in b.classes)),
        np.concatenate([a.truth, b.truth]),
        np.concatenate([a.answers, b.answers]),
        np.empty((len(a.truth) + len(b.truth), 0)),  # AUCs have a test of their own
        np.concatenate([a.patients, b.patients + a.n_patients]),
        a.n_patients + b.n_patients,
    )


class McNemar(NamedTuple):
    """Exact test of whether two models are right equally often."""

    only_a: int  # images on which one model is right and the other wrong
    only_b: int
    p_value: float  # exact, two-sided
    #: The same with half the weight on what was seen: less conservative, not strictly exact
    #: (Fagerland et al., BMC Med Res Methodol 2013;13:91).
    mid_p: float
    method: str  # which test it is


def mcnemar(right_a: ArrayLike, right_b: ArrayLike, *, groups: ArrayLike | None = None) -> McNemar:
    """Test whether two models are right equally often on the same images.

    McNemar's test of `right_a` and `right_b`, one flag for each image in either, takes images for
    independent. Where `groups` gives a patient several, the models' answers are swapped for all of
    a patient's images at once instead (sign-flip test). Answers of other shapes raise an error.

    References
    ----------
    McNemar, Psychometrika 1947;12:153-157; for patients with several images the sign-flip
    (permutation) test on each patient's difference, which is exact as well.

    Examples
    --------
    >>> mcnemar([1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0]).p_value
    0.03125
    """
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise EvaluationError(
            f"the models have answers of shape {a.shape} and {b.shape}; give one for each image."
        )
    codes = np.arange(len(a)) if groups is None else np.unique(groups, return_inverse=True)[1]
    gained = np.bincount(codes, weights=a.astype(float) - b)
    p_value, mid_p = sign_flip(gained)
    repeated = len(np.unique(codes)) < len(a)
    method = "exact sign-flip over patients" if repeated else "exact McNemar"
    return McNemar(int((a & ~b).sum()), int((b & ~a).sum()), p_value, mid_p, method)


def sign_flip(differences: ArrayLike) -> tuple[float, float]:
    """Test whether whole-numbered differences are symmetric about zero.

    Two-sided: how often random signs give a sum at least as far from zero; and the same with
    half the weight on ties. The distribution is computed whole, not sampled.
    """
    sizes = np.asarray(differences, dtype="float64")
    steps = np.abs(sizes[sizes != 0]).astype(int)
    mass = np.ones(1)  # of every sum of the steps that go up
    for step, times in zip(*np.unique(steps, return_counts=True), strict=True):
        grown, ups = np.zeros(len(mass) + step * times), _heads(int(times))
        for start in range(min(step, len(mass))):  # sums that are apart by a multiple of the step
            part = np.convolve(mass[start::step], ups)
            grown[start::step][: len(part)] = part
        mass = grown
    sums = 2 * np.arange(len(mass)) - int(steps.sum())
    observed = abs(int(sizes.sum()))
    nearer, tied = mass[np.abs(sums) < observed].sum(), mass[np.abs(sums) == observed].sum()
    beyond = mass[np.abs(sums) > observed].sum()
    # Of two parts that make one, the smaller is the better known.
    if nearer < beyond:
        return float(1 - nearer), float(1 - nearer - tied / 2)
    return min(1.0, float(beyond + tied)), min(1.0, float(beyond + tied / 2))


def _heads(n: int) -> Floats:
    """Return the distribution of the number of heads among n coins, shape (n + 1,).

    By doubling: sums of positive numbers alone, so even its ends are right to many digits.
    """
    if n == 0:
        return np.ones(1)
    half = _heads(n // 2)
    whole = np.convolve(half, half)
    return np.convolve(whole, [0.5, 0.5]) if n % 2 else whole


def ruled_by_test(difference: Estimate, p_value: float) -> Estimate:
    """Return a difference whose interval holds zero if and only if its test does not reject it.

    Where the two disagree, the end of the interval that is nearer to zero is moved to where the
    p-value puts it, by the standard error that gives this difference this p-value (test-based
    limits; Miettinen, Am J Epidemiol 1976;103:226-235).
    """
    from scipy.special import ndtri

    value, low, high = difference.value, difference.low, difference.high
    rejected = p_value <= 1 - difference.level
    if math.isnan(value) or math.isnan(p_value) or rejected == (not low <= 0 <= high):
        return difference
    away = -float(ndtri(p_value / 2))
    # With p of 1 the test knows of no end nearer than the farthest possible.
    end = value * (1 - normal_quantile(difference.level) / away) if away > 0 else -value * math.inf
    method = f"{difference.method}; the end near zero by the test"
    if value > 0:
        near = max(-1.0, end) if not rejected else max(end, math.ulp(0.0))
        return replace(difference, low=near, method=method)
    near = min(1.0, end) if not rejected else min(end, -math.ulp(0.0))
    return replace(difference, high=near, method=method)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of one family so that the chance of any false alarm stays below each.

    In the order given, never below the value given.

    References
    ----------
    Holm, Scand J Stat 1979;6:65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype="float64")
    adjusted = np.full(len(given), math.nan)
    # NaN is no member of the family, and would upset the sorting.
    order = np.argsort(given, kind="stable")[: int((~np.isnan(given)).sum())]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * given[order]))
    return [float(p) for p in adjusted]
