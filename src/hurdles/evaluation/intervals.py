"""Intervals by patient.

Which interval belongs to which measure was decided by coverage (``bench/coverage`` measures it):

- A proportion (accuracy, sensitivity, specificity, PPV, NPV) has Wilson's score interval. Images of
  one patient are not independent: the number of images is divided by the design effect first, and
  where nothing was ever wrong, every patient counts once.
- F1 is a monotone function of the plain proportion TP / (TP + FP + FN): Wilson's interval of that.
- Balanced accuracy is a mean of proportions: their Wilson intervals are combined (MOVER).
- AUC has Newcombe's score interval, widened until it agrees with DeLong's variance over patients
  (`hurdles.evaluation.delong`). The logit interval of that variance, and the percentiles of a
  bootstrap, are too narrow near 1 with few images of a class.
- Average precision has Wilson's interval, as wide as its variance over patients (infinitesimal
  jackknife), and never narrower than that of a proportion of the patients of the class.
- The diagnostic odds ratio has Woolf's interval on the log scale, each side's counts divided by its
  design effect; where a count is zero, one end is open.

None of them is drawn, and none collapses to a point where every image is right, as a bootstrap
does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import (
    check_level,
    design_effect,
    mover_mean,
    odds_ratio_bounds,
    proportion_bounds,
    spread_bounds,
)
from hurdles.evaluation.delong import AUC, auc_bounds
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.metrics import get_metric
from hurdles.evaluation.statistics import (
    Floats,
    Fraction,
    MeanOfFractions,
    OddsRatio,
    PatientTable,
    PrecisionCurve,
    Ranking,
    Statistic,
    together,
)

#: Cells of weights in memory at a time (float64: 32 MB).
_CELLS = 4_000_000
#: A bootstrap in which a larger share of resamples has no value is not used.
MAX_UNDEFINED = 0.1


def draw_patients(n_patients: int, n_resamples: int, seed: int) -> Iterator[Floats]:
    """Draw patients with replacement, a block of resamples at a time; the blocks do not matter.

    A row tells how often each patient was drawn; float, shape (resamples, patients).
    """
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // n_patients)
    for start in range(0, n_resamples, rows):
        b = min(rows, n_resamples - start)
        drawn = rng.integers(0, n_patients, size=(b, n_patients))
        flat = (drawn + n_patients * np.arange(b)[:, None]).ravel()
        yield np.bincount(flat, minlength=b * n_patients).reshape(b, n_patients).astype("float64")


def replicate(
    statistics: Sequence[Statistic], n_patients: int, *, n_resamples: int = 2000, seed: int = 0
) -> list[Floats]:
    """Return the values of each statistic over the same resamples of patients.

    NaN where a resample has no value.
    """
    if n_resamples < 20:
        raise EvaluationError(f"{n_resamples} resamples say nothing; give at least 20, best 2000.")
    at = together(statistics)
    blocks = [at(weights) for weights in draw_patients(n_patients, n_resamples, seed)]
    return [np.concatenate(values) for values in zip(*blocks, strict=True)]


def estimate(
    table: PatientTable, metric: str, class_: str | None = None, *, level: float = 0.95
) -> Estimate:
    """Return a measure with the interval that the head of this module assigns to it."""
    check_level(level)
    statistic = table.statistic(metric, class_)
    if not isinstance(statistic, Ranking):
        return estimate_of(statistic, metric, class_, level=level)
    value = float(statistic.at(np.ones((1, table.n_patients)))[0])
    size = {"n_images": statistic.n_images, "n_patients": statistic.n_patients}
    if math.isnan(value):
        return undefined(get_metric(metric).why_undefined(class_ or ""), level=level, **size)
    low, high, method = auc_bounds(AUC.of_ranking(statistic, table.numbers), level)
    return Estimate(value, low, high, level, method, size["n_images"], size["n_patients"])


def estimate_of(
    statistic: Statistic, metric: str, class_: str | None = None, *, level: float = 0.95
) -> Estimate:
    """Return a measure other than an AUC, by its statistic, as `estimate` does."""
    value = float(statistic.at(np.ones((1, len(statistic.counted))))[0])
    size = {"n_images": statistic.n_images, "n_patients": statistic.n_patients}
    if math.isnan(value):
        return undefined(get_metric(metric).why_undefined(class_ or ""), level=level, **size)
    note = ""
    if isinstance(statistic, Fraction):
        low, high, method = _fraction_interval(statistic, level)
    elif isinstance(statistic, MeanOfFractions):
        # Independent proportions are combined (MOVER): classes hardly ever share a patient.
        values = [float(f.part.sum() / f.whole.sum()) for f in statistic.fractions]
        bounds = [_fraction_interval(f, level)[:2] for f in statistic.fractions]
        low, high = mover_mean(values, bounds, np.eye(len(values)))
        method = "Wilson, combined over classes"
    elif isinstance(statistic, PrecisionCurve):
        low, high = spread_bounds(value, statistic.variance(), statistic.positives, level)
        method = "Wilson, jackknife variance over patients"
    else:
        assert isinstance(statistic, OddsRatio)
        low, high, method, note = _odds_interval(statistic, value, level)
    return Estimate(value, low, high, level, method, note=note, **size)


def _fraction_interval(statistic: Fraction, level: float) -> tuple[float, float, str]:
    part, whole = statistic.proportion
    low, high = proportion_bounds(part, whole, level)
    images, method = float(whole.sum()), "Wilson"
    if statistic.n_patients < images:
        worth = images / design_effect(part, whole)
        method += f", {images:.0f} images worth {worth:.1f}"
    if statistic.harmonic:
        low, high = (2 * bound / (1 + bound) for bound in (low, high))
        method += ", of TP/(TP+FP+FN)"
    return low, high, method


def _odds_interval(
    statistic: OddsRatio, value: float, level: float
) -> tuple[float, float, str, str]:
    sides = (statistic.sensitivity, statistic.specificity)
    one, two = ((side.part, side.whole) for side in sides)
    low, high = odds_ratio_bounds(one, two, level)
    method = "Woolf, on the log scale"
    if any(side.n_patients < side.n_images for side in sides):
        method += ", each side by its design effect"
    note = ""
    if not statistic.cells.sum(axis=1).all():
        note = "one of the four counts is zero: 0.5 is added to each, and one end is open"
    # Half an image weighs more among few patients than among their many images.
    return min(low, value), max(high, value), method, note
