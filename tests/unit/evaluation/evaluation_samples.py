"""Answers without a table, for simulations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Answers:
    """Stands for `Predictions` where hundreds are drawn: most of that time is building tables."""

    classes: list[str]
    y_true: np.ndarray
    y_prob: np.ndarray
    groups: np.ndarray

    @property
    def y_pred(self) -> np.ndarray:
        return np.array(self.classes)[self.y_prob.argmax(axis=1)]

    def __len__(self) -> int:
        return len(self.y_true)

    @classmethod
    def from_arrays(
        cls,
        classes: Sequence[str],
        *,
        y_true: Sequence[str],
        y_prob: np.ndarray,
        images: Sequence[str],
        groups: Sequence[str],
    ) -> Answers:
        return cls(list(classes), np.asarray(y_true), y_prob, np.asarray(groups))
