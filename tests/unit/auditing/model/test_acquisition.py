"""Acquisition, on made-up models whose reading is known and on shortcuts that are planted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from hurdles.auditing.hurdle import MODEL_HURDLES, run_hurdles
from hurdles.auditing.material import Material
from hurdles.auditing.model.acquisition import (
    _box,
    _brought,
    _Change,
    _changes,
    _Measures,
    acquisition,
    gap,
)
from hurdles.data.manifest import Manifest
from hurdles.findings.finding import Finding, Verdict

LABELS = ("COVID-19", "Normal")
WHOLE = "gray levels, sharpness, field of view"
PARTS = [WHOLE, "gray levels", "sharpness and grain", "field of view"]


def brightness(pixels: np.ndarray, masks: Any) -> np.ndarray:
    return (pixels.mean(axis=(1, 2)) - 75) / 3


def sharpness(pixels: np.ndarray, masks: Any) -> np.ndarray:
    return -20 * (np.log(np.abs(np.diff(pixels.astype(float), axis=2)).mean(axis=(1, 2))) - 1.75)


def lung_height(pixels: np.ndarray, masks: Any) -> np.ndarray:
    return -40 * (np.array([_box(mask)[0] for mask in masks]) - 0.6)


def lungs(pixels: np.ndarray, masks: Any) -> np.ndarray:
    pairs = zip(pixels, masks, strict=True)
    ranks = [
        (image < np.median(image[mask])).mean() if mask.any() else 0.5 for image, mask in pairs
    ]
    return 20 * (np.array(ranks) - 0.4)


def nothing(pixels: np.ndarray, masks: Any) -> np.ndarray:
    return np.zeros(len(pixels))


def blurred(images: Material) -> Material:
    """Blur the images of one class."""
    pixels = images.pixels.copy()
    for row in np.flatnonzero(images.labels == "COVID-19"):
        pixels[row] = cv2.GaussianBlur(pixels[row], (0, 0), 1.2)
    return replace(images, pixels=pixels)


def found(subject) -> dict[str, Finding]:
    return {finding.subject: finding for finding in acquisition(subject)}


@pytest.mark.parametrize(
    ("shortcut", "reads", "part"),
    [
        ("brightness", brightness, "gray levels"),
        ("blur", sharpness, "sharpness and grain"),
        ("noise", lambda p, m: -sharpness(p, m), "sharpness and grain"),
        ("body-size", lung_height, "field of view"),
    ],
)
def test_a_model_that_reads_a_planted_acquisition_is_hit(reading, phantoms, shortcut, reads, part):
    every = found(reading(phantoms(shortcut), reads))
    assert list(every) == PARTS
    assert every[WHOLE].verdict is Verdict.HIT, every[WHOLE].estimate
    assert every[WHOLE].estimate.value > 0.3
    parts = {name: every[name].estimate.value for name in PARTS[1:]}
    assert max(parts, key=parts.get) == part, parts
    assert {every[name].verdict for name in PARTS[1:]} == {Verdict.SHOWN}


@pytest.mark.parametrize("shortcut", ["", "brightness", "blur"])
def test_a_model_that_reads_the_lungs_by_ranks_is_not_hit(reading, phantoms, shortcut):
    """Ranks stay under every tone curve; what tells the classes is in the lungs."""
    whole = found(reading(phantoms(shortcut), lungs))[WHOLE]
    assert whole.verdict is not Verdict.HIT, whole.estimate


def test_what_an_alteration_only_spoils_is_no_hit(reading, phantoms):
    """Sharpness tells the classes, the model reads the disease: blur in the lungs spoils both."""
    images = blurred(phantoms())
    truth = np.where(images.labels == "COVID-19", 1.0, -1.0)
    of_size = {image.tobytes()[:2000]: t for image, t in zip(images.pixels, truth, strict=True)}

    def spoilt(pixels: np.ndarray, masks: Any) -> np.ndarray:
        # Right about what it knows to the byte, and lost alike on whatever is altered.
        return np.array([of_size.get(image.tobytes()[:2000], 0.0) for image in pixels])

    whole = found(reading(images, spoilt))[WHOLE]
    assert whole.details["auc"] == 1.0
    assert whole.details["auc_towards"] == whole.details["auc_away"] == 0.5
    assert whole.verdict is not Verdict.HIT


def test_images_come_to_have_the_acquisition_of_the_other_class(phantoms):
    images = phantoms("body-size")
    changes = _changes(images)
    pixels, masks = _brought(images, changes, WHOLE, towards=True)
    for label, change in changes.items():
        rows = (images.labels == label) & masks.any(axis=(1, 2))
        acquired = _Measures.of(pixels[rows], masks[rows]).mean(np.ones(rows.sum(), bool))
        start, wanted = change.begin, change.end
        assert abs(acquired.extent - wanted.extent) < 0.3 * abs(start.extent - wanted.extent)
        before = np.abs(start.style.tone_to(wanted.style) - np.arange(256)).mean()
        left = np.abs(acquired.style.tone_to(wanted.style) - np.arange(256)).mean()
        assert left < max(0.5 * before, 4), (left, before)


def test_boxes_of_lungs_are_shares_of_the_image():
    mask = np.zeros((100, 100), bool)
    mask[20:70, 10:90] = True
    height, width, across, down = _box(mask)
    assert height == pytest.approx(0.5, abs=0.02)
    assert width == pytest.approx(0.8, abs=0.02)
    assert (across, down) == pytest.approx((0.5, 0.45), abs=0.01)


def test_parts_in_which_classes_are_alike_are_left_alone(reading, phantoms):
    """A model that reads brightness alone, on classes that do not differ in it: nothing to swap."""
    images = phantoms()
    deal = np.random.default_rng(1).random(44) < 0.5
    patients = {name: LABELS[int(deal[i])] for i, name in enumerate(np.unique(images.groups))}
    frame = images.manifest.frame.assign(label=[patients[name] for name in images.groups])
    images = replace(images, manifest=Manifest(frame))
    pixels, _ = _brought(images, _changes(images), WHOLE, towards=True)
    np.testing.assert_array_equal(pixels, images.pixels)
    asked = []
    subject = reading(images, lambda p, m: asked.append(len(p)) or brightness(p, m))
    assert len(subject.reference)
    before = len(asked)
    whole = found(subject)[WHOLE]
    assert len(asked) == before  # what is not altered need not be answered again
    assert (whole.estimate.value, whole.verdict) == (0.0, Verdict.INCONCLUSIVE)
    assert "no more than chance" in whole.uncleared


def test_chance_is_uniform_over_patients_however_many_images_they_have():
    rng = np.random.default_rng(0)
    beyond = []
    for _ in range(300):
        numbers = rng.normal(size=(40, 3))
        groups = np.repeat(np.arange(40), 3).astype(str)
        repeated = np.repeat(numbers, 3, axis=0) + 0.01 * rng.normal(size=(120, 3))
        inside = np.repeat(rng.permutation(40) < 20, 3)
        beyond.append(gap(repeated, inside, groups, rng).beyond > 0)
    assert sum(beyond) <= 5  # 1 is expected; by images it would be a third
    apart = gap(repeated + 3 * inside[:, None], inside, groups, rng)
    assert apart.deviations == pytest.approx(3 / np.sqrt(1 + 1.5**2), abs=0.2)
    assert apart.beyond > 0.5


def test_a_small_gap_of_gray_levels_does_not_count_however_sure_it_is():
    rng = np.random.default_rng(0)
    inside, groups = np.arange(2000) < 1000, np.arange(2000).astype(str)
    numbers = rng.normal(size=(2000, 1))
    small, large = (gap(numbers + d * inside[:, None], inside, groups, rng) for d in (0.3, 0.9))
    ends = (None, None, None)
    for part, counted in (("gray levels", [False, True]), ("field of view", [True, True])):
        assert [bool(_Change(*ends, {part: each}).differs) for each in (small, large)] == counted


def test_images_without_lungs_are_left_out_and_counted(reading, phantoms):
    images = phantoms()
    masks = images.masks.copy()
    masks[images.rows("test")[:3]] = False
    masks[images.rows("test")[3]] = True  # nothing around them has a style
    subject = reading(replace(images, masks=masks), brightness)
    whole = found(subject)[WHOLE].estimate
    assert whole.n_images == len(subject.tested) - 4
    assert "4 of" in whole.note


def test_a_class_with_a_handful_of_images_has_no_acquisition(reading, phantoms):
    images = phantoms()
    few = np.flatnonzero(images.labels == "COVID-19")[9:]
    kept = np.setdiff1d(np.arange(len(images)), few)
    subject = reading(images.take(kept), nothing)
    ran = run_hurdles(MODEL_HURDLES, subject, names=["acquisition"])
    assert ran.verdict("acquisition") is Verdict.COULD_NOT_RUN
    assert "10 images with lungs" in ran.rows[0].estimate.note


def test_of_three_classes_each_is_brought_to_the_two_others(phantoms):
    images = phantoms()
    frame = images.manifest.frame.copy()
    frame.loc[np.arange(len(frame)) % 3 == 0, "label"] = "Third"
    images = replace(images, manifest=Manifest(frame))
    changes = _changes(images)
    assert sorted(changes) == ["COVID-19", "Normal", "Third"]
    rest = images.masks.any(axis=(1, 2)) & (images.labels != "Third")
    both = _Measures.of(images.pixels[rest], images.masks[rest]).mean(np.ones(rest.sum(), bool))
    assert changes["Third"].end.extent == pytest.approx(both.extent)


def test_its_cost_counts_the_passes_that_it_may_take(reading, phantoms):
    subject = reading(phantoms(), brightness)
    one, two = (MODEL_HURDLES.get("acquisition").cost(subject, answer) for answer in (0.0, 1.0))
    assert two - one == pytest.approx(8 * len(subject.test))


def test_findings_are_json_and_deterministic(reading, phantoms):
    subject = reading(phantoms("brightness"), brightness)
    one, two = (run_hurdles(MODEL_HURDLES, subject, names=["acquisition"]) for _ in range(2))
    assert json.dumps(one.to_dict(), allow_nan=False) == json.dumps(two.to_dict(), allow_nan=False)
