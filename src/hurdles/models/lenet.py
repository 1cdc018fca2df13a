"""The three LeNets of Tartaglione et al. 2020, *Unveiling COVID-19 from CXR* (arXiv 2004.05405).

The text names one, *LeNet-1024*; the published code, which is followed here, has two more without
pooling. All read 1024x1024 pixels, have 3x3 convolutions without bias or padding, each followed by
batch normalisation and ReLU, and a single dense layer on the flattened last maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from hurdles.errors import RecipeError
from hurdles.models.network import GrayConvolution, Network, dense_head, require_size
from hurdles.models.spec import NETWORKS, ModelSpec


class LeNet(Network):
    """Blocks of convolution, batch normalisation, ReLU and, in one of the three, 2x2 max pooling.

    Parameters
    ----------
    spec : ModelSpec
        Any size that leaves a last map of 2x2 or more; its `hidden` must be empty.
    generator : torch.Generator
        Draws the head; the blocks keep torch's default initialisation, as in the code.
    widths : sequence of int
        Filters of each block.
    strides : sequence of int
        Stride of each convolution.
    pooling : bool
        Whether max pooling ends each block.
    """

    def __init__(
        self,
        spec: ModelSpec,
        generator: torch.Generator,
        *,
        widths: Sequence[int],
        strides: Sequence[int],
        pooling: bool,
    ) -> None:
        super().__init__(spec)
        if spec.hidden:
            raise RecipeError(
                f"{spec.architecture!r} has its published head, one dense layer on all points of "
                "the last maps; leave model.hidden empty, or take another architecture."
            )
        self.pooling = pooling
        require_size(spec, _least_size(strides, pooling))
        before = [spec.channels, *widths[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(i, o, s, first=n == 0), nn.BatchNorm2d(o), nn.ReLU())
            for n, (i, o, s) in enumerate(zip(before, widths, strides, strict=True))
        )
        side = _side(spec.size, strides, pooling)
        self.head = dense_head(spec, widths[-1] * side * side, generator)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flattened last maps for scaled images of shape (N, 1, size, size)."""
        for block in self.blocks:
            x = block(x)
            if self.pooling:
                x = max_pool2d(x, 2)
        return x.flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The last block with its ReLU, before the pooling: 4x4, 1018x1018 or 6x6 points."""
        return self.blocks[-1]


@NETWORKS.register("lenet-1024")
def lenet_1024(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the eight pooled blocks of 1, 2, 4, ... 128 filters: 2x2 points of 1024 pixels."""
    return LeNet(spec, generator, widths=[2**n for n in range(8)], strides=[1] * 8, pooling=True)


@NETWORKS.register("lenet-1024-no-pooling")
def lenet_1024_no_pooling(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the three blocks of 4, 8 and 16 filters; of 1024 pixels, 16.6 million features."""
    return LeNet(spec, generator, widths=[4, 8, 16], strides=[1] * 3, pooling=False)


@NETWORKS.register("lenet-1024-strided")
def lenet_1024_strided(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the eight blocks of 8 filters, all but the first of stride 2; 6x6 points."""
    return LeNet(spec, generator, widths=[8] * 8, strides=[1] + [2] * 7, pooling=False)


def _convolution(before: int, filters: int, stride: int, *, first: bool) -> nn.Conv2d:
    if first:
        return GrayConvolution(before, filters, 3, stride=stride, padding=0, bias=False)
    return nn.Conv2d(before, filters, 3, stride, bias=False)


def _side(size: int, strides: Sequence[int], pooling: bool) -> int:
    """Return the height of the last maps, pooled where they are."""
    for stride in strides:
        size = (size - 3) // stride + 1
        size = size // 2 if pooling else size
    return size


def _least_size(strides: Sequence[int], pooling: bool) -> int:
    """Return the smallest image whose last convolution gives 2x2 points."""
    side = 2
    for n, stride in enumerate(reversed(strides)):
        side = 2 * side if pooling and n else side
        side = (side - 1) * stride + 3
    return side
