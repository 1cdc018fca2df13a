"""The spec of a network, which goes with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

from hurdles.errors import RecipeError

__all__ = ["ModelSpec"]


@dataclass(frozen=True)
class ModelSpec:
    """Everything besides the weights that decides what a network answers.

    Parameters
    ----------
    architecture : str
        Name of a registered network; see `architectures`.
    labels : tuple of str
        Classes in the order of the outputs; at least two, no two alike.
    size : int, default 224
        Height and width of the images, in pixels.
    channels : {1, 3}, default 1
        Input channels of the first convolution. With 3 the gray image stands in each of them, as
        where a notebook reads gray files as RGB; the network takes one channel all the same.
    hidden : tuple of int, default ()
        Widths of the hidden layers of the head. Where a head was published with its network (the
        three of Lázaro and Barco 2020, the LeNets) that head is kept, and this must be empty.
    mean, std : float
        Subtracted from the pixels, which lie within [0, 1], and divided by; part of the network.
    unit_features : bool, default False
        Whether the features of each image are scaled to length one (Euclidean) before the head.

    Raises
    ------
    RecipeError
        If one of these cannot be.

    Examples
    --------
    >>> spec = ModelSpec("baseline", ("COVID-19", "Normal"))
    >>> ModelSpec.from_dict(spec.to_dict()) == spec
    True
    >>> ModelSpec("baseline", ("Normal",))
    Traceback (most recent call last):
    hurdles.errors.RecipeError: a classifier needs at least two labels, but has ['Normal'].
    """

    architecture: str
    labels: tuple[str, ...]
    size: int = 224
    channels: int = 1
    hidden: tuple[int, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    unit_features: bool = False

    def __post_init__(self) -> None:
        # A list from JSON is welcome; a string would silently become its letters.
        labels: object = self.labels
        if isinstance(labels, str):
            raise RecipeError(f"labels must be several names, not the string {self.labels!r}.")
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if len(self.labels) < 2:
            raise RecipeError(
                f"a classifier needs at least two labels, but has {list(self.labels)}."
            )
        if len(set(self.labels)) < len(self.labels):
            raise RecipeError(f"labels must differ from each other; they are {list(self.labels)}.")
        if self.size < 1:
            raise RecipeError(f"size must be a positive number of pixels, not {self.size}.")
        if any(width < 1 for width in self.hidden):
            raise RecipeError(f"hidden layers need a positive width; they are {self.hidden}.")
        if self.channels not in (1, 3):
            raise RecipeError(f"channels must be 1 or 3, not {self.channels}.")
        if not (isfinite(self.mean) and isfinite(self.std) and self.std > 0):
            raise RecipeError(
                f"mean and std must be finite and std positive; they are {self.mean}, {self.std}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {**asdict(self), "labels": list(self.labels), "hidden": list(self.hidden)}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> ModelSpec:
        """Read what `to_dict` wrote; an unknown or a missing key raises RecipeError."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(plain) - known):
            raise RecipeError(
                f"a model's spec has no {', '.join(map(repr, unknown))}; "
                f"known: {', '.join(sorted(known))}."
            )
        if missing := sorted({"architecture", "labels"} - set(plain)):
            raise RecipeError(f"a model's spec lacks {', '.join(map(repr, missing))}.")
        return cls(**plain)
