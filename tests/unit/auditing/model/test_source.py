"""Answers that follow the source within a class, and features that know it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.material import Capability, Elsewhere, Material, Subject
from hurdles.auditing.model.sources import source
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.findings.finding import Verdict

LABELS = ("COVID-19", "Normal")


def material(n=80, sources=("east", "west"), name="ours", seed=0, bright=0):
    """Images whose first pixels say the source by one and the class by the other."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "image": [f"{name}{k}" for k in range(n)],
            "path": [f"/{name}{k}.png" for k in range(n)],
            "label": [LABELS[k // 2 % 2] for k in range(n)],
            "patient": [f"{name}{k}" for k in range(n)],
            "source": [sources[k % len(sources)] for k in range(n)],
            "split": "test",
        }
    )
    pixels = rng.integers(60, 120, (n, 64, 64), dtype=np.uint8)
    west = (frame["source"] == sources[-1]).to_numpy() if len(sources) > 1 else np.zeros(n, bool)
    sick = (frame["label"] == "COVID-19").to_numpy()
    pixels[:, 0, 0] = 50 + 100 * west + bright
    pixels[:, 0, 1] = 50 + 100 * sick
    return Material(name, Manifest(frame), pixels)


@dataclass(frozen=True, eq=False)
class Seeing:
    """A model whose features are some of the pixels, with noise."""

    sees: tuple[int, ...] = (0, 1)
    labels: tuple[str, ...] = LABELS
    capabilities: frozenset[Capability] = frozenset({Capability.ANSWERS, Capability.FEATURES})

    def features(self, pixels: np.ndarray, masks: Any = None) -> np.ndarray:
        noise = np.random.default_rng(len(pixels)).normal(scale=5, size=(len(pixels), 3))
        some = pixels[:, 0, list(self.sees)].astype(float)
        return np.hstack([some, noise]).astype(np.float32)


def subject(images, sees=(0, 1), elsewhere=(), follows=0.0):
    """Return a subject whose answers follow the class a little, and the source `west` so much."""

    def told(part, seed):
        frame = part.manifest.frame
        z = np.random.default_rng(seed).normal(size=len(part))
        z += 0.5 * (frame["label"] == "COVID-19") + follows * (frame["source"] == "west")
        p = 1 / (1 + np.exp(-z.to_numpy()))
        return part.predictions(LABELS, np.column_stack([p, 1 - p]))

    frame = images.manifest.frame.copy()
    frame.loc[np.random.default_rng(9).random(len(frame)) < 0.3, "split"] = "train"
    frame.loc[:1, "split"] = "validation"
    images = replace(images, manifest=Manifest(frame))
    parts = [told(images.take(images.rows(p)), 3) for p in ("validation", "test")]
    others = [Elsewhere(m, told(m, 4)) for m in elsewhere]
    model: Any = Seeing(sees)
    return Subject("made", model, images, *parts, elsewhere=others)


def tied(n=200, leaving=4):
    """Images of which most with COVID-19 are from the west, and most of the others are not."""
    images = material(n)
    frame = images.manifest.frame
    odd = (frame["label"] == "COVID-19") != (frame["source"] == "west")
    return images.take((~odd | (np.arange(n) // 4 % leaving == 0)).to_numpy())


def found(one):
    return {f.subject: f for f in source(one)}


def test_answers_that_follow_the_source_within_a_class():
    every = found(subject(tied(), follows=4.0))
    answers = every["COVID-19, answers"]
    assert answers.estimate.low > 0.8
    assert answers.details == {"tied": ["west"]}
    assert answers.verdict is Verdict.SHOWN


def test_answers_that_follow_the_class_alone_are_at_chance():
    """All images together tell the source well, for it is tied to the class."""
    images = tied()
    frame = images.manifest.frame.copy()
    frame["source"] = np.where(frame["source"] == "west", "West", "East")
    one = found(subject(replace(images, manifest=Manifest(frame))))["COVID-19, answers"]
    assert one.estimate.low < 0.5 < one.estimate.high
    assert one.estimate.high < 0.75


def test_the_area_is_that_of_pairs_within_a_class():
    one = subject(tied(), follows=1.0)
    sources = one.tested.manifest.frame["source"].to_numpy()
    scores, truth = one.test.y_prob[:, one.test.classes.index("COVID-19")], one.test.y_true
    areas, weights = [], []
    for label in LABELS:
        west, east = (scores[(truth == label) & (sources == s)] for s in ("west", "east"))
        areas.append(np.mean([x > y for x in west for y in east]))
        weights.append(len(west) * len(east) / (len(west) + len(east)))
    expected = np.average(areas, weights=weights)
    estimate = found(one)["COVID-19, answers"].estimate
    assert estimate.value == pytest.approx(expected)
    assert estimate.low < expected < estimate.high


def test_predictions_alone_are_enough():
    whole = subject(tied(), follows=4.0)
    alone = replace(whole, model=None, elsewhere=())
    every = found(alone)
    assert every["COVID-19, answers"].estimate == found(whole)["COVID-19, answers"].estimate
    assert not any(name.endswith("features") for name in every)


@pytest.mark.parametrize("sources", [("a",), (None,)])
def test_without_two_sources_it_says_what_is_missing(sources):
    with pytest.raises(HurdleError, match="no source is tied to a class"):
        found(subject(material(60, sources)))


def test_a_class_with_one_patient_from_a_tied_source_is_not_asked():
    images = tied(leaving=1000)
    one = found(subject(images))["COVID-19, answers"].estimate
    assert not one.is_defined
    assert "2 patients" in one.note


def test_features_and_pixels_are_shown_within_each_class():
    every = found(subject(tied(leaving=2)))
    kinds = ("features", "plain pixels")
    assert list(every)[1:] == [f"{c}, {w}" for w in kinds for c in LABELS]
    one = every["Normal, features"]
    assert one.estimate.value > 0.9
    assert {f.verdict for f in every.values()} == {Verdict.SHOWN}


def test_features_that_know_the_class_alone_do_not_tell_the_source():
    every = found(subject(tied(320, leaving=2), sees=(1,)))
    for label in LABELS:
        estimate = every[f"{label}, features"].estimate
        assert estimate.low < 0.5 < estimate.high


def test_other_collections_are_sources_of_features_too():
    images, theirs = tied(leaving=2), material(60, ("b",), "theirs", 1, bright=100)
    nameless = replace(theirs, manifest=Manifest(theirs.manifest.frame.assign(source=None)))
    for other, name in ((theirs, "b"), (nameless, "theirs")):
        every = found(subject(images, elsewhere=[other]))
        assert set(every["Normal, features"].details["images"]) == {"east", "west", name}
