"""What holds for every registered network."""

from __future__ import annotations

import json

import pytest
import torch

from hurdles.errors import RecipeError, RegistryError
from hurdles.models.network import last_convolution
from hurdles.models.spec import ModelSpec, architectures, build

pytestmark = pytest.mark.parametrize("architecture", architectures())

SIZE = 32
LABELS = ("COVID-19", "Normal", "Viral Pneumonia")


def _spec(architecture: str, **changes: object) -> ModelSpec:
    return ModelSpec(**{"architecture": architecture, "labels": LABELS, "size": SIZE, **changes})


def _images(n: int = 4, size: int = SIZE) -> torch.Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(7))


def _flat(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("labels", [LABELS, ("a", "b"), tuple("abcdefg")])
@pytest.mark.parametrize("n", [1, 5])
def test_logits_have_a_row_per_image_and_a_column_per_label(architecture, channels, labels, n):
    network = build(_spec(architecture, labels=labels, channels=channels), seed=0)
    logits = network(_images(n))
    assert logits.shape == (n, len(labels))
    assert logits.dtype == torch.float32
    # Logits, not probabilities.
    assert not torch.allclose(logits.sum(1), torch.ones(n))


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_reaches_every_parameter(architecture, channels):
    network = build(_spec(architecture, channels=channels), seed=0)
    loss = torch.nn.functional.cross_entropy(network(_images(8)), torch.arange(8) % 3)
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_every_layer_belongs_to_the_parameters_that_are_saved(architecture):
    network = build(_spec(architecture), seed=0)
    other = build(_spec(architecture), seed=1)
    other.load_state_dict(network.state_dict(), strict=True)
    network.eval(), other.eval()
    assert torch.equal(network(_images()), other(_images()))


def test_the_seed_alone_decides_the_weights(architecture):
    one = _flat(build(_spec(architecture), seed=3))
    torch.rand(17)  # whatever the global generator did in between
    again, other = (_flat(build(_spec(architecture), seed=s)) for s in (3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_global_generator_is_left_alone(architecture):
    state = torch.random.get_rng_state()
    build(_spec(architecture), seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_eval_is_deterministic_and_training_drops_out(architecture):
    network = build(_spec(architecture), seed=0)
    assert network.training
    images = _images()
    with torch.random.fork_rng(devices=[]):
        assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_an_image_is_judged_by_itself(architecture):
    network = build(_spec(architecture), seed=0).eval()
    images = _images(3)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-5)


def test_mean_and_std_are_applied_inside(architecture):
    plain = build(_spec(architecture), seed=0).eval()
    scaled = build(_spec(architecture, mean=0.4, std=0.2), seed=0).eval()
    assert torch.allclose(scaled(_images()), plain((_images() - 0.4) / 0.2), atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(2, 1, SIZE, SIZE + 8), (2, 1, 64, 64), (2, 3, SIZE, SIZE), (2, SIZE, SIZE), (SIZE,)]
)
def test_another_shape_is_named_with_the_one_expected(architecture, shape):
    network = build(_spec(architecture), seed=0)
    with pytest.raises(RecipeError, match=rf"\(N, 1, {SIZE}, {SIZE}\) but was given \({SIZE}|2"):
        network(torch.zeros(shape))


def test_a_size_that_does_not_halve_evenly_is_refused(architecture):
    message = r"must be divisible by [48]; 30 is not\. Take 2[48] or 32"
    with pytest.raises(RecipeError, match=message):
        build(_spec(architecture, size=30), seed=0)


def test_the_last_convolution_is_a_rectified_map_that_the_logits_depend_on(architecture):
    network = build(_spec(architecture), seed=0).eval()
    seen: list[torch.Tensor] = []
    handle = last_convolution(network).register_forward_hook(
        lambda _module, _inputs, output: seen.append(output)
    )
    logits = network(_images())
    handle.remove()
    (maps,) = seen
    assert maps.ndim == 4
    assert maps.shape[2] == maps.shape[3] > 1
    assert maps.min() >= 0
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps)
    assert gradient.abs().max() > 0


def test_memory_format_does_not_change_the_answer(architecture):
    network = build(_spec(architecture), seed=0).eval()
    expected = network(_images())
    network = network.to(memory_format=torch.channels_last)
    found = network(_images().to(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_spec_survives_json(architecture):
    spec = _spec(architecture, channels=3, mean=0.5, std=0.25)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_misspelt_name_suggests_this_one(architecture):
    with pytest.raises(RegistryError, match=f"did you mean '{architecture}'"):
        build(_spec(architecture + "x"), seed=0)
