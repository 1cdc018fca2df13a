"""The head that the encoders share, and the least size of an image that they can take."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

from hurdles.errors import RecipeError
from hurdles.models.spec import ModelSpec


def dense_head(spec: ModelSpec, inputs: int, generator: torch.Generator) -> nn.Sequential:
    """Return dense layers from `inputs` features to the labels, with ReLU between them.

    ``spec.hidden`` gives the widths of the hidden layers: ``(256,)`` after the 512 features of a
    ResNet-18 is the COVID-19 head of Tartaglione et al. 2020 (arXiv 2004.05405), and nothing is
    their pneumonia head. Two labels get one output, as there (see `Network.logits`). Weights and
    biases are uniform within ``1 / sqrt(inputs of the layer)``, torch's default, but drawn from
    the generator, so that the same seed gives the same head to every encoder of that width.

    Examples
    --------
    >>> spec = ModelSpec("resnet-18", ("Normal", "COVID-19"), hidden=(256,))
    >>> [tuple(p.shape) for p in dense_head(spec, 512, torch.Generator()).parameters()]
    [(256, 512), (256,), (1, 256), (1,)]
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

    They are normal with variance ``gain / fan_in``, biases zero; batch normalisation keeps torch's
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

    Of one point, a heat-map shows nothing, and batch normalisation cannot take a last batch of
    one image.
    """
    if spec.size < least:
        raise RecipeError(
            f"{spec.architecture!r} needs images of at least {least} pixels, but the size is "
            f"{spec.size}. Take {least} or more, or an architecture that halves the image less."
        )
