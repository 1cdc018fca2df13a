"""A linear head on frozen features: scikit-learn's regression, the penalty chosen on validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hurdles.errors import ModelError
from hurdles.foreign.head import STRENGTHS, FrozenModel, LinearHead, fit_linear_head


def drawn(n: int, classes: int = 3, width: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.array([f"c{i % classes}" for i in range(n)])
    centers = np.random.default_rng(9).normal(size=(classes, width))
    values = rng.normal(size=(n, width)) * 1.5 + centers[np.arange(n) % classes]
    return values.astype(np.float32), labels.tolist()


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_it_is_the_regression_of_scikit_learn_with_the_best_penalty(classes):
    """The reference: a pipeline, fitted for each C, and scikit-learn's log-loss."""
    (x, y), (v, w), (z, _) = (
        drawn(60, classes),
        drawn(40, classes, seed=1),
        drawn(20, classes, seed=2),
    )
    head = fit_linear_head(x, y, v, w)
    models = {
        c: make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=5000)).fit(
            x.astype(float), y
        )
        for c in STRENGTHS
    }
    losses = {c: log_loss(w, model.predict_proba(v.astype(float))) for c, model in models.items()}
    assert head.losses == pytest.approx(losses, rel=1e-4)
    assert head.strength == min(losses, key=losses.get)
    theirs = models[head.strength].predict_proba(z.astype(float))
    np.testing.assert_allclose(head.probabilities(z), theirs, atol=1e-4)
    assert head.labels == tuple(models[head.strength].classes_)


def test_a_feature_that_never_changes_is_not_used():
    (x, y), (v, w) = drawn(60), drawn(40, seed=1)
    head = fit_linear_head(x, y, v, w)

    def wider(values, number):
        return np.column_stack([values, np.full(len(values), number, np.float32)])

    wide = fit_linear_head(wider(x, 7), y, wider(v, 7), w)
    assert (head.unused, wide.unused) == (0, 1)
    # A training image never told what it means, so another value elsewhere must not matter.
    np.testing.assert_allclose(wide.probabilities(wider(v, 900)), head.probabilities(v), atol=1e-6)


def test_validation_images_of_an_unknown_class_do_not_choose():
    (x, y), (v, w) = drawn(60), drawn(40, seed=1)
    more = np.vstack([v, v[:5]])
    head = fit_linear_head(x, y, v, w)
    assert fit_linear_head(x, y, more, [*w, *["other"] * 5]).losses == pytest.approx(head.losses)


def test_it_is_stored_without_a_pickle(tmp_path):
    (x, y), (v, w) = drawn(60), drawn(40, seed=1)
    head = fit_linear_head(x, y, v, w)
    again = LinearHead.load(head.save(tmp_path / "head.npz"))
    assert (again.labels, again.strength, again.losses) == (head.labels, head.strength, head.losses)
    np.testing.assert_array_equal(again.probabilities(v), head.probabilities(v))
    (tmp_path / "head.npz").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"head\.npz is damaged"):
        LinearHead.load(tmp_path / "head.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y, v, w: (x, ["c0"] * len(y), v, w), "all training images are of class 'c0'"),
        (lambda x, y, v, w: (x, y, v[:0], []), "no validation image"),
        (lambda x, y, v, w: (x * 0, y, v, w), "every feature is the same"),
    ],
)
def test_what_cannot_be_fitted(change, message):
    with pytest.raises(ModelError, match=message):
        fit_linear_head(*change(*drawn(30), *drawn(30, seed=1)))


def test_a_model_of_features_knows_its_images_and_no_others():
    (x, y), (v, w) = drawn(30), drawn(30, seed=1)
    model = FrozenModel("theirs", fit_linear_head(x, y, v, w), size=16)
    pixels = np.random.default_rng(0).integers(0, 255, (30, 16, 16), dtype=np.uint8)
    model.know(pixels, v)
    np.testing.assert_array_equal(model.features(pixels[::-1]), v[::-1])
    np.testing.assert_array_equal(model.ask(pixels[3:5]), model.head.probabilities(v[3:5]))
    assert model.features(pixels[:0]).shape == (0, 6)
    with pytest.raises(
        ModelError, match="1 of 2 images have no features: of theirs there is a table"
    ):
        model.ask(np.stack([pixels[0], 255 - pixels[1]]))
    with pytest.raises(ModelError, match="takes 6 features"):
        model.head.probabilities(v[:, :3])
