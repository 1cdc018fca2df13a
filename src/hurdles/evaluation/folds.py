"""Evaluation of folds: every image answered once, by a model that never saw its patient.

Scores of models of different folds are not on one scale. An AUC, or an average precision, compares
images that one model answered, and is averaged over the folds; what rests on decisions (accuracy,
sensitivity, PPV, F1 ...) counts those of all folds together (Forman and Scholz, SIGKDD Explor
2010;12:49-57).

An interval of patients alone is too narrow: other patients would also have trained other models,
and the folds' errors go together (Bates, Hastie and Tibshirani, J Am Stat Assoc
2024;119:1434-1445). No estimate of that variance from one set of folds is unbiased (Bengio and
Grandvalet, J Mach Learn Res 2004;5:1089-1105). Here the variance over patients is multiplied by
what Nadeau and Bengio (Mach Learn 2003;52:239-281) put for folds that share their training
images; ``bench/folds.py`` measures how often that, and its rivals, hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import write_text
from hurdles.data.untrusted import as_csv, from_cells
from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, normal_quantile, spread_bounds
from hurdles.evaluation.cluster_size import (
    is_size_note,
    size_notes,
    weighted_auc,
    weighted_auc_bounds,
)
from hurdles.evaluation.conditions import Conditional, Conditions, at_conditions
from hurdles.evaluation.delong import AUC, auc_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.evaluation import Evaluation, evaluate, measures
from hurdles.evaluation.intervals import estimate_of
from hurdles.evaluation.metrics import get_metric
from hurdles.evaluation.predictions import COLUMNS, Predictions
from hurdles.evaluation.statistics import (
    Floats,
    Fraction,
    MeanOfFractions,
    OddsRatio,
    PatientTable,
    PrecisionCurve,
    Ranking,
    Statistic,
)

__all__ = ["FoldAnswers", "evaluate_folds", "fold_measures"]

_BEFORE = ("repeat", "fold", "part")


@dataclass(frozen=True, eq=False)
class FoldAnswers:
    """Answers of the models of folds, each to the images that it was tested and chosen on.

    Parameters
    ----------
    tests, validations : tuple of tuples of Predictions
        By repeat and fold.

    Raises
    ------
    EvaluationError
        If a repeat does not answer every image once, a patient is tested in two of its folds, or a
        model was chosen on a patient that it is tested on.
    """

    tests: tuple[tuple[Predictions, ...], ...]
    validations: tuple[tuple[Predictions, ...], ...]

    def __post_init__(self) -> None:
        k = {len(row) for row in (*self.tests, *self.validations)}
        if len(k) != 1 or min(k) < 2 or len(self.tests) != len(self.validations):
            raise EvaluationError(
                "folds are two or more in each repeat, each with answers to its test and to its "
                "validation images."
            )
        first = {image for each in self.tests[0] for image in each.frame["image"]}
        for number, (tests, held) in enumerate(zip(self.tests, self.validations, strict=True)):
            where = f"repeat {number + 1}"
            rows = pd.concat([each.frame[["image", "group"]] for each in tests])
            if rows["image"].duplicated().any():
                twice = rows.loc[rows["image"].duplicated(), "image"].iloc[0]
                raise EvaluationError(f"{where}: {twice!r} is tested twice; every image is once.")
            if set(rows["image"]) != first:
                raise EvaluationError(f"{where} tests other images than the first.")
            people = pd.concat([pd.Series(np.unique(each.groups)) for each in tests])
            if people.duplicated().any():
                raise EvaluationError(
                    f"{where}: {int(people.duplicated().sum())} patient(s) are tested in two "
                    "folds, so a model knew them. Make the folds by patient."
                )
            for fold, (tested, chosen) in enumerate(zip(tests, held, strict=True), start=1):
                if shared := {*tested.groups.tolist()} & {*chosen.groups.tolist()}:
                    raise EvaluationError(
                        f"{where}, fold {fold}: {len(shared)} patient(s) are tested whom the model "
                        "was chosen on. Make the folds by patient."
                    )

    @property
    def k(self) -> int:
        """Number of folds in a repeat."""
        return len(self.tests[0])

    @property
    def repeats(self) -> int:
        """Number of times that every image is answered."""
        return len(self.tests)

    def pooled(self, repeat: int = 0) -> Predictions:
        """Return the answers of one repeat, every image once, sorted by name."""
        frame = pd.concat([each.frame for each in self.tests[repeat]])
        return Predictions(frame.sort_values("image").reset_index(drop=True))

    def pooled_validation(self) -> Predictions:
        """Return answers to validation images, each by the first fold that was chosen on it."""
        frame = pd.concat([each.frame for each in self.validations[0]])
        frame = frame[~frame["image"].duplicated()].sort_values("image")
        return Predictions(frame.reset_index(drop=True))

    def fold_of(self, repeat: int = 0) -> NDArray[np.intp]:
        """Return the fold of each image of `pooled`, from 0, shape (n,)."""
        place = {
            image: fold
            for fold, each in enumerate(self.tests[repeat])
            for image in each.frame["image"]
        }
        return np.array([place[image] for image in self.pooled(repeat).frame["image"]])

    def save(self, path: str | Path) -> Path:
        """Write a CSV: repeat and fold (from 1), part (test or validation), then `Predictions`."""
        frames = [
            each.frame.assign(repeat=repeat, fold=fold, part=part)
            for part, answers in (("test", self.tests), ("validation", self.validations))
            for repeat, row in enumerate(answers, start=1)
            for fold, each in enumerate(row, start=1)
        ]
        table = pd.concat(frames, ignore_index=True)
        first = [*_BEFORE, *(c for c in table.columns if c not in _BEFORE)]
        write_text(path, as_csv(table[first]))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> FoldAnswers:
        """Read what `save` wrote.

        Raises
        ------
        EvaluationError
            If the file holds no answers of folds.
        """
        text = dict.fromkeys((*COLUMNS, "part"), "str")
        try:
            table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={"source": [""]})
            table = from_cells(table)
            answers = [
                tuple(
                    tuple(
                        Predictions(one.drop(columns=list(_BEFORE)).reset_index(drop=True))
                        for _, one in rows.groupby("fold", sort=True)
                    )
                    for _, rows in table[table["part"] == part].groupby("repeat", sort=True)
                )
                for part in ("test", "validation")
            ]
        except (OSError, ValueError, KeyError) as error:
            raise EvaluationError(f"{path} cannot be read as answers of folds: {error}") from error
        return cls(*answers)


def evaluate_folds(
    answers: FoldAnswers, *, level: float = 0.95, conditions: Conditions | None = None
) -> Evaluation:
    """Compute every measure of `hurdles.evaluation.metrics.METRICS` over folds.

    Parameters
    ----------
    answers : FoldAnswers
        Of all folds; of several repeats, measures are averaged.
    level : float
        Confidence level, within (0, 1).
    conditions : Conditions, optional
        Conditions at which the first repeat is measured besides; thresholds are those of each
        fold's own validation images.

    Returns
    -------
    Evaluation
        Its intervals are for models trained on so many patients (``1 - 1 / k`` of them, less those
        of validation), and tested on others like these. Counts, confusion, scores and measures
        with each patient once are of the first repeat.

    References
    ----------
    Forman and Scholz 2010, and Nadeau and Bengio 2003; see the head of this module.
    """
    check_level(level)
    factor = training_factor(answers.k)
    wide = wider_level(level, math.sqrt(factor))
    tables = [_Repeat.of(answers, repeat) for repeat in range(answers.repeats)]
    nobody = answers.pooled().unknown.all()

    def finished(found: Estimate) -> Estimate:
        done = replace(found, level=level, n_patients=0 if nobody else found.n_patients)
        if not done.is_defined or found.method.startswith("known"):
            return done
        return replace(done, method=f"{found.method}, {math.sqrt(factor):.2f} times as wide")

    estimates = {
        (name, class_ or ""): finished(_estimate(tables, name, class_, wide))
        for name, class_ in measures(tables[0].whole.classes)
    }
    conditional: tuple[Conditional, ...] = ()
    if conditions is not None:
        rows = answers.fold_of()
        held = [(rows == fold, each) for fold, each in enumerate(answers.validations[0])]
        found = at_conditions(answers.pooled(), conditions, folds=held, level=wide)
        conditional = tuple(replace(row, estimate=finished(row.estimate)) for row in found)
    first = evaluate(answers.pooled(), level=wide)
    once = {
        (name, class_): finished(_auc_once(tables[0], class_, wide) if name == "auc" else each)
        for (name, class_), each in first.patient_weighted.items()
    }
    # Whether images are ranked otherwise is not asked of scores without a common scale.
    notes = [note for note in first.notes if not is_size_note(note)]
    return replace(
        first,
        estimates=estimates,
        patient_weighted=once,
        conditional=conditional,
        scores=tuple(replace(each, level=level) for each in first.scores),
        notes=(*_notes(answers, factor), *notes, *size_notes(_decided(tables[0].whole))),
    )


def training_factor(k: int) -> float:
    """Return by what the variance over patients is multiplied, for models of k folds.

    Nadeau and Bengio take the errors of two of k folds to be correlated by 1 / k, the share that
    is tested. The variance of a mean over folds is then ``1 / k + 1 / (k - 1)`` times that of one
    fold, where independent folds have ``1 / k``.
    """
    return 1 + k / (k - 1)


def wider_level(level: float, times: float) -> float:
    """Return the level at which a normal interval reaches so many times as far as at `level`."""
    return math.erf(times * normal_quantile(level) / math.sqrt(2))


def fold_measures(answers: FoldAnswers) -> pd.DataFrame:
    """Return one row per fold: images and patients tested, accuracy, and the AUC of each class.

    The numbers of one fold rest on few patients, and have no interval of their own.
    """
    rows = []
    for repeat in range(answers.repeats):
        whole = _Repeat.of(answers, repeat)
        for fold, table in enumerate(whole.folds):
            row = {
                "repeat": repeat + 1,
                "fold": fold + 1,
                "images": len(table.truth),
                "patients": len(np.unique(table.patients)),
                "accuracy": float(table.is_right.mean()),
            }
            for class_ in table.classes:
                ranking = table.ranking(class_)
                row[f"auc:{class_}"] = float(ranking.at(np.ones((1, table.n_patients)))[0])
            rows.append(row)
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class _Repeat:
    """The answers of one repeat as one table, and as one for each fold, of the same patients."""

    whole: PatientTable
    folds: tuple[PatientTable, ...]

    @classmethod
    def of(cls, answers: FoldAnswers, repeat: int) -> _Repeat:
        """Return them with patients numbered once; folds are rows of the whole."""
        whole, fold = PatientTable.of(answers.pooled(repeat)), answers.fold_of(repeat)
        return cls(whole, tuple(_rows(whole, fold == number) for number in range(answers.k)))


def fold_tables(answers: FoldAnswers, repeat: int = 0) -> tuple[PatientTable, ...]:
    """Return the answers of each fold of a repeat, with the same patients numbered alike."""
    return _Repeat.of(answers, repeat).folds


def _decided(table: PatientTable) -> PatientTable:
    """Return the answers as decisions alone."""
    prob = (table.answers[:, None] == np.array(table.classes)).astype("float64")
    return PatientTable(
        table.classes, table.truth, table.answers, prob, table.patients, table.n_patients
    )


def _rows(table: PatientTable, rows: NDArray[np.bool_]) -> PatientTable:
    parts = (table.truth[rows], table.answers[rows], table.prob[rows], table.patients[rows])
    return PatientTable(table.classes, *parts, table.n_patients)


def _estimate(tables: Sequence[_Repeat], metric: str, class_: str | None, level: float) -> Estimate:
    if metric in ("auc", "average_precision"):
        assert class_ is not None
        function = _auc if metric == "auc" else _average_precision
        return function(tables, class_, level)
    statistic = _mean([each.whole.statistic(metric, class_) for each in tables])
    return estimate_of(statistic, metric, class_, level=level)


def _mean(statistics: Sequence[Statistic]) -> Statistic:
    """Return the statistic of each patient's mean counts over repeats."""
    first = statistics[0]
    if len(statistics) == 1:
        return first
    if isinstance(first, MeanOfFractions):
        means = [s.fractions for s in statistics if isinstance(s, MeanOfFractions)]
        return MeanOfFractions(tuple(map(_mean_fraction, zip(*means, strict=True))))
    if isinstance(first, OddsRatio):
        odds = [s for s in statistics if isinstance(s, OddsRatio)]
        return OddsRatio(
            _mean_fraction([s.sensitivity for s in odds]),
            _mean_fraction([s.specificity for s in odds]),
        )
    return _mean_fraction([s for s in statistics if isinstance(s, Fraction)])


def _mean_fraction(fractions: Sequence[Fraction]) -> Fraction:
    part, whole = (
        np.mean([getattr(f, side) for f in fractions], axis=0) for side in ("part", "whole")
    )
    return replace(fractions[0], part=part, whole=whole)


@dataclass(frozen=True, eq=False)
class _Within(Ranking):
    """Images of several folds, each ranked among those of its own fold alone."""

    #: As `placements` of a ranking of all, but each image within its fold.
    sides: tuple[Floats, Floats] = (np.empty(0), np.empty(0))

    @cached_property
    def placements(self) -> tuple[Floats, Floats]:
        """The share of the pairs of its fold that each positive, and each negative, wins."""
        return self.sides


def within_auc(folds: Sequence[PatientTable], class_: str) -> AUC | None:
    """Return the AUC over pairs of images of one fold; None where no fold has such a pair."""
    rankings = _ranked(folds, class_)
    if not rankings:
        return None
    numbers = folds[0].numbers
    pairs = [len(r.positives) * len(r.negatives) for r in rankings]
    sides = [r.placements for r in rankings]
    weights, value = _averaged([float(above.mean()) for above, _ in sides], pairs)
    moves = [np.zeros(len(numbers)), np.zeros(len(numbers))]
    for ranking, weight, own in zip(rankings, weights, sides, strict=True):
        people = (ranking.positives, ranking.negatives)
        for move, whose, places in zip(moves, people, own, strict=True):
            move += weight * np.bincount(whose, places - value, len(numbers)) / len(places)
    joined = (np.concatenate([a for a, _ in sides]), np.concatenate([b for _, b in sides]))
    return AUC(value, replace(_joined(rankings), sides=joined), numbers, *moves)


def within_weighted_auc(folds: Sequence[PatientTable], class_: str) -> AUC | None:
    """Return the same with each patient counted once: a fold weighs by its pairs of patients."""
    rankings = _ranked(folds, class_)
    if not rankings:
        return None
    numbers = folds[0].numbers
    aucs = [weighted_auc(ranking, len(numbers)) for ranking in rankings]
    people = [(np.unique(r.positives), np.unique(r.negatives)) for r in rankings]
    weights, value = _averaged([auc.value for auc in aucs], [len(a) * len(b) for a, b in people])
    moves = [np.zeros(len(numbers)), np.zeros(len(numbers))]
    for auc, weight, both in zip(aucs, weights, people, strict=True):
        for move, own, whose in zip(moves, (auc.sick, auc.well), both, strict=True):
            move += weight * own
            move[whose] += weight * (auc.value - value) / len(whose)
    return AUC(value, _joined(rankings), numbers, *moves)


def _ranked(folds: Sequence[PatientTable], class_: str) -> list[Ranking]:
    """Return the rankings of the folds that have a pair of images."""
    rankings = [each.ranking(class_) for each in folds]
    return [each for each in rankings if len(each.positives) and len(each.negatives)]


def _averaged(values: Sequence[float], pairs: Sequence[int]) -> tuple[Floats, float]:
    """Return the weights of folds, and their mean; of equal values, it is that value exactly."""
    weights = np.array(pairs, dtype="float64") / sum(pairs)
    return weights, values[0] + float(weights @ (np.array(values) - values[0]))


def _joined(rankings: Sequence[Ranking]) -> _Within:
    """Return the images of several folds; each has yet to be placed within its own."""
    none = np.empty(0, dtype=np.intp)
    return _Within(
        np.concatenate([r.positives for r in rankings]),
        np.concatenate([r.negatives for r in rankings]),
        none,
        none,
    )


def _auc(tables: Sequence[_Repeat], class_: str, level: float) -> Estimate:
    found = [within_auc(each.folds, class_) for each in tables]
    aucs = [auc for auc in found if auc is not None]
    if len(aucs) < len(found):
        table = tables[0].whole
        size = {"n_images": len(table.truth), "n_patients": table.n_patients}
        return undefined(get_metric("auc").why_undefined(class_), level=level, **size)
    # Over repeats, the mean; of the same patients, so that their parts in it are means as well.
    sick, well = (np.mean([getattr(a, side) for a in aucs], axis=0) for side in ("sick", "well"))
    value = float(np.mean([a.value for a in aucs]))
    auc = replace(aucs[0], value=value, sick=sick, well=well)
    low, high, method = auc_bounds(auc, level)
    n_images, n_patients = auc.ranking.n_images, auc.ranking.n_patients
    method = f"{method}, within folds"
    return Estimate(auc.value, low, high, level, method, n_images, n_patients)


def _auc_once(table: _Repeat, class_: str, level: float) -> Estimate:
    """Return the AUC within folds with each patient counted once."""
    whole = table.whole
    size = {"n_images": len(whole.truth), "n_patients": whole.n_patients}
    auc = within_weighted_auc(table.folds, class_)
    if auc is None:
        return undefined(get_metric("auc").why_undefined(class_), level=level, **size)
    low, high = weighted_auc_bounds(auc, level)
    method = "Newcombe, DeLong's variance over patients, each once, within folds"
    return Estimate(auc.value, low, high, level, method, size["n_images"], size["n_patients"])


def _average_precision(tables: Sequence[_Repeat], class_: str, level: float) -> Estimate:
    whole = tables[0].whole
    positives = whole.by_patient(whole.is_true(class_))
    size = {"n_images": len(whole.truth), "n_patients": whole.n_patients}
    values, variances = [], []
    for each in tables:
        value = variance = 0.0
        for table in each.folds:
            curve = table.statistic("average_precision", class_)
            assert isinstance(curve, PrecisionCurve)
            if weight := float(curve.truth.sum()) / max(1.0, positives.sum()):
                own = float(curve.at(np.ones((1, table.n_patients)))[0])
                spread = curve.variance()
                value += weight * own
                variance += weight**2 * (own * (1 - own) if math.isnan(spread) else spread)
        values.append(value)
        variances.append(variance)
    if not positives.any():
        why = get_metric("average_precision").why_undefined(class_)
        return undefined(why, level=level, **size)
    value = float(np.mean(values))
    low, high = spread_bounds(value, float(np.mean(variances)), positives, level)
    method = "Wilson, jackknife variance over patients, within folds"
    return Estimate(value, low, high, level, method, size["n_images"], size["n_patients"])


def _notes(answers: FoldAnswers, factor: float) -> Iterator[str]:
    k, n, unknown = answers.k, len(answers.pooled()), answers.pooled().unknown
    times = "once" if answers.repeats == 1 else f"{answers.repeats} times"
    whom = "its patient"
    if unknown.any():
        whom = "it; patients are not known" if unknown.all() else f"{whom}, as far as one is known"
    yield (
        f"Each of {n} images was answered {times}, {'each time ' * (times != 'once')}by the one of "
        f"{k} networks that was neither trained nor chosen on {whom}."
    )
    yield (
        "Networks of different folds have no common scale: AUC and average precision compare "
        "images that one network answered; all other measures count the decisions of all."
    )
    yield (
        f"Intervals count patients and are {math.sqrt(factor):.2f} times as wide as those of "
        "patients alone, for what other patients would change in the training (Nadeau and Bengio "
        "2003). They are of networks trained on so many patients, and not of the mean of these "
        "networks, which answers new images and was not tested."
    )
    table = fold_measures(answers)
    low, high = (100 * end for end in (table["accuracy"].min(), table["accuracy"].max()))
    yield (
        f"Between folds the accuracy went from {low:.1f} to {high:.1f} %: each rests on about "
        f"{table['patients'].mean():.0f} patients."
    )
