"""The networks of Lázaro and Barco 2020, *COVID-19 detection from chest X-ray images using CNNs*.

Three layouts, trained from scratch on 224x224 pixels: the *baseline*, the *inception-like* network
as their text describes it, and the latter as their published notebook codes it, which differs.
Pooling comes before the ReLU wherever no heat-map needs the full feature map. The two commute, so
the result and every gradient are the same, and a training step on a CPU takes less time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from hurdles.errors import RecipeError
from hurdles.models.network import GrayConvolution, Network, glorot_uniform
from hurdles.models.spec import NETWORKS, ModelSpec

_DROPOUT = 0.3


class Baseline(Network):
    """Three 3x3 convolutions of 32, 64 and 128 filters, each pooled; dense 64; dense n.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be divisible by 8.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        side = _side(spec, pools=3)
        self.conv1 = GrayConvolution(spec.channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU())
        self.head = _head(spec, 128 * side * side, 64)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flattened last maps for scaled images of shape (N, 1, size, size)."""
        x = relu(max_pool2d(self.conv1(x), 2))
        x = relu(max_pool2d(self.conv2(x), 2))
        return max_pool2d(self.conv3(x), 2).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The third convolution with its ReLU: 128 maps of a quarter of the image's size."""
        return self.conv3


class Inception(Network):
    """Three parallel convolutions on the image (64, 32 and 16 filters), and one of 128 on those.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be divisible by 4.
    kernels : tuple of three int
        Kernel sizes of the parallel convolutions, odd.
    kernel : int
        Kernel size of the last convolution, odd.
    hidden : int
        Width of the dense layer.
    """

    def __init__(
        self, spec: ModelSpec, *, kernels: tuple[int, int, int], kernel: int, hidden: int
    ) -> None:
        super().__init__(spec)
        side = _side(spec, pools=2)
        self.parallel = nn.ModuleList(
            GrayConvolution(spec.channels, filters, k)
            for filters, k in zip((64, 32, 16), kernels, strict=True)
        )
        self.conv = nn.Sequential(nn.Conv2d(112, 128, kernel, padding=kernel // 2), nn.ReLU())
        self.head = _head(spec, 128 * side * side, hidden)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flattened last maps for scaled images of shape (N, 1, size, size)."""
        x = relu(torch.cat([max_pool2d(branch(x), 2) for branch in self.parallel], dim=1))
        return max_pool2d(self.conv(x), 2).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The convolution after the parallel ones, with its ReLU: 128 maps of half the size."""
        return self.conv


@NETWORKS.register("baseline")
def baseline(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the baseline, as described and as coded."""
    return _initialised(Baseline(spec), generator)


@NETWORKS.register("inception-like")
def inception_like(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the inception-like network as the text describes it: 1x1, 3x3, 5x5; 3x3; dense 64."""
    return _initialised(Inception(spec, kernels=(1, 3, 5), kernel=3, hidden=64), generator)


@NETWORKS.register("inception-as-coded")
def inception_as_coded(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return what the notebook codes instead: three kernels of 1x1; 7x7; dense 128."""
    return _initialised(Inception(spec, kernels=(1, 1, 1), kernel=7, hidden=128), generator)


def _initialised(network: Network, generator: torch.Generator) -> Network:
    glorot_uniform(network, generator)
    return network


def _head(spec: ModelSpec, inputs: int, hidden: int) -> nn.Sequential:
    """Return dense, ReLU, dropout, dense; this head is part of the published networks."""
    if spec.hidden:
        raise RecipeError(
            f"{spec.architecture!r} has its published head; leave model.hidden empty, or take "
            "another architecture."
        )
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        nn.Dropout(_DROPOUT),
        nn.Linear(hidden, len(spec.labels)),
    )


def _side(spec: ModelSpec, *, pools: int) -> int:
    """Return the height of the last pooled map; a size that does not halve evenly raises."""
    step: int = 2**pools
    if spec.size % step:
        lower = spec.size - spec.size % step
        raise RecipeError(
            f"{spec.architecture!r} halves the image {pools} times, so its size must be divisible "
            f"by {step}; {spec.size} is not. Take {lower or step} or {lower + step}."
        )
    return spec.size // step
