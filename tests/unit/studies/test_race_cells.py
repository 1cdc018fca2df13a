"""The cells of the race, its sets and what is here of them, without training anything."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links
from hurdles.errors import CollectionError, ManifestError, RunError
from hurdles.progress import Options
from hurdles.studies import study
from hurdles.studies.found import found_collections
from hurdles.studies.race import RaceCell
from hurdles.studies.stock import Stock
from hurdles.studies.study import chosen
from hurdles.studies.tartaglione_2020 import NAME
from hurdles.studies.tartaglione_2020_sets import COVID, DESIGN, OTHER

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


@pytest.fixture
def stock(found, tmp_path, monkeypatch) -> Stock:
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    return Stock.of(DESIGN, found, limits={}, folder=tmp_path, options=Options())


@pytest.fixture(params=["full", "fast"], scope="module")
def cells(request) -> list[RaceCell]:
    found = study(NAME)
    return found.cells(found.profiles[request.param])


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

    def test_every_set_of_the_design_is_run(self, cells):
        trained = {c.training for c in cells}
        assert trained == set(DESIGN.training)

    def test_only_the_careless_way_parts_by_image(self, cells):
        for cell in cells:
            assert cell.needs_patients == (cell.way != "as coded")
            assert cell.asked == (cell.way == "done right")

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
        found = study(NAME)
        full, fast = ({c.folder for c in found.cells(p)} for p in found.profiles.values())
        assert not full & fast

    def test_patterns(self, cells):
        assert len(chosen(cells, ["pre-training/*"], study=NAME)) == 6
        with pytest.raises(RunError, match="no cell of tartaglione-2020 matches nonsense"):
            chosen(cells, ["nonsense"], study=NAME)


class TestStock:
    def test_no_patient_stands_in_two_parts_across_all_sets(self, stock):
        parts: dict[str, set[str]] = {}
        for name, image_set in {**DESIGN.training, **DESIGN.tests}.items():
            if DESIGN.lacking(image_set.needs, stock.here):
                continue
            made = DESIGN.made(image_set, stock.here)
            for group, part in zip(made.groups, made.frame["split"], strict=True):
                parts.setdefault(group, set()).add(part)
            assert len(made), name
        assert parts
        assert {len(p) for p in parts.values()} == {1}

    def test_two_classes_everywhere_but_in_pre_training(self, stock):
        for name in DESIGN.training:
            if not name.startswith("from ") and "rsna" not in name:
                assert stock.training(name, links=Links.none()).labels == [COVID, OTHER], name
        assert len(stock.training("from kermany", links=Links.none()).labels) == 3

    def test_missing_negatives_are_of_the_other_collection(self, stock):
        made = stock.training("radiography COVID-19+nih", links=Links.none())
        by_source = made.frame.groupby("source")["label"].unique()
        assert by_source["radiography-database"].tolist() == [COVID]
        assert by_source["darkcovidnet"].tolist() == [OTHER]

    def test_covid_images_that_a_copy_brings_along_are_no_nih_images(self, stock):
        assert COVID not in stock.here["nih"].labels

    def test_findings_stand_in_the_column_of_covid_and_the_set_says_so(self, stock):
        test = stock.test("kermany RX+/RX-")
        was = stock.here["kermany"].frame.set_index("image")["label"].loc[test.frame["image"]]
        assert ((was == "Normal").to_numpy() == (test.frame["label"] == OTHER).to_numpy()).all()
        assert not DESIGN.tests["kermany RX+/RX-"].of_covid
        assert set(stock.test("corda RX+").frame["finding"]) == {"RX+"}

    def test_every_tested_image_is_asked_about_once(self, stock):
        tested = {image for m in stock.tests.values() for image in m.frame["image"]}
        asked = [image for m in stock.asked.values() for image in m.frame["image"]]
        assert len(asked) == len(set(asked))
        assert tested <= set(asked)
        assert len(stock.asked["cohen"]) == len(stock.here["cohen"])  # Cohen (all)

    def test_limits_are_kept(self, found, tmp_path):
        few = DESIGN.taken(found, {"kermany": 12})
        assert max(few["kermany"].counts.values()) <= 12
        assert len(few["cohen"]) == len(found["cohen"])

    def test_children_are_known_by_kermanys_names(self, found):
        database, kermany = found["radiography-database"].frame, found["kermany"].frame
        kermany = Manifest(kermany.assign(patient=[f"{p}_virus" for p in kermany["patient"]]))
        names = database["patient"] + "_virus_1.jpeg"
        database = Manifest(database.assign(original=names))
        here = DESIGN.taken({"kermany": kermany, "radiography-database": database}, {})
        links = Links.between(DESIGN.same_patients(here))
        assert len(links) == 60
        group = here["radiography"].groups.iloc[0]
        assert len(links.touching({group})) == 2

    def test_a_collection_that_is_not_here(self, stock):
        with pytest.raises(CollectionError, match=r"not here: rsna\. Give --data rsna=PATH"):
            stock.training("corda+rsna", links=Links.none())


class TestPlan:
    def test_what_is_not_here_waits_and_has_not_failed(self, found, tmp_path, monkeypatch):
        monkeypatch.delenv("HURDLES_DATA", raising=False)
        here = {name: m for name, m in found.items() if name != "corda"}
        plan = study(NAME).plan(here, tmp_path, fast=True, patterns=["*/corda*", "*/cohen, raw*"])
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

    def test_nothing_is_here(self, tmp_path, monkeypatch):
        monkeypatch.delenv("HURDLES_DATA", raising=False)
        with pytest.raises(CollectionError, match="finds none of its collections"):
            study(NAME).plan(None, tmp_path, fast=True, patterns=())


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
            here, missing = found_collections(given, ["corda", "cohen"])
            assert here["corda"].counts == {"COVID-19": 12, "Not COVID-19": 12}
            assert "where is cohen" in missing["cohen"]
        stock = Stock.of(DESIGN, f"corda={root}", limits={}, folder=tmp_path, options=Options())
        assert set(stock.tests) == {"corda", "corda RX+", "corda RX-"}
        even = stock.training("corda", links=Links.none()).part("train")
        assert len(set(even.counts.values())) == 1

    def test_under_hurdles_data(self, tmp_path, monkeypatch):
        corda(tmp_path / "CORDA")
        monkeypatch.setenv("HURDLES_DATA", os.fspath(tmp_path))
        here, missing = found_collections(None, ["corda", "rsna"])
        assert list(here) == ["corda"]
        assert list(missing) == ["rsna"]

    def test_a_collection_that_was_named_must_be_there(self, tmp_path):
        with pytest.raises(CollectionError, match="corda"):
            found_collections(f"corda={tmp_path}", ["corda"])

    def test_what_the_study_cannot_use(self, found, tmp_path):
        with pytest.raises(ManifestError, match="no use for 'kermany'; its collections are cohen"):
            found_collections(found, ["cohen", "radiography-database", "darkcovidnet", "corda"])
        with pytest.raises(ManifestError, match="must know which is which"):
            found_collections(found["cohen"], ["cohen"])
        with pytest.raises(ManifestError, match="no collection that hurdles knows"):
            found_collections(str(tmp_path), ["cohen"])


@pytest.mark.realdata
@pytest.mark.skipif(not os.environ.get("HURDLES_DATA"), reason="HURDLES_DATA names no folder")
def test_real_collections_keep_patients_apart(tmp_path):
    found = study(NAME)
    stock = Stock.of(
        DESIGN, None, limits=found.profiles["fast"].limits, folder=tmp_path, options=Options()
    )
    parts: dict[str, set[str]] = {}
    for manifest in stock.here.values():
        for group, part in zip(manifest.groups, manifest.frame["split"], strict=True):
            parts.setdefault(group, set()).add(part)
    assert {len(p) for p in parts.values()} == {1}
    assert sum(map(len, stock.here.values())) <= 5000
