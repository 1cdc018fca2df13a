"""DenseNet-121 (Huang et al. 2017, arXiv 1608.06993), as MONAI builds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from hurdles.models.head import dense_head, require_size
from hurdles.models.network import GreyConvolution, Network
from hurdles.models.spec import NETWORKS, ModelSpec

T = TypeVar("T")

# Checkpoints of before 2018 part 'norm.1'; both spellings stand in files that are handed out.
_DENSE_LAYER = re.compile(r"(denselayer\d+)\.(norm|conv)\.?([12])\.")

_FEATURES = 1024
_LEAST_SIZE = 61  # two halvings rounded up and three rounded down then leave 2x2


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
    require_size(spec, _LEAST_SIZE)
    from monai.networks.nets.densenet import DenseNet as MonaiDenseNet  # takes seconds

    encoder: nn.Sequential = MonaiDenseNet(
        spatial_dims=2, in_channels=spec.channels, out_channels=1
    ).features
    encoder.conv0 = GreyConvolution(spec.channels, 64, 7, stride=2, bias=False)
    # MONAI rectifies in its classification layers; here, so that a heat-map sees the maps.
    encoder.add_module("relu5", nn.ReLU())
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=generator)
    return DenseNet(spec, encoder, dense_head(spec, _FEATURES, generator))


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
