"""Images that are not answered: a rule fixed on validation images, and what it costs and gains.

Every image has a score, higher where it is stranger to the network. The rule rejects what scores
above a limit, and the limit is taken from validation images alone: nothing here takes a test set to
choose by. A rejected image is listed and counted; what is said of the accepted ones always stands
beside the share that was accepted, because a rule that rejects enough makes any network look good.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions

#: Columns of ``predictions/<set>.rejection.csv``.
COLUMNS: dict[str, str] = {
    "image": "unique name of the image, as in the manifest",
    "score": "how strange the image is to the network, without a unit; higher is stranger",
    "rejected": "True where the score is above the limit that was fixed on validation images",
}

#: Cells of distances in memory at a time (float32: 16 MB).
_CELLS = 4_000_000


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
    known: NDArray[np.float32], features: NDArray[np.float32], *, neighbours: int = 10
) -> NDArray[np.float64]:
    """Return how far each image is from its k-th nearest neighbour among known ones.

    Features are scaled to length one first, and distances are Euclidean then.

    References
    ----------
    Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest neighbors",
    arXiv 2204.06507.
    """
    if not len(known) or known.shape[1:] != features.shape[1:] or neighbours < 1:
        raise EvaluationError(
            f"features of shape {features.shape} have no neighbour number {neighbours} among "
            f"known ones of shape {known.shape}; give features of one network, and 1 or more."
        )
    a, b = _directions(known), _directions(features)
    k = min(neighbours, len(a)) - 1
    rows = max(1, _CELLS // len(a))
    found = [
        np.partition(2 - 2 * b[start : start + rows] @ a.T, k, axis=1)[:, k]
        for start in range(0, len(b), rows)
    ]
    squares = np.concatenate(found) if found else np.empty(0)
    return np.sqrt(np.maximum(squares.astype(np.float64), 0))


def rejection_table(
    rule: Rejection, images: list[str], scores: NDArray[np.floating]
) -> pd.DataFrame:
    """Return one row per image, as in `COLUMNS`."""
    return pd.DataFrame({"image": images, "score": scores, "rejected": rule.rejects(scores)})


@dataclass(frozen=True)
class Selective:
    """How good a network is where it answers, and how often it does."""

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
    names = predictions.frame["image"].to_numpy(dtype=str)
    return Selective(
        patient_share(~rejected, predictions.groups, level=level),
        _area(predictions, ~rejected, level),
        _area(predictions, rejected, level),
        macro_auc(predictions, level=level),
        tuple(names[rejected].tolist()),
    )


def _area(predictions: Predictions, rows: NDArray[np.bool_], level: float) -> Estimate:
    if not rows.any():
        return undefined("no image is left", level=level)
    return macro_auc(Predictions(predictions.frame[rows].reset_index(drop=True)), level=level)


def _directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
