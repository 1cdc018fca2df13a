"""The cells of a train-test matrix, its sets and what is here of them, without training."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links
from hurdles.errors import CollectionError, ManifestError, RecipeError, RunError
from hurdles.progress import Options
from hurdles.studies import Cell, find_study, load_grid
from hurdles.studies.images import SAME_PATIENTS, Images, collections_here
from hurdles.studies.runner import chosen

NAME, COVID, OTHER = "tartaglione-2020", "COVID-19", "other"

CLASSES = {
    "cohen": ("COVID-19", "COVID-19", "COVID-19", "Normal", "Other Pneumonia"),
    "radiography-database": ("COVID-19", "Normal", "Viral Pneumonia"),
    "kermany": ("Normal", "Viral Pneumonia", "Bacterial Pneumonia"),
    "darkcovidnet": ("No Finding", "Pneumonia", "COVID-19"),
    "corda": ("COVID-19", "COVID-19", "Not COVID-19"),
}


def collection(name: str, patients: int = 60) -> Manifest:
    """Return two images of each patient."""
    labels = CLASSES[name]
    rows = [
        {
            "image": f"{k}-{n}",
            "path": f"/{name}/{k}-{n}.png",
            "label": labels[k % len(labels)],
            "patient": f"person{k}",
            "source": name,
            "finding": "RX+" if k % 2 else "RX-",
            "original": None,
        }
        for k, n in itertools.product(range(patients), range(2))
    ]
    return Manifest(pd.DataFrame(rows))


@pytest.fixture(scope="module")
def found() -> dict[str, Manifest]:
    return {name: collection(name) for name in CLASSES}


def images_of(given, folder: Path, limits=None) -> Images:
    """Return the images of the study with other limits."""
    grid = load_grid(NAME)
    profile = grid.profiles["fast"].model_copy(update={"limits": limits or {}})
    grid = grid.model_copy(update={"profiles": {"fast": profile}})
    return Images(grid, "fast", given, folder, Options())


@pytest.fixture
def images(found, tmp_path, monkeypatch) -> Images:
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    return images_of(found, tmp_path)


@pytest.fixture(params=["full", "fast"], scope="module")
def cells(request) -> list[Cell]:
    return find_study(NAME).cells(request.param)


class TestCells:
    def test_names_and_folders_are_unique(self, cells):
        assert len({c.name for c in cells}) == len(cells)
        assert len({c.folder for c in cells}) == len(cells)

    def test_a_pre_training_stands_before_what_needs_it_and_is_shared(self, cells):
        names = [c.name for c in cells]
        needing = [c for c in cells if c.parent]
        assert all(names.index(c.parent.name) < names.index(c.name) for c in needing)
        folders = {c.folder: c for c in cells}
        assert all(c.parent.folder in folders for c in needing)
        assert len({c.parent.folder for c in needing}) < len(needing)

    def test_a_model_is_prepared_as_its_pre_training_was(self, cells):
        for cell in cells:
            if cell.parent:
                assert cell.recipe.preparation == cell.parent.recipe.preparation
                assert cell.recipe.model.architecture == cell.parent.recipe.model.architecture

    def test_every_set_is_trained_on_or_tested(self, cells):
        used = {c.train for c in cells} | {test for c in cells for test in c.tests}
        assert used == {*load_grid(NAME).sets, "kermany", "nih", "rsna"}

    def test_only_the_careless_way_parts_by_image(self, cells):
        for cell in cells:
            assert cell.needs_patients == (cell.way != "as coded")
            assert bool(cell.tests) == (cell.way == "done right")

    def test_the_folder_follows_from_recipe_images_and_start(self, cells):
        cell = next(c for c in cells if c.parent)
        changed = [
            replace(cell, images="other"),
            replace(cell, parent=replace(cell.parent, images="other")),
            replace(cell, parent=None),
            replace(cell, recipe=cell.recipe.changed(training={"epochs": 3})),
        ]
        assert len({c.folder for c in [cell, *changed]}) == 5
        # Weights become known only when a pre-training is done: they must not move the folder.
        assert cell.recipe.model.origin == ""

    def test_profiles_do_not_share_runs(self):
        full, fast = ({c.folder for c in find_study(NAME).cells(p)} for p in ("full", "fast"))
        assert not full & fast

    def test_patterns(self, cells):
        assert len(chosen(cells, ["pre-training/*"], study=NAME)) == 6
        with pytest.raises(RunError, match="no cell of tartaglione-2020 matches nonsense"):
            chosen(cells, ["nonsense"], study=NAME)


class TestImages:
    def test_no_patient_stands_in_two_parts_across_all_sets(self, images):
        parts: dict[str, set[str]] = {}
        for name, image_set in images.grid.sets.items():
            if images.lacking(image_set.needs):
                continue
            made = images.made(name)
            for group, part in zip(made.groups, made.frame["split"], strict=True):
                parts.setdefault(group, set()).add(part)
            assert len(made), name
        assert parts
        assert {len(p) for p in parts.values()} == {1}

    def test_two_classes_everywhere_but_in_pre_training(self, images):
        for name in images.grid.sets:
            if "rsna" not in name:
                assert images.training(name, links=Links.none()).labels == [COVID, OTHER], name
        assert len(images.training("kermany", links=Links.none()).labels) == 3

    def test_missing_negatives_are_of_the_other_collection(self, images):
        made = images.training("radiography COVID-19+nih", links=Links.none())
        by_source = made.frame.groupby("source")["label"].unique()
        assert by_source["radiography-database"].tolist() == [COVID]
        assert by_source["darkcovidnet"].tolist() == [OTHER]

    def test_covid_images_that_a_copy_brings_along_are_no_nih_images(self, images):
        assert COVID not in images.here["nih"].labels

    def test_findings_stand_in_the_column_of_covid_and_the_set_says_so(self, images):
        test = images.test("kermany RX+/RX-")
        was = images.here["kermany"].frame.set_index("image")["label"].loc[test.frame["image"]]
        assert ((was == "Normal").to_numpy() == (test.frame["label"] == OTHER).to_numpy()).all()
        assert images.grid.sets["kermany RX+/RX-"].holds == "RX+, none COVID-19"
        assert set(images.test("corda RX+").frame["finding"]) == {"RX+"}

    def test_every_tested_image_is_asked_about_once(self, images):
        names = next(c.tests for c in find_study(NAME).cells("fast") if c.tests)
        tested = {image for m in images.tests(names).values() for image in m.frame["image"]}
        asked = [image for m in images.tested(names).values() for image in m.frame["image"]]
        assert len(asked) == len(set(asked))
        assert tested <= set(asked)
        assert len(images.tested(names)["cohen"]) == len(images.here["cohen"])  # Cohen (all)

    def test_limits_are_kept(self, found, tmp_path):
        few = images_of(found, tmp_path, {"kermany": 12}).here
        assert max(few["kermany"].counts.values()) <= 12
        assert len(few["cohen"]) == len(found["cohen"])

    def test_children_are_known_by_kermanys_names(self, found, tmp_path):
        database, kermany = found["radiography-database"].frame, found["kermany"].frame
        kermany = Manifest(kermany.assign(patient=[f"{p}_virus" for p in kermany["patient"]]))
        names = database["patient"] + "_virus_1.jpeg"
        database = Manifest(database.assign(original=names))
        here = images_of({"kermany": kermany, "radiography-database": database}, tmp_path).here
        links = Links.between(SAME_PATIENTS.get("kermany-names")(here))
        assert len(links) == 60
        group = here["radiography"].groups.iloc[0]
        assert len(links.touching({group})) == 2

    def test_a_collection_that_is_not_here(self, images):
        with pytest.raises(CollectionError, match=r"not here: rsna\. Give --data rsna=PATH"):
            images.training("corda+rsna", links=Links.none())


class TestPlan:
    def test_what_is_not_here_waits_and_has_not_failed(self, found, tmp_path, monkeypatch):
        monkeypatch.delenv("HURDLES_DATA", raising=False)
        here = {name: m for name, m in found.items() if name != "corda"}
        plan = find_study(NAME).plan(
            here, tmp_path, fast=True, patterns=["*/corda*", "*/cohen, raw*"]
        )
        status = plan.set_index("cell")["status"]
        assert status["done right/cohen, raw, from kermany/0"] == "to do"
        assert status["done right/corda, equalized+masked, from kermany/0"] == "not here: corda"
        assert (
            status["done right/corda+rsna, equalized+masked, from kermany/0"]
            == "not here: corda, rsna"
        )
        row = plan.set_index("cell").loc["done right/cohen, raw, from kermany/0"]
        assert row["train"] > row["test"] > row["validation"] > 0
        assert not list(tmp_path.iterdir())

    def test_published_values_that_cannot_be_are_refused_before_the_work(self, found, tmp_path):
        (tmp_path / "published.csv").write_text("model\n", encoding="utf-8")
        with pytest.raises(RecipeError, match="lacks the columns test"):
            find_study(NAME).carry_out(found, tmp_path, fast=True)
        assert [path.name for path in tmp_path.iterdir()] == ["published.csv"]

    def test_nothing_is_here(self, tmp_path, monkeypatch):
        monkeypatch.delenv("HURDLES_DATA", raising=False)
        plan = find_study(NAME).plan(None, tmp_path, fast=True, patterns=())
        assert plan["status"].str.startswith("not here: ").all()
        with pytest.raises(CollectionError, match="finds none of its collections"):
            find_study(NAME).carry_out(None, tmp_path, fast=True)
        assert not list(tmp_path.iterdir())


def corda(root: Path) -> Path:
    """Write a small folder in CORDA's layout, without images worth reading."""
    rows = ["image_id,covid,rx"]
    for n in range(24):
        covid, rx = n % 2, n // 2 % 2
        folder = root / f"RX{'-+'[rx]}-COVID{'-+'[covid]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"x{n}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        rows.append(f"x{n},{covid},{rx}")
    (root / "CORDA_fix.csv").write_text("\n".join(rows) + "\n")
    return root


class TestFound:
    def test_corda_joins_by_name_or_by_its_layout(self, tmp_path, monkeypatch):
        monkeypatch.delenv("HURDLES_DATA", raising=False)
        root = corda(tmp_path / "somewhere")
        for given in (f"corda={root}", str(root), [root], {"corda": root}):
            here, missing = collections_here(given, {"corda": None, "cohen": None})
            assert here["corda"].counts == {"COVID-19": 12, "Not COVID-19": 12}
            assert "where is cohen" in missing["cohen"]
        images = images_of(f"corda={root}", tmp_path)
        assert set(images.tests(images.grid.sets)) == {"corda", "corda RX+", "corda RX-"}
        even = images.training("corda", links=Links.none()).part("train")
        assert len(set(even.counts.values())) == 1

    def test_under_hurdles_data(self, tmp_path, monkeypatch):
        corda(tmp_path / "CORDA")
        monkeypatch.setenv("HURDLES_DATA", os.fspath(tmp_path))
        here, missing = collections_here(None, dict.fromkeys(["corda", "rsna"]))
        assert list(here) == ["corda"]
        assert list(missing) == ["rsna"]

    def test_a_collection_that_was_named_must_be_there(self, tmp_path):
        with pytest.raises(CollectionError, match="corda"):
            collections_here(f"corda={tmp_path}", dict.fromkeys(["corda"]))

    def test_what_the_study_cannot_use(self, found, tmp_path):
        with pytest.raises(ManifestError, match="no use for 'kermany'; its collections are cohen"):
            collections_here(
                found, dict.fromkeys(["cohen", "radiography-database", "darkcovidnet", "corda"])
            )
        with pytest.raises(ManifestError, match="must know which is which"):
            collections_here(found["cohen"], ["cohen"])
        with pytest.raises(ManifestError, match="no collection that hurdles knows"):
            collections_here(str(tmp_path), dict.fromkeys(["cohen"]))


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("HURDLES_DATA"), reason="HURDLES_DATA names no folder")
def test_real_collections_keep_patients_apart(tmp_path):
    images = Images(load_grid(NAME), "fast", None, tmp_path, Options())
    parts: dict[str, set[str]] = {}
    for manifest in images.here.values():
        for group, part in zip(manifest.groups, manifest.frame["split"], strict=True):
            parts.setdefault(group, set()).add(part)
    assert {len(p) for p in parts.values()} == {1}
    assert sum(map(len, images.here.values())) <= 5000
