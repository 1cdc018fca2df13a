"""A training that takes a tenth of a second."""

from __future__ import annotations

import numpy as np

from hurdles.recipe.recipe import Recipe
from hurdles.training.loop import TrainingData


def tiny_recipe(**training) -> Recipe:
    settings = {"epochs": 2, "batch_size": 8, "precision": "float32", **training}
    return Recipe(
        name="tiny",
        preparation={"size": 16},
        augmentation={"policy": "balanced"},
        training=settings,
    )


def tiny_data(seed: int = 0, *, contrast: int = 90, identity: str = "data") -> TrainingData:
    """Return 30 images of noise; those of the second class have a bright left half."""
    rng = np.random.default_rng(seed)
    classes = np.arange(30) % 2
    pixels = rng.integers(0, 100, (30, 16, 16), dtype=np.uint8)
    pixels[classes == 1, :8] += np.uint8(contrast)
    return TrainingData(
        pixels, classes, ("dark", "bright"), np.arange(20), np.arange(20, 30), identity
    )
