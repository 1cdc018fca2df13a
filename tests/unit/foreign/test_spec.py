"""A spec turns pixels into the numbers of another library, and answers into probabilities."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.special import softmax as scipy_softmax

from hurdles.errors import ModelError, SpecError
from hurdles.foreign.spec import Spec, load_spec

TWO = Spec(classes=("Normal", "Pneumonia"), size=16)
SQUARES = np.random.default_rng(0).integers(0, 256, (5, 16, 16)).astype(np.uint8)
MEAN, SD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


# --- pixels --------------------------------------------------------------------------------------


def test_pixels_of_torchvision():
    """ToTensor and Normalize of a gray image that was converted to RGB, by torch."""
    spec = TWO.changed(channels=3, channel_order="rgb", mean=MEAN, sd=SD)
    x = torch.from_numpy(SQUARES).float().div(255)[:, None].repeat(1, 3, 1, 1)
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SD)[:, None, None]
    np.testing.assert_allclose(spec.arrays(SQUARES), x.numpy(), atol=1e-6)


def test_pixels_of_torchxrayvision():
    """Its `normalize`: (2 * (image / 255) - 1) * 1024."""
    spec = TWO.changed(range=[-1024, 1024])
    theirs = (2 * (SQUARES.astype(np.float32) / 255) - 1.0) * 1024
    np.testing.assert_allclose(spec.arrays(SQUARES)[:, 0], theirs, atol=2e-4)


def test_pixels_of_keras_in_the_order_of_caffe():
    """preprocess_input of VGG: blue first, less the mean of each, 0 to 255."""
    spec = TWO.changed(
        range=[0, 255],
        channels=3,
        channel_order="bgr",
        mean=[123.68, 116.779, 103.939],
        layout="NHWC",
    )
    theirs = SQUARES[..., None].astype(np.float32) - [103.939, 116.779, 123.68]
    assert spec.arrays(SQUARES).shape == (5, 16, 16, 3)
    np.testing.assert_allclose(spec.arrays(SQUARES), theirs, atol=1e-4)


@pytest.mark.filterwarnings("ignore:NvImgCodec")
def test_pixels_of_monai(tmp_path):
    """LoadImage and ScaleIntensity of a PNG, and NormalizeIntensity, by MONAI."""
    from monai.transforms import (
        Compose,
        EnsureChannelFirst,
        LoadImage,
        NormalizeIntensity,
        ScaleIntensity,
    )
    from PIL import Image

    Image.fromarray(SQUARES[0]).save(tmp_path / "x.png")
    for scaling, transform in (("min-max", ScaleIntensity()), ("mean-sd", NormalizeIntensity())):
        read = Compose([LoadImage(image_only=True), EnsureChannelFirst(), transform])
        spec = TWO.changed(transposed=True, scaling=scaling)
        theirs = np.asarray(read(tmp_path / "x.png"))
        np.testing.assert_allclose(spec.arrays(SQUARES[:1])[0], theirs, atol=1e-5)


def test_inverted_gray_is_turned_before_anything_else():
    spec = TWO.changed(inverted=True, range=[0, 255])
    np.testing.assert_allclose(spec.arrays(SQUARES)[:, 0], 255.0 - SQUARES, atol=1e-4)


def test_an_image_of_one_gray_is_scaled_without_a_warning():
    flat = np.full((1, 16, 16), 7, np.uint8)
    for scaling in ("min-max", "mean-sd"):
        assert TWO.changed(scaling=scaling).arrays(flat).max() == pytest.approx(0, abs=1e-6)


def test_arrays_are_contiguous_floats():
    for layout in ("NCHW", "NHWC"):
        arrays = TWO.changed(layout=layout).arrays(SQUARES)
        assert arrays.dtype == np.float32
        assert arrays.flags.c_contiguous


# --- answers -------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(-800, 800), min_size=3, max_size=3), min_size=1, max_size=5))
def test_logits_become_probabilities_as_scipy_has_them(rows):
    spec = Spec(classes=("a", "b", "c"), size=16)
    np.testing.assert_allclose(spec.probabilities(rows), scipy_softmax(rows, axis=1), atol=1e-12)
    one = Spec(classes=("a", "b", "c"), positive="b", negative="none", size=16)
    p = expit(np.asarray(rows)[:, 1])
    np.testing.assert_allclose(one.probabilities(rows), np.column_stack([p, 1 - p]), atol=1e-12)


def test_one_output_is_the_probability_of_the_positive_class():
    fields = {"classes": ("Pneumonia",), "positive": "Pneumonia", "negative": "Normal"}
    spec = Spec(**fields, output="sigmoid")
    assert spec.labels == ("Pneumonia", "Normal")
    expected = [[0.25, 0.75], [1.0, 0.0]]
    for outputs in ([0.25, 1.0], [[0.25], [1.0]], [[[0.25]], [[1.0]]]):
        np.testing.assert_allclose(spec.probabilities(outputs), expected)


def test_exclusive_sigmoids_are_divided_by_their_sum():
    spec = TWO.changed(output="sigmoid")
    np.testing.assert_allclose(spec.probabilities([[0.2, 0.6]]), [[0.25, 0.75]])


@pytest.mark.parametrize(
    ("fields", "outputs", "message"),
    [
        ({}, [[0.0, np.nan]], "1 of 1 answers are not finite; the first is nan for Pneumonia"),
        ({}, [[0, 1], [np.inf, 0]], "first is inf for Normal of image 2"),
        ({}, [[0.0, 1.0, 2.0]], r"shape \(1, 3\), and the spec names 2 outputs"),
        ({}, [0.5, 0.5], r'classes = \["Pneumonia"\], positive = "Pneumonia"'),
        ({"output": "softmax"}, [[2.0, -1.0]], 'output = "logits" is for numbers without limit'),
        ({"output": "softmax"}, [[0.9, 0.9]], "a row sums to 1.8"),
        ({"output": "sigmoid"}, [[0.0, 0.0]], "has the probability 0"),
    ],
)
def test_answers_that_cannot_be_are_named(fields, outputs, message):
    with pytest.raises(ModelError, match=message):
        TWO.changed(**fields).probabilities(outputs)


def test_a_threshold_decides_between_two_classes():
    spec = TWO.changed(threshold=0.2, threshold_class="Pneumonia")
    p = np.array([[0.81, 0.19], [0.8, 0.2], [0.1, 0.9]])
    assert spec.decided(p).tolist() == ["Normal", "Pneumonia", "Pneumonia"]
    assert TWO.decided(p).tolist() == ["Normal", "Normal", "Pneumonia"]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"channels": 3, "channel_order": "bgr", "mean": MEAN, "sd": SD, "layout": "NHWC"},
        {"positive": "Pneumonia", "classes": ("A", "Pneumonia", "C d"), "negative": "Normal"},
        {"threshold": 0.3, "threshold_class": "Normal", "range": (-1024, 1024)},
        {"classes": ('with "quotes"', "back\\slash", "Übel", "a\nb", "fifth")},
        {"framing": "crop", "crop_fraction": 0.875, "transposed": True, "scaling": "min-max"},
    ],
)
def test_what_is_written_is_read_again(tmp_path, fields):
    spec = TWO.changed(**fields)
    path = tmp_path / "model.toml"
    path.write_text(spec.to_toml("A heading\nof two lines"), encoding="utf-8")
    assert load_spec(path) == spec


def test_every_field_is_written_below_its_sentence():
    text = TWO.to_toml()
    for name, info in Spec.model_fields.items():
        assert info.description
        first = info.description.split()[:4]
        assert f"# {' '.join(first)}" in text
        assert f"\n{name} = " in text or f"\n# {name} = " in text
    assert max(map(len, text.splitlines())) <= 100
    assert tomllib.loads(text)["size"] == 16


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"clases": ["A", "B"]}, "clases is no field of a spec; did you mean classes"),
        ({"classes": ["A", "B"], "qqq": 1}, "qqq is no field of a spec. Known: name, classes"),
        ({}, "classes is missing"),
        ({"classes": ["A", "A"]}, "names that differ"),
        ({"classes": "A, B"}, "write a list"),
        ({"classes": ["A"]}, 'needs positive = "A"'),
        ({"classes": ["A", "B"], "positive": "C", "negative": "D"}, "'C', which is none of"),
        ({"classes": ["A", "B"], "positive": "A"}, "positive and negative come together"),
        ({"classes": ["A", "B"], "positive": "A", "negative": "B"}, "has an output of its own"),
        ({"classes": ["A", "B"], "size": [224, 256]}, "square images alone"),
        ({"classes": ["A", "B"], "size": 7}, "size: .*greater than or equal to 16"),
        ({"classes": ["A", "B"], "channels": 2}, "channels must be 1 or 3"),
        ({"classes": ["A", "B"], "mean": [1, 2, 3]}, "mean has 3 numbers for 1 channels"),
        ({"classes": ["A", "B"], "channels": 3, "mean": [1, 2, 3]}, "say channel_order"),
        ({"classes": ["A", "B"], "channel_order": "bgr"}, "channels = 1 has no order"),
        ({"classes": ["A", "B"], "sd": 0}, "sd must be above 0"),
        ({"classes": ["A", "B"], "sd": []}, "sd has 0 numbers"),
        ({"classes": ["A", "B"], "sd": 1e-320}, "sd above 1e-09"),
        ({"classes": ["A", "B"], "mean": 1e300}, r"must lie within 1e\+09"),
        ({"classes": ["A", "B"], "range": [0, 1e39]}, r"must lie within 1e\+09"),
        ({"classes": ["A", "B"], "range": [255, 0]}, "black comes first"),
        ({"classes": ["A", "B"], "range": [0, float("inf")]}, "range"),
        ({"classes": ["A", "B"], "scaling": "mean-sd", "range": [0, 255]}, "takes the place of"),
        ({"classes": ["A", "B"], "preparation": "equalised"}, "did you mean 'equalized'"),
        (
            {"classes": ["A", "B"], "preparation": "clahe", "framing": "pad"},
            "take the whole image",
        ),
        ({"classes": ["A", "B"], "threshold": 0.5}, "needs threshold_class"),
        ({"classes": list("ABC"), "threshold": 0.5}, "threshold is for two classes"),
        (
            {"classes": ["A", "B"], "threshold": 0.5, "threshold_class": "C"},
            "threshold_class is 'C'",
        ),
        ({"classes": ["A", "B"], "layout": "CHW"}, "layout: .*'NCHW' or 'NHWC'"),
        ({"classes": ["A", "B"], "mean": "none"}, "mean: "),
    ],
    ids=str,
)
def test_a_wrong_spec_is_refused_by_what_is_wrong(plain, message):
    with pytest.raises(SpecError, match=message) as caught:
        Spec.parse(plain, "model.toml")
    assert str(caught.value).startswith("model.toml: ")
    assert str(caught.value).endswith("Correct the fields named.")


def test_a_size_of_two_equal_sides_is_one():
    assert Spec.parse({"classes": ["A", "B"], "size": [224, 224]}).size == 224


def test_a_file_that_is_no_spec_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no such file; write a start with: hurdles spec"):
        load_spec(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("classes = [")
    with pytest.raises(SpecError, match="is not valid TOML"):
        load_spec(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b'classes = ["\xfc"]')
    with pytest.raises(SpecError, match="is not valid TOML"):
        load_spec(tmp_path / "latin.toml")
