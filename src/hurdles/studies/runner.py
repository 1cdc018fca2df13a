"""The one runner of all studies: it plans cells, carries them out, and shows what is done."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links
from hurdles.data.untrusted import as_csv
from hurdles.errors import HurdlesError, RecipeError, RunError
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Options, TimeLeft
from hurdles.recipe.choices import ChosenEpoch
from hurdles.runs.assessment import predict_on, test_predictions
from hurdles.runs.experiment import run_experiment
from hurdles.runs.folds import carry_out
from hurdles.runs.run import Run
from hurdles.studies.cells import Cell, cells_of
from hurdles.studies.grid import Grid, load_grid, refuse_unknown
from hurdles.studies.images import MAKERS, SAME_PATIENTS, Given, Images
from hurdles.studies.pages import page_of, require_template
from hurdles.studies.state import (
    COLUMNS,
    ON_COLLECTION,
    State,
    answered,
    counts_of,
    predictions_of,
)
from hurdles.studies.tables import FIGURES, OF_ONE_SPLIT, TABLES
from hurdles.training.growth import size_of


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The finished part of a study.

    Parameters
    ----------
    cells : DataFrame
        One row per cell, done or not.
    page : Path
        The page, in Markdown.
    table : Path
        The cells, as CSV.
    failed : dict
        Cells that raised, with the message.
    files : tuple of Path
        Everything else that was written: further tables, pictures.
    """

    cells: pd.DataFrame
    page: Path
    table: Path
    failed: dict[str, str]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Study:
    """Many experiments under one name, as a file says.

    Parameters
    ----------
    grid : Grid
        What the file says.
    """

    grid: Grid

    def __post_init__(self) -> None:
        _require_known(self.grid)

    @property
    def name(self) -> str:
        """Name of the study, with which its files begin."""
        return self.grid.name

    def cells(self, profile: str) -> list[Cell]:
        """Return the cells of a profile, in the order in which they are computed."""
        return cells_of(self.grid, profile)

    def plan(
        self,
        data: Given,
        out: Path,
        *,
        fast: bool = False,
        profile: str = "",
        patterns: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return what `carry_out` would do, without reading an image.

        Images are counted where a run is begun, and where names and tables tell how a set is split.
        """
        profile = self.grid.profile_named(profile, fast=fast)
        images = Images(self.grid, profile, data, out, Options())
        wanted = chosen(self.cells(profile), patterns, study=self.name)
        return pd.DataFrame([_planned(cell, images, out) for cell in wanted])

    def carry_out(
        self,
        data: Given,
        out: Path,
        *,
        fast: bool = False,
        profile: str = "",
        patterns: Sequence[str] = (),
        options: Options | None = None,
        results: Path | None = None,
    ) -> StudyResult:
        """Compute the cells that are asked for and not done, and show all.

        A cell that fails is listed with its reason and does not stop the others; one whose
        collections are not here is listed so and has not failed. Tables and page are written after
        every cell, or, where figures belong to them, at the end and when the study is interrupted.
        """
        profile = self.grid.profile_named(profile, fast=fast)
        options = options or Options()
        cells = self.cells(profile)
        wanted = chosen(cells, patterns, study=self.name)
        images = Images(self.grid, profile, data, out, options)
        images.require_any()
        if "published" in self.grid.page_tables:  # what is wrong in it is said before the work
            nothing = State(self.grid, profile, tuple(cells), {}, {}, {}, images, out)
            TABLES.get("published")(nothing)
        work = _Work(self, profile, cells, images, out, results or out, {})
        costs = [0.0 if Run(out / cell.folder).is_finished else _cost(cell) for cell in wanted]
        left, spent = TimeLeft(sum(costs), time.monotonic()), 0.0
        try:
            for number, (cell, cost) in enumerate(zip(wanted, costs, strict=True), start=1):
                words = filter(None, [cell.name, left.words(time.monotonic())])
                options.listener.say(f"[{number}/{len(wanted)}] {', '.join(words)}")
                if not work.attempt(cell):
                    left.total -= cost
                elif cost:
                    spent += cost
                    left.mark(spent, time.monotonic())
                if not self.grid.figures and number < len(wanted):
                    work.write()
        finally:
            result = work.write()
        return result


def _cost(cell: Cell) -> float:
    """Return what a cell costs beside others of its study: pixels that its training sees."""
    training, size, split = cell.recipe.training, cell.recipe.preparation.size, cell.recipe.split
    networks = split.folds * split.repeats if cell.in_folds else 1
    pixels = sum(size_of(training, size, n + 1) ** 2 for n in range(training.epochs))
    return float(networks * pixels)


@dataclass(frozen=True, eq=False)
class _Work:
    """Cells that are being carried out, and what has failed so far."""

    study: Study
    profile: str
    cells: Sequence[Cell]
    images: Images
    out: Path
    results: Path
    failed: dict[str, str]

    def attempt(self, cell: Cell) -> bool:
        """Carry a cell out, what it starts from first; return whether it is done."""
        listener = self.images.options.listener
        if cell.name in self.failed or _lacking(cell, self.images):
            return False
        try:
            run = Run(self.out / cell.folder)
            if run.is_finished:
                run.refuse_other_images(self._images_of(cell))  # a table may have been edited
            else:
                self._train(cell)
            for name, manifest in self.images.tested(cell.tests).items():
                predict_on(
                    run, manifest, name=ON_COLLECTION.format(name), options=self.images.options
                )
            test_predictions(run, cell.epoch, self.images.options)
            if cell.last:
                test_predictions(run, ChosenEpoch.LAST, self.images.options)
        except HurdlesError as error:
            self.failed[cell.name] = str(error)
            listener.say(f"{cell.name} failed: {error}")
        return cell.name not in self.failed

    def _train(self, cell: Cell) -> None:
        start: Run | None = None
        if cell.parent is not None:
            start = Run(self.out / cell.parent.folder)
            if not start.is_finished:
                self.images.options.listener.say(
                    f"{cell.name} starts from {cell.parent.name}, which is first"
                )
                if not self.attempt(cell.parent):
                    why = self.failed.get(cell.parent.name, "its images are not here")
                    raise RunError(f"{cell.parent.name}, which it starts from, failed: {why}")
        # Where the recipe leaves it open, a cell is split once: cells are held against each other.
        train = carry_out if cell.in_folds else run_experiment
        train(
            cell.recipe,
            self._images_of(cell),
            self.out / cell.folder,
            resume=True,
            encoder_from=start,
            keep_seen=True,  # a study draws its images as it says, and shows what they share
            options=self.images.options,
        )

    def _images_of(self, cell: Cell) -> Manifest:
        """Return what a cell is trained on; a careless one does not look for copies either."""
        links = None if cell.needs_patients else Links.none()
        return self.images.training(cell.train, links=links)

    def write(self) -> StudyResult:
        """Write the tables, the figures and the page of whatever is done."""
        grid, stem = self.study.grid, f"{self.study.name}.{self.profile}"
        runs = self._read()
        status = {
            c.name: "failed" if c.name in self.failed else _status(c, self.images, self.out)
            for c in self.cells
        }
        status = {name: "pending" if s == "to do" else s for name, s in status.items()}
        cells = tuple(self.cells)
        state = State(grid, self.profile, cells, runs, status, self.failed, self.images, self.out)
        wanted = {**grid.tables, **{which: which for which in grid.page_tables}}
        made = {name: TABLES.get(which)(state) for name, which in wanted.items()}
        tables = {name: table for name, table in made.items() if table is not None}
        table = tables.get("cells", state.table)
        path = self.results / f"{stem}{'.cells' if 'cells' in tables else ''}.csv"
        write_text(path, as_csv(table))
        files = []
        for name in grid.tables:
            if name in tables and name != "cells":
                files.append(self.results / f"{stem}.{name}.csv")
                write_text(files[-1], as_csv(tables[name]))
        pictures: dict[str, Path] = {}
        for which in grid.figures:
            drawn = FIGURES.get(which)(state, tables, self.results / stem)
            tables |= drawn.tables
            pictures |= drawn.pictures
            files += drawn.files
        page = self.results / f"{stem}.md"
        write_text(page, page_of(state, tables, pictures))
        return StudyResult(table, page, path, dict(self.failed), tuple(files))

    def _read(self) -> dict[str, Run]:
        """Return the finished runs, by the cell's name; one that cannot be read has failed."""
        runs = {}
        for cell in self.cells:
            run = Run(self.out / cell.folder)
            if not run.is_finished:
                continue
            try:
                _require_readable(cell, run, self.images.tested(cell.tests))
                runs[cell.name] = run
            except HurdlesError as error:
                self.failed.setdefault(cell.name, str(error))
        return runs


def _require_readable(cell: Cell, run: Run, collections: Iterable[str]) -> None:
    """Raise a HurdlesError if a file that tables are made of is missing or damaged."""
    _ = run.recipe, run.meta, run.manifest
    if cell.in_folds:
        _ = run.evaluation(), [fold.history for fold in run.fold_runs()]
    else:
        _ = run.history, run.predictions()
    if (run.path / "predictions" / f"test.{cell.epoch}.csv").is_file():
        run.predictions(f"test.{cell.epoch}")
    if (predicted := predictions_of(run, collections)) is not None:
        answered(Predictions(predicted.reset_index(drop=True)), run, collections)


def _require_known(grid: Grid) -> None:
    """Raise a RecipeError if a study names a function, a measure or a page that is not there."""
    tables = {f"tables.{name}": table for name, table in grid.tables.items()}
    tables |= {f"page_tables, {table}": table for table in grid.page_tables}
    makers = {f"sets.{n}.maker": s.maker for n, s in grid.sets.items() if s.maker}
    rules = {"same_patients": grid.same_patients} if grid.same_patients else {}
    measures = {f"measures.{name}": which[0] for name, which in grid.measures.items()}
    known: list[tuple[dict[str, str], Iterable[str], str]] = [
        (tables, TABLES, "table"),
        ({f"figures, {name}": name for name in grid.figures}, FIGURES, "figure"),
        (makers, MAKERS, "maker of image sets"),
        (rules, SAME_PATIENTS, "rule of patients"),
        (measures, METRICS, "measure"),
        ({f"columns, {name}": name for name in grid.columns}, COLUMNS, "column of cells"),
    ]
    for named, there, kind in known:
        for where, name in named.items():
            refuse_unknown(name, there, kind, f"study {grid.name}: {where}")
    try:
        cells = [cell for profile in grid.profiles for cell in cells_of(grid, profile)]
    except HurdlesError as error:
        raise RecipeError(f"study {grid.name}: {error}") from error
    asked = OF_ONE_SPLIT & {*grid.tables.values(), *grid.page_tables}
    if asked and (folded := [cell.name for cell in cells if cell.in_folds]):
        raise RecipeError(
            f"study {grid.name}: the table {min(asked)!r} is of cells that are split once, and "
            f"{folded[0]} is in folds. Leave one of the two out."
        )
    if any(cell.tests for cell in cells) and not grid.positive:
        raise RecipeError(
            f"study {grid.name}: positive is missing; name the class whose area its tests measure."
        )
    require_template(grid.page, grid.folder)


def find_study(name_or_path: str | Path) -> Study:
    """Return a study: a shipped one by name, or the one that a TOML file describes."""
    return Study(load_grid(name_or_path))


def chosen(cells: Sequence[Cell], patterns: Sequence[str], *, study: str) -> list[Cell]:
    """Return the cells whose name matches one of the patterns; all, if there is no pattern."""
    wanted = [
        cell
        for cell in cells
        if not patterns or any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)
    ]
    if not wanted:
        names = "; ".join(cell.name for cell in cells)
        raise RunError(f"no cell of {study} matches {'; '.join(patterns)}. Its cells: {names}.")
    return wanted


def _lineage(cell: Cell) -> Iterator[Cell]:
    """Yield a cell and what it starts from."""
    yield cell
    if cell.parent is not None:
        yield from _lineage(cell.parent)


def _lacking(cell: Cell, images: Images) -> list[str]:
    """Return the collections that a cell, or what it starts from, needs and that lack."""
    sets = [images.grid.image_set(each.train) for each in _lineage(cell)]
    return list(dict.fromkeys(images.lacking(n for image_set in sets for n in image_set.needs)))


def _status(cell: Cell, images: Images, out: Path) -> str:
    if Run(out / cell.folder).is_finished:
        return "done"
    lacking = _lacking(cell, images)
    return f"not here: {', '.join(lacking)}" if lacking else "to do"


def _planned(cell: Cell, images: Images, out: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"cell": cell.name, "status": _status(cell, images, out)}
    run = Run(out / cell.folder)
    if run.is_begun:
        row |= counts_of(run.manifest)
    elif images.is_ready(cell.train):
        links = None if images.copies_known else images.links_by_name
        row |= counts_of(images.training(cell.train, links=links))
    ready = [n for n in cell.tests if images.is_ready(n)]
    if images.is_ready(cell.train) or run.is_begun:
        row["asked"] = sum(map(len, images.tested(ready).values())) if ready else 0
    return {**row, "folder": cell.folder}
