"""A spec that is right is believed, each planted mistake is named, nothing agrees by chance."""

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
    frame = {"framing": spec.framing, "fraction": spec.crop_fraction, "resize": spec.resize}
    prepare = Preparation(spec.size, **frame)
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
    net = Net(channels=3, k=3, seed=1, away=MEAN, by=SD)
    return net.write(tmp_path_factory.mktemp("models") / "color.onnx")


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
        ({"resize": "nearest"}, "the filter of the resize is nearest", 'resize = "nearest"'),
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


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ({"channel_order": "bgr"}, 'channel_order = "rgb"'),
        ({"mean": 0, "sd": 1, "channel_order": "gray"}, "mean = [0.485, 0.456, 0.406]"),
        ({"classes": ("Normal", "Pneumonia", "COVID-19")}, 'classes = ["COVID-19", "Normal", '),
        ({"range": (0, 255)}, "range = [0, 1]"),
        ({"inverted": True, "channel_order": "bgr"}, 'inverted = false, channel_order = "rgb"'),
        ({"inverted": True, "range": (0, 255)}, "inverted = false, range = [0, 1]"),
        (
            {"inverted": True, "classes": ("Normal", "Pneumonia", "COVID-19")},
            'classes = ["COVID-19", "Normal", "Pneumonia"], inverted = false',
        ),
        ({"framing": "crop", "range": (0, 255)}, 'framing = "stretch", range = [0, 1]'),
        ({"output": "sigmoid"}, 'output = "logits"'),
    ],
    ids=str,
)
def test_mistakes_of_a_color_model_are_named_singly_and_in_pairs(color, wrong, remedy):
    result = check(color, COLOR, COLOR.changed(**wrong))
    assert result.agreement is Agreement.WHEN_CHANGED, result.lines()
    assert remedy in result.remedy
    assert result.changed.largest < 1e-3
    assert len(result.changes) <= 2


def test_mean_and_sd_applied_twice_are_named(tmp_path):
    spec = GRAY.changed(mean=0.5, sd=0.25)
    path = Net(away=(0.5,), by=(0.25,)).write(tmp_path / "m.onnx")
    twice = spec.changed(mean=0.5 + 0.5 * 0.25, sd=0.0625)
    result = check(path, twice, spec)
    assert result.changes == ("mean and SD are applied twice",)


def test_the_other_class_of_a_model_with_one_output_is_named(tmp_path):
    path = Net(k=1, last="Sigmoid").write(tmp_path / "m.onnx")
    one = {"classes": ("Pneumonia",), "positive": "Pneumonia", "negative": "Normal"}
    right = Spec(**one, size=SIZE, output="sigmoid")
    wrong = right.changed(classes=("Normal",), positive="Normal", negative="Pneumonia")
    result = check(path, right, wrong)
    assert result.changes == ("the positive class is the other one",)
    assert result.spec == right
    assert 'positive = "Pneumonia"' in result.remedy


def test_the_output_of_another_finding_is_named(tmp_path):
    path = Net(k=4, last="Sigmoid").write(tmp_path / "m.onnx")
    right = Spec(
        classes=("Edema", "Mass", "Pneumonia", "Hernia"),
        positive="Pneumonia",
        negative="Normal",
        size=SIZE,
        output="sigmoid",
    )
    wrong = right.changed(classes=("Pneumonia", "Mass", "Edema", "Hernia"))
    result = check(path, right, wrong)
    assert result.spec == right


def test_of_two_classes_one_is_enough(gray):
    p = OnnxModel(gray, GRAY, threads=1).ask(everything(GRAY))
    model = OnnxModel(gray, GRAY, threads=1)
    assert check_expectation(model, {"Pneumonia": p[:, 1]}, squares).agrees


def test_a_softmax_that_is_none_does_not_fit_and_is_named(gray):
    result = check(gray, GRAY, GRAY.changed(output="softmax"))
    assert result.comparison is None
    assert result.remedy == 'output = "logits"'
    assert any('output = "logits" is for numbers' in note for note in result.notes)


# --- nothing by chance ---------------------------------------------------------------------------


def columns(p, spec=GRAY):
    return dict(zip(spec.labels, np.asarray(p).T, strict=True))


def constant(path):
    """A model that answers every image alike."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
        ],
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.zeros((1, 2), np.float32), "w"),
            numpy_helper.from_array(np.array([1.0, 0.0], np.float32), "b"),
        ],
    )
    from networks import save

    return save(graph, path)


def test_of_a_constant_model_nothing_can_be_told(tmp_path):
    path = constant(tmp_path / "constant.onnx")
    result = check(path, GRAY, GRAY)
    assert result.agreement is Agreement.UNDECIDED
    assert not result.agrees
    assert "hardly vary" in " ".join(result.lines())


def test_a_constant_model_does_not_agree_with_answers_that_vary(tmp_path, gray):
    expected = OnnxModel(gray, GRAY, threads=1).ask(everything(GRAY))
    model = OnnxModel(constant(tmp_path / "constant.onnx"), GRAY, threads=1)
    result = check_expectation(model, columns(expected), squares)
    assert result.agreement is Agreement.DISAGREES


@pytest.mark.parametrize("seed", range(3))
def test_answers_of_another_model_never_agree(gray, color, seed):
    rng = np.random.default_rng(seed)
    model = OnnxModel(color, COLOR, threads=1)
    random = rng.dirichlet([0.5] * 3, size=len(IMAGES))
    result = check_expectation(model, columns(random, COLOR), squares)
    assert result.agreement is Agreement.DISAGREES
    assert result.tried > 100
    assert "none of" in result.lines()[0]
    assert result.lines()[1].startswith("The nearest: when")


def test_answers_of_the_other_images_are_named(gray):
    expected = OnnxModel(gray, GRAY, threads=1).ask(everything(GRAY))
    model = OnnxModel(gray, GRAY, threads=1)
    result = check_expectation(model, columns(np.roll(expected, 1, axis=0)), squares)
    assert result.agreement is Agreement.DISAGREES
    assert "of other images" in " ".join(result.notes)


def test_few_images_cannot_tell(gray):
    model = OnnxModel(gray, GRAY, threads=1)
    expected = model.ask(everything(GRAY))[:4]
    result = check_expectation(model, columns(expected), squares)
    assert result.agreement is Agreement.UNDECIDED
    assert "4 images are too few" in result.notes[0]


def test_images_that_cannot_show_a_change_are_said_to(gray):
    """Of square images, no framing can be told from another."""
    prepare = Preparation(SIZE)
    fixed = np.stack([prepare(image) for image in IMAGES])

    def same(spec, rows):
        return fixed[rows], None

    model = OnnxModel(gray, GRAY, threads=1)
    result = check_expectation(model, columns(model.ask(fixed)), same)
    assert result.agrees
    assert sum("framing =" in words for words in result.unnoticed) == 4
    assert sum("resize =" in words for words in result.unnoticed) == 4
    assert "cannot be told from a spec with" in " ".join(result.lines())


def test_decisions_are_compared_as_decisions(gray):
    model = OnnxModel(gray, GRAY, threads=1)
    hard = np.eye(2)[model.ask(everything(GRAY)).argmax(axis=1)]
    right = check_expectation(model, columns(hard), squares)
    assert right.agrees
    assert "Decisions alone" in right.notes[0]
    swapped = check_expectation(model, columns(1 - hard), squares)
    assert swapped.agreement is Agreement.WHEN_CHANGED


def test_rounded_answers_and_another_resize_agree(gray):
    import cv2

    def pil_like(spec, rows):
        size = (spec.size, spec.size)
        images = [cv2.resize(IMAGES[row], size, interpolation=cv2.INTER_LINEAR) for row in rows]
        return np.rint(np.stack(images) * 255).astype(np.uint8), None

    model = OnnxModel(gray, GRAY, threads=1)
    theirs = model.ask(pil_like(GRAY, range(len(IMAGES)))[0]).round(2)
    result = check_expectation(model, columns(theirs), squares)
    assert result.agrees, result.lines()
    assert result.comparison.mean > 0


def test_answers_that_depend_on_the_batch_are_noted(gray):
    class Shaky:
        def __init__(self, model):
            self.model, self.spec = model, model.spec

        def with_spec(self, spec):
            return Shaky(self.model.with_spec(spec))

        def outputs(self, pixels, masks=None):
            z = self.model.outputs(pixels, masks)
            return z + 0.05 * np.arange(len(z))[:, None] / len(z) * [1, -1]

    model = Shaky(OnnxModel(gray, GRAY, threads=1))
    expected = model.model.ask(everything(GRAY))
    result = check_expectation(model, columns(expected), squares)
    assert "dropout or batch normalization" in " ".join(result.notes)


def test_many_images_are_compared_on_some_that_are_spread_over_the_answers(gray):
    times = 10
    model = OnnxModel(gray, GRAY, threads=1)
    expected = np.tile(model.ask(everything(GRAY)), (times, 1))
    read = []

    def reading(spec, rows):
        read.append(len(rows))
        return squares(spec, np.asarray(rows) % len(IMAGES))

    result = check_expectation(model, columns(expected), reading)
    assert result.agrees
    assert result.n == max(read) == 200


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"Sick": [0.1] * 40, "Well": [0.9] * 40}, "call the classes alike in both"),
        ({"Normal": [np.nan] * 40}, "no probabilities"),
        ({"Normal": [1.5] * 40}, "no probabilities"),
    ],
)
def test_expectations_that_cannot_be_compared_are_refused(gray, expected, message):
    model = OnnxModel(gray, GRAY, threads=1)
    with pytest.raises(SpecError, match=message):
        check_expectation(model, expected, squares)


@pytest.mark.parametrize("n", [8, 20])
def test_few_decisions_cannot_tell(gray, n):
    """Of eight random decisions, one of the ways tried gives a third of all draws."""
    rng = np.random.default_rng(8)
    model = OnnxModel(gray, GRAY, threads=1)
    for _ in range(12 if n == 8 else 1):
        decided = rng.integers(0, 2, n) if n == 8 else np.arange(n) < 2
        if 0 < decided.sum() < n:
            result = check_expectation(model, columns(np.eye(2)[decided.astype(int)]), squares)
            assert result.agreement is Agreement.UNDECIDED
            assert "decisions" in result.notes[0]


def test_random_decisions_never_agree(gray):
    model = OnnxModel(gray, GRAY, threads=1)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        decided = np.eye(2)[rng.permutation(np.arange(20) < 8).astype(int)]
        result = check_expectation(model, columns(decided), squares)
        assert result.agreement is Agreement.DISAGREES
