"""What a study is: named cells, each one experiment, and a page drawn from whatever is done."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from hurdles.errors import RunError
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Options
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe
from hurdles.registry import Registry
from hurdles.runs.images import Data
from hurdles.runs.run import Run


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
    images : str
        What it is trained on, where a study has several sets of images: everything that defines
        the set, in words. Cells with other words never share a run.
    parent : Cell, optional
        The cell whose encoder training starts from.
    """

    way: str
    row: str
    seed: int
    recipe: Recipe
    epoch: ChosenEpoch = ChosenEpoch.BEST
    images: str = ""
    parent: Cell | None = None

    @property
    def name(self) -> str:
        """``way/row/seed``, what patterns are matched against."""
        return f"{self.way}/{self.row}/{self.seed}"

    @property
    def folder(self) -> str:
        """Name of the run's folder: equal recipes, images and starts, equal folders.

        A start enters by the name of its own folder, not by its weights: these are known only once
        they are there, and a finished cell must be found again without them.
        """
        key = self.recipe.key
        if self.images or self.parent:
            start = self.parent.folder if self.parent else ""
            key = hashlib.sha256("\n".join([key, self.images, start]).encode()).hexdigest()
        return f"{self.recipe.name}-seed{self.seed}-{key[:8]}"


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
    files : tuple of Path
        Everything else that was written: further tables, pictures.
    """

    cells: pd.DataFrame
    page: Path
    table: Path
    failed: dict[str, str]
    files: tuple[Path, ...] = field(default=())


class Study(Protocol):
    """Many experiments under one name."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def collections(self) -> tuple[str, ...]:
        """Public collections that it looks for."""

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """Profiles by name; ``full`` and ``fast``."""

    def cells(self, profile: Profile) -> Sequence[Cell]:
        """Return the cells of a profile, in the order in which they are computed."""

    def plan(
        self, data: Data | None, out: Path, *, fast: bool, patterns: Sequence[str]
    ) -> pd.DataFrame:
        """Return what `carry_out` would do, without doing any of it."""

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
        """Compute the cells that are asked for and not done, and draw the table of all."""


#: Studies by name.
STUDIES: Registry[Study] = Registry("study")


def study(name: str) -> Study:
    """Return a study by name."""
    import hurdles.studies.lazaro_barco_2020
    import hurdles.studies.remedies
    import hurdles.studies.tartaglione_2020  # noqa: F401 - they register themselves

    return STUDIES.get(name)


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
