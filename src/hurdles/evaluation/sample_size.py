"""Sample sizes: the patients that a classifier needs, and what a set of some size can show.

Patients to be validated with and to be made from are those of Riley and colleagues; what two models
on the same images must differ by is calculated exactly, before or after the fact. All of it counts
independent patients, not images, and sets one class against the rest.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import auc_variance, check_level, normal_quantile, wilson_bounds

#: Up to so many patients McNemar's test is summed exactly; beyond, its normal approximation is
#: within 0.003 of it.
EXACT_UP_TO = 250
_MOST = 10_000_000


class Scores(NamedTuple):
    """Parts of a mixture of normal distributions: calibrated scores on the scale of log odds."""

    weights: tuple[float, ...]  # of each part; weights sum to 1
    means: tuple[float, ...]
    sds: tuple[float, ...]


class Development(NamedTuple):
    """Patients that are needed to make a classifier, by each of three criteria."""

    shrinkage: int  # so that coefficients are exaggerated by no more than the wanted factor
    optimism: int  # so that apparent and honest R-squared (Nagelkerke's) differ by at most 0.05
    prevalence: int  # so that the share of the class is known to 0.05 either side

    @property
    def needed(self) -> int:
        """The largest of the three."""
        return max(self.shrinkage, self.optimism, self.prevalence)


def auc_width(auc: float, positives: int, negatives: int, *, level: float = 0.95) -> float:
    """Return the width to expect of an AUC's interval, high minus low.

    Twice the normal quantile times the standard error of Hanley and McNeil as Newcombe changed it
    (`hurdles.evaluation.bounds.auc_variance`), as Riley's calculation has it.

    Examples
    --------
    >>> round(auc_width(0.7, 100, 100), 2)
    0.14
    """
    _check(auc, 0.5)
    check_level(level)
    if positives < 1 or negatives < 1:
        raise EvaluationError(f"{positives} and {negatives} patients: an AUC needs one of each.")
    return 2 * normal_quantile(level) * math.sqrt(auc_variance(auc, positives, negatives))


def patients_for_auc(
    auc: float, prevalence: float, *, width: float = 0.1, level: float = 0.95
) -> int:
    """Return how many patients give an AUC an interval of this width.

    References
    ----------
    Riley et al., Stat Med 2021;40:4230-4251 (criterion 3).

    Examples
    --------
    >>> patients_for_auc(0.8, 0.018), patients_for_auc(0.78, 0.2)
    (4252, 511)
    """
    _check(auc, prevalence)
    z = normal_quantile(level)

    def reached(n: int) -> bool:
        variance = auc_variance(auc, n * prevalence, n * (1 - prevalence))
        return 2 * z * math.sqrt(variance) <= width

    return bisect_left(range(_MOST), True, lo=2, key=reached)


def patients_for_ratio(prevalence: float, *, width: float = 0.2, level: float = 0.95) -> int:
    """Return how many patients give the ratio observed / expected (true: 1) this interval.

    References
    ----------
    Riley et al., Stat Med 2021;40:4230-4251 (criterion 1).

    Examples
    --------
    >>> patients_for_ratio(0.2)
    1542
    """
    _check(0.75, prevalence)
    # exp(z s) - exp(-z s) = width
    error = math.asinh(width / 2) / normal_quantile(level)
    return math.ceil((1 - prevalence) / (prevalence * error**2))


def patients_for_slope(scores: Scores, *, width: float = 0.2, level: float = 0.95) -> int:
    """Return how many patients give the calibration slope (true: 1) an interval of this width.

    References
    ----------
    Riley et al., Stat Med 2021;40:4230-4251 (criterion 2). There the integrals are simulated;
    here they are summed on a fine grid.

    Examples
    --------
    >>> patients_for_slope(Scores((1.0,), (-1.75,), (1.22,)))
    2957
    """
    check_level(level)
    parts = list(zip(scores.weights, scores.means, scores.sds, strict=True))
    x = np.linspace(min(m - 9 * s for _, m, s in parts), max(m + 9 * s for _, m, s in parts), 20001)
    density = sum(w / s * np.exp(-0.5 * ((x - m) / s) ** 2) for w, m, s in parts)
    density = np.asarray(density / np.sum(density), dtype=np.float64)
    risk = 1 / (1 + np.exp(-x))
    weight = density * risk * (1 - risk)
    a, ab, b = weight.sum(), (weight * x).sum(), (weight * x * x).sum()
    error = width / (2 * normal_quantile(level))
    return math.ceil(float(a / (error**2 * (a * b - ab * ab))))


def scores_of_auc(auc: float, prevalence: float) -> Scores:
    """Return the scores of a calibrated classifier with this AUC: normal in either class.

    With equal variances s^2 the AUC is Phi(s / sqrt 2), and the scores are log odds exactly if
    the means lie s^2 apart with their middle at the prevalence's log odds.
    """
    _check(auc, prevalence)
    from scipy.special import ndtri

    sd = math.sqrt(2) * float(ndtri(auc))
    center = math.log(prevalence / (1 - prevalence))
    means = (center - sd * sd / 2, center + sd * sd / 2)
    return Scores((1 - prevalence, prevalence), means, (sd, sd))


def patients_for_development(
    parameters: int,
    prevalence: float,
    *,
    cox_snell: float | None = None,
    shrinkage: float = 0.9,
    level: float = 0.95,
) -> Development:
    """Return how many patients are needed to fit so many parameters without exaggerating them.

    Riley et al., BMJ 2020;368:m441; Stat Med 2019;38:1276-1296.
    """
    _check(0.75, prevalence)
    most = _most_possible(prevalence)
    r2 = most / 2 if cox_snell is None else cox_snell
    if parameters < 1 or not 0 < r2 < most or not r2 < shrinkage < 1:
        raise EvaluationError(
            f"{parameters} parameters, R-squared {r2:.3f} and shrinkage {shrinkage}: give at least "
            f"one parameter and 0 < R-squared < {most:.3f} (the most at this prevalence), "
            "R-squared < shrinkage < 1."
        )
    honest = r2 / (r2 + 0.05 * most)

    def needed(factor: float) -> int:
        return math.ceil(parameters / ((factor - 1) * math.log(1 - r2 / factor)))

    by_prevalence = (normal_quantile(level) / 0.05) ** 2 * prevalence * (1 - prevalence)
    return Development(needed(shrinkage), needed(honest), math.ceil(by_prevalence))


def supported_parameters(n: int, prevalence: float, *, shrinkage: float = 0.9) -> int:
    """Return how many free coefficients n patients support at this shrinkage.

    The first criterion of `patients_for_development`, turned round, at a Nagelkerke R-squared of
    0.5. A network has more parameters by orders of magnitude; what it was taught elsewhere, and
    what holds its weights small, must make up for them.

    Examples
    --------
    >>> supported_parameters(300, 0.5)
    16
    """
    _check(0.75, prevalence)
    r2 = _most_possible(prevalence) / 2
    return int(n * (shrinkage - 1) * math.log(1 - r2 / shrinkage))


def detectable_difference(
    n: int,
    *,
    discordance: float,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float:
    """Return the smallest true difference in accuracy that n paired patients are likely to show.

    `discordance` is the true share of patients whom only one of two models has right, `power` the
    wanted chance that McNemar's test (two-sided at `alpha`) finds the difference.
    Exact to 1e-4 up to 250 patients, and by Miettinen's approximation beyond, where the exact sum
    takes long. NaN where even models of which one is right on every discordant image cannot be told
    apart with that power.

    References
    ----------
    Miettinen, Biometrics 1968;24:339-352; Connor, Biometrics 1987;43:207-211.

    Examples
    --------
    >>> detectable_difference(33, discordance=0.15)
    nan
    >>> round(detectable_difference(33, discordance=0.4), 2)
    0.31
    >>> round(detectable_difference(2000, discordance=0.15), 3)
    0.024
    """
    from scipy.special import ndtri

    _check_shares(discordance, 0.0)
    z_alpha, z_beta = float(ndtri(1 - alpha / 2)), float(ndtri(power))

    def reached(difference: float) -> bool:
        if n <= EXACT_UP_TO:
            a = (discordance + difference) / 2
            chance = mcnemar_power(n, only_a=a, only_b=discordance - a, alpha=alpha)
            return chance >= power
        spread = z_alpha * math.sqrt(discordance)
        spread += z_beta * math.sqrt(discordance - difference * difference)
        return (spread / difference) ** 2 <= n

    low, high = (0.0, discordance) if n <= EXACT_UP_TO else (1e-6, discordance)
    if not reached(high):
        return math.nan
    step = 1e-4 if n <= EXACT_UP_TO else 1e-6
    while high - low > step:  # power grows with the difference at a fixed discordance
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def _most_possible(prevalence: float) -> float:
    """Return the largest R-squared of Cox and Snell at a prevalence."""
    p = prevalence
    return -math.expm1(2 * (p * math.log(p) + (1 - p) * math.log1p(-p)))


def _check(auc: float, prevalence: float) -> None:
    if not 0.5 < auc < 1 or not 0 < prevalence < 1:
        raise EvaluationError(
            f"an AUC of {auc} at a prevalence of {prevalence}: give 0.5 < AUC < 1 and "
            "0 < prevalence < 1."
        )


def interval_width(n: int, p: float, *, level: float = 0.95) -> float:
    """Return the width to expect of Wilson's interval, over all outcomes of n images.

    High minus low, as a proportion.

    Examples
    --------
    >>> round(interval_width(33, 0.85), 2), round(interval_width(400, 0.85), 2)
    (0.24, 0.07)
    """
    if n < 1 or not 0 <= p <= 1:
        raise EvaluationError(f"n = {n} and p = {p}: give at least one image and 0 <= p <= 1.")
    bounds = np.array([wilson_bounds(k / n, n, level) for k in range(n + 1)])
    return float(((bounds[:, 1] - bounds[:, 0]) * _binomial(n, p)).sum())


def mcnemar_power(n: int, *, only_a: float, only_b: float, alpha: float = 0.05) -> float:
    """Return the chance that McNemar's exact test tells two models apart.

    Exact: summed over every number of discordant images and every way to divide them, where only
    the one, or only the other, model is right on true shares `only_a` and `only_b` of images.
    """
    from scipy.special import bdtr

    _check_shares(only_a, only_b)
    if only_a + only_b == 0:
        return 0.0
    discordant = np.arange(1, n + 1)
    most = np.array([_critical(d, alpha) for d in range(1, n + 1)])
    share = only_a / (only_a + only_b)
    # Rejected where at most `most` of the discordant images favor the one, or the other.
    either = bdtr(most, discordant, share) + bdtr(most, discordant, 1 - share)
    chances = _binomial(n, only_a + only_b)[1:]
    return float(min(1.0, (chances * np.where(most < 0, 0.0, either)).sum()))


def smallest_significant_lead(*, losses: int = 0, alpha: float = 0.05) -> int:
    """Return by how many images one model must lead for McNemar's exact test to notice.

    Images that only the leading model has right, less `losses`; whatever the size of the set.
    """
    wins = losses + 1
    while _critical(wins + losses, alpha) < losses:
        wins += 1
    return wins - losses


class McNemarRange(NamedTuple):
    """The p-values that two totals allow when the single answers are not published."""

    smallest: float  # exact two-sided p-values, with the fewest and the most discordant images
    largest: float
    fewest: int  # those numbers of discordant images
    most: int


def mcnemar_from_totals(right_a: int, right_b: int, n: int) -> McNemarRange:
    """Return which p-values McNemar's exact test could have, from two models' totals alone."""
    if not (0 <= right_a <= n and 0 <= right_b <= n):
        raise EvaluationError(f"{right_a} and {right_b} of {n} images: no total can exceed {n}.")
    lead = abs(right_a - right_b)
    # Both right on as many images as possible, or on as few.
    shared = (min(right_a, right_b), max(0, right_a + right_b - n))
    discordant = [right_a + right_b - 2 * both for both in shared]
    p_values = [_two_sided((d - lead) // 2, d) for d in range(discordant[0], discordant[1] + 1, 2)]
    return McNemarRange(min(p_values), max(p_values), *discordant)


def _two_sided(fewer: int, discordant: int) -> float:
    from scipy.special import bdtr

    if 2 * fewer == discordant:  # no lead at all; also where nothing is discordant
        return 1.0
    return 2 * float(bdtr(fewer, discordant, 0.5))


@lru_cache(maxsize=20_000)
def _critical(discordant: int, alpha: float) -> int:
    """Return the largest smaller count that is still significant; -1 if none is."""
    fewer = -1
    while 2 * (fewer + 1) <= discordant and _two_sided(fewer + 1, discordant) <= alpha:
        fewer += 1
    return fewer


def _binomial(n: int, p: float) -> NDArray[np.float64]:
    """Return the chances of 0 to n successes; unlike scipy's, finite for the smallest p."""
    from scipy.special import gammaln, xlog1py, xlogy

    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return np.asarray(np.exp(ways + xlogy(k, p) + xlog1py(n - k, -p)), dtype="float64")


def _check_shares(only_a: float, only_b: float) -> None:
    if only_a < 0 or only_b < 0 or only_a + only_b > 1 + 1e-12:
        raise EvaluationError(
            f"shares of {only_a} and {only_b} are impossible; both are at least 0 and their sum "
            "at most 1."
        )
