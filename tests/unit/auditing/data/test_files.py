"""Each fault of a file is found where it was planted, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.data import files as module
from hurdles.auditing.data.files import blockiness, chest_likeness, files, frame_width
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.errors import ConstantImageError, TruncatedImageError
from hurdles.findings.finding import Finding, Verdict
from hurdles.phantom import Shortcut, phantom_cohort
from hurdles.pixels.decode import decode

CLASSES = ("COVID-19", "Normal")


def phantoms(shortcut: str | None = None, patients: int = 60) -> Material:
    planted = Shortcut(shortcut, 1.0) if shortcut else None
    made = phantom_cohort(patients, seed=1, size=96, classes=CLASSES, shortcut=planted)
    manifest = Manifest(made.frame.assign(path="/" + made.frame["image"]))
    return Material("made", manifest, made.pixels, masks=made.masks > 127)


@pytest.fixture(scope="module")
def clean() -> Material:
    return phantoms()


def found(given: Material) -> dict[str, Finding]:
    return {f.subject: f for f in files(given)}


def hits(given: Material) -> set[str]:
    return {name for name, f in found(given).items() if f.verdict is Verdict.HIT}


def test_clean_images_clear(clean):
    verdicts = {name: f.verdict for name, f in found(clean).items()}
    assert Verdict.HIT not in verdicts.values()
    # What is counted is certain; a share or a difference on so few images is not.
    assert {verdicts[n] for n in ("unreadable", "constant", "identical")} == {Verdict.CLEARED}
    assert verdicts["not a frontal chest"] is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("shortcut", "hit"),
    [("marker", "text burnt in"), ("border", "frame"), ("jpeg", "JPEG blocks"),
     ("inversion", "inverted")],
)  # fmt: skip
def test_planted_marks_are_found(shortcut, hit):
    assert hit in hits(phantoms(shortcut))


def test_a_mark_that_is_equally_common_is_shown_and_not_hit(clean):
    marked = clean.pixels.copy()
    for image in marked:
        cv2.putText(image, "L", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    finding = found(replace(clean, pixels=marked))["text burnt in"]
    assert finding.verdict is Verdict.CLEARED
    assert all(c["found"] > 0.8 * c["images"] for c in finding.details["by_class"].values())


def test_inverted_images_are_named_and_are_not_called_no_chest(clean):
    pixels = clean.pixels.copy()
    pixels[:9] = 255 - pixels[:9]
    findings = found(replace(clean, pixels=pixels))
    assert findings["inverted"].verdict is Verdict.HIT
    named = {e.image for e in findings["inverted"].evidence}
    assert named == set(clean.manifest.frame["image"][:9])
    assert findings["not a frontal chest"].estimate.value == 0


def test_what_is_no_chest_is_named(clean):
    pixels = clean.pixels.copy()
    pixels[:12] = np.random.default_rng(0).integers(0, 255, (12, 96, 96))
    findings = found(replace(clean, pixels=pixels))
    assert findings["not a frontal chest"].verdict is Verdict.HIT
    assert len(findings["not a frontal chest"].evidence) == 12


def test_missing_lungs_make_a_doubtful_image_no_chest():
    like = np.array([0.9, 0.4, 0.4, 0.1, -0.9])
    lungs = np.array([False, False, True, True, False])
    assert module.is_no_chest(like, lungs).tolist() == [False, True, False, True, False]
    assert module.is_no_chest(like).tolist() == [False, False, False, True, False]


def test_files_that_could_not_be_read_are_counted_by_kind(clean):
    failures = {
        "a": TruncatedImageError("ends early", "/x/a.png"),
        "b": ConstantImageError("all the same", "/x/b.png"),
    }
    left = exclusions_table([("/x/a.png", "ends early"), ("/x/c.png", "a lateral view")])
    given = replace(clean, manifest=Manifest(clean.manifest.frame, left), failures=failures)
    findings = found(given)
    for name, image in (("unreadable", "a"), ("constant", "b")):
        assert findings[name].verdict is Verdict.HIT
        assert [e.image for e in findings[name].evidence] == [image]
    assert findings["unreadable"].details == {"kinds": {"TruncatedImage": 1}}
    assert findings["left out"].details == {"reasons": {"a lateral view": 1}}
    assert findings["left out"].limit is None


def test_headers_tell_tiny_images_and_other_modalities(clean):
    n = len(clean)
    facts = pd.DataFrame({"height": [99.0] + [500.0] * (n - 1), "width": 500.0,
                          "modality": ["DX", "CT"] + [None] * (n - 2)})  # fmt: skip
    findings = found(replace(clean, facts=facts))
    assert [e.image for e in findings["tiny"].evidence] == [clean.manifest.frame["image"][0]]
    assert [e.image for e in findings["other views"].evidence] == [clean.manifest.frame["image"][1]]


def test_lateral_views_of_the_table_are_counted(clean):
    frame = clean.manifest.frame.copy()
    frame.loc[3, "view"] = "LL"
    finding = found(replace(clean, manifest=Manifest(frame)))["other views"]
    assert (finding.verdict, finding.estimate.value) == (Verdict.HIT, 1)


def test_copies_and_coarse_images_are_counted(clean):
    pixels = clean.pixels.copy()
    pixels[5] = pixels[2]
    pixels[7] = pixels[7] // 8 * 8
    findings = found(replace(clean, pixels=pixels))
    names = clean.manifest.frame["image"]
    assert [(e.image, e.says) for e in findings["identical"].evidence] == [
        (names[2], f"the same pixels as {names[5]}"),
        (names[5], f"the same pixels as {names[2]}"),
    ]
    assert findings["few grey levels"].estimate.value == 1


def test_blocks_of_resized_files_are_not_asked(clean):
    n = len(clean)
    facts = pd.DataFrame({"height": np.full(n, 900.0), "width": np.full(n, 800.0)})
    finding = found(replace(clean, facts=facts))["JPEG blocks"]
    assert finding.verdict is Verdict.COULD_NOT_RUN
    assert "images were resized" in finding.estimate.note
    assert np.isnan(blockiness(clean.pixels, np.full(n, 900.0))).all()


def test_a_difference_that_may_be_none_reaches_below_zero(clean):
    finding = found(clean)["frame"]
    assert finding.estimate.low < 0 <= finding.estimate.value
    assert "simultaneous over 3" in finding.estimate.method


def test_one_even_edge_is_no_frame(clean):
    pixels = clean.pixels[:1].copy()
    pixels[:, :, :10] = 0
    before = frame_width(clean.pixels[:1])
    assert frame_width(pixels)[0] <= max(before[0], 0.02)


@pytest.mark.realdata
def test_lateral_views_and_inverted_films_of_a_real_collection_are_told():
    root = os.environ.get("HURDLES_DATA")
    if not root or not (Path(root) / "covid-chestxray-dataset").is_dir():
        pytest.skip("HURDLES_DATA names no folder with covid-chestxray-dataset")
    folder = Path(root) / "covid-chestxray-dataset"
    table = pd.read_csv(folder / "metadata.csv", dtype="str", keep_default_na=False)
    table = table[table["modality"] != "CT"]

    def likeness(views: list[str], most: int) -> np.ndarray:
        names = table.loc[table["view"].isin(views), "filename"]
        paths = [p for name in names if (p := folder / "images" / name).is_file()][:most]
        small = [cv2.resize(decode(p), (96, 96), interpolation=cv2.INTER_AREA) for p in paths]
        return chest_likeness((np.clip(np.stack(small), 0, 1) * 255).astype(np.uint8))

    frontal, lateral = likeness(["PA", "AP"], 60), likeness(["L", "LL"], 60)
    assert module.is_inverted(frontal).mean() < 0.03
    assert module.is_inverted(-frontal).mean() > 0.9
    assert module.is_no_chest(frontal).mean() < 0.05
    assert (module.is_no_chest(lateral) | module.is_inverted(lateral)).mean() > 0.65
