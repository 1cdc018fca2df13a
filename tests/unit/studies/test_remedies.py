"""The study of remedies: its sets, its tables, its page."""

from __future__ import annotations

import math
import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe
from hurdles.recipe.remedies import REMEDIES
from hurdles.studies import remedies, remedies_sets
from hurdles.studies.found import found_collections
from hurdles.studies.remedies_page import page
from hurdles.studies.remedies_sets import TRIALS, Trial
from hurdles.studies.remedies_tables import NONE, Tried, cells_table, remedy_table
from hurdles.studies.study import Cell, Profile

N = 80


def told(scores, prefix):
    scores = np.asarray(scores, dtype=float)
    return Predictions.from_arrays(
        ["COVID-19", "Normal"],
        y_true=["COVID-19"] * (N // 2) + ["Normal"] * (N // 2),
        y_prob=np.column_stack([scores, 1 - scores]),
        images=[f"{prefix}{i}" for i in range(N)],
        groups=[f"{prefix}{i}" for i in range(N)],
    )


def noisy(amount, seed=0):
    rng = np.random.default_rng(seed)
    return np.clip(np.linspace(0.9, 0.1, N) + amount * rng.normal(size=N), 0.01, 0.99)


def tried(folder, remedy, inside, outside, seed=0, trial="planted"):
    run = SimpleNamespace(path=folder, history=[1, 2], meta={"seconds": 3.0})
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    cell = Cell(trial, remedy, seed, Recipe(name=remedy))
    return Tried(cell, run, told(inside, "i"), told(outside, "o"), "COVID-19")


def test_a_change_is_paired_with_the_run_of_the_same_seed(tmp_path):
    rows = [
        tried(tmp_path / f"{name}{seed}", name, noisy(0.1), noisy(amount, seed), seed)
        for seed in (0, 1)
        for name, amount in ((NONE, 0.8), ("lungs-only", 0.1), ("reject", 0.8))
    ]
    table = remedy_table(rows).set_index("remedy")
    gained = [
        rows[1 + 3 * s].area("outside").value - rows[3 * s].area("outside").value for s in (0, 1)
    ]
    assert table.loc["lungs-only", "outside change"] == pytest.approx(np.mean(gained))
    assert table.loc["lungs-only", "outside p"] < 0.05
    assert table.loc["lungs-only", "inside change"] == 0
    assert table.loc["reject", "outside change"] == 0
    assert math.isnan(table.loc[NONE, "outside change"])
    assert (table["seeds"] == 2).all()
    assert table.loc[NONE, "outside least"] <= table.loc[NONE, "outside"]


def test_p_values_are_corrected_within_a_trial(tmp_path):
    names = [NONE, "lungs-only", "harmonised", "group-dro"]
    amounts = [0.5, 0.35, 0.45, 0.4]
    rows = [
        tried(tmp_path / n, n, noisy(0.1), noisy(a, 5)) for n, a in zip(names, amounts, strict=True)
    ]
    alone = remedy_table(rows[:2]).set_index("remedy")
    family = remedy_table(rows).set_index("remedy")
    assert family.loc["lungs-only", "outside p"] >= alone.loc["lungs-only", "outside p"]
    assert family.loc["lungs-only", "outside p"] == pytest.approx(
        min(1.0, 3 * alone.loc["lungs-only", "outside p"])
    )


def test_only_answered_images_count_and_their_share_is_told(tmp_path):
    scores = noisy(0.1)
    scores[:10] = 0.05  # wrong, and rejected
    one = tried(tmp_path, "reject", noisy(0.1), scores)
    names = one.outside.frame["image"]
    table = pd.DataFrame({"image": names, "score": 0.0, "rejected": np.arange(N) < 10})
    assert one.area("outside").value < 0.85
    table.to_csv(tmp_path / "predictions" / "outside.rejection.csv", index=False)
    assert one.area("outside").value > 0.9
    row = cells_table([one.cell], [one], {}).iloc[0]
    assert row["answered outside"] == 70 / 80
    assert row["answered inside"] == 1
    assert row["images outside"] == N


def test_the_page_says_what_is_shown_and_what_is_not(tmp_path):
    trial = Trial("planted", "Phantoms.", "COVID-19", (), lambda *a: None)
    rows = [
        tried(tmp_path / name, name, noisy(0.1), noisy(amount, 3))
        for name, amount in ((NONE, 0.8), ("lungs-only", 0.05))
    ]
    cells = [r.cell for r in rows] + [
        Cell("planted", n, 0, Recipe(name=n)) for n in ("group-dro", "reject")
    ]
    table = cells_table(cells, rows, {"planted/group-dro/0": "there is one source only."})
    text = page([trial], Profile("fast", {}, "small"), remedy_table(rows), table, "hurdles 1")
    assert "gains outside: lungs-only (+" in text
    assert "costs inside: none is shown to" in text
    assert "- `group-dro` is not possible here: there is one source only." in text
    assert "- 1 of 4 cells are pending." in text
    assert "| none | 0." in text
    assert "Research use only" in text
    assert "nan" not in text


def test_a_page_of_nothing_says_so():
    empty = remedy_table([])
    text = page(TRIALS, Profile("fast", {}, "small"), empty, cells_table([], [], {}))
    assert text.count("nothing is done yet") == len(TRIALS)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(remedies_sets, "_PATIENTS", {"inside": 40, "outside": 12})
    monkeypatch.setattr(remedies_sets, "_PHANTOM_SIZE", 64)


@pytest.mark.parametrize("name", ["planted-hospital", "planted-child"])
def test_planted_outsiders_are_other_patients_without_the_coincidence(small, tmp_path, name):
    trial = next(t for t in TRIALS if t.name == name)
    made = trial.make({}, tmp_path, Options())
    inside, outside = made.inside, made.outside
    assert set(inside.frame["split"]) == set(Split)
    assert not set(inside.groups) & set(outside.groups)
    assert not set(inside.frame["image"]) & set(outside.frame["image"])
    if name == "planted-hospital":
        first = inside.frame["source"] == "inside-hospital-1"
        covid = inside.frame["label"] == "COVID-19"
        assert first[covid].mean() - first[~covid].mean() > 0.6


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("HURDLES_DATA"), reason="HURDLES_DATA names no folder")
def test_real_outsiders_are_even_and_unknown(tmp_path):
    trial = next(t for t in TRIALS if t.name == "pneumonia")
    here, missing = found_collections(None, trial.needs)
    if missing:
        pytest.skip(f"not here: {', '.join(missing)}")
    made = trial.make(here, tmp_path, Options())
    assert made.outside.frame.groupby(["source", "label"]).size().nunique() == 1
    seen = made.inside.frame["split"] != Split.TEST
    assert not set(made.inside.groups[seen]) & set(made.outside.groups)
    train = made.inside.part(Split.TRAIN).frame
    share = (train["source"] == "kermany")[train["label"] == "Pneumonia"].mean()
    assert share == pytest.approx(0.9, abs=0.01)


def test_every_remedy_is_tried_on_every_trial_with_every_seed():
    for profile, seeds in (("fast", 2), ("full", 3)):
        cells = remedies.STUDY.cells(remedies.STUDY.profiles[profile])
        assert len(cells) == len({c.name for c in cells}) == len(TRIALS) * 8 * seeds
        assert {c.row for c in cells} == {NONE, *REMEDIES}
        assert len({(c.way, c.folder) for c in cells}) == len(cells)


@pytest.mark.full
def test_it_is_carried_out_and_gone_on_with(small, monkeypatch, tmp_path):
    tiny = Profile("fast", {"preparation": {"size": 48}, "training": {"epochs": 1}}, "tiny")
    monkeypatch.setitem(remedies._PROFILES, "fast", tiny)
    study = remedies.Remedies("remedies", (TRIALS[0], TRIALS[3]))
    asked = {"fast": True, "patterns": ["planted-hospital/[ncr]*/0"]}
    options = Options(cache=tmp_path / "cache")
    plan = study.plan(None, tmp_path / "out", **asked)
    assert plan["cell"].str.split("/").str[1].tolist() == [NONE, "class-by-source", "reject"]
    done = study.carry_out(None, tmp_path / "out", options=options, results=None, **asked)
    assert not done.failed
    table = done.cells.set_index(["trial", "remedy", "seed"])
    assert table.loc[("planted-hospital", "reject", 0), "status"] == "done"
    assert table.loc[("planted-hospital", "group-dro", 0), "status"] == "pending"
    before = done.page.read_text()
    again = study.carry_out(None, tmp_path / "out", options=options, results=None, **asked)
    assert again.page.read_text() == before
    assert study.plan(None, tmp_path / "out", **asked)["status"].tolist() == ["done"] * 3


@pytest.mark.full
def test_a_missing_collection_is_named_and_stops_nobody(small, monkeypatch, tmp_path):
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    study = remedies.Remedies("remedies", (TRIALS[3],))
    done = study.carry_out(
        None,
        tmp_path,
        fast=True,
        patterns=["pneumonia/none/0"],
        options=Options(cache=tmp_path / "cache"),
        results=None,
    )
    assert "kermany" in done.failed["pneumonia/none/0"]
    assert (
        "not here: kermany"
        in study.plan(None, tmp_path, fast=True, patterns=["pneumonia/none/0"])["status"].iloc[0]
    )
    with pytest.raises(RunError, match="no cell of remedies matches"):
        study.plan(None, tmp_path, fast=True, patterns=["nothing"])
