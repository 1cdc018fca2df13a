"""Ids of patients that are torn, missing, shared or doubled are found, each by itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.data.patients import folded, patient_in_name, patients
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.findings.finding import Finding, Verdict


def found(**columns) -> dict[str, Finding]:
    n = len(next(iter(columns.values())))
    given = {
        "image": [f"{i}.png" for i in range(n)],
        "path": [f"/x/{i}.png" for i in range(n)],
        "label": ["a", "b"] * (n // 2),
        "source": ["here"] * n,
    }
    manifest = Manifest(pd.DataFrame(given | columns))
    material = Material("made", manifest, np.zeros((n, 64, 64), dtype=np.uint8))
    return {f.subject: f for f in patients(material)}


CLEAN = {"patient": ["p1", "p1", "p2", "p3"], "split": ["train", "train", "test", "validation"]}


def test_a_clean_table_clears():
    assert {f.verdict for f in found(**CLEAN).values()} == {Verdict.CLEARED, Verdict.SHOWN}


def test_a_patient_in_two_parts_is_hit():
    findings = found(**CLEAN | {"split": ["train", "test", "test", "validation"]})
    hit = findings["split"]
    assert (hit.verdict, hit.estimate.value, hit.estimate.n_patients) == (Verdict.HIT, 1, 3)
    assert [(e.image, e.says) for e in hit.evidence] == [
        ("0.png", "patient p1, train"), ("1.png", "patient p1, test"),
    ]  # fmt: skip
    assert Verdict.HIT not in {f.verdict for s, f in findings.items() if s != "split"}


def test_one_id_in_two_hospitals_is_two_people_and_named():
    findings = found(**CLEAN | {"split": ["train", "test", "test", "train"],
                                "source": ["x", "y", "x", "x"]})  # fmt: skip
    assert findings["split"].verdict is Verdict.CLEARED
    named = findings["several sources"]
    assert named.verdict is Verdict.COULD_NOT_RUN
    assert (
        "1 of the ids stands under several sources, for one 'p1' under x and y"
        in named.estimate.note
    )
    assert "1 of them stand in more than one part" in named.estimate.note
    assert [e.says for e in named.evidence] == ["patient p1, x", "patient p1, y"]
    assert "--join-patients" in named.advice


def test_an_id_without_a_source_is_that_of_the_only_source_which_has_it():
    findings = found(**CLEAN | {"split": ["train", "test", "test", "validation"],
                                "source": ["x", None, "x", "y"]})  # fmt: skip
    assert findings["split"].estimate.value == 1
    assert findings["several sources"].verdict is Verdict.CLEARED


def test_without_ids_the_split_cannot_be_checked():
    findings = found(split=["train", "test"] * 2, patient=[None] * 4)
    assert findings["split"].verdict is Verdict.COULD_NOT_RUN
    assert "nobody knows whether the parts share" in findings["split"].estimate.note
    unsplit = found(patient=["p1", "p2"])["split"]
    assert "no split yet" in unsplit.estimate.note
    assert unsplit.limit is None  # nothing is left unjudged


def test_images_without_a_patient_keep_the_split_from_being_cleared():
    columns = {"patient": ["p1", "p1", "p2", None], "split": CLEAN["split"]}
    split = found(**columns)["split"]
    assert (split.verdict, split.estimate.value, split.estimate.high) == (
        Verdict.INCONCLUSIVE, 0, 1,
    )  # fmt: skip
    assert "1 images of the split name no patient" in split.estimate.note
    assert split.to_settle is None
    torn = found(**columns | {"split": ["train", "test", "test", "validation"]})["split"]
    assert torn.verdict is Verdict.HIT


def test_missing_ids_are_counted_by_class():
    missing = found(patient=["p1", None, "p2", None, "p3", None])["missing"]
    assert (missing.estimate.value, missing.limit) == (3, None)
    assert missing.details["by_class"] == {
        "a": {"images": 3, "without_patient": 0},
        "b": {"images": 3, "without_patient": 3},
    }
    assert "differs between classes" in missing.advice
    evenly = found(patient=["p1", "p2", None, None])["missing"]
    assert "differs between classes" not in evenly.advice


@pytest.mark.parametrize(
    ("columns", "hit"),
    [
        ({"sex": ["F", "M", "F", "M"]}, True),
        ({"sex": ["F", None, "M", "M"]}, False),
        ({"sex": ["F", "O", "M", "M"]}, False),
        ({"age": [20.0, 60.0, 5.0, 5.0]}, True),
        ({"age": [20.0, 30.0, 5.0, 90.0]}, False),
        ({"age": [20.0, 30.0, 5.0, 5.0], "offset": [0, 3, 0, 0]}, True),
        ({"age": [20.0, 21.0, 5.0, 5.0], "offset": ["0", "3", "", ""]}, False),
        ({"age": [20.0, 60.0, 5.0, 5.0], "offset": ["0", str(365 * 40), "", ""]}, False),
    ],
)
def test_two_people_under_one_id(columns, hit):
    finding = found(patient=["p1", "p1", "p2", "p3"], **columns)["two people"]
    assert finding.verdict is (Verdict.HIT if hit else Verdict.CLEARED)
    assert len(finding.evidence) == 2 * hit


def test_several_classes_are_shown_and_not_judged():
    finding = found(patient=["p1", "p1", "p2", "p3"])["several classes"]
    assert (finding.estimate.value, finding.verdict) == (1, Verdict.SHOWN)
    assert [e.says for e in finding.evidence] == ["patient p1: a", "patient p1: b"]


def test_one_person_spelt_in_two_ways_is_hit():
    finding = found(patient=["P 007", "p-7", "8", "9"])["several ids"]
    assert (finding.verdict, finding.estimate.value) == (Verdict.HIT, 1)
    apart = found(patient=["P 007", "p-7"], source=["x", "y"])["several ids"]
    assert apart.verdict is Verdict.CLEARED


@pytest.mark.parametrize(
    ("one", "other"),
    [("P1", "p01"), ("a_1", "A 001"), ("1.2", "1-2"), ("IM-0001", "im1")],
)
def test_folding_takes_for_one_what_is_spelt_differently(one, other):
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"), [("p1", "p10"), ("311a", "311b"), ("1-23", "12-3"), ("0", "00a"), ("a", "b")]
)
def test_folding_keeps_apart_what_differs(one, other):
    assert folded(one) != folded(other)


def test_names_tell_patients_whom_the_table_does_not():
    images = ["t/person12_virus_3.jpeg", "t/person12_virus_4.jpeg", "t/NORMAL (1).jpeg", "t/x.jpeg"]
    finding = found(image=images, patient=[None, None, None, "p"])["file names"]
    assert (finding.estimate.value, finding.estimate.n_patients) == (2, 1)
    assert finding.evidence[0].says == "the name tells t/person 12"
    origin = found(patient=["p", None], original=[None, "00001280_004.png"])["file names"]
    assert origin.estimate.value == 1


def test_words_that_hold_patient_by_chance_tell_nothing():
    assert patient_in_name("impatient7.png") is None
    assert patient_in_name("compat12_3.png") is None


def test_images_without_a_patient_keep_the_others_ids_from_clearing():
    some = found(patient=["p1", "p1", "p2", None])["two people"]
    assert some.verdict is Verdict.INCONCLUSIVE
    assert some.uncleared == "1 of 4 images name no patient"
    assert found(patient=["p1", "p1", "p2", "p3"])["two people"].verdict is Verdict.CLEARED
