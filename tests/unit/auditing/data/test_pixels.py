"""The hurdle of pixels: planted shortcuts are told where no disease can be."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hurdles.auditing.data import confounders as module
from hurdles.auditing.data.confounders import away_from_lungs, pixels
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.findings.finding import Limit, Verdict
from hurdles.phantom import Shortcut, phantom_cohort
from hurdles.pixels.prepare import grown

JUDGED = ["borders", "corners", "sharpness", "noise", "compression"]


@cache
def phantoms(shortcut="", n=44, seed=5):
    planted = Shortcut(shortcut, 1.0) if shortcut else None
    made = phantom_cohort(n, seed=seed, size=96, classes=("COVID-19", "Normal"), shortcut=planted)
    frame = made.frame.assign(path="/" + made.frame["image"])
    return Material("phantoms", Manifest(frame), made.pixels, masks=made.masks > 127)


def found(material):
    """Judge by a limit of our own: what ships is calibrated anew from time to time."""
    limit = Limit(0.65, "for the test")
    every = {finding.subject: finding for finding in pixels(material)}
    return {s: replace(f, limit=limit) if f.limit else f for s, f in every.items()}


@cache
def told(shortcut=""):
    return found(phantoms(shortcut) if shortcut else phantoms(n=60))


@pytest.mark.parametrize(
    ("shortcut", "seen"),
    [
        ("marker", "corners"),
        pytest.param("border", "borders", marks=pytest.mark.full),
        pytest.param("jpeg", "compression", marks=pytest.mark.full),
    ],
)
def test_what_is_planted_is_told(shortcut, seen):
    findings = told(shortcut)
    assert list(findings)[:5] == JUDGED
    assert findings[seen].verdict is Verdict.HIT
    assert findings[seen].estimate.value > 0.9
    assert len(findings[seen].evidence) == 4


def test_disease_alone_is_shown_and_not_judged():
    findings = told()
    assert [s for s in findings if findings[s].verdict is Verdict.HIT] == []
    # The disease is there to be told, and where it is told nothing is held against it.
    thumbnail = findings["thumbnail"]
    assert thumbnail.estimate.low > 0.55
    assert thumbnail.limit is None
    assert "disease" in thumbnail.advice
    assert [s for s, f in findings.items() if f.limit is not None] == JUDGED


def test_judged_findings_hold_together():
    levels = {s: f.estimate.level for s, f in told().items()}
    assert [levels[s] for s in JUDGED] == pytest.approx([0.99] * 5)
    assert levels["histogram"] == 0.95


def test_the_lungs_are_not_looked_at_where_they_were_found():
    """Without the guard, sharper lungs in one class are told by sharpness."""
    material = phantoms()
    rng = np.random.default_rng(0)
    grain = rng.normal(scale=12, size=material.pixels.shape) * material.masks
    sick = (material.labels == "COVID-19")[:, None, None]
    spoilt = np.clip(material.pixels + grain * sick, 0, 255).astype(np.uint8)
    other = Material("grainy", material.manifest, spoilt, masks=material.masks)
    blind = Material("grainy", material.manifest, spoilt)
    for look in ("noise", "compression"):
        inside, where = away_from_lungs(other)
        describe = getattr(module, look)
        assert describe(inside.pixels, where) == pytest.approx(
            describe(material.pixels, where), abs=0.5
        )
    noisy = found(other)["noise"]
    assert noisy.verdict is not Verdict.HIT
    assert "away from the lungs" in noisy.statistic
    assert next(f for f in pixels(blind) if f.subject == "sharpness").statistic.startswith(
        "AUC of telling the class from sharpness in the outer eighth"
    )
    everywhere = np.ones(spoilt.shape, dtype=bool)
    guardless = module.class_probe(
        other, module.noise(spoilt, everywhere), hurdle="", subject="", statistic="", advice=""
    )
    assert guardless.estimate.low > 0.85


def test_away_from_the_lungs_is_outside_their_margin():
    material = phantoms()
    masks = material.masks.copy()
    masks[3] = False
    some = Material("some", material.manifest, material.pixels, masks=masks)
    inside, where = away_from_lungs(some)
    assert len(inside) == len(where) == len(material) - 1
    assert (
        inside.manifest.frame["image"].tolist()
        == np.delete(material.manifest.frame["image"].to_numpy(), 3).tolist()
    )
    assert np.array_equal(where[0], ~grown(masks[0], 0.05))
    none = Material("none", material.manifest, material.pixels, masks=np.zeros_like(masks))
    inside, where = away_from_lungs(none)
    assert len(inside) == len(material)
    assert where[0].sum() == 96**2 - 72**2


def test_it_says_the_same_twice():
    assert found(phantoms("marker")) == told("marker")
