"""The base class of every network, gray images in, logits out, and the parts that they share."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hurdles.errors import RecipeError
from hurdles.models import onednn
from hurdles.models.spec import ModelSpec

__all__ = ["Network"]

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


class Network(nn.Module, ABC):
    """A classifier of gray images.

    ``network(x)`` takes float images of shape (N, 1, size, size) within [0, 1] and returns logits
    of shape (N, len(labels)). Scaling by the spec's mean and std happens inside, so neither
    training nor use can forget it. Subclasses set `head` and write `encode` and
    `last_convolution`; everything besides the head is the encoder, which another run may start
    from.

    Parameters
    ----------
    spec : ModelSpec
        Kept as ``.spec``.
    """

    #: From features to one output per label, or to a single one for two labels (see `logits`).
    head: nn.Module
    #: Whether `encode` takes opaque tensors (`hurdles.models.onednn`).
    takes_opaque: ClassVar[bool] = False

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        #: Whether passes of training go through opaque tensors; the training decides.
        self.opaque = False

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of shape (N, labels); another shape than the spec's raises RecipeError."""
        return self.logits(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return what the head sees, shape (N, D); images as for `forward`.

        Raises
        ------
        RecipeError
            If the images have another shape than the spec says.
        """
        size = self.spec.size
        if x.ndim != 4 or tuple(x.shape[1:]) != (1, size, size):
            raise RecipeError(
                f"this {self.spec.architecture!r} network takes images of shape "
                f"(N, 1, {size}, {size}) but was given {tuple(x.shape)}; prepare them with "
                f"size={size}, or build the network for their size."
            )
        if (self.spec.mean, self.spec.std) != (0.0, 1.0):
            x = (x - self.spec.mean) / self.spec.std
        if self.opaque and self.training and torch.is_grad_enabled():
            x = onednn.enter(x)
        features = onednn.leave(self.encode(x))
        # In float32 whatever the format of training: of a unit's many small parts the sum counts.
        return normalize(features.float(), dim=1) if self.spec.unit_features else features

    def logits(self, features: Tensor) -> Tensor:
        """Return logits of shape (N, labels) for features.

        A head with one output z for two labels gives the log-odds of the second: with logits
        (-z/2, z/2), softmax and cross-entropy are the logistic function and binary cross-entropy,
        and, unlike with (0, z), each label has a logit that a heat-map can ask about.
        """
        logits: Tensor = self.head(features)
        if logits.shape[1] == 1 and len(self.spec.labels) == 2:
            return torch.cat([-logits / 2, logits / 2], dim=1)
        return logits

    def train(self, mode: bool = True) -> Self:
        """Switch to training; a batch normalization that is frozen keeps its statistics."""
        super().train(mode)
        for part in self.modules():
            weights = [p.requires_grad for p in part.parameters(recurse=False)]
            if isinstance(part, _BatchNorm) and weights and not any(weights):
                part.eval()
        return self

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Return features of shape (N, D) for scaled images of shape (N, 1, size, size)."""

    @property
    @abstractmethod
    def last_convolution(self) -> nn.Module:
        """The part whose output is the last feature map, rectified, shape (N, C, h, w)."""


def last_convolution(module: nn.Module) -> nn.Module:
    """Return the part of `module` whose output Grad-CAM looks at.

    Its output is the last feature map *after* the ReLU, which is what Selvaraju et al. 2017
    (arXiv 1610.02391) weigh: before it, negative values that the network throws away would appear
    as heat wherever their weight is negative, too.
    """
    part = getattr(module, "last_convolution", None)
    if not isinstance(part, nn.Module):
        raise RecipeError(
            f"{type(module).__name__} does not expose its last convolution; give it an attribute "
            "'last_convolution', or use a heat-map method that needs no gradient."
        )
    return part


def folded(network: Network) -> Network:
    """Return a copy in evaluation mode whose batch normalizations are part of their convolutions.

    Only those that follow one directly in an `nn.Sequential`; answers are the same up to rounding.
    """
    made = copy.deepcopy(network).eval()
    for parts in [part for part in made.modules() if isinstance(part, nn.Sequential)]:
        for place, (one, two) in enumerate(pairwise(parts)):
            if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
                parts[place], parts[place + 1] = fuse_conv_bn_eval(one, two), nn.Identity()
    return made


class GrayConvolution(nn.Conv2d):
    """A first convolution whose input channels all hold the same gray image.

    Weights have shape (filters, channels, kernel, kernel), so parameters and the gradient of each
    are those of a convolution over the repeated image; but convolution is linear, so the kernels
    are summed over the channels and the image is read once.

    `channels` counts the copies of the image; the padding is half the kernel by default.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        around = kernel // 2 if padding is None else padding
        super().__init__(channels, filters, kernel, stride=stride, padding=around, bias=bias)

    @property
    def gray_weight(self) -> Tensor:
        """The kernels summed over the channels, (filters, 1, kernel, kernel)."""
        return self.weight.sum(1, keepdim=True) if self.in_channels > 1 else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps of shape (N, filters, h, w) for images of shape (N, 1, H, W)."""
        return onednn.convolve(self, x, self.gray_weight, self.bias)


def glorot_uniform(module: AnyNetwork, generator: torch.Generator) -> AnyNetwork:
    """Draw the weights of all convolutions and dense layers as Keras does, and return the module.

    Weights are uniform within ``sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio 2010), biases
    zero. torch's own default is narrower for most layers and gives random biases, so a published
    Keras result is not reproduced with it.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    return module


def dense_head(spec: ModelSpec, inputs: int, generator: torch.Generator) -> nn.Sequential:
    """Return dense layers from `inputs` features to the labels, with ReLU between them.

    ``spec.hidden`` gives the widths of the hidden layers: ``(256,)`` after the 512 features of a
    ResNet-18 is the COVID-19 head of Tartaglione et al. 2020 (arXiv 2004.05405), and nothing is
    their pneumonia head. Two labels get one output, as there (see `Network.logits`). Weights and
    biases are uniform within ``1 / sqrt(inputs of the layer)``, torch's default, but drawn from
    the generator, so that the same seed gives the same head to every encoder of that width.
    """
    outputs = 1 if len(spec.labels) == 2 else len(spec.labels)
    widths = [inputs, *spec.hidden, outputs]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        dense = nn.Linear(before, after)
        for parameter in dense.parameters():
            nn.init.uniform_(parameter, -(before**-0.5), before**-0.5, generator=generator)
        layers += [dense, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def he_normal(module: nn.Module, generator: torch.Generator, *, gain: float = 2.0) -> None:
    """Draw the weights of all convolutions in `module` as He et al. 2015 do (arXiv 1502.01852).

    They are normal with variance ``gain / fan_in``, biases zero; batch normalization keeps torch's
    ones and zeros.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            deviation = math.sqrt(gain / part.weight[0].numel())
            nn.init.normal_(part.weight, 0.0, deviation, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def require_size(spec: ModelSpec, least: int) -> None:
    """Raise RecipeError for images below `least` pixels, whose last map would be a single point.

    Of one point, a heat-map shows nothing, and batch normalization cannot take a last batch of
    one image.
    """
    if spec.size < least:
        raise RecipeError(
            f"{spec.architecture!r} needs images of at least {least} pixels, but the size is "
            f"{spec.size}. Take {least} or more, or an architecture that halves the image less."
        )
