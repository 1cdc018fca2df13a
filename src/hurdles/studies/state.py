"""The state of a study: its runs, their models' answers on every test set, its cells.

A model is asked about each image once; test sets are then put together from its answers. An image
is left out of a model's test if its patient, or anybody linked to that patient by name or by a
shared image, was in training or validation of the model or of what it started from. Classes are as
the run decided them: by a threshold fixed on its validation images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import from_cells
from hurdles.data.vocabulary import Split
from hurdles.errors import RunError
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.runs.run import Run
from hurdles.runs.seals import reading
from hurdles.studies.cells import Cell
from hurdles.studies.grid import Grid
from hurdles.studies.images import Images

#: Columns of the table of cells; `measures` stands for those that the study names.
COLUMNS = ("way", "row", "seed", "profile", "status", "message", "folder", "train", "validation",
            "test", "epoch_tested", "epochs_run", "seconds", "n_images", "n_patients",
            "measures")  # fmt: skip
#: How the predictions on a collection are called in a run's folder.
ON_COLLECTION = "on-{}"


@dataclass(frozen=True, eq=False)
class Answer:
    """Answers of one model on one test set: with what it has seen, without, and what is left out.

    None stands for predictions of no image; `lost` are images that its preparation cannot use.
    What networks of folds say of the set that was parted is no answer of one model:
    `State.evaluations` measures it, fold by fold.
    """

    predictions: Predictions | None
    careless: Predictions | None
    seen: tuple[str, ...]
    lost: tuple[str, ...]


def answers_of(cell: Cell, runs: Mapping[str, Run], images: Images) -> dict[str, Answer]:
    """Return what a finished model says of its test sets; nothing if it was not asked yet."""
    predicted = predictions_of(runs[cell.name], images.tested(cell.tests))
    if predicted is None:
        return {}
    known = images.links.touching(known_to(cell, runs, images))
    return {
        name: _answer(predicted, manifest, known, in_folds=cell.in_folds and name == cell.train)
        for name, manifest in images.tests(cell.tests).items()
    }


def predictions_of(run: Run, collections: Iterable[str]) -> pd.DataFrame | None:
    """Return a run's predictions on collections, by image; None if some of them are missing."""
    names = [ON_COLLECTION.format(name) for name in collections]
    if not names or not all((run.path / "predictions" / f"{n}.csv").is_file() for n in names):
        return None
    frames = [run.predictions(name).frame for name in names]
    return pd.concat(frames, ignore_index=True).set_index("image", drop=False)


def known_to(cell: Cell, runs: Mapping[str, Run], images: Images) -> set[str]:
    """Return the patients in training and validation of a model and of what it started from.

    A pre-training that is gone is named by the set that it was trained on.
    """
    if run := runs.get(cell.name):
        groups = set(run.learnt.groups)
    else:
        manifest = images.training(cell.train)
        groups = set(manifest.groups[manifest.frame["split"] != Split.TEST])
    return groups | (known_to(cell.parent, runs, images) if cell.parent else set())


def whole_set(cell: Cell, run: Run, images: Images) -> Predictions | None:
    """Return what a model says of all of its training set, whatever it has seen."""
    predicted = predictions_of(run, images.tested(cell.tests))
    manifest = images.made(cell.train)
    return None if predicted is None else _labeled(predicted, manifest, manifest.frame["image"])


def answered(predictions: Predictions, run: Run, collections: Iterable[str]) -> Predictions:
    """Return the predictions that the run's rule, if it has one, does not reject."""
    tables = []
    for name in collections:
        path = run.path / "predictions" / f"{ON_COLLECTION.format(name)}.rejection.csv"
        if path.is_file():
            with reading(path):
                table = from_cells(pd.read_csv(path, dtype={"image": "str"}))
                tables.append(table[["image", "rejected"]])
    if not tables:
        return predictions
    table = pd.concat(tables, ignore_index=True)
    rejected = predictions.frame["image"].isin(table.loc[table["rejected"], "image"])
    return Predictions(predictions.frame[~rejected].reset_index(drop=True))


def _answer(
    predicted: pd.DataFrame, manifest: Manifest, known: set[str], *, in_folds: bool
) -> Answer:
    images = manifest.frame["image"]
    there = images[images.isin(predicted.index)]
    lost = tuple(images[~images.isin(predicted.index)])
    if in_folds:
        return Answer(None, None, (), lost)
    seen = there[predicted.loc[there, "group"].isin(known).to_numpy()]
    kept = there[~there.isin(seen)]
    without, including = (_labeled(predicted, manifest, rows) for rows in (kept, there))
    return Answer(without, including, tuple(seen), lost)


def _labeled(
    predicted: pd.DataFrame, manifest: Manifest, images: pd.Series[str]
) -> Predictions | None:
    rows = predicted.loc[predicted.index.isin(images)]
    if not len(rows):
        return None
    labels = manifest.frame.set_index("image")["label"].loc[rows.index]
    return Predictions(rows.assign(label=labels.to_numpy()).reset_index(drop=True))


@dataclass(frozen=True, eq=False)
class State:
    """State of a study; tables, figures and the page are made of it.

    `runs` are those that are finished and can be read, `failed` says what went wrong with a cell;
    both by the cell's name.
    """

    grid: Grid
    profile: str
    cells: tuple[Cell, ...]
    runs: Mapping[str, Run]
    status: Mapping[str, str]
    failed: Mapping[str, str]
    images: Images
    out: Path

    @property
    def done(self) -> list[Cell]:
        """The finished cells."""
        return [cell for cell in self.cells if cell.name in self.runs]

    @cached_property
    def answers(self) -> dict[tuple[str, str], Answer]:
        """Answers of finished models on their test sets, by the cell's name and the test."""
        return {
            (cell.name, test): answer
            for cell in self.done
            for test, answer in answers_of(cell, self.runs, self.images).items()
        }

    def own_predictions(self, cell: Cell) -> Predictions:
        """Return what a finished cell says of its own test images, by the weights of its epoch."""
        run = self.runs[cell.name]
        own = cell.epoch is run.recipe.training.choose
        return run.predictions("test" if own else f"test.{cell.epoch}")

    @cached_property
    def evaluations(self) -> dict[str, Evaluation]:
        """Measures of finished cells on their own test images, by the weights of their epoch."""
        results = {}
        for cell in self.done:
            if cell.in_folds:
                results[cell.name] = self.runs[cell.name].evaluation()
                continue
            with suppress(RunError):  # the last epoch is not tested yet
                predictions = self.own_predictions(cell)
                results[cell.name] = evaluate(predictions, level=cell.recipe.evaluation.level)
        return results

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per cell, done or not."""
        rows = pd.DataFrame([self._row(cell) for cell in self.cells])
        measures = [f"{heading}{bound}" for heading in self.grid.measures
                    for bound in ("", " low", " high")]  # fmt: skip
        columns: list[str] = []
        for name in self.grid.columns or COLUMNS:
            columns += measures if name == "measures" else [name]
        if "message" not in columns and any(s != "done" for s in self.status.values()):
            columns.append("message")
        return rows.reindex(columns=columns)

    def _row(self, cell: Cell) -> dict[str, Any]:
        row: dict[str, Any] = {
            "way": cell.way,
            "row": cell.row,
            "seed": cell.seed,
            "profile": self.profile,
            "status": self.status[cell.name],
            "message": self.failed.get(cell.name, ""),
            "folder": cell.folder,
        }
        run = self.runs.get(cell.name)
        if run is None:
            return row
        row |= counts_of(run.manifest)
        row |= {"seconds": run.meta["seconds"]}
        if cell.in_folds:  # each network has an epoch of its own
            row |= {"epochs_run": sum(len(fold.history) for fold in run.fold_runs())}
        else:
            tested = run.chosen_epoch(cell.epoch)
            row |= {"epoch_tested": tested, "epochs_run": len(run.history)}
        if (result := self.evaluations.get(cell.name)) is None:
            return row
        row |= {"n_images": result.n_images, "n_patients": result.n_patients}
        for heading, which in self.grid.measures.items():
            estimate = result.get(*which)
            numbers = {"": estimate.value, " low": estimate.low, " high": estimate.high}
            row |= {f"{heading}{bound}": value for bound, value in numbers.items()}
        return row


def counts_of(manifest: Manifest) -> dict[str, int]:
    """Return how many images stand in each part of a split."""
    counts = manifest.frame["split"].value_counts()
    return {str(part): int(counts.get(str(part), 0)) for part in Split}
