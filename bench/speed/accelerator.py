"""A GPU, where one is: the three rows of seed 004, 30 epochs each."""

from __future__ import annotations

import time
from collections.abc import Callable

from pairs import Goal, Row, Side

RECIPES = (
    "lazaro-barco-2020-baseline",
    "lazaro-barco-2020-baseline-augmented",
    "lazaro-barco-2020-inception-augmented",
)


def three_rows(epochs: int, images: int = 2033, size: int = 224) -> Callable[[float], float]:
    """Train the three recipes one after the other, by default on as many pixels as were published.

    The pixels are noise: what they show does not change the time.
    """
    import numpy as np

    from hurdles.recipe.recipe import load_recipe
    from hurdles.training.loop import TrainingData, train

    labels = ("COVID-19", "Normal", "Viral Pneumonia")
    n = images + 436
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, size, size), dtype=np.uint8)
    classes = rng.choice(3, n, p=(153 / 2033, 939 / 2033, 941 / 2033))
    parts = np.arange(images), np.arange(images, n)
    data = TrainingData(pixels, classes, labels, *parts, "bench")

    def turn(_: float) -> float:
        began = time.perf_counter()
        for name in RECIPES:
            recipe = load_recipe(name)
            settings = {"training": {"epochs": epochs}, "preparation": {"size": size}}
            train(recipe.changed(**settings), data)
        return time.perf_counter() - began

    return turn


ROWS = (
    Row(
        "gpu-lazaro-barco",
        "the three rows of Lázaro and Barco 2020 at 224 px, 30 epochs each, on a GPU",
        "s",
        (Side("hurdles", "accelerator:three_rows", {"epochs": 30}),),
        (Goal(60),),
        better="lower",
        turns=2,
        needs="cuda",
    ),
)
