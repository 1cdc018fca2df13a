"""Ten of the kills of ``bench/kills.py``, and that it would notice what they must not do."""

from __future__ import annotations

import os
import sys
from importlib import util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "kills.py"
#: By their numbers, which are their seeds: all commands but the dearest, at moments and at writes.
TEN = (10, 1, 12, 3, 14, 5, 16, 7, 9, 19)


@pytest.fixture(scope="module")
def kills():
    spec = util.spec_from_file_location("kills", BENCH)
    module = util.module_from_spec(spec)
    sys.modules["kills"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["kills"]


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_ten_kills_cost_nothing(kills, tmp_path):
    with kills.Bench(tmp_path) as bench:
        done = [bench.kill(number, kills.name_of(number)) for number in TEN]
    assert [kill for kill in done if kill.is_fault] == []
    assert {kill.case for kill in done} == set(kills.CASES) - {"calibrate-audit"}


def change(path: Path) -> None:
    path.write_text("b,2.5\n")


@pytest.mark.parametrize(
    ("damage", "fault", "where"),
    [
        (lambda work: None, "", ""),
        (lambda work: change(work / "out/history.csv"), "different", "out/history.csv"),
        (lambda work: (work / "out/history.csv").unlink(), "different", "out/history.csv"),
        (lambda work: (work / "out/.a.part").touch(), "left behind", "out/.a.part"),
        (lambda work: (work / "out/a.lock").touch(), "left behind", "out/a.lock"),
        (lambda work: (work / "tmp/x").mkdir(), "left behind", "tmp/x"),
    ],
)
def test_what_kills_must_not_do_is_noticed(kills, tmp_path, damage, fault, where):
    for number, name in enumerate(("reference", "work")):
        for folder in ("out", "tmp"):
            (tmp_path / name / folder).mkdir(parents=True)
        (tmp_path / name / "out/history.csv").write_text(f"a,{number}.5\n")  # seconds differ
    damage(tmp_path / "work")
    folders = tmp_path / "work", tmp_path / "reference"
    assert kills.judged(*folders, said="x", should_say="x") == (fault, where)
    assert kills.judged(*folders, said="x", should_say="y")[0] == (fault or "different")
