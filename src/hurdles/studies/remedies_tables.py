"""The tables of the remedies: every cell, and what each remedy changes against none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hurdles.data.untrusted import from_cells
from hurdles.evaluation.comparisons import holm, ruled_by_test
from hurdles.evaluation.delong import AUC, AUCDifference, auc_bounds, compare_aucs
from hurdles.evaluation.predictions import Predictions
from hurdles.runs.run import Run
from hurdles.studies.study import Cell

#: What the row without a remedy is called, and the predictions on images from outside.
NONE, OUTSIDE = "none", "outside"
_PARTS = ("inside", "outside")

#: Columns of `cells_table`.
CELL_COLUMNS: dict[str, str] = {
    "trial": "what was tried",
    "remedy": "by which remedy",
    "seed": "of training",
    "status": "done, pending, or not possible",
    "epochs": "that were run",
    "seconds": "of the run",
    "inside": "area under the curve on test images of the same kind as in training",
    "inside low": "lower bound of its interval",
    "inside high": "upper bound",
    "outside": "area on images in which class and source do not coincide",
    "outside low": "lower bound of its interval",
    "outside high": "upper bound",
    "images inside": "images tested inside",
    "images outside": "images tested outside",
    "answered inside": "share of images that were not rejected; 1 where nothing is rejected",
    "answered outside": "the same outside",
    "message": "why it is not possible",
}
#: Columns of `remedy_table`: means over seeds; a change is with the remedy less without.
TABLE_COLUMNS: dict[str, str] = {
    "trial": "what was tried",
    "remedy": "by which remedy",
    "seeds": "how many",
    **{
        f"{part}{what}": words
        for part in _PARTS
        for what, words in {
            "": "mean area",
            " least": "smallest of the seeds",
            " most": "largest of the seeds",
            " change": "of the area, paired on the same images, mean over seeds",
            " low": "lower bound of that change, as if the seeds' changes erred together",
            " high": "upper bound",
            " p": "of no change, two-sided, adjusted by Holm over the remedies of a trial",
        }.items()
    },
}


class Tried(NamedTuple):
    """A finished cell: what its run says inside and outside."""

    cell: Cell
    run: Run
    inside: Predictions
    outside: Predictions
    positive: str

    def told(self, part: str) -> Predictions:
        """Return the predictions inside or outside."""
        return self.inside if part == "inside" else self.outside

    def answered(self, part: str) -> Predictions:
        """Return the predictions of a part that the run's rule, if it has one, does not reject."""
        name = "test" if part == "inside" else OUTSIDE
        path = self.run.path / "predictions" / f"{name}.rejection.csv"
        told = self.told(part)
        if not path.is_file():
            return told
        table = from_cells(pd.read_csv(path, dtype={"image": "str"}))
        rejected = told.frame["image"].isin(table.loc[table["rejected"], "image"])
        return Predictions(told.frame[~rejected].reset_index(drop=True))

    def area(self, part: str) -> AUC:
        """Return the area of the positive class."""
        told = self.answered(part)
        scores = told.y_prob[:, told.classes.index(self.positive)]
        return AUC.of(told.y_true, scores, positive=self.positive, groups=told.groups)


def cells_table(
    cells: Sequence[Cell], tried: Iterable[Tried], failed: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row per cell; columns as in `CELL_COLUMNS`."""
    done = {each.cell.name: each for each in tried}
    rows = [
        _row(cell, done[cell.name]) if cell.name in done else _pending(cell, failed)
        for cell in cells
    ]
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def _pending(cell: Cell, failed: Mapping[str, str]) -> dict[str, Any]:
    why = failed.get(cell.name, "")
    status = "not possible" if why else "pending"
    return {
        "trial": cell.way,
        "remedy": cell.row,
        "seed": cell.seed,
        "status": status,
        "message": why,
    }


def _row(cell: Cell, tried: Tried) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": cell.way,
        "remedy": cell.row,
        "seed": cell.seed,
        "status": "done",
        "epochs": len(tried.run.history),
        "seconds": tried.run.meta["seconds"],
    }
    for part in _PARTS:
        area, of = tried.area(part), len(tried.told(part))
        low, high, _ = auc_bounds(area)
        row |= {part: area.value, f"{part} low": low, f"{part} high": high}
        row |= {f"images {part}": of, f"answered {part}": len(tried.answered(part)) / of}
    return row


def remedy_table(tried: Sequence[Tried]) -> pd.DataFrame:
    """Return one row per trial and remedy; columns as in `TABLE_COLUMNS`."""
    plain = {(t.cell.way, t.cell.seed): t for t in tried if t.cell.row == NONE}
    rows = []
    for trial in dict.fromkeys(t.cell.way for t in tried):
        mine = [t for t in tried if t.cell.way == trial]
        made = [
            _summary([t for t in mine if t.cell.row == remedy], plain)
            for remedy in dict.fromkeys(t.cell.row for t in mine)
        ]
        for part in _PARTS:
            adjusted = holm([row[f"{part} p"] for row in made])
            for row, p in zip(made, adjusted, strict=True):
                row[f"{part} p"] = p
        rows += made
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


def _summary(seeds: Sequence[Tried], plain: Mapping[tuple[str, int], Tried]) -> dict[str, Any]:
    cell = seeds[0].cell
    row: dict[str, Any] = {"trial": cell.way, "remedy": cell.row, "seeds": len(seeds)}
    for part in _PARTS:
        areas = [tried.area(part).value for tried in seeds]
        row |= {part: np.mean(areas), f"{part} least": min(areas), f"{part} most": max(areas)}
        pairs = [
            compare_aucs(tried.area(part), other.area(part))
            for tried in seeds
            if cell.row != NONE and (other := plain.get((cell.way, tried.cell.seed))) is not None
        ]
        row |= {f"{part} {name}": value for name, value in _change(pairs).items()}
    return row


def _change(pairs: Sequence[AUCDifference]) -> dict[str, float]:
    """Return the mean change over seeds, with bounds and a test as if the seeds erred together.

    The seeds share their test patients, so their errors do go together for the most part; taking
    them for one and the same is never too bold.
    """
    if not pairs:
        return dict.fromkeys(("change", "low", "high", "p"), math.nan)
    found = [pair.difference for pair in pairs]
    change = float(np.mean([d.value for d in found]))
    error = float(np.mean([pair.standard_error for pair in pairs]))
    p = math.erfc(abs(change) / error / math.sqrt(2)) if error > 0 else math.nan
    low, high = (float(np.mean([getattr(d, bound) for d in found])) for bound in ("low", "high"))
    mean = replace(found[0], value=change, low=low, high=high)
    told = ruled_by_test(mean, 1.0 if change == 0 else p)
    return {"change": change, "low": told.low, "high": told.high, "p": p}
