"""Values from a paper beside our own: a table that a person fills in, and what counts alone tell.

The published values of a study are not shipped. Whoever has the paper writes them into
``published.csv`` in the folder of the runs (``--out``); the study only reads that file. Its columns
are `PUBLISHED_COLUMNS`, and without it the page says that no published value is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles.data.untrusted import from_cells
from hurdles.errors import RecipeError
from hurdles.evaluation.matrix import MEASURES
from hurdles.evaluation.statistics import auc
from hurdles.studies.grid import refuse_unknown
from hurdles.studies.state import State
from hurdles.studies.tables import TABLES, label_of, tests_of

#: Columns of ``published.csv``; all of them are needed.
PUBLISHED_COLUMNS: dict[str, str] = {
    "model": "the row of our matrix that it belongs beside, as the page calls it",
    "test": "the test set, as the page calls it",
    "measure": f"one of {', '.join(MEASURES)}",
    "value": "the published number, from 0 to 1, with a point: 0.85",
    "source": "where it stands, such as: table 4, row 2",
}


@TABLES.register("published")
def _published(state: State) -> pd.DataFrame:
    """Return what ``published.csv`` in the folder of the runs says; no row without the file."""
    tested = [cell for cell in state.cells if cell.tests]
    models = dict.fromkeys(label_of(cell, state) for cell in tested)
    return read_published(state.out / "published.csv", models=models, tests=tests_of(state.cells))


def read_published(path: Path, *, models: Iterable[str], tests: Iterable[str]) -> pd.DataFrame:
    """Return published values, one a row; RecipeError names the row that cannot be one."""
    if not path.is_file():
        return pd.DataFrame(columns=list(PUBLISHED_COLUMNS))
    try:
        frame = from_cells(pd.read_csv(path, dtype="str", keep_default_na=False))
    except (ValueError, OSError) as error:  # no UTF-8, no table, nothing in it
        raise RecipeError(f"{path} cannot be read as CSV ({error}); save it as UTF-8.") from error
    if missing := [name for name in PUBLISHED_COLUMNS if name not in frame.columns]:
        raise RecipeError(
            f"{path} lacks the columns {', '.join(missing)}; its first line must name "
            f"{', '.join(PUBLISHED_COLUMNS)}."
        )
    frame = frame[list(PUBLISHED_COLUMNS)]
    known = {"model": list(models), "test": list(tests), "measure": list(MEASURES)}
    for line, row in enumerate(frame.to_dict("records"), start=2):
        where = f"{path}, line {line}"
        for column, names in known.items():
            refuse_unknown(row[column], names, column, where)
        number = pd.to_numeric(row["value"], errors="coerce")
        if not 0 <= number <= 1:  # nor is not-a-number
            raise RecipeError(
                f"{where}: value {row['value']!r} is no number from 0 to 1; write 85 % as 0.85."
            )
    return frame.assign(value=frame["value"].astype("float64"))


@TABLES.register("by-hospital")
def _by_hospital(state: State) -> pd.DataFrame:
    """Return the counts of ``values.hospitals`` with what the hospital's name alone gives."""
    return by_hospital(state.grid.values["hospitals"])


def by_hospital(counts: dict[str, list[int]]) -> pd.DataFrame:
    """Return one row per hospital: images without and with the disease, the share, and the AUC.

    `counts` are negative and positive images by hospital. The AUC is one number for all: that of a
    score that knows of an image nothing but its hospital's share of positive ones.

    Examples
    --------
    >>> by_hospital({"A": [10, 0], "B": [0, 10]})["auc"].tolist()
    [1.0, 1.0]
    >>> by_hospital({"A": [5, 5], "B": [20, 20]})["auc"].tolist()
    [0.5, 0.5]
    """
    negative, positive = np.array(list(counts.values())).T
    share = positive / (negative + positive)
    truth = np.repeat([False, True], [negative.sum(), positive.sum()])
    area = auc(truth, np.concatenate([np.repeat(share, negative), np.repeat(share, positive)]))
    return pd.DataFrame(
        {"hospital": list(counts), "negative": negative, "positive": positive, "share": share}
    ).assign(auc=area)
