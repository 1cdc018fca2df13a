"""The table of epochs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hurdles.data.files import replacing
from hurdles.errors import RunError

__all__ = ["COLUMNS", "History"]

#: One row per epoch.
COLUMNS: dict[str, str] = {
    "epoch": "number, from 1",
    "train_loss": "mean cross-entropy over the epoch's samples, dropout on, nats",
    "train_accuracy": "share of the epoch's samples classified rightly, dropout on, 0 to 1",
    "validation_loss": "mean cross-entropy on the validation images, nats",
    "validation_accuracy": "share of validation images classified rightly, 0 to 1",
    "learning_rate": "of the optimiser",
    "seconds": "wall time of the epoch, validation included",
}


@dataclass(frozen=True, eq=False)
class History:
    """What every epoch of a training achieved.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`, one row per epoch, in order.

    Raises
    ------
    RunError
        If a column is missing or the epochs are not 1, 2, 3, ...
    """

    frame: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.frame]
        if missing:
            raise RunError(f"the history lacks {', '.join(map(repr, missing))}.")
        if self.frame["epoch"].tolist() != list(range(1, len(self.frame) + 1)):
            raise RunError(f"epochs must be 1, 2, 3, ...; got {self.frame['epoch'].tolist()}.")

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> History:
        """Build the table from one dictionary per epoch."""
        return cls(pd.DataFrame(rows, columns=list(COLUMNS)))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def best_epoch(self) -> int:
        """Epoch of the highest validation accuracy; of equals, the lowest loss, then the first."""
        order = self.frame.sort_values(
            ["validation_accuracy", "validation_loss", "epoch"], ascending=[False, True, True]
        )
        return int(order["epoch"].iloc[0])

    def save(self, path: str | Path) -> Path:
        """Write the table to `path` as CSV and return the path."""
        with replacing(path) as part:
            self.frame.to_csv(part, index=False)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a table that `save` wrote.

        Raises
        ------
        RunError
            If there is no such file, or it is damaged.
        """
        if not Path(path).is_file():
            raise RunError(f"{path} is missing; the run was not finished. Finish it with --resume.")
        try:
            return cls(pd.read_csv(path))
        except ValueError as error:  # pandas' own parser errors and ours are among them
            raise RunError(f"{path} is damaged ({error}). Train the run again.") from error
