from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from hurdles.evaluation.predictions import Predictions
from hurdles.explanation.heatmap import choose_examples

CLASSES = ["COVID-19", "Normal", "Viral Pneumonia"]


def _table(
    n: int = 300, seed: int = 0, patients: int | None = None, truth: list[str] | None = None
) -> Predictions:
    rng = np.random.default_rng(seed)
    return Predictions.from_arrays(
        CLASSES,
        y_true=truth or rng.choice(CLASSES, n).tolist(),
        y_prob=rng.dirichlet([0.7] * 3, n),
        images=[f"image {i:04d}" for i in rng.permutation(n)],
        groups=[f"p{i}" for i in (rng.integers(0, patients, n) if patients else range(n))],
    )


def _facts(table: Predictions) -> dict[str, tuple[str, str, str, float]]:
    """Return true class, predicted class, patient and confidence of each image."""
    chosen = zip(table.y_true, table.y_pred, table.groups, table.y_prob.max(axis=1), strict=True)
    return dict(zip(table.frame["image"], chosen, strict=True))


@pytest.mark.parametrize("patients", [None, 40])
def test_every_image_is_in_its_cell_once_and_the_surest_comes_first(patients):
    table = _table(patients=patients)
    facts = _facts(table)
    cells = choose_examples(table)
    assert list(cells) == [(c, kind) for c in CLASSES for kind in ("right", "wrong")]
    for (label, kind), images in cells.items():
        assert len(images) == len(set(images)) == 6
        for image in images:
            truth, answer, _, _ = facts[image]
            assert truth == label
            assert (answer == truth) == (kind == "right")
        confidence = [facts[image][3] for image in images]
        assert confidence == sorted(confidence, reverse=True)


def test_each_sixth_of_the_confidence_gives_one_image():
    table = _table(600)
    facts = _facts(table)
    for (label, kind), images in choose_examples(table).items():
        of_class = [f for f in facts.values() if f[0] == label]
        cell = [f[3] for f in of_class if (f[1] == label) == (kind == "right")]
        cell.sort(reverse=True)
        for sixth, image in zip(np.array_split(cell, 6), images, strict=True):
            assert sixth[-1] <= facts[image][3] <= sixth[0]


def test_no_patient_twice_where_there_are_enough():
    table = _table(300, patients=20)
    facts = _facts(table)
    for images in choose_examples(table, per_cell=5).values():
        assert len({facts[image][2] for image in images}) == 5


def test_few_patients_fill_the_sheet_with_all_of_them():
    table = _table(90, patients=3)
    facts = _facts(table)
    for (label, kind), images in choose_examples(table).items():
        of_class = [f for f in facts.values() if f[0] == label]
        patients = {f[2] for f in of_class if (f[1] == label) == (kind == "right")}
        assert len(images) == 6
        assert {facts[image][2] for image in images} == patients


def test_the_seed_decides_and_the_order_of_rows_does_not():
    table = _table()
    shuffled = Predictions(table.frame.sample(frac=1, random_state=1))
    assert choose_examples(table, seed=1) == choose_examples(shuffled, seed=1)
    assert choose_examples(table, seed=1) != choose_examples(table, seed=2)


def test_small_and_empty_cells():
    table = _table(4, truth=["Normal", "Normal", "Normal", "tuberculosis"])
    cells = choose_examples(table, per_cell=50)
    assert cells["COVID-19", "right"] == cells["COVID-19", "wrong"] == []
    # A class that the model does not know has wrong answers only.
    assert cells["tuberculosis", "right"] == []
    assert len(cells["tuberculosis", "wrong"]) == 1
    assert sorted(chain.from_iterable(cells.values())) == sorted(table.frame["image"])


def test_one_image():
    cells = choose_examples(_table(1, truth=["Normal"]))
    assert list(chain.from_iterable(cells.values())) == ["image 0000"]


def test_a_cell_does_not_depend_on_the_others():
    table = _table()
    kept = Predictions(table.frame[table.frame["label"] == "Normal"])
    for kind in ("right", "wrong"):
        assert choose_examples(kept)["Normal", kind] == choose_examples(table)["Normal", kind]
