"""Exact tests of paired answers, and what follows from several or from intervals beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import normal_quantile
from hurdles.evaluation.estimate import Estimate

__all__ = ["McNemar", "holm", "mcnemar", "ruled_by_test", "sign_flip"]


@dataclass(frozen=True)
class McNemar:
    """Exact test of whether two models are right equally often.

    Parameters
    ----------
    only_a, only_b : int
        Images on which one model is right and the other wrong.
    p_value : float
        Exact, two-sided.
    mid_p : float
        The same with half the weight on what was seen: less conservative, not strictly exact
        (Fagerland et al., BMC Med Res Methodol 2013;13:91).
    method : str
        Which test it is.
    """

    only_a: int
    only_b: int
    p_value: float
    mid_p: float
    method: str


def mcnemar(right_a: ArrayLike, right_b: ArrayLike, *, groups: ArrayLike | None = None) -> McNemar:
    """Test whether two models are right equally often on the same images.

    Parameters
    ----------
    right_a, right_b : array-like of bool, shape (n,)
        Whether either model is right about each image.
    groups : array-like of shape (n,), optional
        The patient of each image. McNemar's test takes images for independent; where a patient has
        several, the models' answers are swapped for all of a patient's images at once instead.

    Returns
    -------
    McNemar

    Raises
    ------
    EvaluationError
        If the two models do not have one answer for each image, in one dimension.

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
    return McNemar(int((a & ~b).sum()), int((b & ~a).sum()), p_value, mid_p, _name(repeated))


def _name(repeated: bool) -> str:
    return "exact sign-flip over patients" if repeated else "exact McNemar"


def sign_flip(differences: ArrayLike) -> tuple[float, float]:
    """Test whether whole-numbered differences are symmetric about zero.

    Parameters
    ----------
    differences : array-like of shape (patients,)
        Images that model a has right more than model b, for each patient; whole numbers.

    Returns
    -------
    p_value, mid_p : float
        Two-sided: how often random signs give a sum at least as far from zero; and the same with
        half the weight on ties. The distribution is computed whole, not sampled.

    Examples
    --------
    >>> sign_flip([1, 1, 1, -1])
    (0.625, 0.375)
    """
    sizes = np.asarray(differences, dtype="float64")
    steps = np.abs(sizes[sizes != 0]).astype(int)
    mass = np.ones(1)
    for step in steps:
        grown = np.zeros(len(mass) + 2 * step)
        grown[: len(mass)] += mass / 2
        grown[2 * step :] += mass / 2
        mass = grown
    sums = np.arange(len(mass)) - int(steps.sum())
    seen = abs(int(sizes.sum()))
    beyond, tied = mass[np.abs(sums) > seen].sum(), mass[np.abs(sums) == seen].sum()
    return min(1.0, float(beyond + tied)), min(1.0, float(beyond + tied / 2))


def ruled_by_test(difference: Estimate, p_value: float) -> Estimate:
    """Return a difference whose interval holds zero if and only if its test does not reject it.

    The test rules: where the two disagree, the end of the interval that is nearer to zero is moved
    to where the test's own p-value puts it (test-based limits): the standard error is taken to be
    the one that gives this difference this p-value.

    Parameters
    ----------
    difference : Estimate
        With its interval, however made.
    p_value : float
        Two-sided, of no difference; NaN leaves the interval as it is.

    References
    ----------
    Miettinen, Am J Epidemiol 1976;103:226-235.

    Examples
    --------
    >>> five_of_forty = Estimate(0.125, 0.023, 0.254, 0.95, "MOVER", 40, 40)
    >>> print(ruled_by_test(five_of_forty, 0.0625))
    0.125 [-0.007, 0.254]
    >>> print(ruled_by_test(Estimate(0.208, -0.017, 0.416, 0.95, "MOVER", 48, 48), 0.032))
    0.208 [0.018, 0.416]
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

    Parameters
    ----------
    p_values : sequence of float
        Within [0, 1]; NaN (no test) stays NaN and is not counted.

    Returns
    -------
    list of float
        In the order given, never below the value given.

    References
    ----------
    Holm, Scand J Stat 1979;6:65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = [float(p) for p in p_values]
    # NaN must go before the sorting, which it would upset.
    tested = [i for i in range(len(given)) if not math.isnan(given[i])]
    tested.sort(key=lambda i: given[i])
    adjusted, highest = [math.nan] * len(given), 0.0
    for rank, index in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * given[index]))
        adjusted[index] = highest
    return adjusted
