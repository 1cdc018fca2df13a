"""A run's folder: whole, or visibly not."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import RunError
from hurdles.models import ModelSpec, build
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe
from hurdles.reporting.page import Sheet, SheetItem
from hurdles.runs.presentation import load_sheets, save_sheets
from hurdles.runs.run import Run
from hurdles.training.history import COLUMNS, History
from hurdles.training.loop import Trained

RECIPE = Recipe(name="x", preparation={"size": 16})


def begun(path, recipe: Recipe = RECIPE) -> Run:
    run = Run(path)
    run.begin(recipe, resume=False)
    rows = {"image": ["a"], "path": [str(path / "a.png")], "label": ["n"]}
    Manifest(pd.DataFrame(rows)).save(path / "manifest.csv")
    return run


def trained() -> Trained:
    spec = ModelSpec("baseline", ("a", "b"), 16)
    best, last = (build(spec, seed=s).state_dict() for s in (1, 2))
    rows = [
        {**dict.fromkeys(COLUMNS, 0.0), "epoch": n, "validation_accuracy": a}
        for n, a in ((1, 0.5), (2, 0.9), (3, 0.7))
    ]
    return Trained(best, last, History.from_rows(rows), spec)


class TestStates:
    def test_absent(self, tmp_path):
        run = Run(tmp_path / "none")
        assert not run.exists
        assert not run.is_finished
        with pytest.raises(RunError, match="none is not a folder"):
            run.require_finished()

    def test_nothing_is_read_or_made_by_constructing(self, tmp_path):
        Run(tmp_path / "none")
        assert not (tmp_path / "none").exists()

    def test_empty(self, tmp_path):
        with pytest.raises(RunError, match="holds no run"):
            Run(tmp_path).require_finished()
        Run(tmp_path).begin(RECIPE, resume=False)
        assert Run(tmp_path).exists

    @pytest.mark.parametrize("resume", [False, True])
    def test_foreign_files_are_not_touched(self, tmp_path, resume):
        (tmp_path / "thesis.docx").write_text("three years")
        with pytest.raises(RunError, match="not empty and holds no run"):
            Run(tmp_path).begin(RECIPE, resume=resume)
        assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]

    def test_what_a_process_leaves_that_is_killed_at_once_is_no_other_content(self, tmp_path):
        (tmp_path / ".lock").touch()
        (tmp_path / ".recipe.toml.00c0ffee-1-00c0ffee.part").touch()
        Run(tmp_path).begin(RECIPE, resume=False)
        assert Run(tmp_path).recipe == RECIPE

    def test_unfinished(self, tmp_path):
        run = begun(tmp_path / "r")
        with pytest.raises(RunError, match=r"r is not finished.*hurdles run .* --resume"):
            run.require_finished()
        with pytest.raises(RunError, match=r"holds a run already.*--resume"):
            run.begin(RECIPE, resume=False)
        Run(run.path).begin(RECIPE, resume=True)

    def test_finished(self, tmp_path):
        run = begun(tmp_path)
        run.write_json("meta.json", {"seconds": 1})
        assert Run(tmp_path).require_finished().meta == {"seconds": 1}

    def test_what_failed_before_its_images_were_parted_is_begun_anew(self, tmp_path):
        """The split was refused, say; the reader mends the recipe and runs the same command."""
        Run(tmp_path).begin(RECIPE, resume=False)
        mended = RECIPE.changed(split={"missing_patients": "one-each"})
        Run(tmp_path).begin(mended, resume=False)
        assert Run(tmp_path).recipe == mended

    def test_another_recipe_is_told_apart_field_by_field(self, tmp_path):
        begun(tmp_path)
        other = RECIPE.changed(training={"seed": 4, "epochs": 7}, name="y")
        with pytest.raises(
            RunError,
            match=r"another recipe: training\.epochs is 30 there and 7 now; "
            r"training\.seed is 0 there and 4 now\. Resume",
        ):
            Run(tmp_path).begin(other, resume=True)
        assert Run(tmp_path).recipe == RECIPE

    def test_another_name_is_the_same_recipe(self, tmp_path):
        begun(tmp_path)
        Run(tmp_path).begin(RECIPE.changed(name="y", description="z"), resume=True)


class TestNames:
    @pytest.mark.parametrize("name", ["our-ward", "ward3", "mündung", "a"])
    def test_good(self, tmp_path, name):
        Run(tmp_path).require_free(name)

    @pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "test.best", "-a", "a--b", "a_b"])
    def test_no_file_could_be_called_so(self, tmp_path, name):
        with pytest.raises(RunError, match="cannot name a set"):
            Run(tmp_path).require_free(name)

    @pytest.mark.parametrize("name", ["train", "validation", "test"])
    def test_taken(self, tmp_path, name):
        with pytest.raises(RunError, match=f"'{name}' is what .* calls a part of its own"):
            Run(tmp_path).require_free(name)


class TestWeights:
    def test_the_recipe_chooses(self, tmp_path):
        import torch

        made = trained()
        for choose, weights, epoch in (("best", made.best, 2), ("last", made.last, 3)):
            recipe = RECIPE.changed(training={"choose": choose})
            run = begun(tmp_path / choose, recipe)
            run.write_trained(made, recipe)
            network = run.network()
            assert not network.training
            assert run.chosen_epoch() == epoch
            assert run.labels == ("a", "b")
            assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
            assert run.chosen_epoch(ChosenEpoch.LAST) == 3
            assert run.history.best_epoch == 2

    def test_damaged(self, tmp_path):
        run = begun(tmp_path)
        run.write_trained(trained(), RECIPE)
        path = tmp_path / "weights" / "best.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(RunError, match=r"best\.safetensors is damaged"):
            run.network()

    def test_missing(self, tmp_path):
        with pytest.raises(RunError, match=r"best\.safetensors is missing"):
            begun(tmp_path).network()


class TestFiles:
    @pytest.mark.parametrize("content", ["", "{", '{"a": 1'])
    def test_damaged_json(self, tmp_path, content):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(RunError, match=r"evaluation\.json is damaged"):
            Run(tmp_path).evaluation()

    def test_missing_json(self, tmp_path):
        with pytest.raises(RunError, match=r"evaluation\.json is missing"):
            Run(tmp_path).evaluation()

    def test_json_keeps_letters(self, tmp_path):
        Run(tmp_path).write_json("x.json", {"ä": "Lázaro"})
        assert "Lázaro" in (tmp_path / "x.json").read_text(encoding="utf-8")
        assert json.loads((tmp_path / "x.json").read_text()) == {"ä": "Lázaro"}

    def test_predictions_that_are_not_there(self, tmp_path):
        (tmp_path / "predictions").mkdir()
        (tmp_path / "predictions" / "ward.csv").touch()
        with pytest.raises(RunError, match=r"no predictions on 'other'; there are: ward\..*eval"):
            Run(tmp_path).predictions("other")

    def test_sheets_come_back(self, tmp_path):
        rng = np.random.default_rng(0)
        heat = rng.random((8, 8)).astype(np.float32)
        items = [
            SheetItem("é 1.png", rng.integers(0, 255, (8, 8), dtype=np.uint8), h, "a", "b", 0.3, m)
            for h, m in ((heat, ""), (None, "empty map"))
        ]
        save_sheets(tmp_path / "h.npz", [Sheet("a: right", items, "2 of 2"), Sheet("b", [], "")])
        first, second = load_sheets(tmp_path / "h.npz")
        assert (first.title, first.note, second.title) == ("a: right", "2 of 2", "b")
        assert list(second.items) == []
        for found, item in zip(first.items, items, strict=True):
            np.testing.assert_array_equal(found.pixels, item.pixels)
            assert (found.image, found.true, found.predicted) == (item.image, "a", "b")
            assert (found.probability, found.message) == (0.3, item.message)
        np.testing.assert_allclose(first.items[0].heat, heat, atol=1e-3)
        assert first.items[1].heat is None

    @pytest.mark.parametrize("keep", [0, 10, 150])
    def test_damaged_sheets(self, tmp_path, keep):
        path = tmp_path / "h.npz"
        save_sheets(path, [])
        path.write_bytes(path.read_bytes()[:keep] + b"\0" * 5)
        with pytest.raises(RunError, match=r"h\.npz is damaged"):
            load_sheets(path)

    def test_missing_sheets(self, tmp_path):
        with pytest.raises(RunError, match=r"h\.npz is missing"):
            load_sheets(tmp_path / "h.npz")


class TestLock:
    def test_a_second_process_is_turned_away_and_a_dead_one_forgotten(self, tmp_path):
        code = textwrap.dedent(
            """
            import fcntl, sys, time
            handle = open(sys.argv[1] + "/.lock", "w")
            fcntl.flock(handle, fcntl.LOCK_EX)
            print("held", flush=True)
            time.sleep(60)
            """
        )
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with (
                pytest.raises(RunError, match="another process is filling"),
                Run(tmp_path).locked(),
            ):
                pass
        finally:
            other.kill()
            other.communicate()
        with Run(tmp_path).locked():
            pass

    def test_it_is_let_go_after_an_error(self, tmp_path):
        with pytest.raises(ZeroDivisionError, match="by zero"), Run(tmp_path).locked():
            1 / 0  # noqa: B018 - to fail
        with Run(tmp_path).locked():
            pass
