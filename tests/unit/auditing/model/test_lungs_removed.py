"""Lungs removed: models whose reading is known, asked about blanked images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hurdles.auditing.material import Material
from hurdles.auditing.model import views as module
from hurdles.auditing.model.views import lungs_removed
from hurdles.errors import HurdleError
from hurdles.findings.finding import Limit, Verdict


def reads_corner(pixels, masks):
    """Look for letters where the phantoms' marker is written."""
    return np.abs(np.diff(pixels[:, 2:10, 3:40].astype(float), axis=2)).mean(axis=(1, 2)) - 10


def reads_lungs(pixels, masks):
    """Look for shadows in the lungs, as bright as they are planted there."""
    spread = [p[m].std() if m.any() else 0 for p, m in zip(pixels, masks, strict=True)]
    return (np.array(spread) - 60) / 20


def found(subject):
    limit = Limit(0.6, "for the test")
    return {f.subject: replace(f, limit=limit) if f.limit else f for f in lungs_removed(subject)}


def shaded(material):
    """Darken a spot in the lungs of the sick, so that there is something to be read."""
    pixels = material.pixels.copy()
    for row in np.flatnonzero(material.labels == "COVID-19"):
        spots = np.argwhere(material.masks[row])
        pixels[row][tuple(spots[::3].T)] = 250
    return replace(material, pixels=pixels)


def test_a_model_that_reads_the_marker_is_hit(phantoms, reading):
    every = found(reading(phantoms("marker"), reads_corner))
    assert every["background only"].verdict is Verdict.HIT
    assert len(every["background only"].evidence) == 6
    drop = every["drop, background only"]
    assert drop.estimate.value == pytest.approx(0.0, abs=0.01)
    assert drop.limit is None
    gone = every["drop, lungs only"]
    assert gone.estimate.low > 0.2
    assert gone.details["p_value"] < 0.001


def test_a_model_that_reads_the_lungs_is_not_hit(phantoms, reading):
    every = found(reading(shaded(phantoms()), reads_lungs))
    assert every["lungs only"].estimate.low > 0.8
    assert every["lungs only"].limit is None
    assert every["background only"].verdict is not Verdict.HIT
    assert every["background only"].estimate.value < 0.7
    assert every["drop, background only"].estimate.low > 0.2


def test_without_the_blanking_the_reader_of_lungs_would_be_hit(phantoms, reading, monkeypatch):
    monkeypatch.setattr(module, "without_lungs", lambda pixels, masks: pixels)
    every = found(reading(shaded(phantoms()), reads_lungs))
    assert every["background only"].verdict is Verdict.HIT


def test_images_without_lungs_are_left_out_and_counted(phantoms, reading):
    base = phantoms("marker")
    masks = base.masks.copy()
    masks[base.rows("test")[:2]] = False
    some = Material("some", base.manifest, base.pixels, masks=masks)
    every = found(reading(some, reads_corner))
    n = len(base.rows("test"))
    assert {f.estimate.n_images for f in every.values()} == {n - 2}
    assert every["lungs only"].estimate.note.startswith(f"2 of {n} images left out")


def test_what_cannot_be_asked_says_why(phantoms, reading):
    base = phantoms()
    blind = Material("blind", base.manifest, base.pixels)
    with pytest.raises(HurdleError, match="lungs were not looked for"):
        list(lungs_removed(reading(blind, reads_corner)))
    masked = reading(base, reads_corner)
    masked = replace(masked, model=replace(masked.model, preparation="equalized+masked"))
    with pytest.raises(HurdleError, match="only the lungs: nothing is left"):
        list(lungs_removed(masked))
