"""Passes through opaque tensors are those of the obvious layers, outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from hurdles.models import ModelSpec, architectures, build, onednn
from hurdles.models.network import GrayConvolution, Network
from hurdles.models.onednn import Convolution
from hurdles.recipe.recipe import Recipe
from hurdles.training import machine
from hurdles.training.loop import first_network
from hurdles.training.machine import this_machine

NETWORKS = ("baseline", "inception-like", "inception-as-coded", "small")
SIZE = 64

pytestmark = pytest.mark.skipif(not onednn.available(), reason="no oneDNN for x86 in this torch")


#: torch's opaque tensors are in bfloat16 only where the processor computes in it.
has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
in_bfloat16 = pytest.mark.skipif(not has_bfloat16, reason="no bfloat16 in oneDNN here")


def made(architecture: str, *, opaque: bool, channels: int = 3) -> Network:
    spec = ModelSpec(architecture, ("a", "b", "c"), size=SIZE, channels=channels, mean=0.4, std=0.2)
    network = build(spec, seed=0)
    network.opaque = opaque
    for part in network.head.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return network


def images(n: int = 5) -> torch.Tensor:
    return torch.rand(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def passes(network: Network, x: torch.Tensor, *, half: bool = False) -> list[torch.Tensor]:
    """Return the logits of a step and the gradients of all parameters."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = network(x).to(x.dtype)
    functional.cross_entropy(logits, torch.arange(len(x)) % 3).backward()
    return [logits.detach(), *(p.grad for p in network.parameters())]


def distance(found: torch.Tensor, true: torch.Tensor) -> float:
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_in_float32_they_are_those_of_double_precision(architecture, channels):
    found = passes(made(architecture, opaque=True, channels=channels), images())
    exact = passes(made(architecture, opaque=False, channels=channels).double(), images().double())
    for ours, true in zip(found, exact, strict=True):
        assert ours.dtype is torch.float32
        assert distance(ours, true) < 1e-5


@in_bfloat16
@pytest.mark.parametrize("architecture", NETWORKS)
def test_in_bfloat16_they_are_as_near_the_truth_as_those_of_plain_layers(architecture):
    exact = passes(made(architecture, opaque=False).double(), images().double())
    plain = passes(made(architecture, opaque=False), images(), half=True)
    found = passes(made(architecture, opaque=True), images(), half=True)
    for ours, theirs, true in zip(found, plain, exact, strict=True):
        assert distance(ours, true) < 1.25 * distance(theirs, true) + 0.005


def test_they_are_the_same_bits_every_time():
    for half in {False, has_bfloat16}:
        one, two = (passes(made("baseline", opaque=True), images(), half=half) for _ in range(2))
        assert all(map(torch.equal, one, two))


def test_of_equal_values_the_first_one_takes_the_gradient_as_in_plain_pooling():
    x = torch.randint(0, 3, (2, 16, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    plain, opaque = (x.clone().requires_grad_() for _ in range(2))
    weights = torch.arange(2 * 16 * 16, dtype=torch.float32).view(2, 16, 4, 4)
    (functional.max_pool2d(plain, 2, 2) * weights).sum().backward()
    (onednn.leave(functional.max_pool2d(onednn.enter(opaque), 2, 2)) * weights).sum().backward()
    assert torch.equal(opaque.grad, plain.grad)


@pytest.mark.parametrize("half", [False, pytest.param(True, marks=in_bfloat16)])
def test_a_convolution_takes_tensors_of_either_kind(half):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, x = Convolution(16, 8, 3, stride=2, padding=1, bias=half), torch.rand(2, 16, 9, 9)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found, expected = layer(onednn.enter(x)), layer(x)
    assert found.is_mkldnn
    assert onednn.leave(found).dtype is expected.dtype
    torch.testing.assert_close(onednn.leave(found), expected)
    assert onednn.leave(expected) is expected


def test_parallel_branches_are_one_convolution_with_the_gradients_of_each():
    network = made("inception-like", opaque=False).double()
    x = images(2).double()
    together = network._convolved(x)
    apart = torch.cat([branch(x) for branch in network.parallel], dim=1)
    torch.testing.assert_close(together, apart)
    parameters = list(network.parallel.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(together.pow(3).sum(), parameters),
        torch.autograd.grad(apart.pow(3).sum(), parameters),
    )
    assert all(isinstance(branch, GrayConvolution) for branch in network.parallel)


def test_only_a_pass_of_training_is_opaque(monkeypatch):
    network, entered = made("baseline", opaque=True), []
    enter = onednn.enter
    monkeypatch.setattr(onednn, "enter", lambda x: entered.append(1) or enter(x))
    network.eval()(images(1))
    with torch.no_grad():
        network.train()(images(1))
    assert entered == []
    network(images(1))
    assert entered == [1]


def test_a_frozen_batch_normalization_keeps_a_training_from_opaque_tensors():
    spec, here = ModelSpec("small", ("a", "b"), size=SIZE), this_machine("float32")
    stage = {"architecture": "small", "freeze": ["stages.2.*"]}
    recipes = [Recipe(name="r").changed(model=m) for m in ({"architecture": "small"}, stage)]
    networks = [first_network(recipe, spec, None, here) for recipe in recipes]
    assert [network.opaque for network in networks] == [here.has_opaque, False]
    for network in networks:
        network.train()(images()).sum().backward()
        assert network.stages[0].body[0].weight.grad is not None


def test_a_processor_without_bfloat16_trains_in_it_in_plain_layers(monkeypatch):
    monkeypatch.setattr(machine, "_onednn_has_bfloat16", lambda: False)
    assert this_machine("float32").has_opaque
    half = this_machine("bfloat16")
    assert not half.has_opaque
    network = first_network(Recipe(name="r"), ModelSpec("small", ("a", "b"), size=SIZE), None, half)
    with half.mixed():
        network.train()(images()).sum().backward()
    assert network.stages[0].body[0].weight.grad is not None


def test_the_networks_that_take_opaque_tensors():
    specs = {name: ModelSpec(name, ("a", "b")) for name in ("baseline", "small", "resnet-18")}
    assert {n: build(s, seed=0).takes_opaque for n, s in specs.items()} == {
        "baseline": True,
        "small": True,
        "resnet-18": False,
    }
    assert set(NETWORKS) <= set(architectures())
