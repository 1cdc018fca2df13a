"""`make rivals`: counts of both tools, and sentences that say no more than the counts."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from hurdles.calibrating.cohorts import Planting, draw_materials, state_of
from hurdles.calibrating.trials import Journal, Measured, Profile, Record, Trial
from hurdles.calibrating.worker import Plan, register_hurdles
from hurdles.findings.finding import Limit

BENCH = Path(__file__).parents[3] / "bench" / "rivals"
SETS = ("default", "quick start", "published", "meta")
CONDITIONS = ("indicator_count", "majority_vote", "weighted_risk", "meta_classifier")

TINY = Profile("tiny", size=64, pools=1, pool_patients=60, planted_patients=60, models=())


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    register_hurdles()
    import rates
    import sheet
    import subjects

    yield rates, sheet, subjects
    for name in ("rates", "sheet", "subjects"):
        sys.modules.pop(name)


def record(plant, strength, repeat, *, value, disease=True):
    """A cohort of which `elsewhere` has this loss, within 0.01, against a limit of 0."""
    trial = Trial("small", "fresh", 240, disease, plant, strength, repeat)
    found = (Measured("elsewhere", "b", value, value - 0.01, value + 0.01, "above", 0.0, 0.05),)
    return Record(trial.name, ("elsewhere", "views"), found, 0.8, 4.0)


def answer(probe, *, overall="LOW"):
    """Answers in which `probe` flags, or None where it did not run, and `sis` never does."""
    methods = {
        "probe": {"flagged": probe, "risk": "low"} if probe is not None else {"flagged": None},
        "sis": {"flagged": False, "risk": "low"},
    }
    if probe is None:
        methods["probe"]["why"] = "too few images"
    verdicts = {
        "images": 80,
        "methods": methods,
        "overall": {name: dict.fromkeys(CONDITIONS, overall) for name in SETS},
        "seconds": 1.5,
    }
    given = [f"{part}, {group}" for part in ("test", "all") for group in ("hospital", "class")]
    answers = dict.fromkeys([*given, "test, carriers"], verdicts)
    return {"versions": {"shortkit-ml": "0.1.0"}, "answers": answers}


def noise(flagged):
    made = answer(flagged)
    both = {"test, class": "test, class", "test, hospital": "test, dealt"}
    return made | {"answers": {new: made["answers"][old] for old, new in both.items()}}


def both_asked(*, power, probe_clean, probe_planted):
    """Eight clean cohorts and eight with a marker, of which hurdles sees `power`."""
    records = [record("", 0.0, n, value=-0.02) for n in range(8)]
    records += [record("", 0.0, n, value=-0.02, disease=False) for n in range(2)]
    records += [
        record("marker", strength, n, value=0.2 if 4 * at + n < power else -0.02)
        for at, strength in enumerate((0.8, 1.0))
        for n in range(4)
    ]
    flags = (
        [n < probe_clean for n in range(8)] + [False] * 2 + [n < probe_planted for n in range(8)]
    )
    answers = {
        r.trial.replace("/", "~"): answer(flag, overall="HIGH" if flag else "LOW")
        for r, flag in zip(records, flags, strict=True)
    }
    return records, answers | {"noise-64-000": noise(True), "noise-256-000": noise(True)}


def test_shares_are_of_cohorts_with_exact_intervals(bench):
    rates, _, _ = bench
    table = rates.rates_of(*both_asked(power=5, probe_clean=2, probe_planted=6))
    key = {"tool": rates.RIVAL, "input": "test, hospital", "method": "probe"}
    (row,) = rates.select(table, truth=rates.PLANTED, plant="all", strength="", **key).to_dict(
        "records"
    )
    interval = binomtest(6, 8).proportion_ci(method="exact")
    assert (row["cohorts"], row["flagged"], row["share"]) == (8, 6, 0.75)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-4)
    ours = rates.select(
        table, tool=rates.HURDLES, input="model", method="elsewhere", plant="marker"
    )
    assert dict(zip(ours["strength"], ours["flagged"], strict=True)) == {"0.8": 4, "1": 1, "": 5}
    # A hurdle that was asked and said nothing is silent, not clear.
    views = rates.select(table, tool=rates.HURDLES, method="views", truth=rates.CLEAN).iloc[0]
    assert (views["cohorts"], views["flagged"], views["silent"]) == (8, 0, 8)


def test_a_method_that_did_not_run_is_counted_as_not_flagged_and_named(bench):
    rates, sheet, _ = bench
    records, answers = both_asked(power=8, probe_clean=0, probe_planted=0)
    planted = [name for name in answers if "marker" in name]
    answers |= {name: answer(None) for name in planted}
    table = rates.rates_of(records, answers)
    rows = rates.select(table, tool=rates.RIVAL, method="probe", truth=rates.PLANTED, plant="all")
    assert (rows["silent"] == rows["cohorts"]).all()
    assert (rows["flagged"] == 0).all()
    page = sheet.sheet(table, records, answers)
    assert (
        "`probe`, tested images, by hospital, did not run in 8 of 18 cohorts: too few images"
        in page
    )


@pytest.mark.parametrize(
    ("power", "clean", "planted", "ahead"), [(8, 8, 8, False), (2, 0, 8, True), (5, 1, 6, False)]
)
def test_the_page_says_who_tells_more_apart(bench, power, clean, planted, ahead):
    rates, sheet, _ = bench
    records, answers = both_asked(power=power, probe_clean=clean, probe_planted=planted)
    page = sheet.sheet(rates.rates_of(records, answers), records, answers)
    first = page.split("## ")[1]
    assert first.startswith("Where ShortKit-ML is better")
    assert ("of its" in first and "verdicts tell more apart than" in first) == ahead
    assert ("None of its" in first) != ahead
    assert ("- `marker`: " in first) == ahead
    if clean == 8:  # what always alarms tells nothing apart
        assert "| `probe` | 8/8 [63, 100 %] | 0/2 [0, 84 %] | 8/8 [63, 100 %] | +0.00 " in page


def test_every_set_of_noise_that_is_flagged_is_said_to_be(bench):
    rates, sheet, _ = bench
    records, answers = both_asked(power=8, probe_clean=0, probe_planted=0)
    page = sheet.sheet(rates.rates_of(records, answers), records, answers)
    assert "Of 64 dimensions, `probe` flags every set. Of 256 dimensions, `probe` flags" in page
    answers |= {"noise-256-001": noise(False)}
    page = sheet.sheet(rates.rates_of(records, answers), records, answers)
    assert "Of 64 dimensions, `probe` flags every set." in page
    assert "Of 256 dimensions" not in page
    answers = {name: a for name, a in answers.items() if not name.startswith("noise")}
    page = sheet.sheet(rates.rates_of(records, answers), records, answers)
    assert "## Noise\n\nNot yet measured.\n" in page


def test_carriers_are_the_images_that_show_the_mark(bench, tmp_path):
    _, _, subjects = bench
    plan = Plan(tmp_path, TINY, (), ())
    (pool,) = plan.pools("fresh")
    for task in pool.tasks(("marker",)):
        pool.make(*task)
    planting = Planting(True, "marker", 0.8)
    (material,) = draw_materials(pool, planting, [40], seed=3)
    trial = Trial("small", "fresh", 40, True, "marker", 0.8, 0)
    carried = subjects.carriers(plan, trial, material, "COVID-19")
    absent = pool.images(state_of("marker", False))
    rows = pd.Series(range(len(absent.frame)), index=absent.frame["image"])
    without = absent.pixels[rows[material.manifest.frame["image"]].to_numpy()]
    assert carried.any()
    assert np.array_equal(~carried, (without == material.pixels).all(axis=(1, 2)))


def test_an_invented_mark_goes_with_the_class_and_with_the_patient(bench, tmp_path):
    _, _, subjects = bench
    plan = Plan(tmp_path, TINY, (), ())
    (pool,) = plan.pools("fresh")
    for task in pool.tasks(()):
        pool.make(*task)
    (material,) = draw_materials(pool, Planting(True), [40], seed=3)
    gaps = []
    for repeat in range(10):
        trial = Trial("small", "fresh", 40, True, "", 0.0, repeat)
        invented = subjects.carriers(plan, trial, material, "COVID-19")
        frame = pd.DataFrame(
            {"has": invented, "patient": material.groups, "label": material.labels}
        )
        assert (frame.groupby("patient")["has"].nunique() == 1).all()
        share = frame.drop_duplicates("patient").groupby("label")["has"].mean()
        gaps.append(share["COVID-19"] - share["Normal"])
    # Of 20 patients a class the gap has an SD of 0.095 about its strength; of ten cohorts, 0.03.
    assert np.mean(gaps) == pytest.approx(subjects.INVENTED, abs=0.1)


def test_convergence_is_two_of_the_four_methods_of_the_packages_own_analysis(bench):
    rates, _, _ = bench
    records, answers = both_asked(power=8, probe_clean=0, probe_planted=8)
    key = {"tool": rates.RIVAL, "input": "test, hospital", "method": "convergence: 2 of 4"}

    def flagged():
        table = rates.rates_of(records, answers)
        rows = rates.select(table, truth=rates.PLANTED, plant="all", strength="", **key)
        return rows["flagged"].tolist()

    assert flagged() == [0]  # `probe` alone
    for name in answers:
        methods = answers[name]["answers"]["test, class"]["methods"]
        methods |= {"sis": {"flagged": True}, "geometric": {"flagged": None}}
    assert flagged() == [0]  # `sis` is none of the four, and what did not run agrees with nobody
    for name in answers:
        answers[name]["answers"]["test, class"]["methods"]["geometric"] = {"flagged": True}
    assert flagged() == [8]


def test_the_page_is_written_anew_from_the_journal_without_the_other_package(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("rivals_main", BENCH / "__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    records, answers = both_asked(power=8, probe_clean=0, probe_planted=8)
    journal = Journal(
        tmp_path / "trials.jsonl", {"made by": "bench/rivals", "patients of a pool": 1000}
    )
    for made in records:
        found = tuple(replace(m, fixed=None) for m in made.found)
        journal.add(replace(made, found=found))
    features = tmp_path / "features"
    features.mkdir()
    for name, said in list(answers.items())[:-1]:
        (features / f"{name}.json").write_text(json.dumps(said), encoding="utf-8")
    monkeypatch.setattr(main, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["rivals", "--out", str(tmp_path), "--page"])

    def power(limit):
        limits = {("elsewhere", "b"): Limit(limit, "a test")}
        monkeypatch.setattr(sys.modules["rates"], "load_limits", lambda: limits)
        main.main()
        table = pd.read_csv(tmp_path / "rivals.csv", keep_default_na=False)
        row = table.query("method == 'elsewhere' and plant == 'all' and strength == ''")
        return row["flagged"].item()

    assert (power(0.0), power(0.5)) == (8, 0)
    assert "| `elsewhere` | 0/8 " in (tmp_path / "rivals.md").read_text(encoding="utf-8")
    for name in ("rates", "sheet", "subjects"):
        sys.modules.pop(name)
