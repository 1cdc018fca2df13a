"""Bounds of proportions, predictive values, means, AUCs, differences: closed form, by patient."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.statistics import Floats


def wilson_bounds(p: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion of n trials, which need not be whole.

    The number of trials is often one divided by a design effect; scipy takes whole numbers alone.
    Wilson, J Am Stat Assoc 1927;22:209-212.
    """
    z = normal_quantile(level)
    center = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (center - half) / (1 + z * z / n), (center + half) / (1 + z * z / n)
    # At the ends the bound is the end itself, which rounding may miss by 1e-17.
    return (0.0 if p == 0 else max(low, 0.0)), (1.0 if p == 1 else min(high, 1.0))


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Return a proportion of independent images (each of another patient) with its interval."""
    check_level(level)
    if not 0 <= successes <= n:
        raise EvaluationError(f"{successes} of {n} is not a proportion; give 0 <= successes <= n.")
    if n == 0:
        return undefined("there is no image", level=level)
    low, high = wilson_bounds(successes / n, n, level)
    return Estimate(successes / n, low, high, level, "Wilson", n, n)


def exact_share(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Return a proportion of independent cases with its exact interval (Clopper-Pearson)."""
    p = successes / n
    return Estimate(p, *_clopper_pearson(p, n, level), level, "Clopper-Pearson", n, n)


def kish(counts: NDArray[Any]) -> float:
    """Return how many independent images these are worth if a patient's images all agree.

    ``(sum of counts)^2 / (sum of squares)`` (Kish 1965): with equal counts, the number of patients.
    """
    sizes = np.asarray(counts, dtype="float64")
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def effective_degrees(counts: NDArray[Any]) -> float:
    """Return the degrees of freedom of a variance over patients with so many images each.

    `kish` less one, at least 1: where few patients have most of the images, the variance rests on
    these. With equal counts it is the number of patients less one.
    """
    return max(1.0, kish(counts) - 1)


def design_effect(part: Floats, whole: Floats) -> float:
    """Return by what the variance of a proportion exceeds that of independent images, at least 1.

    The ratio estimator's variance over patients is divided by the binomial one (Rao and Scott
    1992). With few patients among the rarer outcome (by `kish`) that is a poor estimate: it is
    averaged with the worst case (all images of a patient agree), which has the weight of one such
    patient. `part` and `whole` are each patient's right images and all.
    """
    counted = whole > 0
    part, whole = part[counted], whole[counted]
    patients, images = len(whole), whole.sum()
    if patients == images:
        return 1.0
    worst = float(images / kish(whole))
    p = part.sum() / images
    showing = [whole[part > 0], whole[part < whole]]
    if patients < 2 or not all(map(len, showing)):
        return worst
    rarer = min(map(kish, showing))
    variance = patients / (patients - 1) * ((part - p * whole) ** 2).sum() / images**2
    observed = max(1.0, float(variance / (p * (1 - p) / images)))
    return (rarer * observed + max(worst, observed)) / (rarer + 1)


def proportion_bounds(part: Floats, whole: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion over patients: images divided by `design_effect`.

    Where some patients have more images than others the interval is wider, as Student's quantile
    of `effective_degrees` is than that of all patients.
    """
    images, patients = float(whole.sum()), kish(whole)
    p = float(part.sum()) / images
    worth = images / design_effect(part, whole)
    if patients == images:
        return wilson_bounds(p, worth, level)
    count = int((whole > 0).sum())
    if 0 < p < 1 and count > 1:
        wider = student_quantile(level, effective_degrees(whole[whole > 0]))
        worth *= (student_quantile(level, count - 1) / wider) ** 2
    low, high = wilson_bounds(p, worth, level)
    # No result may have a better bound than the best one, for which every patient counts once.
    best, worst = wilson_bounds(1.0, patients, level), wilson_bounds(0.0, patients, level)
    return min(low, best[0]), max(high, worst[1])


def spread_bounds(
    value: float, variance: float, counts: Floats, level: float = 0.95
) -> tuple[float, float]:
    """Return Wilson's interval of a number within [0, 1] whose variance over patients is known.

    It is as wide as that variance makes it, and never narrower than that of a proportion for which
    every patient counts once, of the images that `counts` gives each: so it is no point at 0 and 1.
    Where patients repeat, Student's quantile takes the place of the normal one.
    """
    counts = counts[counts > 0]
    worth = kish(counts)
    if 0 < value < 1 and variance > 0:
        by_variance = value * (1 - value) / variance
        if len(counts) < counts.sum() and len(counts) > 1:
            wider = student_quantile(level, effective_degrees(counts)) / normal_quantile(level)
            by_variance /= wider**2
        worth = min(worth, by_variance)
    return wilson_bounds(value, worth, level)


def predictive_bounds(
    right: tuple[Floats, Floats], wrong: tuple[Floats, Floats], share: float, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a predictive value at a known prevalence.

    Of the PPV, `right` is each patient's images of the class that are named so and all of them,
    `wrong` the same of the other images, and `share` the prevalence; of the NPV, `right` is of the
    others that are not named so, `wrong` of the class, and `share` one minus the prevalence.

    The standard logit interval, of counts that are divided by the design effect of their side
    first. Where one of the four is zero, 0.5 is added to each; a bound that then rests on these
    halves alone is 0 or 1.

    References
    ----------
    Mercaldo, Lau and Zhou, Stat Med 2007;26:2170-2183.

    Examples
    --------
    >>> def side(named, n):
    ...     return (np.arange(n) < named).astype(float), np.ones(n)
    >>> [round(x, 4) for x in predictive_bounds(side(240, 418), side(87, 375), 0.03)]
    [0.0589, 0.0856]
    """
    cells = np.array(
        [
            count / design_effect(part, whole)
            for part, whole in (right, wrong)
            for count in (part.sum(), (whole - part).sum())
        ]
    )
    no_right, no_wrong = cells[0] == 0, cells[2] == 0
    cells += 0.5 if (cells == 0).any() else 0.0
    one, two = cells[:2].sum(), cells[2:].sum()
    center = math.log(share / (1 - share) * (cells[0] / one) / (cells[2] / two))
    error = math.sqrt(1 / cells[0] - 1 / one + 1 / cells[2] - 1 / two)
    low, high = (
        1 / (1 + math.exp(-center - sign * normal_quantile(level) * error)) for sign in (-1, 1)
    )
    return (0.0 if no_right else low), (1.0 if no_wrong else high)


def exact_bounds(part: Floats, whole: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a proportion whose images belong to patients.

    Each end, taken alone, errs with a chance of (1 - level) / 2 at most: it is for where one end
    decides. (Near 0 Wilson's lower one errs up to twenty times as often.) Where patients repeat,
    images are divided by their `design_effect`, with Student's quantile over patients. Clopper and
    Pearson, Biometrika 1934;26:404-413; Korn and Graubard, Surv Methodol 1998;24:193-201.
    """
    images, patients = float(whole.sum()), kish(whole)
    p = float(part.sum()) / images
    if patients == images:
        return _clopper_pearson(p, images, level)
    worth = images / design_effect(part, whole)
    if (whole > 0).sum() > 1:
        wider = student_quantile(level, effective_degrees(whole))
        worth *= (normal_quantile(level) / wider) ** 2
    low, high = _clopper_pearson(p, worth, level)
    # As for `proportion_bounds`: no bound may be better than that of the best result.
    return min(low, _clopper_pearson(1.0, patients, level)[0]), max(
        high, _clopper_pearson(0.0, patients, level)[1]
    )


def _clopper_pearson(p: float, n: float, level: float) -> tuple[float, float]:
    from scipy.special import betaincinv

    tail, right = (1 - level) / 2, p * n
    low = 0.0 if p == 0 else float(betaincinv(right, n - right + 1, tail))
    high = 1.0 if p == 1 else float(betaincinv(right + 1, n - right, 1 - tail))
    return low, high


def newcombe_bounds(
    value: float, positives: float, negatives: float, *, inflation: float = 1.0, level: float = 0.95
) -> tuple[float, float]:
    """Return Newcombe's score interval of an AUC.

    The bounds are the AUCs from which `value` is z standard errors away, with Hanley and McNeil's
    standard error *at the bound*; so it is not empty at 1. Stat Med 2006;25:559-573 (method 5).
    """
    from scipy.optimize import brentq

    z = normal_quantile(level) * math.sqrt(inflation)

    def lower(auc: float) -> float:
        if auc <= 0:
            return 0.0

        def gap(bound: float) -> float:
            return auc - bound - z * math.sqrt(auc_variance(bound, positives, negatives))

        return float(brentq(gap, 0.0, auc * (1 - 1e-9)))

    return lower(value), 1.0 - lower(1.0 - value)


def auc_variance(auc: float, positives: float, negatives: float) -> float:
    """Return Hanley and McNeil's variance of an AUC (Radiology 1982;143:29-36).

    Newcombe's method 5 puts the mean of the two sizes in the place of each group's own.
    """
    extra = (positives + negatives) / 2 - 1
    shape = (1 - auc) / (2 - auc) + auc / (1 + auc)
    return auc * (1 - auc) * (1 + extra * shape) / (positives * negatives)


def odds_ratio_bounds(
    sensitivity: tuple[Floats, Floats], specificity: tuple[Floats, Floats], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a diagnostic odds ratio whose images belong to patients.

    Woolf's interval on the log scale, of counts that are divided by the design effect of their
    side first. Where one of them is zero, 0.5 is added to each (Gart) for the bound that exists;
    the other does not: no miss, or no false alarm, among these images is compatible with any ratio
    however large, and nothing right on one side with any however small.

    References
    ----------
    Woolf, Ann Hum Genet 1955;19:251-253; Gart and Zweifel, Biometrika 1967;54:181-187; Glas et
    al., J Clin Epidemiol 2003;56:1129-1135.

    Examples
    --------
    >>> def side(right, n):
    ...     return (np.arange(n) < right).astype(float), np.ones(n)
    >>> [round(bound, 1) for bound in odds_ratio_bounds(side(30, 40), side(80, 100))]
    [5.0, 28.6]
    >>> [round(bound, 1) for bound in odds_ratio_bounds(side(40, 40), side(80, 100))]
    [18.8, inf]
    """
    cells = np.array(
        [
            count / design_effect(part, whole)
            for part, whole in (sensitivity, specificity)
            for count in (part.sum(), (whole - part).sum())
        ]
    )
    no_low, no_high = min(cells[[0, 2]]) == 0, min(cells[[1, 3]]) == 0
    cells += 0.5 if no_low or no_high else 0.0
    center = math.log(cells[0] * cells[2] / (cells[1] * cells[3]))
    half = normal_quantile(level) * math.sqrt((1 / cells).sum())
    return (
        0.0 if no_low else math.exp(center - half),
        math.inf if no_high else math.exp(center + half),
    )


def mover_difference(a: Estimate, b: Estimate, correlation: float) -> tuple[float, float]:
    """Return the interval of ``a - b`` from the intervals of both and their correlation (MOVER).

    Zou and Donner, Stat Med 2008;27:1693-1702; for paired proportions it is Newcombe's (Stat Med
    1998;17:2635-2650).
    """
    difference = a.value - b.value
    down = mover_reach(a.value - a.low, b.high - b.value, correlation)
    up = mover_reach(a.high - a.value, b.value - b.low, correlation)
    return max(-1.0, difference - down), min(1.0, difference + up)


def mover_reach(one: float, two: float, correlation: float) -> float:
    """Return how far a difference reaches, of numbers that reach so far and are correlated."""
    return math.sqrt(max(0.0, one**2 - 2 * correlation * one * two + two**2))


def mover_mean(values: ArrayLike, bounds: ArrayLike, correlations: Floats) -> tuple[float, float]:
    """Return the interval of the mean of k values within [0, 1] from theirs, shape (k, 2)."""
    numbers, ends = np.asarray(values, dtype="float64"), np.asarray(bounds, dtype="float64")

    def reach(parts: Floats) -> float:
        return math.sqrt(max(0.0, float(parts @ correlations @ parts))) / len(parts)

    value = float(numbers.mean())
    low, high = value - reach(numbers - ends[:, 0]), value + reach(ends[:, 1] - numbers)
    return max(0.0, low), min(1.0, high)


def mover_sum(values: Floats, bounds: Floats, weights: Floats) -> tuple[float, float]:
    """Return the interval of a weighted sum of independent numbers from theirs, shape (k, 2).

    Zou and Donner, Stat Med 2008;27:1693-1702; the weights are not negative.
    """
    value = float(weights @ values)
    down, up = weights * (values - bounds[:, 0]), weights * (bounds[:, 1] - values)
    return value - math.sqrt(float(down @ down)), value + math.sqrt(float(up @ up))


def check_level(level: float) -> None:
    """Raise unless `level` lies between 0 and 1."""
    if not 0 < level < 1:
        raise EvaluationError(f"level is {level}; a confidence level lies between 0 and 1.")


@lru_cache
def normal_quantile(level: float) -> float:
    """Return how many standard errors an interval of this level reaches to either side."""
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


@lru_cache
def student_quantile(level: float, degrees: float) -> float:
    """Return the same where the standard error has so many degrees of freedom, at least 1.

    As `normal_quantile` where these are infinite.
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def patient_mean(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    level: float = 0.95,
    low: float = -math.inf,
    high: float = math.inf,
) -> Estimate:
    """Return the mean over images, with Student's interval over patients, cut off at low and high.

    The images of a patient are added up first (the ratio estimator of a cluster sample, Cochran
    1977, section 6), and their spread is never taken to be below that of independent images. Where
    all values are one, their spread says nothing: of a bounded value the interval is then Wilson's,
    for a value that is at one of its bounds or the other varies most.
    """
    check_level(level)
    numbers, names = np.asarray(values, dtype="float64"), np.asarray(groups).astype(str)
    if numbers.ndim != 1 or numbers.shape != names.shape or np.isnan(numbers).any():
        raise EvaluationError(
            f"{numbers.shape} numbers and {names.shape} patients make no mean; give one number, "
            "not NaN, and one patient for each image."
        )
    if (numbers < low).any() or (numbers > high).any():
        raise EvaluationError(
            f"values from {numbers.min():g} to {numbers.max():g} are not all within "
            f"[{low:g}, {high:g}]; give the bounds that they have."
        )
    patients, codes = np.unique(names, return_inverse=True)
    n, count = len(numbers), len(patients)
    if count < 2:
        why = "there is no image" if n == 0 else "all images are of one patient"
        return undefined(why, level=level, n_images=n, n_patients=count)
    mean = float(numbers.mean())
    if math.isfinite(high - low) and not np.ptp(numbers):
        ends = wilson_bounds((mean - low) / (high - low), kish(np.bincount(codes)), level)
        below, above = (low + (high - low) * end for end in ends)
        method = f"Wilson over {count} patients, all values are one"
        return Estimate(mean, min(below, mean), max(above, mean), level, method, n, count)
    deviations = np.bincount(codes, numbers - mean)
    error = math.sqrt(count / (count - 1) * float(deviations @ deviations)) / n
    error = max(error, float(numbers.std(ddof=1)) / math.sqrt(n))
    reach = student_quantile(level, effective_degrees(np.bincount(codes))) * error
    method = f"Student's t over {count} patients"
    return Estimate(mean, max(low, mean - reach), min(high, mean + reach), level, method, n, count)


def patient_share(
    flags: ArrayLike, groups: ArrayLike, *, level: float = 0.95, exact: bool = False
) -> Estimate:
    """Return the share of images that are flagged, with its interval over patients.

    Wilson's interval (`proportion_bounds`) is narrow and keeps its level over both ends together.
    Where one end decides something, ask for the `exact` one of Clopper and Pearson
    (`exact_bounds`), whose ends keep it one by one.

    Examples
    --------
    >>> print(patient_share(np.arange(40) < 4, np.arange(40)).percent())
    10.0 % [4.0, 23.1]
    >>> print(patient_share(np.arange(40) < 4, np.arange(40), exact=True).percent())
    10.0 % [2.8, 23.7]
    """
    check_level(level)
    flagged, of = np.asarray(flags, dtype=bool), np.asarray(groups)
    if not len(flagged) or len(flagged) != len(of):
        raise EvaluationError(
            f"{len(flagged)} flags for {len(of)} patients; give one of each for every image."
        )
    names, patient = np.unique(of, return_inverse=True)
    whole = np.bincount(patient, minlength=len(names)).astype(np.float64)
    part = np.bincount(patient[flagged], minlength=len(names)).astype(np.float64)
    low, high = (exact_bounds if exact else proportion_bounds)(part, whole, level)
    method = f"{'Clopper-Pearson' if exact else 'Wilson'} over patients"
    value = float(flagged.mean())
    return Estimate(value, low, high, level, method, len(flagged), len(names))
