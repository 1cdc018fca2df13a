"""The format of a study's file: what it makes, and what it refuses, where, with what to do."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from hurdles.errors import RecipeError, RegistryError
from hurdles.recipe.choices import ChosenEpoch
from hurdles.studies import Study, cells_of, find_study, load_grid, shipped_studies
from hurdles.studies.grid import grid_of

PLAIN: dict[str, Any] = {
    "name": "mine",
    "positive": "COVID-19",
    "split": {},
    "collections": {
        "ours": {"phantom": {"patients": 12}},
        "theirs": {"path": "theirs.csv"},
    },
    "sets": {"both": {"collections": ["ours", "theirs"], "says": "together"}},
    "profiles": {
        "full": {},
        "fast": {"settings": {"training": {"epochs": 2}}, "seeds": 1},
    },
    "options": {
        "recipe": {"small-data": {"epoch": "last"}},
        "train": {"theirs": {"settings": {"evaluation": {"positive": "Normal"}}}},
    },
    "cells": [
        {
            "train": ["ours", "both"],
            "recipe": "small-data",
            "preparation": {"name": ["raw", "equalized"]},
            "seed": [0, 1],
            "tests": ["ours", "theirs"],
        }
    ],
}


def changed(**parts: Any) -> dict[str, Any]:
    """Return the plain study with parts merged in; a list or a value takes the old one's place."""
    found = copy.deepcopy(PLAIN)
    for name, value in parts.items():
        merge = isinstance(value, dict) and isinstance(found.get(name), dict)
        found[name] = {**found[name], **value} if merge else value
    return found


def block(**fields: Any) -> dict[str, Any]:
    """Return the plain study with one block of cells, changed; None takes a field away."""
    cells = {**copy.deepcopy(PLAIN["cells"][0]), **fields}
    return changed(cells=[{k: v for k, v in cells.items() if v is not None}])


class TestCells:
    def test_the_first_axis_changes_slowest_and_names_say_what_varies(self):
        names = [cell.name for cell in cells_of(grid_of(PLAIN, "mine"), "full")]
        assert names[:3] == [
            "ours/small-data, raw/0",
            "ours/small-data, raw/1",
            "ours/small-data, equalized/0",
        ]
        assert len(names) == len(set(names)) == 8

    def test_settings_come_from_axes_options_profile_split_and_the_positive_class(self):
        cell = cells_of(grid_of(PLAIN, "mine"), "fast")[1]
        assert cell.name == "ours/small-data, equalized/0"
        assert cell.recipe.preparation.name == "equalized"
        assert cell.recipe.training.epochs == 2
        assert cell.recipe.split.scheme == "given"
        assert cell.recipe.evaluation.positive == "COVID-19"
        assert cell.epoch is ChosenEpoch.LAST
        theirs = cells_of(grid_of(block(train="theirs"), "mine"), "full")[0]
        assert theirs.recipe.evaluation.positive == "Normal"

    def test_a_profile_takes_fewer_seeds(self):
        assert {c.seed for c in cells_of(grid_of(PLAIN, "mine"), "fast")} == {0}

    def test_defaults_are_what_a_block_does_not_say(self):
        plain = changed(defaults={"seed": 7, "recipe": "demo", "way": "so"})
        plain["cells"] = [{**plain["cells"][0], "train": "ours"}]
        cells = cells_of(grid_of(plain, "mine"), "full")
        assert {c.way for c in cells} == {"so"}
        assert {c.seed for c in cells} == {0, 1}

    def test_a_remedy_is_added_and_a_start_comes_first(self):
        plain = block(remedy=["none", "lungs-only"], start="both", seed=0)
        plain["starts"] = {"both": {"train": "both", "recipe": "demo", "row": "both, {remedy}"}}
        cells = cells_of(grid_of(plain, "mine"), "full")
        assert cells[0].way == "pre-training"
        assert cells[1].parent == cells[0]
        assert cells[1].recipe.model.start == "run"
        prepared = {c.recipe.preparation.name for c in cells if c.parent}
        assert prepared == {"raw", "equalized", "masked", "equalized+masked"}

    def test_a_recipe_beside_the_file_is_used(self, tmp_path):
        (tmp_path / "own.toml").write_text('name = "own"\n')
        path = written(block(recipe="own.toml"), tmp_path)
        assert cells_of(load_grid(path), "full")[0].recipe.name == "own"

    @pytest.mark.parametrize(
        "other",
        [
            changed(collections={"ours": {"phantom": {"patients": 13}}}),
            changed(split={"seed": 1}),
            changed(copies=False),
            changed(profiles={"full": {"limits": {"ours": 3}}}),
            block(training={"epochs": [3]}),
        ],
    )
    def test_whatever_decides_a_number_parts_the_folders(self, other):
        one, two = (cells_of(grid_of(plain, "mine"), "full")[0] for plain in (PLAIN, other))
        assert one.folder != two.folder

    def test_words_and_places_do_not_part_the_folders(self):
        plain = changed(title="Other words", sets={"both": {**PLAIN["sets"]["both"], "says": "x"}})
        one, two = (cells_of(grid_of(p, "mine"), "full")[-1] for p in (PLAIN, plain))
        assert one.folder == two.folder


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (changed(colections={}), r"colections is no field; did you mean 'collections'\?"),
        (changed(split={"shares": [1]}), r"split\.shares is no field.* Known: fractions, seed"),
        (
            changed(collections={"ours": {"phantom": {"patient": 3}}}),
            r"collections\.ours\.phantom\.patient is no field; did you mean 'patients'\?",
        ),
        (changed(sets={"x": {"collections": "our"}}), r"sets\.x: no collection is called 'our'"),
        (changed(sets={"x": {}}), r"sets\.x: collections is missing"),
        (changed(collections={"x": {}}), r"collections\.x: give one of names, path and phantom"),
        (changed(collections={"x": {"names": "cohn"}}), r"no public collection is called 'cohn'"),
        (changed(collections={"x y": {"names": "cohen"}}), "use letters, digits and single hyphen"),
        (
            changed(collections={"x": {"phantom": {"patients": 9, "shortcut": "mark"}}}),
            "no shortcut is called 'mark'; did you mean 'marker'",
        ),
        (changed(profiles={"full": {"limits": {"x": 1}}}), r"profiles\.full\.limits: no collect"),
        (changed(options={"rows": {}}), r"options: no axis is called 'rows'; did you mean 'row'"),
        (changed(defaults={"recipes": "x"}), "defaults: no field of a block is called 'recipes'"),
        (changed(tables={"matrix": "matrx"}), r"tables\.matrix: no table is called 'matrx'"),
        (changed(figures=["matrx"]), "figures, matrx: no figure is called 'matrx'"),
        (changed(measures={"x": "acuracy"}), r"measures\.x: no measure is called 'acuracy'"),
        (changed(columns=["sed"]), "columns, sed: no column of cells is called 'sed'"),
        (changed(same_patients="x"), "same_patients: no rule of patients is called 'x'"),
        (changed(positive=""), "positive is missing; name the class"),
        (changed(cells=[]), "cells: Tuple should have at least 1 item"),
        (block(trian="ours"), r"block 1: 'trian' is neither an axis .* did you mean 'train'\?"),
        (block(training={"epoch": [1]}), "'training.epoch' is neither .* 'training.epochs'"),
        (block(train=None), "block 1: train is missing; name the sets to train on"),
        (block(train="our"), "block 1: no set is called 'our'; did you mean 'ours'"),
        (block(tests=["{trian}"]), r"'\{trian\}': no axis is called 'trian'"),
        (block(tests=["nowhere"]), "no set is called 'nowhere'"),
        (block(recipe=None), "block 1: recipe is missing"),
        (block(recipe="nosuch"), "'nosuch' is neither a file nor a shipped recipe"),
        (block(remedy="pray"), "no remedy is called 'pray'"),
        (block(start="x"), "no start is called 'x'"),
        (block(seed=-1), "seed -1 is no whole number from 0 on"),
        (block(row="same"), "two cells are called 'ours/same/0'. Name what they differ in"),
        (block(settings={"training": {"epochs": 0}}), "block 1: recipe .*training.epochs"),
        (block(settings={"trainin": {"epochs": 1}}), "trainin is no section"),
        (block(split={"scheme": "k-fold"}), "by the epoch that training.choose names, 'best'"),
        (
            block(recipe="demo", split={"scheme": "k-fold"}),
            r"raw/0 parts its images into folds, and \[split\] parts them once",
        ),
        (
            changed(
                split=None,
                cells=[{"train": "ours", "recipe": "demo", "split": {"scheme": "k-fold"}}],
                tables={"cells": "remedy-cells"},
            ),
            "the table 'remedy-cells' is of cells that are split once",
        ),
        (block(recipe="demo", split={"scheme": "k-fold"}, last=True), "Leave last and epoch out"),
        (
            changed(
                starts={"x": {"train": "both", "recipe": "demo", "shared": ["split"]}},
                cells=[
                    {
                        "train": "ours",
                        "recipe": "demo",
                        "start": "x",
                        "settings": {"split": {"scheme": "k-fold"}},
                    }
                ],
            ),
            "pre-training/x/0 is what others start from, and that is one network",
        ),
    ],
)
def test_what_is_not_right_is_refused_with_its_place(plain, message):
    with pytest.raises(RecipeError, match=f"study mine: .*{message}"):
        Study(grid_of(plain, "mine"))


def written(plain: dict[str, Any], folder: Path) -> Path:
    path = folder / "mine.toml"
    path.write_text(tomli_w.dumps(plain), encoding="utf-8")
    return path


class TestFiles:
    def test_paths_count_from_the_file(self, tmp_path):
        grid = load_grid(written(PLAIN, tmp_path))
        assert grid.path("theirs.csv") == tmp_path / "theirs.csv"
        assert grid.files == [tmp_path / "mine.toml"]

    def test_what_is_no_study(self, tmp_path):
        with pytest.raises(RecipeError, match=r"nosuch\.toml is not a file; give the study's TOML"):
            load_grid(tmp_path / "nosuch.toml")
        message = "no study is called 'remedy'; did you mean 'remedies'"
        with pytest.raises(RegistryError, match=message):
            load_grid("remedy")
        (tmp_path / "bad.toml").write_text("name = \n")
        with pytest.raises(RecipeError, match=r"bad\.toml is not valid TOML"):
            load_grid(tmp_path / "bad.toml")
        (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"\n')
        with pytest.raises(RecipeError, match="is not UTF-8 text"):
            load_grid(tmp_path / "latin.toml")

    def test_a_name_that_is_taken(self, tmp_path):
        with pytest.raises(RecipeError, match="'remedies' is a study that comes with hurdles"):
            load_grid(written({**PLAIN, "name": "remedies"}, tmp_path))

    def test_a_page_that_is_not_there(self, tmp_path):
        with pytest.raises(RecipeError, match=r"no template x\.md\.j2; give a file.*default"):
            find_study(written(changed(page="x.md.j2"), tmp_path))
        (tmp_path / "x.md.j2").write_text("{% if %}")
        with pytest.raises(RecipeError, match=r"the template x\.md\.j2 is not right"):
            find_study(written(changed(page="x.md.j2"), tmp_path))

    def test_a_profile_that_is_not_there(self):
        grid = grid_of(changed(profiles={"full": {}}), "mine").model_copy(update={"profiles": {}})
        with pytest.raises(RecipeError, match=r"no profile 'fast'.*Add \[profiles\.fast\]"):
            grid.profile("fast")

    def test_one_profile_is_taken(self):
        grid = load_grid("tartaglione-2020")
        assert (grid.profile_named(), grid.profile_named(fast=True)) == ("full", "fast")
        assert grid.profile_named("middle") == "middle"
        assert grid.profile_named("fast", fast=True) == "fast"
        with pytest.raises(RecipeError, match="--fast and --profile middle want two profiles"):
            grid.profile_named("middle", fast=True)
        with pytest.raises(RecipeError, match="no profile 'night'"):
            grid.profile_named("night")

    def test_the_middle_profile_is_the_published_network_for_a_night(self):
        study = find_study("tartaglione-2020")
        cells = {profile: study.cells(profile) for profile in ("full", "middle")}
        assert [c.name for c in cells["middle"]] == [c.name for c in cells["full"]]
        for cell, full in zip(cells["middle"], cells["full"], strict=True):
            recipe = cell.recipe
            assert (recipe.model.architecture, recipe.preparation.size) == ("resnet-18", 224)
            assert recipe.training.epochs == 15
            assert recipe.changed(training={
                "epochs": full.recipe.training.epochs, "schedule": full.recipe.training.schedule,
            }) == full.recipe  # fmt: skip

    @pytest.mark.parametrize("name", shipped_studies())
    def test_the_shipped_ones_are_read(self, name):
        grid = load_grid(name)
        assert grid.name == name
        assert grid.title
        middle = {"middle"} if name == "tartaglione-2020" else set()
        assert {"full", "fast"} | middle == set(grid.profiles)
        assert all(profile.explanation for profile in grid.profiles.values())
