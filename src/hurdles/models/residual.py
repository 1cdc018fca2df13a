"""ResNet-18 and ResNet-50 (He et al. 2016, arXiv 1512.03385), as MONAI builds them.

The layout, the parameter counts and the names are those of torchvision, so that its checkpoints
fit: the stride of a bottleneck stands at its 3x3 convolution, and shortcuts have no bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hurdles.models.head import dense_head, require_size
from hurdles.models.network import GreyConvolution, Network
from hurdles.models.spec import NETWORKS, ModelSpec

_LEAST_SIZE = 33  # five halvings, rounded up, then leave 2x2


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
    require_size(spec, _LEAST_SIZE)
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
    encoder.conv1 = GreyConvolution(spec.channels, 64, 7, stride=2, bias=False)
    for part in encoder.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(
                part.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
    return ResNet(spec, encoder, dense_head(spec, features, generator))
