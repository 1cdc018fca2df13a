"""The bench of coverage: its grid, its counts, and what the documentation says of them."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
BENCH = ROOT / "bench" / "coverage"
OWN = [path.stem for path in BENCH.glob("[a-z]*.py")]


@pytest.fixture
def bench(monkeypatch):
    """Return the grid, with the modules of the bench beside it and its patches taken back."""
    import hurdles.evaluation.comparisons as comparisons
    import hurdles.evaluation.forecast as forecast
    import hurdles.evaluation.macro as macro

    monkeypatch.syspath_prepend(str(BENCH))
    for module, name in ((comparisons, "align"), (forecast, "in_pairs"), (macro, "in_pairs")):
        monkeypatch.setattr(module, name, getattr(module, name))
    yield importlib.import_module("grid")
    for name in OWN:
        sys.modules.pop(name, None)


def draw_all(grid):
    for module in grid.MODULES:
        importlib.import_module(module)
    importlib.import_module("draws").in_one_order()


def test_every_cell_has_a_name_of_its_own_and_a_part_that_draws_it(bench):
    cells = bench.cells()
    assert len({cell.key for cell in cells}) == len(cells) > 400
    draw_all(bench)
    known = importlib.import_module("tally").PARTS
    assert {cell.run for cell in cells} == set(known)


@pytest.mark.full
def test_every_part_draws_and_counts(bench):
    draw_all(bench)
    for part, cell in {cell.part: cell for cell in bench.cells()}.items():
        line = bench.measured(cell, 2, 0)
        json.dumps(line)
        assert line["rows"], part
        for row in line["rows"]:
            assert row["sets"] >= 2 or not math.isnan(row["share"]), part
            assert not row["share"] > 1, part


def test_a_cell_gives_the_same_numbers_again_whatever_else_was_drawn(bench):
    draw_all(bench)
    cell = next(cell for cell in bench.cells() if cell.run == "auc")
    one, two = (bench.measured(cell, 20, 0) for _ in range(2))
    other = bench.measured(cell, 20, 1)
    assert one["rows"] == two["rows"]
    assert one["rows"][0]["width"] != other["rows"][0]["width"]


def test_an_interval_that_is_too_narrow_is_found(bench):
    """A planted fault: half of each interval of a proportion."""
    draw_all(bench)
    tally = importlib.import_module("tally")
    shares = importlib.import_module("shares")
    sound, narrow = tally.Tally(), tally.Tally()
    settings = {"patients": 130, "images": 3, "p": 0.8, "rho": 0.3}
    shares.proportion(sound, np.random.default_rng(0), 300, **settings)
    bounds = shares.proportion_bounds

    def halved(part, whole):
        low, high = bounds(part, whole)
        return low + (high - low) / 4, high - (high - low) / 4

    shares.proportion_bounds = halved
    try:
        shares.proportion(narrow, np.random.default_rng(0), 300, **settings)
    finally:
        shares.proportion_bounds = bounds
    found = [{row["quantity"]: row for row in each.rows()}["by image"] for each in (sound, narrow)]
    assert [tally.is_as_promised(row) for row in found] == [True, False]
    assert found[0]["share"] > 0.93 > found[1]["share"]


@pytest.mark.parametrize(
    ("kind", "hits", "promised"),
    [
        ("coverage", 1859, False), ("coverage", 1860, True), ("coverage", 1970, True),
        ("coverage", 1971, False), ("type I", 140, True), ("type I", 141, False),
        ("power", 1, True), ("at least 90 %", 1700, False),
    ],
)  # fmt: skip
def test_goals(bench, kind, hits, promised):
    tally = importlib.import_module("tally")
    row = tally.Count(kind, False, n=2000, hits=hits).row("x")
    assert tally.is_as_promised(row) is promised
    assert row["low"] < row["share"] < row["high"]


def test_sets_without_an_interval_are_counted_apart(bench):
    tally = importlib.import_module("tally").Tally()
    for low in (0.1, 0.3, math.nan):
        tally.held("x", low, low + 0.3, 0.2, "closed form")
    tally.judged("v", "inconclusive", "non-inferior", "power")
    one, two = tally.rows()
    assert (one["sets"], one["hits"], one["share"]) == (3, 1, 0.5)
    assert (one["undefined"], one["width"]) == (pytest.approx(1 / 3), pytest.approx(0.3))
    assert (two["inconclusive"], two["hits"]) == (1.0, 0)


def test_a_true_value_in_closed_form_is_that_of_many_images(bench):
    draws = importlib.import_module("draws")
    groups = draws.TwoGroups(
        20_000, 20_000, "1 or 20", spread=2.0, rho=0.5, looking_well=0.2, fading=0.6
    )
    codes, sick, score = groups.draw(np.random.default_rng(0), 3.0)
    number = np.bincount(codes)[codes]
    ranks = score.argsort().argsort()

    def area(weights):
        order = np.argsort(ranks)
        below = np.cumsum(weights[order] * ~sick[order])
        own = (weights * sick)[order]
        return (own @ below) / own.sum() / (weights * ~sick).sum()

    found = area(np.ones(len(codes))), area(1 / number)
    assert found == pytest.approx(groups.aucs(3.0), abs=0.01)


def test_the_journal_goes_on_and_the_page_names_what_missed(bench, tmp_path, monkeypatch):
    draw_all(bench)
    page = importlib.import_module("results_page")
    cells = [c for c in bench.cells() if c.run == "wilson"]
    lines = [bench.measured(cell, 2, 0) for cell in cells]
    page.write(lines, len(cells), tmp_path)
    table = pd.read_csv(tmp_path / "coverage.csv")
    assert len(table) == len(cells)
    text = (tmp_path / "coverage.md").read_text()
    tally = importlib.import_module("tally")
    missed = [row for line in lines for row in line["rows"] if not tally.is_as_promised(row)]
    assert f"{len(missed)} of {len(cells)} counts" in text
    assert 0 < len(missed) < len(cells)


def test_a_cell_of_fewer_sets_is_drawn_anew_and_one_of_more_is_kept(bench):
    spec = importlib.util.spec_from_file_location("bench_coverage", BENCH / "__main__.py")
    main = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main)
    cell = bench.cells()[0]

    def due(old, sets=500, seed=0, again=None):
        return main.is_due(cell, old, Namespace(sets=sets, seed=seed, again=again))

    done = {"sets": 500, "seed": 0}
    assert [due(None), due(done, sets=2000), due(done, seed=1), due(done, again=["one"])] == [1] * 4
    assert not any([due(done), due({"sets": 2000, "seed": 0}), due(done, again=["AUC"])])


def test_the_page_says_on_how_many_sets_each_cell_rests(bench, tmp_path):
    draw_all(bench)
    page = importlib.import_module("results_page")
    cells = [c for c in bench.cells() if c.run == "marks"][:3]
    lines = [bench.measured(cell, sets, 0) for cell, sets in zip(cells, (3, 2, 2), strict=True)]
    page.write(lines, len(cells), tmp_path)
    text = (tmp_path / "coverage.md").read_text()
    assert "Sets a cell: 1 cells of 3 sets; 2 cells of 2 sets." in text
    assert pd.read_csv(tmp_path / "coverage.csv")["sets"].unique().tolist() == [3, 2]


def test_statistics_states_every_cell_that_misses_its_goal(bench):
    table = pd.read_csv(ROOT / "docs" / "results" / "coverage.csv")
    page = importlib.import_module("results_page")
    text = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    for line in page.statement(table.to_dict("records")):
        assert line in text
