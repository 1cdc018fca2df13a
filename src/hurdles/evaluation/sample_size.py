"""How many patients a classifier needs, to be validated and to be made (Riley and colleagues).

All of it counts independent patients, not images, and sets one class against the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import auc_variance, check_level, normal_quantile
from hurdles.evaluation.resolution import smallest_detectable_difference

__all__ = [
    "Development",
    "Scores",
    "area_width",
    "detectable_difference",
    "patients_for_area",
    "patients_for_development",
    "patients_for_ratio",
    "patients_for_slope",
    "scores_of_area",
    "supported_parameters",
]

#: Up to so many patients McNemar's test is summed exactly; beyond, its normal approximation is
#: within 0.003 of it.
EXACT_UP_TO = 250
_MOST = 10_000_000


@dataclass(frozen=True)
class Scores:
    """The distribution of a calibrated classifier's scores on the scale of log odds.

    A mixture of normal distributions: one for all patients, or one for each class.

    Parameters
    ----------
    weights, means, sds : tuple of float
        Of each part; weights sum to 1.

    Examples
    --------
    >>> Scores((1.0,), (-5.0,), (2.5,)).means
    (-5.0,)
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    sds: tuple[float, ...]


@dataclass(frozen=True)
class Development:
    """How many patients are needed to make a classifier, by each of three criteria.

    Parameters
    ----------
    shrinkage : int
        So that coefficients are exaggerated by no more than the wanted factor.
    optimism : int
        So that apparent and honest R-squared (Nagelkerke's) differ by at most 0.05.
    prevalence : int
        So that the share of the class is known to 0.05 either side.
    """

    shrinkage: int
    optimism: int
    prevalence: int

    @property
    def needed(self) -> int:
        """The largest of the three."""
        return max(self.shrinkage, self.optimism, self.prevalence)


def area_width(area: float, positives: int, negatives: int, *, level: float = 0.95) -> float:
    """Return the width to expect of an area's interval, high minus low.

    Twice the normal quantile times the standard error of Hanley and McNeil as Newcombe changed it
    (`hurdles.evaluation.bounds.auc_variance`), as Riley's calculation has it.

    Parameters
    ----------
    area : float
        The true area, within (0.5, 1).
    positives, negatives : int
        Patients of the class, and others; at least 1 each.
    level : float
        Confidence level, within (0, 1).

    Raises
    ------
    EvaluationError
        If the area or a number of patients is impossible.

    Examples
    --------
    >>> round(area_width(0.7, 100, 100), 2)
    0.14
    """
    _check(area, 0.5)
    check_level(level)
    if positives < 1 or negatives < 1:
        raise EvaluationError(f"{positives} and {negatives} patients: an area needs one of each.")
    return 2 * normal_quantile(level) * math.sqrt(auc_variance(area, positives, negatives))


def patients_for_area(
    area: float, prevalence: float, *, width: float = 0.1, level: float = 0.95
) -> int:
    """Return how many patients give an area an interval of this width.

    Parameters
    ----------
    area : float
        Expected, within (0.5, 1).
    prevalence : float
        Share of the class, within (0, 1).
    width : float
        High minus low.
    level : float
        Confidence level, within (0, 1).

    References
    ----------
    Riley et al., Stat Med 2021;40:4230-4251 (criterion 3).

    Examples
    --------
    >>> patients_for_area(0.8, 0.018), patients_for_area(0.78, 0.2)
    (4252, 511)
    """
    _check(area, prevalence)
    z = normal_quantile(level)

    def reached(n: int) -> bool:
        variance = auc_variance(area, n * prevalence, n * (1 - prevalence))
        return 2 * z * math.sqrt(variance) <= width

    low, high = 2, _MOST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


def patients_for_ratio(prevalence: float, *, width: float = 0.2, level: float = 0.95) -> int:
    """Return how many patients give the ratio observed / expected (true: 1) this interval.

    Parameters
    ----------
    prevalence : float
        Share of the class, within (0, 1).
    width : float
        High minus low, of an interval that is symmetric on the scale of logarithms.
    level : float
        Confidence level, within (0, 1).

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

    Parameters
    ----------
    scores : Scores
        What the classifier says; it is taken to be calibrated.
    width : float
        High minus low.
    level : float
        Confidence level, within (0, 1).

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
    x, density = _density(scores)
    risk = 1 / (1 + np.exp(-x))
    weight = density * risk * (1 - risk)
    a, ab, b = weight.sum(), (weight * x).sum(), (weight * x * x).sum()
    error = width / (2 * normal_quantile(level))
    return math.ceil(float(a / (error**2 * (a * b - ab * ab))))


def scores_of_area(area: float, prevalence: float) -> Scores:
    """Return the scores of a calibrated classifier with this area: normal in either class.

    With equal variances s^2 the area is Phi(s / sqrt 2), and the scores are log odds exactly if
    the means lie s^2 apart with their middle at the prevalence's log odds.

    Parameters
    ----------
    area : float
        Within (0.5, 1).
    prevalence : float
        Within (0, 1).

    Examples
    --------
    >>> scores = scores_of_area(0.9, 0.5)
    >>> [round(mean, 2) for mean in scores.means], round(scores.sds[0], 2)
    ([-1.64, 1.64], 1.81)
    """
    _check(area, prevalence)
    from scipy.special import ndtri

    sd = math.sqrt(2) * float(ndtri(area))
    centre = math.log(prevalence / (1 - prevalence))
    means = (centre - sd * sd / 2, centre + sd * sd / 2)
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

    Parameters
    ----------
    parameters : int
        Coefficients that are free, at least 1.
    prevalence : float
        Share of the class, within (0, 1).
    cox_snell : float, optional
        Expected R-squared of Cox and Snell, adjusted; default: half of what is possible at this
        prevalence (Nagelkerke's is 0.5), which Riley advises where predictors show the disease
        itself, as an image does.
    shrinkage : float
        Wanted, within (0, 1): 0.9 means that coefficients are 10 % too large.
    level : float
        Confidence level of the third criterion.

    Raises
    ------
    EvaluationError
        If a number is impossible.

    References
    ----------
    Riley et al., BMJ 2020;368:m441; Stat Med 2019;38:1276-1296.

    Examples
    --------
    >>> found = patients_for_development(24, 0.174, cox_snell=0.288)
    >>> found.shrinkage, found.optimism, found.prevalence, found.needed
    (623, 662, 221, 662)
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

    Parameters
    ----------
    n : int
        Patients to learn from.
    prevalence : float
        Share of the class, within (0, 1).
    shrinkage : float
        Wanted, within (0, 1).

    Examples
    --------
    >>> supported_parameters(300, 0.5)
    16
    """
    _check(0.75, prevalence)
    r2 = _most_possible(prevalence) / 2
    return int(n * (shrinkage - 1) * math.log(1 - r2 / shrinkage))


def detectable_difference(
    n: int, *, discordance: float, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Return the smallest true difference in accuracy that n paired patients are likely to show.

    Exact up to 250 patients (`hurdles.evaluation.resolution.smallest_detectable_difference`), and
    by Miettinen's approximation beyond, where the exact sum takes long.

    Parameters
    ----------
    n : int
        Patients, at least 1.
    discordance : float
        Share of patients whom only one of two models has right, within (0, 1].
    power, alpha : float
        Wanted chance of finding it; two-sided level of the test.

    Returns
    -------
    float
        A proportion; NaN where no difference at this discordance can be found.

    References
    ----------
    Miettinen, Biometrics 1968;24:339-352; Connor, Biometrics 1987;43:207-211.

    Examples
    --------
    >>> round(detectable_difference(2000, discordance=0.15), 3)
    0.024
    """
    if n <= EXACT_UP_TO:
        return smallest_detectable_difference(n, discordance=discordance, power=power, alpha=alpha)
    from scipy.special import ndtri

    z_alpha, z_beta = float(ndtri(1 - alpha / 2)), float(ndtri(power))

    def needed(d: float) -> float:
        spread = z_alpha * math.sqrt(discordance) + z_beta * math.sqrt(discordance - d * d)
        return (spread / d) ** 2

    low, high = 1e-6, discordance
    if needed(high) > n:
        return math.nan
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) > n else (low, middle)
    return high


def _density(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a grid of scores and their probability on it, which sums to 1."""
    parts = list(zip(scores.weights, scores.means, scores.sds, strict=True))
    x = np.linspace(min(m - 9 * s for _, m, s in parts), max(m + 9 * s for _, m, s in parts), 20001)
    density = sum(w / s * np.exp(-0.5 * ((x - m) / s) ** 2) for w, m, s in parts)
    return x, np.asarray(density / np.sum(density), dtype=np.float64)


def _most_possible(prevalence: float) -> float:
    """Return the largest R-squared of Cox and Snell at a prevalence."""
    return -math.expm1(2 * (prevalence * math.log(prevalence) + _one_minus(prevalence)))


def _one_minus(p: float) -> float:
    return (1 - p) * math.log1p(-p)


def _check(area: float, prevalence: float) -> None:
    if not 0.5 < area < 1 or not 0 < prevalence < 1:
        raise EvaluationError(
            f"an area of {area} at a prevalence of {prevalence}: give 0.5 < area < 1 and "
            "0 < prevalence < 1."
        )
