"""The study's cells and its page, without training anything."""

from __future__ import annotations

import numpy as np
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import RegistryError, RunError
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Options
from hurdles.runs.run import Run
from hurdles.studies import lazaro_barco_2020_page as published
from hurdles.studies import study, table
from hurdles.studies import study as find
from hurdles.studies.lazaro_barco_2020 import ROWS, WAYS
from hurdles.studies.study import Cell, Done

NAME = "lazaro-barco-2020"
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
    found = find(NAME)
    return found.cells(found.profiles[request.param])


class TestCells:
    def test_names_are_unique_and_every_row_is_there(self, cells):
        names = [c.name for c in cells]
        assert len(set(names)) == len(names)
        assert len(names) == len(WAYS) * sum(seeds for _, seeds in ROWS.values())
        for way in WAYS:
            for row, (_, seeds) in ROWS.items():
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
        found = find(NAME)
        full, fast = ({c.folder for c in found.cells(p)} for p in found.profiles.values())
        assert not full & fast

    def test_a_study_that_is_not(self):
        with pytest.raises(RegistryError, match=f"nosuch.*{NAME}"):
            find("nosuch")


class TestPublished:
    def test_counts_are_the_published_shares_truncated(self):
        assert list(published.PUBLISHED) == list(SHARES) == list(ROWS)
        sizes = (436, 33, 201, 202)
        for row, shares in SHARES.items():
            right = published.PUBLISHED[row]
            for k, n, share in zip(right, sizes, shares, strict=True):
                assert 10_000 * k // n == round(100 * share)

    def test_totals_are_sums(self):
        for total, *classes in published.PUBLISHED.values():
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
        if recipe.model.architecture in broken:
            raise RunError("the training loss is nan")
        run.begin(recipe, resume=True)
        for number, name in enumerate(("test", "test.last")):
            predictions(number).save(out / "predictions" / f"{name}.csv")
        run.write_json("meta.json", {"seconds": 60.0, "environment": environment})
        return run

    class FakeHistory:
        def __len__(self) -> int:
            return 30

    monkeypatch.setattr(table, "run_experiment", run_experiment)
    monkeypatch.setattr(table, "test_predictions", lambda *_: None)
    monkeypatch.setattr(Run, "chosen_epoch", lambda *_: 7)
    monkeypatch.setattr(Run, "history", FakeHistory())

    def carry_out(*patterns: str):
        return find(NAME).carry_out(
            Manifest.__new__(Manifest), tmp_path, fast=True, patterns=patterns,
            options=Options(), results=None,
        )  # fmt: skip

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
        expected = evaluate(predictions(0)).get("accuracy").percent()
        assert f"| baseline, seed 0 | {expected} |" in page
        assert "not done" in page
        assert "nan" not in page.lower()


class TestPage:
    def test_of_nothing(self):
        found = study(NAME)
        text = found.page([], found.profiles["full"])
        assert text.count("No cell is done.") == 3
        assert "95.4 % [" in text
        assert "nan" not in text.lower()

    def test_what_33_images_prove_follows_from_the_numbers(self):
        found = study(NAME)
        text = found.page([], found.profiles["full"])
        assert "26 and 29 of 33" in text
        assert "p-value between 0.25" in text  # exact McNemar, 3 against 0: 2 * (1/2)**3

    def test_of_two_rows_compares_them(self, done_cells):
        found = study(NAME)
        done = done_cells(lambda c: c.way == "as described" and c.seed == 0)
        text = found.page(done, found.profiles["full"])
        assert "## Do the rows differ?" in text
        assert "McNemar" in text
        assert "What a seed is worth" not in text
        assert "nan" not in text.lower()

    def test_the_spread_over_seeds_is_from_the_lowest_to_the_highest(self, done_cells):
        found = study(NAME)
        done = done_cells(lambda c: (c.way, c.row) == ("done right", "baseline"))
        assert len(done) == 3
        totals = sorted(100 * d.evaluation.get("accuracy").value for d in done)
        assert totals[0] < totals[-1]
        text = found.page(done, found.profiles["full"])
        row = f"| done right | baseline | 3 | {totals[0]:.1f}-{totals[-1]:.1f} |"
        assert row in text
        assert "is 9.1 points" in text  # 29 - 26 of 33


@pytest.fixture
def done_cells(tmp_path, monkeypatch):
    """Return a function that gives the chosen cells of the full profile, fabricated as done."""
    monkeypatch.setattr(Run, "chosen_epoch", lambda *_: 7)
    monkeypatch.setattr(Run, "history", [1, 2, 3])
    environment = dict.fromkeys(RECORDED, "x")
    monkeypatch.setattr(Run, "meta", {"seconds": 60.0, "environment": environment})

    def make(wanted) -> list[Done]:
        found = study(NAME)
        cells = [c for c in found.cells(found.profiles["full"]) if wanted(c)]
        answers = [predictions(n) for n in range(len(cells))]
        return [
            Done(c, Run(tmp_path / str(n)), p, evaluate(p))
            for n, (c, p) in enumerate(zip(cells, answers, strict=True))
        ]

    return make
