"""SmoothGrad-Squared and integrated gradients against captum and what their papers promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hurdles.explanation.methods import explain
from hurdles.models import ModelSpec, build

SIZE = 32
SPEC = ModelSpec("baseline", ("a", "b"), size=SIZE)


def network() -> nn.Module:
    return build(SPEC, seed=2).eval()


def images(n=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE), dtype="uint8")


def as_tensor(pixels):
    return torch.from_numpy(pixels)[:, None].float() / 255


class Odds(nn.Module):
    """The log-odds of the second class, as captum wants them: one number an image."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = self.module(x)
        return logits[:, 1] - logits[:, 0]


class Quadratic(nn.Module):
    """Log-odds of the first class are a sum of w * x^2: its gradient is 2 * w * x."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        odds = (self.weights * x.square()).sum(dim=(1, 2, 3))
        return torch.stack([odds + 5, torch.full_like(odds, 5)], dim=1)


def test_integrated_gradients_equal_captums():
    from captum.attr import IntegratedGradients

    module, pixels = network(), images()
    x = as_tensor(pixels)
    grey = x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)
    expected = IntegratedGradients(Odds(module)).attribute(
        x, baselines=grey, n_steps=16, method="riemann_middle"
    )
    expected = expected.detach()[:, 0].clamp(min=0).numpy()
    found = explain(module, SPEC, pixels, images="xyz", target="b", method="integrated-gradients")
    for heat, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(heat.values, wanted / wanted.max(), atol=1e-4)
        assert heat.peak == pytest.approx(wanted.max(), rel=1e-3)


def test_integrated_gradients_add_up_to_what_the_image_adds_to_an_even_grey_one():
    # What speaks for one of two classes speaks against the other.
    module, pixels = network(), images()
    x = as_tensor(pixels)
    grey = x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)
    with torch.no_grad():
        gain = (Odds(module)(x) - Odds(module)(grey)).numpy()
    both = [
        explain(module, SPEC, pixels, images="xyz", target=t, method="integrated-gradients")
        for t in "ba"
    ]
    for row in range(3):
        speaks, against = (float(maps[row].values.sum() * maps[row].peak) for maps in both)
        assert speaks - against == pytest.approx(gain[row], rel=0.03, abs=0.01)


def test_smoothgrad_without_noise_is_captums_squared_saliency(monkeypatch):
    from captum.attr import Saliency

    monkeypatch.setattr("hurdles.explanation.maps._NOISE", 0.0)
    module, pixels = network(), images()
    expected = Saliency(Odds(module)).attribute(as_tensor(pixels).requires_grad_())
    expected = expected.detach()[:, 0].square().numpy()
    found = explain(module, SPEC, pixels, images="xyz", target="b", method="smoothgrad")
    for heat, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(heat.values, wanted / wanted.max(), atol=1e-5)


def test_smoothgrads_maps_of_two_classes_are_one_and_say_so():
    maps = [
        explain(network(), SPEC, images(), images="xyz", target=t, method="smoothgrad")
        for t in SPEC.labels[:2]
    ]
    if len(SPEC.labels) == 2:
        for one, other in zip(*maps, strict=True):
            np.testing.assert_allclose(one.values, other.values, atol=1e-5)
    assert maps[0][0].speaks == f"for or against {SPEC.labels[0]}"
    assert not maps[0][0].has_sign


@pytest.mark.parametrize("method", ["grad-cam", "occlusion", "integrated-gradients"])
def test_other_methods_speak_for_a_class(method):
    found = explain(network(), SPEC, images(), images="xyz", target="b", method=method)[0]
    assert found.speaks == "for b"
    assert found.has_sign


def test_smoothgrad_averages_over_the_noise_that_its_paper_names():
    # The mean of (2 w (x + s z))^2 is 4 w^2 (x^2 + s^2): with eight copies to within chance.
    weights = torch.linspace(0.1, 1, SIZE).expand(1, SIZE, SIZE)
    pixels = images(1)
    (found,) = explain(
        Quadratic(weights), SPEC, pixels, images="x", target="a", method="smoothgrad"
    )
    x = pixels[0] / 255
    spread = 0.15 * (x.max() - x.min())
    expected = 4 * weights[0].numpy() ** 2 * (x**2 + spread**2)
    heat = found.values * found.peak
    assert heat.mean() == pytest.approx(expected.mean(), rel=0.02)
    assert np.corrcoef(heat.ravel(), expected.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("method", ["smoothgrad", "integrated-gradients"])
def test_what_raises_every_logit_alike_is_no_evidence(method):
    class Bright(Quadratic):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 100 * x[..., :8].mean(dim=(1, 2, 3))[:, None]

    weights = torch.zeros(1, SIZE, SIZE)
    weights[:, :, 20:] = 1
    pixels = images(1)
    (found,) = explain(Bright(weights), SPEC, pixels, images="x", target="a", method=method)
    assert found.is_drawable
    assert found.values[:, :8].max() < 1e-9
    assert found.values[:, 20:].max() == 1
