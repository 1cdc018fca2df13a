"""A spec that is right is believed, each planted mistake is named, and nothing is told by chance."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hurdles.errors import SpecError
from hurdles.foreign.expectation import Agreement, check_expectation
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import Spec
from hurdles.pixels.prepare import Preparation

sys.path.insert(0, str(Path(__file__).parent))
from networks import SIZE, Net, radiographs

IMAGES = radiographs(40)
MEAN, SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def squares(spec, rows):
    prepare = Preparation(spec.size, framing=spec.framing, fraction=spec.crop_fraction)
    return np.stack([prepare(IMAGES[row]) for row in rows]), None


def everything(spec):
    return squares(spec, range(len(IMAGES)))[0]


def check(path, right, wrong, **more):
    """Check a wrong spec by what the right one gives."""
    expected = OnnxModel(path, right, threads=1).ask(everything(right))
    model = OnnxModel(path, wrong, threads=1)
    columns = dict(zip(right.labels, expected.T, strict=True))
    return check_expectation(model, columns, squares, **more)


@pytest.fixture(scope="module")
def gray(tmp_path_factory):
    return Net().write(tmp_path_factory.mktemp("models") / "gray.onnx")


@pytest.fixture(scope="module")
def color(tmp_path_factory):
    return Net(channels=3, k=3, seed=1).write(tmp_path_factory.mktemp("models") / "color.onnx")


GRAY = Spec(classes=("Normal", "Pneumonia"), size=SIZE)
COLOR = Spec(
    classes=("COVID-19", "Normal", "Pneumonia"),
    size=SIZE,
    channels=3,
    channel_order="rgb",
    mean=MEAN,
    sd=SD,
)


def test_the_answers_of_the_test_images_vary(gray, color):
    for path, spec in ((gray, GRAY), (color, COLOR)):
        p = OnnxModel(path, spec, threads=1).ask(everything(spec))
        assert p.std(axis=0).min() > 0.05


def test_a_spec_that_is_right_is_believed(gray):
    result = check(gray, GRAY, GRAY, images=[f"{n}.png" for n in range(40)])
    assert result.agrees
    assert result.agreement is Agreement.AGREES
    assert result.comparison.largest < 1e-6
    assert result.comparison.equal_decisions == result.n == 40
    assert "the spec is believed" in result.lines()[0]
    assert result.spec == GRAY
    assert result.to_dict()["agrees"] is True


@pytest.mark.parametrize(
    ("right", "words", "remedy"),
    [
        ({"inverted": True}, "gray is inverted", "inverted = true"),
        ({"range": (0, 255)}, "gray goes from 0 to 255", "range = [0, 255]"),
        ({"range": (-1, 1)}, "gray goes from -1 to 1", "range = [-1, 1]"),
        ({"range": (-1024, 1024)}, "gray goes from -1024 to 1024", "range = [-1024, 1024]"),
        ({"transposed": True}, "rows and columns are exchanged", "transposed = true"),
        ({"scaling": "min-max"}, "its own darkest and brightest", 'scaling = "min-max"'),
        ({"scaling": "mean-sd"}, "by its own mean and SD", 'scaling = "mean-sd"'),
        ({"mean": 0.4686, "sd": 0.226}, "those of ImageNet", "mean = 0.449, sd = 0.226"),
        ({"framing": "crop"}, "the middle square", 'framing = "crop"'),
        ({"framing": "pad"}, "filled up with black", 'framing = "pad"'),
        ({"framing": "crop", "crop_fraction": 0.875}, "0.875 of it", "crop_fraction = 0.875"),
        (
            {"classes": ("Pneumonia", "Normal")},
            "the outputs are Pneumonia, Normal",
            'classes = ["Pneumonia", "Normal"]',
        ),
        ({"output": "sigmoid"}, "a probability each (sigmoid)", 'output = "sigmoid"'),
    ],
    ids=str,
)
def test_each_planted_mistake_is_named(tmp_path, right, words, remedy):
    truth = GRAY.changed(**right)
    unit = max(1, abs(truth.range[1]))
    last = "Sigmoid" if "output" in right else ""
    if "mean" in right:
        truth = GRAY.changed(mean=0.449, sd=0.226)
    path = Net(unit=unit, last=last).write(tmp_path / "m.onnx")
    result = check(path, truth, GRAY)
    assert result.agreement is Agreement.WHEN_CHANGED, result.lines()
    assert words in " and ".join(result.changes)
    assert result.remedy == remedy or remedy in result.remedy
    assert result.spec.model_dump(exclude={"channel_order"}) == truth.model_dump(
        exclude={"channel_order"}
    )
    assert f"set {result.remedy}" in result.lines()[0]
