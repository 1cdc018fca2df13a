"""What a model's own test images say, beforehand, of its AUC on images from elsewhere.

What a model achieves at home may rest on how images were taken rather than on what they show. If
that part can be measured - by the AUC of a *blind view*, which sees no anatomy - it can be taken
away, and what remains is a forecast. Ong Ly et al. 2024 take AUCs away: inside less blind plus
0.5. But AUCs do not add. Squared effect sizes do: two independent signs by which the classes lie
d1 and d2 standard deviations apart lie, at their best together, sqrt(d1^2 + d2^2) apart; and an
AUC of normal scores is Phi(d / sqrt(2)). So, with d = sqrt(2) * probit(AUC),

    forecast = Phi((d_inside^2 - d_blind^2) / (sqrt(2) * d_inside)).

The denominator stays that of the inside, for a model goes on looking at what no longer helps it.
``bench/coverage.py`` prints how far this and the AUCs' rule miss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, mover_mean, mover_reach
from hurdles.evaluation.delong import Area, area_bounds, correlations, joint_covariance, rank_alike
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import class_areas, in_pairs
from hurdles.evaluation.predictions import Predictions

#: What every forecast takes for granted, to be said beside it.
ASSUMPTION = (
    "It holds where what the blind view sees varies elsewhere as it does here and has nothing to "
    "do with the class there; where it is the same in every image, the AUC is higher."
)
#: AUCs are kept this far from 0, chance and 1 where a bound would be infinite.
_SMALLEST = 1e-9


def forecast_area(inside: float, blind: float) -> float:
    """Return the AUC to be expected where what the blind view sees says nothing of the class.

    A blind AUC below 0.5 counts as negative: by chance as many blind views that know nothing fall
    below 0.5 as above, and to take the one for nothing and the other for something would forecast
    too little. NaN where the AUC inside is 1 or not above chance, or the blind AUC is 0 or 1:
    there the effect has no size.

    Examples
    --------
    >>> f"{forecast_area(0.943, 0.760):.3f}"
    '0.897'
    >>> forecast_area(1.0, 0.6)
    nan
    """
    if not (0.5 < inside < 1 and 0 < blind < 1):
        return math.nan
    return _area(_shift(_effect(inside), _effect(blind)))


def forecast_auc(inside: Predictions, blind: Predictions, *, level: float = 0.95) -> Estimate:
    """Forecast a model's mean AUC outside from images inside.

    The mean over classes of `forecast_area`. It may exceed the AUC inside, where the blind
    view is below chance. Undefined, with the reason, where it is so for a class. The interval
    is of what these patients show; how well `ASSUMPTION` holds is not in it.

    References
    ----------
    Ong Ly et al., npj Digital Medicine 2024;7:124 (the idea); Su and Liu, J Am Stat Assoc
    1993;88:1350-1355 (effects of independent normal signs add up squared).
    """
    check_level(level)
    parts = _parts(inside, blind, level)
    size = {"n_images": len(inside), "n_patients": len(np.unique(inside.groups))}
    reasons = [f"{part.class_}: {part.why}" for part in parts if part.why]
    if reasons or not parts:
        why = "; ".join(reasons) or "images of fewer than two classes: there is nothing to tell"
        return undefined(why, level=level, **size)
    if len(parts) == 1:
        return parts[0].estimate(level, **size)
    joint = _correlations(parts)
    down, up = (np.array([getattr(part, side) for part in parts]) for side in ("down", "up"))
    value = float(np.mean([part.value for part in parts]))
    low = max(0.0, value - mover_mean(down, joint))
    high = min(1.0, value + mover_mean(up, joint))
    method = "MOVER over classes, of effect sizes with DeLong's covariances"
    return Estimate(value, low, high, level, method, size["n_images"], size["n_patients"])


@dataclass(frozen=True, eq=False)
class _Part:
    """The forecast of one class, and how far its bounds lie from it; `why` where there is none."""

    class_: str
    areas: tuple[Area, Area]
    value: float
    down: float = math.nan
    up: float = math.nan
    slopes: tuple[float, float] = (0.0, 0.0)  # by how much either AUC moves it
    method: str = ""
    why: str = ""

    @classmethod
    def of(cls, class_: str, inside: Area, blind: Area, level: float) -> _Part:
        value, both = forecast_area(inside.value, blind.value), (inside, blind)
        if math.isnan(value):
            return cls(class_, both, value, why=_why(inside.value, blind.value))
        home, seen = _effect(inside.value), _effect(blind.value)
        centre = _shift(home, seen)
        low, high = (_effect(max(0.5, end)) for end in area_bounds(inside, level)[:2])
        least, most = (_effect(end) for end in area_bounds(blind, level)[:2])
        worst = (_shift(low, seen), _shift(home, most))
        best = (_shift(high, seen), _shift(home, least))
        # That no patient here parts the two does not show that none ever will.
        correlation = 0.0 if rank_alike(inside, blind) else _correlation(inside, blind)
        ends = (
            centre + side * mover_reach(abs(home_end - centre), abs(seen_end - centre), correlation)
            for side, (home_end, seen_end) in ((-1, worst), (1, best))
        )
        steep = math.exp(-(centre**2) / 2) / math.sqrt(2 * math.pi)
        slopes = (
            steep * (1 + abs(seen) * seen / home**2) / math.sqrt(2) * _steepness(inside.value),
            -steep * math.sqrt(2) * abs(seen) / home * _steepness(blind.value),
        )
        method = f"MOVER of effect sizes, DeLong's correlation {correlation:.2f}"
        down, up = (abs(_area(end) - value) for end in ends)
        return cls(class_, both, value, down, up, slopes, method)

    def estimate(self, level: float, *, n_images: int, n_patients: int) -> Estimate:
        bounds = (self.value - self.down, self.value + self.up)
        return Estimate(self.value, *bounds, level, self.method, n_images, n_patients)


def _parts(inside: Predictions, blind: Predictions, level: float) -> list[_Part]:
    one, two = (class_areas(table) for table in in_pairs(inside, blind))
    return [_Part.of(class_, one[class_], two[class_], level) for class_ in one]


def _why(inside: float, blind: float) -> str:
    if inside == 1:
        return "the AUC inside is 1: how far apart the classes lie has no upper end"
    if not inside > 0.5:
        return f"the AUC inside, {inside:.3f}, is not above chance: there is nothing to lose"
    return f"the blind view's AUC is {blind:.0f}: what it sees has no finite size"


def _effect(area: float) -> float:
    """Return d, by how many standard deviations normal scores of this AUC lie apart."""
    from scipy.special import ndtri

    # Away from where it would be infinite, or chance, by which bounds would be divided.
    kept = min(max(area, _SMALLEST), 1 - _SMALLEST) if area != 0.5 else 0.5 + _SMALLEST
    return float(math.sqrt(2) * ndtri(kept))


def _steepness(area: float) -> float:
    """Return by how much d grows with the AUC."""
    return 2 * math.sqrt(math.pi) * math.exp(_effect(area) ** 2 / 4)


def _area(shift: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(shift))


def _shift(home: float, seen: float) -> float:
    """Return the probit of the forecast; the blind view's effect is squared with its sign."""
    return (home**2 - abs(seen) * seen) / (math.sqrt(2) * home)


def _correlation(one: Area, two: Area) -> float:
    scale = one.variance * two.variance
    return max(-1.0, min(1.0, one.covariance(two) / math.sqrt(scale))) if scale > 0 else 0.0


def _correlations(parts: Sequence[_Part]) -> NDArray[np.float64]:
    """Return the correlations of the forecasts, through the slopes of both AUCs of each."""
    slopes = np.hstack([np.diag([part.slopes[side] for part in parts]) for side in (0, 1)])
    areas = [part.areas[side] for side in (0, 1) for part in parts]
    return correlations(slopes @ joint_covariance(areas, areas) @ slopes.T)


@dataclass(frozen=True)
class Record:
    """How forecasts have done where the outcome is known."""

    error: float  # mean of |forecast - AUC outside|; NaN where there is none
    naive_error: float  # the same for the forecast that the AUC outside is that inside
    n: int  # collections with a forecast and an outcome

    def __str__(self) -> str:
        """Return it in words."""
        if not self.n:
            return "no forecast can be held against what came"
        return (
            f"{self.n} forecast{'s' if self.n != 1 else ''} missed by {self.error:.3f} on average; "
            f"taking the AUC inside for it misses by {self.naive_error:.3f}"
        )


def track_record(
    forecasts: Sequence[float], inside: Sequence[float], outside: Sequence[float]
) -> Record:
    """Hold forecasts against what came.

    Examples
    --------
    >>> print(track_record([0.70, 0.60], [0.95, 0.95], [0.75, 0.50]))
    2 forecasts missed by 0.075 on average; taking the AUC inside for it misses by 0.325
    """
    came, said, home = (np.asarray(x, dtype=float) for x in (outside, forecasts, inside))
    if not len(came) or not len(came) == len(said) == len(home):
        raise EvaluationError(
            f"{len(said)} forecasts and {len(came)} outcomes; a record needs one of each, and one "
            "collection at least."
        )
    known = ~np.isnan(came + said + home)
    if not known.any():
        return Record(math.nan, math.nan, 0)
    errors = [float(np.abs(came - x)[known].mean()) for x in (said, home)]
    return Record(errors[0], errors[1], int(known.sum()))
