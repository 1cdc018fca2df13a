"""The hospital swap, on made-up models whose reading is known and on hospitals that are made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from hurdles.auditing.hurdle import MODEL_HURDLES, run_hurdles
from hurdles.auditing.material import Elsewhere, Material
from hurdles.auditing.model.alterations import hospital_swap
from hurdles.data.manifest import Manifest
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Verdict


def two_hospitals(images: Material) -> Material:
    """Split the patients between a clinic that leaves images sharp and one that blurs them."""
    frame = images.manifest.frame.copy()
    blurred = frame["patient"].str[-1].astype(int).to_numpy() % 2 == 1
    frame["source"] = np.where(blurred, "blurring", "sharp")
    pixels = images.pixels.copy()
    for i in np.flatnonzero(blurred):
        pixels[i] = cv2.GaussianBlur(pixels[i], (0, 0), 1.0)
    return replace(images, manifest=Manifest(frame), pixels=pixels)


def one_source(images: Material, name: str) -> Material:
    frame = images.manifest.frame.assign(source=name)
    return replace(images, name=name, manifest=Manifest(frame))


def reads_sharpness_outside(pixels: np.ndarray, masks: Any) -> np.ndarray:
    strip = pixels[:, 80:, :].astype(float)
    return 20 * (np.log(np.abs(np.diff(strip, axis=2)).mean(axis=(1, 2))) - 1.75)


def reads_lungs(pixels: np.ndarray, masks: Any) -> np.ndarray:
    return (
        np.array([p[m].mean() if m.any() else 0 for p, m in zip(pixels, masks, strict=True)]) - 70
    )


def shares(found: list[Finding]) -> dict[str, Finding]:
    return {f.subject: f for f in found if f.statistic.startswith("share")}


def test_a_model_that_reads_sharpness_outside_the_lungs_is_hit_and_its_control_is_calm(
    reading, phantoms
):
    found = shares(list(hospital_swap(reading(two_hospitals(phantoms()), reads_sharpness_outside))))
    assert set(found) == {"sharp", "blurring", "own source (control)"}
    control = found["own source (control)"]
    for name in ("sharp", "blurring"):
        assert found[name].verdict is Verdict.HIT
        assert found[name].estimate.low > control.estimate.value
        assert found[name].evidence
        assert "simultaneous over 2" in found[name].estimate.method
    assert control.limit is None
    assert control.estimate.value < 0.1


def test_a_model_that_reads_lungs_alone_never_flips(reading, phantoms):
    found = list(hospital_swap(reading(two_hospitals(phantoms()), reads_lungs)))
    assert {f.estimate.value for f in found} == {0.0}
    # No flip among so few images does not show that there are few among others.
    assert {f.verdict for f in found} == {Verdict.INCONCLUSIVE, Verdict.SHOWN}


def test_each_image_is_asked_about_in_the_style_of_another_source_than_its_own(reading, phantoms):
    material = two_hospitals(phantoms())
    subject = reading(material, reads_sharpness_outside)
    found = shares(list(hospital_swap(subject)))
    sources = subject.tested.manifest.frame["source"]
    for name in ("sharp", "blurring"):
        assert found[name].estimate.n_images == (sources != name).sum()
        assert found[name].details["from"] == sorted({"sharp", "blurring"} - {name})
    assert found["own source (control)"].estimate.n_images == len(subject.tested)


def test_blurring_damps_and_sharpening_gains(reading, phantoms):
    found = shares(list(hospital_swap(reading(two_hospitals(phantoms()), reads_sharpness_outside))))
    gain = {
        n: np.array(f.details["styles"][o]["gain"])
        for n, o, f in (
            ("sharp", "blurring", found["sharp"]),
            ("blurring", "sharp", found["blurring"]),
        )
    }
    assert gain["blurring"][-2:].max() < 0.8
    assert gain["sharp"][-2:].min() > 1.2


def test_the_change_of_probability_is_shown_with_an_interval(reading, phantoms):
    found = list(hospital_swap(reading(two_hospitals(phantoms()), reads_sharpness_outside)))
    shifts = {f.subject: f for f in found if f.statistic.startswith("mean change")}
    assert shifts["sharp"].estimate.low > 0 > shifts["blurring"].estimate.high
    assert all(f.limit is None for f in shifts.values())
    by_class = shares(found)["sharp"].details["change_by_class"]
    for change in by_class.values():
        assert change["COVID-19"] == pytest.approx(-change["Normal"], abs=1e-5)


def test_another_collection_gives_the_style_where_there_is_one_source(reading, phantoms):
    images = one_source(phantoms(), "home")
    away = two_hospitals(phantoms(seed=5))
    away = one_source(away.take(away.manifest.frame["source"] == "blurring"), "away")
    frame = away.manifest.frame
    said = Predictions.from_arrays(
        ("COVID-19", "Normal"),
        y_true=frame["label"].tolist(),
        y_prob=np.full((len(away), 2), 0.5),
        images=frame["image"].tolist(),
        groups=away.groups.tolist(),
    )
    subject = reading(images, reads_sharpness_outside, elsewhere=[Elsewhere(away, said)])
    found = shares(list(hospital_swap(subject)))
    assert list(found) == ["away", "own source (control)"]
    assert found["away"].estimate.value > 0.3


def test_one_source_alone_cannot_be_swapped(reading, phantoms):
    subject = reading(one_source(phantoms(), "home"), reads_lungs)
    found = run_hurdles(MODEL_HURDLES, subject, names=["hospital-swap"])
    assert found.verdict("hospital-swap") is Verdict.COULD_NOT_RUN
    assert "one source only" in found.rows[0].estimate.note


def test_without_lungs_it_says_what_is_missing(reading, phantoms):
    subject = reading(replace(two_hospitals(phantoms()), masks=None), reads_lungs)
    found = run_hurdles(MODEL_HURDLES, subject, names=["hospital-swap"])
    assert "lungs were not looked for" in found.rows[0].estimate.note


def test_a_source_with_a_handful_of_images_has_no_style(reading, phantoms):
    images = two_hospitals(phantoms())
    frame = images.manifest.frame.copy()
    frame["source"] = np.where(np.arange(len(frame)) < 5, "tiny", "home")
    subject = reading(replace(images, manifest=Manifest(frame)), reads_lungs)
    found = run_hurdles(MODEL_HURDLES, subject, names=["hospital-swap"])
    assert "one source only" in found.rows[0].estimate.note


def test_images_without_lungs_are_left_out(reading, phantoms):
    images = two_hospitals(phantoms())
    masks = images.masks.copy()
    masks[images.rows("test")[:3]] = False
    masks[images.rows("test")[3]] = True  # nothing around them has a style
    subject = reading(replace(images, masks=masks), reads_lungs)
    found = shares(list(hospital_swap(subject)))
    assert found["own source (control)"].estimate.n_images == len(subject.tested) - 4


def test_findings_are_json_and_deterministic(reading, phantoms):
    subject = reading(two_hospitals(phantoms()), reads_sharpness_outside)
    one, two = (run_hurdles(MODEL_HURDLES, subject, names=["hospital-swap"]) for _ in range(2))
    assert json.dumps(one.to_dict(), allow_nan=False) == json.dumps(two.to_dict(), allow_nan=False)
