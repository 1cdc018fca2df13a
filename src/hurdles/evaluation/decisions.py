"""Decisions fixed on validation images: the threshold of a class, and what is not answered at all.

Either rule is chosen once, on images that are neither trained on nor tested on, written down, and
applied to every other set as it is: nothing here takes a test set to choose by.

For rejection every image has a score, higher where it is stranger to the network; the rule rejects
what scores above a limit. A rejected image is listed and counted; what is said of the accepted ones
always stands beside the share that was accepted, because a rule that rejects enough makes any
network look good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions, argmax_prediction

#: Columns of ``predictions/<set>.rejection.csv``.
REJECTION_COLUMNS: dict[str, str] = {
    "image": "unique name of the image, as in the manifest",
    "score": "how strange the image is to the network, without a unit; higher is stranger",
    "rejected": "True where the score is above the limit that was fixed on validation images",
}

#: Cells of distances in memory at a time (float32: 16 MB).
_CELLS = 4_000_000


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

    It lies in the middle of a gap between neighboring probabilities. Of several that are equally
    good it is the lowest: the one that misses the fewest.

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
    hits = positives - np.searchsorted(np.sort(scores[truth]), values[1:], side="left")
    passed = np.searchsorted(np.sort(scores[~truth]), values[1:], side="left")
    best = int(np.argmax(hits * negatives + passed * positives))
    note = ""
    if hits[best] * negatives + passed[best] * positives <= positives * negatives:
        note = "on the validation images no threshold is better than chance"
    low, high = float(values[best]), float(values[best + 1])
    middle = low + (high - low) / 2
    return Threshold(
        positive,
        middle if middle > low else high,  # between floats that touch there is only the upper
        "youden",
        len(truth),
        positives,
        float(hits[best] / positives),
        float(passed[best] / negatives),
        note,
    )


def apply(predictions: Predictions, threshold: Threshold) -> Predictions:
    """Return the predictions with their classes by a threshold; probabilities stay as they are."""
    _scores(predictions, threshold.positive)
    answers = decided(threshold, predictions.classes, predictions.y_prob)
    return Predictions(predictions.frame.assign(prediction=pd.array(answers, dtype="str")))


def decided(
    threshold: Threshold | None, classes: Sequence[str], y_prob: NDArray[np.floating]
) -> NDArray[np.str_]:
    """Return the class of each row of probabilities by a threshold; None: the most probable one."""
    if threshold is None:
        return argmax_prediction(classes, y_prob)
    return parted_at(threshold.value, threshold.positive, classes, y_prob)


def parted_at(
    value: float, positive: str, classes: Sequence[str], y_prob: NDArray[np.floating]
) -> NDArray[np.str_]:
    """Return which of two classes each row names: `positive` from this probability of it on."""
    (other,) = (c for c in classes if c != positive)
    return np.where(y_prob[:, list(classes).index(positive)] >= value, positive, other)


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


@dataclass(frozen=True)
class Rejection:
    """From which score on an image is rejected.

    Raises
    ------
    EvaluationError
        If the limit is not a number or the acceptance no share.
    """

    by: str  # what the score is, e.g. ``"distance"``
    limit: float  # images that score above it are rejected; infinity: none
    #: Share of images like those of validation that is to be accepted, within (0, 1).
    acceptance: float
    n_validation: int  # validation images that it was fixed on, and those of them that it rejects
    n_rejected: int
    note: str = ""  # what weakens it; empty otherwise

    def __post_init__(self) -> None:
        if math.isnan(self.limit) or not 0 < self.acceptance < 1:
            raise EvaluationError(
                f"a rule with limit {self.limit} and acceptance {self.acceptance} rejects nothing "
                "that can be told; the limit is a number, the acceptance a share below 1."
            )

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        strange = "nothing" if math.isinf(self.limit) else f"above {self.limit:.4g}"
        return (
            f"rejected by {self.by}: {strange}, fixed on {self.n_validation} "
            f"validation images to accept {100 * self.acceptance:.3g} % of such images{note}"
        )

    def rejects(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which of n images are rejected, by their scores."""
        return np.asarray(scores > self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which a limit of infinity becomes None."""
        plain = asdict(self)
        return {**plain, "limit": None if math.isinf(self.limit) else self.limit}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Rejection:
        """Read what `to_dict` wrote."""
        limit = math.inf if plain["limit"] is None else float(plain["limit"])
        return cls(**{**plain, "limit": limit})


def fix_rejection(
    scores: NDArray[np.floating], *, acceptance: float = 0.95, by: str = "distance"
) -> Rejection:
    """Return the rule that accepts a share of images such as those of validation.

    The limit is the validation score of rank ``ceil((n + 1) * acceptance)``: of images from the
    same place at least that share is accepted on average, however few were at hand (conformal
    prediction; Vovk, Gammerman and Shafer 2005). With too few for that rank nothing is rejected.

    Examples
    --------
    >>> fix_rejection(np.arange(99.0), acceptance=0.95).limit
    94.0
    >>> fix_rejection(np.arange(5.0)).limit
    inf
    """
    if not len(scores) or np.isnan(scores).any() or not 0 < acceptance < 1:
        raise EvaluationError(
            f"{len(scores)} validation scores ({int(np.isnan(scores).sum())} not numbers) and an "
            f"acceptance of {acceptance} fix no rule; give scores, and a share between 0 and 1."
        )
    rank = math.ceil((len(scores) + 1) * acceptance - 1e-9)
    if rank > len(scores):
        least = math.ceil(acceptance / (1 - acceptance) - 1e-9)
        note = f"too few validation images to reject any: {least} would do"
        return Rejection(by, math.inf, acceptance, len(scores), 0, note)
    limit = float(np.sort(scores)[rank - 1])
    return Rejection(by, limit, acceptance, len(scores), int((scores > limit).sum()))


def nearest_distances(
    known: NDArray[np.float32], features: NDArray[np.float32], *, neighbors: int = 10
) -> NDArray[np.float64]:
    """Return how far each image is from its k-th nearest neighbor among known ones.

    Features are scaled to length one first, and distances are Euclidean then.

    Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest neighbors",
    arXiv 2204.06507.
    """
    if not len(known) or known.shape[1:] != features.shape[1:] or neighbors < 1:
        raise EvaluationError(
            f"features of shape {features.shape} have no neighbour number {neighbors} among "
            f"known ones of shape {known.shape}; give features of one network, and 1 or more."
        )
    a, b = (
        x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.float32(1e-12))
        for x in (known, features)
    )
    k = min(neighbors, len(a)) - 1
    rows = max(1, _CELLS // len(a))
    parts = [
        np.partition(2 - 2 * b[start : start + rows] @ a.T, k, axis=1)[:, k]
        for start in range(0, len(b), rows)
    ]
    squares = np.concatenate(parts) if parts else np.empty(0)
    return np.sqrt(np.maximum(squares.astype(np.float64), 0))


def rejection_table(
    rule: Rejection, images: list[str], scores: NDArray[np.floating]
) -> pd.DataFrame:
    """Return one row per image, as in `REJECTION_COLUMNS`."""
    return pd.DataFrame({"image": images, "score": scores, "rejected": rule.rejects(scores)})


@dataclass(frozen=True)
class Selective:
    """Performance of a network where it answers, and how often it does."""

    coverage: Estimate  # share of images accepted
    #: AUC (mean over classes, one against the rest) of the images accepted, of those rejected,
    #: and of all.
    accepted: Estimate
    rejected: Estimate
    everything: Estimate
    images: tuple[str, ...]  # names of the rejected images

    def __str__(self) -> str:
        return (
            f"{len(self.images)} of {self.coverage.n_images} images are rejected (answered: "
            f"{self.coverage.percent()}); AUC of those answered {self.accepted}, of all "
            f"{self.everything}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        names = ("coverage", "accepted", "rejected", "everything")
        return {**{n: getattr(self, n).to_dict() for n in names}, "images": list(self.images)}


def selective(
    predictions: Predictions, rejected: NDArray[np.bool_], *, level: float = 0.95
) -> Selective:
    """Return how good predictions are where they were not rejected, and how many that are."""
    if len(rejected) != len(predictions):
        raise EvaluationError(
            f"{len(rejected)} decisions for {len(predictions)} images; give one for each."
        )

    def auc(rows: NDArray[np.bool_]) -> Estimate:
        if not rows.any():
            return undefined("no image is left", level=level)
        return macro_auc(Predictions(predictions.frame[rows].reset_index(drop=True)), level=level)

    names = predictions.frame["image"].to_numpy(dtype=str)
    return Selective(
        patient_share(~rejected, predictions.groups, level=level),
        auc(~rejected),
        auc(rejected),
        macro_auc(predictions, level=level),
        tuple(names[rejected].tolist()),
    )
