"""The probability from which on an image is given a class, fixed on the validation images.

A threshold is chosen once, on images that are neither trained on nor tested on, written down, and
applied to every other set as it is. Nothing here takes a test set to choose by.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Threshold:
    """From which probability on an image is given a class.

    Raises
    ------
    EvaluationError
        If the value is not a probability above 0, or the counts are impossible.
    """

    positive: str  # the class that is looked for
    #: An image is given `positive` if its probability for it is at least this; within (0, 1].
    value: float
    rule: str  # how it was chosen, e.g. ``"youden"``
    n_validation: int  # validation images that it was chosen on, and those of `positive` among them
    n_positive: int
    #: On those images: chosen to look well there, so no estimate of either elsewhere.
    sensitivity: float
    specificity: float
    note: str = ""  # what weakens it; empty otherwise

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and 0 < self.value <= 1):
            raise EvaluationError(
                f"the threshold of {self.positive!r} is {self.value}; it must be a probability "
                "above 0 and at most 1."
            )
        if not 0 < self.n_positive < self.n_validation:
            raise EvaluationError(
                f"the threshold of {self.positive!r} rests on {self.n_positive} of "
                f"{self.n_validation} images; it takes images of both classes."
            )

    def __str__(self) -> str:
        return (
            f"{self.positive} from a probability of {self.value:.3g} on, fixed on "
            f"{self.n_validation} validation images ({self.n_positive} of {self.positive})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Threshold:
        """Read what `to_dict` wrote."""
        try:
            return cls(**plain)
        except TypeError as error:
            raise EvaluationError(
                f"this is no threshold: {error}. It is a file of a run; make the run again."
            ) from None


def youden_threshold(predictions: Predictions, positive: str) -> Threshold:
    """Return the threshold with the highest sensitivity + specificity on the validation images.

    It lies in the middle of a gap between neighbouring probabilities. Of several that are equally
    good it is the lowest: the one that misses the fewest.

    References
    ----------
    Youden, Cancer 1950;3:32-35.
    """
    scores = _scores(predictions, positive)
    truth = predictions.y_true == positive
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        lacking = positive if not positives else f"other than {positive}"
        raise EvaluationError(
            f"no validation image is {lacking}: no threshold can be chosen on them. Give every "
            'class some validation images, or use evaluation.threshold = "argmax".'
        )
    values = np.unique(scores)
    if len(values) == 1:
        note = "every validation image has the same probability: no threshold parts them"
        at_half = float(values[0]) >= 0.5
        return Threshold(
            positive, 0.5, "youden", len(truth), positives, float(at_half), float(not at_half), note
        )
    # At or above each value but the lowest: as whole numbers, so that ties are ties.
    found = positives - np.searchsorted(np.sort(scores[truth]), values[1:], side="left")
    passed = np.searchsorted(np.sort(scores[~truth]), values[1:], side="left")
    best = int(np.argmax(found * negatives + passed * positives))
    note = ""
    if found[best] * negatives + passed[best] * positives <= positives * negatives:
        note = "on the validation images no threshold is better than chance"
    return Threshold(
        positive,
        _between(float(values[best]), float(values[best + 1])),
        "youden",
        len(truth),
        positives,
        float(found[best] / positives),
        float(passed[best] / negatives),
        note,
    )


def apply(predictions: Predictions, threshold: Threshold) -> Predictions:
    """Return the predictions with their classes by a threshold; probabilities stay as they are."""
    scores = _scores(predictions, threshold.positive)
    (other,) = (c for c in predictions.classes if c != threshold.positive)
    said = np.where(scores >= threshold.value, threshold.positive, other)
    return Predictions(predictions.frame.assign(prediction=pd.array(said, dtype="str")))


def _scores(predictions: Predictions, positive: str) -> NDArray[np.float64]:
    classes = predictions.classes
    if len(classes) != 2:
        raise EvaluationError(
            f"a threshold parts two classes, and the model has {len(classes)} "
            f'({", ".join(classes)}); use evaluation.threshold = "argmax".'
        )
    if positive not in classes:
        raise EvaluationError(
            f"{positive!r} is not a class of the model; choose evaluation.positive from "
            f"{' and '.join(classes)}."
        )
    return predictions.y_prob[:, classes.index(positive)]


def _between(low: float, high: float) -> float:
    """Return the middle of two probabilities; between floats that touch there is only the upper."""
    middle = low + (high - low) / 2
    return middle if middle > low else high
