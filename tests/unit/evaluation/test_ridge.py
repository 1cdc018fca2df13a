"""Our regression against scikit-learn's, which takes its time: the same optimum."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hurdles.evaluation.ridge import regressions

STRENGTHS = (1e-4, 1e-2, 1.0)


def told(n, wide, classes, seed, apart=1.0):
    """Features of mixed units, one of them constant, some nearly alike, that tell a class."""
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b", "c"][:classes])[np.arange(n) % classes]
    features = rng.normal(size=(n, wide)) @ rng.normal(size=(wide, wide)) / wide**0.5
    features[:, : wide // 2] += apart * (labels[:, None] == "b")
    features = features * 10.0 ** rng.uniform(-3, 3, wide) + rng.uniform(-5, 5, wide)
    features[:, -1] = 0.1
    return features, labels


def slowly(features, labels, strength):
    plain = LogisticRegression(C=strength, tol=1e-10, max_iter=100_000)
    return make_pipeline(StandardScaler(), plain).fit(features, labels)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("n", "wide"), [(40, 120), (150, 12), (60, 60)])
def test_the_optimum_is_that_of_scikit_learn(n, wide, classes):
    every, labels = told(2 * n, wide, classes, seed=n)
    features, others, labels = every[:n], every[n:], labels[:n]
    for strength, quick in zip(STRENGTHS, regressions(features, labels, STRENGTHS), strict=True):
        slow = slowly(features, labels, strength)
        assert quick.labels.tolist() == slow.classes_.tolist()
        for table in (features, others):
            answers = quick.probabilities(table)
            assert answers.sum(axis=1) == pytest.approx(1)
            assert np.abs(answers - slow.predict_proba(table)).max() < 1e-4


def test_where_it_starts_changes_nothing():
    features, labels = told(90, 30, 3, seed=5)
    (start,) = regressions(features[:60], labels[:60], [1.0])
    (cold,), (warm,) = (regressions(features, labels, [1.0], start=s) for s in (None, start))
    apart = np.abs(cold.probabilities(features) - warm.probabilities(features)).max()
    assert 0 < apart < 1e-4


def test_a_start_of_other_classes_is_left():
    features, labels = told(90, 30, 3, seed=5)
    two = labels != "c"
    (start,) = regressions(features[two], labels[two], [1.0])
    (cold,), (other,) = (regressions(features, labels, [1.0], start=s) for s in (None, start))
    assert (cold.probabilities(features) == other.probabilities(features)).all()


def test_separable_classes_and_no_feature_at_all():
    x = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    (apart,) = regressions(x, [0, 0, 1, 1], [1e6])
    assert apart.probabilities(x)[:, 1] == pytest.approx([0, 0, 1, 1], abs=1e-3)
    (nothing,) = regressions(np.ones((4, 2)), [0, 0, 0, 1], [1.0])
    assert nothing.probabilities(x @ np.ones((1, 2)))[:, 1] == pytest.approx(0.25)
