"""Reading a corner is hit, reading the lungs is not, and an edge detector is no evidence."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, relu

sys.path.insert(0, str(Path(__file__).parent))
from answering import found_by

from hurdles.auditing.material import Material, NetworkModel, Subject
from hurdles.auditing.model import attention as module
from hurdles.auditing.model.attention import attention, spread_over_classes
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.predictions import Predictions
from hurdles.explanation.methods import METHODS
from hurdles.explanation.occlusion import occlude
from hurdles.findings.finding import Verdict
from hurdles.findings.table import Findings
from hurdles.models import ModelSpec, build
from hurdles.models.network import Network
from hurdles.phantom import Shortcut, phantom_cohort
from hurdles.training.prediction import as_input, probabilities

LABELS = ("COVID-19", "Normal")
SIZE = 64


class Gate(nn.Module):
    """A convolution whose maps are let through in one place only, then rectified."""

    def __init__(self, place: torch.Tensor) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.inner = nn.Conv2d(1, 8, 3, padding=1)
        self.place = nn.Parameter(place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return relu(self.inner(x) * self.place)


class Looking(Network):
    """A network built by hand that sees nothing but one place of the image."""

    def __init__(self, place: np.ndarray) -> None:
        super().__init__(ModelSpec("looking", LABELS, size=SIZE))
        self.gate = Gate(torch.from_numpy(place.astype("float32")))
        self.head = nn.Linear(8, 2)
        with torch.no_grad():
            # The first class is always named, and every map speaks for it.
            weights = torch.linspace(0.5, 2, 8)
            self.head.weight.copy_(torch.stack([weights, -weights]))
            self.head.bias.zero_()

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(x).mean(dim=(2, 3))

    @property
    def last_convolution(self) -> nn.Module:
        return self.gate


@cache
def phantoms(shortcut="", n=16, seed=1):
    planted = Shortcut(shortcut, 1.0) if shortcut else None
    made = phantom_cohort(n, seed=seed, size=SIZE, classes=LABELS, shortcut=planted)
    frame = made.frame.assign(path="/" + made.frame["image"], split="test")
    frame.loc[frame["patient"] == "P0000", "split"] = "validation"
    return Material("phantoms", Manifest(frame), made.pixels, masks=made.masks > 127)


def on_trial(network, material, preparation="raw"):
    parts = []
    for split in ("validation", "test"):
        part = material.take(material.rows(split))
        parts.append(
            Predictions.from_arrays(
                LABELS,
                y_true=part.labels.tolist(),
                y_prob=np.full((len(part), 2), 0.5),
                images=part.manifest.frame["image"].tolist(),
                groups=part.groups.tolist(),
            )
        )
    return Subject("made", NetworkModel(network.eval(), preparation), material, *parts)


def corner():
    place = np.zeros((SIZE, SIZE))
    place[:12, :12] = 1
    return place


def lungs():
    return phantoms().masks.mean(axis=0) > 0.5


def judged(findings):
    return {f.subject: f for f in findings if f.limit is not None}


def test_a_network_that_reads_a_corner_is_hit_by_both_methods():
    found = found_by(attention, on_trial(Looking(corner()), phantoms()))
    said = judged(found)
    assert {f.verdict for f in said.values()} == {Verdict.HIT}
    assert set(said) == {"grad-cam", "smoothgrad"}
    for one in said.values():
        assert one.estimate.value < 0.2
        assert one.details["rank_correlation_with_random"] < 0.5
        assert "0% of the heat" in one.evidence[0].says
    plain = [f for f in found if f.limit is None]
    assert all(f.estimate.value < 0.2 for f in plain)
    json.dumps(Findings(tuple(found), {"attention": "?"}).to_dict(), allow_nan=False)


def test_a_network_that_reads_the_lungs_is_not_hit():
    found = found_by(attention, on_trial(Looking(lungs()), phantoms()))
    for one in judged(found).values():
        assert one.verdict is not Verdict.HIT
        assert one.estimate.value > 2
    assert judged(found)["smoothgrad"].verdict is Verdict.CLEARED
    counts = {c["class"]: c["n"] for c in judged(found)["grad-cam"].details["by_class"]}
    assert set(counts) == set(LABELS)


def test_more_patients_are_not_said_to_settle_what_random_networks_leave_open():
    ratio = Estimate(1.3, 0.9, 1.8, 0.975, "Welch's t", 120, 120)
    one = module._finding("smoothgrad", ratio, 0.975, {})
    assert one.verdict is Verdict.INCONCLUSIVE
    assert one.to_settle is None


@pytest.mark.full
def test_a_network_that_has_learnt_nothing_is_not_hit():
    network = build(ModelSpec("small", LABELS, size=SIZE), seed=3)
    for one in judged(attention(on_trial(network, phantoms()))).values():
        assert one.verdict is not Verdict.HIT


def test_an_edge_detector_is_no_evidence(monkeypatch):
    def edges(network, x, target):
        return (x - x.roll(1, -1)).abs()[:, 0]

    monkeypatch.setitem(METHODS._items, "smoothgrad", edges)
    said = judged(attention(on_trial(Looking(corner()), phantoms())))
    assert said["smoothgrad"].verdict is Verdict.COULD_NOT_RUN
    assert "rank correlation of 1.00" in said["smoothgrad"].estimate.note
    assert said["grad-cam"].verdict is Verdict.HIT


def test_without_the_check_an_edge_detector_would_have_been_believed(monkeypatch):
    # The guard taken away: the planted fault must then come through.
    def edges(network, x, target):
        return (x - x.roll(1, -1)).abs()[:, 0]

    monkeypatch.setitem(METHODS._items, "smoothgrad", edges)
    monkeypatch.setattr("hurdles.explanation.randomization.MAX_RANK_CORRELATION", 1.1)
    said = judged(attention(on_trial(Looking(corner()), phantoms())))
    assert said["smoothgrad"].estimate.is_defined


def test_a_network_without_heat_could_not_be_judged():
    found = found_by(attention, on_trial(Looking(np.zeros((SIZE, SIZE))), phantoms()))
    assert {f.verdict for f in found} == {Verdict.COULD_NOT_RUN}
    assert "a map of 0 of" in found[0].estimate.note


def test_empty_maps_are_counted():
    class Shy(Looking):
        """Answers only where the image is bright; else the maps speak for nothing."""

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean(dim=(1, 2, 3)) > self.threshold
            return self.gate(x).mean(dim=(2, 3)) * bright[:, None]

    network = Shy(lungs())
    means = phantoms().take(phantoms().rows("test")).pixels.mean(axis=(1, 2)) / 255
    network.threshold = float(np.quantile(means, 0.2))
    one = judged(attention(on_trial(network, phantoms())))["grad-cam"]
    assert one.details["without_heat"] > 0
    assert f"{one.details['without_heat']} of {one.details['maps']} maps" in one.estimate.note


@pytest.mark.parametrize("preparation", ["cropped", "masked", "masked+cropped"])
def test_lungs_are_looked_for_where_the_network_sees_them(preparation):
    # What is kept after masking is what the moved mask must cover.
    subject = on_trial(Looking(lungs()), phantoms(), preparation)
    seen = module._images_as_seen(subject, subject.model)
    assert seen.pixels.shape == seen.lungs.shape
    if "masked" in preparation:
        outside = seen.pixels[~seen.lungs]
        assert np.median(outside) == 0
        assert (seen.pixels[seen.lungs] > 0).mean() > 0.8
    if "cropped" in preparation:
        assert seen.lungs.mean() > 1.2 * subject.tested.masks.mean()


def test_lungs_must_have_been_looked_for():
    images = phantoms()
    without = Material("none", images.manifest, images.pixels)
    with pytest.raises(HurdleError, match="were not looked for"):
        found_by(attention, on_trial(Looking(lungs()), without))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=40), st.integers(1, 45), st.integers(0, 9))
def test_images_are_spread_over_classes_then_over_patients(patients, most, seed):
    labels = np.where(np.array(patients) < 3, "a", "b")
    groups = np.array(patients).astype(str)
    given_ = SimpleNamespace(labels=labels, groups=groups, seed=seed)
    material = type("M", (SimpleNamespace,), {"__len__": lambda self: len(labels)})(**vars(given_))
    rows = spread_over_classes(material, most)
    assert len(rows) == min(most, len(labels)) == len(np.unique(rows))
    counts = pd.Series(labels[rows]).value_counts()
    for label in np.unique(labels):
        mine, have = int(counts.get(label, 0)), int((labels == label).sum())
        # A class has fewer than another only where it has no more, or by one.
        assert mine == have or mine >= counts.max() - 1
        of_class = groups[rows][labels[rows] == label]
        there = len(np.unique(groups[labels == label]))
        assert len(np.unique(of_class)) == min(mine, there)
    assert np.array_equal(rows, spread_over_classes(material, most))


def trained(material, epochs=6):
    network = build(ModelSpec("small", LABELS, size=SIZE), seed=0)
    x, y = as_input(material.pixels), torch.from_numpy((material.labels == LABELS[1]).astype(int))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(16):
            if len(rows) < 2:
                continue
            optimiser.zero_grad()
            cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    return network.eval()


@pytest.mark.full
@pytest.mark.parametrize(("shortcut", "hit"), [("marker", True), ("", False)])
def test_trained_networks(shortcut, hit):
    network = trained(phantoms(shortcut, 100, 7), epochs=10)
    tested = phantoms(shortcut, 40, 8)
    right = probabilities(network, tested.pixels).argmax(axis=1)
    assert (np.array(LABELS)[right] == tested.labels).mean() > 0.75
    said = judged(attention(on_trial(network, tested)))
    assert (Verdict.HIT in {f.verdict for f in said.values()}) == hit


def test_a_model_without_gradients_is_asked_about_hidden_parts(reading):
    images = phantoms()

    def brightness_of(place):
        return lambda pixels, _: (pixels[:, place].mean(axis=1) - 128.0) / 4

    looks = {"lungs": lungs(), "corner": corner() > 0}
    gains = {}
    for name, place in looks.items():
        (finding,) = attention(reading(images, brightness_of(place)))
        assert finding.limit is None
        assert finding.subject == "occlusion"
        gains[name] = finding.estimate
    assert gains["lungs"].low > 1 > gains["corner"].high


def test_hidden_windows_are_those_of_the_slow_twin():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (2, 30, 30), dtype=np.uint8)
    stacks = []

    def ask(questions):
        for stack in questions:
            stacks.append(stack)
            bright = stack[:, 4:9, 20:26].mean(axis=(1, 2)) - stack[:, 15:, :9].mean(axis=(1, 2))
            p = 1 / (1 + np.exp(-bright / 30))
            yield np.column_stack([p, 1 - p])

    maps = occlude(ask, pixels, images=["a", "b"], labels=["x", "y"], cells=5)
    for image, stack, heat in zip(pixels, list(stacks), maps, strict=True):
        p = next(ask([stack]))
        target = int(p[0].argmax())
        odds = np.log(p[:, target] / (1 - p[:, target]))
        total, count, number = np.zeros((30, 30)), np.zeros((30, 30)), 0
        for row in range(4):
            for column in range(4):
                number += 1
                place = np.s_[row * 6 : row * 6 + 12, column * 6 : column * 6 + 12]
                changed = np.argwhere(stack[number] != image)
                assert set(map(tuple, changed)) <= {
                    (i, j)
                    for i in range(row * 6, row * 6 + 12)
                    for j in range(column * 6, column * 6 + 12)
                }
                total[place] += odds[0] - odds[number]
                count[place] += 1
        expected = np.clip(total / count, 0, None)
        assert heat.target == "xy"[target]
        assert heat.peak == pytest.approx(expected.max(), rel=1e-5)
        np.testing.assert_allclose(heat.values, expected / expected.max(), atol=1e-5)


def test_of_hidden_parts_1_is_not_what_random_models_get_and_the_finding_says_so(reading):
    rng, images = np.random.default_rng(0), phantoms()
    mean = images.pixels.mean(axis=0)
    gains = []
    for _ in range(6):
        weights = rng.normal(size=(SIZE, SIZE))
        scale = np.tensordot(images.pixels - mean, weights, 2).std() / 2

        def look(pixels, _, weights=weights, scale=scale):
            return np.tensordot(pixels - mean, weights, 2) / scale

        (finding,) = attention(reading(images, look))
        gains.append(finding.estimate.value)
    assert 0.3 < min(gains) < max(gains) < 1
    assert "1 is not what a model without knowledge gets" in finding.advice
