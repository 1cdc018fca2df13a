"""Learning curves: known laws are found again, and nothing is said of what lies far off."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.optimize import curve_fit

from hurdles.errors import EvaluationError
from hurdles.evaluation.learning import FARTHEST, LearningCurve, Point, fit_power_law
from hurdles.evaluation.predictions import Predictions

SIZES = np.array([15.0, 30.0, 60.0, 120.0, 240.0])


@pytest.mark.parametrize(("a", "b", "c"), [(0.95, 1.0, 0.7), (1.0, 0.9, 0.3), (0.8, 0.0, 0.05)])
def test_a_law_is_found_again(a, b, c):
    values = a - b * SIZES**-c
    law = fit_power_law(SIZES, values[None])
    assert law.at(480.0)[0] == pytest.approx(a - b * 480.0**-c, abs=2e-3)
    assert (law.a <= 1).all()


def test_it_fits_as_well_as_scipy_does():
    rng = np.random.default_rng(0)
    values = 0.93 - 0.8 * SIZES**-0.5 + rng.normal(0, 0.01, (20, 5))
    law = fit_power_law(SIZES, values)

    def power(n, a, b, c):
        return a - b * n**-c

    for row, y in enumerate(values):
        bounds = ([0, 0, 0.05], [1, np.inf, 2.0])
        theirs, _ = curve_fit(power, SIZES, y, p0=[0.9, 0.8, 0.5], bounds=bounds, maxfev=20000)
        ours = [float(part[row]) for part in law]
        misfits = [float(((power(SIZES, *p) - y) ** 2).sum()) for p in (ours, theirs)]
        assert misfits[0] <= misfits[1] * 1.06 + 1e-9


def curve(*, apart=(0.5, 1.0, 1.4), seeds=3, patients=60, resamples=200) -> LearningCurve:
    rng = np.random.default_rng(1)
    sick = np.arange(patients) % 2 == 0
    points = []
    for seed in range(seeds):
        for share, distance in zip((0.25, 0.5, 1.0), apart, strict=True):
            score = distance * sick + rng.normal(size=patients)
            p = 1 / (1 + np.exp(-score))
            test = Predictions.from_arrays(
                ["sick", "well"],
                y_true=np.where(sick, "sick", "well").tolist(),
                y_prob=np.column_stack([p, 1 - p]),
                images=[f"i{n}" for n in range(patients)],
                groups=[f"p{n}" for n in range(patients)],
            )
            points.append(Point(share, seed, int(200 * share), test))
    return LearningCurve(tuple(points), resamples=resamples)


def test_more_patients_are_spoken_of_up_to_a_limit():
    done = curve()
    near, far = done.expected(2.0), done.expected(FARTHEST)
    assert done.measured()[-1].value == pytest.approx(done.aucs[-1].mean())
    assert near.low <= near.value <= near.high
    assert far.high - far.low >= near.high - near.low - 0.02
    assert done.gain(2.0).value == pytest.approx(near.value - done.law.at(200.0)[0])
    with pytest.raises(EvaluationError, match="not followed beyond 4 times"):
        done.expected(4.5)
    text = "\n".join(done.lines())
    assert "2 times as many (400)" in text
    assert "was not measured" in text
    json.dumps(done.to_dict(), allow_nan=False)


def test_a_flat_curve_promises_nothing():
    lines = curve(apart=(1.0, 1.0, 1.0)).lines()
    assert sum("inconclusive" in line for line in lines) == 2


def test_intervals_shrink_with_the_tested_patients():
    few, many = curve(patients=40), curve(patients=400)
    widths = [each.measured()[-1].high - each.measured()[-1].low for each in (few, many)]
    assert widths[1] < widths[0] / 2


def test_one_seed_says_so():
    assert "one seed" in curve(seeds=1).expected(1.0).note


def test_curves_that_cannot_be_are_refused():
    done = curve()
    with pytest.raises(EvaluationError, match="every seed with every share"):
        LearningCurve(done.points[:-1])
    with pytest.raises(EvaluationError, match="do not show how a curve bends"):
        LearningCurve(tuple(p for p in done.points if p.share > 0.3))
    with pytest.raises(EvaluationError, match="numbers of patients do not show"):
        fit_power_law([10, 10, 20], np.zeros((1, 3)))
