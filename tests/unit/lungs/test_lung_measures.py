"""Scores of masks, against slow and obvious twins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError
from hurdles.lungs.mask import (
    COLUMNS,
    LungMask,
    boundary_error,
    dice_score,
    inside_score,
    jaccard_score,
    mean_estimate,
    score_masks,
)

masks = arrays(bool, (7, 9))


def cells(mask: np.ndarray) -> set[tuple[int, int]]:
    return set(zip(*map(list, np.nonzero(mask)), strict=True))


def edge(mask: np.ndarray) -> set[tuple[int, int]]:
    inside = cells(mask)
    steps = ((0, 1), (1, 0), (0, -1), (-1, 0))
    return {(r, c) for r, c in inside if any((r + y, c + x) not in inside for y, x in steps)}


def mean_distance(one: set, other: set) -> float:
    return float(np.mean([min(np.hypot(r - y, c - x) for y, x in other) for r, c in one]))


@given(masks, masks)
def test_areas_agree_with_sets(truth, found):
    a, b = cells(truth), cells(found)
    assert dice_score(truth, found) == (2 * len(a & b) / (len(a) + len(b)) if a or b else 1)
    assert jaccard_score(truth, found) == (len(a & b) / len(a | b) if a or b else 1)
    if b:
        assert inside_score(truth, found) == len(a & b) / len(b)
    else:
        assert np.isnan(inside_score(truth, found))


@given(masks, masks)
@settings(max_examples=60)
def test_the_boundary_agrees_with_every_pair_of_pixels(truth, found):
    if not truth.any() or not found.any():
        assert np.isnan(boundary_error(truth, found))
        return
    one, other = edge(truth), edge(found)
    slow = (mean_distance(one, other) + mean_distance(other, one)) / 2
    assert boundary_error(truth, found) == pytest.approx(slow, abs=1e-5)


@given(masks, masks)
def test_order_and_bounds(truth, found):
    dice, jaccard = dice_score(truth, found), jaccard_score(truth, found)
    assert 0 <= jaccard <= dice <= 1
    assert dice == dice_score(found, truth)
    assert dice == pytest.approx(2 * jaccard / (1 + jaccard))
    assert dice_score(truth, truth) == 1
    assert not truth.any() or boundary_error(truth, truth) == 0


def test_a_heart_in_the_truth_does_not_lower_the_inside_score():
    truth, found = np.ones((8, 8), bool), np.zeros((8, 8), bool)
    found[:, :2] = found[:, 6:] = True
    assert inside_score(truth, found) == 1
    assert dice_score(truth, found) < 0.7


def manifest(count: int) -> Manifest:
    names = [f"i{k}" for k in range(count)]
    patients = [f"p{k // 2}" for k in range(count)]
    rows = {"image": names, "path": [f"/{n}" for n in names], "label": "a", "patient": patients}
    return Manifest(pd.DataFrame(rows))


def test_the_table_has_a_row_per_image():
    truth = np.zeros((2, 8, 8), bool)
    truth[:, 2:6, 2:6] = True
    found = [LungMask(truth[0], "", (0.25,)), LungMask(~truth[1], "too large", (0.75,))]
    scores = score_masks(manifest(2), truth, found)
    assert list(scores.columns) == list(COLUMNS)
    assert scores["dice"].tolist() == [1, 0]
    assert scores["flaw"].tolist() == ["", "too large"]
    with pytest.raises(EvaluationError, match="2 images, 1 drawn masks and 2 found"):
        score_masks(manifest(2), truth[:1], found)


def scores_of(groups: list[str], values: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"group": groups, "dice": values})


def test_the_mean_is_over_images_and_the_interval_over_patients():
    rng = np.random.default_rng(0)
    values = rng.uniform(0.9, 1, 40)
    alone = mean_estimate(scores_of([f"p{k}" for k in range(40)], values.tolist()), "dice")
    assert alone.value == pytest.approx(values.mean())
    slow = [values[rng.integers(0, 40, 40)].mean() for _ in range(4000)]
    assert [alone.low, alone.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=1e-3)
    # Ten copies of each of four images are four patients, not forty.
    repeated = np.repeat(values[:4], 10)
    few = mean_estimate(scores_of([f"p{k // 10}" for k in range(40)], repeated.tolist()), "dice")
    assert (few.n_images, few.n_patients) == (40, 4)
    careless = mean_estimate(scores_of([f"p{k}" for k in range(40)], repeated.tolist()), "dice")
    assert few.high - few.low > 2 * (careless.high - careless.low)


def test_images_without_a_value_are_counted_not_averaged():
    got = mean_estimate(scores_of(["a", "b", "c"], [0.5, 0.7, np.nan]), "dice", n_resamples=50)
    assert got.value == pytest.approx(0.6)
    assert got.note == "without a value: 1 of 3 images"
    assert not mean_estimate(scores_of(["a", "a"], [0.5, 0.7]), "dice").is_defined
