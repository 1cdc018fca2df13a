"""Sample sizes against the examples that were published with the calculations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hurdles.errors import EvaluationError
from hurdles.evaluation import sample_size
from hurdles.evaluation.sample_size import (
    Scores,
    auc_width,
    detectable_difference,
    patients_for_auc,
    patients_for_development,
    patients_for_ratio,
    patients_for_slope,
    scores_of_auc,
    supported_parameters,
)


@pytest.mark.parametrize(
    ("prevalence", "area", "mean", "sd", "ratio_width", "ratio", "slope", "by_area"),
    [
        # Riley 2021, mechanical heart valve failure, as the authors' program pmvalsampsize gives it
        (0.018, 0.8, -5.0, 2.5, 1.0, 905, 4544, 4252),
        # the same program with its defaults
        (0.2, 0.78, -1.75, 1.22, 0.2, 1538, 2958, 511),
    ],
)
def test_external_validation_as_published(
    prevalence, area, mean, sd, ratio_width, ratio, slope, by_area
):
    assert patients_for_auc(area, prevalence) == by_area
    # The authors step through standard errors by 0.0001, and simulate the slope's integrals.
    assert patients_for_ratio(prevalence, width=ratio_width) == pytest.approx(ratio, rel=0.003)
    scores = Scores((1.0,), (mean,), (sd,))
    assert patients_for_slope(scores) == pytest.approx(slope, rel=0.003)


def test_slope_of_a_classifier_known_by_its_area_as_published():
    assert patients_for_slope(scores_of_auc(0.8, 0.018)) == pytest.approx(17080, rel=0.005)


def test_development_as_published():
    found = patients_for_development(24, 0.174, cox_snell=0.288)  # pmsampsize's first example
    assert (found.shrinkage, found.optimism, found.prevalence) == (623, 662, 221)
    # BMJ 2020;368:m441: 30 parameters, R-squared 0.05
    assert patients_for_development(30, 0.05, cox_snell=0.05).needed == 5249


def test_scores_of_an_area_have_this_area_and_prevalence_and_are_calibrated():
    scores = scores_of_auc(0.85, 0.3)
    rng = np.random.default_rng(0)
    n = 40_000
    negative = rng.normal(scores.means[0], scores.sds[0], int(n * scores.weights[0]))
    positive = rng.normal(scores.means[1], scores.sds[1], int(n * scores.weights[1]))
    above = np.searchsorted(np.sort(negative), positive).mean() / len(negative)
    assert above == pytest.approx(0.85, abs=0.005)
    risk = 1 / (1 + np.exp(-np.concatenate([negative, positive])))
    truth = np.repeat([0, 1], [len(negative), len(positive)])
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        inside = (risk >= low) & (risk < high)
        assert truth[inside].mean() == pytest.approx(risk[inside].mean(), abs=0.02)


def test_width_and_sample_are_each_others_inverse():
    n = patients_for_auc(0.9, 0.25, width=0.08)
    assert auc_width(0.9, round(n * 0.25), n - round(n * 0.25)) == pytest.approx(0.08, abs=0.002)
    assert auc_width(0.9, 20, 400) > auc_width(0.9, 40, 400)


def test_supported_parameters_ask_for_no_more_patients_than_there_are():
    for n in (50, 300, 2000):
        for prevalence in (0.1, 0.5):
            p = supported_parameters(n, prevalence)
            if p:
                assert patients_for_development(p, prevalence).shrinkage <= n
            assert patients_for_development(p + 1, prevalence).shrinkage > n


def test_approximate_differences_are_close_to_exact_ones_where_they_take_over(monkeypatch):
    n = sample_size.EXACT_UP_TO
    exact = detectable_difference(n, discordance=0.15)
    monkeypatch.setattr(sample_size, "EXACT_UP_TO", 0)
    assert detectable_difference(n, discordance=0.15) == pytest.approx(exact, abs=0.003)
    assert math.isnan(detectable_difference(20, discordance=0.05))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: patients_for_auc(0.5, 0.2), "give 0.5 < AUC < 1"),
        (lambda: patients_for_ratio(0.0), "0 < prevalence < 1"),
        (lambda: auc_width(0.9, 0, 5), "needs one of each"),
        (lambda: patients_for_development(0, 0.2), "at least one parameter"),
        (lambda: patients_for_development(5, 0.01, cox_snell=0.5), "the most at this prevalence"),
    ],
)
def test_what_cannot_be_is_refused(call, match):
    with pytest.raises(EvaluationError, match=match):
        call()
