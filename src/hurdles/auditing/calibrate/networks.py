"""Small networks, trained on a cohort in seconds, and put before the hurdles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.auditing.subject import Elsewhere, Subject
from hurdles.data.vocabulary import Split
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.scores import auc_score
from hurdles.recipe.recipe import Recipe

if TYPE_CHECKING:
    from hurdles.models.network import Network


def _recipe(size: int, epochs: int, seed: int) -> Recipe:
    """Return how a network is trained: quickly, and well enough to read what is planted."""
    return Recipe(name="calibrate-audit").changed(
        preparation={"size": size},
        model={"architecture": "small", "scaling": "training"},
        training={
            "epochs": epochs,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "schedule": "cosine",
            "choose_by": "auc",
            "seed": seed,
        },
    )


def train_network(material: Material, *, epochs: int, seed: int) -> Network:
    """Train the network `small` on the training part of a cohort, in memory."""
    from hurdles.models.spec import build
    from hurdles.training.loop import TrainingData, train

    labels = tuple(material.manifest.labels)
    data = TrainingData(
        material.pixels,
        np.searchsorted(labels, material.labels).astype(np.int64),
        labels,
        material.rows(Split.TRAIN),
        material.rows(Split.VALIDATION),
        material.name,
    )
    recipe = _recipe(material.pixels.shape[1], epochs, seed)
    trained = train(recipe, data)
    network = build(trained.spec, seed=seed)
    network.load_state_dict(trained.best)
    return network.eval()


def area_of(network: Network, material: Material) -> float:
    """Return the network's AUC for the first of two classes on images that it never saw."""
    from hurdles.training.prediction import probabilities

    said = probabilities(network, material.pixels)
    return auc_score(material.labels, said[:, 0], positive=network.spec.labels[0])


def subject_of(
    network: Network, material: Material, *, elsewhere: Material, siblings: int, epochs: int
) -> Subject:
    """Put a network before the hurdles."""
    from hurdles.training.prediction import probabilities

    parts = {part: material.take(material.rows(part)) for part in Split}
    test = parts[Split.TEST]

    def said_of(images: Material, by: Network) -> Predictions:
        return _predictions(by, images, probabilities(by, images.pixels))

    others = [
        train_network(material, epochs=epochs, seed=material.seed + 1 + n) for n in range(siblings)
    ]
    return Subject(
        material.name,
        network,
        "raw",
        material,
        said_of(parts[Split.VALIDATION], network),
        said_of(test, network),
        elsewhere=(Elsewhere(elsewhere, said_of(elsewhere, network)),),
        siblings=tuple(said_of(test, other) for other in others),
    )


def _predictions(network: Network, material: Material, said: NDArray[np.float64]) -> Predictions:
    frame = material.manifest.frame
    return Predictions.from_arrays(
        network.spec.labels,
        y_true=frame["label"].tolist(),
        y_prob=said,
        images=frame["image"].tolist(),
        groups=material.groups.tolist(),
        sources=[None if s != s else s for s in frame["source"]],
        paths=frame["path"].tolist(),
    )
