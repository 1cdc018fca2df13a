"""Average precision, and measures at a condition that a reader states."""

from __future__ import annotations

import math

import numpy as np
from draws import Answers, TwoGroups
from scipy.special import expit, ndtr, ndtri
from tally import Tally, part

from hurdles.evaluation.bounds import spread_bounds, wilson_bounds
from hurdles.evaluation.conditions import Conditions, at_conditions
from hurdles.evaluation.intervals import draw_patients, estimate
from hurdles.evaluation.statistics import AtQuantile, PatientTable, Ranking

RESAMPLES = 500


def _table(codes, sick, score, patients):
    told = Answers.of_two(sick, score, codes)
    return PatientTable(("x", "y"), told.y_true, told.y_pred, told.y_prob, codes, patients)


@part
def average_precision(tally: Tally, rng, sets: int, *, auc: float, **population):
    """Measure the average precision."""
    groups = TwoGroups(**population)
    shift, known = groups.shift_of(auc), "numerical integral"
    z = np.linspace(-9, 9, 20001)
    right, mass = groups.positives * ndtr(-z), np.exp(-z * z / 2)
    beside = right + groups.negatives * ndtr(-z - shift)
    truth = float((mass * right / beside).sum() / mass.sum())
    weights = next(draw_patients(groups.patients, 200, 0))
    for _ in range(sets):
        codes, sick, score = groups.draw(rng, shift)
        table = _table(codes, sick, score - shift / 2, groups.patients)
        found = estimate(table, "average_precision", "x")
        tally.held("Wilson, jackknife", found.low, found.high, truth, known)
        drawn = table.statistic("average_precision", "x").at(weights)
        tally.held("percentile", *np.nanquantile(drawn, [0.025, 0.975]), truth, known, rival=True)
        # Boyd, Eng and Page 2013: as if it were a proportion of the images of the class.
        value = min(max(found.value, 1e-9), 1 - 1e-9)
        center = math.log(value / (1 - value))
        half = 1.96 / math.sqrt(sick.sum() * value * (1 - value))
        low, high = expit(center - half), expit(center + half)
        tally.held("logit", float(low), float(high), truth, known, rival=True)


@part
def read_off(tally: Tally, rng, sets: int, *, auc: float, **population):
    """Measure the sensitivity at a specificity of 0.95 that is read off the same images."""
    groups = TwoGroups(**population)
    shift = groups.shift_of(auc)
    truth, known = float(ndtr(shift - ndtri(0.95))), "closed form"
    weights = next(draw_patients(groups.patients, RESAMPLES, 0))
    for _ in range(sets):
        codes, sick, score = groups.draw(rng, shift)
        statistic = AtQuantile(Ranking.of(sick, score, codes), 0.95)
        value = float(statistic.at(np.ones((1, groups.patients)))[0])
        drawn = statistic.at(weights)
        drawn = drawn[~np.isnan(drawn)]
        counts = np.bincount(codes[sick], minlength=groups.patients).astype(float)
        bounds = spread_bounds(value, float(drawn.var(ddof=1)), counts)
        tally.held("Wilson, resamples", *bounds, truth, known)
        tally.held("percentile", *np.quantile(drawn, [0.025, 0.975]), truth, known, rival=True)
        alone = wilson_bounds(value, counts.sum())
        tally.held("as if fixed", *alone, truth, known, rival=True)


@part
def net_benefit(tally: Tally, rng, sets: int, *, patients: int, images, share, auc, rho=0.5):
    """Measure net benefit from a probability of 0.1 on."""
    asked = Conditions(benefit_at=(0.1,)), Conditions(benefit_at=(0.1,), prevalence={"x": 0.02})
    for _ in range(sets):
        positives = int(np.clip(rng.binomial(patients, share), 1, patients - 1))
        groups = TwoGroups(positives, patients - positives, images, rho=rho)
        shift = groups.shift_of(auc)
        codes, sick, score = groups.draw(rng, shift)
        cut = math.log(1 / 9) + shift / 2
        hit, false = float(ndtr(shift - cut)), float(ndtr(-cut))
        truths = (
            share * hit - (1 - share) * false / 9,
            (1 - share) * (1 - false) / 9 - share * (1 - hit),
            0.02 * hit - 0.98 * false / 9,
        )
        told = Answers.of_two(sick, score - shift / 2, codes)
        own, known = (
            {r.measure: r for r in at_conditions(told, c) if r.class_ == "x"} for c in asked
        )
        for name, row, truth in (
            ("net benefit", own["net_benefit"], truths[0]),
            ("above acting on everybody", own["net_benefit_over_all"], truths[1]),
            ("at a prevalence of 2 %", known["net_benefit"], truths[2]),
        ):
            found = row.estimate
            tally.held(name, found.low, found.high, truth, "closed form")
