"""Calibrated answers pass; overconfident and timid ones are hit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from answering import answering, drawn, found_by

from hurdles.auditing.model.calibration import calibration
from hurdles.errors import HurdleError
from hurdles.findings.finding import Verdict
from hurdles.findings.table import Findings


def verdicts(findings):
    return {f.subject: str(f.verdict) for f in findings}


def test_overconfident_answers_are_hit():
    found = found_by(calibration, answering(*drawn(300, 1, slope=0.3, spread=3.0)))
    said = verdicts(found)
    assert said["overconfident"] == said["error"] == "hit"
    assert said["underconfident"] == "cleared"
    (error,) = [f for f in found if f.subject == "error"]
    assert "sure of" in error.evidence[0].says
    points = error.details["reliability"]
    assert set(points[0]) == {"mean_probability", "share", "low", "high", "n"}
    assert sum(point["n"] for point in points) == 300


def test_timid_answers_are_hit():
    said = verdicts(calibration(answering(*drawn(300, 2, slope=3.0, spread=0.7))))
    assert said["underconfident"] == "hit"
    assert said["overconfident"] == "cleared"


def test_separated_classes_have_no_slope_and_the_rest_goes_on():
    truth = np.repeat(["ill", "well"], 30)
    said = np.where(truth[:, None] == ["ill", "well"], 0.8, 0.2)
    found = found_by(calibration, answering(truth, said))
    slope = found[0]
    assert slope.verdict is Verdict.COULD_NOT_RUN
    assert "separate" in slope.estimate.note
    assert [f.estimate.is_defined for f in found[2:]] == [True, True, True]


def test_findings_are_json_and_differ_from_each_other():
    found = tuple(calibration(answering(*drawn(60, 3))))
    table = Findings(found, {"calibration": "?"})
    assert len(table) == 5
    json.dumps(table.to_dict(), allow_nan=False)


def test_intervals_are_simultaneous():
    found = found_by(calibration, answering(*drawn(100, 3)))
    assert {f.estimate.level for f in found if f.limit is not None} == {0.975}
    assert all("0.975" in f.statistic for f in found if f.limit is not None)


@pytest.mark.full
@pytest.mark.parametrize("n", [60, 200])
def test_at_most_one_in_twenty_calibrated_models_is_hit(n):
    hits = sum(
        any(f.verdict is Verdict.HIT for f in calibration(answering(*drawn(n, seed))))
        for seed in range(200)
    )
    assert hits <= 10


@pytest.mark.full
def test_most_overconfident_models_are_hit():
    hits = sum(
        any(f.verdict is Verdict.HIT for f in calibration(answering(*drawn(200, seed, slope=0.5))))
        for seed in range(100)
    )
    assert hits >= 90


def test_decisions_are_not_called_overconfident():
    truth = np.repeat(["ill", "well"], 30)
    decided = np.where(np.arange(60) % 10 == 0, np.roll(truth, 30), truth)
    said = (decided[:, None] == ["ill", "well"]).astype(float)
    with pytest.raises(HurdleError, match="as decisions are"):
        list(calibration(replace(answering(truth, said), model=None)))
    assert list(calibration(answering(truth, said)))  # a network that is this sure is judged
