"""The published networks: counted by hand, and equal to the layers as the paper writes them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from hurdles.models import ModelSpec, build
from hurdles.models.network import GrayConvolution, last_convolution

LABELS = ("COVID-19", "Normal", "Viral Pneumonia")

# (kernel height x width x inputs + 1 bias) x filters, layer by layer, for 224 pixels, 3 channels.
COUNTS = {
    "baseline": [
        (3 * 3 * 3 + 1) * 32,
        (3 * 3 * 32 + 1) * 64,
        (3 * 3 * 64 + 1) * 128,
        (28 * 28 * 128 + 1) * 64,
        (64 + 1) * 3,
    ],
    "inception-like": [
        (1 * 1 * 3 + 1) * 64,
        (3 * 3 * 3 + 1) * 32,
        (5 * 5 * 3 + 1) * 16,
        (3 * 3 * 112 + 1) * 128,
        (56 * 56 * 128 + 1) * 64,
        (64 + 1) * 3,
    ],
    "inception-as-coded": [
        (1 * 1 * 3 + 1) * 64,
        (1 * 1 * 3 + 1) * 32,
        (1 * 1 * 3 + 1) * 16,
        (7 * 7 * 112 + 1) * 128,
        (56 * 56 * 128 + 1) * 128,
        (128 + 1) * 3,
    ],
}


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("architecture", COUNTS)
def test_each_layer_has_the_parameters_counted_by_hand(architecture):
    network = build(ModelSpec(architecture, LABELS, channels=3), seed=0)
    counts = [sum(p.numel() for p in layer.parameters()) for layer in _layers(network)]
    assert counts == COUNTS[architecture]
    assert sum(counts) == sum(p.numel() for p in network.parameters())


def test_the_baseline_has_as_many_parameters_as_the_notebook_printed():
    network = build(ModelSpec("baseline", LABELS, channels=3), seed=0)
    assert sum(p.numel() for p in network.parameters()) == 6_516_035


def _as_published(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what the layers give in the published order: RGB, convolution, ReLU, then pooling."""
    *convolutions, dense, last = _layers(network)
    x = x.expand(-1, convolutions[0].in_channels, -1, -1)

    def convolve(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(functional.conv2d(x, layer.weight, layer.bias, padding="same"))

    if network.spec.architecture != "baseline":
        x = functional.max_pool2d(torch.cat([convolve(c, x) for c in convolutions[:3]], dim=1), 2)
        convolutions = convolutions[3:]
    for layer in convolutions:
        x = functional.max_pool2d(convolve(layer, x), 2)
    return last(functional.relu(dense(x.flatten(1))))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", COUNTS)
def test_the_rewriting_changes_neither_the_answer_nor_a_gradient(architecture, channels):
    spec = ModelSpec(architecture, LABELS, size=24, channels=channels)
    network = build(spec, seed=1).double().eval()
    x = torch.rand(3, 1, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found, expected = network(x), _as_published(network, x)
    torch.testing.assert_close(found, expected)
    parameters = list(network.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((found @ weights).sum(), parameters),
        torch.autograd.grad((expected @ weights).sum(), parameters),
    )


@pytest.mark.parametrize("architecture", COUNTS)
def test_weights_are_glorot_uniform_and_biases_zero(architecture):
    network = build(ModelSpec(architecture, LABELS, size=64, channels=3), seed=0)
    for layer in _layers(network):
        assert not layer.bias.any()
        receptive = math.prod(layer.weight.shape[2:])
        fan_out, fan_in = (n * receptive for n in layer.weight.shape[:2])
        limit = math.sqrt(6 / (fan_in + fan_out))
        weight = layer.weight.detach()
        assert weight.abs().max() <= limit
        if weight.numel() > 5000:
            # The largest of n uniform values misses the limit by about limit / n.
            assert weight.abs().max() > 0.999 * limit
            assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_dropout_is_three_tenths():
    network = build(ModelSpec("baseline", LABELS, size=32), seed=0)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3]


@pytest.mark.parametrize(
    ("architecture", "side"),
    [("baseline", 56), ("inception-like", 112), ("inception-as-coded", 112)],
)
def test_the_last_map_is_taken_before_the_last_pooling(architecture, side):
    network = build(ModelSpec(architecture, LABELS), seed=0).eval()
    shapes: list[tuple[int, ...]] = []
    last_convolution(network).register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape)))
    with torch.no_grad():
        network(torch.zeros(1, 1, 224, 224))
    assert shapes == [(1, 128, side, side)]


def test_a_grey_convolution_is_a_convolution_of_the_repeated_image():
    with torch.random.fork_rng(devices=[]):
        grey = GrayConvolution(3, 4, 5).double()
    x = torch.rand(2, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    repeated = functional.conv2d(x.expand(-1, 3, -1, -1), grey.weight, grey.bias, padding=2)
    torch.testing.assert_close(grey(x), repeated)
    torch.testing.assert_close(
        torch.autograd.grad(grey(x).pow(2).sum(), grey.weight),
        torch.autograd.grad(repeated.pow(2).sum(), grey.weight),
    )
