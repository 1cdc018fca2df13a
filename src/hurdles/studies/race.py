"""A race: many models, each trained on one set of images and asked about all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.sets import Links
from hurdles.data.split import SCHEMES
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import CollectionError, HurdlesError, RunError
from hurdles.progress import Options
from hurdles.recipe.choices import ChosenEpoch
from hurdles.runs.assessment import predict_on, test_predictions
from hurdles.runs.experiment import run_experiment
from hurdles.runs.run import Run
from hurdles.studies.design import Design
from hurdles.studies.found import Given
from hurdles.studies.stock import Stock
from hurdles.studies.study import Cell, Profile, StudyResult, chosen

#: How the predictions on a collection are called in a run's folder.
ASKED = "on-{}"


@dataclass(frozen=True)
class RaceCell(Cell):
    """One model of a race.

    Parameters
    ----------
    way, row, seed, recipe, epoch, images, parent
        As in `Cell`.
    training : str
        The set that it is trained on, one of the design's.
    asked : bool
        Whether it is asked about every test set, or only about its own test part.
    last : bool
        Whether its last epoch is tested too, on its own test part.
    """

    training: str = ""
    asked: bool = True
    last: bool = True

    @property
    def needs_patients(self) -> bool:
        """Whether its split promises to keep patients apart."""
        return SCHEMES.get(self.recipe.split.scheme).grouped


@dataclass(frozen=True)
class RaceProfile(Profile):
    """How much a race spends.

    Parameters
    ----------
    name, changes, explanation
        As in `Profile`.
    limits : mapping of str to int
        Most images of each class that are taken from a collection; others are taken whole.
    """

    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Standing:
    """What a race has brought so far.

    Parameters
    ----------
    name : str
        Of the race.
    profile : RaceProfile
        How much was spent.
    cells : tuple of RaceCell
        All of them, done or not.
    runs : mapping of str to Run
        The finished ones, by the cell's name.
    stock : Stock
        The images.
    cells_table : DataFrame
        One row per cell.
    """

    name: str
    profile: RaceProfile
    cells: tuple[RaceCell, ...]
    runs: Mapping[str, Run]
    stock: Stock
    cells_table: pd.DataFrame

    @property
    def done(self) -> list[RaceCell]:
        """The finished cells."""
        return [cell for cell in self.cells if cell.name in self.runs]


@dataclass(frozen=True)
class Race:
    """A study of several collections: a train x test matrix; a `Study`.

    Parameters
    ----------
    name : str
        As on the command line.
    design : Design
        Its image sets.
    profiles : mapping
        ``full`` and ``fast``.
    cells_of : callable
        Gives the cells of a profile, in the order in which they are computed.
    draw : callable
        ``draw(standing, folder) -> (page, files)``: writes tables, pictures and the page, from
        whatever is done.
    """

    name: str
    design: Design
    profiles: Mapping[str, RaceProfile]
    cells_of: Callable[[RaceProfile], list[RaceCell]]
    draw: Callable[[Standing, Path], tuple[Path, tuple[Path, ...]]]

    @property
    def collections(self) -> tuple[str, ...]:
        """Public collections that it looks for."""
        return self.design.public_names

    def cells(self, profile: Profile) -> list[RaceCell]:
        """Return the cells of a profile, in the order in which they are computed."""
        return self.cells_of(self.profiles[profile.name])

    def plan(self, data: Given, out: Path, *, fast: bool, patterns: Sequence[str]) -> pd.DataFrame:
        """Return what `carry_out` would do, without reading an image."""
        profile = self.profiles["fast" if fast else "full"]
        stock = self._stock(data, profile, out, Options())
        cells = self.cells(profile)
        wanted = [c for c in cells if c in chosen(cells, patterns, study=self.name)]
        return pd.DataFrame([self._planned(cell, stock, out) for cell in wanted])

    def carry_out(
        self,
        data: Given,
        out: Path,
        *,
        fast: bool,
        patterns: Sequence[str],
        options: Options,
        results: Path | None,
    ) -> StudyResult:
        """Compute the cells that are asked for and not done, and draw the matrix of all.

        A cell that fails is listed with its reason and does not stop the others; one whose
        collections are not here is listed so and has not failed. Tables, pictures and the page are
        drawn at the end, and also when the study is interrupted.
        """
        profile = self.profiles["fast" if fast else "full"]
        cells = self.cells(profile)
        wanted = chosen(cells, patterns, study=self.name)
        stock = self._stock(data, profile, out, options)
        failed: dict[str, str] = {}
        try:
            for number, cell in enumerate((c for c in cells if c in wanted), start=1):
                options.listener.say(f"[{number}/{len(wanted)}] {cell.name}")
                self._attempt(cell, stock, out, options, failed)
        finally:
            result = self._write(cells, stock, out, results or out, profile, failed)
        return result

    def _stock(self, data: Given, profile: RaceProfile, out: Path, options: Options) -> Stock:
        limits = profile.limits
        stock = Stock.of(self.design, data, limits=limits, folder=out, options=options)
        if not stock.here:
            raise CollectionError(
                f"{self.name} finds none of its collections: "
                f"{next(iter(stock.missing.values()))} Its collections: "
                f"{', '.join(self.collections)}."
            )
        return stock

    def _attempt(
        self, cell: RaceCell, stock: Stock, out: Path, options: Options, failed: dict[str, str]
    ) -> bool:
        """Carry a cell out, what it starts from first; return whether it is done."""
        if cell.name in failed or self._lacking(cell, stock):
            return False
        try:
            run = Run(out / cell.folder)
            if not run.is_finished:
                self._train(cell, stock, out, options, failed)
            if cell.asked:
                _ask(run, stock, options)
            if cell.last:
                test_predictions(run, ChosenEpoch.LAST, options)
        except HurdlesError as error:
            failed[cell.name] = str(error)
            options.listener.say(f"{cell.name} failed: {error}")
        return cell.name not in failed

    def _train(
        self, cell: RaceCell, stock: Stock, out: Path, options: Options, failed: dict[str, str]
    ) -> None:
        start: Run | None = None
        if isinstance(cell.parent, RaceCell):
            start = Run(out / cell.parent.folder)
            if not start.is_finished:
                options.listener.say(f"{cell.name} starts from {cell.parent.name}, which is first")
                if not self._attempt(cell.parent, stock, out, options, failed):
                    why = failed.get(cell.parent.name, "its images are not here")
                    raise RunError(f"{cell.parent.name}, which it starts from, failed: {why}")
        run_experiment(
            cell.recipe,
            _images(cell, stock),
            out / cell.folder,
            resume=True,
            encoder_from=start,
            options=options,
        )

    def _lacking(self, cell: RaceCell, stock: Stock) -> list[str]:
        """Return the collections that the cell, or what it starts from, needs and that lack."""
        lacking = self.design.lacking(self.design.training[cell.training].needs, stock.here)
        if isinstance(cell.parent, RaceCell):
            lacking = [*lacking, *self._lacking(cell.parent, stock)]
        return list(dict.fromkeys(lacking))

    def _status(self, cell: RaceCell, stock: Stock, out: Path) -> str:
        if Run(out / cell.folder).is_finished:
            return "done"
        lacking = self._lacking(cell, stock)
        return f"not here: {', '.join(lacking)}" if lacking else "to do"

    def _planned(self, cell: RaceCell, stock: Stock, out: Path) -> dict[str, Any]:
        row: dict[str, Any] = {"cell": cell.name, "status": self._status(cell, stock, out)}
        run = Run(out / cell.folder)
        if run.is_begun:
            counts = run.manifest.frame["split"].value_counts()
        elif row["status"].startswith("not here"):
            return {**row, "folder": cell.folder}
        else:
            links = None if stock.twins_known else stock.links_by_name
            counts = stock.training(cell.training, links=links).frame["split"].value_counts()
        row |= {str(part): int(counts.get(str(part), 0)) for part in Split}
        row["asked"] = sum(map(len, stock.asked.values())) if cell.asked else 0
        return {**row, "folder": cell.folder}

    def _write(
        self,
        cells: list[RaceCell],
        stock: Stock,
        out: Path,
        folder: Path,
        profile: RaceProfile,
        failed: dict[str, str],
    ) -> StudyResult:
        runs = {c.name: Run(out / c.folder) for c in cells}
        rows = []
        for cell in cells:
            status = "failed" if cell.name in failed else self._status(cell, stock, out)
            rows.append(_row(cell, runs[cell.name], status, failed.get(cell.name, ""), profile))
        table = pd.DataFrame(rows)
        path = folder / f"{self.name}.{profile.name}.csv"
        write_text(path, as_csv(table))
        done = {name: run for name, run in runs.items() if run.is_finished}
        standing = Standing(self.name, profile, tuple(cells), done, stock, table)
        page, files = self.draw(standing, folder)
        return StudyResult(table, page, path, failed, files)


def _images(cell: RaceCell, stock: Stock) -> Manifest:
    """Return what a cell is trained on; a careless one does not look for twins either."""
    return stock.training(cell.training, links=None if cell.needs_patients else Links.none())


def _ask(run: Run, stock: Stock, options: Options) -> None:
    for name, manifest in stock.asked.items():
        predict_on(run, manifest, name=ASKED.format(name), options=options)


def _row(
    cell: RaceCell, run: Run, status: str, message: str, profile: RaceProfile
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "way": cell.way,
        "row": cell.row,
        "seed": cell.seed,
        "profile": profile.name,
        "status": status,
        "message": message,
        "folder": cell.folder,
    }
    if not run.is_finished:
        return row
    counts = run.manifest.frame["split"].value_counts()
    row |= {str(part): int(counts.get(str(part), 0)) for part in Split}
    return row | {
        "epoch_tested": run.chosen_epoch(cell.epoch),
        "epochs_run": len(run.history),
        "seconds": run.meta["seconds"],
    }
