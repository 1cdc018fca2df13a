"""COVID-Net (Wang, Lin and Wong 2020, Sci Rep 10:19549), from the description in its paper.

The paper gives the layout: a 7x7 convolution, then four stages of 3, 4, 6 and 3 *PEPX* blocks with
256, 512, 1024 and 2048 filters at a 4th, 8th, 16th and 32nd of the image's size, joined by 1x1
convolutions over long ranges, and a dense layer of 1024 before the answer. A PEPX block is a 1x1
projection to fewer channels, a 1x1 expansion, a 3x3 depthwise convolution, a 1x1 projection and a
1x1 extension. Its widths came out of a search by machine and are not printed. Left open, and
chosen here:

- The projections have an 8th of the block's input channels, the expansion 5 8ths. With
  ``hidden = [1024]`` and three labels this makes 11.7 million parameters; the paper counts 11.75.
- The features are the means of the last maps. Flattening 7x7x2048 points into a dense layer of 1024
  would take 102.8 million parameters alone, so the paper's count rules it out, although its figure
  and the copies of it in circulation flatten.
- Each convolution is followed by batch normalisation; the expansion, the depthwise convolution
  and every sum by ReLU. The paper mentions neither.
- The long-range connections: a stage's input, in a 1x1 convolution, and the outputs of all blocks
  before are added up to be the next block's input. Max pooling stands between the stages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, relu

from hurdles.models.network import GrayConvolution, Network, dense_head, he_normal, require_size
from hurdles.models.spec import NETWORKS, ModelSpec

_STAGES = ((3, 256), (4, 512), (6, 1024), (3, 2048))
_STEM = 64
_LEAST_SIZE = 61  # two halvings rounded up and three rounded down then leave 2x2


class CovidNet(Network):
    """Four stages of PEPX blocks: stride 32, then the mean over the last map, 2048 features.

    Parameters
    ----------
    spec : ModelSpec
        Its size must be 61 or more.
    generator : torch.Generator
        Draws every weight.
    """

    def __init__(self, spec: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(spec)
        require_size(spec, _LEAST_SIZE)
        self.stem = nn.Sequential(
            GrayConvolution(spec.channels, _STEM, 7, stride=2, bias=False),
            nn.BatchNorm2d(_STEM),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = [_STEM, *(width for _, width in _STAGES)]
        self.stages = nn.ModuleList(
            _Stage(before, width, blocks)
            for before, (blocks, width) in zip(widths[:-1], _STAGES, strict=True)
        )
        he_normal(self, generator, gain=1.0)  # few of its convolutions meet a ReLU
        self.head = dense_head(spec, widths[-1], generator)

    def encode(self, x: Tensor) -> Tensor:
        """Return the means of the last maps for scaled images of shape (N, 1, size, size)."""
        x = self.stem(x)
        for n, stage in enumerate(self.stages):
            x = stage(max_pool2d(x, 2) if n else x)
        return adaptive_avg_pool2d(x, 1).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The fourth stage, which ends with a ReLU: 2048 maps of a 32nd of the image's size."""
        return self.stages[-1]


class _Stage(nn.Module):
    """PEPX blocks, each fed with the sum of all that came before it in the stage."""

    def __init__(self, before: int, width: int, blocks: int) -> None:
        super().__init__()
        self.long_range = nn.Sequential(
            nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        self.blocks = nn.ModuleList(pepx(width if n else before, width) for n in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.blocks
        total = relu(self.long_range(x) + first(x))
        for block in others:
            total = relu(total + block(total))
        return total


def pepx(before: int, after: int) -> nn.Sequential:
    """Return a projection, expansion, projection and extension block, from and to these widths.

    Examples
    --------
    >>> [c.out_channels for c in pepx(256, 512) if isinstance(c, nn.Conv2d)]
    [32, 160, 160, 32, 512]
    """
    narrow, wide = before // 8, before * 5 // 8
    return nn.Sequential(
        nn.Conv2d(before, narrow, 1, bias=False),
        nn.BatchNorm2d(narrow),
        nn.Conv2d(narrow, wide, 1, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.Conv2d(wide, narrow, 1, bias=False),
        nn.BatchNorm2d(narrow),
        nn.Conv2d(narrow, after, 1, bias=False),
        nn.BatchNorm2d(after),
    )


@NETWORKS.register("covid-net")
def covid_net(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return COVID-Net: 2048 features; see the module for what its paper leaves open."""
    return CovidNet(spec, generator)
