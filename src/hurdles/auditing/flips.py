"""Answers that change when an image is altered: how many, and which show it best."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.auditing.probing import joined_level, one_per_patient, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Evidence, evidence_of


@dataclass(frozen=True, eq=False)
class Flips:
    """A model's answers to n images as they are and altered, probabilities of shape (n, K).

    Both come by the same road, `Subject.ask`.
    """

    subject: Subject
    material: Material
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def __post_init__(self) -> None:
        n, before, after = (len(each) for each in (self.material, self.before, self.after))
        if not n == before == after:
            raise HurdleError(
                f"{n} images have {before} answers as they are and {after} altered; ask about the "
                "same images."
            )

    @cached_property
    def flipped(self) -> NDArray[np.bool_]:
        """True where another class is named, shape (n,)."""
        before, after = (self.subject.decided(p) for p in (self.before, self.after))
        return np.asarray(before != after)

    @cached_property
    def table(self) -> Predictions:
        """The answers to the altered images, as a table."""
        return self.material.predictions(self.subject.labels, self.after)

    def share(self, *, of: int = 1) -> Estimate:
        """Return the share of answers that flip, with its exact interval over patients.

        Exact, because its lower end alone decides whether a hurdle is hit.
        """
        level = joined_level(self.material.level, of)
        share = patient_share(self.flipped, self.material.groups, level=level, exact=True)
        return simultaneous(share, of)

    def evidence(self, how: str, most: int = 6) -> tuple[Evidence, ...]:
        """Return the images whose probabilities moved furthest on the way to another class."""

        def texts(probability: NDArray[np.float64]) -> list[str]:
            classes = self.subject.decided(probability).tolist()
            columns = [self.subject.labels.index(name) for name in classes]
            rows = zip(classes, probability, columns, strict=True)
            return [f"{name} {row[column]:.2f}" for name, row, column in rows]

        moved = np.abs(self.after - self.before).sum(axis=1) / 2
        order = [i for i in np.argsort(-moved, kind="stable").tolist() if self.flipped[i]]
        rows = one_per_patient(order, self.material.groups)[:most]
        before, after = texts(self.before), texts(self.after)
        words = [f"{before[i]}; {how}: {after[i]}" for i in rows]
        return evidence_of(self.material.manifest.frame, rows, words)
