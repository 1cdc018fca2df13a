"""What an epoch achieved on the validation images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hurdles.evaluation.scores import auc_score
from hurdles.training.losses import Objective


def validate(
    probability: NDArray[np.float64], truth: NDArray[np.integer], objective: Objective
) -> dict[str, float]:
    """Return loss, accuracy and AUC under their names in `hurdles.training.history.COLUMNS`."""
    return {
        "validation_loss": objective.of_probabilities(probability, truth),
        "validation_accuracy": float((probability.argmax(1) == truth).mean()),
        "validation_auc": macro_auc(probability, truth),
    }


def macro_auc(probability: NDArray[np.float64], truth: NDArray[np.integer]) -> float:
    """Return the AUC of each class against the rest, averaged over the classes that are present.

    Examples
    --------
    >>> said = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]])
    >>> macro_auc(said, np.array([0, 0, 1, 1]))
    0.75
    """
    present = np.unique(truth)
    if len(present) < 2 or np.isnan(probability).any():
        return float("nan")
    names = truth.astype(str)
    areas = [auc_score(names, probability[:, c], positive=str(c)) for c in present]
    return float(np.mean(areas))
