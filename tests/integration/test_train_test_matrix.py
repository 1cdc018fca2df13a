"""A train-test matrix of tiny networks on synthetic collections, from the images to the page."""

from __future__ import annotations

import shutil
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.phantom.cohort import write_phantom
from hurdles.runs.run import Run
from hurdles.studies import Study, runner
from hurdles.studies.grid import grid_of
from hurdles.studies.images import Images

NAME = "tartaglione-2020"
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


def tiny(folder: Path) -> dict[str, Any]:
    """Return the study's file with recipes that train in a second, without masked images."""
    shipped = resources.files("hurdles.studies") / "grids" / f"{NAME}.toml"
    plain = tomllib.loads(shipped.read_text(encoding="utf-8"))
    for name in ("pneumonia", "covid"):
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\npreparation.size = 32\nevaluation.resamples = 100\n'
            'training = { epochs = 1, precision = "float32" }\n'
        )
    plain["profiles"] = {"fast": {
        "explanation": "tiny.",
        "recipes": {n: {"recipe": str(folder / f"{n}.toml")} for n in ("pneumonia", "covid")},
    }}  # fmt: skip
    plain["cells"] = [
        {**plain["cells"][0], "preparation": {"name": ["raw", "equalized"]}},
        {"train": ["corda", "corda+rsna"], "preparation": {"name": "raw"}},
        {"train": "cohen", "preparation": {"name": "raw"}, "start": "rsna"},
    ]
    plain["defaults"]["settings"]["evaluation"]["threshold"] = "argmax"
    return plain


@pytest.fixture(scope="module")
def collections(folder) -> dict[str, Manifest]:
    """Return four collections; two of them share images, as public ones do."""
    found = {}
    for seed, (name, labels) in enumerate(CLASSES.items()):
        manifest = write_phantom(folder / "matrix" / name, 24, seed=seed + 5, size=96)
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
def study(folder) -> Study:
    return Study(grid_of(tiny(folder), "tiny"))


@pytest.fixture(scope="module")
def carried_out(study, collections, folder, options):
    out = folder / "matrix-runs"
    result = study.carry_out(
        collections, out, fast=True, patterns=["*cohen, *", "*radiography, raw*", "*/corda*"],
        options=options, results=folder / "matrix-results",
    )  # fmt: skip
    return result, out


@pytest.mark.full
class TestMatrix:
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

    def test_no_linked_patient_is_tested(self, carried_out, study, collections, options):
        result, out = carried_out
        left_out = pd.read_csv(result.files[4])
        folders = result.cells.set_index(["way", "row", "seed"])["folder"]
        run = Run(out / folders["done right", "cohen, raw, from kermany", 0])
        seen = set(run.manifest.frame.loc[run.manifest.frame["split"] != Split.TEST, "image"])
        images = Images(study.grid, "fast", collections, out, options)
        twins = [
            (a, b) for a, b in zip(images.copies["image_a"], images.copies["image_b"], strict=True)
            if a.startswith("cohen/") and b.startswith("radiography-database/")
        ]  # fmt: skip
        assert len(twins) >= 4
        tested = set(images.test("radiography").frame["image"])
        caught = {b for a, b in twins if a in seen} & tested
        rows = left_out[left_out["cell"] == "done right/cohen, raw, from kermany/0"]
        assert caught <= set(rows.loc[rows["test"] == "radiography", "image"])

    def test_finished_cells_are_not_computed_again_elsewhere(
        self, carried_out, study, collections, folder, options, monkeypatch
    ):
        result, out = carried_out
        moved = folder / "matrix-moved"
        shutil.copytree(out, moved)
        monkeypatch.setattr(runner, "run_experiment", None)
        again = study.carry_out(
            collections, moved, fast=True, patterns=["*cohen, raw*"], options=options, results=None
        )
        assert again.failed == {}
        assert again.cells["status"].tolist() == result.cells["status"].tolist()
        assert again.page.read_text("utf-8") == result.page.read_text("utf-8")

    def test_the_plan_tells_what_is_done(self, carried_out, study, collections):
        result, out = carried_out
        plan = study.plan(collections, out, fast=True, patterns=())
        assert plan["status"].tolist() == [
            "to do" if s == "pending" else s for s in result.cells["status"]
        ]
