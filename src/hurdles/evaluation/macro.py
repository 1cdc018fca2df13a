"""One AUC for all classes: the mean of one-vs-rest AUCs, with the patients' own interval.

Each class's AUC has its own interval (`auc_bounds`), and DeLong's covariance between classes
comes from the same patients. The bounds of the mean join both (MOVER), so that the interval is as
wide as a score interval where every image is ranked rightly, and no wider than the patients make it
elsewhere. With two classes the two AUCs are one and the same, and so is their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import check_level, mover_mean, mover_reach, normal_quantile
from hurdles.evaluation.delong import (
    AUC,
    AUCDifference,
    auc_bounds,
    common_degrees,
    compare_aucs,
    correlations,
    joint_covariance,
    judged_difference,
    logit_bounds,
)
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.predictions import Predictions, align
from hurdles.evaluation.statistics import PatientTable

_CHANCE = 0.5
_TOO_FEW = "images of fewer than two classes: there is nothing to tell apart"


def macro_auc(predictions: Predictions, *, level: float = 0.95) -> Estimate:
    """Return the mean over classes of the AUC of one against the rest.

    Chance is 0.5. Undefined, with the reason, where fewer than two classes have images.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837-845; Obuchowski, Biometrics
    1997;53:567-578; Zou and Donner, Stat Med 2008;27:1693-1702.

    Examples
    --------
    >>> table = Predictions.from_arrays(["a", "b"], y_true=list("aaaabbbb"),
    ...     y_prob=np.array([[p, 1 - p] for p in (0.9, 0.8, 0.7, 0.4, 0.6, 0.3, 0.2, 0.1)]),
    ...     images=list("ABCDEFGH"), groups=list("ABCDEFGH"))
    >>> print(macro_auc(table))
    0.938 [0.513, 0.995]
    """
    check_level(level)
    mean = _Mean.of(predictions, level)
    n_patients = len(np.unique(predictions.groups))
    if mean is None:
        return undefined(_TOO_FEW, level=level, n_images=len(predictions), n_patients=n_patients)
    absent = sorted(set(predictions.classes) - set(predictions.y_true.tolist()))
    note = f"no image of {', '.join(absent)}" if absent else ""
    bounds = (mean.value, mean.low, mean.high)
    return Estimate(*bounds, level, mean.method, len(predictions), n_patients, note)


def compare_macro_auc(a: Predictions, b: Predictions, *, level: float = 0.95) -> AUCDifference:
    """Compare two mean AUCs of the same images, ``a - b``.

    As from `hurdles.evaluation.delong.compare_aucs`, which it is for two classes.
    """
    check_level(level)
    one, two = _pair(a, b, level)
    if len(one.aucs) == len(two.aucs) == 1:
        return compare_aucs(one.aucs[0], two.aucs[0], level=level)
    return judged_difference(
        (one.value, two.value),
        [mean.logit_bounds(level) for mean in (one, two)],
        [mean.spread(level) for mean in (one, two)],
        one.covariance(two),
        alike=np.array_equal(one.moves, two.moves),
        level=level,
        degrees=common_degrees([*one.aucs, *two.aucs]),
        test="DeLong, paired, mean over classes",
        n_images=len(a),
        n_patients=len(np.unique(a.groups)),
    )


def share_above_chance(part: Predictions, whole: Predictions, *, level: float = 0.95) -> Estimate:
    """Return which share of what an AUC has above chance another AUC has, too.

    The interval holds every share for which *part's AUC above chance less that share of the
    whole's* may be nothing: MOVER-R, with DeLong's correlation over the images that both judge.

    ``(part - 0.5) / (whole - 0.5)`` of mean AUCs (`macro_auc`): 1 where the part does as well
    as the whole, below 0 where it does worse than chance. Undefined where the whole's own
    interval reaches chance, for then there is nothing to have a share of.

    Donner and Zou, Stat Methods Med Res 2012;21:347-359 (MOVER-R).
    """
    check_level(level)
    one, two = _pair(part, whole, level)
    n_patients = len(np.unique(part.groups))
    if two.low <= _CHANCE:
        why = (
            f"the whole's AUC is {two.value:.3f} [{two.low:.3f}, {two.high:.3f}], which may be "
            "chance: there is nothing to have a share of"
        )
        return undefined(why, level=level, n_images=len(part), n_patients=n_patients)
    covariance = one.covariance(two)
    correlation = max(-1.0, min(1.0, covariance / (one.spread(level) * two.spread(level))))
    low, high = _ratio_bounds(one, two, correlation)
    value = (one.value - _CHANCE) / (two.value - _CHANCE)
    method = f"MOVER-R, DeLong's correlation {correlation:.2f}"
    return Estimate(value, low, high, level, method, len(part), n_patients)


def class_aucs(predictions: Predictions) -> dict[str, AUC]:
    """Return the AUC of each class against the rest.

    In the order of the model's classes; of two classes the first alone, since both have the
    same AUC. Empty where fewer than two classes have images.
    """
    table = PatientTable.of(predictions)
    if len(table.present) < 2:
        return {}
    known = [c for c in table.present if c in table.classes]
    known = known[:1] if len(table.classes) == len(known) == 2 else known
    groups = predictions.groups
    patients = np.empty(table.n_patients, dtype=groups.dtype)
    patients[table.patients] = groups
    return {c: AUC.of_ranking(table.ranking(c), patients) for c in known}


def in_pairs(a: Predictions, b: Predictions) -> tuple[Predictions, Predictions]:
    """Return both tables with the same images and classes in the same order."""
    if sorted(a.classes) != sorted(b.classes):
        raise EvaluationError(
            f"the tables are of other classes ({', '.join(a.classes)}; {', '.join(b.classes)}); "
            "only AUCs of the same classes are compared in pairs."
        )
    return a, Predictions(align(a, b).frame[list(a.frame.columns)])


@dataclass(frozen=True, eq=False)
class _Mean:
    """A mean of AUCs, its bounds, and how each patient moves it."""

    #: One per class; a single one where there are two classes, whose AUCs are the same.
    aucs: tuple[AUC, ...]
    low: float  # bounds of the mean
    high: float
    method: str  # how they were made

    @classmethod
    def of(cls, predictions: Predictions, level: float) -> _Mean | None:
        """Return the mean; None where fewer than two classes have images."""
        aucs = tuple(class_aucs(predictions).values())
        if not aucs:
            return None
        bounds = [auc_bounds(auc, level) for auc in aucs]
        method = bounds[0][2] if len(aucs) == 1 else "MOVER of Newcombe, DeLong's covariances"
        return cls(aucs, *_joined(aucs, [b[:2] for b in bounds]), method)

    @property
    def value(self) -> float:
        """The mean."""
        return float(np.mean([auc.value for auc in self.aucs]))

    @property
    def moves(self) -> NDArray[np.float64]:
        """Part of each patient in each AUC, shape (AUCs, patients)."""
        return np.stack([auc.sick + auc.well for auc in self.aucs])

    def logit_bounds(self, level: float) -> tuple[float, float]:
        """Return the bounds that join the AUCs' textbook intervals."""
        return _joined(self.aucs, [logit_bounds(auc, level) for auc in self.aucs])

    def covariance(self, other: _Mean) -> float:
        """Return the covariance with another mean; 0 where it cannot be known."""
        mean = float(joint_covariance(self.aucs, other.aucs).mean())
        return 0.0 if math.isnan(mean) else mean

    def spread(self, level: float) -> float:
        """Return the standard error, or how far the interval reaches where that is none."""
        variance = self.covariance(self)
        if variance > 0:
            return math.sqrt(variance)
        return max(self.value - self.low, self.high - self.value) / normal_quantile(level)


def _joined(aucs: Sequence[AUC], bounds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the bounds of a mean of AUCs (MOVER) from theirs and DeLong's correlations.

    Where an AUC shows no variance its correlations are taken to be 1, the widest.
    """
    return mover_mean(
        [auc.value for auc in aucs], bounds, correlations(joint_covariance(aucs, aucs))
    )


def _pair(a: Predictions, b: Predictions, level: float) -> tuple[_Mean, _Mean]:
    """Return both means over the same images in the same order."""
    first, second = (_Mean.of(table, level) for table in in_pairs(a, b))
    if first is None or second is None:
        raise EvaluationError(f"{_TOO_FEW}.")
    return first, second


def _ratio_bounds(part: _Mean, whole: _Mean, correlation: float) -> tuple[float, float]:
    """Return the shares at which the difference's MOVER bound comes to nothing."""
    from scipy.optimize import brentq

    top, bottom = part.value - _CHANCE, whole.value - _CHANCE

    def gap(share: float, side: int) -> float:
        """Bound of ``part - share * whole``: upper with side 1, lower with side -1."""
        mine = part.high - part.value if side > 0 else part.value - part.low
        # Of what is taken away, the other end matters, unless a negative share adds it.
        down = (side > 0) == (share > 0)
        theirs = share * (whole.value - whole.low if down else whole.high - whole.value)
        return top - share * bottom + side * mover_reach(mine, theirs, correlation)

    center, step = top / bottom, 1.0
    while gap(center + step, 1) > 0 or gap(center - step, -1) < 0:
        step *= 2
    high = brentq(gap, center, center + step, args=(1,)) if gap(center, 1) > 0 else center
    low = brentq(gap, center - step, center, args=(-1,)) if gap(center, -1) < 0 else center
    return float(low), float(high)
