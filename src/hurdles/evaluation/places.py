"""Forecasts of how a model does at a place, from its answers to images there without labels.

Nothing that is learnt inside says by itself what comes elsewhere: these estimators look at the
images of the place. Each takes for granted that something inside holds there too, and says what:

=====================  ========  ==================================================================
estimator              forecasts takes for granted
=====================  ========  ==================================================================
inside                 both      nothing changes
ATC                    accuracy  what is answered as surely as inside is as often right
DoC                    accuracy  confidence falls by as much as accuracy does
lung-view agreement    both      a probe that sees the lungs alone is as good there as inside
two views              both      the lungs' view is as good there as inside, and given the class
                                 it knows nothing of the view without lungs
density ratio          both      a class looks there as it does inside; only how often differs
squared effects        AUC       what the view without lungs tells says nothing there
expected AUC           AUC       probabilities are as far from the truth there as inside
=====================  ========  ==================================================================

Accuracy depends on how common the classes are at the place, and no label says that: ATC, DoC and
agreement forecast the accuracy at the place's own prevalence, whatever it is. The balanced accuracy
and the sensitivities do not follow from it. An AUC does not depend on prevalence, but its
estimators lean on probabilities, which do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import kish
from hurdles.evaluation.forecast import expected_auc
from hurdles.evaluation.probing import out_of_fold
from hurdles.evaluation.statistics import Floats, auc

__all__ = [
    "ESTIMATORS",
    "Answers",
    "Density",
    "Forecast",
    "Target",
    "confidence_difference",
    "density_ratio",
    "forecasts",
    "threshold_confidence",
    "weighted_auc",
]

#: A weight of the density ratio is at most this many times the mean one.
CLIP = 20.0
#: Patients that weighted images must be worth, so that they say something.
LEAST_WORTH = 10.0
#: Standard deviation of the priors of what is fitted to views.
_PRIOR = 2.0
#: Probabilities are kept this far from 0, whose logarithm is infinite.
_SMALLEST = 1e-6
#: Above chance, an agreement with the lungs' view must have this much inside to be divided by.
_LEAST_AGREEMENT = 0.05

A = TypeVar("A", bound=np.generic)


class Target(StrEnum):
    """Measure that is forecast."""

    ACCURACY = "accuracy"
    AUC = "AUC"


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a model, and of probes, to the n images of one place.

    Parameters
    ----------
    probability : array of shape (n, K)
        Of the K classes, by the model; of a temperature fitted inside, where there is one.
    decided : int array of shape (n,)
        Column of the class that it names.
    groups : str array of shape (n,)
        The patient of each image.
    truth : int array of shape (n,), optional
        Column of the true class; None where no label is known.
    lungs, blind : arrays of shape (n, K), optional
        Probabilities by probes that see the lungs alone, and all but the lungs. None where there
        were none.

    Raises
    ------
    EvaluationError
        If lengths differ, or there is no image.
    """

    probability: Floats
    decided: NDArray[np.intp]
    groups: NDArray[np.str_]
    truth: NDArray[np.intp] | None = None
    lungs: Floats | None = None
    blind: Floats | None = None

    def __post_init__(self) -> None:
        n = len(self.probability)
        parts = [self.decided, self.groups, self.truth, self.lungs, self.blind]
        lengths = sorted({len(part) for part in parts if part is not None})
        if not n or lengths != [n] or self.probability.ndim != 2:
            raise EvaluationError(
                f"answers of shape {self.probability.shape} stand beside parts of {lengths} rows; "
                "give one row of each per image, and one image at least."
            )

    def __len__(self) -> int:
        return len(self.probability)

    @property
    def confidence(self) -> Floats:
        """Largest probability of each image, shape (n,)."""
        return np.asarray(self.probability.max(axis=1))

    @property
    def right(self) -> NDArray[np.bool_]:
        """True where the class named is the true one, shape (n,).

        Raises
        ------
        EvaluationError
            If no truth is known.
        """
        if self.truth is None:
            raise EvaluationError("the classes are not known here; only inside they must be.")
        return np.asarray(self.decided == self.truth)

    @property
    def columns(self) -> range:
        """Columns of the classes whose AUCs are averaged: of two classes the first alone."""
        k = self.probability.shape[1]
        return range(1 if k == 2 else k)

    def take(self, rows: NDArray[np.intp]) -> Answers:
        """Return some of the images; rows may repeat."""

        def some(part: NDArray[A] | None) -> NDArray[A] | None:
            return None if part is None else part[rows]

        return Answers(
            self.probability[rows],
            self.decided[rows],
            self.groups[rows],
            some(self.truth),
            some(self.lungs),
            some(self.blind),
        )

    def auc_of(self, probability: Floats) -> float:
        """Return the mean over classes of the AUC of somebody's probabilities, shape (n, K).

        NaN where one class alone is there.

        Raises
        ------
        EvaluationError
            If no truth is known.
        """
        if self.truth is None:
            raise EvaluationError("the classes are not known here; only inside they must be.")
        areas = [auc(self.truth == k, probability[:, k]) for k in self.columns]
        known = [area for area in areas if not math.isnan(area)]
        return float(np.mean(known)) if known else math.nan

    def expected_auc_of(self, probability: Floats, shares: Floats) -> float:
        """Return the AUC if every image were of each class with the given shares, both (n, K)."""
        areas = [
            weighted_auc(probability[:, k], shares[:, k], 1 - shares[:, k]) for k in self.columns
        ]
        return float(np.mean(areas))


def threshold_confidence(confidence: ArrayLike, right: ArrayLike, there: ArrayLike) -> float:
    """Forecast an accuracy by average thresholded confidence (ATC).

    The threshold is the confidence that, inside, leaves as many images below it as are wrong; the
    forecast is the share above it at the place.

    Parameters
    ----------
    confidence, right : arrays of shape (n,)
        Of images inside: largest probability, within [0, 1], and whether the answer is right.
    there : array of shape (m,)
        Confidences at the place.

    Returns
    -------
    float
        An accuracy, within [0, 1]. NaN where all confidences inside are one: nothing is then above
        or below.

    Raises
    ------
    EvaluationError
        If lengths differ or there is no image.

    References
    ----------
    Garg, Balakrishnan, Lipton, Neyshabur and Sedghi, ICLR 2022, arXiv 2201.04234 (maximum
    confidence).

    Examples
    --------
    >>> threshold_confidence([0.6, 0.7, 0.8, 0.9], [0, 1, 1, 1], [0.65, 0.75, 0.95, 0.99])
    0.75
    """
    inside, correct, other = _three(confidence, right, there)
    wrong = int((~correct).sum())
    if not np.ptp(inside):
        return math.nan
    if wrong == len(inside):
        return 0.0
    return float((other >= np.sort(inside)[wrong]).mean())


def confidence_difference(confidence: ArrayLike, right: ArrayLike, there: ArrayLike) -> float:
    """Forecast an accuracy by the difference of confidences (DoC).

    Accuracy inside, less what the mean confidence loses on the way; within [0, 1]. Parameters and
    errors are those of `threshold_confidence`.

    References
    ----------
    Guillory, Shankar, Ebrahimi, Darrell and Schmidt, ICCV 2021, arXiv 2107.03315.

    Examples
    --------
    >>> round(confidence_difference([0.8, 0.9], [1, 1], [0.7, 0.8]), 3)
    0.9
    """
    inside, correct, other = _three(confidence, right, there)
    return _within(float(correct.mean()) - (float(inside.mean()) - float(other.mean())))


def weighted_auc(score: Floats, positive: Floats, negative: Floats) -> float:
    """Return the AUC where image i is one of the class `positive[i]` times, and not `negative[i]`.

    With shares q and 1 - q it is the AUC to be expected of images whose classes are drawn with
    these probabilities; with whole weights on one side each it is the weighted AUC. An image makes
    no pair with itself; ties count half.

    Parameters
    ----------
    score : array of shape (n,)
        Higher for the class; of any unit.
    positive, negative : arrays of shape (n,)
        Weights of each image on either side, at least 0.

    Returns
    -------
    float
        Within [0, 1]; NaN where there is no pair.

    Examples
    --------
    >>> weighted_auc(np.array([0.9, 0.4, 0.1]), np.array([1.0, 1.0, 0.0]), np.array([0, 0, 1.0]))
    1.0
    """
    levels, place = np.unique(score, return_inverse=True)
    ups, downs = (np.bincount(place, side, len(levels)) for side in (positive, negative))
    alone = float((positive * negative).sum())
    pairs = float(ups.sum() * downs.sum()) - alone
    if pairs <= 0:
        return math.nan
    won = float(ups @ (np.cumsum(downs) - downs / 2)) - alone / 2
    return min(1.0, max(0.0, won / pairs))


@dataclass(frozen=True, eq=False)
class Density:
    """Weights of the images inside, that make them as frequent as their like are at the place.

    Parameters
    ----------
    weights : array of shape (n,)
        Of mean 1.
    worth : float
        How many patients images so weighted are worth (Kish).
    separation : float
        AUC with which a probe tells the place from the inside; 0.5 if they are alike.
    clipped : float
        Share of images whose weight was cut off.
    """

    weights: Floats
    worth: float
    separation: float
    clipped: float

    @property
    def is_enough(self) -> bool:
        """True where the weighted images are worth ten patients."""
        return self.worth >= LEAST_WORTH


def density_ratio(
    inside: NDArray[np.floating],
    there: NDArray[np.floating],
    *,
    groups: Sequence[str] | NDArray[np.str_],
    groups_there: Sequence[str] | NDArray[np.str_],
    seed: int = 0,
) -> Density:
    """Return by how much more frequent the like of each image inside is at the place.

    A ridge logistic regression tells place from inside, cross-validated over patients; the odds it
    gives an image, over the odds of all images, are the ratio of densities. Weights are cut off at
    20 times the mean and then brought to mean 1.

    Parameters
    ----------
    inside, there : arrays of shape (n, D) and (m, D)
        Features, of any unit.
    groups, groups_there : sequences of n and m
        Patients.
    seed : int
        Of the folds.

    Raises
    ------
    EvaluationError
        If shapes do not fit, or features are not finite.

    References
    ----------
    Bickel, Brückner and Scheffer, J Mach Learn Res 2009;10:2137-2155 (the ratio from a
    discriminator); Sugiyama, Krauledat and Müller, J Mach Learn Res 2007;8:985-1005 (weighted
    validation); Kish 1965 (the effective number).
    """
    n, m = len(inside), len(there)
    if np.ndim(inside) != 2 or np.shape(inside)[1:] != np.shape(there)[1:]:
        raise EvaluationError(
            f"features have shapes {np.shape(inside)} inside and {np.shape(there)} at the place; "
            "give the same columns of both."
        )
    places = np.repeat(["inside", "there"], [n, m])
    patients = [*(f"i {name}" for name in groups), *(f"t {name}" for name in groups_there)]
    chance = out_of_fold(np.concatenate([inside, there]), places, patients, seed=seed)[:, 1]
    odds = chance[:n] / np.maximum(1 - chance[:n], 1e-12)
    total = odds.mean()
    weights = odds / total if total > 0 else np.ones(n)
    cut = np.minimum(weights, CLIP)
    cut = cut / cut.mean()
    _, patient = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    worth = kish(np.bincount(patient, cut))
    return Density(cut, worth, auc(places == "there", chance), float((weights > CLIP).mean()))


def shares_by_views(inside: Answers, there: Answers) -> tuple[Floats, Floats] | None:
    """Return the probabilities of each class by two views, of images inside and at the place.

    Where the lungs' view and the one without lungs know nothing of each other but through the
    class, the likelihood of what the first says, given the second, tells how the second goes with
    the class at the place: not at all, as inside, or the other way round. No label of the place is
    needed (Steinhardt and Liang, NeurIPS 2016), for the lungs' view is taken to be as good there as
    it is inside. The same is done inside, labels apart, so that both have the same faults. None
    where a view is not there.
    """
    views = [inside.lungs, inside.blind, there.lungs, there.blind]
    logs = [np.log(np.maximum(view, _SMALLEST)) for view in views if view is not None]
    if inside.truth is None or len(logs) < len(views):
        return None
    truth = np.eye(inside.probability.shape[1])[inside.truth]
    prior = np.log(np.maximum(truth.mean(axis=0), _SMALLEST))
    calibrated = _fitted_shares(logs[0], truth)
    shares = []
    for lungs, blind in (logs[:2], logs[2:]):
        # How likely what the lungs' view says is in each class, but for a factor of the image.
        likelihood = _softmax(calibrated.of(lungs) - prior)
        joint = _softmax(_fitted_shares(blind, likelihood).of(blind)) * likelihood
        shares.append(joint / joint.sum(axis=1, keepdims=True))
    return shares[0], shares[1]


class _Shares(NamedTuple):
    """A slope and one offset for each class, which turn logarithms into others."""

    slope: float
    offsets: Floats

    def of(self, logs: Floats) -> Floats:
        return np.asarray(self.slope * logs + self.offsets)


def _fitted_shares(logs: Floats, likelihood: Floats) -> _Shares:
    """Fit ``softmax(slope * logs + offsets)`` to what is seen of each image's class, both (n, K).

    The likelihood is ``prod_i sum_k share[i, k] * likelihood[i, k]``: with a 1 at the true class
    it is logistic recalibration. Slope and offsets are held near 0 by normal priors of
    standard deviation 2, so that what says nothing moves nothing.
    """
    from scipy.optimize import minimize

    def loss(theta: Floats) -> tuple[float, Floats]:
        share = _softmax(theta[0] * logs + theta[1:])
        each = np.maximum((share * likelihood).sum(axis=1, keepdims=True), _SMALLEST)
        change = share * likelihood / each - share
        slopes = np.concatenate([[(change * logs).sum()], change.sum(axis=0)])
        penalty = float(theta @ theta) / (2 * _PRIOR**2)
        return penalty - float(np.log(each).sum()), theta / _PRIOR**2 - slopes

    start = np.zeros(1 + logs.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 50}).x
    return _Shares(float(found[0]), found[1:])


def _softmax(z: Floats) -> Floats:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Pair:
    """Two places: where a model comes from, and where it is to go.

    `weights` are those of the density ratio, shape (n,); None where they are worth too little.
    """

    inside: Answers
    there: Answers
    weights: Floats | None = None

    @cached_property
    def shares(self) -> tuple[Floats, Floats] | None:
        """Probabilities of the classes inside and there, see `shares_by_views`."""
        return shares_by_views(self.inside, self.there)


class Estimator(NamedTuple):
    """One way to forecast: a target and a function of a pair; NaN where it has nothing to say."""

    name: str
    target: Target
    estimate: Callable[[Pair], float]


def _accuracy_inside(pair: Pair) -> float:
    return float(pair.inside.right.mean())


def _atc(pair: Pair) -> float:
    inside = pair.inside
    return threshold_confidence(inside.confidence, inside.right, pair.there.confidence)


def _doc(pair: Pair) -> float:
    inside = pair.inside
    return confidence_difference(inside.confidence, inside.right, pair.there.confidence)


def _accuracy_by_lungs(pair: Pair) -> float:
    """Accuracy inside, less what the agreement with the lungs' view loses on the way."""

    def agreement(answers: Answers) -> float:
        if answers.lungs is None:
            return math.nan
        return float(answers.lungs[np.arange(len(answers)), answers.decided].mean())

    lost = agreement(pair.inside) - agreement(pair.there)
    return _within(_accuracy_inside(pair) - lost)


def _accuracy_by_density(pair: Pair) -> float:
    if pair.weights is None:
        return math.nan
    return float(np.average(pair.inside.right, weights=pair.weights))


def _auc_inside(pair: Pair) -> float:
    return pair.inside.auc_of(pair.inside.probability)


def _squared_effects(pair: Pair) -> float:
    """One number for every place: what the blind view tells is taken away."""
    if pair.inside.blind is None:
        return math.nan
    return expected_auc(_auc_inside(pair), pair.inside.auc_of(pair.inside.blind))


def _expected_auc(pair: Pair) -> float:
    """AUC inside, less what the AUC that the probabilities themselves promise loses on the way."""
    promised = [a.expected_auc_of(a.probability, a.probability) for a in (pair.inside, pair.there)]
    return _within(_auc_inside(pair) - (promised[0] - promised[1]))


def _auc_by_lungs(pair: Pair) -> float:
    """AUC for which the agreement with the lungs' view at the place speaks, as it does inside.

    With noisy labels an AUC above chance shrinks by one factor, whatever the scores (Menon, van
    Rooyen, Ong and Williamson, ICML 2015); here the noisy labels are the lungs' view.
    """
    inside, there, own = pair.inside, pair.there, _auc_inside(pair) - 0.5
    if inside.lungs is None or there.lungs is None or not own > 0:
        return math.nan
    agreed = inside.expected_auc_of(inside.probability, inside.lungs) - 0.5
    if agreed < _LEAST_AGREEMENT:
        return math.nan
    agreed_there = there.expected_auc_of(there.probability, there.lungs) - 0.5
    return _within(0.5 + own * agreed_there / agreed)


def _accuracy_by_views(pair: Pair) -> float:
    """Accuracy inside, less what the one that two views promise loses on the way."""
    if pair.shares is None:
        return math.nan

    def promised(answers: Answers, of: Floats) -> float:
        return float(of[np.arange(len(answers)), answers.decided].mean())

    lost = promised(pair.inside, pair.shares[0]) - promised(pair.there, pair.shares[1])
    return _within(_accuracy_inside(pair) - lost)


def _auc_by_views(pair: Pair) -> float:
    """AUC inside, less what the one that two views promise loses on the way."""
    if pair.shares is None:
        return math.nan
    promised = [
        answers.expected_auc_of(answers.probability, of)
        for answers, of in zip((pair.inside, pair.there), pair.shares, strict=True)
    ]
    return _within(_auc_inside(pair) - (promised[0] - promised[1]))


def _auc_by_density(pair: Pair) -> float:
    inside, weights = pair.inside, pair.weights
    if weights is None or inside.truth is None:
        return math.nan
    areas = [
        weighted_auc(
            inside.probability[:, k], weights * (inside.truth == k), weights * (inside.truth != k)
        )
        for k in inside.columns
    ]
    known = [area for area in areas if not math.isnan(area)]
    return float(np.mean(known)) if known else math.nan


#: Every estimator, those of the accuracy first; "inside" is that nothing changes.
ESTIMATORS: tuple[Estimator, ...] = (
    Estimator("inside", Target.ACCURACY, _accuracy_inside),
    Estimator("ATC", Target.ACCURACY, _atc),
    Estimator("DoC", Target.ACCURACY, _doc),
    Estimator("lung-view agreement", Target.ACCURACY, _accuracy_by_lungs),
    Estimator("two views", Target.ACCURACY, _accuracy_by_views),
    Estimator("density ratio", Target.ACCURACY, _accuracy_by_density),
    Estimator("inside", Target.AUC, _auc_inside),
    Estimator("squared effects", Target.AUC, _squared_effects),
    Estimator("expected AUC", Target.AUC, _expected_auc),
    Estimator("lung-view agreement", Target.AUC, _auc_by_lungs),
    Estimator("two views", Target.AUC, _auc_by_views),
    Estimator("density ratio", Target.AUC, _auc_by_density),
)


@dataclass(frozen=True)
class Forecast:
    """Number that one estimator forecasts of one place.

    Parameters
    ----------
    estimator : str
        Its name, see `ESTIMATORS`.
    target : Target
        Measure that is forecast.
    value : float
        Within [0, 1]; NaN where it has nothing to say.
    error : float
        Standard error over patients of both places; what differs from place to place is not in it.
    note : str
        Why it has nothing to say; empty otherwise.
    """

    estimator: str
    target: Target
    value: float
    error: float
    note: str = ""

    @property
    def is_defined(self) -> bool:
        """True where there is a number."""
        return not math.isnan(self.value)


def forecasts(
    inside: Answers,
    there: Answers,
    *,
    density: Density | None = None,
    samples: int = 200,
    seed: int = 0,
) -> list[Forecast]:
    """Return what every one of `ESTIMATORS` forecasts of a place.

    Parameters
    ----------
    inside : Answers
        Images that the model did not learn from, with their truth, where it comes from.
    there : Answers
        Images of the place; a truth, if there is one, is not looked at.
    density : Density, optional
        Of the images inside, see `density_ratio`. Without, and where the weighted images are worth
        fewer than ten patients, that estimator has nothing to say.
    samples : int
        Bootstrap samples of patients of both places for the standard errors, at least 2; weights
        and probes are not made anew.
    seed : int
        Of the bootstrap.

    Raises
    ------
    EvaluationError
        If nothing is known of the truth inside, or the classes are not as many.
    """
    if inside.truth is None:
        raise EvaluationError("a forecast needs the true classes of images inside; give them.")
    if inside.probability.shape[1] != there.probability.shape[1]:
        raise EvaluationError(
            f"answers have {inside.probability.shape[1]} classes inside and "
            f"{there.probability.shape[1]} at the place; give one model's answers."
        )
    if samples < 2:
        raise EvaluationError(f"{samples} bootstrap samples have no spread; give 2 at least.")
    there = replace(there, truth=None)
    weights = density.weights if density is not None and density.is_enough else None
    whole = Pair(inside, there, weights)
    values = [each.estimate(whole) for each in ESTIMATORS]
    spread = _spread(whole, samples, seed)
    found = []
    for each, value, error in zip(ESTIMATORS, values, spread.tolist(), strict=True):
        why = _why_none(each, whole, density) if math.isnan(value) else ""
        error = math.nan if why else error
        found.append(Forecast(each.name, each.target, value, error, why))
    return found


def _spread(whole: Pair, samples: int, seed: int) -> Floats:
    """Return the standard error of each of `ESTIMATORS`, of the samples in which it has a say."""
    pairs = _resampled(whole, samples, seed)
    drawn = np.array([[each.estimate(pair) for each in ESTIMATORS] for pair in pairs])
    known = ~np.isnan(drawn)
    counts = known.sum(axis=0)
    means = np.where(known, drawn, 0).sum(axis=0) / np.maximum(counts, 1)
    squares = np.where(known, (drawn - means) ** 2, 0).sum(axis=0)
    return np.asarray(np.sqrt(squares / np.maximum(counts - 1, 1)))


def _resampled(whole: Pair, samples: int, seed: int) -> Iterator[Pair]:
    """Yield pairs of as many patients drawn with replacement, each place by itself."""
    rng = np.random.default_rng(seed)
    patients = [_rows_by_patient(answers.groups) for answers in (whole.inside, whole.there)]
    for _ in range(samples):
        home, away = (
            np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
            for rows in patients
        )
        chosen = None if whole.weights is None else whole.weights[home]
        yield Pair(whole.inside.take(home), whole.there.take(away), chosen)


def _rows_by_patient(groups: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    _, patient = np.unique(groups, return_inverse=True)
    order = np.argsort(patient, kind="stable")
    return np.split(order, np.cumsum(np.bincount(patient))[:-1])


def _why_none(estimator: Estimator, pair: Pair, density: Density | None) -> str:
    """Return why an estimator has nothing to say."""
    inside, there = pair.inside, pair.there
    if estimator.name == "density ratio":
        if density is None:
            return "there are no features to tell the places apart by"
        return (
            f"the images inside that look like the place's are worth {density.worth:.1f} patients "
            f"(a probe tells the places apart with an AUC of {density.separation:.3f}); "
            f"{LEAST_WORTH:.0f} are needed"
        )
    if estimator.target is Target.AUC and math.isnan(_auc_inside(pair)):
        return "inside, images are of one class: there is no AUC"
    if estimator.name == "ATC":
        return "every answer inside is equally sure: there is no threshold"
    if estimator.name == "squared effects" and inside.blind is not None:
        return "the AUC inside is 1 or not above chance, or that of the blind view is 0 or 1"
    if inside.lungs is None or there.lungs is None:
        return "the lungs were not found: no probe sees them alone"
    if inside.blind is None or there.blind is None:
        return "there is no view without lungs"
    return "the model hardly agrees with the lungs' view even inside, or its AUC there is 1"


def _three(
    confidence: ArrayLike, right: ArrayLike, there: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    inside, other = (np.asarray(x, dtype="float64") for x in (confidence, there))
    correct = np.asarray(right).astype(bool)
    if inside.ndim != 1 or inside.shape != correct.shape or other.ndim != 1:
        raise EvaluationError(
            f"{inside.shape} confidences and {correct.shape} answers inside, {other.shape} "
            "confidences at the place; give one of each for every image inside."
        )
    if not len(inside) or not len(other):
        raise EvaluationError("there is no image inside, or none at the place; give some of both.")
    return inside, correct, other


def _within(value: float) -> float:
    """Return an accuracy or AUC within [0, 1]; NaN stays."""
    return value if math.isnan(value) else min(1.0, max(0.0, value))
