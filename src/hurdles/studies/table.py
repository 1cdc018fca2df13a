"""A study within one collection: a table with one row per cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.untrusted import as_csv
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdlesError, RunError
from hurdles.evaluation.evaluation import evaluate
from hurdles.progress import Options
from hurdles.runs.assessment import test_predictions
from hurdles.runs.experiment import run_experiment
from hurdles.runs.images import Data, manifest_of
from hurdles.runs.run import Run
from hurdles.studies.study import Cell, Done, Profile, StudyResult, chosen


@dataclass(frozen=True)
class TableStudy:
    """A grid of experiments on one collection; a `Study`.

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

    @property
    def collections(self) -> tuple[str, ...]:
        """The collection that it needs."""
        return (self.data,)

    def plan(
        self, data: Data | None, out: Path, *, fast: bool, patterns: Sequence[str]
    ) -> pd.DataFrame:
        """Return what `carry_out` would do; images are counted where a run is begun."""
        profile = self.profiles["fast" if fast else "full"]
        del data  # how many images a part gets is decided when a run begins
        rows = []
        for cell in chosen(self.cells(profile), patterns, study=self.name):
            run = Run(out / cell.folder)
            row: dict[str, Any] = {
                "cell": cell.name,
                "status": "done" if run.is_finished else "to do",
            }
            if run.is_begun:
                row |= {str(part): len(run.manifest.part(part)) for part in Split}
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

        A cell that fails is listed with its reason and does not stop the others. The table is
        written after every cell, so an interruption loses nothing.
        """
        profile = self.profiles["fast" if fast else "full"]
        cells = self.cells(profile)
        wanted = chosen(cells, patterns, study=self.name)
        images = manifest_of(data, default=self.data)
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
        write_text(folder / f"{stem}.csv", as_csv(table))
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


def _done(cell: Cell, out: Path) -> Done | None:
    run = Run(out / cell.folder)
    if not run.is_finished:
        return None
    name = "test" if cell.epoch is run.recipe.training.choose else f"test.{cell.epoch}"
    try:
        predictions = run.predictions(name)
    except RunError:
        return None
    result = evaluate(predictions, level=cell.recipe.evaluation.level)
    return Done(cell, run, predictions, result)
