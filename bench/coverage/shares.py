"""Proportions, and what is made of proportions."""

from __future__ import annotations

import math

import numpy as np
from draws import agreeing, averages, beta_binomial, grown, possible, sizes
from scipy.stats import binom
from tally import Tally, part

from hurdles.evaluation.bounds import (
    exact_bounds,
    odds_ratio_bounds,
    predictive_bounds,
    proportion_bounds,
    wilson_bounds,
)
from hurdles.evaluation.cluster_size import association, weighted_share_bounds
from hurdles.evaluation.intervals import draw_patients, estimate
from hurdles.evaluation.statistics import Fraction, PatientTable


@part
def wilson(tally: Tally, rng, sets: int, *, images: int, p: float):
    """Measure a share of independent images: every outcome is gone through."""
    del rng, sets
    bounds = np.array([wilson_bounds(k / images, images) for k in range(images + 1)])
    held = (bounds[:, 0] <= p) & (p <= bounds[:, 1])
    share = float(binom.pmf(np.arange(images + 1), images, p)[held].sum())
    tally.exact("Wilson", share, "coverage")


@part
def proportion(
    tally: Tally,
    rng,
    sets: int,
    *,
    patients: int,
    images,
    p: float,
    rho: float,
    fading=0.0,
    resamples=0,
    asked=False,
):
    """Measure a share of images of patients; with `fading`, lower the more images one has."""

    def chance(number):
        return p - fading * (grown(number, images) - 0.5)

    by_image, by_patient = averages(chance(possible(images)[0]), images)
    weights = next(draw_patients(patients, resamples, 0)) if resamples else None
    for _ in range(sets):
        number = sizes(rng, patients, images)
        part, whole = beta_binomial(rng, number, chance(number), rho), number.astype(float)
        tally.held("by image", *proportion_bounds(part, whole), by_image, "closed form")
        once = weighted_share_bounds(part, whole)
        tally.held("each patient once", *once, by_patient, "closed form")
        seen, n = part.sum() / whole.sum(), whole.sum()
        alone = wilson_bounds(seen, n)
        tally.held("as if independent", *alone, by_image, "closed form", rival=True)
        if weights is not None:
            ends = np.nanquantile(Fraction(part, whole).at(weights), [0.025, 0.975])
            tally.held("percentile", *ends, by_image, "closed form", rival=True)
        if asked:
            told = association(whole, part / whole)
            tally.tested("sizes go with answers", told, null=not fading)


@part
def lower_end(tally: Tally, rng, sets: int, *, patients: int, images, p: float, rho: float = 0.0):
    """Ask whether the lower end of a share that flips passes it, at the level of eleven shares."""
    level, kind = 1 - 0.05 / 11, "type I at 0.23 %"
    rivals = {"exact": exact_bounds, "Wilson": proportion_bounds}
    if images == 1:
        for name, bounds in rivals.items():
            chance = 0.0
            for k in range(patients + 1):
                part = (np.arange(patients) < k).astype(float)
                if bounds(part, np.ones(patients), level)[0] > p:
                    chance += float(binom.pmf(k, patients, p))
            tally.exact(name, chance, kind, rival=name == "Wilson")
        return
    for _ in range(5 * sets):
        number = sizes(rng, patients, images)
        part = beta_binomial(rng, number, np.full(patients, p), rho)
        for name, bounds in rivals.items():
            passed = bounds(part, number.astype(float), level)[0] > p
            tally.decided(name, passed, kind, rival=name == "Wilson")


@part
def odds_ratio(tally: Tally, rng, sets: int, *, patients, images, right, rho: float):
    """Measure the diagnostic odds ratio."""
    truth = math.prod(p / (1 - p) for p in right)
    for _ in range(sets):
        sides = list(_sides(rng, patients, images, right, rho))
        tally.held("by patient", *odds_ratio_bounds(*sides), truth, "closed form")
        alone = odds_ratio_bounds(*map(_apart, sides))
        tally.held("as if independent", *alone, truth, "closed form", rival=True)


@part
def predictive(tally: Tally, rng, sets: int, *, patients, images, right, rho: float):
    """Measure PPV and NPV where 2 % have the disease."""
    sensitivity, specificity = right
    odds = 0.02 / 0.98
    up = odds * sensitivity / (1 - specificity)
    down = specificity / (1 - sensitivity) / odds
    for _ in range(sets):
        hit, passed = _sides(rng, patients, images, right, rho)
        for name, one, two, share, ratio in (
            ("PPV", hit, (passed[1] - passed[0], passed[1]), 0.02, up),
            ("NPV", passed, (hit[1] - hit[0], hit[1]), 0.98, down),
        ):
            truth = ratio / (1 + ratio)
            tally.held(name, *predictive_bounds(one, two, share), truth, "closed form")
            alone = predictive_bounds(_apart(one), _apart(two), share)
            tally.held(f"{name}, as if independent", *alone, truth, "closed form", rival=True)


def _sides(rng, patients, images, right, rho):
    for n, p in zip(patients, right, strict=True):
        number = sizes(rng, n, images)
        yield beta_binomial(rng, number, np.full(n, p), rho), number.astype(float)


def _apart(side):
    """Return the same counts as if every image were of another patient."""
    right, whole = (int(each.sum()) for each in side)
    return (np.arange(whole) < right).astype(float), np.ones(whole)


_CONFUSED = {
    "good": np.array([[0.85, 0.1, 0.05], [0.01, 0.97, 0.02], [0.01, 0.03, 0.96]]),
    "excellent": np.array([[0.98, 0.01, 0.01], [0.0, 0.99, 0.01], [0.0, 0.01, 0.99]]),
}


@part
def classes(tally: Tally, rng, sets: int, *, patients: int, images, model: str, rho: float = 0.0):
    """Measure F1 and balanced accuracy of three classes of which the first is rare (8 %)."""
    names, prior, rows = np.array(["a", "b", "c"]), np.array([0.08, 0.46, 0.46]), _CONFUSED[model]
    joint = prior[:, None] * rows
    truths = {
        "balanced_accuracy": float(np.diag(rows).mean()),
        "f1": float(2 * joint[0, 0] / (joint[0].sum() + joint[:, 0].sum())),
    }
    reach = rows.cumsum(axis=1)
    for _ in range(sets):
        of_patient = rng.choice(3, size=patients, p=prior)
        if len(np.unique(of_patient)) < 3:
            for metric in truths:
                tally.held(metric, math.nan, math.nan, truths[metric], "closed form")
            continue
        codes = np.repeat(np.arange(patients), sizes(rng, patients, images))
        known = of_patient[codes]
        told = agreeing(rng, codes, patients, rho)
        said = (told[:, None] > reach[known]).sum(axis=1).clip(0, 2)
        table = PatientTable(
            tuple(names), names[known], names[said], np.eye(3)[said], codes, patients
        )
        for metric, truth in truths.items():
            found = estimate(table, metric, "a" if metric == "f1" else None)
            tally.held(metric, found.low, found.high, truth, "closed form")
