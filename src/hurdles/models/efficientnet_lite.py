"""EfficientNet-lite0 (Tan and Le 2019, arXiv 1905.11946, in Google's lite form), from a package.

It comes with the extra ``imagenet``, whose second package carries its ImageNet weights. The name is
listed whether or not the extra is installed, so that a recipe can be read and a run be shown
anywhere; building the network without it says what to install.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu6

from hurdles.errors import RecipeError
from hurdles.models.head import dense_head, he_normal, require_size
from hurdles.models.network import Network
from hurdles.models.spec import NETWORKS, ModelSpec

_FEATURES = 1280
_DROP = 0.2  # of the last block's residual branch, rising from 0 at the first, as published
_LEAST_SIZE = 33  # five halvings, rounded up, then leave 2x2


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
    require_size(spec, _LEAST_SIZE)
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
    return EfficientNetLite(spec, encoder, dense_head(spec, _FEATURES, generator))
