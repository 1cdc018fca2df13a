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
    def of(
        cls,
        truth: Sequence[str],
        said: np.ndarray,
        classes: str = "ab",
        groups: Sequence[str] | None = None,
    ) -> Answers:
        names = np.arange(len(truth)).astype(str) if groups is None else np.asarray(groups)
        return cls(list(classes), np.asarray(truth), said, names.astype(str))
