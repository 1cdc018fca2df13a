"""Several networks that answer as one: their mean probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from hurdles.errors import RecipeError
from hurdles.models.network import Network

__all__ = ["Ensemble"]


class Ensemble(Network):
    """A classifier whose probabilities are the mean of those of its members.

    Features are those of the members side by side, and logits the logarithm of the mean
    probability, so that it is asked, exported and explained like any other network.

    Parameters
    ----------
    members : sequence of Network
        One or more, of the same classes and size; each takes off its own mean and deviation.

    Raises
    ------
    RecipeError
        If their classes or sizes differ.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        first = members[0].spec
        super().__init__(replace(first, mean=0.0, std=1.0))
        if any((m.spec.labels, m.spec.size) != (first.labels, first.size) for m in members):
            raise RecipeError("networks that answer as one have the same classes and size.")
        self.members = nn.ModuleList(members)

    def features(self, x: Tensor) -> Tensor:
        """Return what the heads of all members see, side by side, shape (N, members * D)."""
        return torch.cat([member.features(x) for member in self.networks], dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """Return the logarithm of the mean probability, shape (N, labels)."""
        parts = features.chunk(len(self.members), dim=1)
        answers = [
            member.logits(part).log_softmax(1)
            for member, part in zip(self.networks, parts, strict=True)
        ]
        return torch.stack(answers).logsumexp(0) - math.log(len(answers))

    @property
    def networks(self) -> list[Network]:
        """The members."""
        return [member for member in self.members if isinstance(member, Network)]

    def encode(self, x: Tensor) -> Tensor:
        """Return `features`: every member scales the images itself."""
        return self.features(x)

    @property
    def last_convolution(self) -> nn.Module:
        """The last convolution: there is none, each member has its own.

        Raises
        ------
        RecipeError
            Always.
        """
        raise RecipeError("networks that answer as one have a last convolution each.")
