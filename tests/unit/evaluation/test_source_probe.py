"""What a linear probe finds, and what it must not find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.probing import source_probe, source_probes, thumbnails


def names(n, *sources):
    return [sources[i % len(sources)] for i in range(n)]


def alone(n):
    return [f"p{i}" for i in range(n)]


def noise(n, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_independent_features_tell_nothing():
    """Of 10 intervals at 95 %, more than 3 miss 0.5 with a chance of 0.1 %."""
    sources, missed, values = names(80, "a", "b"), 0, []
    for seed in range(10):
        found = source_probe(noise(80, seed=seed), sources, groups=alone(80), seed=seed).auc
        missed += not found.low <= 0.5 <= found.high
        values.append(found.value)
    assert missed <= 3
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("sources", [("a", "b"), ("a", "b", "c")])
def test_shifted_features_tell_everything(sources):
    features, told = noise(90), names(90, *sources)
    features += 6.0 * np.array([sources.index(s) for s in told])[:, None]
    found = source_probe(features, told, groups=alone(90))
    assert found.auc.value > 0.99
    assert found.auc.low > 0.9
    assert found.accuracy.value > 0.95
    assert found.chance == pytest.approx(1 / len(sources))


def leaking(seed=0):
    """Return noise in which every patient has four equal images, and nothing tells the source."""
    patients = noise(60, 200, seed)
    return np.repeat(patients, 4, axis=0), np.repeat(names(60, "a", "b"), 4).tolist()


def test_a_patients_copies_do_not_help():
    features, sources = leaking()
    kept = source_probe(features, sources, groups=np.repeat(alone(60), 4).tolist())
    assert kept.auc.low <= 0.5 <= kept.auc.high
    # Without the patients the same rows are told at once: the guard is what makes the difference.
    leaked = source_probe(features, sources, groups=alone(240))
    assert leaked.auc.value > 0.99


def test_many_images_of_few_patients_make_no_narrow_interval():
    few, told = noise(40, 2), names(40, "a", "b")
    few[1::2] += 0.8
    groups = alone(40)
    once = source_probe(few, told, groups=groups).auc
    rows = np.repeat(np.arange(40), 25)
    often = source_probe(few[rows], np.array(told)[rows].tolist(), groups=np.array(groups)[rows])
    assert often.auc.n_images == 1000
    assert often.auc.high - often.auc.low > 0.7 * (once.high - once.low)


def test_within_a_class_the_class_tells_nothing():
    """Features show the class alone, and the classes are shared out unevenly."""
    rng = np.random.default_rng(3)
    told = np.array(names(300, "a", "b"))
    labels = np.where(rng.random(300) < np.where(told == "a", 0.8, 0.2), "sick", "well")
    features = noise(300) + 5.0 * (labels == "sick")[:, None]
    every, sick, well = source_probes(features, told.tolist(), labels, groups=alone(300))
    assert every.auc.low > 0.6
    assert [p.within for p in (every, sick, well)] == ["", "sick", "well"]
    assert all(p.auc.low <= 0.5 <= p.auc.high for p in (sick, well))


def test_a_class_of_one_collection_is_undefined_and_says_why():
    features, told = noise(40), names(40, "a", "b")
    labels = ["only a" if s == "a" else "only b" for s in told]
    every, *within = source_probes(features, told, labels, groups=alone(40))
    assert every.auc.is_defined
    assert [math.isnan(p.auc.value) for p in within] == [True, True]
    assert "a alone has 10 patients or more" in str(within[0])
    assert within[0].to_dict()["auc"]["value"] is None


def test_a_collection_with_few_patients_is_left_out_and_named():
    told = [*names(40, "a", "b"), *["c"] * 30]
    groups = [*alone(40), *(f"c{i % 3}" for i in range(30))]
    found = source_probe(noise(70), told, groups=groups)
    assert found.images == {"a": 20, "b": 20}
    assert found.note == "too few patients: c (3)"
    assert found.auc.n_images == 40


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=4, deadline=None)
def test_units_do_not_matter(seed, scale, offset):
    features, told = noise(40, 3, seed), names(40, "a", "b")
    features[1::2, 0] += 1
    plain = source_probe(features, told, groups=alone(40))
    scaled = source_probe(features * scale + offset, told, groups=alone(40))
    assert scaled.auc.value == pytest.approx(plain.auc.value, abs=0.02)


def test_the_same_seed_gives_the_same_number_and_a_constant_feature_none():
    features, told = noise(40, 3), names(40, "a", "b")
    one, two = (source_probe(features, told, groups=alone(40), seed=4) for _ in range(2))
    assert one == two
    same = source_probe(np.full((40, 2), 0.1), told, groups=alone(40))
    assert same.auc.value == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("features", "sources", "folds", "message"),
    [
        (noise(4), names(3, "a", "b"), 5, "one row, one label and one group per image"),
        (np.full((4, 2), np.nan), names(4, "a", "b"), 5, "not finite numbers"),
        (noise(4), names(4, "a", "b"), 1, "1 folds leave nothing"),
        (noise(4)[0], names(4, "a", "b"), 5, r"shape \(5,\)"),
    ],
)
def test_what_cannot_be_probed_is_refused(features, sources, folds, message):
    with pytest.raises(EvaluationError, match=message):
        source_probe(features, sources, groups=alone(4), folds=folds)
    if len(sources) == len(features) == 4:
        with pytest.raises(EvaluationError, match="3 labels for 4 images"):
            source_probes(features, sources, ["x"] * 3, groups=alone(4))


def test_thumbnails_average_what_they_cover():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    slow = pixels.reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(3, 256) / 255
    assert thumbnails(pixels) == pytest.approx(slow, abs=1e-6)
