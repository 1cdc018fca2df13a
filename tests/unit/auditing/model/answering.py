"""Subjects whose answers are given, with what is known of their patients; there is no network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from hurdles.auditing.material import Material, NetworkModel, Subject
from hurdles.data.manifest import Manifest
from hurdles.evaluation.predictions import Predictions

LABELS = ("ill", "well")


def drawn(n, seed, *, slope=1.0, spread=2.0):
    """Return truth and probabilities (n, 2): logits must be multiplied by `slope` to be true."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, spread, n)
    ill = rng.random(n) < 1 / (1 + np.exp(-slope * z))
    p = 1 / (1 + np.exp(-z))
    return np.where(ill, *LABELS), np.stack([p, 1 - p], axis=1)


def answering(truth, said, *, siblings=(), **columns):
    """Return a subject with these answers to test images, one patient each, and siblings."""
    n = len(truth)
    names = [f"i{i}" for i in range(n)]
    frame = pd.DataFrame(
        {
            "image": names,
            "path": [f"/{name}.png" for name in names],
            "label": truth,
            "patient": names,
            "split": "test",
            **columns,
        }
    )
    manifest = Manifest(pd.concat([frame, _one_to_validate(frame)], ignore_index=True))
    material = Material("made", manifest, np.zeros((n + 1, 64, 64), dtype=np.uint8))
    labels, groups = material.labels, material.groups
    images = manifest.frame["image"].to_numpy()

    def table(y_prob, rows):
        return Predictions.from_arrays(
            LABELS,
            y_true=labels[rows].tolist(),
            y_prob=y_prob,
            images=images[rows].tolist(),
            groups=groups[rows].tolist(),
        )

    test = material.rows("test")
    network: Any = SimpleNamespace(spec=SimpleNamespace(labels=LABELS, size=64))
    validation = table(np.full((1, 2), 0.5), material.rows("validation"))
    others = tuple(table(p, test) for p in siblings)
    return Subject(
        "made", NetworkModel(network), material, validation, table(said, test), siblings=others
    )


def _one_to_validate(frame):
    one = frame.iloc[:1].copy()
    return one.assign(image="v", path="/v.png", patient="v", split="validation")


def found_by(hurdle, subject):
    """Return what a hurdle found, by subject and statistic's first word."""
    return list(hurdle(subject))
