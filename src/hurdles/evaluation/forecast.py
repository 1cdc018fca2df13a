"""Forecast, from a model's own test images, of its AUC on images from elsewhere.

What a model achieves at home may rest on how images were taken rather than on what they show. If
that part can be measured - by the AUC of a *blind view*, which sees no anatomy - it can be taken
away, and what remains is a forecast. Ong Ly et al. 2024 take AUCs away: inside less blind plus
0.5. But AUCs do not add. Squared effect sizes do: two independent signs by which the classes lie
d1 and d2 standard deviations apart lie, at their best together, sqrt(d1^2 + d2^2) apart; and an
AUC of normal scores is Phi(d / sqrt(2)). So, with d = sqrt(2) * probit(AUC),

    forecast = Phi((d_inside^2 - d_blind^2) / (sqrt(2) * d_inside)).

The denominator stays that of the inside, for a model goes on looking at what no longer helps it.
``bench/coverage`` measures how often its interval holds what comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, mover_mean, mover_reach
from hurdles.evaluation.delong import AUC, auc_bounds, correlations, joint_covariance, rank_alike
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import class_aucs, in_pairs
from hurdles.evaluation.predictions import Predictions

#: What every forecast takes for granted, to be said beside it.
ASSUMPTION = (
    "It holds where what the blind view sees varies elsewhere as it does here and has nothing to "
    "do with the class there; where it is the same in every image, the AUC is higher."
)
#: AUCs are kept this far from 0, chance and 1 where a bound would be infinite.
_SMALLEST = 1e-9


def expected_auc(inside: float, blind: float) -> float:
    """Return the AUC to be expected where what the blind view sees says nothing of the class.

    A blind AUC below 0.5 counts as negative: by chance as many blind views that know nothing fall
    below 0.5 as above, and to take the one for nothing and the other for something would forecast
    too little. NaN where the AUC inside is 1 or not above chance, or the blind AUC is 0 or 1:
    there the effect has no size.
    """
    from scipy.special import ndtr

    if _why_none(inside, blind):
        return math.nan
    return float(ndtr(_shift(_effect(inside), _effect(blind))))


def forecast_auc(inside: Predictions, blind: Predictions, *, level: float = 0.95) -> Estimate:
    """Forecast a model's mean AUC outside from images inside.

    The mean over classes of `expected_auc`. It may exceed the AUC inside, where the blind
    view is below chance. Undefined, with the reason, where it is so for a class. The interval
    is of what these patients show; how well `ASSUMPTION` holds is not in it.

    Ong Ly et al., npj Digital Medicine 2024;7:124 (the idea); Su and Liu, J Am Stat Assoc
    1993;88:1350-1355 (effects of independent normal signs add up squared).
    """
    check_level(level)
    one, two = (class_aucs(table) for table in in_pairs(inside, blind))
    size = {"n_images": len(inside), "n_patients": len(np.unique(inside.groups))}
    reasons = [f"{c}: {why}" for c in one if (why := _why_none(one[c].value, two[c].value))]
    if reasons or not one:
        why = "; ".join(reasons) or "images of fewer than two classes: there is nothing to tell"
        return undefined(why, level=level, **size)
    parts = [_forecast(one[c], two[c], level) for c in one]
    # The correlations of the forecasts, through the slopes of both AUCs of each.
    slopes = np.hstack([np.diag([part.slopes[side] for part in parts]) for side in (0, 1)])
    aucs = [*one.values(), *(two[c] for c in one)]
    joint = correlations(slopes @ joint_covariance(aucs, aucs) @ slopes.T)
    value = float(np.mean([part.value for part in parts]))
    bounds = [(part.low, part.high) for part in parts]
    low, high = mover_mean([part.value for part in parts], bounds, joint)
    method = f"MOVER of effect sizes, DeLong's correlation {parts[0].correlation:.2f}"
    if len(parts) > 1:
        method = "MOVER over classes, of effect sizes with DeLong's covariances"
    return Estimate(value, low, high, level, method, size["n_images"], size["n_patients"])


def _why_none(inside: float, blind: float) -> str:
    """Return why there is no forecast from these AUCs; empty where there is one."""
    if inside == 1:
        return "the AUC inside is 1: how far apart the classes lie has no upper end"
    if not inside > 0.5:
        return f"the AUC inside, {inside:.3f}, is not above chance: there is nothing to lose"
    if not 0 < blind < 1:
        return f"the blind view's AUC is {blind:.0f}: what it sees has no finite size"
    return ""


class _Forecast(NamedTuple):
    """The forecast of one class."""

    value: float
    low: float
    high: float
    slopes: tuple[float, float]  # by how much either AUC moves it
    correlation: float


def _forecast(inside: AUC, blind: AUC, level: float) -> _Forecast:
    from scipy.special import ndtr

    d_inside, d_blind = _effect(inside.value), _effect(blind.value)
    center = _shift(d_inside, d_blind)
    value = expected_auc(inside.value, blind.value)
    low, high = (_effect(max(0.5, end)) for end in auc_bounds(inside, level)[:2])
    least, most = (_effect(end) for end in auc_bounds(blind, level)[:2])
    scale, correlation = inside.variance * blind.variance, 0.0
    # That no patient here parts the two does not show that none ever will.
    if scale > 0 and not rank_alike(inside, blind):
        correlation = max(-1.0, min(1.0, inside.covariance(blind) / math.sqrt(scale)))
    down, up = (
        mover_reach(
            abs(_shift(end, d_blind) - center), abs(_shift(d_inside, other) - center), correlation
        )
        for end, other in ((low, most), (high, least))
    )
    steep = math.exp(-(center**2) / 2) / math.sqrt(2 * math.pi)
    ratio = abs(d_blind) / d_inside
    slopes = (
        steep / math.sqrt(2) * (1 + ratio * d_blind / d_inside) * _steepness(inside.value),
        -steep * math.sqrt(2) * ratio * _steepness(blind.value),
    )
    low, high = (float(ndtr(end)) for end in (center - down, center + up))
    return _Forecast(value, low, high, slopes, correlation)


def _effect(auc: float) -> float:
    """Return d, by how many standard deviations normal scores of this AUC lie apart."""
    from scipy.special import ndtri

    # Away from where it would be infinite, or chance, by which bounds would be divided.
    kept = min(max(auc, _SMALLEST), 1 - _SMALLEST) if auc != 0.5 else 0.5 + _SMALLEST
    return float(math.sqrt(2) * ndtri(kept))


def _steepness(auc: float) -> float:
    """Return by how much d grows with the AUC."""
    return 2 * math.sqrt(math.pi) * math.exp(_effect(auc) ** 2 / 4)


def _shift(d_inside: float, d_blind: float) -> float:
    """Return the probit of the forecast; the blind view's effect is squared with its sign."""
    return (d_inside**2 - abs(d_blind) * d_blind) / (math.sqrt(2) * d_inside)


@dataclass(frozen=True)
class Record:
    """Record of forecasts where the outcome is known."""

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
    """Hold forecasts against what came."""
    came, expected, home = (np.asarray(x, dtype=float) for x in (outside, forecasts, inside))
    if not len(came) or not len(came) == len(expected) == len(home):
        raise EvaluationError(
            f"{len(expected)} forecasts and {len(came)} outcomes; a record needs one of each, and "
            "one collection at least."
        )
    known = ~np.isnan(came + expected + home)
    if not known.any():
        return Record(math.nan, math.nan, 0)
    errors = [float(np.abs(came - x)[known].mean()) for x in (expected, home)]
    return Record(errors[0], errors[1], int(known.sum()))
