"""A table of images as a script with pandas and scikit-learn reads and splits it, by patient."""

from __future__ import annotations

import time
from collections.abc import Callable

import pandas as pd
from sklearn.model_selection import GroupShuffleSplit


def seconds(table: str) -> Callable[[float], float]:
    def turn(_: float) -> float:
        began = time.perf_counter()
        frame = pd.read_csv(table, dtype={"patient": str})
        assert frame["image"].is_unique
        assert not frame[["image", "path", "label"]].isna().any().any()
        split = GroupShuffleSplit(n_splits=1, test_size=0.3, random_state=0)
        train, rest = next(split.split(frame, groups=frame["patient"]))
        half = GroupShuffleSplit(n_splits=1, test_size=0.5, random_state=0)
        rest = frame.iloc[rest]
        validation, test = next(half.split(rest, groups=rest["patient"]))
        assert len(train) + len(validation) + len(test) == len(frame)
        return time.perf_counter() - began

    return turn
