"""The hurdle of the source: features that know the hospital, and features that do not."""

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
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Limit, Verdict

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


def subject(images, sees=(0, 1), elsewhere=()):
    def untold(part):
        return Predictions.from_arrays(
            LABELS,
            y_true=part.labels.tolist(),
            y_prob=np.full((len(part), 2), 0.5),
            images=part.manifest.frame["image"].tolist(),
            groups=part.groups.tolist(),
        )

    frame = images.manifest.frame.copy()
    frame.loc[:1, "split"] = "validation"
    images = replace(images, manifest=Manifest(frame))
    parts = [untold(images.take(images.rows(p))) for p in ("validation", "test")]
    others = [Elsewhere(m, untold(m)) for m in elsewhere]
    model: Any = Seeing(sees)
    return Subject("made", model, images, *parts, elsewhere=others)


def found(one):
    limit = Limit(0.6, "for the test")
    return {f.subject: replace(f, limit=limit) if f.limit else f for f in source(one)}


def test_features_that_know_the_source_are_hit_in_each_class():
    every = found(subject(material()))
    assert list(every) == [f"{c}, {w}" for w in ("features", "plain pixels") for c in LABELS]
    assert [every[f"{c}, features"].verdict for c in LABELS] == [Verdict.HIT] * 2
    one = every["Normal, features"]
    assert one.estimate.level == pytest.approx(0.975)
    assert one.estimate.method.endswith("simultaneous over 2 (Bonferroni)")
    assert one.details["images"] == {"east": 20, "west": 20}
    assert every["Normal, plain pixels"].limit is None
    assert every["Normal, plain pixels"].estimate.level == 0.95


def test_features_that_know_the_class_alone_are_not_hit():
    """Classes are shared out unevenly, so that telling the class tells the source of all images."""
    images = material(160)
    frame = images.manifest.frame
    uneven = (frame["label"] == "COVID-19") & (frame["source"] == "east")
    kept = ~(uneven & (np.arange(160) % 3 > 0)).to_numpy()
    every = found(subject(images.take(kept), sees=(1,)))
    assert Verdict.HIT not in [every[f"{c}, features"].verdict for c in LABELS]


def test_other_collections_are_sources_too():
    ours, theirs = material(60, ("a",)), material(60, ("b",), "theirs", 1, bright=100)
    nameless = replace(theirs, manifest=Manifest(theirs.manifest.frame.assign(source=None)))
    unknown = replace(ours, manifest=Manifest(ours.manifest.frame.assign(source=None)))
    for alone in (ours, unknown):
        with pytest.raises(HurdleError, match="audit with another collection"):
            found(subject(alone))
    for other, name in ((theirs, "b"), (nameless, "theirs")):
        every = found(subject(ours, elsewhere=[other]))
        assert every["Normal, features"].verdict is Verdict.HIT
        assert set(every["Normal, features"].details["images"]) == {"a", name}


def test_a_class_of_one_source_is_said_not_to_be_asked_and_not_cleared_on_the_rest():
    images = material(120)
    frame = images.manifest.frame
    lone = (frame["label"] == "Normal") & (frame["source"] == "west")
    every = found(subject(images.take(~lone.to_numpy())))
    assert [s for s in every if s.endswith("pixels")] == ["COVID-19, plain pixels"]
    asked, lone_class = (every[f"{c}, features"] for c in LABELS)
    assert asked.verdict is Verdict.HIT
    assert lone_class.verdict is Verdict.COULD_NOT_RUN
    assert lone_class.limit is not None
    assert lone_class.estimate.note == "east alone has 10 patients or more"
