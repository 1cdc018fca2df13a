"""The journal keeps what was finished, through kills, and refuses what is of another profile."""

import math
from dataclasses import replace

import pytest

from hurdles.calibrating.trials import Journal, Measured, Record
from hurdles.errors import RunError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import Finding, Limit

RECORD = Record(
    "data/fresh/24/disease/nothing/0/1",
    ("odds", "size"),
    (
        Measured("odds", "", 2.0, 1.0, math.inf, "above", None),
        Measured("size", "A", math.nan, math.nan, math.nan, "above", 0.2),
    ),
    0.75,
    1.5,
)


def test_a_record_survives_its_line():
    read = Record.from_json(RECORD.to_json())
    assert read.found[0] == RECORD.found[0]
    assert math.isnan(read.found[1].value)
    assert (read.trial, read.asked, read.auc) == (RECORD.trial, RECORD.asked, 0.75)


def test_what_was_added_is_there_again(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, {"profile": "a"}).add(RECORD)
    assert list(Journal(path, {"profile": "a"}).records) == [RECORD.trial]


def test_a_line_cut_short_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, {}).add(RECORD)
    whole = path.read_text()
    path.write_text(whole + RECORD.to_json()[:40])
    again = Journal(path, {})
    assert list(again.records) == [RECORD.trial]
    assert path.read_text() == whole
    again.add(Record("other", (), (), None, 0.0))
    assert list(Journal(path, {}).records) == [RECORD.trial, "other"]


def test_of_two_records_of_a_trial_the_later_counts(tmp_path):
    journal = Journal(tmp_path / "trials.jsonl", {})
    journal.add(RECORD)
    assert not journal.answers(RECORD.trial, ("odds", "shape"))
    journal.add(replace(RECORD, asked=("odds", "size", "shape")))
    again = Journal(tmp_path / "trials.jsonl", {})
    assert list(again.records) == [RECORD.trial]
    assert again.answers(RECORD.trial, ("odds", "shape"))
    assert not again.answers("another", ())


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ({}, set()),
        ({"seconds": 9.0, "instructions": "AVX2"}, set()),
        ({"asked": ("odds",), "found": RECORD.found[:1]}, set()),
        ({"auc": 0.76}, {"auc"}),
        ({"auc": None}, {"auc"}),
        ({"found": (replace(RECORD.found[0], low=1.01), RECORD.found[1])}, {"odds"}),
        ({"found": (replace(RECORD.found[0], low=1.0 + 1e-9), RECORD.found[1])}, set()),
        ({"found": (RECORD.found[0], replace(RECORD.found[1], subject="B"))}, {"size"}),
        ({"found": RECORD.found[:1]}, {"size"}),
    ],
)
def test_records_differ_by_what_was_measured_alone(change, differ):
    assert RECORD.differs_from(replace(RECORD, **change)) == differ


def test_trials_of_another_calibration_are_refused(tmp_path):
    path = tmp_path / "trials.jsonl"
    Journal(path, {"profile": "a"})
    with pytest.raises(RunError, match="holds trials of another calibration"):
        Journal(path, {"profile": "b"})


def test_only_limits_that_hold_by_definition_are_kept():
    finding = Finding("h", "s", "x", undefined("no"), Limit(0.2, "by definition: so"))
    assert Measured.of(finding).fixed == 0.2
    calibrated = Finding("h", "s", "x", undefined("no"), Limit(0.2, "calibrate-audit: 200"))
    assert Measured.of(calibrated).fixed is None
    assert Measured.of(Finding("h", "s", "x", undefined("no"), None)).beyond == ""
