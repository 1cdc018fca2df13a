"""Every measure with a bootstrap by patient, as users of scikit-learn write it."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from evaluating import answers
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)


def measures(y_true: np.ndarray, y_prob: np.ndarray, n_classes: int) -> np.ndarray:
    y_pred = y_prob.argmax(axis=1)
    labels = range(n_classes)
    each = {"labels": labels, "average": None, "zero_division": np.nan}
    values = [accuracy_score(y_true, y_pred), balanced_accuracy_score(y_true, y_pred)]
    values.extend(recall_score(y_true, y_pred, **each))
    values.extend(precision_score(y_true, y_pred, **each))
    values.extend(f1_score(y_true, y_pred, **each))
    for c in labels:
        one, said = y_true == c, y_pred == c
        values.append(recall_score(~one, ~said, zero_division=np.nan))  # specificity
        values.append(precision_score(~one, ~said, zero_division=np.nan))  # NPV
        values.append(roc_auc_score(one, y_prob[:, c]))
        values.append(average_precision_score(one, y_prob[:, c]))
    values.append(roc_auc_score(y_true, y_prob, multi_class="ovr", average="macro"))
    return np.array(values)


def measured(
    images: int, patients: int, classes: int, resamples: int = 1000
) -> Callable[[float], float]:
    frame = answers(images=images, patients=patients, classes=classes)
    y_true = frame["label"].str[-2:].astype(int).to_numpy()
    y_prob = frame.filter(regex="^p:").to_numpy()
    y_prob = y_prob / y_prob.sum(axis=1, keepdims=True)
    ids = frame["patient"].to_numpy()

    def turn(_: float) -> float:
        began = time.perf_counter()
        rows = {patient: np.flatnonzero(ids == patient) for patient in np.unique(ids)}
        names, rng = list(rows), np.random.default_rng(0)
        drawn = []
        for _resample in range(resamples):
            chosen = rng.choice(names, size=len(names), replace=True)
            index = np.concatenate([rows[patient] for patient in chosen])
            drawn.append(measures(y_true[index], y_prob[index], classes))
        measures(y_true, y_prob, classes)
        np.nanpercentile(drawn, [2.5, 97.5], axis=0)
        return time.perf_counter() - began

    return turn
