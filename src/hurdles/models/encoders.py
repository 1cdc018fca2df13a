"""EfficientNet-lite0 (Tan and Le 2019, arXiv 1905.11946, in Google's lite form), from a package.

It comes with the extra ``imagenet``, whose second package carries its ImageNet weights. The name is
listed whether or not the extra is installed, so that a recipe can be read and a run be shown
anywhere; building the network without it says what to install.

DenseNet-121 (Huang et al. 2017, arXiv 1608.06993), as MONAI builds it.

ResNet-18 and ResNet-50 (He et al. 2016, arXiv 1512.03385), as MONAI builds them.

The layout, the parameter counts and the names are those of torchvision, so that its checkpoints
fit: the stride of a bottleneck stands at its 3x3 convolution, and shortcuts have no bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu6

from hurdles.errors import RecipeError
from hurdles.models.network import GrayConvolution, Network, dense_head, he_normal, require_size
from hurdles.models.spec import NETWORKS, ModelSpec

T = TypeVar("T")

# Checkpoints of before 2018 part 'norm.1'; both spellings stand in files that are handed out.
_DENSE_LAYER = re.compile(r"(denselayer\d+)\.(norm|conv)\.?([12])\.")

_DENSENET_FEATURES = 1024
_DENSENET_LEAST_SIZE = 61  # two halvings rounded up and three rounded down then leave 2x2


class DenseNet(Network):
    """A densely connected network: stride 32, then the mean over the last map.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be 61 or more.
    encoder : nn.Sequential
        MONAI's feature layers, the ReLU after the last normalisation included.
    head : nn.Module
        From its 1024 features to the labels.
    """

    def __init__(self, spec: ModelSpec, encoder: nn.Sequential, head: nn.Module) -> None:
        super().__init__(spec)
        self.encoder = encoder
        self.head = head

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        return adaptive_avg_pool2d(self.encoder(x), 1).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The ReLU after the last normalisation: 1024 maps of a 32nd of the image's size."""
        part: nn.Module = self.encoder.get_submodule("relu5")
        return part


@NETWORKS.register("densenet-121")
def densenet_121(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return DenseNet-121: 1024 features, 7.0 million parameters without a head."""
    require_size(spec, _DENSENET_LEAST_SIZE)
    from monai.networks.nets.densenet import DenseNet as MonaiDenseNet  # takes seconds

    encoder: nn.Sequential = MonaiDenseNet(
        spatial_dims=2, in_channels=spec.channels, out_channels=1
    ).features
    encoder.conv0 = GrayConvolution(spec.channels, 64, 7, stride=2, bias=False)
    # MONAI rectifies in its classification layers; here, so that a heat-map sees the maps.
    encoder.add_module("relu5", nn.ReLU())
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=generator)
    return DenseNet(spec, encoder, dense_head(spec, _DENSENET_FEATURES, generator))


def torchvision_names(state: Mapping[str, T]) -> dict[str, T]:
    """Rename the entries of a torchvision DenseNet's state to those of ``DenseNet.encoder``.

    ``features.`` is left out, and the parts of each dense layer stand in its ``layers``, as MONAI
    has them. A ResNet needs no such thing: the names are the same. The classifier is to be left
    out by the caller, who knows what it is called.

    Examples
    --------
    >>> list(torchvision_names({"features.denseblock1.denselayer2.norm.1.weight": 0}))
    ['denseblock1.denselayer2.layers.norm1.weight']
    """
    return {_renamed(name): value for name, value in state.items()}


def _renamed(name: str) -> str:
    return _DENSE_LAYER.sub(r"\1.layers.\2\3.", name.removeprefix("features."))


_RESNET_LEAST_SIZE = 33  # five halvings, rounded up, then leave 2x2


class ResNet(Network):
    """A residual network: stride 32, then the mean over the last map.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be 33 or more.
    encoder : nn.Module
        MONAI's 2-D ResNet without its dense layer.
    head : nn.Module
        From its features to the labels.
    """

    def __init__(self, spec: ModelSpec, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__(spec)
        self.encoder = encoder
        self.head = head

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        features: Tensor = self.encoder(x)
        return features

    @property
    def last_convolution(self) -> nn.Module:
        """The fourth stage, whose last block ends with its ReLU: a 32nd of the image's size."""
        part: nn.Module = self.encoder.get_submodule("layer4")
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
    require_size(spec, _RESNET_LEAST_SIZE)
    from monai.networks.nets.resnet import ResNet as MonaiResNet  # takes seconds

    encoder = MonaiResNet(
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
    return ResNet(spec, encoder, dense_head(spec, features, generator))


_EFFICIENTNET_FEATURES = 1280
_DROP = 0.2  # of the last block's residual branch, rising from 0 at the first, as published
_EFFICIENTNET_LEAST_SIZE = 33  # five halvings, rounded up, then leave 2x2


class EfficientNetLite(Network):
    """An EfficientNet-lite: stride 32, then the mean over the last map.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be 33 or more.
    encoder : nn.Module
        The package's network without its dense layer.
    head : nn.Module
        From its 1280 features to the labels.
    """

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
            x = block(x, drop_connect_rate=_DROP * n / len(blocks))
        x = self.last(part("_bn1")(part("_conv_head")(x)))
        return adaptive_avg_pool2d(x, 1).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The ReLU6 after the last normalisation: 1280 maps of a 32nd of the image's size."""
        return self.last


@NETWORKS.register("efficientnet-lite0")
def efficientnet_lite0(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return EfficientNet-lite0: 1280 features, 3.4 million parameters without a head.

    Batch normalisation has torch's momentum of 0.1 instead of the published 0.01: a run on a few
    hundred images has too few steps for running means that slow.
    """
    require_size(spec, _EFFICIENTNET_LEAST_SIZE)
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
    return EfficientNetLite(spec, encoder, dense_head(spec, _EFFICIENTNET_FEATURES, generator))
