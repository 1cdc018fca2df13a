"""The beginning of a training: its network, how that scales pixels, and its identity."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError
from hurdles.models.spec import ModelSpec, build
from hurdles.recipe.choices import Scaling, Start
from hurdles.recipe.recipe import Recipe
from hurdles.training.checkpoint import TrainingState
from hurdles.training.machine import Machine

if TYPE_CHECKING:
    from hurdles.models.network import Network
    from hurdles.models.starting import StartingWeights
    from hurdles.training.loop import TrainingData


def first_network(
    recipe: Recipe, spec: ModelSpec, start: StartingWeights | None, machine: Machine
) -> Network:
    """Return the network before its first step, on the machine's device."""
    import torch

    network = build(spec, seed=recipe.training.seed)
    if start is not None:
        from hurdles.models.starting import apply_start

        apply_start(network, start)
    if recipe.model.freeze:
        from hurdles.models.starting import freeze

        freeze(network, recipe.model.freeze)
    # mypy does not know this keyword of Module.to.
    return network.to(machine.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def scaling_of(
    recipe: Recipe, data: TrainingData, start: StartingWeights | None, state_path: Path | None
) -> tuple[float, float]:
    """Return the mean and standard deviation that the network takes off pixels within [0, 1].

    They are those of the starting weights, or else what ``model.scaling`` says.
    """
    model = recipe.model
    if start is not None:
        if model.start is Start.SCRATCH:
            raise RecipeError(
                "model.start = 'scratch', but weights were given to start from. Set model.start = "
                "'imagenet' or 'run', or leave the weights out."
            )
        if model.origin not in {"", start.origin}:
            raise RecipeError(
                f"model.origin = '{model.origin[:12]}...', but the weights given to start from are "
                f"'{start.origin[:12]}...'. Give the weights that the recipe names, or clear "
                "model.origin."
            )
        return start.spec.mean, start.spec.std
    if model.start is not Start.SCRATCH:
        if state_path is None or not state_path.exists():
            raise RecipeError(
                f"model.start = '{model.start}', but no weights were given to start from. Give "
                "them (--encoder-from RUN), or set model.start = 'scratch'."
            )
        mean, std = TrainingState.scaling_in(state_path)
        return mean, std
    if model.scaling is Scaling.TRAINING:
        return pixel_scaling(data.pixels, data.train)
    return 0.0, 1.0


# Images at a time, so that a memory map larger than the memory will do.
_CHUNK = 256


def pixel_scaling(pixels: NDArray[np.uint8], positions: NDArray[np.integer]) -> tuple[float, float]:
    """Return the mean and the standard deviation of all pixels of some images, from 0 to 1.

    Bytes are counted by their value, so that sums are of integers and nothing depends on the order.

    Examples
    --------
    >>> pixels = np.array([[[0, 255]], [[255, 0]], [[9, 9]]], dtype=np.uint8)
    >>> pixel_scaling(pixels, np.array([0, 1]))
    (0.5, 0.5)
    """
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(positions), _CHUNK):
        chunk = pixels[positions[start : start + _CHUNK]]
        counts += np.bincount(chunk.reshape(-1), minlength=256)
    by_value: list[int] = counts.tolist()  # Python integers: squares overflow nowhere
    n = sum(by_value)
    total = sum(value * count for value, count in enumerate(by_value))
    squares = sum(value * value * count for value, count in enumerate(by_value))
    spread = n * squares - total * total
    if not spread:
        raise RecipeError(
            f"all {len(positions)} training images are of one and the same grey, which "
            "model.scaling = 'training' would divide by zero. Look at the images, or set 'none'."
        )
    return total / n / 255, math.sqrt(spread) / n / 255


def identity_of(
    recipe: Recipe, data: TrainingData, machine: Machine, start: StartingWeights | None
) -> str:
    """Return a hash of all that decides a training's bits; a saved state carries it."""
    import torch

    sections = {"preparation", "model", "augmentation", "training"}
    settings = recipe.model_dump(mode="json", include=sections)
    del settings["training"]["choose"]  # both epochs are kept, whichever is asked for
    if start is not None:
        settings["model"]["origin"] = start.origin
    # What changes the weights; rejecting images comes afterwards. Nothing enters without a remedy.
    remedies = recipe.remedy.model_dump(mode="json", exclude={"reject", "reject_by"})
    if recipe.remedy.needs_sources:
        settings["remedy"] = [remedies, data.origins.of.tolist(), data.origins.names]
    parts = {
        "settings": settings,
        "data": data.identity,
        "labels": data.labels,
        "machine": [
            str(machine.device),
            machine.format_name,
            torch.__version__,
            torch.get_num_threads(),
        ],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
