"""A study: named cells, each one experiment, and a page drawn from whatever is done."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.assessment import test_predictions
from hurdles.choices import ChosenEpoch
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdlesError, RunError
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.experiment import run_experiment
from hurdles.images import Options
from hurdles.recipe import Recipe
from hurdles.registry import Registry
from hurdles.runs import Run

__all__ = ["STUDIES", "Cell", "Done", "Profile", "Study", "StudyResult", "study"]


@dataclass(frozen=True)
class Cell:
    """One experiment of a study.

    Parameters
    ----------
    way, row : str
        Where it stands in the study's table.
    seed : int
        Seed of training.
    recipe : Recipe
        What is trained. Cells with the same recipe share one run.
    epoch : ChosenEpoch
        Whose weights are tested.
    """

    way: str
    row: str
    seed: int
    recipe: Recipe
    epoch: ChosenEpoch = ChosenEpoch.BEST

    @property
    def name(self) -> str:
        """``way/row/seed``, what patterns are matched against."""
        return f"{self.way}/{self.row}/{self.seed}"

    @property
    def folder(self) -> str:
        """Name of the run's folder: equal recipes, equal folders."""
        return f"{self.recipe.name}-seed{self.seed}-{self.recipe.key[:8]}"


@dataclass(frozen=True)
class Profile:
    """How much a study spends.

    Parameters
    ----------
    name : str
        ``full`` or ``fast``.
    changes : mapping
        Sections and fields of every recipe that differ in this profile.
    explanation : str
        What that means for the numbers, in a sentence.
    """

    name: str
    changes: Mapping[str, Mapping[str, Any]]
    explanation: str

    def applied(self, recipe: Recipe) -> Recipe:
        """Return the recipe as this profile runs it."""
        return recipe.changed(**{name: dict(fields) for name, fields in self.changes.items()})


@dataclass(frozen=True, eq=False)
class Done:
    """A finished cell.

    Parameters
    ----------
    cell : Cell
        Which one.
    run : Run
        Its finished run; cells that differ in the tested epoch alone share one.
    predictions : Predictions
        On the test images, by the weights of the cell's epoch.
    evaluation : Evaluation
        Of these predictions.
    """

    cell: Cell
    run: Run
    predictions: Predictions
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class StudyResult:
    """What is done of a study.

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
    """

    cells: pd.DataFrame
    page: Path
    table: Path
    failed: dict[str, str]


@dataclass(frozen=True)
class Study:
    """A grid of experiments.

    Parameters
    ----------
    name : str
        As on the command line.
    data : str
        Collection that it needs.
    profiles : mapping
        Profiles by name; ``full`` and ``fast``.
    cells : callable
        Gives the cells of a profile, in the order in which they are computed.
    columns : mapping
        Columns of the table of cells: heading -> (measure, class).
    page : callable
        ``page(done, profile) -> str``: the page in Markdown, from whatever is done.
    """

    name: str
    data: str
    profiles: Mapping[str, Profile]
    cells: Callable[[Profile], list[Cell]]
    columns: Mapping[str, tuple[str, str | None]]
    page: Callable[[Sequence[Done], Profile], str]

    def carry_out(
        self,
        images: Manifest,
        out: Path,
        *,
        fast: bool,
        patterns: Sequence[str],
        options: Options,
        results: Path | None,
    ) -> StudyResult:
        """Compute the cells that are asked for and not done, and draw the table of all.

        A cell that fails is listed with its reason and does not stop the others. The table is
        written after every cell, so an interruption loses nothing.

        Raises
        ------
        RunError
            If no cell matches the patterns.
        """
        profile = self.profiles["fast" if fast else "full"]
        cells = self.cells(profile)
        wanted = [c for c in cells if _matches(c, patterns)]
        if not wanted:
            names = "; ".join(c.name for c in cells)
            raise RunError(
                f"no cell of {self.name} matches {'; '.join(patterns)}. Its cells: {names}."
            )
        failed: dict[str, str] = {}
        folder = results or out
        for number, cell in enumerate(wanted, start=1):
            options.listener.say(f"[{number}/{len(wanted)}] {cell.name}")
            try:
                run = run_experiment(
                    cell.recipe, images, out / cell.folder, resume=True, options=options
                )
                test_predictions(run, cell.epoch, options)
            except HurdlesError as error:
                failed[cell.name] = str(error)
                options.listener.say(f"{cell.name} failed: {error}")
            self._write(cells, out, folder, profile, failed)
        return self._write(cells, out, folder, profile, failed)

    def _write(
        self,
        cells: Sequence[Cell],
        out: Path,
        folder: Path,
        profile: Profile,
        failed: dict[str, str],
    ) -> StudyResult:
        found = [_done(cell, out) for cell in cells]
        table = pd.DataFrame(
            [self._row(c, d, failed, profile) for c, d in zip(cells, found, strict=True)]
        )
        stem = f"{self.name}.{profile.name}"
        done = [d for d in found if d is not None]
        write_text(folder / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
        write_text(folder / f"{stem}.md", self.page(done, profile))
        return StudyResult(table, folder / f"{stem}.md", folder / f"{stem}.csv", failed)

    def _row(
        self, cell: Cell, done: Done | None, failed: dict[str, str], profile: Profile
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "way": cell.way,
            "row": cell.row,
            "seed": cell.seed,
            "profile": profile.name,
            "status": "failed" if cell.name in failed else "pending",
        }
        if done is None:
            return {**row, "message": failed.get(cell.name, "")}
        row |= {
            "status": "done",
            "epoch_tested": done.run.chosen_epoch(cell.epoch),
            "epochs_run": len(done.run.history),
            "seconds": done.run.meta["seconds"],
            "n_images": done.evaluation.n_images,
            "n_patients": done.evaluation.n_patients,
        }
        for heading, (measure, label) in self.columns.items():
            estimate = done.evaluation.get(measure, label)
            row |= {
                heading: estimate.value,
                f"{heading} low": estimate.low,
                f"{heading} high": estimate.high,
            }
        return row


#: Studies by name.
STUDIES: Registry[Study] = Registry("study")


def study(name: str) -> Study:
    """Return a study by name.

    Raises
    ------
    RegistryError
        If there is none of this name.
    """
    import hurdles.studies.lazaro_barco_2020  # noqa: F401 - registers itself

    return STUDIES.get(name)


def _matches(cell: Cell, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(cell.name, pattern) for pattern in patterns)


def _done(cell: Cell, out: Path) -> Done | None:
    run = Run(out / cell.folder)
    if not run.is_finished:
        return None
    section = cell.recipe.evaluation
    name = "test" if cell.epoch is run.recipe.training.choose else f"test.{cell.epoch}"
    try:
        predictions = run.predictions(name)
    except RunError:
        return None
    result = evaluate(
        predictions, level=section.level, n_resamples=section.resamples, seed=section.seed
    )
    return Done(cell, run, predictions, result)
