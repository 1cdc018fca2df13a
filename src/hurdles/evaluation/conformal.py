"""Prediction sets: the classes that an image may be of, at a coverage that is chosen.

Split conformal prediction by class (Vovk 2012): a class is in an image's set where one minus its
probability is at most the value of a rank among those of the validation patients who have it.

*Guarantee.* Of new patients of a class, at least the chosen share have the class in the sets of all
their images, if they and the validation patients of the class could change places (are
exchangeable). It holds on average over draws of validation patients, and of one draw it does not
hold exactly: with few patients the coverage that they happened to give may be far from it, and
`ClassLimit` says how far. A patient counts once, by the image that fits the class least. Where the
same validation images also chose the epoch, they fit the network a little better than new ones do,
and the coverage is approximate.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import EvaluationError
from hurdles.evaluation.predictions import Predictions

__all__ = ["ClassLimit", "PredictionSets", "prediction_sets"]

#: Of draws of validation patients, the share that lies between `ClassLimit.low` and `.high`.
_DRAWS = 0.9


@dataclass(frozen=True)
class ClassLimit:
    """From which probability on a class is in an image's set, and what that rests on.

    Parameters
    ----------
    label : str
        The class.
    limit : float
        It is in the set where one minus its probability is at most this, within [0, 1]; infinity
        where it always is, since too few patients have it.
    n_patients, n_images : int
        Validation patients who have the class, and their images of it.
    low, high : float
        The coverage that such a number of patients gives, from draw to draw: nine of ten draws lie
        between. Both are 1 where the class is always in the set.
    """

    label: str
    limit: float
    n_patients: int
    n_images: int
    low: float
    high: float

    @property
    def is_always_in(self) -> bool:
        """True if too few validation patients have the class to leave it out of any set."""
        return math.isinf(self.limit)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, in which a limit of infinity becomes None."""
        return {**asdict(self), "limit": None if self.is_always_in else self.limit}


@dataclass(frozen=True)
class PredictionSets:
    """The rule that makes an image's probabilities a set of classes.

    Parameters
    ----------
    coverage : float
        Share of new patients of each class that is to have it in their sets, within (0, 1).
    limits : tuple of ClassLimit
        One for each class, in the order of the model's outputs.
    n_unknown : int
        Validation images that name no patient and count as a patient each.
    """

    coverage: float
    limits: tuple[ClassLimit, ...]
    n_unknown: int = 0

    def contain(self, y_prob: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which classes are in the set of each image, shape as `y_prob`, (n, classes).

        A set may be empty: no class is as probable as it mostly is for those who have it.
        """
        limits = np.array([each.limit for each in self.limits])
        return np.asarray(1 - np.asarray(y_prob, dtype="float64") <= limits)

    def named(self, y_prob: NDArray[np.floating]) -> list[list[str]]:
        """Return the names of the classes in the set of each image."""
        labels = np.array([each.label for each in self.limits], dtype=object)
        return [labels[row].tolist() for row in self.contain(y_prob)]

    @property
    def least(self) -> int:
        """Validation patients that a class needs to be left out of a set."""
        return math.ceil(self.coverage / (1 - self.coverage) - 1e-9)

    def lines(self, *, is_measured: bool = True) -> list[str]:
        """Return the rule, its guarantee and what it rests on, in words.

        `is_measured`: whether the answers are of the network that the rule was fixed for; of
        others, it promises nothing.
        """
        share = f"{100 * self.coverage:.3g} %"
        lines = [
            f"Sets hold the true class of at least {share} of the patients of each class who are "
            "like those of validation, on average over draws of these. Validation images chose "
            "the epoch too, so this is approximate."
            if is_measured
            else f"Sets are meant to hold the true class of {share} of the patients of each class; "
            "what share they hold was not measured, since the rule was fixed on answers of single "
            "networks, each to its own validation images."
        ]
        images = sum(each.n_images for each in self.limits)
        unit = "images, no patient known" if self.n_unknown == images else "patients"
        for each in self.limits:
            what = f"  {each.label}: {each.n_patients} validation {unit}"
            if each.is_always_in:
                lines.append(f"{what}, too few for {share} ({self.least} are needed): in every set")
            else:
                spread = (
                    f" (with so many, {100 * each.low:.0f} to {100 * each.high:.0f} % in nine of "
                    "ten draws)"
                )
                lines.append(
                    f"{what}; from a raw probability of {max(0, 1 - each.limit):.3g} on"
                    f"{spread * is_measured}"
                )
        if 0 < self.n_unknown < images:
            lines.append(
                f"  {self.n_unknown} validation images name no patient and count as one each."
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        limits = [each.to_dict() for each in self.limits]
        return {"coverage": self.coverage, "n_unknown": self.n_unknown, "limits": limits}


def prediction_sets(validation: Predictions, *, coverage: float = 0.9) -> PredictionSets:
    """Fix the rule of the prediction sets on validation images.

    Parameters
    ----------
    validation : Predictions
        Of images that the network was not trained on; probabilities as they will be of new images.
    coverage : float
        Share of new patients of each class that is to have it in their sets, within (0, 1).

    Returns
    -------
    PredictionSets
        With n patients of a class the limit is the value of rank ``ceil((n + 1) * coverage)``; a
        class with fewer than that is in every set.

    Raises
    ------
    EvaluationError
        If the coverage is no share.

    References
    ----------
    Vovk, "Conditional validity of inductive conformal predictors", ACML 2012 (by class; the
    coverage of one draw is beta distributed); Dunn, Wasserman and Ramdas, J Am Stat Assoc
    2023;118:2491-2502 (several observations of one person).

    Examples
    --------
    >>> p = np.linspace(0.05, 0.95, 19)
    >>> table = Predictions.from_arrays(["a", "b"], y_true=["a"] * 19,
    ...     y_prob=np.stack([p, 1 - p], axis=1), images=[str(i) for i in range(19)],
    ...     groups=[str(i) for i in range(19)])
    >>> rule = prediction_sets(table, coverage=0.9)
    >>> rule.named(np.array([[0.3, 0.7], [0.08, 0.92]]))
    [['a', 'b'], ['b']]
    """
    if not 0 < coverage < 1:
        raise EvaluationError(
            f"a coverage of {coverage} is no share; give one between 0 and 1, such as 0.9."
        )
    limits = [
        _limit(validation, label, column, coverage)
        for column, label in enumerate(validation.classes)
    ]
    return PredictionSets(coverage, tuple(limits), int(validation.unknown.sum()))


def _limit(validation: Predictions, label: str, column: int, coverage: float) -> ClassLimit:
    from scipy.stats import beta

    of_class = validation.y_true == label
    patients, codes = np.unique(validation.groups[of_class], return_inverse=True)
    worst = np.full(len(patients), -np.inf)
    np.maximum.at(worst, codes, 1 - validation.y_prob[of_class, column])
    n, images = len(patients), int(of_class.sum())
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        return ClassLimit(label, math.inf, n, images, 1.0, 1.0)
    ends = beta.ppf([(1 - _DRAWS) / 2, (1 + _DRAWS) / 2], rank, n + 1 - rank)
    limit = float(np.sort(worst)[rank - 1])
    return ClassLimit(label, limit, n, images, float(ends[0]), float(ends[1]))
