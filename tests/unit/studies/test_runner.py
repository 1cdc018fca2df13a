"""The cells and the page of a study of one collection, without training anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import RegistryError, RunError
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.runs.run import Run
from hurdles.studies import Cell, StudyResult, find_study, load_grid, runner

NAME = "lazaro-barco-2020"
VALUES = load_grid(NAME).values
PUBLISHED, WAYS = VALUES["published"], VALUES["ways"]
SEEDS = {"baseline": 3, "baseline, augmented": 3, "inception-like, augmented": 1}
CLASSES = ["COVID-19", "Normal", "Viral Pneumonia"]
RECORDED = ["hurdles", "python", "torch", "numpy", "opencv-python-headless", "processor"]
RECORDED += ["threads", "device", "precision"]
SHARES = {
    "baseline": (95.41, 78.78, 98.50, 95.04),
    "baseline, augmented": (95.64, 84.84, 97.01, 96.03),
    "inception-like, augmented": (95.41, 87.87, 97.01, 95.04),
}


@pytest.fixture(params=["full", "fast"])
def cells(request) -> list[Cell]:
    return find_study(NAME).cells(request.param)


def test_a_cell_costs_the_pixels_that_its_training_sees(cells):
    cell = replace(cells[0], recipe=cells[0].recipe.changed(training={"epochs": 4}))
    size = cell.recipe.preparation.size
    assert runner._cost(cell) == 4 * size**2
    growing = replace(cell, recipe=cell.recipe.changed(training={"sizes": [40, 64]}))
    assert runner._cost(growing) == 40**2 + 64**2 + 2 * size**2


class TestCells:
    def test_names_are_unique_and_every_row_is_there(self, cells):
        names = [c.name for c in cells]
        assert len(set(names)) == len(names)
        assert len(names) == len(WAYS) * sum(SEEDS.values())
        for way in WAYS:
            for row, seeds in SEEDS.items():
                assert {f"{way}/{row}/{s}" for s in range(seeds)} <= set(names)

    def test_ways_that_differ_only_in_the_epoch_share_a_run(self, cells):
        of = {c.name: c for c in cells}
        one, two = of["as coded/baseline/0"], of["as described/baseline/0"]
        assert one.folder == two.folder
        assert one.epoch != two.epoch
        assert of["done right/baseline/0"].folder != one.folder
        inception = "inception-like, augmented/0"
        assert of[f"as coded/{inception}"].folder != of[f"as described/{inception}"].folder

    def test_equal_folders_mean_equal_recipes(self, cells):
        folders: dict[str, str] = {}
        for cell in cells:
            assert folders.setdefault(cell.folder, cell.recipe.key) == cell.recipe.key

    def test_only_done_right_keeps_patients_together(self, cells):
        for cell in cells:
            assert (cell.recipe.split.scheme == "patient") == (cell.way == "done right")

    def test_profiles_do_not_share_runs(self):
        full, fast = ({c.folder for c in find_study(NAME).cells(p)} for p in ("full", "fast"))
        assert not full & fast

    def test_a_study_that_is_not(self):
        with pytest.raises(RegistryError, match=f"nosuch.*{NAME}"):
            find_study("nosuch")


class TestPublished:
    def test_counts_are_the_published_shares_truncated(self):
        assert list(PUBLISHED) == list(SHARES) == list(SEEDS)
        sizes = VALUES["sizes"]
        for row, shares in SHARES.items():
            right = PUBLISHED[row]
            for k, n, share in zip(right, sizes, shares, strict=True):
                assert 10_000 * k // n == round(100 * share)

    def test_totals_are_sums(self):
        for total, *classes in PUBLISHED.values():
            assert total == sum(classes)


def predictions(seed: int) -> Predictions:
    """Return fabricated answers on 33, 201 and 202 images."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(CLASSES, (33, 201, 202))
    prob = rng.dirichlet([1, 1, 1], len(truth)) + 0.5 * (truth[:, None] == np.array(CLASSES))
    names = [f"i{n}" for n in range(len(truth))]
    return Predictions.from_arrays(
        CLASSES, y_true=truth.tolist(), y_prob=prob / prob.sum(1, keepdims=True),
        images=names, groups=names,
    )  # fmt: skip


@pytest.fixture
def carried_out(monkeypatch, tmp_path):
    """Return a function that carries the study out with fabricated runs, and what it computed."""
    calls: list[str] = []
    broken: set[str] = set()
    environment = dict.fromkeys(RECORDED, "x")

    def run_experiment(recipe, images, out, **_):
        run = Run(out)
        if run.is_finished:
            return run
        calls.append(out.name)
        number = len(calls)
        if recipe.model.architecture in broken:
            raise RunError("the training loss is nan")
        run.begin(recipe, resume=True)
        rows = {"image": list("abc"), "path": list("abc"), "label": list("xyz"),
                "split": ["train", "validation", "test"]}  # fmt: skip
        Manifest(pd.DataFrame(rows)).save(out / "manifest.csv")
        for more, name in enumerate(("test", "test.last")):
            predictions(number + more).save(out / "predictions" / f"{name}.csv")
        run.write_json("meta.json", {"seconds": 60.0, "environment": environment})
        return run

    class FakeHistory:
        def __len__(self) -> int:
            return 30

    monkeypatch.setattr(runner, "run_experiment", run_experiment)
    monkeypatch.setattr(runner, "test_predictions", lambda *_: None)
    monkeypatch.setattr(Run, "refuse_other_images", lambda *_: None)
    monkeypatch.setattr(Run, "chosen_epoch", lambda *_: 7)
    monkeypatch.setattr(Run, "history", FakeHistory())

    def carry_out(*patterns: str, fast: bool = True) -> StudyResult:
        given = Manifest.__new__(Manifest)
        return find_study(NAME).carry_out(given, tmp_path, fast=fast, patterns=patterns)

    return carry_out, calls, broken


class TestCarryingOut:
    def test_finished_cells_are_not_computed_again(self, carried_out):
        carry_out, calls, _ = carried_out
        first = carry_out("as */baseline/0")
        assert len(calls) == 1  # both ways share it
        second = carry_out("as */baseline/0")
        assert len(calls) == 1
        assert first.cells.equals(second.cells)
        assert (first.cells["status"] == "done").sum() == 2

    def test_a_failed_cell_is_listed_and_the_rest_goes_on(self, carried_out):
        carry_out, _, broken = carried_out
        broken.add("inception-as-coded")
        result = carry_out("*/inception*/0", "done right/baseline/0")
        assert list(result.failed.values()) == ["the training loss is nan"]
        status = result.cells.set_index(["way", "row", "seed"])["status"]
        assert status["as coded", "inception-like, augmented", 0] == "failed"
        assert status["as described", "inception-like, augmented", 0] == "done"
        assert status["done right", "baseline", 0] == "done"
        assert status["done right", "baseline", 1] == "pending"
        assert "the training loss is nan" in result.table.read_text()

    def test_no_cell_matches(self, carried_out):
        with pytest.raises(RunError, match=r"matches nonsense.*done right/baseline/0"):
            carried_out[0]("nonsense")

    def test_the_page_shows_what_was_measured(self, carried_out):
        carry_out, _, _ = carried_out
        page = carry_out("done right/baseline/0").page.read_text(encoding="utf-8")
        expected = evaluate(predictions(1)).get("accuracy").percent()
        assert f"| baseline, seed 0 | {expected} |" in page
        assert "not done" in page
        assert "nan" not in page.lower()


class TestPage:
    @pytest.fixture
    def page(self, carried_out):
        """Return a function that gives the page after some cells of the full profile are done."""
        return lambda *p: carried_out[0](*p, fast=False).page.read_text(encoding="utf-8")

    @pytest.fixture
    def empty(self, carried_out, page):
        carried_out[2].update({"baseline", "inception-like", "inception-as-coded"})
        return page()

    def test_of_nothing(self, empty):
        assert empty.count("No cell is done.") == 3
        assert "95.4 % [" in empty
        assert "nan" not in empty.lower()

    def test_what_33_images_prove_follows_from_the_numbers(self, empty):
        assert "26 and 29 of 33" in empty
        assert "p-value between 0.25" in empty  # exact McNemar, 3 against 0: 2 * (1/2)**3

    def test_of_two_rows_compares_them(self, page):
        text = page("as described/*/0")
        assert "## Do the rows differ?" in text
        assert "McNemar" in text
        assert "What a seed is worth" not in text
        assert "nan" not in text.lower()

    def test_the_spread_over_seeds_is_from_the_lowest_to_the_highest(self, carried_out):
        result = carried_out[0]("done right/baseline/*", fast=False)
        totals = sorted(100 * result.cells["total"].dropna())
        assert len(totals) == 3
        assert totals[0] < totals[-1]
        text = result.page.read_text(encoding="utf-8")
        assert f"| done right | baseline | 3 | {totals[0]:.1f}-{totals[-1]:.1f} |" in text
        assert "is 9.1 points" in text  # 29 - 26 of 33
