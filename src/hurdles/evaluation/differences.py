"""The difference of two areas, or of two means of areas: one test, and an interval that agrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hurdles.evaluation.bounds import normal_quantile
from hurdles.evaluation.estimate import Estimate

__all__ = ["AreaDifference", "judged_difference", "reach_apart"]

#: A smaller share of the areas' own standard errors is rounding.
_NO_ERROR = 1e-6


@dataclass(frozen=True)
class AreaDifference:
    """Two areas compared.

    Parameters
    ----------
    difference : Estimate
        Of ``a - b``.
    standard_error : float
        DeLong's, of the difference; NaN where there is no difference to judge.
    p_value : float
        Two-sided, of no difference; NaN where undefined.
    method : str
        How the test was made.
    """

    difference: Estimate
    standard_error: float
    p_value: float
    method: str


def judged_difference(
    values: tuple[float, float],
    bounds: Sequence[tuple[float, float]],
    spreads: Sequence[float],
    covariance: float,
    *,
    alike: bool,
    level: float,
    test: str,
    n_images: int,
    n_patients: int,
) -> AreaDifference:
    """Test and bound the difference of two areas, or of two means of areas.

    The end of the interval that is nearer to zero is that of the test; so zero is held if and only
    if the p-value is above 1 - level. The other end joins the areas' own bounds, which are longer
    towards 0.5 than towards 1 (`reach_apart`), and is never nearer than the test's.

    Parameters
    ----------
    values, bounds, spreads : pairs
        Of both areas: the value, its interval at this level, and its standard error.
    covariance : float
        Of the two.
    alike : bool
        Whether no patient here parts the two. That does not show that none ever will: they are
        joined as if independent. So are two of which every patient moves either area as much as
        the other, though they differ: their difference seems to be without error.
    level : float
        Confidence level, within (0, 1).
    test : str
        How the test is called.
    n_images, n_patients : int
        What it rests on.
    """
    value = values[0] - values[1]
    correlation = max(-1.0, min(1.0, covariance / (spreads[0] * spreads[1])))
    common = correlation * spreads[0] * spreads[1]
    error = math.sqrt(max(0.0, spreads[0] ** 2 + spreads[1] ** 2 - 2 * common))
    parted = error > _NO_ERROR * max(spreads)
    if not parted and value != 0:
        error = math.hypot(*spreads)
    joined = correlation if parted and not alike else 0.0
    down, up = ([v - b[0] for v, b in zip(values, bounds, strict=True)],
                [b[1] - v for v, b in zip(values, bounds, strict=True)])  # fmt: skip
    tested = normal_quantile(level) * error
    low = value - max(tested, reach_apart((up[1], down[1]), (up[0], down[0]), joined))
    high = value + max(tested, reach_apart((up[0], down[0]), (up[1], down[1]), joined))
    low, high = (value - tested if value > 0 else low, value + tested if value < 0 else high)
    together = "" if parted else "every patient moves both alike"
    note = "the two rank every image alike" if alike else together
    method = "as if independent" if note else f"DeLong's correlation {correlation:.2f}"
    difference = Estimate(
        value,
        max(-1.0, low),
        min(1.0, high),
        level,
        f"DeLong near zero, MOVER away from it, {method}",
        n_images,
        n_patients,
        note,
    )
    return AreaDifference(difference, error, _p_value(value, error), test)


def reach_apart(
    rises: tuple[float, float], falls: tuple[float, float], correlation: float
) -> float:
    """Return how far one number may rise above another, both with an interval of their own.

    As in MOVER the two move within an ellipse; but in each of its quarters by the distances of
    that quarter: where both are likely to be lower at once, their lower bounds count, which mostly
    are the farther ones.

    Parameters
    ----------
    rises : pair of float
        How far up, and down, the number goes that rises above the other.
    falls : pair of float
        The same of the other.
    correlation : float
        Of the two estimates, within [-1, 1].

    References
    ----------
    Zou and Donner, Stat Med 2008;27:1693-1702, whose formula takes one quarter for all.

    Examples
    --------
    >>> round(reach_apart((0.01, 0.05), (0.01, 0.05), 0.9), 3)
    0.022
    """
    farthest = math.sqrt(max(0.0, 1 - correlation**2)) * max(rises[0], falls[1])
    for sign, one in zip((1, -1), rises, strict=True):
        for other_sign, two in zip((1, -1), falls, strict=True):
            length = one**2 + two**2 - 2 * correlation * one * two
            inside = sign * (one - correlation * two) >= 0 <= other_sign * (correlation * one - two)
            if inside and length > 0:
                farthest = max(farthest, math.sqrt(length))
    return farthest


def _p_value(value: float, error: float) -> float:
    if value == 0:
        return 1.0
    return math.erfc(abs(value) / error / math.sqrt(2)) if error > 0 else math.nan
