"""Which images to show: right and wrong answers of every class, chosen by a rule, not by hand."""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.evaluation.predictions import Predictions

Answer: TypeAlias = Literal["right", "wrong"]


def choose_examples(
    predictions: Predictions, *, per_cell: int = 6, seed: int = 0
) -> dict[tuple[str, Answer], list[str]]:
    """Choose images for a contact sheet: for every class, some answered rightly, some wrongly.

    The images of a cell are ranked by the probability of the class that was predicted and cut into
    `per_cell` equal parts; one image is drawn from each, so that a sheet shows hesitant answers
    beside sure ones. Where a cell has enough patients, no patient appears twice in it.

    Examples
    --------
    >>> table = Predictions.from_arrays(["ill", "well"], y_true=["ill", "ill", "well"],
    ...     y_prob=np.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2]]), images=["a", "b", "c"],
    ...     groups=["p", "q", "r"])
    >>> for cell, images in choose_examples(table).items():
    ...     print(*cell, images)
    ill right ['b', 'a']
    ill wrong []
    well right []
    well wrong ['c']
    """
    order = np.argsort(predictions.frame["image"].to_numpy(dtype=str), kind="stable")
    names = predictions.frame["image"].to_numpy(dtype=str)[order]
    truth, answer = predictions.y_true[order], predictions.y_pred[order]
    groups = predictions.groups[order]
    column = {label: i for i, label in enumerate(predictions.classes)}
    confidence = predictions.y_prob[order, [column[label] for label in answer]]
    cells: dict[tuple[str, Answer], list[str]] = {}
    unknown = sorted(set(truth.tolist()) - set(column))
    for label in [*predictions.classes, *unknown]:
        for kind in ("right", "wrong"):
            rows = np.flatnonzero((truth == label) & ((answer == truth) == (kind == "right")))
            rng = np.random.default_rng([seed, zlib.crc32(f"{kind} {label}".encode())])
            rows = _one_a_patient(rows, groups, per_cell, rng)
            rows = rows[np.argsort(-confidence[rows], kind="stable")]
            parts = np.array_split(rows, min(per_cell, len(rows))) if len(rows) else []
            cells[label, kind] = [str(names[rng.choice(part)]) for part in parts]
    return cells


def _one_a_patient(
    rows: NDArray[np.intp], groups: NDArray[np.str_], enough: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return one random row of each patient, and of further ones only as many as `enough` needs."""
    rows = rng.permutation(rows)
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(groups[rows], return_index=True)[1]] = True
    further = rows[~first][: max(0, enough - int(first.sum()))]
    return np.concatenate([rows[first], further])
