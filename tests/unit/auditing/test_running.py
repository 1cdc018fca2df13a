"""Hurdles one after another."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.hurdle import Hurdle, run_hurdles
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError, RegistryError
from hurdles.findings.finding import Finding, Limit, Verdict, counted
from hurdles.findings.summary import exit_code
from hurdles.progress import Silent
from hurdles.registry import Registry


def finding(hurdle, number, subject=""):
    return Finding(
        hurdle, subject, "things", counted(number, n_images=9), Limit(0, "by definition")
    )


@pytest.fixture
def hurdles():
    registry = Registry("hurdle")

    def add(name, run):
        registry.register(name)(Hurdle(name, f"{name}?", run))

    add("clean", lambda given: iter([finding("clean", 0)]))
    add("dirty", lambda given: iter([finding("dirty", given)]))
    return registry, add


def test_all_are_run_in_the_order_in_which_they_were_registered(hurdles):
    found = run_hurdles(hurdles[0], 2, names=["dirty", "clean"], about={"images": "nine"})
    assert found.hurdles == ["clean", "dirty"]
    assert found.verdict("clean") is Verdict.CLEARED
    assert found.verdict("dirty") is Verdict.HIT
    assert found.about == {"images": "nine"}


def test_some_of_them_may_be_asked_for_and_an_unknown_one_is_named(hurdles):
    assert run_hurdles(hurdles[0], 2, names=["clean"]).hurdles == ["clean"]
    with pytest.raises(RegistryError, match="no hurdle is called 'durty'; did you mean 'dirty'"):
        run_hurdles(hurdles[0], 2, names=["durty"])


def test_one_that_cannot_run_says_why_and_stops_nobody(hurdles):
    registry, add = hurdles

    def halfway(given):
        yield finding("halfway", 1, "first")
        raise HurdleError("there is no second; give one.")

    def lacking(given):
        raise HurdleError("lungs are missing; find them.")
        yield

    add("halfway", halfway)
    add("lacking", lacking)
    add("last", lambda given: iter([finding("last", 0)]))
    found = run_hurdles(registry, 0)
    assert found.verdict("halfway") is Verdict.HIT  # what it had found is kept
    assert found.verdict("lacking") is Verdict.COULD_NOT_RUN
    assert found.of("lacking")[0].estimate.note == "lungs are missing; find them."
    assert found.verdict("last") is Verdict.CLEARED


def test_a_fault_in_one_is_told_and_loses_nothing(hurdles, caplog):
    registry, add = hurdles

    def broken(given):
        yield finding("broken", 0, "first")
        given["nothing"]

    add("broken", broken)
    with caplog.at_level(logging.ERROR, logger="hurdles"):
        found = run_hurdles(registry, 3)
    assert "the hurdle 'broken' failed" in caplog.text
    assert "please report it: TypeError" in found.of("broken")[1].estimate.note
    assert found.verdict("broken") is Verdict.FAILED  # what it had cleared does not clear it
    assert found.verdict("dirty") is Verdict.HIT
    assert exit_code(found) == 5


def leaves(given):
    sys.exit(0)
    yield


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (leaves, "SystemExit: 0"),
        (lambda given: iter([None]), "no Finding"),
        (lambda given: iter([finding("dirty", 0)]), "no Finding of the hurdle"),
        (lambda given: iter([finding("own", 0), finding("own", 1)]), "'things' twice"),
        (lambda given: None, "TypeError"),
    ],
    ids=["sys.exit", "no finding", "another's", "twice", "no iterator"],
)
def test_whatever_is_wrong_with_one_it_never_passes_for_clean(hurdles, caplog, run, says):
    registry, add = hurdles
    add("own", run)
    found = run_hurdles(registry, 0)
    assert found.verdict("own") is Verdict.FAILED
    assert says in found.of("own")[-1].estimate.note
    assert found.verdict("clean") is Verdict.CLEARED
    assert exit_code(found) == 5


def test_one_that_finds_nothing_has_judged_nothing(hurdles):
    registry, add = hurdles
    add("own", lambda given: iter(()))
    found = run_hurdles(registry, 0)
    assert found.verdict("own") is Verdict.COULD_NOT_RUN
    assert exit_code(found, {"could-not-run"}) == 4


@pytest.mark.parametrize(
    ("patients", "n_patients", "says"),
    [
        ([None] * 4, 0, "none of 4 images names one"),
        (["p", "p", "q", None], 3, "1 of 4 images name none"),
        (["p", "p", "q", "r"], 3, ""),
    ],
)
def test_patients_that_are_not_known_are_not_counted(hurdles, patients, n_patients, says):
    registry, add = hurdles
    frame = pd.DataFrame({"image": list("abcd"), "path": list("abcd"), "label": ["x", "y"] * 2})
    manifest = Manifest(frame.assign(patient=patients))
    material = Material("made", manifest, np.zeros((4, 64, 64), np.uint8))

    def counts(given):
        n = len(set(given.groups))
        yield replace(finding("counts", 0), estimate=counted(0, n_images=4, n_patients=n))

    add("counts", counts)
    found = run_hurdles(registry, material, names=["counts"])
    (row,) = found.rows
    assert row.estimate.n_patients == n_patients
    assert row.settled_by == ("images" if not n_patients else "patients")
    assert says in found.about.get("patients", "")


def test_what_is_found_is_handed_out_after_every_hurdle(hurdles):
    seen = []
    run_hurdles(hurdles[0], 1, after_each=lambda some: seen.append((some.hurdles, len(some))))
    assert seen == [(["clean"], 1), (["clean", "dirty"], 2)]


def test_hurdles_are_run_and_shown_in_the_order_of_their_documentation():
    from hurdles.auditing.data import DATA_HURDLES
    from hurdles.auditing.model import MODEL_HURDLES

    page = (Path(__file__).parents[3] / "docs" / "hurdles.md").read_text(encoding="utf-8")
    shipped = [
        name
        for registry in (DATA_HURDLES, MODEL_HURDLES)
        for name in registry
        if registry.get(name).run.__module__.startswith("hurdles.")
    ]
    # Named first in the tables of what they ask, then in that of what was measured.
    named = re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)
    assert shipped == list(dict.fromkeys(named))


def test_a_listener_hears_how_long_each_takes_beside_the_others(hurdles):
    registry, _ = hurdles
    registry.register("dear")(
        Hurdle("dear", "dear?", lambda _: iter([finding("dear", 0)]), cost=lambda given, _: given)
    )
    started = []

    class Listener(Silent):
        def start(self, stage, total, costs=()):
            started.append((stage, total, list(costs)))

    run_hurdles(registry, 4, progress=Listener())
    ((stage, total, costs),) = started
    assert (stage, total) == ("Hurdles", 3)
    assert costs[2] - costs[0] == pytest.approx(4 - 0.1)
