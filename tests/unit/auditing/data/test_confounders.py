"""What tells the class without the lungs is found; what does not is left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.attributes import attributes_of, encoded, left_out
from hurdles.auditing.data import confounders as module
from hurdles.auditing.data.confounders import confounders
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.findings.finding import Finding, Verdict


def material(n: int = 120, facts: pd.DataFrame | None = None, seed: int = 0, **columns) -> Material:
    label = np.tile(["COVID-19", "Normal"], n // 2)
    frame = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(n)],
            "path": [f"/x/{i}.png" for i in range(n)],
            "label": label,
            "patient": [f"p{i}" for i in range(n)],
        }
        | columns
    )
    pixels = np.zeros((n, 64, 64), dtype=np.uint8)
    none = pd.DataFrame()
    return Material("made", Manifest(frame), pixels, none if facts is None else facts, seed=seed)


def found(given: Material) -> dict[str, Finding]:
    return {f.subject: f for f in confounders(given)}


def test_source_that_is_the_class_is_hit_twice():
    findings = found(material(source=np.tile(["A", "B"], 60)))
    assert findings["class and source"].verdict is Verdict.HIT
    assert findings["class and source"].details["images"] == {
        "A": {"COVID-19": 60, "Normal": 0},
        "B": {"COVID-19": 0, "Normal": 60},
    }
    assert findings["source"].verdict is Verdict.HIT
    assert findings["source"].estimate.value == pytest.approx(1.0)


def test_one_mixed_source_is_enough_to_tell_them_apart():
    findings = found(material(source=["A", "B"] * 59 + ["B", "B"]))
    assert findings["class and source"].verdict is Verdict.CLEARED
    assert findings["source"].verdict is Verdict.HIT


def test_one_source_alone_cannot_be_judged():
    finding = found(material(source="A", age=np.tile([30.0, 31.0, 30.0, 31.0], 30)))
    assert "only one source is named" in finding["class and source"].estimate.note
    finding = found(material(age=np.tile([30.0, 31.0, 30.0, 31.0], 30)))
    assert "no source is named" in finding["class and source"].estimate.note


@pytest.mark.parametrize("seed", range(2))
def test_what_has_nothing_to_do_with_the_class_clears(seed):
    rng = np.random.default_rng(seed)
    facts = pd.DataFrame({"width": rng.integers(500, 900, 120).astype(float),
                          "jpeg_quality": rng.choice([75.0, 90.0, 95.0], 120)})  # fmt: skip
    findings = found(
        material(
            facts=facts,
            seed=seed,
            source=rng.choice(["A", "B", "C"], 120),
            sex=rng.choice(["F", "M"], 120),
            age=rng.integers(20, 90, 120).astype(float),
        )
    )
    assert Verdict.HIT not in {f.verdict for f in findings.values()}
    assert list(findings) == [
        "class and source", "source", "sex", "age", "image size", "JPEG quality",
        "all of them together",
    ]  # fmt: skip
    assert "simultaneous over 6" in findings["sex"].estimate.method


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", np.tile([4.0, 60.0], 60) + np.arange(120) % 3),
        ("age", np.where(np.arange(120) % 2, np.nan, np.arange(120) % 50)),  # missing in one class
        ("view", np.tile(["AP", "PA"], 60)),
        ("kV", np.tile([80, 100, 90, 100], 30)),  # a further column, half of the time
        ("kV", np.tile(["80", "120", "100", "140"], 30)),  # numbers kept as text
    ],
)
def test_a_column_that_tells_the_class_is_hit(name, values):
    findings = found(material(**{name: values}))
    assert findings[name].verdict is Verdict.HIT


def test_a_class_in_the_middle_of_a_number_is_found():
    rng = np.random.default_rng(0)
    age = np.where(np.arange(120) % 2, rng.uniform(40, 50, 120), rng.choice([20.0, 70.0], 120))
    age += rng.uniform(0, 1, 120)
    assert found(material(age=age))["age"].verdict is Verdict.HIT


def test_header_fields_are_asked_and_crossed_with_the_classes():
    facts = pd.DataFrame({"format": np.tile(["JPEG", "PNG"], 60), "height": np.full(120, 99.0)})
    finding = found(material(facts=facts))["file format"]
    assert finding.verdict is Verdict.HIT
    assert finding.details["by_class"]["format"] == {
        "COVID-19": {"JPEG": 60, "PNG": 0},
        "Normal": {"JPEG": 0, "PNG": 60},
    }


def test_fields_that_part_the_images_alike_are_one_question():
    facts = pd.DataFrame({"format": ["JPEG", "PNG"] * 60, "jpeg_quality": [75.0, np.nan] * 60})
    names = [a.name for a in attributes_of(material(facts=facts))]
    assert names == ["file format, JPEG quality"]


def test_columns_that_restate_the_diagnosis_are_left_out():
    given = material(
        finding=np.tile(["x", "y"], 60),
        severity=np.tile([0.5, 0.0], 60),
        shortcut_marker=np.tile([True, False], 60),
        word=np.tile(["Pneumonia/Viral/COVID-19", "NORMAL"], 60),
        url=[f"u{i}" for i in range(120)],
        kV=np.tile([80, 90, 90, 80], 30),
    )
    assert left_out(given) == {
        "finding": "says in other words what the class is",
        "severity": "says in other words what the class is",
        "shortcut_marker": "says what was planted",
        "word": "says in other words what the class is",
        "url": "has another value in most images",
    }
    assert [a.name for a in attributes_of(given)] == ["kV"]


def test_one_class_alone_cannot_be_told_apart():
    given = material()
    one = given.take(given.labels == "Normal")
    with pytest.raises(HurdleError, match="all images have one class"):
        list(confounders(one))


def test_of_many_images_whole_patients_are_drawn(monkeypatch):
    monkeypatch.setattr(module, "MOST_IMAGES", 60)
    patients = [f"p{i // 3}" for i in range(120)]
    given = material(patient=patients, age=np.tile([4.0, 60.0], 60), source=["A", "B"] * 60)
    rows = module._drawn(given)
    assert 55 < len(rows) <= 60
    inside, outside = set(given.groups[rows]), set(np.delete(given.groups, rows))
    assert not inside & outside
    assert found(given)["source, age"].estimate.n_images == len(rows)


def test_encoding_is_finite_and_keeps_what_is_missing():
    table = encoded(pd.Series([1.0, np.nan, *range(20)]))
    assert np.isfinite(table).all()
    assert table[:, -1].tolist() == [0, 1] + [0] * 20
    assert encoded(pd.Series([None, None, "a"])).tolist() == [[0, 1], [0, 1], [1, 0]]
