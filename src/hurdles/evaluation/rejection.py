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
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.means import patient_share
from hurdles.evaluation.predictions import Predictions

__all__ = [
    "COLUMNS",
    "Rejection",
    "Selective",
    "coverage",
    "fix_rejection",
    "nearest_distances",
    "rejection_table",
    "risk_coverage",
    "selective",
]

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

    Parameters
    ----------
    by : str
        What the score is, e.g. ``"distance"``.
    limit : float
        Images that score above it are rejected; infinity: none.
    acceptance : float
        Share of images like those of validation that is to be accepted, within (0, 1).
    n_validation, n_rejected : int
        Validation images that it was fixed on, and those of them that it rejects.
    note : str
        What weakens it; empty otherwise.

    Raises
    ------
    EvaluationError
        If the limit is not a number or the acceptance no share.

    Examples
    --------
    >>> rule = Rejection("distance", 0.4, 0.95, 120, 5)
    >>> rule.rejects(np.array([0.4, 0.41])).tolist()
    [False, True]
    """

    by: str
    limit: float
    acceptance: float
    n_validation: int
    n_rejected: int
    note: str = ""

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

    Parameters
    ----------
    scores : float array of shape (n,)
        Of the validation images.
    acceptance : float
        Share that is to be accepted, within (0, 1).
    by : str
        What the score is.

    Raises
    ------
    EvaluationError
        If there is no score, one is not a number, or the share is out of range.

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

    Parameters
    ----------
    known : float32 array of shape (m, D)
        Features of images that the network was trained on.
    features : float32 array of shape (n, D)
        Of those asked about.
    neighbours : int
        Which neighbour, from 1; the farthest where there are fewer.

    Returns
    -------
    float64 array of shape (n,), within [0, 2]

    Raises
    ------
    EvaluationError
        If nothing is known, the features are of another width, or `neighbours` is below 1.

    References
    ----------
    Sun, Ming, Zhu and Li 2022, "Out-of-distribution detection with deep nearest neighbors",
    arXiv 2204.06507.

    Examples
    --------
    >>> known = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> nearest_distances(known, 3 * known[:1], neighbours=1).tolist()
    [0.0]
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
    """Return one row per image, as in `COLUMNS`.

    Parameters
    ----------
    rule : Rejection
        Fixed before.
    images : list of str
        Names, n of them.
    scores : float array of shape (n,)
        In the same order.
    """
    return pd.DataFrame({"image": images, "score": scores, "rejected": rule.rejects(scores)})


@dataclass(frozen=True)
class Selective:
    """How good a network is where it answers, and how often it does.

    Parameters
    ----------
    coverage : Estimate
        Share of images accepted.
    accepted, rejected, everything : Estimate
        Area under the curve (mean over classes, one against the rest) of the images accepted, of
        those rejected, and of all.
    images : tuple of str
        Names of the rejected images.
    """

    coverage: Estimate
    accepted: Estimate
    rejected: Estimate
    everything: Estimate
    images: tuple[str, ...]

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
    """Return how good predictions are where they were not rejected, and how many that are.

    Parameters
    ----------
    predictions : Predictions
        Of n images.
    rejected : bool array of shape (n,)
        Which of them a rule rejects that was fixed elsewhere.
    level : float
        Confidence level, within (0, 1).

    Raises
    ------
    EvaluationError
        If the two are not of the same images.
    """
    if len(rejected) != len(predictions):
        raise EvaluationError(
            f"{len(rejected)} decisions for {len(predictions)} images; give one for each."
        )
    names = predictions.frame["image"].to_numpy(dtype=str)
    return Selective(
        coverage(rejected, predictions.groups, level=level),
        _area(predictions, ~rejected, level),
        _area(predictions, rejected, level),
        macro_auc(predictions, level=level),
        tuple(names[rejected].tolist()),
    )


def coverage(
    rejected: NDArray[np.bool_], groups: NDArray[np.str_], *, level: float = 0.95
) -> Estimate:
    """Return the share of images that is accepted, with its interval by patient.

    Parameters
    ----------
    rejected : bool array of shape (n,)
        At least one image.
    groups : array of shape (n,)
        The patient of each.
    level : float
        Confidence level, within (0, 1).

    Examples
    --------
    >>> rejected = np.arange(40) < 4
    >>> print(coverage(rejected, np.arange(40).astype(str)).percent())
    90.0 % [76.9, 96.0]
    """
    return patient_share(~rejected, groups, level=level)


def risk_coverage(
    scores: NDArray[np.floating], wrong: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of wrong answers for each share of images that could be accepted.

    Parameters
    ----------
    scores : float array of shape (n,)
        Higher is stranger; images of one score are accepted together.
    wrong : bool array of shape (n,)
        Whether the answer is wrong.

    Returns
    -------
    coverage, risk : float64 arrays of shape (distinct scores,)
        Both shares, from the smallest coverage to 1.

    References
    ----------
    El-Yaniv and Wiener 2010, JMLR 11:1605, "On the foundations of noise-free selective
    classification".

    Examples
    --------
    >>> accepted, risk = risk_coverage(np.array([1, 2, 2, 3]), np.array([0, 0, 1, 1], dtype=bool))
    >>> accepted.tolist(), risk.round(2).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.33, 0.5])
    """
    _, rank, counts = np.unique(scores, return_inverse=True, return_counts=True)
    faults = np.bincount(rank, weights=wrong, minlength=len(counts))
    taken = np.cumsum(counts).astype(np.float64)
    return taken / max(len(scores), 1), np.cumsum(faults) / taken


def _area(predictions: Predictions, rows: NDArray[np.bool_], level: float) -> Estimate:
    if not rows.any():
        return undefined("no image is left", level=level)
    return macro_auc(Predictions(predictions.frame[rows].reset_index(drop=True)), level=level)


def _directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
