"""Answers that change when an image is altered: how many, and which show it best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Evidence


@dataclass(frozen=True, eq=False)
class Flips:
    """What a model said of images as they are, and what it says of them altered.

    Parameters
    ----------
    subject : Subject
        The model.
    material : Material
        The n images, as they are.
    before, after : float64 array of shape (n, K)
        Probabilities of both, by the same road (`Subject.ask`).

    Raises
    ------
    HurdleError
        If probabilities and images differ in number.
    """

    subject: Subject
    material: Material
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def __post_init__(self) -> None:
        numbers = (len(self.material), len(self.before), len(self.after))
        if len(set(numbers)) > 1:
            raise HurdleError(
                f"{numbers[0]} images have {numbers[1]} answers as they are and {numbers[2]} "
                "altered; ask about the same images."
            )

    @cached_property
    def flipped(self) -> NDArray[np.bool_]:
        """Whether another class is named, shape (n,)."""
        named = [self.subject.decided(p) for p in (self.before, self.after)]
        return np.asarray(named[0] != named[1])

    @cached_property
    def table(self) -> Predictions:
        """What is said of the altered images, as a table."""
        return self.subject.predictions_of(self.material, self.after)

    def share(self, *, of: int = 1) -> Estimate:
        """Return the share of answers that flip, with its exact interval over patients.

        Exact, because its lower end alone decides whether a hurdle is hit.
        """
        level = joined_level(self.material.level, of)
        found = patient_share(self.flipped, self.material.groups, level=level, exact=True)
        return simultaneous(found, of)

    def evidence(self, how: str, most: int = 6) -> tuple[Evidence, ...]:
        """Return the images whose probabilities moved furthest on the way to another class."""
        moved = np.abs(self.after - self.before).sum(axis=1) / 2
        one, two = self._said(self.before), self._said(self.after)
        frame, groups = self.material.manifest.frame, self.material.groups
        found: dict[str, Evidence] = {}
        for i in np.argsort(-moved, kind="stable"):
            if self.flipped[i] and groups[i] not in found and len(found) < most:
                says = f"{one[i]}; {how}: {two[i]}"
                found[groups[i]] = Evidence(frame["image"].iloc[i], says, frame["path"].iloc[i])
        return tuple(found.values())

    def _said(self, probability: NDArray[np.float64]) -> list[str]:
        """Return the class that is named, with its probability, for each image."""
        named = self.subject.decided(probability).tolist()
        columns = [self.subject.labels.index(name) for name in named]
        return [f"{n} {p[c]:.2f}" for n, p, c in zip(named, probability, columns, strict=True)]
