"""Nested views: what is told with less and less of the image."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hurdles.auditing import nested as module
from hurdles.auditing.material import Material
from hurdles.auditing.model.views import views
from hurdles.data.manifest import Manifest
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Limit, Verdict
from hurdles.phantom import Shortcut, phantom_cohort

NO_LUNG = ["metadata", "border", "outside the lungs' box", "background"]
WITH_LUNG = ["histogram", "thumbnail", "lungs' box", "lungs", "full image"]
SHARE = "without any lung"


@cache
def chests(shortcut=""):
    """Return phantoms of two classes without any difference but a shadow in the lungs of one."""
    made = phantom_cohort(
        84,
        seed=3,
        size=64,
        classes=("Normal A", "Normal B"),
        shortcut=Shortcut(shortcut, 1.0, target="Normal A") if shortcut else None,
    )
    frame = made.frame.assign(path="/" + made.frame["image"])
    frame["label"] = frame["label"].map({"Normal A": "COVID-19", "Normal B": "Normal"})
    masks, pixels = made.masks > 127, made.pixels.copy()
    sick = (frame["label"] == "COVID-19").to_numpy()[:, None, None]
    low = (np.arange(64) > 36)[None, :, None]
    pixels[(masks & sick & low)] //= 2
    frame = frame[[c for c in frame if not c.startswith("shortcut_")]]
    return Material("phantoms", Manifest(split(frame)), pixels, masks=masks, seed=1)


def split(frame, train=40, validation=52):
    number = frame["patient"].str[1:].astype(int).to_numpy()
    parts = np.where(number < validation, "validation", "test")
    return frame.assign(split=np.where(number < train, "train", parts))


def silent(pixels, masks):
    return np.zeros(len(pixels))


def knows(subject):
    """Give a subject answers that are right nearly always."""
    rng = np.random.default_rng(0)
    changes = {}
    for part in ("validation", "test"):
        said = getattr(subject, part)
        told = 1 / (
            1 + np.exp(-(3 * (2 * (said.y_true == "COVID-19") - 1) + rng.normal(size=len(said))))
        )
        prob = np.column_stack([told, 1 - told])
        frame = said.frame.assign(**{"p:COVID-19": prob[:, 0], "p:Normal": prob[:, 1]})
        changes[part] = Predictions(frame)
    return replace(subject, **changes)


def found(subject):
    """Judge by a limit of our own: what ships is calibrated anew from time to time."""
    limit = Limit(0.6, "for the test")
    every = list(views(subject))
    return {f.subject: replace(f, limit=limit) if f.limit else f for f in every}


@pytest.fixture(scope="module")
def marked(reading):
    return found(knows(reading(chests("marker"), silent)))


@pytest.fixture(scope="module")
def plain(reading):
    return found(knows(reading(chests(), silent)))


@pytest.fixture(autouse=True)
def _ask_anew():
    module.answers_of.cache_clear()


def test_a_marker_is_found_where_no_lung_is(marked):
    assert list(marked) == [*NO_LUNG, *WITH_LUNG, SHARE]
    hit = [s for s, f in marked.items() if f.verdict is Verdict.HIT]
    assert {"outside the lungs' box", "background"} <= set(hit) <= set(NO_LUNG[1:])
    assert marked[SHARE].estimate.low > 0.3
    assert marked[SHARE].details["view"] in hit
    assert marked["background"].evidence[0].says.startswith("COVID-19, told by background with ")


def test_disease_is_told_by_lungs_only(plain):
    assert [s for s, f in plain.items() if f.verdict is Verdict.HIT] == []
    assert min(plain[s].estimate.low for s in ("lungs' box", "lungs", "full image")) > 0.7
    assert plain[SHARE].estimate.low < 0.2
    assert [s for s, f in plain.items() if f.limit is not None] == [
        s for s in NO_LUNG if plain[s].limit is not None
    ]
    assert all(plain[s].estimate.level == pytest.approx(1 - 0.05 / 4) for s in NO_LUNG)


def test_the_best_view_is_chosen_before_the_test(reading, monkeypatch):
    """A view that is best on test images by chance, and not on validation, is not taken."""

    def asked(features, material, rows, labels):
        name = order.pop(0)
        parts = []
        for part in ("validation", "test"):
            some = material.take(rows[part])
            good = (part == "validation") == (name == "border")
            right = (
                np.where(some.labels == "COVID-19", 0.9, 0.1) if good else np.full(len(some), 0.5)
            )
            parts.append(some.predictions(labels, np.column_stack([right, 1 - right])))
        return tuple(parts)

    order = [*NO_LUNG, *WITH_LUNG]
    monkeypatch.setattr(module, "_answers", asked)
    subject = knows(reading(chests(), silent))
    share = found(subject)[SHARE]
    assert share.details["view"] == "border"
    assert share.estimate.value == pytest.approx(0.0)


def test_every_view_is_of_the_same_images(reading, monkeypatch):
    base = chests()
    masks = base.masks.copy()
    masks[base.rows("test")[:3]] = False
    seen = []
    asked = module._answers

    def spy(features, material, rows, labels):
        seen.append(tuple(material.manifest.frame["image"]))
        return asked(np.zeros((len(material), 1)), material, rows, labels)

    monkeypatch.setattr(module, "_answers", spy)
    subject = knows(reading(replace(base, masks=masks), silent))
    every = found(subject)
    assert len(set(seen)) == 1
    assert len(seen[0]) == len(base) - 3
    n_test = len(subject.test) - 3
    assert {f.estimate.n_images for f in every.values()} == {n_test}
    assert all("3 of" in f.estimate.note for f in every.values())


def test_without_lungs_the_other_views_are_still_had(reading, monkeypatch):
    cheap = lambda pixels: pixels[:, ::16, ::16].reshape(len(pixels), -1) * 1.0  # noqa: E731 - one line says it
    monkeypatch.setattr(module, "described", cheap)
    blind = replace(chests("marker"), masks=None)
    every = found(knows(reading(blind, silent)))
    lost = [s for s, f in every.items() if f.verdict is Verdict.COULD_NOT_RUN]
    assert lost == ["outside the lungs' box", "background", "lungs' box", "lungs"]
    assert "segment" in every["lungs"].estimate.note
    assert every["border"].estimate.is_defined


def test_nothing_known_of_the_images_is_said(reading, monkeypatch):
    monkeypatch.setattr(module, "attributes_of", lambda _: [])
    monkeypatch.setattr(module, "described", lambda pixels: np.zeros((len(pixels), 1)))
    every = found(knows(reading(chests(), silent)))
    assert every["metadata"].verdict is Verdict.COULD_NOT_RUN
    assert "tell these images apart" in every["metadata"].estimate.note


def test_without_training_images_the_probe_learns_crosswise_on_the_test_images(reading):
    base = chests()
    frame = split(base.manifest.frame, train=0)
    subject = reading(replace(base, manifest=Manifest(frame)), silent)
    findings = {f.subject: f for f in views(subject)}
    full = findings["full image"].estimate
    assert full.is_defined
    assert "learnt crosswise on the test images" in full.note
    # No view is chosen: that would be on the images that judge it.
    assert not findings["without any lung"].estimate.is_defined
