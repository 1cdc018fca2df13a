"""Whether probabilities are true (slope, intercept, calibration error, Brier score); promises."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pandas as pd
from areas import LARGE
from draws import Answers, agreeing, names_of, noise, possible, sizes
from scipy.special import expit, ndtr
from tally import Tally, part

from hurdles.evaluation.calibration import (
    brier_error,
    calibration_error,
    calibration_intercept,
    calibration_slope,
)
from hurdles.evaluation.conformal import prediction_sets
from hurdles.evaluation.decisions import fix_rejection
from hurdles.lungs.mask import mean_estimate

#: Log-odds that models give vary so much.
_SPREAD = 1.2


def _answers(rng, patients, images, log_odds, slope, shift, rho):
    """Draw log-odds L and whether it is so, with probability expit(shift + slope L)."""
    codes = np.repeat(np.arange(patients), sizes(rng, patients, images))
    said = log_odds + _SPREAD * noise(rng, codes, patients, rho)
    sick = agreeing(rng, codes, patients, rho) < expit(shift + slope * said)
    return Answers.of_two(sick, said, codes)


@part
def recalibration(
    tally: Tally, rng, sets: int, *, patients: int, images, log_odds, slope, shift=0.0, rho=0.5
):
    """Fit the slope, and where it is 1 the intercept, of a model with two classes."""
    for _ in range(sets):
        told = _answers(rng, patients, images, log_odds, slope, shift, rho)
        found = calibration_slope(told)
        tally.held("slope", found.low, found.high, slope, "closed form")
        wrong = None if math.isnan(found.low) else not found.low <= 1 <= found.high
        tally.decided("slope is not 1", wrong, "type I" if slope == 1 else "power")
        if slope == 1:
            found = calibration_intercept(told, "x")
            tally.held("intercept", found.low, found.high, shift, "closed form")
            wrong = None if math.isnan(found.low) else not found.low <= 0 <= found.high
            tally.decided("intercept is not 0", wrong, "type I" if shift == 0 else "power")


@part
def calibration(tally: Tally, rng, sets: int, *, patients: int, images, slope, rho=0.5):
    """Measure the expected calibration error of a model with two classes."""
    truth, known = _true_error(patients, images, slope), f"sample of {LARGE:,} images"
    for _ in range(sets):
        told = _answers(rng, patients, images, 0.0, slope, 0.0, rho)
        found = calibration_error(told)
        tally.held("calibration error", found.low, found.high, truth, known)
        tally.decided("error above 0", found.low > 0, "type I" if slope == 1 else "power")


@lru_cache
def _true_error(patients: int, images, slope: float) -> float:
    """Return the error in bins of equal mass of the population, as many as the sample has."""
    if slope == 1:
        return 0.0
    rng = np.random.default_rng(1)
    number, chances = possible(images)
    n = int(patients * (number @ chances))
    said = _SPREAD * rng.normal(size=LARGE)
    sure, right = expit(np.abs(said)), expit(slope * np.abs(said))
    order = np.argsort(sure)
    gaps = [
        (sure[rows] - right[rows]).mean()
        for rows in np.array_split(order, max(1, min(10, n // 20)))
    ]
    return float(np.abs(gaps).mean())


@part
def brier(tally: Tally, rng, sets: int, *, patients: int, images, slope, rho=0.5):
    """Measure the Brier score of a model with two classes."""
    at, weight = np.polynomial.hermite_e.hermegauss(80)
    p, q = expit(_SPREAD * at), expit(slope * _SPREAD * at)
    truth = float(weight @ (2 * (q * (1 - p) ** 2 + (1 - q) * p**2)) / weight.sum())
    for _ in range(sets):
        told = _answers(rng, patients, images, 0.0, slope, 0.0, rho)
        found = brier_error(told)
        tally.held("Brier score", found.low, found.high, truth, "numerical integral")


@part
def promises(tally: Tally, rng, sets: int, *, patients: int, images, rho=0.5):
    """Ask whether a new patient has his class in all his sets, and a new image is accepted."""
    for _ in range(sets):
        codes = np.repeat(np.arange(patients), sizes(rng, patients, images))
        score = 1.5 + noise(rng, codes, patients, rho)
        told = Answers.of_two(np.ones(len(codes), bool), score, codes)
        held = _Validation(told)
        rule = prediction_sets(held, coverage=0.9)
        new = sizes(rng, 1, images)
        p = expit(1.5 + noise(rng, np.zeros(new[0], int), 1, rho))
        inside = rule.contain(np.column_stack([p, 1 - p]))[:, 0].all()
        tally.decided("prediction set holds the class", inside, "at least 90 %")
        limit = fix_rejection(-score, acceptance=0.95)
        accepted = not limit.rejects(-np.log(p[:1] / (1 - p[:1])))[0]
        tally.decided("image is accepted", accepted, "at least 95 %")


class _Validation(Answers):
    """Drawn answers of which every patient is known."""

    def __init__(self, told: Answers) -> None:
        super().__init__(told.classes, told.y_true, told.y_prob, told.groups)

    @property
    def unknown(self):
        return np.zeros(len(self), bool)


@part
def dice(tally: Tally, rng, sets: int, *, patients: int):
    """Measure the mean Dice of lungs, most near 0.96 and a few far below."""
    at, weight = np.polynomial.hermite_e.hermegauss(80)
    truth = float(weight @ _dice(at) / weight.sum())
    names = names_of(np.arange(patients))
    for _ in range(sets):
        scores = pd.DataFrame({"group": names, "dice": _dice(rng.normal(size=patients))})
        found = mean_estimate(scores, "dice", n_resamples=500)
        tally.held("mean Dice", found.low, found.high, truth, "numerical integral")


def _dice(z):
    return ndtr(1.8 + 0.45 * z)
