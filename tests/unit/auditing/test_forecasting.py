"""Forecasts of places without labels, as the hurdle `elsewhere` states them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing import forecasting, nested
from hurdles.auditing.forecasting import CANNOT, outlooks, place_findings
from hurdles.auditing.hurdle import run_hurdles
from hurdles.auditing.material import Elsewhere, Material, Subject
from hurdles.auditing.model import MODEL_HURDLES
from hurdles.data.manifest import UNLABELED, Manifest
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.outcomes import COMBINATION, Combination, Reliability, Track
from hurdles.evaluation.places import ESTIMATORS, Target
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Verdict
from hurdles.phantom import Shortcut, phantom_cohort
from hurdles.pixels.prepare import prepare_squares

LABELS = ("COVID-19", "Normal")
SIZE = 96


@pytest.fixture(autouse=True)
def _ask_anew():
    nested.answers_of.cache_clear()


class Bright:
    """A model that reads how bright the lungs are, and how bright the image."""

    name, labels, size, preparation = "bright", LABELS, SIZE, "raw"
    capabilities = frozenset({"answers"})

    def ask(self, pixels, masks=None):
        whole = prepare_squares("raw", SIZE, pixels, masks).mean(axis=(1, 2))
        lungs = np.array(
            [p[m].mean() if m.any() else 0 for p, m in zip(pixels, masks, strict=True)]
        )
        z = 0.25 * (lungs - 95) + 0.05 * (whole - 110)
        p = 1 / (1 + np.exp(-np.clip(z, -6, 6)))
        return np.column_stack([p, 1 - p])


def phantoms(name, seed, strength, target="COVID-19", patients=40):
    shortcut = Shortcut("brightness", strength, target=target)
    made = phantom_cohort(patients, seed=seed, size=SIZE, classes=LABELS, shortcut=shortcut)
    frame = made.frame[["image", "label", "patient", "source", "view", "sex", "age"]].copy()
    frame["path"] = "/" + name + frame["image"]
    number = frame["patient"].str[1:].astype(int) % 10
    frame["split"] = np.select([number < 5, number < 7], ["train", "validation"], "test")
    return Material(name, Manifest(frame), made.pixels, masks=made.masks > 127)


def unlabeled(material):
    frame = material.manifest.frame.assign(label=UNLABELED)
    return replace(material, manifest=Manifest(frame))


def answered(material):
    return material.predictions(LABELS, Bright().ask(material.pixels, material.masks))


@pytest.fixture(scope="module")
def own():
    return phantoms("ours", 1, 0.6, patients=60)


@pytest.fixture(scope="module")
def there():
    return phantoms("there", 2, 0.6, target="Normal")


def subject(own, *places):
    parts = [answered(own.take(own.rows(part))) for part in ("validation", "test")]
    elsewhere = [Elsewhere(place, answered(place)) for place in places]
    return Subject("bright", Bright(), own, *parts, elsewhere=elsewhere)


def reliabilities(miss):
    """A record that supports every estimator, or none."""
    bounds = Estimate(miss, miss / 2, 1.2 * miss, 0.95, "t", 90, 12)
    held = Estimate(0.92, 0.8, 0.98, 0.95, "exact", 90, 12)
    tracks = tuple(Track(origin, bounds, held, 12) for origin in ("planted", "shared"))
    known = {}
    for target in Target:
        names = [each.name for each in ESTIMATORS if each.target is target]
        weights = dict.fromkeys(names[1:], 1 / (len(names) - 1))
        fitted = Combination(target, weights, 0.0, 0.0)
        known |= {(target, n): Reliability(n, target, 0.1, 0.02, tracks) for n in names}
        known[target, COMBINATION] = Reliability(COMBINATION, target, 0.1, 0.02, tracks, fitted)
    return known


@pytest.fixture
def recorded(monkeypatch):
    def put(miss):
        monkeypatch.setattr(forecasting, "_reliabilities", lambda: reliabilities(miss))

    return put


def test_every_estimator_has_its_say_with_interval_and_record(own, there, recorded):
    recorded(0.2)
    found = {row.subject: row for row in place_findings(subject(own, unlabeled(there)))}
    for target in Target:
        names = [each.name for each in ESTIMATORS if each.target is target]
        for name in (*names, COMBINATION):
            row = found[f"{target} at there, {name}"]
            assert row.limit is None
            if row.estimate.is_defined:
                low, value, high = row.estimate.low, row.estimate.value, row.estimate.high
                assert low <= value <= high
                assert high - low > 0.15 or high == 1 or low == 0
                for origin in ("planted", "shared"):
                    assert f"{origin}: 90 places of 12 collections, missed by" in row.statistic
                assert row.statistic.count("missed by 0.200 [0.100, 0.240] on average") == 2
                assert row.statistic.count("90 % intervals held 92 % [80, 98]") == 2
                assert row.details["record"] in row.statistic
                assert row.estimate.level == 0.9
        assert found[f"{target} at there, two views"].estimate.is_defined
        assert found[f"{target} at there, {COMBINATION}"].estimate.is_defined
        assert "came" not in found[f"{target} at there"].details


def test_a_poor_record_says_that_it_cannot_be_foreseen(own, there, recorded):
    recorded(0.2)
    (row, *_) = place_findings(subject(own, unlabeled(there)))
    assert row.subject == "accuracy at there"
    assert row.verdict is Verdict.COULD_NOT_RUN
    assert row.estimate.note.startswith(f"{CANNOT}, by the record of the combination")
    assert "planted: 90 places of 12 collections" in row.estimate.note
    assert "90 % intervals held 92 % [80, 98]" in row.estimate.note
    assert "ATC 0." in row.estimate.note


def test_a_good_record_gives_the_combinations_number(own, there, recorded):
    recorded(0.02)
    found = {row.subject: row for row in place_findings(subject(own, unlabeled(there)))}
    answer, combined = found["AUC at there"], found[f"AUC at there, {COMBINATION}"]
    assert answer.verdict is Verdict.SHOWN
    assert answer.estimate == combined.estimate
    losses = [
        combined.details["inside"] - row.estimate.value
        for name in [e.name for e in ESTIMATORS if e.target is Target.AUC and e.name != "inside"]
        if (row := found[f"AUC at there, {name}"]).estimate.is_defined
    ]
    expected = combined.details["inside"] - np.mean(losses)
    assert answer.estimate.value == pytest.approx(min(1, max(0, expected)), abs=1e-9)


def test_labels_of_the_place_change_nothing_but_what_came(own, there, recorded):
    recorded(0.2)
    frame = there.manifest.frame
    turned = frame["label"].map(dict(zip(LABELS, LABELS[::-1], strict=True)))
    other = replace(there, manifest=Manifest(frame.assign(label=turned)))

    def numbers(place):
        nested.answers_of.cache_clear()
        rows = list(place_findings(subject(own, place)))
        return {r.subject: r.estimate.value for r in rows}, rows[0].details.get("came")

    (plain, none), (one, came), (two, otherwise) = map(numbers, (unlabeled(there), there, other))
    assert plain == pytest.approx(one, nan_ok=True)
    assert plain == pytest.approx(two, nan_ok=True)
    assert none is None
    assert came["value"] == pytest.approx(1 - otherwise["value"])


def test_what_came_stands_beside_the_forecast(own, there, recorded):
    recorded(0.2)
    found = {row.subject: row for row in place_findings(subject(own, there))}
    right = answered(there)
    accuracy = float((right.y_pred == right.y_true).mean())
    assert f"what came: {accuracy:.3f} [" in found["accuracy at there, DoC"].statistic
    assert found["accuracy at there"].details["came"]["value"] == pytest.approx(accuracy)
    assert f"what came: {accuracy:.3f} [" in found["accuracy at there"].estimate.note


def test_a_reversed_shortcut_is_foreseen_by_two_views_alone(own, there):
    """Inside, brightness goes with the class; there, against it. No label says so."""
    away = phantoms("away", 3, 0.6)
    reversed_, alike = outlooks(subject(own, unlabeled(there), unlabeled(away)), samples=2)

    def values(outlook):
        return {f.estimator: f.value for f in outlook.forecasts if f.target is Target.AUC}

    assert values(reversed_)["two views"] < values(alike)["two views"] - 0.1
    assert values(reversed_)["inside"] == values(alike)["inside"]
    assert values(reversed_)["squared effects"] == values(alike)["squared effects"]


def test_images_whose_lungs_were_not_found_are_left_out(own, there):
    masks = there.masks.copy()
    masks[:7] = False
    (outlook,) = outlooks(subject(own, replace(unlabeled(there), masks=masks)), samples=2)
    assert len(outlook.there) == len(there) - 7
    assert len(outlook.predictions) == len(there) - 7


def test_without_lungs_what_needs_no_view_is_forecast(own, there):
    bare = [replace(each, masks=None) for each in (own, unlabeled(there))]
    parts = [answered(own.take(own.rows(part))) for part in ("validation", "test")]
    given = Subject(
        "bright",
        Bright(),
        bare[0],
        *parts,
        elsewhere=[Elsewhere(bare[1], answered(unlabeled(there)))],
    )
    (outlook,) = outlooks(given, samples=2)
    found = {(f.target, f.estimator): f for f in outlook.forecasts}
    assert found[Target.ACCURACY, "ATC"].is_defined
    assert not found[Target.AUC, "two views"].is_defined
    assert len(outlook.there) == len(there)


def test_the_inside_is_what_the_model_did_not_learn_from(own, there):
    (outlook,) = outlooks(subject(own, unlabeled(there)), samples=2)
    learnt = own.take(own.rows("train")).groups
    assert not set(outlook.inside.groups) & set(learnt)
    assert len(outlook.inside) == len(own.rows("validation")) + len(own.rows("test"))


def test_the_hurdle_judges_no_place_without_labels(own, there, recorded):
    recorded(0.2)
    given = subject(own, unlabeled(there))
    findings = run_hurdles(MODEL_HURDLES, given, names=["elsewhere", "source"])
    assert not [row for row in findings.rows if row.is_fault]
    names = {row.subject for row in findings.of("elsewhere")}
    assert not {f"there, {label}" for label in LABELS} & names
    assert "AUC at there" in names
    judged = [row for row in findings.of("elsewhere") if row.limit is not None]
    assert all(row.subject.startswith("without hospital") for row in judged)


def test_an_outlook_gives_the_rows_of_a_record(own, there):
    (outlook,) = outlooks(subject(own, unlabeled(there)), samples=2)
    table = outlook.row().set_index("target")
    assert list(table.index) == [str(target) for target in Target]
    right = outlook.inside.right.mean()
    assert table.loc["accuracy", "inside"] == pytest.approx(right)
    assert table.loc["AUC", "forecast: inside"] == table.loc["AUC", "inside"]
    assert pd.isna(table.loc["accuracy", "forecast: squared effects"])
    assert outlook.came(Target.AUC) is None
    assert isinstance(outlook.predictions, Predictions)
    assert not math.isnan(table.loc["AUC", "separation"])


def test_a_place_without_any_lungs_costs_the_other_places_nothing(own, there):
    blank = replace(unlabeled(there), masks=np.zeros_like(there.masks), name="blank")
    without, whole = outlooks(subject(own, blank, unlabeled(there)), samples=2)
    silent = {f.estimator for f in without.forecasts if not f.is_defined}
    assert {"two views", "lung-view agreement"} <= silent
    assert "two views" not in {f.estimator for f in whole.forecasts if not f.is_defined}
    assert len(without.there) == len(there)
