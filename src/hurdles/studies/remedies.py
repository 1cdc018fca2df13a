"""What remedies gain outside and cost inside: every remedy on every trial, with every seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdlesError, RunError
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.recipe.remedies import REMEDIES, remedied
from hurdles.runs.assessment import predict_on
from hurdles.runs.experiment import run_experiment
from hurdles.runs.images import Data
from hurdles.runs.run import Run
from hurdles.studies.found import found_collections
from hurdles.studies.remedies_page import page
from hurdles.studies.remedies_sets import TRIALS, Images, Trial
from hurdles.studies.remedies_tables import NONE, OUTSIDE, Tried, cells_table, remedy_table
from hurdles.studies.study import STUDIES, Cell, Profile, StudyResult, chosen
from hurdles.training.machine import in_words

_PROFILES = {
    "full": Profile(
        "full",
        {},
        "224 x 224 pixels, at most 15 epochs, three seeds",
    ),
    "fast": Profile(
        "fast",
        {"preparation": {"size": 112}, "training": {"epochs": 10}},
        "112 x 112 pixels, at most 10 epochs, two seeds",
    ),
}
_SEEDS = {"full": 3, "fast": 2}


@dataclass(frozen=True)
class Remedies:
    """Every remedy on every trial; a `Study`.

    Parameters
    ----------
    name : str
        As on the command line.
    trials : tuple of Trial
        What remedies are tried on.
    """

    name: str
    trials: tuple[Trial, ...]

    @property
    def collections(self) -> tuple[str, ...]:
        """The public collections of the trials."""
        return tuple(sorted({name for trial in self.trials for name in trial.needs}))

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """``full`` and ``fast``."""
        return _PROFILES

    def cells(self, profile: Profile) -> list[Cell]:
        """Return the cells of a profile: trial, remedy and seed; seeds change slowest."""
        return [
            Cell(trial.name, remedy, seed, self._recipe(trial, remedy, seed, profile))
            for seed in range(_SEEDS[profile.name])
            for trial in self.trials
            for remedy in (NONE, *REMEDIES)
        ]

    def plan(
        self, data: Data | None, out: Path, *, fast: bool, patterns: Sequence[str]
    ) -> pd.DataFrame:
        """Return what `carry_out` would do; images are counted where a run is begun."""
        profile = _PROFILES["fast" if fast else "full"]
        _, missing = found_collections(data, self.collections)
        rows = []
        for cell in chosen(self.cells(profile), patterns, study=self.name):
            run = Run(out / cell.way / cell.folder)
            lacking = [name for name in self._trial(cell).needs if name in missing]
            row: dict[str, Any] = {"cell": cell.name, "status": "to do"}
            if lacking:
                row["status"] = f"not here: {', '.join(lacking)}"
            if run.is_begun:
                row |= {str(part): len(run.manifest.part(part)) for part in Split}
            if run.is_finished:
                row["status"] = "done"
            rows.append(row)
        return pd.DataFrame(rows)

    def carry_out(
        self,
        data: Data | None,
        out: Path,
        *,
        fast: bool,
        patterns: Sequence[str],
        options: Options,
        results: Path | None,
    ) -> StudyResult:
        """Compute the cells that are asked for and not done, and draw the table of all.

        A remedy that cannot be carried out on a trial (one source only) is listed with the reason.
        The tables are written after every cell, so an interruption loses nothing.
        """
        profile = _PROFILES["fast" if fast else "full"]
        cells = self.cells(profile)
        wanted = chosen(cells, patterns, study=self.name)
        stock = _Stock(data, self.collections, out / "phantoms", options)
        failed: dict[str, str] = {}
        folder = results or out
        for number, cell in enumerate(wanted, start=1):
            options.listener.say(f"[{number}/{len(wanted)}] {cell.name}")
            try:
                _carried_out(cell, stock.images(self._trial(cell)), out, options)
            except HurdlesError as error:
                failed[cell.name] = str(error)
                options.listener.say(f"{cell.name}: {error}")
            self._write(cells, out, folder, profile, failed)
        return self._write(cells, out, folder, profile, failed)

    def _recipe(self, trial: Trial, remedy: str, seed: int, profile: Profile) -> Recipe:
        recipe = load_recipe("covid-small").changed(
            name=remedy,
            description=f"{trial.says} Remedy: {remedy}.",
            preparation={"name": "raw"},
            split={"scheme": "given", "missing_patients": trial.missing_patients},
            training={"seed": seed},
            evaluation={"positive": trial.positive},
        )
        changed = profile.applied(recipe)
        return changed if remedy == NONE else remedied(changed, [remedy])

    def _trial(self, cell: Cell) -> Trial:
        return next(trial for trial in self.trials if trial.name == cell.way)

    def _write(
        self,
        cells: Sequence[Cell],
        out: Path,
        folder: Path,
        profile: Profile,
        failed: Mapping[str, str],
    ) -> StudyResult:
        positive = {trial.name: trial.positive for trial in self.trials}
        tried = [found for cell in cells if (found := _found(cell, out, positive[cell.way]))]
        table = cells_table(cells, tried, failed)
        summary = remedy_table(tried)
        stem = f"{self.name}.{profile.name}"
        files = {"cells": table, "table": summary}
        for kind, frame in files.items():
            write_text(folder / f"{stem}.{kind}.csv", as_csv(frame))
        made_on = in_words(tried[0].run.meta["environment"]) if tried else ""
        words = page(self.trials, profile, summary, table, made_on)
        write_text(folder / f"{stem}.md", words)
        return StudyResult(
            table,
            folder / f"{stem}.md",
            folder / f"{stem}.cells.csv",
            dict(failed),
            (folder / f"{stem}.table.csv",),
        )


@dataclass(frozen=True, eq=False)
class _Stock:
    """The images of the trials, made when they are first asked for."""

    data: Data | None
    names: tuple[str, ...]
    folder: Path
    options: Options

    @cached_property
    def _here(self) -> tuple[dict[str, Manifest], dict[str, str]]:
        return found_collections(self.data, self.names)

    @cached_property
    def _made(self) -> dict[str, Images]:
        return {}

    def images(self, trial: Trial) -> Images:
        here, missing = self._here
        if lacking := [name for name in trial.needs if name in missing]:
            raise RunError(missing[lacking[0]])
        if trial.name not in self._made:
            self._made[trial.name] = trial.make(here, self.folder, self.options)
        return self._made[trial.name]


def _carried_out(cell: Cell, images: Images, out: Path, options: Options) -> None:
    run = run_experiment(
        cell.recipe, images.inside, out / cell.way / cell.folder, resume=True, options=options
    )
    predict_on(run, images.outside, name=OUTSIDE, options=options)


def _found(cell: Cell, out: Path, positive: str) -> Tried | None:
    run = Run(out / cell.way / cell.folder)
    if not run.is_finished or not (run.path / "predictions" / f"{OUTSIDE}.csv").is_file():
        return None
    return Tried(cell, run, run.predictions("test"), run.predictions(OUTSIDE), positive)


STUDY = Remedies("remedies", TRIALS)
STUDIES.register(STUDY.name)(STUDY)
