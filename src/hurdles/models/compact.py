"""A small residual network of our own, for few images and two processor cores.

It has the layout of ResNet-10 at half the width, with two changes of He et al. 2019, *Bag of
tricks* (arXiv 1812.01187): shortcuts are averaged before they are thinned out, and so is what
leaves the stem, instead of a maximum that keeps every sharp edge of a burnt-in letter. There are
no depthwise convolutions, which save arithmetic but no time on a processor.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu

from hurdles.models.network import GrayConvolution, Network, dense_head, he_normal, require_size
from hurdles.models.spec import NETWORKS, ModelSpec

_WIDTHS = (32, 64, 128, 256)
_LEAST_SIZE = 33  # five halvings, rounded up, then leave 2x2


class Compact(Network):
    """Four residual stages of one block each: stride 32, then the mean over the last map.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be 33 or more.
    generator : torch.Generator
        Draws every weight.
    widths : sequence of four int
        Filters of the stages.
    """

    def __init__(
        self,
        spec: ModelSpec,
        generator: torch.Generator,
        *,
        widths: tuple[int, int, int, int] = _WIDTHS,
    ) -> None:
        super().__init__(spec)
        require_size(spec, _LEAST_SIZE)
        self.stem = nn.Sequential(
            GrayConvolution(spec.channels, widths[0], 5, stride=2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
            _halved(),
        )
        before = [widths[0], *widths[:-1]]
        self.stages = nn.Sequential(
            *(
                _Block(i, o, stride=2 if n else 1)
                for n, (i, o) in enumerate(zip(before, widths, strict=True))
            )
        )
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
