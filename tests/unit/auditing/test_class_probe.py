"""How well the class is told from numbers, as a finding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.material import Material
from hurdles.auditing.probing import class_probe, joined_level
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.findings.finding import Limit, Verdict

LIMIT = Limit(0.6, "for the test")


def material(labels, patients=None):
    n = len(labels)
    frame = pd.DataFrame(
        {
            "image": [f"i{k}" for k in range(n)],
            "path": [f"/i{k}.png" for k in range(n)],
            "label": labels,
            "patient": [f"p{k}" for k in range(n)] if patients is None else patients,
            "source": "ours",
        }
    )
    return Material("ours", Manifest(frame), np.zeros((n, 64, 64), dtype=np.uint8))


def probe(images, features, **options):
    words = {"hurdle": "pixels", "subject": "corners", "statistic": "AUC", "advice": "Look."}
    return class_probe(images, features, limit=LIMIT, **words, **options)


def planted(n, effect, seed=0):
    labels = np.array(["sick", "well"] * (n // 2))
    features = np.random.default_rng(seed).normal(size=(n, 4))
    features[labels == "sick", 0] += effect
    return material(labels.tolist()), features


def test_what_tells_the_class_hits_and_shows_who_is_given_away():
    found = probe(*planted(80, 4.0), shown=2)
    assert found.verdict is Verdict.HIT
    assert len(found.evidence) == 4
    assert found.evidence[0].says.startswith("sick, told by corners alone with ")
    assert all(e.path == f"/{e.image}.png" for e in found.evidence)
    assert found.details["auc_by_class"]["sick"] == pytest.approx(found.estimate.value)
    assert probe(*planted(80, 0.0)).verdict is Verdict.INCONCLUSIVE
    assert probe(*planted(800, 0.0)).verdict is Verdict.CLEARED


def test_several_findings_share_the_level():
    alone, one_of_five = (probe(*planted(80, 1.0), of=m).estimate for m in (1, 5))
    assert one_of_five.value == alone.value
    assert one_of_five.level == pytest.approx(joined_level(0.95, 5)) == pytest.approx(0.99)
    assert one_of_five.low < alone.low < alone.high < one_of_five.high
    assert one_of_five.method.endswith("simultaneous over 5 (Bonferroni)")


def test_a_patient_is_shown_once():
    labels = np.repeat(["sick", "well"], 40)
    images = material(labels.tolist(), [f"p{k // 4}" for k in range(80)])
    found = probe(images, (labels == "sick")[:, None] * 1.0, shown=3)
    shown = [int(e.image[1:]) // 4 for e in found.evidence]
    assert len(shown) == len(set(shown)) == 6


def test_a_class_of_few_patients_is_left_out_and_named():
    labels = ["a", "b"] * 20 + ["c"] * 9
    found = probe(material(labels), np.random.default_rng(0).normal(size=(49, 3)))
    assert found.estimate.n_images == 40
    assert found.estimate.note == "too few patients: c (9)"
    few = probe(material(["a"] * 30 + ["b"] * 5), np.zeros((35, 1)))
    assert few.verdict is Verdict.COULD_NOT_RUN
    assert "too few: b (5)" in few.estimate.note


def test_every_image_needs_its_features():
    with pytest.raises(HurdleError, match="79 rows of features for 80 images"):
        probe(material(["a", "b"] * 40), np.zeros((79, 2)))


def test_a_mean_over_classes_clears_no_class_that_it_hides():
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c", "d", "e", "f"] * 100)
    features = rng.normal(size=(600, 4))
    limit = replace(LIMIT, value=0.7, margin=0.7, margin_source="a choice")
    words = {"hurdle": "pixels", "subject": "corners", "statistic": "AUC", "advice": "Look."}
    plain = class_probe(material(labels.tolist()), features, limit=limit, **words)
    assert plain.verdict is Verdict.CLEARED
    features[labels == "a", 0] += 2
    hiding = class_probe(material(labels.tolist()), features, limit=limit, **words)
    assert hiding.estimate.high <= limit.clears  # as a mean it lies within the margin
    assert hiding.verdict is Verdict.INCONCLUSIVE
    assert hiding.uncleared.startswith("the mean hides what is not within the margin: a 0.")
    assert hiding.to_settle is None


def test_a_class_that_is_too_small_to_be_asked_keeps_the_others_from_clearing():
    labels = ["sick", "well"] * 400 + ["rare"] * 3
    features = np.random.default_rng(0).normal(size=(803, 4))
    found = probe(material(labels), features)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.uncleared == "not asked of rare (3)"
