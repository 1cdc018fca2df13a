"""How much a test set can show: by patients, on the right part, class by class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.data.size import size
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.evaluation.sample_size import interval_width
from hurdles.findings.finding import Finding, Verdict


def found(labels, patients=None, split=None) -> list[Finding]:
    n = len(labels)
    frame = pd.DataFrame({"image": [f"{i}" for i in range(n)], "label": labels})
    frame["path"] = "/x/" + frame["image"]
    frame["patient"] = [f"p{i}" for i in range(n)] if patients is None else patients
    frame["split"] = split
    return list(size(Material("made", Manifest(frame), np.zeros((n, 64, 64), dtype=np.uint8))))


def of(findings: list[Finding], subject: str, statistic: str) -> Finding:
    (one,) = [f for f in findings if f.subject == subject and f.statistic.startswith(statistic)]
    return one


WIDTH = "width of the interval of a sensitivity"


def test_a_small_class_is_hit_and_a_large_one_clears():
    findings = found(["a"] * 20 + ["b"] * 200)
    assert of(findings, "a", WIDTH).verdict is Verdict.HIT
    assert of(findings, "b", WIDTH).verdict is Verdict.CLEARED
    assert of(findings, "a", WIDTH).estimate.value == interval_width(20, 0.9)


def test_patients_count_and_not_images():
    many = found(["a"] * 200 + ["b"] * 200, patients=[f"p{i % 200 // 10}" for i in range(400)])
    assert of(many, "a", WIDTH).estimate.value == interval_width(20, 0.9)
    assert of(many, "a", WIDTH).estimate.n_images == 200


def test_the_test_part_is_measured_where_every_image_has_a_part():
    split = ["test"] * 10 + ["train"] * 90
    labels = ["a", "b"] * 50
    assert of(found(labels, split=split), "a", WIDTH).estimate.n_patients == 5
    assert "in the test part" in of(found(labels, split=split), "a", WIDTH).statistic
    split[-1] = None
    assert of(found(labels, split=split), "a", WIDTH).estimate.n_patients == 50


def test_a_class_that_is_not_tested_is_named():
    split = ["test"] * 50 + ["train"] * 50
    findings = found(["a"] * 25 + ["b"] * 45 + ["c"] * 30, split=split)
    missing = of(findings, "c", WIDTH)
    assert missing.verdict is Verdict.COULD_NOT_RUN
    assert "no patient of c in the test part" in missing.estimate.note


def test_images_without_patient_are_said_to_flatter():
    findings = found(["a", "b"] * 30, patients=["p"] * 50 + [None] * 10)
    assert "10 images name no patient" in of(findings, "a", WIDTH).estimate.note


def test_one_class_alone_has_no_area():
    findings = found(["a"] * 30)
    assert {f.subject for f in findings} == {"a", "two models"}


@pytest.mark.parametrize("classes", [2, 3])
def test_every_finding_stands_once_and_has_a_number(classes):
    findings = found([f"c{i % classes}" for i in range(120)])
    keys = [(f.subject, f.statistic) for f in findings]
    assert len(set(keys)) == len(keys)
    areas = [f for f in findings if f.statistic.startswith("width of the interval of an AUC")]
    assert len(areas) == (1 if classes == 2 else 3)
    assert all(f.estimate.is_defined for f in findings)
