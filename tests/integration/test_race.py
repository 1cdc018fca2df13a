"""A race of tiny networks on synthetic collections, from the images to the page."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.phantom.cohort import write_phantom
from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run
from hurdles.studies.race import Race, RaceCell, RaceProfile
from hurdles.studies.tartaglione_2020 import cells
from hurdles.studies.tartaglione_2020_draw import draw
from hurdles.studies.tartaglione_2020_sets import DESIGN

TINY = {"preparation": {"size": 32}, "training": {"epochs": 1, "precision": "float32"}}
CLASSES = {
    "cohen": {"Normal": "Other Pneumonia", "Viral Pneumonia": "Other Pneumonia"},
    "radiography-database": {},
    "kermany": {"COVID-19": "Bacterial Pneumonia"},
    "darkcovidnet": {
        "COVID-19": "Pneumonia",
        "Viral Pneumonia": "Pneumonia",
        "Normal": "No Finding",
    },
}


def tiny(cell: RaceCell) -> RaceCell:
    """Return a cell of the same name that trains in a second."""
    plain = Recipe(name=cell.recipe.name).model_dump(mode="json")
    recipe = Recipe.model_validate(plain).changed(
        preparation={**TINY["preparation"], "name": cell.recipe.preparation.name},
        training={**TINY["training"], "seed": cell.seed},
        split=cell.recipe.split.model_dump(mode="json"),
        evaluation={"resamples": 100, "threshold": "argmax", "positive": "COVID-19"},
        model={"start": cell.recipe.model.start},
    )
    recipe = recipe if cell.asked or cell.last else recipe.changed(evaluation={"positive": ""})
    parent = None if cell.parent is None else tiny(cell.parent)
    return replace(cell, recipe=recipe, parent=parent)


def tiny_cells(profile: RaceProfile) -> list[RaceCell]:
    there = ("equalized+masked", "background")
    return [tiny(c) for c in cells(profile) if not any(f", {p}" in c.row for p in there)]


@pytest.fixture(scope="module")
def collections(folder) -> dict[str, Manifest]:
    """Return four collections; two of them share images, as public ones do."""
    found = {}
    for seed, (name, labels) in enumerate(CLASSES.items()):
        manifest = write_phantom(folder / "race" / name, 24, seed=seed + 5, size=96)
        frame = manifest.frame.assign(source=name, split=None)
        found[name] = Manifest(frame.assign(label=frame["label"].replace(labels)))
    database = found["radiography-database"].frame
    covid = database.index[database["label"] == "COVID-19"][:4]
    originals = found["cohen"].frame
    copied = originals[originals["label"] == "COVID-19"]["path"].iloc[:4]
    for row, original in zip(covid, copied, strict=True):
        path = Path(database.loc[row, "path"]).with_name(f"copy{row}{Path(original).suffix}")
        shutil.copy(original, path)
        database.loc[row, "path"] = str(path)
    found["radiography-database"] = Manifest(database.assign(patient=None, original=None))
    return found


@pytest.fixture(scope="module")
def race() -> Race:
    profile = RaceProfile("fast", {}, "tiny.", {})
    return Race("tartaglione-2020", DESIGN, {"fast": profile}, tiny_cells, draw)


@pytest.fixture(scope="module")
def carried_out(race, collections, folder, options):
    out = folder / "race-runs"
    result = race.carry_out(
        collections, out, fast=True, patterns=["*cohen, *", "*radiography, raw*"],
        options=options, results=folder / "race-results",
    )  # fmt: skip
    return result, out


@pytest.mark.full
class TestRace:
    def test_what_is_asked_for_is_done_and_nothing_fails(self, carried_out):
        result, _ = carried_out
        assert result.failed == {}
        status = result.cells.set_index(["way", "row", "seed"])["status"]
        assert status["done right", "cohen, raw, from kermany", 0] == "done"
        assert status["pre-training", "kermany, raw", 0] == "done"  # nobody asked for it by name
        assert status["pre-training", "kermany, equalized", 0] == "done"

    def test_everything_is_written(self, carried_out):
        result, _ = carried_out
        names = {p.name.removeprefix("tartaglione-2020.fast.") for p in result.files}
        assert {"matrix.csv", "gaps.csv", "paired.csv", "faults.csv", "left-out.csv"} <= names
        assert {"matrix.png", "matrix.svg", "probes.csv", "embedding.raw.png"} <= names
        assert all(p.stat().st_size for p in result.files)
        text = result.page.read_text(encoding="utf-8")
        assert " nan" not in text.lower()
        assert "Not here, so their cells wait: rsna, corda." in text

    def test_models_start_from_their_pre_training(self, carried_out):
        result, out = carried_out
        folders = result.cells.set_index(["way", "row", "seed"])["folder"]
        origin = {
            p: Run(out / folders["done right", f"cohen, {p}, from kermany", 0]).recipe.model.origin
            for p in ("raw", "equalized")
        }
        assert len(set(origin.values())) == 2
        assert all(origin.values())

    def test_no_linked_patient_is_tested(self, carried_out, race, collections, options):
        result, out = carried_out
        left_out = pd.read_csv(result.files[4])
        folders = result.cells.set_index(["way", "row", "seed"])["folder"]
        run = Run(out / folders["done right", "cohen, raw, from kermany", 0])
        seen = set(run.manifest.frame.loc[run.manifest.frame["split"] != Split.TEST, "image"])
        stock = race._stock(collections, race.profiles["fast"], out, options)
        twins = [
            (a, b) for a, b in zip(stock.twins["image_a"], stock.twins["image_b"], strict=True)
            if a.startswith("cohen/") and b.startswith("radiography-database/")
        ]  # fmt: skip
        assert len(twins) >= 4
        tested = set(stock.test("radiography").frame["image"])
        caught = {b for a, b in twins if a in seen} & tested
        rows = left_out[left_out["cell"] == "done right/cohen, raw, from kermany/0"]
        assert caught <= set(rows.loc[rows["test"] == "radiography", "image"])

    def test_finished_cells_are_not_computed_again_elsewhere(
        self, carried_out, race, collections, folder, options, monkeypatch
    ):
        result, out = carried_out
        moved = folder / "race-moved"
        shutil.copytree(out, moved)
        monkeypatch.setattr("hurdles.studies.race.run_experiment", None)
        again = race.carry_out(
            collections, moved, fast=True, patterns=["*cohen, raw*"], options=options, results=None
        )
        assert again.failed == {}
        assert again.cells["status"].tolist() == result.cells["status"].tolist()
        assert again.page.read_text("utf-8") == result.page.read_text("utf-8")

    def test_the_plan_tells_what_is_done(self, carried_out, race, collections):
        result, out = carried_out
        plan = race.plan(collections, out, fast=True, patterns=())
        assert plan["status"].tolist() == [
            "to do" if s == "pending" else s for s in result.cells["status"]
        ]
