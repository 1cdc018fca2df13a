"""A model on trial."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
import torch

from hurdles.auditing.material import Material, NetworkModel, Subject
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.evaluation.predictions import Predictions
from hurdles.models import ModelSpec, build
from hurdles.pixels.prepare import Preparation
from hurdles.training.prediction import as_input, embed, probabilities

LABELS = ("COVID-19", "Normal")


@pytest.fixture
def material():
    rng = np.random.default_rng(5)
    n = 8
    frame = pd.DataFrame(
        {
            "image": [f"i{k}" for k in range(n)],
            "path": [f"/i{k}.png" for k in range(n)],
            "label": list(LABELS) * (n // 2),
            "split": ["train"] * 2 + ["validation"] * 2 + ["test"] * 4,
        }
    )
    masks = np.zeros((n, 64, 64), dtype=bool)
    masks[:, 20:50, 10:28] = masks[:, 20:50, 36:54] = True
    pixels = rng.integers(0, 256, (n, 64, 64), dtype=np.uint8)
    return Material("ours", Manifest(frame), pixels, masks=masks)


def predicted(material, split):
    rows = material.take(material.rows(split))
    return Predictions.from_arrays(
        LABELS,
        y_true=rows.labels.tolist(),
        y_prob=np.tile([0.5, 0.5], (len(rows), 1)),
        images=rows.manifest.frame["image"].tolist(),
        groups=rows.groups.tolist(),
    )


def subject(material, preparation="raw", **changes):
    network = build(ModelSpec("baseline", LABELS, size=64), seed=0).eval()
    parts = {split: predicted(material, split) for split in ("validation", "test")}
    return Subject("ours", NetworkModel(network, preparation), material, **{**parts, **changes})


def test_it_is_asked_by_the_road_of_training(material):
    one = subject(material)
    assert one.tested.manifest.frame["image"].tolist() == ["i4", "i5", "i6", "i7"]
    assert np.array_equal(one.model.prepare(material.pixels), material.pixels)
    assert one.reference.shape == (4, 2)
    assert np.allclose(one.reference.sum(axis=1), 1)
    assert one.features(material.pixels[:3]).shape[0] == 3


@pytest.mark.parametrize("name", ["masked", "background", "equalized"])
def test_square_images_are_prepared_as_files_are(material, name):
    class Given:
        size, key = 64, "given"

        def __call__(self, pixels):
            raise AssertionError("the mask was there")

    one = subject(material, name)
    steps = Preparation(64, name, Given())
    mask = np.uint8(255) * material.masks[0]
    expected = steps(material.pixels[0].astype(np.float32) / 255, mask)
    assert np.array_equal(one.model.prepare(material.pixels[:1], material.masks[:1])[0], expected)


def test_lungs_are_asked_for_where_they_are_needed(material):
    one = subject(material, "masked")
    with pytest.raises(HurdleError, match="sees images masked; give their lungs"):
        one.model.prepare(material.pixels)
    hidden = np.zeros_like(material.masks[:1])
    assert np.array_equal(one.model.prepare(material.pixels[:1], hidden), material.pixels[:1])


def test_it_decides_by_its_own_rule(material):
    probability = np.array([[0.4, 0.6], [0.7, 0.3]])
    assert subject(material).decided(probability).tolist() == ["Normal", "COVID-19"]
    strict = subject(material, decide=lambda p: np.where(p[:, 0] > 0.8, *LABELS))
    assert strict.decided(probability).tolist() == ["Normal", "Normal"]


def test_answers_to_other_images_are_refused(material):
    wrong = predicted(material, "validation")
    with pytest.raises(HurdleError, match="predictions of the test part are not of its 4 images"):
        subject(material, test=wrong)


def test_a_table_of_answers_keeps_images_and_patients(material):
    one = subject(material)
    table = one.tested.predictions(LABELS, one.reference)
    assert table.frame["image"].tolist() == ["i4", "i5", "i6", "i7"]
    assert np.allclose(table.y_prob, one.reference)
    assert table.groups.tolist() == one.tested.groups.tolist()


@pytest.mark.parametrize("architecture", ["small", "resnet-18", "baseline"])
def test_a_network_answers_as_with_its_batch_normalizations_apart(architecture):
    network = build(ModelSpec(architecture, LABELS, size=64, mean=0.4, std=0.2), seed=1)
    pixels = np.random.default_rng(3).integers(0, 256, (40, 64, 64), dtype=np.uint8)
    for chunk in (pixels[:20], pixels[20:]):  # running statistics that are not those of the start
        network.train()(as_input(chunk))
    model = NetworkModel(network.eval())
    with torch.no_grad():
        logits = copy.deepcopy(network).double()(torch.from_numpy(pixels[:, None] / 255))
    exact = logits.softmax(1).numpy()
    for found in (model.ask(pixels), probabilities(network, pixels)):
        np.testing.assert_allclose(found, exact, atol=2e-6)
    np.testing.assert_allclose(model.features(pixels), embed(network, pixels), rtol=1e-3, atol=1e-4)
