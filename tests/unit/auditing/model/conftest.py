"""Models whose reading is known: a function of pixels and masks in the place of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from hurdles.auditing.material import Capability, Elsewhere, Material, Subject
from hurdles.data.manifest import Manifest
from hurdles.evaluation.predictions import Predictions
from hurdles.phantom import Shortcut, phantom_cohort

LABELS = ("COVID-19", "Normal")


@dataclass(frozen=True, eq=False)
class Reading:
    """A model that answers by a function of pixels and masks: the log-odds of COVID-19."""

    reads: Callable[[np.ndarray, Any], np.ndarray]
    name: str = "made"
    labels: tuple[str, ...] = LABELS
    size: int = 96
    preparation: str = "raw"
    capabilities: frozenset[Capability] = frozenset({Capability.ANSWERS})

    def ask(self, pixels: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        p = 1 / (1 + np.exp(-np.clip(self.reads(pixels, masks), -50, 50)))
        return np.column_stack([p, 1 - p])


@cache
def _material(shortcut: str, seed: int, patients: int) -> Material:
    planted = Shortcut(shortcut, 1.0) if shortcut else None
    made = phantom_cohort(patients, seed=seed, size=96, classes=LABELS, shortcut=planted)
    names = made.frame["patient"].to_numpy(dtype=str)
    frame = made.frame.assign(path="/" + made.frame["image"])
    early = np.where(names < "P0004", "train", "validation")
    frame["split"] = np.where(names < "P0008", early, "test")
    return Material("phantoms", Manifest(frame), made.pixels, masks=made.masks > 127)


@pytest.fixture(scope="session")
def phantoms() -> Callable[..., Material]:
    """Return phantoms with a shortcut (or none) of full strength, from a seed."""
    return lambda shortcut="", seed=1, patients=44: _material(shortcut, seed, patients)


@pytest.fixture(scope="session")
def reading() -> Callable[..., Subject]:
    """Return a subject made of a material and of what it reads."""

    def make(
        images: Material,
        reads: Callable[[np.ndarray, Any], np.ndarray],
        elsewhere: Sequence[Elsewhere] = (),
    ) -> Subject:
        def untold(part: str) -> Predictions:
            chosen = images.take(images.rows(part))
            frame = chosen.manifest.frame
            return Predictions.from_arrays(
                LABELS,
                y_true=frame["label"].tolist(),
                y_prob=np.full((len(chosen), 2), 0.5),
                images=frame["image"].tolist(),
                groups=chosen.groups.tolist(),
            )

        test = untold("test")
        validation = untold("validation") if len(images.rows("validation")) else None
        return Subject("made", Reading(reads), images, validation, test, elsewhere=elsewhere)

    return make
