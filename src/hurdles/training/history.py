"""The table of epochs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hurdles.data.files import write_text
from hurdles.data.untrusted import as_csv
from hurdles.errors import RunError
from hurdles.recipe.choices import ChosenBy

__all__ = ["COLUMNS", "History"]

#: One row per epoch.
COLUMNS: dict[str, str] = {
    "epoch": "number, from 1",
    "train_loss": "mean of the recipe's loss over the epoch's samples, dropout on, nats",
    "train_accuracy": "share of the epoch's samples classified rightly, dropout on, 0 to 1",
    "validation_loss": "mean of the recipe's loss on the validation images, nats",
    "validation_accuracy": "share of validation images classified rightly, 0 to 1",
    "validation_auc": "AUC of each class against the rest on the validation images, mean over the "
    "classes present; not-a-number where undefined, 0 to 1",
    "size": "side of the images that the epoch was trained on, pixels",
    "learning_rate": "of the epoch's last step",
    "seconds": "wall time of the epoch, validation included",
}

# Earlier runs were written without them.
_ADDED = ("validation_auc", "size")


@dataclass(frozen=True, eq=False)
class History:
    """The loss and the measures of every epoch of a training.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`, one row per epoch, in order.
    choose_by : ChosenBy
        What the best epoch is best in, as the recipe says.

    Raises
    ------
    RunError
        If a column is missing or the epochs are not 1, 2, 3, ...
    """

    frame: pd.DataFrame
    choose_by: ChosenBy = ChosenBy.ACCURACY

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.frame]
        if missing:
            raise RunError(f"the history lacks {', '.join(map(repr, missing))}.")
        if self.frame["epoch"].tolist() != list(range(1, len(self.frame) + 1)):
            raise RunError(f"epochs must be 1, 2, 3, ...; got {self.frame['epoch'].tolist()}.")

    @classmethod
    def from_rows(
        cls, rows: list[dict[str, Any]], choose_by: ChosenBy = ChosenBy.ACCURACY
    ) -> History:
        """Build the table from one dictionary per epoch; `choose_by` as for the class."""
        return cls(pd.DataFrame(rows, columns=list(COLUMNS)), choose_by)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def best_epoch(self) -> int:
        """The epoch best in `choose_by`; of equals, the lowest validation loss, then the first.

        An epoch of which the loss is not a number is worse than any.
        """
        columns, ascending = ["validation_loss", "epoch"], [True, True]
        finite = np.isfinite(self.frame["validation_loss"].astype("float64"))
        if self.choose_by is not ChosenBy.LOSS:
            columns = [f"validation_{self.choose_by}", *columns]
            ascending = [False, *ascending]
        frame = self.frame[finite] if finite.any() else self.frame
        return int(frame.sort_values(columns, ascending=ascending)["epoch"].iloc[0])

    def save(self, path: str | Path) -> Path:
        """Write the table to `path` as CSV and return the path."""
        write_text(path, as_csv(self.frame))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, choose_by: ChosenBy = ChosenBy.ACCURACY) -> History:
        """Read a table that `save` wrote; `choose_by` as for the class.

        A table written before there was a validation AUC, or a size, has not-a-number there.

        Raises
        ------
        RunError
            If there is no such file, or it is damaged.
        """
        if not Path(path).is_file():
            raise RunError.missing(path)
        try:
            frame = pd.read_csv(path)
            frame = frame.assign(**{c: np.nan for c in _ADDED if c not in frame})
            numbers = [column for column in COLUMNS if column in frame and column != "epoch"]
            return cls(frame.astype(dict.fromkeys(numbers, "float64")), choose_by)
        except ValueError as error:  # pandas' own parser errors and ours are among them
            raise RunError(f"{path} is damaged ({error}). Train the run again.") from error
