"""The temperature, against SciPy's minimum and scikit-learn's regression on the same likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_samples import Answers
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from hurdles.evaluation.calibration import inverse_temperature, tempered
from hurdles.evaluation.decisions import argmax_prediction
from hurdles.evaluation.predictions import Predictions


def table(logits, truth, groups=None, kind=Predictions):
    names = [f"c{k}" for k in range(logits.shape[1])]
    n = len(logits)
    return kind.from_arrays(
        names,
        y_true=[names[k] for k in truth],
        y_prob=softmax(logits, axis=1),
        images=[str(i) for i in range(n)],
        groups=[str(g) for g in (range(n) if groups is None else groups)],
    )


def drawn(rng, n, classes, factor):
    """Return logits whose true probabilities are softmax(factor * logits), and classes by these."""
    logits = rng.normal(0, 3, (n, classes))
    p = softmax(factor * logits, axis=1)
    return logits, np.array([rng.choice(classes, p=row) for row in p])


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_it_is_the_minimum_that_scipy_has(classes, factor):
    rng = np.random.default_rng(classes)
    logits, truth = drawn(rng, 200, classes, factor)

    def loss(log_factor):
        log_p = log_softmax(np.exp(log_factor) * logits, axis=1)
        return -log_p[np.arange(len(truth)), truth].sum()

    best = minimize_scalar(loss, bounds=(-6, 6), method="bounded", options={"xatol": 1e-10})
    assert inverse_temperature(table(logits, truth)).value == pytest.approx(
        np.exp(best.x), rel=1e-5
    )


def test_of_two_classes_it_is_a_logistic_regression_without_intercept():
    logits, truth = drawn(np.random.default_rng(3), 150, 2, 0.6)
    odds = logits[:, [1]] - logits[:, [0]]
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    slope = fit.fit(odds, truth).coef_[0, 0]
    assert inverse_temperature(table(logits, truth)).value == pytest.approx(slope, rel=1e-5)


def test_its_interval_holds_the_true_one():
    rng, inside = np.random.default_rng(0), []
    for _ in range(200):
        logits, truth = drawn(rng, 80, 3, 0.5)
        factor = inverse_temperature(table(logits, truth, kind=Answers))
        inside.append(factor.low <= 0.5 <= factor.high)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_copies_of_images_do_not_make_it_surer():
    logits, truth = drawn(np.random.default_rng(1), 60, 3, 0.5)
    one = inverse_temperature(table(logits, truth))
    three = inverse_temperature(
        table(np.repeat(logits, 3, 0), np.repeat(truth, 3), np.repeat(range(60), 3))
    )
    assert three.value == pytest.approx(one.value)
    assert three.high - three.low == pytest.approx(one.high - one.low, rel=0.05)


@given(st.floats(0.01, 20), st.integers(0, 999))
def test_it_changes_no_answer_and_keeps_the_sum(factor, seed):
    p = np.random.default_rng(seed).dirichlet(np.ones(4), 20)
    after = tempered(p, factor)
    assert after.sum(axis=1) == pytest.approx(1)
    names = list("abcd")
    assert (argmax_prediction(names, after) == argmax_prediction(names, p)).all()


def test_one_leaves_probabilities_as_they_are():
    p = np.array([[1.0, 0.0], [0.3, 0.7], [1e-200, 1.0]])
    assert tempered(p, 1.0) == pytest.approx(p)


def test_where_every_image_is_named_rightly_there_is_none():
    factor = inverse_temperature(table(np.eye(3)[[0, 1, 2, 0]] * 2, [0, 1, 2, 0]))
    assert not factor.is_defined
    assert "named rightly" in factor.note


def test_where_the_answers_are_wrong_throughout_there_is_none():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60)
    logits = -2 * np.eye(3)[truth] + rng.normal(0, 0.3, (60, 3))
    factor = inverse_temperature(table(logits, truth))
    assert not factor.is_defined


def test_two_patients_are_too_few():
    logits, truth = drawn(np.random.default_rng(1), 20, 2, 0.5)
    factor = inverse_temperature(table(logits, truth, groups=[i % 2 for i in range(20)]))
    assert "three patients" in factor.note


def test_equal_probabilities_have_none():
    assert not inverse_temperature(table(np.zeros((9, 2)), [0, 1] * 4 + [0])).is_defined
