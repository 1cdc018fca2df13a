"""The hurdle of perturbations, on made-up models whose reading is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hurdles.auditing.hurdle import MODEL_HURDLES, run_hurdles
from hurdles.auditing.model.alterations import perturbations
from hurdles.findings.finding import Finding, Verdict
from hurdles.pixels.perturb import PERTURBATIONS


def by_name(found: list[Finding]) -> dict[str, Finding]:
    return {f.subject: f for f in found if f.statistic.startswith("share")}


def detail(pixels: np.ndarray) -> np.ndarray:
    """Mean step from a pixel to the next."""
    return np.abs(np.diff(pixels.astype(float), axis=2)).mean(axis=(1, 2))


def reads_corner(pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """Look for letters where the phantoms' marker is written."""
    return detail(pixels[:, 2:10, 3:40]) - 10


def reads_sharpness(pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    return 8.6 - detail(pixels[:, 20:-20, 20:-20])


def reads_lungs(pixels: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    assert masks is not None
    return (
        np.array([p[m].mean() if m.any() else 0 for p, m in zip(pixels, masks, strict=True)]) / 9
        - 9
    )


def test_a_model_that_reads_the_marker_is_hit_by_the_marker_and_not_by_gamma(reading, phantoms):
    marked = phantoms("marker", patients=60)
    found = by_name(list(perturbations(reading(marked, reads_corner))))
    assert found["marker"].verdict is Verdict.HIT
    assert found["marker"].estimate.value == pytest.approx(0.5, abs=0.15)  # the half without it
    assert found["gamma"].verdict is not Verdict.HIT
    assert "crop or mask" in found["marker"].advice
    shown = found["marker"].evidence
    assert shown
    assert all("PORTABLE" in e.says and e.path for e in shown)


def test_a_model_that_reads_sharpness_is_hit_by_noise_and_not_by_flips(reading, phantoms):
    found = by_name(list(perturbations(reading(phantoms("blur"), reads_sharpness))))
    assert found["noise"].verdict is Verdict.HIT
    assert "resolution" in found["noise"].advice
    assert found["flip"].estimate.value == 0
    points = found["blur"].details["curve"]
    assert [p["amount"] for p in points] == [0, 1.0, 1.8]
    assert points[0]["flipped"] == 0
    assert points[0]["auc"] > 0.9
    assert points[2]["flipped"] > 0.3 > points[1]["flipped"]


def test_a_constant_answer_never_flips_and_few_images_do_not_show_that_none_would(
    reading, phantoms
):
    found = list(perturbations(reading(phantoms(), lambda pixels, masks: np.ones(len(pixels)))))
    assert {f.verdict for f in found} == {Verdict.INCONCLUSIVE, Verdict.SHOWN}
    assert {f.estimate.value for f in found} == {0.0}


def test_masks_move_with_the_image(reading, phantoms):
    """A model that reads the lungs' grey alone: left behind, the masks would show bone instead."""
    one = reading(phantoms(), reads_lungs)
    still = replace(
        one,
        model=replace(one.model, reads=lambda pixels, _: reads_lungs(pixels, one.tested.masks)),
    )
    along, behind = (by_name(list(perturbations(s))) for s in (one, still))
    for name in ("shift", "rotation"):
        assert along[name].estimate.value <= 0.05
        worst = [by["details"] for by in (along[name].to_dict(), behind[name].to_dict())]
        moved, left = (w["curve"][-1]["flipped"] for w in worst)
        assert left > moved


def test_every_perturbation_has_two_findings_and_the_judged_are_one_family(reading, phantoms):
    found = run_hurdles(
        MODEL_HURDLES, reading(phantoms(), reads_sharpness), names=["perturbations"]
    )
    assert len(found) == 2 * len(PERTURBATIONS)
    shares = by_name(list(found.rows))
    assert list(shares) == PERTURBATIONS.names()
    for name, finding in shares.items():
        judged = PERTURBATIONS.get(name).judged
        assert (finding.limit is not None) == judged
        assert ("simultaneous over 11" in finding.estimate.method) == judged
        assert finding.advice
    drops = [f for f in found.rows if f.statistic.startswith("drop")]
    assert all(f.limit is None for f in drops)
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_drop_is_that_of_the_curve(reading, phantoms):
    rows = list(perturbations(reading(phantoms("blur"), reads_sharpness)))
    share, drop = (f for f in rows if f.subject == "blur")
    points = share.details["curve"]
    assert drop.estimate.value == pytest.approx(points[0]["auc"] - points[1]["auc"])


def test_it_is_deterministic(reading, phantoms):
    one, two = (list(perturbations(reading(phantoms(), reads_sharpness))) for _ in range(2))
    assert [f.to_dict() for f in one] == [f.to_dict() for f in two]
