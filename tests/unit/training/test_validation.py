"""Loss, accuracy and AUC of the validation images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.recipe.recipe import TrainingSection
from hurdles.training.history import COLUMNS
from hurdles.training.loop import mean_auc, validate
from hurdles.training.losses import Objective


def slow_auc(probability: np.ndarray, truth: np.ndarray) -> float:
    """Count pairs, class by class."""
    areas = []
    for c in sorted(set(truth.tolist())):
        inside, outside = probability[truth == c, c], probability[truth != c, c]
        wins = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
        areas.append(sum(wins) / len(wins))
    return sum(areas) / len(areas)


@settings(deadline=None)  # the first call imports SciPy
@given(seed=st.integers(0, 500), classes=st.integers(2, 4))
def test_the_auc_agrees_with_counting_pairs(seed, classes):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1], rng.integers(0, classes, 15)])
    probability = rng.integers(0, 5, (17, classes)) / 5  # with ties
    assert mean_auc(probability, truth) == pytest.approx(slow_auc(probability, truth))


@pytest.mark.parametrize("truth", [[0, 0, 0], [2, 2, 2]])
def test_one_class_has_no_auc(truth):
    assert math.isnan(mean_auc(np.full((3, 3), 1 / 3), np.array(truth)))


def test_no_number_has_no_auc():
    assert math.isnan(mean_auc(np.full((3, 2), np.nan), np.array([0, 1, 0])))


def test_an_absent_class_is_left_out():
    probability = np.array([[0.2, 0.8, 0.0], [0.7, 0.3, 0.0], [0.3, 0.7, 0.0]])
    assert mean_auc(probability, np.array([1, 0, 1])) == 1.0


def test_the_names_are_those_of_the_history():
    objective = Objective(TrainingSection(), np.array([1, 1]), "cpu")
    found = validate(np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]), objective)
    assert set(found) == {c for c in COLUMNS if c.startswith("validation_")}
    assert found["validation_loss"] == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
    assert (found["validation_accuracy"], found["validation_auc"]) == (0.5, 1.0)
