"""Measures at a condition that the reader states: a prevalence, a specificity, a threshold.

PPV and NPV of a set hold at the prevalence of that set, which is the collection's; at another one
they follow from sensitivity and specificity. A sensitivity at a fixed specificity needs a threshold
of its own: it is chosen on validation images where there are any, and then stands beside what it
reaches here; otherwise it is read off this set's own ROC curve, and the interval allows for that.
Net benefit weighs true against false alarms by the probability from which on one would act, beside
acting on everybody and on nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import (
    check_level,
    mover_reach,
    patient_share,
    predictive_bounds,
    proportion_bounds,
    spread_bounds,
)
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.intervals import MAX_UNDEFINED, replicate
from hurdles.evaluation.metrics import Metric
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import AtQuantile, Floats, Fraction, PatientTable, Ranking

__all__ = ["CONDITIONAL", "Conditional", "Conditions", "at_conditions"]

_BOTH = "there are not both images of {class_} and of other classes"
#: Answers of 0 and 1 alone have one sensitivity and one specificity; nothing lies between.
_DECISIONS = "the answers are decisions (0 and 1 alone): there is no threshold to choose"

#: Every measure at a condition, in the order in which tables show them.
CONDITIONAL: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(
            "ppv_at_prevalence", "PPV at a prevalence of {at}", True,
            "Of the images named so, the share that would be of this class where it is as common "
            "as stated, if sensitivity and specificity were those of this set.",
            "no image is predicted as {class_}, or there are not images of both sides",
        ),
        Metric(
            "npv_at_prevalence", "NPV at a prevalence of {at}", True,
            "Of the images not named so, the share that would be of another class where this one "
            "is as common as stated, if sensitivity and specificity were those of this set.",
            "every image is predicted as {class_}, or there are not images of both sides",
        ),
        Metric(
            "sensitivity_at_specificity", "Sensitivity at a specificity of {at}", True,
            "Sensitivity with the lowest threshold that keeps the stated specificity.", _BOTH,
        ),
        Metric(
            "specificity_reached", "Specificity reached where {at} was meant", True,
            "Specificity on this set with that same threshold, which was fixed elsewhere.", _BOTH,
        ),
        Metric(
            "specificity_at_sensitivity", "Specificity at a sensitivity of {at}", True,
            "Specificity with the highest threshold that keeps the stated sensitivity.", _BOTH,
        ),
        Metric(
            "sensitivity_reached", "Sensitivity reached where {at} was meant", True,
            "Sensitivity on this set with that same threshold, which was fixed elsewhere.", _BOTH,
        ),
        Metric(
            "net_benefit", "Net benefit, acting from {at} on", True,
            "True alarms less false ones for each image; a false one weighs the odds of the stated "
            "probability, from which on one would act. Acting on nobody has 0.",
            _BOTH, low=-math.inf, written="number",
        ),
        Metric(
            "net_benefit_of_all", "Net benefit of acting on everybody, weighed at {at}", True,
            "The same if every image were taken for one of this class.",
            _BOTH, low=-math.inf, written="number",
        ),
        Metric(
            "net_benefit_over_all", "Net benefit above acting on everybody, at {at}", True,
            "The paired difference of the two; the model is of use where it is above 0, and its "
            "own net benefit is, too.",
            _BOTH, low=-math.inf, high=math.inf, written="number",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Conditions:
    """Conditions at which a set is measured.

    Parameters
    ----------
    prevalence : mapping
        Classes -> the prevalence at which PPV and NPV (and net benefit) are given, within (0, 1).
    specificity, sensitivity : tuple of float
        Specificities at which the sensitivity is given, and the other way round, within (0, 1).
    benefit_at : tuple of float
        Threshold probabilities of the net benefit, within (0, 1).

    Raises
    ------
    EvaluationError
        If one of the numbers is outside (0, 1).
    """

    prevalence: Mapping[str, float] = field(default_factory=dict)
    specificity: tuple[float, ...] = ()
    sensitivity: tuple[float, ...] = ()
    benefit_at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        named = [(f"the prevalence of {c!r}", p) for c, p in self.prevalence.items()]
        for word in ("specificity", "sensitivity", "benefit_at"):
            named += [(word, number) for number in getattr(self, word)]
        for word, number in named:
            if not 0 < number < 1:
                raise EvaluationError(f"{word} is {number}; give a number between 0 and 1.")

    def replaced(self, other: Conditions) -> Conditions:
        """Return these conditions, those of `other` in the place of each kind that it states."""
        kinds = ("prevalence", "specificity", "sensitivity", "benefit_at")
        return Conditions(**{kind: getattr(other, kind) or getattr(self, kind) for kind in kinds})


def prevalences(texts: Iterable[str]) -> dict[str, float]:
    """Return ``CLASS=P`` texts as a mapping; another form raises.

    Examples
    --------
    >>> prevalences(["COVID-19=0.02"])
    {'COVID-19': 0.02}
    """
    found: dict[str, float] = {}
    for text in texts:
        class_, _, number = (part.strip() for part in text.rpartition("="))
        if class_ in found:
            raise EvaluationError(
                f"two prevalences of {class_!r} are given; measure at one after the other."
            )
        try:
            found[class_] = float(number)
        except ValueError:
            class_ = ""
        if not class_:
            raise EvaluationError(f"{text!r} is no prevalence; write CLASS=P, as in COVID-19=0.02.")
    return found


@dataclass(frozen=True)
class Conditional:
    """One measure of one class at one condition.

    Parameters
    ----------
    measure : str
        A key of `CONDITIONAL`.
    class_ : str
        The class.
    at : float
        The prevalence, specificity, sensitivity or threshold probability, within (0, 1).
    estimate : Estimate
        The value with its interval by patient.
    basis : str
        What it rests on besides the tested images, e.g. where its threshold was chosen.
    """

    measure: str
    class_: str
    at: float
    estimate: Estimate
    basis: str = ""

    @property
    def title(self) -> str:
        """The measure and its condition, e.g. ``"PPV at a prevalence of 2 %"``."""
        return CONDITIONAL[self.measure].title.format(at=f"{100 * self.at:g} %")

    def written(self) -> str:
        """Return the estimate as it is read: a share in percent, a net benefit as a number."""
        if CONDITIONAL[self.measure].written == "share" or not self.estimate.is_defined:
            return self.estimate.percent()
        numbers = (self.estimate.value, self.estimate.low, self.estimate.high)
        return "{:.4f} [{:.4f}, {:.4f}]".format(*numbers)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which NaN becomes None."""
        names = {"measure": self.measure, "class": self.class_, "at": self.at}
        return {**names, "basis": self.basis, **self.estimate.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Conditional:
        """Read what `to_dict` wrote."""
        row = dict(plain)
        measure, class_, at, basis = map(row.pop, ("measure", "class", "at", "basis"))
        return cls(measure, class_, at, Estimate.from_dict(row), basis)


def at_conditions(
    predictions: Predictions,
    conditions: Conditions,
    *,
    validation: Predictions | None = None,
    folds: Sequence[tuple[NDArray[np.bool_], Predictions]] = (),
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[Conditional, ...]:
    """Measure a set at stated conditions, class by class.

    Parameters
    ----------
    predictions : Predictions
        The table.
    conditions : Conditions
        The prevalences, specificities, sensitivities and threshold probabilities.
    validation : Predictions, optional
        Of the same model on images that were neither trained nor tested on: thresholds are chosen
        there. Without them they are read off the ROC curve of the tested images.
    folds : sequence of (rows, Predictions), optional
        In the place of `validation`, where several models answered: which rows of `predictions`
        each did, bool (n,), and its answers to its own validation images.
    level : float
        Confidence level, within (0, 1).
    n_resamples, seed : int
        Of the bootstrap over patients, which is drawn only for a threshold that is read off the
        tested images.

    Returns
    -------
    tuple of Conditional
        In the order of `CONDITIONAL`.

    Raises
    ------
    EvaluationError
        If a prevalence is of a class that the model does not know.

    Examples
    --------
    >>> table = Predictions.from_arrays(["sick", "well"], y_true=["sick"] * 40 + ["well"] * 60,
    ...     y_prob=np.array([[p, 1 - p] for p in [0.8] * 36 + [0.2] * 58 + [0.7] * 6]),
    ...     images=[str(i) for i in range(100)], groups=[str(i) for i in range(100)])
    >>> rows = at_conditions(table, Conditions(prevalence={"sick": 0.02}))
    >>> print(rows[0].measure, rows[0].estimate.percent())
    ppv_at_prevalence 15.5 % [7.9, 28.3]
    """
    check_level(level)
    table = PatientTable.of(predictions)
    for class_ in conditions.prevalence:
        if class_ not in table.classes:
            raise EvaluationError(
                f"a prevalence is given of {class_!r}, which is not a class of the model; its "
                f"classes are {', '.join(table.classes)}."
            )
    rows = [*_predictive(table, conditions.prevalence, level)]
    for word, targets in (
        ("specificity", conditions.specificity),
        ("sensitivity", conditions.sensitivity),
    ):
        everything = np.ones(len(table.truth), dtype=bool)
        parts = folds if validation is None else [(everything, validation)]
        held = [(rows_of, PatientTable.of(each)) for rows_of, each in parts]
        if all(each.is_decided for each in ([each for _, each in held] or [table])):
            rows += _without_thresholds(table, word, targets, level, reads_off=not held)
        elif not held:
            rows += _read_off(table, word, targets, level, n_resamples, seed)
        else:
            rows += _chosen(table, held, word, targets, level)
    rows += _benefits(table, conditions, level)
    order = list(CONDITIONAL)
    return tuple(sorted(rows, key=lambda row: order.index(row.measure)))


def _predictive(
    table: PatientTable, prevalence: Mapping[str, float], level: float
) -> Iterator[Conditional]:
    for class_, share in prevalence.items():
        sensitivity, specificity = (
            table.statistic(name, class_) for name in ("sensitivity", "specificity")
        )
        assert isinstance(sensitivity, Fraction)
        assert isinstance(specificity, Fraction)
        own = float((table.truth == class_).mean())
        basis = f"sensitivity and specificity of this set, in which the share is {100 * own:.1f} %"
        hit, sick = sensitivity.part, sensitivity.whole
        passed, well = specificity.part, specificity.whole
        for measure, right, wrong, before in (
            ("ppv_at_prevalence", (hit, sick), (well - passed, well), share),
            ("npv_at_prevalence", (passed, well), (sick - hit, sick), 1 - share),
        ):
            found = _predicted(measure, class_, right, wrong, before, level)
            yield Conditional(measure, class_, share, found, basis)


def _predicted(
    measure: str,
    class_: str,
    right: tuple[Floats, Floats],
    wrong: tuple[Floats, Floats],
    before: float,
    level: float,
) -> Estimate:
    size = _size(right[1] + wrong[1])
    sums = [float(part.sum()) for part in (*right, *wrong)]
    if not (sums[1] and sums[3] and (sums[0] or sums[2])):
        return undefined(CONDITIONAL[measure].why_undefined(class_), level=level, **size)
    odds = before * sums[0] / sums[1], (1 - before) * sums[2] / sums[3]
    value = odds[0] / sum(odds)
    low, high = predictive_bounds(right, wrong, before, level)
    zero = 0 in (sums[0], sums[2], sums[1] - sums[0], sums[3] - sums[2])
    note = "one of the four counts is zero: 0.5 is added to each for the interval" if zero else ""
    method = "logit, sensitivity and specificity each by its design effect"
    return Estimate(value, min(low, value), max(high, value), level, method, note=note, **size)


def _ranking(table: PatientTable, word: str, class_: str) -> Ranking:
    """Return the images whose share is looked for as positives, the others as negatives."""
    truth, scores = table.truth == class_, table.prob[:, table.classes.index(class_)]
    if word == "sensitivity":
        truth, scores = ~truth, -scores
    return Ranking.of(truth, scores, table.patients)


def _other(word: str) -> str:
    return "sensitivity" if word == "specificity" else "specificity"


def _without_thresholds(
    table: PatientTable, word: str, targets: Sequence[float], level: float, *, reads_off: bool
) -> Iterator[Conditional]:
    """Say of decisions that none of them can be moved to another specificity or sensitivity."""
    names = [f"{_other(word)}_at_{word}"] + ([] if reads_off else [f"{word}_reached"])
    size = _size(table.by_patient(np.ones(len(table.truth), dtype=bool)))
    for target in targets:
        for class_ in table.classes:
            for name in names:
                yield Conditional(name, class_, target, undefined(_DECISIONS, level=level, **size))


def _read_off(
    table: PatientTable, word: str, targets: Sequence[float], level: float, n: int, seed: int
) -> Iterator[Conditional]:
    """Measure at thresholds of the tested images themselves, drawn anew in each resample."""
    wanted = [
        (c, t, AtQuantile(_ranking(table, word, c), t)) for t in targets for c in table.classes
    ]
    if not wanted:
        return
    name = f"{_other(word)}_at_{word}"
    basis = "the threshold is read off the ROC curve of these images, and does best on them"
    drawn = replicate([s for *_, s in wanted], table.n_patients, n_resamples=n, seed=seed)
    for (class_, target, statistic), values in zip(wanted, drawn, strict=True):
        value = float(statistic.at(np.ones((1, table.n_patients)))[0])
        positives = np.bincount(statistic.ranking.positives, minlength=table.n_patients)
        size, defined = _size(statistic.counted), values[~np.isnan(values)]
        if math.isnan(value) or len(defined) < (1 - MAX_UNDEFINED) * n:
            why = CONDITIONAL[name].why_undefined(class_)
            if not math.isnan(value):
                why = f"{n - len(defined)} of {n} resamples of patients have no value"
            yield Conditional(name, class_, target, undefined(why, level=level, **size), basis)
            continue
        variance = float(defined.var(ddof=1))
        low, high = spread_bounds(value, variance, positives.astype("float64"), level)
        method = f"Wilson, variance of {len(defined)} resamples of patients"
        yield Conditional(
            name, class_, target, Estimate(value, low, high, level, method, **size), basis
        )


def _chosen(
    table: PatientTable,
    held: Sequence[tuple[NDArray[np.bool_], PatientTable]],
    word: str,
    targets: Sequence[float],
    level: float,
) -> Iterator[Conditional]:
    """Measure at thresholds that were chosen on validation images: one for each model's rows."""
    names = f"{_other(word)}_at_{word}", f"{word}_reached"
    for target in targets:
        for class_ in table.classes:
            cuts = [_cut(validation, word, class_, target) for _, validation in held]
            cut, basis = _together(cuts)
            truth, scores = table.truth == class_, table.prob[:, table.classes.index(class_)]
            side, limits = word == "specificity", np.full(len(truth), math.nan)
            for (rows, _), (own, _) in zip(held, cuts, strict=True):
                limits[rows] = own
            passes = scores > limits if side else scores < limits
            mine, theirs = (truth, ~truth) if side else (~truth, truth)
            for name, rows, right in ((names[0], mine, passes), (names[1], theirs, ~passes)):
                lacking = "of" if rows is truth else "other than"
                why = basis if math.isnan(cut) else f"no image of the set is {lacking} {class_}"
                share = (
                    undefined(why, level=level, **_size(table.by_patient(rows)))
                    if math.isnan(cut) or not rows.any()
                    else patient_share(right[rows], table.patients[rows], level=level)
                )
                yield Conditional(name, class_, target, share, "" if math.isnan(cut) else basis)


def _together(cuts: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the threshold of one model, or the least of several, and where they come from."""
    for cut, basis in cuts:
        if math.isnan(cut) or len(cuts) == 1:
            return cut, basis
    low, high = min(cuts)[0], max(cuts)[0]
    where = f"{len(cuts)} thresholds, one for each fold, fixed on its own validation images"
    return low, f"p from {low:.3g} to {high:.3g}: {where}"


def _cut(validation: PatientTable, word: str, class_: str, target: float) -> tuple[float, str]:
    """Return the threshold that validation images give, and its origin; NaN: there is none.

    It lies in the middle of a gap between neighboring probabilities.
    """
    if class_ not in validation.classes:
        return math.nan, f"the validation predictions know no class {class_}"
    side = 1.0 if word == "specificity" else -1.0
    scores = side * validation.prob[:, validation.classes.index(class_)]
    held = (validation.truth != class_) if side > 0 else (validation.truth == class_)
    kind = f"other than {class_}" if side > 0 else f"of {class_}"
    if not held.any():
        return math.nan, f"no validation image is {kind}: no threshold can be chosen"
    ordered = np.sort(scores[held])
    limit = ordered[math.ceil(target * len(ordered) - 1e-9) - 1]
    above = scores[scores > limit]
    middle = limit + (above.min() - limit) / 2 if len(above) else limit
    cut = side * float(middle if middle > limit else limit)
    sign = "above" if side > 0 else "from"
    basis = (
        f"p {sign} {cut:.3g}, fixed on {len(scores)} validation images, {len(ordered)} of them "
        f"{kind}"
    )
    return cut, basis


def _benefits(table: PatientTable, conditions: Conditions, level: float) -> Iterator[Conditional]:
    for probability in conditions.benefit_at:
        for class_ in table.classes:
            truth = table.truth == class_
            acts = table.prob[:, table.classes.index(class_)] >= probability
            prevalence = conditions.prevalence.get(class_)
            found = _benefit(table, truth, acts, probability, prevalence, level)
            basis = "at the prevalence of this set"
            if prevalence is not None:
                basis = f"at a prevalence of {100 * prevalence:g} %"
            names = ("net_benefit", "net_benefit_of_all", "net_benefit_over_all")
            for name, estimate in zip(names, found, strict=True):
                by_decision = table.is_decided and name != "net_benefit_of_all"
                how = "; acting on the decisions, whatever the probability" if by_decision else ""
                yield Conditional(name, class_, probability, estimate, basis + how)


def _benefit(
    table: PatientTable,
    truth: NDArray[np.bool_],
    acts: NDArray[np.bool_],
    probability: float,
    prevalence: float | None,
    level: float,
) -> Iterator[Estimate]:
    """Yield the net benefit of a model, of acting on everybody, and the first less the second."""
    weight = probability / (1 - probability)
    everybody = np.ones(len(truth), dtype=bool)
    # Shares of all images; or of those of the class, and of the others, weighed by a prevalence.
    sides, gains = (everybody, everybody), (1.0, -weight)
    if prevalence is not None:
        sides, gains = (truth, ~truth), (prevalence, -weight * (1 - prevalence))
    for counted, sign in ((acts, 1.0), (everybody, 1.0), (~acts, -1.0)):
        shares = [
            (table.by_patient(rows & counted), table.by_patient(side), sign * gain)
            for rows, side, gain in zip((truth, ~truth), sides, gains, strict=True)
        ]
        found = _gained(shares, paired=prevalence is None, level=level)
        if counted is everybody and prevalence is not None and found.is_defined:
            known = "known: nothing is estimated"
            found = replace(found, low=found.value, high=found.value, method=known)
        yield found


def _gained(
    shares: Sequence[tuple[Floats, Floats, float]], *, paired: bool, level: float
) -> Estimate:
    """Return what two shares gain: MOVER of their intervals; of the same images if `paired`.

    Of each: images counted, images of which they are a share, by patient; what a share of 1 gains.
    """
    size = _size(shares[0][1] if paired else shares[0][1] + shares[1][1])
    if not all(whole.any() for _, whole, _ in shares):
        return undefined("there are not images of both sides", level=level, **size)
    values = [gain * float(part.sum() / whole.sum()) for part, whole, gain in shares]
    reach = np.zeros((2, 2))  # down and up, of either share
    for row, (part, whole, gain) in enumerate(shares):
        ends = sorted(gain * end for end in proportion_bounds(part, whole, level))
        reach[row] = np.abs(np.subtract(ends, values[row]))
    correlation = 0.0
    if paired:
        apart = [gain * (part - part.sum() / whole.sum() * whole) for part, whole, gain in shares]
        spread = math.prod(math.sqrt(float(moves @ moves)) for moves in apart)
        correlation = float(apart[0] @ apart[1]) / spread if spread else 0.0
    # Of a sum, so that what two have in common widens it.
    down, up = (mover_reach(one, two, -correlation) for one, two in reach.T.tolist())
    value, gains = sum(values), [gain for *_, gain in shares]
    low = max(value - down, sum(min(gain, 0.0) for gain in gains))
    high = min(value + up, sum(max(gain, 0.0) for gain in gains))
    return Estimate(value, low, high, level, "MOVER of Wilson, by patient", **size)


def _size(counted: Floats) -> dict[str, Any]:
    return {"n_images": int(counted.sum()), "n_patients": int((counted > 0).sum())}
