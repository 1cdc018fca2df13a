"""The whole: hurdles with known answers get the rates that they must get, however it is run."""

import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from hurdles.auditing.hurdle import DATA_HURDLES
from hurdles.calibrating import calibration as module
from hurdles.calibrating import cohorts
from hurdles.calibrating.calibration import calibrate_audit
from hurdles.calibrating.limits import ANY, areas_table
from hurdles.calibrating.page import answer_lines, write_calibration
from hurdles.errors import RegistryError, RunError
from hurdles.findings.limits import load_limits

DATA = ("greys", "wolf", "blind")


def share(rates, hurdle, plant="", strength=0.0):
    rows = rates[(rates["hurdle"] == hurdle) & (rates["plant"] == plant)]
    rows = rows[(rows["strength"] == strength) & rows["disease"]]
    return rows["share"].iloc[0], rows["result"].iloc[0]


def calibrated(out, profile, imports, **settings):
    return calibrate_audit(
        out, profile=profile, data=DATA, models=(), imports=(imports,), workers=1, **settings
    )


@pytest.fixture
def references(monkeypatch):
    """No networks: power is judged at the full strength."""
    monkeypatch.setattr(
        module, "references_from", lambda records: ({"marker": 1.0}, areas_table(records))
    )


def test_an_alarm_that_always_rings_and_one_that_never_does(
    tmp_path, tiny, known_hurdles, references
):
    found = calibrated(tmp_path / "out", tiny, known_hurdles)
    assert share(found.rates, "wolf") == (1.0, "missed")
    assert share(found.rates, "blind") == (0.0, "not shown")  # of 6
    assert share(found.rates, "blind", "marker", 1.0)[0] == 0.0
    assert share(found.rates, "wolf", "marker", 1.0)[0] == 1.0
    assert share(found.rates, ANY, "marker", 1.0) == (1.0, "not shown")  # of 4
    # In the order of the plan, which is not that in which they come evenly.
    assert list(dict.fromkeys(zip(found.rates["plant"], found.rates["strength"], strict=True))) == [
        ("", 0.0), ("marker", 0.2), ("marker", 1.0)
    ]  # fmt: skip
    assert any("missed" in line for line in answer_lines(found))
    # 6 of 6 and 2 of 2 at 1.5 % and at 5 %: the largest p is 2 * 0.05 ** 2, times six goals left.
    assert answer_lines(found)[-2:] == [
        "Of all 9 goals, held against chance at once (Holm): 0 met, 4 missed.",
        "9 goals could not be met by so few cohorts, whatever hits them.",
    ]
    page, table, _, figure, limits = write_calibration(found, tmp_path / "docs")
    text = page.read_text()
    assert text.startswith("# The audit audited\n")
    assert "`wolf` 6/6 [54, 100 %], goal <= 0.015 (missed)" in text
    written = pd.read_csv(table)
    assert len(written) == len(found.rates)
    assert written["p"].to_numpy() == pytest.approx(found.rates["p"].to_numpy(), 1e-3, nan_ok=True)
    assert figure.read_bytes()[:4] == b"\x89PNG"
    assert load_limits(limits) == found.limits


def test_after_its_hours_no_cohort_is_begun_and_the_page_says_what_is_left(
    tmp_path, tiny, known_hurdles, references
):
    for hours in (-1.0, math.nan):
        with pytest.raises(RunError, match="hours are no time"):
            calibrated(tmp_path / "out", tiny, known_hurdles, hours=hours)
    none = calibrated(tmp_path / "out", tiny, known_hurdles, hours=0.0)
    assert none.left > 0
    assert none.rates.empty
    assert none.limits["greys", ""].source.startswith("calibrate-audit")
    page, *_ = write_calibration(none, tmp_path)
    assert f"{none.left} cohorts are left" in page.read_text()
    every = calibrated(tmp_path / "out", tiny, known_hurdles)
    assert every.left == 0
    assert every.limits == none.limits
    assert every.cohorts == none.cohorts + none.left


def test_a_kill_costs_only_what_was_under_way(
    tmp_path, tiny, known_hurdles, references, monkeypatch
):
    whole = calibrated(tmp_path / "whole", tiny, known_hurdles)
    real, calls = module.run_trial, []

    def killed(plan, name):
        calls.append(name)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return real(plan, name)

    monkeypatch.setattr(module, "run_trial", killed)
    with pytest.raises(KeyboardInterrupt):
        calibrated(tmp_path / "cut", tiny, known_hurdles)
    again = calibrated(tmp_path / "cut", tiny, known_hurdles)
    assert len(calls) == len(set(calls)) + 2  # the one under way, and one to compare with
    assert again.rates.equals(whole.rates)
    assert again.limits == whole.limits
    before = len(calls)
    calibrated(tmp_path / "cut", tiny, known_hurdles)
    assert len(calls) == before + 1  # one again, to see that nothing has changed
    # The journal alone is enough elsewhere: phantoms are rendered anew.
    (tmp_path / "moved").mkdir()
    shutil.copy(tmp_path / "cut" / "trials.jsonl", tmp_path / "moved")
    assert calibrated(tmp_path / "moved", tiny, known_hurdles).rates.equals(whole.rates)
    assert len(calls) == before + 2
    with pytest.raises(RunError, match="another calibration"):
        calibrated(tmp_path / "cut", replace(tiny, seed=1), known_hurdles)


def test_a_larger_profile_goes_on_and_hurdles_that_measure_otherwise_are_named(
    tmp_path, tiny, known_hurdles, references, monkeypatch
):
    calibrated(tmp_path / "out", tiny, known_hurdles)
    real, calls = module.run_trial, []

    def counted(plan, name):
        calls.append(name)
        return real(plan, name)

    monkeypatch.setattr(module, "run_trial", counted)
    calibrated(tmp_path / "out", replace(tiny, name="more", data=(6, 5)), known_hurdles)
    assert len(calls) == 2  # one again, to see that nothing has changed, and the new one
    blind = DATA_HURDLES.get("blind")
    other = replace(blind, run=lambda material: (replace(f, estimate=replace(f.estimate, low=-1.0))
                                                 for f in blind.run(material)))  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setitem(DATA_HURDLES._items, "blind", other)
        with pytest.raises(RunError, match=r"is not as .* has it: blind"):
            calibrated(tmp_path / "out", tiny, known_hurdles)


def test_phantoms_that_are_rendered_otherwise_are_refused(
    tmp_path, tiny, known_hurdles, references, monkeypatch
):
    calibrated(tmp_path / "out", tiny, known_hurdles)
    real = cohorts.render

    def dark(*of, **size):
        made = real(*of, **size)
        return made._replace(pixels=made.pixels // 2)

    monkeypatch.setattr(cohorts, "render", dark)
    with pytest.raises(RunError, match="rendered otherwise"):
        calibrated(tmp_path / "out", tiny, known_hurdles)


@pytest.mark.full
def test_the_number_of_processes_changes_nothing(tmp_path, tiny, known_hurdles):
    profile = replace(
        tiny,
        pool_patients=60,
        planted_patients=60,
        networks=1,
        models=(("small", 1, 1), ("pipeline", 1, 0)),
        grid=(1.0,),
    )
    found = [
        calibrate_audit(
            tmp_path / str(workers), profile=profile, workers=workers, imports=(known_hurdles,),
            data=("greys",), models=("sure",),
        )
        for workers in (1, 2)
    ]  # fmt: skip
    assert found[0].rates.equals(found[1].rates)
    assert found[0].areas.equals(found[1].areas)
    assert found[0].limits == found[1].limits


CREW = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from hurdles.calibrating.calibration import prepare_process

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, get_context("spawn"), prepare_process, ((),))
    pool.submit(time.time).result()
    print("at work", flush=True)
    time.sleep(600)
"""


@pytest.mark.full
def test_processes_end_with_the_one_that_gives_them_work(tmp_path):
    (tmp_path / "crew.py").write_text(CREW)
    process = subprocess.Popen([sys.executable, tmp_path / "crew.py"], stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"at work"
    process.kill()
    process.communicate(timeout=30)  # the output ends when nobody can write to it any more


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(RegistryError, match="no profile is called 'quick'"):
        calibrate_audit(tmp_path, profile="quick")
    with pytest.raises(RegistryError, match="no hurdle for data is called 'nose'"):
        calibrate_audit(tmp_path, data=("nose",), workers=1)
    with pytest.raises(RunError, match="0 workers do nothing"):
        calibrate_audit(tmp_path, data=(), models=(), workers=0)
