"""The hurdle of other places: what is lost there, and whether it was foreseen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing import nested
from hurdles.auditing.material import Elsewhere, Material, Subject
from hurdles.auditing.model.sources import elsewhere
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Verdict

LABELS = ("COVID-19", "Normal", "Pneumonia")


@pytest.fixture(autouse=True)
def _ask_anew():
    nested.answers_of.cache_clear()


def material(name, n=120, sources=("ours",), labels=LABELS[:2], seed=0, shade=None):
    """Noise, whose brightness says the class by another sign in each source if `shade` says so."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "image": [f"{name}{k}" for k in range(n)],
            "path": [f"/{name}{k}.png" for k in range(n)],
            "label": [labels[k // len(sources) % len(labels)] for k in range(n)],
            "patient": [f"{name}{k}" for k in range(n)],
            "source": [sources[k % len(sources)] for k in range(n)],
            # By pairs, so that every part has both of two classes.
            "split": np.array(["train", "train", "validation", "test", "test"])[
                np.arange(n) // 2 % 5
            ],
        }
    )
    pixels = rng.integers(90, 130, (n, 64, 64)).astype(np.int64)
    if shade is not None:
        sign = np.array([shade[s] for s in frame["source"]])
        pixels += (sign * np.where(frame["label"] == labels[0], 40, -40))[:, None, None]
    return Material(name, Manifest(frame), pixels.clip(0, 255).astype(np.uint8))


def said(part, noise, seed=0, labels=LABELS[:2]):
    rng = np.random.default_rng(seed)
    truth = np.array([[name == label for label in labels] for name in part.labels], dtype=float)
    odds = np.exp(2 * truth + noise * rng.normal(size=truth.shape))
    return Predictions.from_arrays(
        labels,
        y_true=part.labels.tolist(),
        y_prob=odds / odds.sum(axis=1, keepdims=True),
        images=part.manifest.frame["image"].tolist(),
        groups=part.groups.tolist(),
    )


def subject(own, noise=0.3, others=(), labels=LABELS[:2]):
    parts = [said(own.take(own.rows(p)), noise, labels=labels) for p in ("validation", "test")]
    there = [Elsewhere(m, said(m, k, seed=7, labels=labels)) for m, k in others]
    return Subject("made", None, own, *parts, elsewhere=there)


def test_what_is_lost_outside_is_found_and_what_is_not_is_not():
    own = material("ours")
    worse, same = material("worse", seed=1), material("same", seed=2)
    found = {f.subject: f for f in elsewhere(subject(own, others=[(worse, 9.0), (same, 0.3)]))}
    assert found["worse, COVID-19"].verdict is Verdict.HIT
    assert found["same, COVID-19"].verdict is not Verdict.HIT
    ends = found["worse, COVID-19"].details
    assert found["worse, COVID-19"].estimate.value == pytest.approx(
        ends["inside"] - ends["outside"]
    )
    assert "simultaneous over 2" in found["same, COVID-19"].estimate.method


def test_what_was_left_out_of_a_collection_stands_beside_its_number():
    own, there = material("ours"), material("there", seed=1)
    plain = subject(own, others=[(there, 9.0)])
    (one,) = plain.elsewhere
    noted = replace(plain, elsewhere=[replace(one, notes=("3 of 9 are left out.",))])
    found = {f.subject: f for f in elsewhere(noted)}
    assert "3 of 9 are left out." in found["there, COVID-19"].estimate.note


def test_only_classes_that_both_have_are_compared():
    own = material("ours", labels=LABELS)
    there = material("there", labels=LABELS[:2], seed=3)
    one = subject(own, others=[(there, 5.0)], labels=LABELS)
    found = {f.subject: f for f in elsewhere(one)}
    assert "there, COVID-19" in found  # of two common classes one area says it all
    assert "there, Normal" not in found
    inside = one.test.frame[one.test.frame["label"] != "Pneumonia"]
    expected = (inside["label"] == "COVID-19").to_numpy()
    scores = inside["p:COVID-19"].to_numpy()
    pairs = scores[expected][:, None] - scores[~expected][None]
    area = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert found["there, COVID-19"].details["inside"] == pytest.approx(area)


def test_a_collection_of_one_common_class_says_so():
    own = material("ours")
    there = material("there", labels=("Normal", "Pneumonia"), seed=3)
    (row, *_) = elsewhere(subject(own, others=[(there, 1.0)]))
    assert row.verdict is Verdict.COULD_NOT_RUN
    assert "share fewer than two classes" in row.estimate.note


def test_a_source_left_out_that_reverses_the_sign_is_found():
    twisted = material("ours", n=240, sources=("east", "west"), shade={"east": 1, "west": -1})
    straight = material("ours", n=240, sources=("east", "west"), shade={"east": 1, "west": 1})
    hit = {f.subject: f.verdict for f in elsewhere(subject(twisted))}
    clear = {f.subject: f.verdict for f in elsewhere(subject(straight))}
    for name in ("without east, COVID-19", "without west, COVID-19"):
        assert hit[name] is Verdict.HIT
        assert clear[name] is not Verdict.HIT


def mostly_shaded(n=240):
    """Images whose brightness tells the class in four of five."""
    own = material("ours", n=n, shade={"ours": 1})
    other = np.arange(n) // 10 % 5 == 0  # of every part and class
    pixels = own.pixels.copy()
    pixels[other] = 220 - pixels[other]  # 110 is the mean
    return replace(own, pixels=pixels)


def test_a_forecast_takes_away_what_the_blind_know_and_keeps_its_record():
    there = material("there", seed=1)
    others = [(there, 9.0)]
    found = {f.subject: f for f in elsewhere(subject(mostly_shaded(), noise=3.0, others=others))}
    forecast = found["forecast"]
    assert forecast.limit is None
    assert forecast.estimate.value < 0.6 < forecast.details["inside"]
    assert forecast.advice.startswith("It holds where")
    plain = {f.subject: f for f in elsewhere(subject(material("plain", n=240), 3.0, others))}
    assert plain["forecast"].estimate.value > 0.65
    assert "1 forecast missed by" in forecast.details["record"]
    came = macro_auc(said(there, 9.0, seed=7)).value
    assert forecast.details["outside"] == [pytest.approx(came)]


def test_where_the_area_inside_is_one_there_is_no_forecast():
    found = {
        f.subject: f for f in elsewhere(subject(material("ours"), others=[(material("b"), 9.0)]))
    }
    assert not found["forecast"].estimate.is_defined


def test_one_source_and_no_other_collection_cannot_run():
    with pytest.raises(HurdleError, match="name another collection by --on"):
        list(elsewhere(subject(material("ours"))))
    few = material("ours", n=30, sources=("east", "west"))
    with pytest.raises(HurdleError, match="fewer than two sources"):
        list(elsewhere(subject(replace(few))))
