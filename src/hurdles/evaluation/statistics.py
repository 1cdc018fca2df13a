"""Sufficient statistics by patient: every measure of every resample without touching a row again.

A resample of patients is a row of counts: how often each patient was drawn. Accuracy, sensitivity,
specificity, PPV, NPV and F1 are ratios of sums over patients, so two matrix products give them for
thousands of resamples; AUC, average precision and what is read off a ROC curve need their images
sorted once. All sums are of whole numbers and therefore exact: the values are those of scikit-learn
on the repeated rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.metrics import get_metric
from hurdles.evaluation.predictions import Predictions

Floats = NDArray[np.float64]
#: A share of images that misses its target by less has missed it by rounding.
_ROUNDING = 1e-9


class Statistic(ABC):
    """One measure of one set, ready to be computed for any weighting of its patients."""

    @property
    @abstractmethod
    def counted(self) -> Floats:
        """Images of each patient that it counts."""

    @abstractmethod
    def at(self, weights: Floats) -> Floats:
        """Return the value, shape (b,), for each row of weights, shape (b, patients)."""

    @property
    def n_images(self) -> int:
        """Images that it counts."""
        return int(self.counted.sum())

    @property
    def n_patients(self) -> int:
        """Patients among those."""
        return int((self.counted > 0).sum())


class SumStatistic(Statistic):
    """A measure that depends on sums over patients alone."""

    @property
    @abstractmethod
    def columns(self) -> Floats:
        """Summands of each patient, whole numbers; shape (patients, m)."""

    @abstractmethod
    def of_sums(self, sums: Floats) -> Floats:
        """Return the value, shape (b,), for each row of weighted sums, shape (b, m)."""

    def at(self, weights: Floats) -> Floats:
        """Return the value, shape (b,), for each row of weights, shape (b, patients)."""
        return self.of_sums(weights @ self.columns)


def together(statistics: Sequence[Statistic]) -> Callable[[Floats], list[Floats]]:
    """Return `Statistic.at` of several at once, for which one pass over the weights gives all sums.

    Sums are of whole numbers and therefore exact, in whatever order they are made.
    """
    summed = {i: s for i, s in enumerate(statistics) if isinstance(s, SumStatistic)}
    if not summed:
        return lambda weights: [s.at(weights) for s in statistics]
    columns = [s.columns for s in summed.values()]
    ends, joined = np.cumsum([c.shape[1] for c in columns])[:-1], np.hstack(columns)

    def at(weights: Floats) -> list[Floats]:
        parts = np.split(weights @ joined, ends, axis=1)
        found = {i: s.of_sums(part) for (i, s), part in zip(summed.items(), parts, strict=True)}
        return [found[i] if i in found else s.at(weights) for i, s in enumerate(statistics)]

    return at


@dataclass(frozen=True, eq=False)
class Fraction(SumStatistic):
    """A ratio of sums over patients."""

    part: Floats  # numerator and denominator of each patient; shape (patients,)
    whole: Floats
    #: Where its weighted sum is zero there is no value, whatever the denominator.
    needed: Floats | None = None
    harmonic: bool = False  # whether it is an F1: `part` is 2 TP and `whole` is 2 TP + FP + FN

    @property
    def proportion(self) -> tuple[Floats, Floats]:
        """Part and whole as plain counts of images.

        F1 is a monotone function of TP / (TP + FP + FN), which is a plain proportion.
        """
        if not self.harmonic:
            return self.part, self.whole
        return self.part / 2, self.whole - self.part / 2

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        return self.proportion[1]

    @property
    def columns(self) -> Floats:
        """Numerator, denominator and what is needed, of each patient."""
        needed = [] if self.needed is None else [self.needed]
        return np.column_stack([self.part, self.whole, *needed])

    def of_sums(self, sums: Floats) -> Floats:
        """Return the ratio for each row of sums; NaN where there is nothing to divide by."""
        values = np.full(len(sums), math.nan)
        exists = (sums[:, 1:] > 0).all(axis=1)
        np.divide(sums[:, 0], sums[:, 1], out=values, where=exists)
        return values


@dataclass(frozen=True, eq=False)
class MeanOfFractions(SumStatistic):
    """The mean of several ratios, e.g. of the sensitivities of all classes."""

    #: The ratios, over the same patients; the mean of fewer than two does not exist.
    fractions: tuple[Fraction, ...]

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        return sum((f.whole for f in self.fractions), start=np.zeros(1))

    @property
    def columns(self) -> Floats:
        """Numerators and denominators, two columns for each ratio."""
        return np.column_stack([side for f in self.fractions for side in (f.part, f.whole)])

    def of_sums(self, sums: Floats) -> Floats:
        """Return the mean for each row of sums; NaN where one of its parts is."""
        if len(self.fractions) < 2:
            return np.full(len(sums), math.nan)
        parts = [sums[:, 2 * i : 2 * i + 2] for i in range(len(self.fractions))]
        values = np.stack(
            [f.of_sums(part) for f, part in zip(self.fractions, parts, strict=True)], axis=-1
        )
        return np.asarray(values.mean(axis=-1), dtype="float64")


@dataclass(frozen=True, eq=False)
class OddsRatio(SumStatistic):
    """The odds ratio of a fourfold table."""

    #: Of the class, over the same patients: right among the positives, and among the negatives.
    sensitivity: Fraction
    specificity: Fraction

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        return self.sensitivity.whole + self.specificity.whole

    @property
    def cells(self) -> Floats:
        """TP, TN, FN and FP of each patient, shape (4, patients)."""
        one, two = self.sensitivity, self.specificity
        return np.stack([one.part, two.part, one.whole - one.part, two.whole - two.part])

    @property
    def columns(self) -> Floats:
        """The four cells of each patient."""
        return self.cells.T

    def of_sums(self, sums: Floats) -> Floats:
        """Return the ratio for each row of sums; NaN where it is 0 / 0.

        That is where either side is empty, or none or all are named so. Where else one of the four
        sums is zero, 0.5 is added to all.
        """
        empty = (sums[:, :2] == 0).any(axis=1) & (sums[:, 2:] == 0).any(axis=1)
        sums = sums + np.where((sums == 0).any(axis=1), 0.5, 0.0)[:, None]
        tp, tn, fn, fp = sums.T
        return np.where(empty, math.nan, tp * tn / (fp * fn))


@dataclass(frozen=True, eq=False)
class Ranking(Statistic):
    """The AUC (Mann-Whitney), for weighted patients."""

    #: The patient (its column in the weights) of each image of the class, and of the others;
    #: negatives in the order of their scores; shape (p,), (q,).
    positives: NDArray[np.intp]
    negatives: NDArray[np.intp]
    #: For each positive, how many negatives score lower; how many score lower or equal.
    below: NDArray[np.intp]
    upto: NDArray[np.intp]

    @classmethod
    def of(cls, truth: NDArray[np.bool_], scores: Floats, patients: NDArray[np.intp]) -> Ranking:
        """Sort the images once."""
        order = np.argsort(scores[~truth], kind="stable")
        ordered = scores[~truth][order]
        return cls(
            positives=patients[truth],
            negatives=patients[~truth][order],
            below=np.searchsorted(ordered, scores[truth], side="left"),
            upto=np.searchsorted(ordered, scores[truth], side="right"),
        )

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        both = np.concatenate([self.positives, self.negatives])
        return np.bincount(both).astype("float64")

    def at(self, weights: Floats) -> Floats:
        """Return the AUC for each row of weights; NaN where either side is empty."""
        positive = weights[:, self.positives]
        running = np.zeros((len(weights), len(self.negatives) + 1))
        np.cumsum(weights[:, self.negatives], axis=1, out=running[:, 1:])
        twice = (positive * (running[:, self.below] + running[:, self.upto])).sum(axis=1)
        pairs = positive.sum(axis=1) * running[:, -1]
        values = np.full(len(weights), math.nan)
        np.divide(twice, 2 * pairs, out=values, where=pairs > 0)
        return values

    @cached_property
    def placements(self) -> tuple[Floats, Floats]:
        """The share of pairs that each positive, and each negative, wins for the AUC."""
        rank = np.arange(len(self.negatives))
        above = len(self.below) - np.searchsorted(np.sort(self.below), rank, side="right")
        level = len(self.upto) - np.searchsorted(np.sort(self.upto), rank, side="right")
        return (
            (self.below + self.upto) / (2 * len(self.negatives)),
            (above + level) / (2 * len(self.positives)),
        )

    def image_variance(self) -> float:
        """Return the variance of the AUC if images were independent (DeLong 1988)."""
        return float(sum(side.var(ddof=1) / len(side) for side in self.placements if len(side) > 1))

    def imperfect_patients(self) -> int:
        """Return how many patients have an image that does not win all its pairs."""
        positive, negative = self.placements
        lost = self.positives[positive < 1], self.negatives[negative < 1]
        return int(np.count_nonzero(np.bincount(np.concatenate(lost))))


@dataclass(frozen=True, eq=False)
class AtQuantile(Statistic):
    """The share of the positives of a ranking that pass the lowest threshold for a specificity.

    With truth and scores turned round (``~truth``, ``-scores``) it is the specificity at a
    sensitivity.
    """

    ranking: Ranking
    target: float  # the specificity, within (0, 1)

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        return self.ranking.counted

    def at(self, weights: Floats) -> Floats:
        """Return the share for each row of weights; NaN where either side is empty."""
        positive = weights[:, self.ranking.positives]
        running = np.cumsum(weights[:, self.ranking.negatives], axis=1)
        sums, total = positive.sum(axis=1), running[:, -1:] if running.shape[1] else running
        if not total.size:
            return np.full(len(weights), math.nan)
        # The first of the sorted negatives up to which there are enough; what scores above passes.
        last = (running < (self.target - _ROUNDING) * total).sum(axis=1)
        passed = (positive * (self.ranking.below > last[:, None])).sum(axis=1)
        values = np.full(len(weights), math.nan)
        np.divide(passed, sums, out=values, where=(sums > 0) & (total[:, 0] > 0))
        return values


@dataclass(frozen=True, eq=False)
class PrecisionCurve(Statistic):
    """The average precision, for weighted patients."""

    patients: NDArray[np.intp]  # patient of each image, the highest scores first; shape (n,)
    truth: Floats  # 1 where it is of the class, else 0
    #: Place of the first, and of the last image with the same score.
    first: NDArray[np.intp]
    last: NDArray[np.intp]

    @classmethod
    def of(
        cls, truth: NDArray[np.bool_], scores: Floats, patients: NDArray[np.intp]
    ) -> PrecisionCurve:
        """Sort the images once."""
        order = np.argsort(-scores, kind="stable")
        falling = -scores[order]
        return cls(
            patients[order],
            truth[order].astype("float64"),
            np.searchsorted(falling, falling, side="left"),
            np.searchsorted(falling, falling, side="right") - 1,
        )

    @property
    def counted(self) -> Floats:
        """Images of each patient that it counts."""
        return np.bincount(self.patients).astype("float64")

    @property
    def positives(self) -> Floats:
        """Images of the class that each patient has."""
        return np.bincount(self.patients, self.truth).astype("float64")

    def at(self, weights: Floats) -> Floats:
        """Return the average precision for each row of weights; NaN without an image of the class.

        The mean, over the images of the class, of the precision among all that score no lower.
        """
        chosen = weights[:, self.patients]
        named = np.cumsum(chosen, axis=1)[:, self.last]
        own = chosen * self.truth
        right = np.cumsum(own, axis=1)
        precision = np.divide(right[:, self.last], named, out=np.zeros_like(named), where=named > 0)
        values = np.full(len(weights), math.nan)
        total = right[:, -1]
        np.divide((own * precision).sum(axis=1), total, out=values, where=total > 0)
        return values

    def variance(self) -> float:
        """Return the variance over patients (infinitesimal jackknife); NaN for a single one.

        How an image moves the average precision: by its own precision, and by what it adds to the
        counts of every image of the class that scores no higher. These are summed by patient.
        """
        own, named = self.truth, self.last + 1.0
        right = np.cumsum(own)[self.last]
        total, value = own.sum(), float((own * right / named).sum() / own.sum())
        gained = np.cumsum((own / named)[::-1])[::-1][self.first]
        lost = np.cumsum((own * right / named**2)[::-1])[::-1][self.first]
        moves = np.bincount(self.patients, own * (right / named - value + gained) - lost) / total
        n = self.n_patients
        return float(n / (n - 1) * (moves @ moves)) if n > 1 else math.nan


def auc(truth: NDArray[np.bool_], scores: Floats) -> float:
    """Return the plain AUC of n images; NaN where all or none are true, or a score is no number.

    It is exact: equal AUCs are equal to the last bit, by whatever ranking they come about, so that
    the epochs of a training can be told apart by it. scikit-learn's trapezoids differ by rounding.
    """
    if np.isnan(scores).any():
        return math.nan
    ranking = Ranking.of(truth, scores, np.arange(len(truth)))
    return float(ranking.at(np.ones((1, len(truth))))[0])


@dataclass(frozen=True, eq=False)
class PatientTable:
    """Predictions with their patients numbered, from which statistics are made."""

    classes: tuple[str, ...]  # classes that the model knows
    truth: NDArray[np.str_]  # true and predicted classes; shape (n,)
    answers: NDArray[np.str_]
    prob: Floats  # probabilities; shape (n, classes)
    patients: NDArray[np.intp]  # number of each image's patient, from 0; shape (n,)
    n_patients: int  # how many there are

    @classmethod
    def of(cls, predictions: Predictions) -> PatientTable:
        """Return the table with its patients numbered in the order of their names."""
        names, codes = np.unique(predictions.groups, return_inverse=True)
        table = (predictions.y_true, predictions.y_pred, predictions.y_prob)
        return cls(tuple(predictions.classes), *table, codes, len(names))

    @cached_property
    def _coded(self) -> tuple[dict[str, int], NDArray[np.intp], NDArray[np.intp]]:
        """A number for every class, and with it true and predicted classes: quick to compare."""
        names = [*self.truth.tolist(), *self.answers.tolist()]
        numbers = {c: i for i, c in enumerate(dict.fromkeys((*self.classes, *names)))}
        codes = np.fromiter(map(numbers.__getitem__, names), dtype=np.intp, count=len(names))
        return numbers, codes[: len(self.truth)], codes[len(self.truth) :]

    def is_true(self, class_: str) -> NDArray[np.bool_]:
        """Return which images are of a class, shape (n,)."""
        numbers, truth, _ = self._coded
        return np.asarray(truth == numbers.get(class_, -1))

    def is_answer(self, class_: str) -> NDArray[np.bool_]:
        """Return which images are named so, shape (n,)."""
        numbers, _, answers = self._coded
        return np.asarray(answers == numbers.get(class_, -1))

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """True where an image is named rightly, shape (n,)."""
        _, truth, answers = self._coded
        return np.asarray(truth == answers)

    @cached_property
    def numbers(self) -> NDArray[np.str_]:
        """The patients' numbers as names, shape (patients,)."""
        return np.arange(self.n_patients).astype(str)

    @cached_property
    def _rankings(self) -> dict[str, Ranking]:
        return {}

    def ranking(self, class_: str) -> Ranking:
        """Return the images in the order of their scores for a class; they are sorted once."""
        if class_ not in self._rankings:
            scores = self.prob[:, self.classes.index(class_)]
            self._rankings[class_] = Ranking.of(self.is_true(class_), scores, self.patients)
        return self._rankings[class_]

    @property
    def is_decided(self) -> bool:
        """True where the answers are decisions: probabilities of 0 and 1 alone."""
        return bool(np.isin(self.prob, (0, 1)).all())

    @property
    def present(self) -> list[str]:
        """The true classes with at least one image: those of the model first, in its order."""
        numbers, truth, _ = self._coded
        counts = np.bincount(truth, minlength=len(numbers))
        there = {name for name, number in numbers.items() if counts[number]}
        known = [c for c in self.classes if c in there]
        return known + sorted(there - set(self.classes))

    def statistic(self, metric: str, class_: str | None = None) -> Statistic:
        """Return the statistic of one measure."""
        self._check(metric, class_)
        if metric == "accuracy":
            return self._fraction(self.is_right, np.ones(len(self.truth), bool))
        if metric == "balanced_accuracy":
            classes = [(self.is_true(c), self.is_answer(c)) for c in self.present]
            return MeanOfFractions(tuple(self._fraction(t & a, t) for t, a in classes))
        assert class_ is not None
        if metric == "auc":
            return self.ranking(class_)
        truth, answer = self.is_true(class_), self.is_answer(class_)
        if metric == "average_precision":
            prob = self.prob[:, self.classes.index(class_)]
            return PrecisionCurve.of(truth, prob, self.patients)
        if metric == "f1":
            both, either = (
                self.by_patient(truth & answer),
                self.by_patient(truth) + self.by_patient(answer),
            )
            return Fraction(2 * both, either, needed=self.by_patient(truth), harmonic=True)
        sensitivity, specificity = (truth & answer, truth), (~truth & ~answer, ~truth)
        if metric == "diagnostic_odds_ratio":
            return OddsRatio(self._fraction(*sensitivity), self._fraction(*specificity))
        parts = {
            "sensitivity": sensitivity,
            "miss_rate": (truth & ~answer, truth),
            "specificity": specificity,
            "ppv": (truth & answer, answer),
            "npv": (~truth & ~answer, ~answer),
        }
        return self._fraction(*parts[metric])

    def _check(self, metric: str, class_: str | None) -> None:
        if get_metric(metric).per_class:
            if class_ not in self.classes:
                raise EvaluationError(
                    f"{metric} is of one class against the rest, and {class_!r} is not a class of "
                    f"the model; choose one of {', '.join(self.classes)}."
                )
        elif class_ is not None:
            raise EvaluationError(f"{metric} is of all classes together; leave {class_!r} out.")

    def _fraction(self, part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Fraction:
        return Fraction(self.by_patient(part), self.by_patient(whole))

    def by_patient(self, flags: NDArray[np.bool_]) -> Floats:
        """Return how many images of each patient are flagged, shape (patients,)."""
        return np.bincount(self.patients[flags], minlength=self.n_patients).astype("float64")
