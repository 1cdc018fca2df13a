"""Laying features out in the plane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hurdles.errors import EvaluationError
from hurdles.explanation import embedding
from hurdles.explanation.embedding import available_projection, project, standardized


def clusters(n=20, d=30, seed=0):
    features = np.random.default_rng(seed).normal(size=(3 * n, d))
    features += 8 * np.repeat(np.eye(3, d), n, axis=0)
    return features, np.repeat(range(3), n)


def neighbours_agree(xy, label):
    distances = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((label[distances.argmin(axis=1)] == label).mean())


@pytest.mark.parametrize("method", ["t-sne", pytest.param("umap", marks=pytest.mark.full)])
def test_neighbours_stay_neighbours_and_the_seed_decides(method):
    if method == "umap":
        pytest.importorskip("umap", reason="the extra 'umap' is not installed")
    features, label = clusters()
    xy = project(features, method=method, seed=1)
    assert xy.shape == (60, 2)
    assert xy.dtype == np.float32
    assert neighbours_agree(xy, label) > 0.8  # chance: a third
    assert np.array_equal(xy, project(features, method=method, seed=1))


@pytest.mark.parametrize(("n", "d"), [(5, 40), (6, 1), (9, 2)])
def test_the_smallest_sets_are_laid_out(n, d):
    xy = project(np.random.default_rng(0).normal(size=(n, d)))
    assert np.isfinite(xy).all()
    assert len(xy) == n


def test_units_of_a_feature_do_not_matter():
    features, label = clusters()
    features[:, 7] *= 1e6  # noise that would drown the clusters
    assert neighbours_agree(project(features), label) > 0.9


def test_equal_features_are_laid_out_all_the_same():
    assert np.isfinite(project(np.ones((8, 3)))).all()


@given(arrays(np.float64, (7, 3), elements=st.floats(-1e3, 1e3)))
@settings(max_examples=50, deadline=None)
def test_standardised_features_have_mean_0_and_spread_1_or_0(table):
    scaled = standardized(table)
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert all(s == pytest.approx(1, abs=1e-6) or s == 0 for s in scaled.std(axis=0))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((4, 3)), "4 images cannot be laid out"),
        (np.full((9, 3), np.inf), "not finite numbers"),
        (np.ones(9), r"shape \(9,\)"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(features, message):
    with pytest.raises(EvaluationError, match=message):
        project(features)


def test_an_unknown_method_lists_the_known_ones():
    with pytest.raises(EvaluationError, match=r"'pca'; known: t-sne, umap"):
        available_projection("pca")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match=r"hurdles\[umap\]"):
        project(np.ones((9, 3)), method="umap")


@pytest.mark.parametrize("shape", [(12, 4), (6, 30)])
def test_components_are_those_of_scikit_learn(shape):
    from sklearn.decomposition import PCA

    table = standardized(np.random.default_rng(0).normal(size=shape))
    found = embedding._components(table)
    count = min(shape[1], shape[0] - 1)
    theirs = PCA(count).fit_transform(table)
    assert np.abs(found[:, :count]) == pytest.approx(np.abs(theirs), abs=1e-6)
    assert found[:, count:] == pytest.approx(0, abs=1e-6)
