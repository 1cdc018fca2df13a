"""What holds for every registered network."""

from __future__ import annotations

import copy
import json
from functools import lru_cache

import pytest
import torch
from torch import nn

from hurdles.errors import RecipeError, RegistryError
from hurdles.explanation.maps import grad_cam
from hurdles.models import ModelSpec, architectures, build
from hurdles.models.network import last_convolution

#: Each has a lighter relative that stands for it in the quick tests.
HEAVY = {"covid-net", "densenet-121", "inception-as-coded", "lenet-1024", "resnet-50"}

pytestmark = pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, marks=[pytest.mark.full] if a in HEAVY else []) for a in architectures()],
    scope="module",  # all tests of one network, then those of the next: it is built once
)

LABELS = ("COVID-19", "Normal", "Viral Pneumonia")
#: Sizes to test at: the smallest that each network takes, or one near it.
SIZES = {
    "baseline": 32,
    "inception-like": 32,
    "inception-as-coded": 32,
    "lenet-1024": 766,
    "lenet-1024-no-pooling": 16,
    "lenet-1024-strided": 385,
}
#: Networks whose head was published with them: not to be widened.
WITH_THEIR_HEAD = {
    *("baseline", "inception-like", "inception-as-coded"),
    *("lenet-1024", "lenet-1024-no-pooling", "lenet-1024-strided"),
}
#: Networks that answer two labels with two outputs, as published.
WITH_TWO_OUTPUTS = {"baseline", "inception-like", "inception-as-coded"}


def _size(architecture: str) -> int:
    return SIZES.get(architecture, 64)


def _spec(architecture: str, **changes: object) -> ModelSpec:
    size = _size(architecture)
    return ModelSpec(**{"architecture": architecture, "labels": LABELS, "size": size, **changes})


@lru_cache(maxsize=6)  # of one network: the largest takes 100 MB
def _original(spec: ModelSpec, seed: int) -> nn.Module:
    return build(spec, seed=seed)


def built(spec: ModelSpec, *, seed: int) -> nn.Module:
    """Return a copy of what `build` returns, which takes most of the time of these tests."""
    return copy.deepcopy(_original(spec, seed))


def _images(architecture: str, n: int = 4) -> torch.Tensor:
    size = _size(architecture)
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(7))


def _flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


@pytest.mark.parametrize(
    ("channels", "labels", "n"),
    [(1, LABELS, 1), (1, ("a", "b"), 5), (3, tuple("abcdefg"), 5), (3, ("a", "b"), 1)],
)
def test_logits_have_a_row_per_image_and_a_column_per_label(architecture, channels, labels, n):
    network = built(_spec(architecture, labels=labels, channels=channels), seed=0)
    with torch.random.fork_rng(devices=[]):
        logits = network(_images(architecture, n))
    assert logits.shape == (n, len(labels))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    # Logits, not probabilities.
    assert not torch.allclose(logits.sum(1), torch.ones(n))


def test_the_features_are_what_the_head_takes(architecture):
    network = built(_spec(architecture), seed=0).eval()
    with torch.no_grad():
        features = network.features(_images(architecture, 2))
        dense = next(part for part in network.head.modules() if isinstance(part, nn.Linear))
        assert features.shape == (2, dense.in_features)
        assert torch.equal(network.logits(features), network(_images(architecture, 2)))


def test_two_labels_make_one_output_whose_halves_are_the_logits(architecture):
    network = built(_spec(architecture, labels=("a", "b")), seed=0).eval()
    with torch.no_grad():
        features = network.features(_images(architecture))
        answer, logits = network.head(features), network.logits(features)
    if architecture in WITH_TWO_OUTPUTS:
        assert torch.equal(answer, logits)
    else:
        assert answer.shape == (4, 1)
        torch.testing.assert_close(logits.softmax(1)[:, 1], answer[:, 0].sigmoid())
        loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1, 0]))
        truth = torch.tensor([0.0, 1.0, 1.0, 0.0])
        expected = nn.functional.binary_cross_entropy_with_logits(answer[:, 0], truth)
        torch.testing.assert_close(loss, expected)


def test_the_head_has_the_hidden_layers_asked_for_or_refuses_them(architecture):
    if architecture in WITH_THEIR_HEAD:
        with pytest.raises(RecipeError, match=r"published head.*leave model\.hidden empty"):
            build(_spec(architecture, hidden=(8,)), seed=0)
        return
    network = build(_spec(architecture, hidden=(20, 8)), seed=0)
    plain = built(_spec(architecture), seed=0)
    kinds = [type(part) for part in network.head]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [part.out_features for part in network.head[::2]] == [20, 8, 3]
    assert [type(part) for part in plain.head] == [nn.Linear]
    # Another head changes nothing in the encoder.
    encoders = [
        {k: v for k, v in n.state_dict().items() if not k.startswith("head.")}
        for n in (network, plain)
    ]
    assert encoders[0].keys() == encoders[1].keys()
    assert all(torch.equal(v, encoders[1][k]) for k, v in encoders[0].items())


def test_the_encoder_of_one_task_fits_another(architecture):
    three = built(_spec(architecture), seed=0).state_dict()
    two = built(_spec(architecture, labels=("a", "b")), seed=0)
    encoder = {name for name in three if not name.startswith("head.")}
    assert encoder
    missing, unexpected = two.load_state_dict({name: three[name] for name in encoder}, strict=False)
    assert unexpected == []
    assert missing
    assert all(name.startswith("head.") for name in missing)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_reaches_every_parameter(architecture, channels):
    network = built(_spec(architecture, channels=channels), seed=0)
    with torch.random.fork_rng(devices=[]):
        logits = network(_images(architecture, 8))
    nn.functional.cross_entropy(logits, torch.arange(8) % 3).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_every_layer_belongs_to_the_parameters_that_are_saved(architecture):
    network = built(_spec(architecture), seed=0)
    other = built(_spec(architecture), seed=1)
    with torch.random.fork_rng(devices=[]):
        network(_images(architecture))  # running means that differ from those of the start
    other.load_state_dict(network.state_dict(), strict=True)
    network.eval(), other.eval()
    assert torch.equal(network(_images(architecture)), other(_images(architecture)))


def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone(architecture):
    one, other = (_flat(built(_spec(architecture), seed=s)) for s in (0, 1))
    torch.rand(17)  # whatever the global generator did in between
    state = torch.random.get_rng_state()
    again = _flat(build(_spec(architecture), seed=0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_eval_is_deterministic_and_training_drops_out(architecture):
    network = built(_spec(architecture), seed=0)
    assert network.training
    images = _images(architecture)
    drops = any(isinstance(part, nn.Dropout) for part in network.modules())
    if drops or architecture.startswith("efficientnet"):
        with torch.random.fork_rng(devices=[]):
            assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_an_image_is_judged_by_itself(architecture):
    network = built(_spec(architecture), seed=0).eval()
    images = _images(architecture, 3)
    alone = torch.cat([network(image[None]) for image in images])
    assert torch.allclose(network(images), alone, atol=1e-5)


def test_mean_and_std_are_applied_inside(architecture):
    plain = built(_spec(architecture), seed=0).eval()
    scaled = built(_spec(architecture, mean=0.4, std=0.2), seed=0).eval()
    images = _images(architecture)
    assert torch.allclose(scaled(images), plain((images - 0.4) / 0.2), atol=1e-5)
    assert not torch.allclose(scaled(images), plain(images), atol=1e-5)


def test_another_shape_is_named_with_the_one_expected(architecture):
    size = _size(architecture)
    network = built(_spec(architecture), seed=0)
    wrong = [(2, 1, size, size + 8), (2, 1, 2 * size, 2 * size), (2, 3, size, size)]
    for shape in [*wrong, (2, size, size), (size,)]:
        with pytest.raises(
            RecipeError, match=rf"\(N, 1, {size}, {size}\) but was given \({size}|2"
        ):
            network(torch.zeros(shape))


def test_a_size_that_the_layout_cannot_take_is_refused_with_one_that_it_can(architecture):
    message = r"must be divisible by [48]; 6 is not\. Take [48] or 8|at least \d+ pixels.* is 6\."
    with pytest.raises(RecipeError, match=message):
        build(_spec(architecture, size=6), seed=0)


def test_the_last_convolution_is_a_rectified_map_that_the_logits_depend_on(architecture):
    network = built(_spec(architecture), seed=0).eval()
    seen: list[torch.Tensor] = []
    handle = last_convolution(network).register_forward_hook(
        lambda _module, _inputs, output: seen.append(output)
    )
    logits = network(_images(architecture))
    handle.remove()
    (maps,) = seen
    assert maps.ndim == 4
    assert maps.shape[2] == maps.shape[3] > 1
    assert maps.min() == 0
    assert maps.max() > 0
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), maps)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("labels", [LABELS, ("a", "b")])
def test_every_label_can_be_asked_for_its_heat_map(architecture, labels):
    network = built(_spec(architecture, labels=labels), seed=0).eval()
    images = _images(architecture, 3)
    for target in range(len(labels)):
        heat = grad_cam(network, images, torch.full((3,), target))
        assert heat.ndim == 3
        assert heat.isfinite().all()
        assert heat.min() >= 0
    both = [grad_cam(network, images, torch.full((3,), t)).sum() for t in range(len(labels))]
    assert sum(both) > 0


def test_memory_format_does_not_change_the_answer(architecture):
    network = built(_spec(architecture), seed=0).eval()
    images = _images(architecture)
    expected = network(images)
    network = network.to(memory_format=torch.channels_last)
    found = network(images.to(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-5)


def test_bfloat16_answers_nearly_the_same_and_trains(architecture):
    network = built(_spec(architecture), seed=0).eval()
    images = _images(architecture)
    with torch.no_grad():
        expected = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(images).float()
    assert torch.allclose(found, expected, atol=0.1 * float(expected.abs().max()))
    network.train()
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
    nn.functional.cross_entropy(logits.float(), torch.arange(4) % 3).backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in network.parameters())


def test_the_spec_survives_json(architecture):
    spec = _spec(architecture, channels=3, mean=0.5, std=0.25)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_misspelt_name_suggests_this_one(architecture):
    with pytest.raises(RegistryError, match=f"did you mean '{architecture}'"):
        build(_spec(architecture + "x"), seed=0)
