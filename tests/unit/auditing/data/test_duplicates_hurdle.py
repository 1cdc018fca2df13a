"""Planted copies are found where they stand, and chests that only look alike are not."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.data import duplicates as hurdle
from hurdles.auditing.data.duplicates import pairs_in
from hurdles.auditing.hurdle import DATA_HURDLES, run_hurdles
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.findings.finding import Finding, Verdict
from hurdles.phantom import phantom_cohort


@pytest.fixture(scope="module")
def cohort():
    return phantom_cohort(40, seed=1, size=96, classes=("COVID-19", "Normal"))


def material(cohort, copies=(), **columns) -> Material:
    """Return phantoms, and copies of some: (row, what happens to it, what its row says)."""
    frame = cohort.frame.assign(path="/" + cohort.frame["image"])
    frame["split"] = np.where(frame["patient"].rank(method="dense") % 3 == 0, "test", "train")
    frame = frame.assign(**columns)
    pixels = [*cohort.pixels]
    for row, alter, changed in copies:
        pixels.append(alter(cohort.pixels[row]))
        added = {**frame.iloc[row].to_dict(), "image": f"copy of {row}", "path": f"/copy{row}"}
        frame.loc[len(frame)] = {**added, "patient": f"other {row}", **changed}
    return Material("phantoms", Manifest(frame), np.stack(pixels))


def alone(cohort, number) -> int:
    """Return a row whose patient has no other image: a phantom's images are nearly copies."""
    return int(np.flatnonzero(~cohort.frame["patient"].duplicated(keep=False))[number])


def by_subject(given: Material) -> dict[str, Finding]:
    return {row.subject: row for row in hurdle.duplicates(given)}


def jpeg(image):
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


def other(value, first, second):
    return second if value == first else first


def test_phantoms_of_different_people_are_no_copies(cohort, monkeypatch):
    findings = by_subject(material(cohort))
    assert Verdict.HIT not in {f.verdict for f in findings.values()}
    assert findings["across the split"].verdict is Verdict.CLEARED
    # The guard is how alike two must be: without it people of like build are taken for one.
    monkeypatch.setattr(hurdle, "THRESHOLD", 0.80)
    monkeypatch.setattr(hurdle, "LIKELY", 0.80)
    monkeypatch.setattr(hurdle, "_BY_CHANCE", 1e9)
    assert by_subject(material(cohort))["across the split"].verdict is Verdict.HIT


def alike(similarity, same_patient=()) -> pd.DataFrame:
    """Return pairs of these similarities, of which those at `same_patient` are of one patient."""
    table = pd.DataFrame({"similarity": similarity, "same_patient": False})
    table.loc[list(same_patient), "same_patient"] = True
    return table.sort_values("similarity", ascending=False, ignore_index=True)


def test_where_many_are_nearly_as_alike_a_pair_must_stand_out():
    crowd = list(np.linspace(0.96, 0.979, 100))
    alone = hurdle.counts_from(alike([0.983]))
    assert alone == hurdle.counts_from(alike([])) == hurdle.THRESHOLD
    assert hurdle.counts_from(alike(crowd[:10])) == pytest.approx(0.985, abs=2e-4)
    crowded = hurdle.counts_from(alike(crowd))
    assert crowded == pytest.approx(0.989, abs=2e-4)
    # Copies, however many, do not lower the bar for what only looks alike.
    assert hurdle.counts_from(alike([*crowd, *np.linspace(0.983, 1, 300)])) == crowded
    # One patient's images are alike for a reason, and do not raise it.
    assert hurdle.counts_from(alike(crowd, same_patient=range(100))) == alone
    assert hurdle.counts_from(alike(crowd * 10_000)) < 1


@pytest.mark.parametrize("mean", [1, 10, 100, 1000])
def test_look_alikes_are_taken_for_copies_in_one_collection_of_a_hundred(mean):
    rng = np.random.default_rng(mean)
    taken, above = 0, 0
    for _ in range(3000):
        z = np.arctanh(hurdle.LIKELY) + rng.exponential(1 / 14, rng.poisson(mean))
        similarity = np.tanh(z)
        taken += (similarity >= hurdle.counts_from(alike(similarity))).any()
        above += (similarity >= hurdle.THRESHOLD).any()
    assert taken / 3000 < 0.015
    assert mean < 10 or above / taken > 2  # the threshold alone would take far more


def test_a_pair_that_does_not_stand_out_is_shown_and_not_judged(cohort, monkeypatch):
    row = alone(cohort, 2)
    split = other(material(cohort).manifest.frame["split"].iloc[row], "train", "test")
    images = material(cohort, [(row, jpeg, {"split": split})])
    monkeypatch.setattr(hurdle, "_BY_CHANCE", 1e-30)  # a crowd
    found = by_subject(images)
    assert found["across the split"].verdict is Verdict.CLEARED
    assert "from 0.96 to 1.000," in found["likely"].statistic
    assert f"copy of {row}" in str(found["likely"].details["pairs"])


@pytest.mark.parametrize(
    "alter",
    [jpeg, lambda x: 255 - x, lambda x: np.ascontiguousarray(x[:, ::-1]), np.copy],
    ids=["jpeg", "inverted", "mirrored", "identical"],
)
def test_a_copy_in_another_part_is_a_hit(cohort, alter):
    plain, row = material(cohort), alone(cohort, 2)
    split = other(plain.manifest.frame["split"].iloc[row], "train", "test")
    found = by_subject(material(cohort, [(row, alter, {"split": split})]))
    one = found["across the split"]
    assert one.verdict is Verdict.HIT
    assert one.estimate.value == 1
    assert {e.image for e in one.evidence} == {cohort.frame["image"].iloc[row], f"copy of {row}"}
    assert f"same as copy of {row}" in " ".join(e.says for e in one.evidence)
    assert one.details["radiographs"] == 1
    assert one.details["identical"] == found["identical"].estimate.value == (alter is np.copy)
    assert found["conflicting labels"].verdict is Verdict.CLEARED
    assert found["within a class"].estimate.value == 0


def test_conflicting_labels_are_named(cohort):
    label = other(cohort.frame["label"].iloc[3], "Normal", "COVID-19")
    found = by_subject(material(cohort, [(3, jpeg, {"label": label})]))["conflicting labels"]
    assert found.verdict is Verdict.HIT
    (pair,) = found.details["pairs"]
    assert {pair["label_a"], pair["label_b"]} == {"Normal", "COVID-19"}
    assert pair["image_b"] == "copy of 3"


def test_copies_within_a_class_are_judged_and_those_across_sources_shown(cohort):
    one, two = alone(cohort, 0), alone(cohort, 1)
    found = by_subject(
        material(cohort, [(one, jpeg, {"source": "elsewhere"}), (two, jpeg, {})], source="here")
    )
    assert found["across sources"].estimate.value == 1
    assert found["across sources"].limit is None
    assert found["within a class"].estimate.value == 2
    assert found["within a class"].details["radiographs"] == 2
    assert found["within a class"].verdict is Verdict.HIT
    others = {f.verdict for subject, f in found.items() if subject != "within a class"}
    assert Verdict.HIT not in others


def test_copies_of_images_without_a_patient_are_judged_within_a_class(cohort):
    found = by_subject(material(cohort, [(7, jpeg, {"patient": None})], patient=None))
    assert found["within a class"].verdict is Verdict.HIT


def test_copies_of_a_known_patient_are_no_second_patient(cohort):
    patient = cohort.frame["patient"].iloc[7]
    found = by_subject(material(cohort, [(7, jpeg, {"patient": patient})]))
    assert found["within a class"].estimate.value == 0


def test_without_split_and_source_it_says_so(cohort):
    found = by_subject(material(cohort, split=None, source=None))
    for subject, word in (("across the split", "split"), ("across sources", "source")):
        assert found[subject].verdict is Verdict.COULD_NOT_RUN
        assert found[subject].estimate.note == f"the manifest names no {word}"
    assert found["conflicting labels"].verdict is Verdict.CLEARED


def test_three_copies_are_one_radiograph(cohort):
    row = alone(cohort, 0)
    copies = [(row, jpeg, {}), (row, np.copy, {"image": "again", "path": "/again", "patient": "x"})]
    found = by_subject(material(cohort, copies))
    assert found["within a class"].estimate.value == 3
    assert found["within a class"].details["radiographs"] == 1


def test_it_is_registered_and_can_be_written(cohort):
    findings = run_hurdles(DATA_HURDLES, material(cohort, [(1, jpeg, {})]), names=["duplicates"])
    assert len(findings) == 6
    assert findings.frame["statistic"].is_unique
    assert type(findings).from_dict(findings.to_dict()).frame.equals(findings.frame)


def test_one_image_has_no_copies(cohort):
    alone = material(cohort).take([0])
    copies = pairs_in(alone)
    assert copies.empty
    assert not any(f.verdict is Verdict.HIT for f in hurdle.duplicates(alone))
    assert isinstance(copies["label_differs"].dtype, np.dtype)
    assert pd.api.types.is_bool_dtype(copies["identical"])
