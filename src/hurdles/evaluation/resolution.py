"""What a test set of a given size can show: exact calculations, before or after the fact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import wilson_bounds

__all__ = [
    "McNemarRange",
    "interval_width",
    "mcnemar_from_totals",
    "mcnemar_power",
    "smallest_detectable_difference",
    "smallest_significant_lead",
    "wilson_coverage",
]


def interval_width(n: int, p: float, *, level: float = 0.95) -> float:
    """Return the width to expect of Wilson's interval, over all outcomes of n images.

    Parameters
    ----------
    n : int
        Independent images (each of another patient).
    p : float
        The true proportion, within [0, 1].
    level : float
        Confidence level, within (0, 1).

    Returns
    -------
    float
        High minus low, as a proportion.

    Examples
    --------
    >>> round(interval_width(33, 0.85), 2), round(interval_width(400, 0.85), 2)
    (0.24, 0.07)
    """
    bounds, chances = _wilson_table(n, p, level)
    return float(((bounds[:, 1] - bounds[:, 0]) * chances).sum())


def wilson_coverage(n: int, p: float, *, level: float = 0.95) -> float:
    """Return how often Wilson's interval of n independent images holds the true proportion.

    Parameters and units as for `interval_width`; exact, by summing over all outcomes.

    Examples
    --------
    >>> round(wilson_coverage(33, 0.85), 3)
    0.946
    """
    bounds, chances = _wilson_table(n, p, level)
    return float(chances[(bounds[:, 0] <= p) & (p <= bounds[:, 1])].sum())


def mcnemar_power(
    n: int, *, only_a: float, only_b: float, alpha: float = 0.05, mid_p: bool = False
) -> float:
    """Return the chance that McNemar's exact test tells two models apart.

    Parameters
    ----------
    n : int
        Independent images that both models answer.
    only_a, only_b : float
        True shares of images on which only the one, only the other model is right; their
        difference is the difference in accuracy, their sum the discordance.
    alpha : float
        Two-sided level of the test.
    mid_p : bool
        Use the mid-p version.

    Returns
    -------
    float
        Exact: summed over every number of discordant images and every way to divide them.

    Examples
    --------
    >>> round(mcnemar_power(33, only_a=0.15, only_b=0.06), 2)
    0.1
    """
    from scipy.special import bdtr

    _check_shares(only_a, only_b)
    if only_a + only_b == 0:
        return 0.0
    discordant = np.arange(1, n + 1)
    most = np.array([_critical(d, alpha, mid_p) for d in range(1, n + 1)])
    share = only_a / (only_a + only_b)
    # Rejected where at most `most` of the discordant images favour the one, or the other.
    either = bdtr(most, discordant, share) + bdtr(most, discordant, 1 - share)
    chances = _binomial(n, only_a + only_b)[1:]
    return float(min(1.0, (chances * np.where(most < 0, 0.0, either)).sum()))


def smallest_detectable_difference(
    n: int,
    *,
    discordance: float,
    power: float = 0.8,
    alpha: float = 0.05,
    mid_p: bool = False,
) -> float:
    """Return the smallest true difference in accuracy that n paired images are likely to show.

    Parameters
    ----------
    n : int
        Independent images that both models answer.
    discordance : float
        True share of images on which exactly one of the models is right.
    power : float
        Wanted chance that McNemar's exact test finds the difference.
    alpha, mid_p : float, bool
        As for `mcnemar_power`.

    Returns
    -------
    float
        As a proportion (0.1 is ten points), found to 1e-4; NaN where even models of which one is
        right on every discordant image cannot be told apart with that power.

    Examples
    --------
    >>> smallest_detectable_difference(33, discordance=0.15)
    nan
    >>> round(smallest_detectable_difference(33, discordance=0.4), 2)
    0.31
    """
    _check_shares(discordance, 0.0)

    def reached(difference: float) -> bool:
        a = (discordance + difference) / 2
        return mcnemar_power(n, only_a=a, only_b=discordance - a, alpha=alpha, mid_p=mid_p) >= power

    if not reached(discordance):
        return math.nan
    low, high = 0.0, discordance
    while high - low > 1e-4:  # power grows with the difference at a fixed discordance
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def smallest_significant_lead(*, losses: int = 0, alpha: float = 0.05, mid_p: bool = False) -> int:
    """Return by how many images one model must lead for McNemar's exact test to notice.

    Parameters
    ----------
    losses : int
        Images that only the other model has right.
    alpha, mid_p : float, bool
        As for `mcnemar_power`.

    Returns
    -------
    int
        Images that only the leading model has right, less `losses`; whatever the size of the set.

    Examples
    --------
    >>> smallest_significant_lead(), smallest_significant_lead(losses=3)
    (6, 9)
    """
    wins = losses + 1
    while _critical(wins + losses, alpha, mid_p) < losses:
        wins += 1
    return wins - losses


@dataclass(frozen=True)
class McNemarRange:
    """The p-values that two totals allow when the single answers are not published.

    Parameters
    ----------
    smallest, largest : float
        Exact two-sided p-values, with the fewest and with the most discordant images possible.
    fewest, most : int
        Those numbers of discordant images.
    """

    smallest: float
    largest: float
    fewest: int
    most: int


def mcnemar_from_totals(right_a: int, right_b: int, n: int) -> McNemarRange:
    """Return which p-values McNemar's exact test could have, from the totals of two models alone.

    Parameters
    ----------
    right_a, right_b : int
        Images that either model has right, of the same `n`.
    n : int
        Images in the set.

    Raises
    ------
    EvaluationError
        If a total is negative or larger than `n`.

    Examples
    --------
    >>> found = mcnemar_from_totals(26, 29, 33)
    >>> found.smallest, round(found.largest, 2), found.fewest, found.most
    (0.25, 0.55, 3, 11)
    """
    if not (0 <= right_a <= n and 0 <= right_b <= n):
        raise EvaluationError(f"{right_a} and {right_b} of {n} images: no total can exceed {n}.")
    lead = abs(right_a - right_b)
    # Both right on as many images as possible, or on as few.
    shared = (min(right_a, right_b), max(0, right_a + right_b - n))
    discordant = [right_a + right_b - 2 * both for both in shared]
    p_values = [_two_sided((d - lead) // 2, d) for d in range(discordant[0], discordant[1] + 1, 2)]
    return McNemarRange(min(p_values), max(p_values), *discordant)


def _two_sided(fewer: int, discordant: int, mid_p: bool = False) -> float:
    from scipy.special import bdtr

    if 2 * fewer == discordant:  # no lead at all; also where nothing is discordant
        return 1 - float(_binomial(discordant, 0.5)[fewer]) / 2 if mid_p else 1.0
    tail = float(bdtr(fewer, discordant, 0.5))
    return 2 * tail - (float(_binomial(discordant, 0.5)[fewer]) if mid_p else 0.0)


@lru_cache(maxsize=20_000)
def _critical(discordant: int, alpha: float, mid_p: bool) -> int:
    """Return the largest smaller count that is still significant; -1 if none is."""
    fewer = -1
    while 2 * (fewer + 1) <= discordant and _two_sided(fewer + 1, discordant, mid_p) <= alpha:
        fewer += 1
    return fewer


def _wilson_table(
    n: int, p: float, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if n < 1 or not 0 <= p <= 1:
        raise EvaluationError(f"n = {n} and p = {p}: give at least one image and 0 <= p <= 1.")
    bounds = np.array([wilson_bounds(k / n, n, level) for k in range(n + 1)])
    return bounds, _binomial(n, p)


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
