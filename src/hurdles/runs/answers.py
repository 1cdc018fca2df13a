"""The table of a run's answers to new images, one row each, and how it is written as it grows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles._version import USE
from hurdles.data.files import replacing, write_text
from hurdles.data.untrusted import as_csv, from_cells, notebook_table
from hurdles.errors import EvaluationError, OutputError

__all__ = ["COLUMNS", "Answers"]

#: Every column; of each class there are two, ``p:<class>`` and ``raw:<class>``.
COLUMNS: dict[str, str] = {
    "image": "name of the image, unique: its path as it was given, or the table's name of it",
    "path": "absolute path of the file",
    "prediction": "predicted class: the most probable one, or by the run's threshold; empty where "
    "the image was refused or not read",
    "p:": "p:<class>, calibrated probability of the class, 0 to 1; empty as prediction",
    "set": "classes of the prediction set, with ' | ' between; (none) where none is as probable as "
    "it mostly is for its patients; empty as prediction",
    "raw:": "raw:<class>, probability as the network gives it, as in hurdles evaluate; empty only "
    "where the image was not read",
    "refused": "yes: it is not like the images of training; no; empty where that is not known",
    "refusal": "why it was refused; empty otherwise",
    "strangeness": "its distance to the images of training, above 0, without a unit (or 1 - the "
    "largest probability, where the run's rule is that)",
    "seen": "the run's own image of the same pixels, which it was trained or chosen on",
    "error": "why the image was not read; empty otherwise",
    "heatmap": "file of its heat-map, if it was to be drawn and there is one",
    "use": USE,
}
_BETWEEN, _NONE = " | ", "(none)"
_TEXT = ("image", "path", "prediction", "set", "refused", "refusal", "seen", "error", "heatmap")


def columns_of(classes: Sequence[str]) -> list[str]:
    """Return the columns of a table of answers of a model with these classes."""
    several = {"p:", "raw:"}
    return [
        name
        for column in COLUMNS
        for name in ([column + c for c in classes] if column in several else [column])
    ]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers of a run to images, one row each.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`. Every image that was given has a row: also one that could not be
        read, and one that was refused.
    about : mapping
        What the answers rest on: the run, its temperature, sets and rule of refusal.

    Raises
    ------
    EvaluationError
        If a column is missing, an image stands twice, or an image has neither probabilities nor an
        error.
    """

    frame: pd.DataFrame
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        missing = [c for c in columns_of(self.classes) if c not in self.frame]
        if missing or not self.classes:
            what = ", ".join(map(repr, missing)) or "raw:<class>"
            raise EvaluationError(f"a table of answers lacks {what}; make it with hurdles predict.")
        if self.frame["image"].duplicated().any():
            twice = self.frame["image"][self.frame["image"].duplicated()].iloc[0]
            raise EvaluationError(f"image {twice!r} is answered twice; every image counts once.")
        lost = np.isnan(self.raw).any(axis=1) != (self.frame["error"] != "").to_numpy()
        if lost.any():
            name = self.frame["image"].to_numpy()[lost][0]
            raise EvaluationError(f"image {name!r} has to have probabilities, or else an error.")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def classes(self) -> list[str]:
        """The classes that the model knows, in the order of its outputs."""
        return [c.removeprefix("raw:") for c in self.frame.columns if c.startswith("raw:")]

    @property
    def raw(self) -> NDArray[np.float64]:
        """Probabilities as the network gives them, shape (n, classes); NaN of unread images."""
        return self.frame[[f"raw:{c}" for c in self.classes]].to_numpy(dtype="float64")

    @property
    def calibrated(self) -> NDArray[np.float64]:
        """Calibrated probabilities, shape (n, classes); NaN where there is no answer."""
        return self.frame[[f"p:{c}" for c in self.classes]].to_numpy(dtype="float64")

    @property
    def sets(self) -> list[list[str] | None]:
        """The prediction set of each image; None where there is no answer."""
        return [set_from_cell(cell) for cell in self.frame["set"]]

    def summary(self) -> dict[str, int]:
        """Return how many images there are, answered, refused, unread and seen in training."""
        return {
            "images": len(self),
            "answered": int((self.frame["prediction"] != "").sum()),
            "refused": int((self.frame["refused"] == "yes").sum()),
            "not read": int((self.frame["error"] != "").sum()),
            "seen in training": int((self.frame["seen"] != "").sum()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        cells = self.frame.astype(object).where(self.frame.notna(), None)
        rows = cells.to_dict("records")
        for row, classes in zip(rows, self.sets, strict=True):
            row["set"] = classes
        return {"about": dict(self.about), "summary": self.summary(), "images": rows}

    def lines(self) -> Iterator[str]:
        """Yield a line for each image, for the console."""
        for row in self.frame.to_dict("records"):
            yield answer_line({str(name): cell for name, cell in row.items()})

    def _repr_html_(self) -> str:
        """Show the answers in a notebook."""
        shown = ["image", "prediction", "set", "refused", "error"]
        rows = self.frame[shown].to_numpy().tolist()
        numbers = ", ".join(f"{n} {what}" for what, n in self.summary().items())
        return notebook_table("Answers", shown, rows, [numbers, USE])

    @classmethod
    def load(cls, path: str | Path) -> Answers:
        """Read a table that `hurdles.predict` wrote.

        Raises
        ------
        EvaluationError
            If it is another table.
        """
        path = Path(path)
        text = dict.fromkeys((*_TEXT, "use"), "str")
        try:
            frame = from_cells(pd.read_csv(path, dtype=text, keep_default_na=False, na_values={}))
        except ValueError as error:
            raise EvaluationError(f"{path} is no table of answers ({error}).") from error
        for column in frame:
            if str(column).startswith(("p:", "raw:")) or column == "strangeness":
                frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("float64")
        about = about_path(path)
        plain = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        return cls(frame, plain)


def answer_line(row: Mapping[str, Any]) -> str:
    """Return one image's answer in words."""
    seen = f" (seen in training: {row['seen']})" if row["seen"] else ""
    if row["error"]:
        return f"{row['image']}: not read: {row['error']}"
    if row["refused"] == "yes":
        return f"{row['image']}: refused: {row['refusal']}{seen}"
    share = 100 * row[f"p:{row['prediction']}"]
    return f"{row['image']}: {row['prediction']}, {share:.1f} %; set: {row['set']}{seen}"


def set_cell(classes: Sequence[str]) -> str:
    """Return a prediction set as one cell of a table."""
    return _BETWEEN.join(classes) or _NONE


def set_from_cell(cell: str) -> list[str] | None:
    """Return the set that `set_cell` wrote; None of an empty cell."""
    if not cell:
        return None
    return [] if cell == _NONE else cell.split(_BETWEEN)


def about_path(path: Path) -> Path:
    """Return where it stands what a table of answers rests on: beside it."""
    return path.with_name(f"{path.stem}.about.json")


def answers_files(path: Path | None) -> list[Path]:
    """Return what is written with a table of answers.

    OutputError if it would be no CSV.
    """
    if path is None:
        return []
    if path.suffix.lower() != ".csv":
        raise OutputError(f"{path}: answers are written as CSV; give a name that ends in .csv.")
    return [path, about_path(path)]


@contextmanager
def growing(path: Path | None, about: Mapping[str, Any]) -> Iterator[_Growing]:
    """Yield a table of answers that is written row by row, beside, and renamed when it is whole."""
    if path is None:
        yield _Growing(None)
        return
    with replacing(path) as part:
        yield _Growing(part)
        write_text(about_path(path), json.dumps(dict(about), indent=1, ensure_ascii=False) + "\n")


class _Growing:
    """Rows of a table, kept, and appended to a file if there is one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._frames: list[pd.DataFrame] = []

    def add(self, frame: pd.DataFrame) -> None:
        """Append rows."""
        self._frames.append(frame)
        if self._file is None:
            return
        text = as_csv(frame, header=len(self._frames) == 1)
        with self._file.open("a", encoding="utf-8", newline="") as stream:
            stream.write(text)

    def table(self) -> pd.DataFrame:
        """Return all rows."""
        return pd.concat(self._frames, ignore_index=True)


def rows_of(columns: Iterable[str], n: int) -> pd.DataFrame:
    """Return n rows without any answer: empty texts, and numbers that are none."""
    cells: dict[str, Any] = {}
    for name in columns:
        number = name.startswith(("p:", "raw:")) or name == "strangeness"
        cells[name] = np.full(n, np.nan) if number else pd.array([""] * n, dtype="str")
    return pd.DataFrame(cells)
