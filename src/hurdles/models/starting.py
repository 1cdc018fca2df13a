"""Where an encoder's first weights come from, and which of them stay as they are.

An encoder starts from scratch, from ImageNet, or from another run: the last is the pneumonia
pre-training of Tartaglione et al. 2020. Whatever the origin, `StartingWeights` carries it along
with what the weights need to be fed rightly, and `apply_start` takes all of them or none.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hurdles.errors import RecipeError
from hurdles.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

__all__ = ["ENCODER", "StartingWeights", "apply_start", "encoder_of", "freeze", "weights_hash"]

#: In a list of what to freeze: everything but the head.
ENCODER = "encoder"

_HEAD = "head."


@dataclass(frozen=True, eq=False)
class StartingWeights:
    """An encoder's weights and what they need to be fed rightly.

    Parameters
    ----------
    weights : dict of str to Tensor
        Everything in a network's ``state_dict`` but the head.
    spec : ModelSpec
        Of the network that they were trained in; of it, architecture, channels, mean and std hold
        for the new network too.
    preparation : dict
        Name and size of the images that they were trained on, and the key of the lungs' weights
        if those were needed; empty if they may be fed otherwise, as those from photographs.
    description : dict of str to str
        Source, licence and whatever else a reader should know.

    Raises
    ------
    RecipeError
        If there is no encoder entry.
    """

    weights: dict[str, torch.Tensor]
    spec: ModelSpec
    preparation: Mapping[str, Any]
    description: dict[str, str]

    def __post_init__(self) -> None:
        if not self.weights or any(name.startswith(_HEAD) for name in self.weights):
            raise RecipeError(
                "starting weights are those of an encoder, without its head; "
                f"got {sorted(self.weights)[:3] or 'none'}."
            )

    @property
    def mean(self) -> float:
        """Subtracted from the pixels, which lie within [0, 1]."""
        return self.spec.mean

    @property
    def std(self) -> float:
        """Divided by, after `mean` is subtracted."""
        return self.spec.std

    @cached_property
    def origin(self) -> str:
        """SHA-256 of the weights: equal origins, equal encoders."""
        return weights_hash(self.weights)

    def to_metadata(self) -> dict[str, str]:
        """Return what goes beside the weights in a safetensors file."""
        return {
            "spec": json.dumps(self.spec.to_dict()),
            "preparation": json.dumps(dict(self.preparation)),
            "description": json.dumps(self.description),
        }

    @classmethod
    def from_file(
        cls, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str], *, source: str
    ) -> StartingWeights:
        """Take the encoder of a run's weights, or what `to_metadata` described.

        Parameters
        ----------
        weights : mapping of str to Tensor
            A network's whole ``state_dict``, or its encoder.
        metadata : mapping of str to str
            As `hurdles.runs.run` writes it: ``spec`` and ``preparation`` as JSON.
        source : str
            Where they come from, for messages and for the card.

        Raises
        ------
        RecipeError
            If the metadata do not say what the weights are.
        """
        if "spec" not in metadata:
            raise RecipeError(
                f"{source} does not say which network its weights belong to; start from a run of "
                "hurdles or from the weights/best.safetensors of one."
            )
        spec = ModelSpec.from_dict(json.loads(metadata["spec"]))
        description = {"source": source, "trained for": ", ".join(spec.labels)}
        return cls(
            encoder_of(weights),
            spec,
            json.loads(metadata.get("preparation", "{}")),
            json.loads(metadata.get("description", "null")) or description,
        )

    def refuse_unlike(self, spec: ModelSpec, preparation: Mapping[str, Any]) -> None:
        """Raise unless these weights fit a network and the images that it will be given.

        Parameters
        ----------
        spec : ModelSpec
            Of the network that is to start from them.
        preparation : mapping
            As in the class; another size is allowed wherever the shapes allow it.

        Raises
        ------
        RecipeError
            If architecture, channels or preparation differ.
        """
        source = self.description.get("source", "the starting weights")
        for what in ("architecture", "channels"):
            theirs, ours = getattr(self.spec, what), getattr(spec, what)
            if theirs != ours:
                raise RecipeError(
                    f"{source} has {what} {theirs!r}, this recipe {ours!r}: its encoder cannot be "
                    f"started from. Set model.{what} = {theirs!r}, or start from another run."
                )
        for key, theirs in self.preparation.items():
            if key != "size" and theirs != preparation.get(key):
                raise RecipeError(
                    f"{source} was trained on images with preparation.{key} = {theirs!r}; this "
                    f"recipe has {preparation.get(key)!r}. Prepare the images alike, or start "
                    "from another run."
                )


def encoder_of(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the entries of a network's ``state_dict`` that do not belong to its head."""
    return {name: value for name, value in weights.items() if not name.startswith(_HEAD)}


def weights_hash(weights: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes, in the order of the names.

    Examples
    --------
    >>> import torch
    >>> a, b = {"x": torch.zeros(2), "y": torch.ones(1)}, {"y": torch.ones(1), "x": torch.zeros(2)}
    >>> weights_hash(a) == weights_hash(b), weights_hash(a) == weights_hash({**a, "x": a["y"]})
    (True, False)
    """
    import torch

    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def apply_start(network: Network, start: StartingWeights) -> None:
    """Give a network the encoder of `start`; its head keeps its own weights.

    Parameters
    ----------
    network : Network
        Fresh; its spec says how images are scaled, see `StartingWeights.spec`.
    start : StartingWeights
        What to start from.

    Raises
    ------
    RecipeError
        If an entry is missing, too many, or of another shape. Nothing is changed then.
    """
    mine = encoder_of(network.state_dict())
    theirs = start.weights
    source = start.description.get("source", "the starting weights")
    wrong = [f"{n} is missing" for n in mine if n not in theirs]
    wrong += [f"{n} is not in the network" for n in theirs if n not in mine]
    wrong += [
        f"{n} has shape {tuple(theirs[n].shape)} instead of {tuple(mine[n].shape)}"
        for n in mine
        if n in theirs and theirs[n].shape != mine[n].shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise RecipeError(
            f"the encoder of {source} does not fit {network.spec.architecture!r} at "
            f"{network.spec.size} px: {'; '.join(wrong[:3])}{more}. Start from a run of the same "
            "architecture and size."
        )
    network.load_state_dict({**network.state_dict(), **theirs})


def freeze(network: Network, patterns: Sequence[str]) -> list[str]:
    """Exempt parameters from training and return their names.

    A batch normalisation whose parameters are frozen keeps its running statistics too, see
    `Network.train`.

    Parameters
    ----------
    network : Network
        Changed in place.
    patterns : sequence of str
        Names of parameters with ``*``, as in ``encoder.layer1.*``; ``encoder`` alone is
        everything but the head.

    Raises
    ------
    RecipeError
        If a pattern matches nothing, or nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        found = _matching(names, pattern)
        if not found:
            raise RecipeError(
                f"model.freeze = {pattern!r} matches no parameter of "
                f"{network.spec.architecture!r}; its parameters are called {', '.join(names[:3])}, "
                f"... Take {ENCODER!r} for all but the head."
            )
        frozen.update(found)
    if frozen == set(names):
        raise RecipeError("model.freeze leaves nothing to train; leave out at least the head.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return [name for name in names if name in frozen]


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    if pattern == ENCODER:
        return [name for name in names if not name.startswith(_HEAD)]
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]
