"""The study of remedies: its sets, its tables, its page."""

from __future__ import annotations

import math
import os

import numpy as np
import pandas as pd
import pytest

from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe
from hurdles.recipe.remedies import REMEDIES
from hurdles.studies import Cell, Grid, Study, cells_of, find_study, load_grid
from hurdles.studies.cells import NO_REMEDY as NONE
from hurdles.studies.images import Images
from hurdles.studies.pages import records, rendered
from hurdles.studies.tables import CELL_COLUMNS, Tried, remedy_areas, remedy_changes

GRID = load_grid("remedies")
TRIALS = ("planted-hospital", "planted-marker", "planted-child", "pneumonia", "covid")

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


def tried(remedy, inside, outside, seed=0, trial="planted-hospital", rejected=()):
    recipe = Recipe(name=remedy, evaluation={"positive": "COVID-19"})
    cell = Cell(trial, remedy, seed, recipe, train=trial)
    parts = {"inside": told(inside, "i"), "outside": told(outside, "o")}
    kept = ~np.isin(np.arange(N), rejected)
    frame = parts["outside"].frame[kept].reset_index(drop=True)
    return Tried(cell, parts, {**parts, "outside": Predictions(frame)})


def test_a_change_is_paired_with_the_run_of_the_same_seed():
    rows = [
        tried(name, noisy(0.1), noisy(amount, seed), seed)
        for seed in (0, 1)
        for name, amount in ((NONE, 0.8), ("lungs-only", 0.1), ("reject", 0.8))
    ]
    table = remedy_changes(rows).set_index("remedy")
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


def test_p_values_are_corrected_within_a_trial():
    names = [NONE, "lungs-only", "harmonized", "group-dro"]
    amounts = [0.5, 0.35, 0.45, 0.4]
    rows = [tried(n, noisy(0.1), noisy(a, 5)) for n, a in zip(names, amounts, strict=True)]
    alone = remedy_changes(rows[:2]).set_index("remedy")
    family = remedy_changes(rows).set_index("remedy")
    assert family.loc["lungs-only", "outside p"] >= alone.loc["lungs-only", "outside p"]
    assert family.loc["lungs-only", "outside p"] == pytest.approx(
        min(1.0, 3 * alone.loc["lungs-only", "outside p"])
    )


def test_only_answered_images_count_and_their_share_is_told():
    scores = noisy(0.1)
    scores[:10] = 0.05  # wrong, and rejected
    whole = tried("reject", noisy(0.1), scores)
    assert whole.area("outside").value < 0.85
    one = tried("reject", noisy(0.1), scores, rejected=range(10))
    assert one.area("outside").value > 0.9
    row = remedy_areas(one)
    assert row["answered outside"] == 70 / 80
    assert row["answered inside"] == 1
    assert row["images outside"] == N


def page(tried=(), rows=()) -> str:
    """Return the page of some finished cells and of others with their status and message."""
    done = [
        {"trial": t.cell.way, "remedy": t.cell.row, "status": "done", **remedy_areas(t)}
        for t in tried
    ]
    cells = pd.DataFrame([*done, *rows], columns=list(CELL_COLUMNS))
    tables = {"cells": records(cells), "table": records(remedy_changes(tried))}
    planned = [
        {"train": c.train, "positive": c.recipe.evaluation.positive} for c in cells_of(GRID, "fast")
    ]
    return rendered(
        GRID.page, study=GRID, profile="fast", explanation="small", cells=planned, tables=tables,
        machines=[],
    )  # fmt: skip


def test_the_page_says_what_is_shown_and_what_is_not():
    trial = {"trial": "planted-hospital", "seed": 0}
    text = page(
        [
            tried(name, noisy(0.1), noisy(amount, 3))
            for name, amount in ((NONE, 0.8), ("lungs-only", 0.05))
        ],
        [
            {**trial, "remedy": "group-dro", "status": "not possible", "message": "one source."},
            {**trial, "remedy": "reject", "status": "pending"},
            {"trial": "covid", "remedy": NONE, "seed": 0, "status": "not here: cohen"},
        ],
    )
    assert "gains outside: lungs-only (+" in text
    assert "costs inside: none is shown to" in text
    assert "- `group-dro` is not possible here: one source." in text
    assert "- 1 of 4 cells are pending." in text
    assert "- 1 of 1 cells wait for what is not here: cohen." in text
    assert "| none | 0." in text
    assert "Research use only" in text
    assert "nan" not in text


def first_line(text: str) -> str:
    return text.splitlines()[2]


def test_the_first_line_says_what_works_on_phantoms_and_not_on_real_images():
    outside = {  # amounts of noise: of no remedy 0.8; less is a gain, more a loss
        "planted-hospital": {NONE: 0.8, "lungs-only": 0.05, "group-dro": 0.05, "end": 0.8},
        "pneumonia": {NONE: 0.8, "lungs-only": 5.0, "group-dro": 0.05, "end": 0.8},
        "covid": {NONE: 0.8, "lungs-only": 0.8, "end": 0.8, "harmonized": 0.05},
    }
    rows = [
        tried(name, noisy(0.1), noisy(amount, 3), trial=trial)
        for trial, amounts in outside.items()
        for name, amount in amounts.items()
    ]
    line = first_line(page(rows))
    assert line.startswith(
        "**Shown to gain outside on phantoms, and not shown to on real images: `lungs-only` "
        "(planted-hospital; loses in pneumonia).** On both: `group-dro` (planted-hospital; "
        "pneumonia); on real images alone: `harmonized` (covid); on neither: `end`. "
    )
    assert "of 1 of phantoms and 2 of real images that have results" in line
    assert "12 of 12 cells are done." in line


def test_one_kind_of_trial_alone_does_not_say_it():
    rows = [tried(name, noisy(0.1), noisy(a, 3)) for name, a in ((NONE, 0.8), ("end", 0.05))]
    for text in (page(rows), page()):
        assert "on phantoms and not on real images cannot be said yet.**" in first_line(text)


def test_a_page_of_nothing_says_so():
    assert page().count("nothing is done yet") == len(TRIALS)


def small(**profile) -> Grid:
    """Return the study with few and small phantoms."""
    collections = {
        name: entry.model_copy(
            update={"phantom": entry.phantom.model_copy(
                update={"patients": 40 if "inside" in name else 12, "size": 64}
            )}
        )
        if entry.phantom
        else entry
        for name, entry in GRID.collections.items()
    }  # fmt: skip
    profiles = {"fast": GRID.profiles["fast"].model_copy(update=profile)}
    return GRID.model_copy(update={"collections": collections, "profiles": profiles})


@pytest.mark.parametrize("name", ["planted-hospital", "planted-child"])
def test_planted_outsiders_are_other_patients_without_the_coincidence(tmp_path, name):
    images = Images(small(), "fast", None, tmp_path, Options())
    inside, outside = images.training(name), images.test(f"{name}, outside")
    assert set(inside.frame["split"]) == set(Split)
    assert not set(inside.groups) & set(outside.groups)
    assert not set(inside.frame["image"]) & set(outside.frame["image"])
    if name == "planted-hospital":
        first = inside.frame["source"] == "hospital-inside-hospital-1"
        covid = inside.frame["label"] == "COVID-19"
        assert first[covid].mean() - first[~covid].mean() > 0.6


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("HURDLES_DATA"), reason="HURDLES_DATA names no folder")
def test_real_outsiders_are_even_and_unknown(tmp_path):
    images = Images(GRID, "fast", None, tmp_path, Options())
    if lacking := images.lacking(GRID.image_set("pneumonia").needs):
        pytest.skip(f"not here: {', '.join(lacking)}")
    inside, outside = images.training("pneumonia"), images.test("pneumonia, outside")
    assert outside.frame.groupby(["source", "label"]).size().nunique() == 1
    seen = inside.frame["split"] != Split.TEST
    assert not set(inside.groups[seen]) & set(outside.groups)
    train = inside.part(Split.TRAIN).frame
    share = (train["source"] == "kermany")[train["label"] == "Pneumonia"].mean()
    assert share == pytest.approx(0.9, abs=0.01)


def test_every_remedy_is_tried_on_every_trial_with_every_seed():
    for profile in ("fast", "full"):
        cells = find_study("remedies").cells(profile)
        assert len(cells) == len({c.name for c in cells}) == len(TRIALS) * 9 * 3
        assert {c.row for c in cells} == {NONE, *REMEDIES}
        assert len({c.folder for c in cells}) == len(cells)


@pytest.mark.full
def test_it_is_carried_out_and_gone_on_with(tmp_path):
    study = Study(small(settings={"preparation": {"size": 48}, "training": {"epochs": 1}}))
    asked = {"fast": True, "patterns": ["planted-hospital/[ncr]*/0"]}
    options = Options(cache=tmp_path / "cache")
    plan = study.plan(None, tmp_path / "out", **asked)
    assert plan["cell"].str.split("/").str[1].tolist() == [NONE, "class-by-source", "reject"]
    assert not (tmp_path / "out").exists()
    done = study.carry_out(None, tmp_path / "out", options=options, **asked)
    assert not done.failed
    table = done.cells.set_index(["trial", "remedy", "seed"])
    assert table.loc[("planted-hospital", "reject", 0), "status"] == "done"
    assert table.loc[("planted-hospital", "group-dro", 0), "status"] == "pending"
    before = done.page.read_text()
    again = study.carry_out(None, tmp_path / "out", options=options, **asked)
    assert again.page.read_text() == before
    assert study.plan(None, tmp_path / "out", **asked)["status"].tolist() == ["done"] * 3


def test_a_missing_collection_is_named_and_stops_nobody(monkeypatch, tmp_path):
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    study = Study(small())
    asked = {"fast": True, "patterns": ["pneumonia/none/0"]}
    done = study.carry_out(None, tmp_path, options=Options(cache=tmp_path / "cache"), **asked)
    assert not done.failed
    cells = done.cells.set_index(["trial", "remedy", "seed"])
    lacking = "not here: kermany, darkcovidnet"
    assert cells.loc[("pneumonia", NONE, 0), "status"] == lacking
    assert f"wait for what is {lacking}" in done.page.read_text()
    assert study.plan(None, tmp_path, **asked)["status"].tolist() == [lacking]
    with pytest.raises(RunError, match="no cell of remedies matches"):
        study.plan(None, tmp_path, patterns=["nothing"], fast=True)
