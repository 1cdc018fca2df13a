"""Several networks as one: their mean probability, whatever is asked of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hurdles.errors import RecipeError
from hurdles.explanation.methods import explain
from hurdles.models import ModelSpec, build
from hurdles.models.ensemble import Ensemble
from hurdles.models.network import folded
from hurdles.training.prediction import answers_and_features, probabilities


@pytest.fixture(scope="module", params=["small", "baseline"])
def ensemble(request) -> Ensemble:
    specs = [
        ModelSpec(request.param, ("a", "b", "c"), size=40, mean=0.1 * n, std=1.0 + n)
        for n in range(3)
    ]
    return Ensemble([build(spec, seed=n) for n, spec in enumerate(specs)]).eval()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 40, 40), dtype=np.uint8)


def test_its_probabilities_are_the_mean_of_those_of_its_members(ensemble, pixels):
    apart = [probabilities(member, pixels) for member in ensemble.networks]
    assert np.abs(apart[0] - apart[1]).max() > 1e-4
    assert np.allclose(probabilities(ensemble, pixels), np.mean(apart, axis=0), atol=1e-6)
    both, features = answers_and_features(ensemble, pixels)
    assert np.allclose(both, np.mean(apart, axis=0), atol=1e-6)
    assert features.shape[1] % 3 == 0
    assert np.allclose(probabilities(folded(ensemble), pixels), both, atol=1e-5)


def test_two_classes_with_one_output_are_averaged_as_well(pixels):
    spec = ModelSpec("small", ("a", "b"), size=40)
    members = [build(spec, seed=n).eval() for n in range(2)]
    mean = np.mean([probabilities(member, pixels) for member in members], axis=0)
    assert np.allclose(probabilities(Ensemble(members), pixels), mean, atol=1e-6)


def test_its_grad_cam_is_the_mean_of_its_members_scaled(ensemble, pixels):
    names = [str(n) for n in range(len(pixels))]
    whole = explain(ensemble, ensemble.spec, pixels, images=names, target="b")
    each = [explain(m, m.spec, pixels, images=names, target="b") for m in ensemble.networks]
    for row, heat in enumerate(whole):
        mean = np.mean([maps[row].values for maps in each], axis=0)
        if mean.max() > 0:
            assert np.corrcoef(heat.values.ravel(), mean.ravel())[0, 1] > 0.98


def test_networks_that_cannot_answer_together_are_refused(ensemble):
    other = build(ModelSpec("small", ("a", "x"), size=40), seed=0)
    with pytest.raises(RecipeError, match="same classes and size"):
        Ensemble([ensemble.networks[0], other])
    with pytest.raises(RecipeError, match="last convolution each"):
        _ = ensemble.last_convolution


def test_it_learns_nothing_of_the_order_of_a_batch(ensemble, pixels):
    with torch.no_grad():
        x = torch.from_numpy(pixels)[:, None].float() / 255
        assert torch.allclose(ensemble(x)[[3]], ensemble(x[[3]]), atol=1e-5)
