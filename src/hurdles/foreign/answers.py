"""Answers of a model as somebody's program wrote them: a table with a row per image.

Any CSV, Excel or Parquet table is read: its habits are `hurdles.data.spreadsheet`'s. Columns are
known by name, never by their place: of two columns without a name nobody can say which class is
which. Everything that is wrong is named at once, with the rows that it is wrong in; the rows that
are right can be used all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.classes import same_class
from hurdles.data.files import reads
from hurdles.data.image_file import IMAGE_SUFFIXES
from hurdles.data.spreadsheet import read_sheet
from hurdles.data.untrusted import from_cells, listed
from hurdles.errors import ManifestError, ModelError
from hurdles.foreign.answer_columns import AnswerColumns, numbers

__all__ = ["AnswerTable", "read_answers"]

_SUM, _SUM_ROUNDED = 1e-3, 0.05


@dataclass(frozen=True, eq=False)
class AnswerTable:
    """Probabilities of every class, a row per image, and what is wrong with the others.

    Parameters
    ----------
    labels : tuple of str
        The classes.
    frame : DataFrame
        ``image``; where the table has the truth, ``label`` and, as far as it has them,
        ``patient``, ``source``, ``view``, ``sex``, ``age`` and ``split``, as text or None;
        ``prediction`` where it holds decisions; then one ``p:<class>`` per class, float64 within
        [0, 1], rows that sum to one, NaN where there is no usable answer.
    columns : mapping of str to str
        The table's own name of each column that was used, by the name in `frame`.
    notes : tuple of str
        What a reader should know: columns and rows that are not used, what was guessed.
    problems : tuple of str
        What is wrong, a sentence each, with rows. Empty where every image has its answer.
    is_hard : bool
        Whether the probabilities are 0 and 1 because the table holds decisions only.
    """

    labels: tuple[str, ...]
    frame: pd.DataFrame
    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    is_hard: bool = False

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities, shape (n, K), in the order of the labels; NaN without a usable answer."""
        return self.frame[[f"p:{label}" for label in self.labels]].to_numpy(dtype="float64")

    @property
    def answered(self) -> NDArray[np.bool_]:
        """True where an image has a usable answer, shape (n,)."""
        return np.asarray(~np.isnan(self.probabilities).any(axis=1))


def read_answers(
    path: str | Path,
    images: Sequence[str] | None,
    labels: Sequence[str] | None,
    *,
    positive: str | None = None,
    columns: Mapping[str, str] | None = None,
    truth: bool = False,
    may_hold_truth: bool = False,
) -> AnswerTable:
    """Read a table of answers: probabilities, one of the positive class, or decisions.

    A column belongs to a class if it has its name, in any case, with or without a word such as
    ``p:`` or ``prob_`` before it. Of two classes one column is enough. Where there is none, a
    column such as ``prediction`` with names of classes counts as probabilities of 0 and 1.

    Parameters
    ----------
    path : str or Path
        The table.
    images : sequence of str, optional
        The images that should have a row, by name or path; rows are put into their order. Cells
        may have the whole path, its last parts or the bare name, with or without an extension.
        Default: every row is an image, named by the table.
    labels : sequence of str, optional
        The classes, in the order wanted. Default, with `truth`: the classes
        of the truth, and of columns called ``p:<class>``.
    positive : str, optional
        Of two classes, the one whose probability a column gives that no class is the name of; of
        a model with several findings, the one that is asked.
    columns : mapping of str to str, optional
        A column of the table to ``image``, ``prediction``, ``p:<class>`` or, with `truth`, a
        column of the manifest; to an empty text where it is not to be used.
    truth : bool
        Whether the table has the true class too, in a column such as ``label``, and patients.
    may_hold_truth : bool
        Whether a column such as ``label`` may be the true class where it is not asked for; then it
        is not taken for decisions, unless `columns` says so.

    Returns
    -------
    AnswerTable
        In the order of `images`, or of the table. Look at `AnswerTable.problems` before use.

    Raises
    ------
    ModelError
        If the file is no table, or its columns do not tell the images, the classes or the truth.
    """
    reads([path])
    return _Reader(
        Path(path), images, labels, positive, columns or {}, truth, may_hold_truth
    ).answers()


class _Reader:
    """One table on its way to answers."""

    def __init__(
        self,
        path: Path,
        images: Sequence[str] | None,
        labels: Sequence[str] | None,
        positive: str | None,
        wanted: Mapping[str, str],
        truth: bool,
        may_hold_truth: bool,
    ) -> None:
        self.path, self.images = path, images
        try:
            self.sheet = read_sheet(path)
        except ManifestError as error:
            raise ModelError(str(error)) from error
        self.heads = self.sheet.columns
        self.cells = from_cells(self.sheet.cells)
        self.notes = [*self.sheet.notes]
        self.problems: list[str] = []
        if self.sheet.ragged:
            self.problems.append(
                f"{_rows(self.sheet.ragged)} have more cells than the {len(self.heads)} columns; "
                "quote text that holds the separator, and write decimals with a point"
            )
        if not len(self.cells):
            raise self.error("it has a heading, but no row below it")
        self.columns = AnswerColumns(
            path,
            self.heads,
            self.cells,
            labels,
            positive=positive,
            wanted=wanted,
            truth=truth,
            has_images=images is not None,
            may_hold_truth=may_hold_truth,
        )
        self.labels, self.places = self.columns.labels, self.columns.places

    def error(self, message: str) -> ModelError:
        return ModelError(f"{self.path}: {message}.")

    def answers(self) -> AnswerTable:
        names, rows = self.matched_images()
        given, usable = self.probabilities()
        if self.sheet.ragged:
            usable &= ~np.isin(self.sheet.numbers, self.sheet.ragged)
        frame = pd.DataFrame({"image": names})
        for ours, place in self.places.items():
            if not ours.startswith("p:") and ours not in ("image", "score"):
                cells = self.cells[place].to_numpy(dtype=object)
                own = [None if r < 0 or not cells[r] else cells[r] for r in rows]
                frame[ours] = pd.Series(own, dtype=object)
        there = np.array([r >= 0 and bool(usable[r]) for r in rows], dtype=bool)
        for k, label in enumerate(self.labels):
            frame[f"p:{label}"] = np.where(there, given[rows, k], np.nan)
        if left := self.columns.left_over():
            self.notes.append(f"columns that are not used: {listed(left, 8)}")
        return AnswerTable(
            self.labels,
            frame,
            {ours: self.heads[place] for ours, place in self.places.items()},
            tuple(self.notes),
            tuple(self.problems),
            self.columns.is_hard,
        )

    # --- images ------------------------------------------------------------------------------

    def matched_images(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return the images' names and the row of each, -1 where there is none."""
        if self.images is None:
            return self.own_images()
        places = [self.places["image"]] if "image" in self.places else self.id_places()
        best, matches = places[0], np.full(len(self.cells), -1)
        for place in places:
            named = _positions(self.cells[place].tolist(), self.images)
            if (named >= 0).sum() > (matches >= 0).sum():
                best, matches = place, named
        self.places["image"] = best
        cells = self.cells[best].tolist()
        if not (matches >= 0).any():
            raise self.error(
                f"no row names one of the {len(self.images)} images, which are "
                f"{listed(self.images)}; it has {self.columns.listed()}, and {self.heads[best]!r} "
                f"begins with {listed(cells)}. Write the name of each image into a column 'image': "
                "a patient may have several images"
            )
        return list(self.images), self.rows_of(matches, cells)

    def id_places(self) -> list[int]:
        """Return the columns that may name images, the likeliest first."""
        others = {p for ours, p in self.places.items() if ours.startswith("p:") or ours == "score"}
        return [p for p in range(len(self.heads)) if p not in others | self.columns.unused] or [0]

    def rows_of(self, matches: NDArray[np.int64], cells: list[str]) -> NDArray[np.int64]:
        """Return the row of each image; say what is missing, left over, or there twice."""
        assert self.images is not None
        rows = np.full(len(self.images), -1)
        cells_of = [*zip(*(self.sheet.cells[p].tolist() for p in self.sheet.cells), strict=True)]
        doubled: dict[int, list[int]] = {}
        for row, image in enumerate(matches.tolist()):
            if image < 0:
                continue
            if rows[image] < 0:
                rows[image] = row
            elif cells_of[row] != cells_of[rows[image]]:
                doubled.setdefault(image, [int(rows[image])]).append(row)
        if extra := np.flatnonzero(matches < 0).tolist():
            some = [cells[row] for row in extra]
            self.notes.append(f"{len(extra)} rows are of other images, for one {some[0]!r}")
        missing = [self.images[i] for i in np.flatnonzero(rows < 0).tolist()]
        if missing:
            self.problems.append(
                f"{len(missing)} of {len(self.images)} images have no row: {listed(missing)}"
            )
        if doubled:
            image, where = next(iter(doubled.items()))
            numbers = [self.sheet.numbers[row] for row in where]
            self.problems.append(
                f"{len(doubled)} images have several rows that differ, for one "
                f"{self.images[image]!r} ({_rows(numbers)})"
            )
            rows[[*doubled]] = -1
        return rows

    def own_images(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return every row as an image, by its own name."""
        rows = np.arange(len(self.cells))
        place = self.places.get("image")
        if place is None:
            self.notes.append("no column names the images, so they are called by their rows")
            return [f"row {n}" for n in self.sheet.numbers], rows
        names = self.cells[place].tolist()
        counts = Counter(names)
        for n in (n for n in counts if counts[n] > 1 or not n):
            numbers = [k for k, m in zip(self.sheet.numbers, names, strict=True) if m == n]
            if n:
                self.problems.append(f"the image {n!r} has several rows ({_rows(numbers)})")
            else:
                self.problems.append(f"{self.heads[place]!r} is empty in {_rows(numbers)}")
        return names, rows

    # --- numbers -----------------------------------------------------------------------------

    def probabilities(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return probabilities (rows, K), and the rows whose are usable."""
        if self.columns.is_hard:
            return self.decisions()
        if "score" in self.places or (self.columns.positive is not None and len(self.labels) == 2):
            return self.of_one_class()
        places = [self.places[f"p:{label}"] for label in self.labels]
        given = np.stack([numbers(self.cells[place]) for place in places], axis=1)
        usable = self.in_range(given, places)
        if not usable.any():
            return given, usable
        sums = given.sum(axis=1)
        away = np.abs(np.where(usable, sums, 1) - 1)
        if not (away > _SUM).any():
            return given, usable
        rounding = len(places) * 0.5 * 10.0 ** -min(map(self.decimals, places))
        if (wrong := away > max(_SUM, min(rounding, _SUM_ROUNDED) + 1e-9)).any():
            self.problems.append(
                f"the probabilities of {self.named(wrong)} do not sum to one (they sum to "
                f"{sums[wrong].min():.4g} to {sums[wrong].max():.4g}). Of a model with several "
                "findings in one image (sigmoid), ask for one class against the rest; else "
                "apply softmax, or write a column for every class"
            )
            usable[:] = False
        else:
            rounded = away > _SUM
            self.notes.append(
                f"in {int(rounded.sum())} rows the probabilities sum to one only when rounded; "
                "they are divided by their sum"
            )
            given[rounded] /= sums[rounded, None]
        return given, usable

    def of_one_class(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return probabilities of two classes from those of one."""
        place = self.places.get("score", self.places.get(f"p:{self.columns.positive}", -1))
        one = numbers(self.cells[place])
        usable = self.in_range(one[:, None], [place])
        other = next(label for label in self.labels if label != self.columns.positive)
        self.places.pop(f"p:{other}", None)
        self.notes.append(
            f"{self.heads[place]!r} is read as the probability of {self.columns.positive!r}; that "
            f"of {other!r} is the rest"
        )
        both = {self.columns.positive: one, other: 1 - one}
        return np.stack([both[label] for label in self.labels], axis=1), usable

    def decisions(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return probabilities of 0 and 1 from decisions."""
        place = self.places["prediction"]
        spelled = [same_class(label) for label in self.labels]
        cells = [same_class(cell) for cell in self.cells[place].tolist()]
        given = np.array([[float(cell == each) for each in spelled] for cell in cells])
        usable = given.sum(axis=1) == 1
        if not usable.all():
            self.problems.append(f"{self.heads[place]!r} is empty in {self.named(~usable)}")
        self.notes.append(
            f"{self.heads[place]!r} holds decisions, which count as probabilities of 0 and 1: "
            "areas and calibration say little of them"
        )
        return given, usable

    def in_range(self, given: NDArray[np.float64], places: list[int]) -> NDArray[np.bool_]:
        """Return the rows of numbers within [0, 1]; numbers outside spoil the table."""
        usable = np.isfinite(given).all(axis=1)
        if not usable.all():
            row, column = np.argwhere(~np.isfinite(given))[0]
            cell = self.cells[places[column]].iloc[row]
            self.problems.append(
                f"{self.named(~usable)}: no number in {self.heads[places[column]]!r} "
                f"({cell!r})" if cell else
                f"{self.named(~usable)}: {self.heads[places[column]]!r} is empty"
            )  # fmt: skip
        whole = given[usable]
        outside = usable & ((given < -1e-6) | (given > 1 + 1e-6)).any(axis=1)
        if outside.any():
            percent = whole.min() >= 0 and whole.max() <= 100.01 and (
                given.shape[1] == 1 or bool(np.allclose(whole.sum(axis=1), 100, atol=1))
            )  # fmt: skip
            hint = (
                "they look like percent: divide them by 100"
                if percent
                else "they look like logits: apply softmax, or of a single output the logistic "
                "function, before they are written"
            )
            self.problems.append(
                f"probabilities of {self.named(outside)} are outside 0 to 1 "
                f"({whole.min():.4g} to {whole.max():.4g}); {hint}"
            )
            usable = np.zeros_like(usable)
        np.clip(given, 0, 1, out=given)
        return np.asarray(usable)

    def decimals(self, place: int) -> int:
        """Return how many decimals a column is written with."""
        written = []
        for cell in self.cells[place].tolist():
            digits = re.search(r"[.,](\d+) ?%?$", cell)
            if digits or cell.endswith("%"):  # 33 % is 0.33
                written.append((len(digits[1]) if digits else 0) + 2 * cell.endswith("%"))
        return max(written, default=9)

    def named(self, rows: NDArray[np.bool_] | np.bool_) -> str:
        return _rows(
            [n for n, it in zip(self.sheet.numbers, np.atleast_1d(rows), strict=True) if it]
        )


def _rows(numbers: Sequence[int]) -> str:
    return f"row{'s' if len(numbers) != 1 else ''} {listed(numbers, 6)}" + (
        f" ({len(numbers)} in all)" if len(numbers) > 6 else ""
    )


def _positions(cells: Sequence[str], images: Sequence[str]) -> NDArray[np.int64]:
    """Return which image each cell names, -1 where none; by the longest spelling that serves."""
    best = np.full(len(cells), -1)
    for parts in (0, 3, 2, 1):
        for stem in (False, True):
            hits = images_named(cells, images, parts, stem)
            if (hits >= 0).sum() > (best >= 0).sum():
                best = hits
            if (best >= 0).all():
                return best
    return best


def images_named(
    cells: Sequence[str], images: Sequence[str], parts: int, stem: bool
) -> NDArray[np.int64]:
    """Return which image each cell names by the last parts of its path, -1 where none or several.

    All parts count for 0; `stem`: an image's extension does not.
    """
    names: dict[str, int] = {}
    for i, image in enumerate(images):
        key = _tail(image, parts, stem)
        names[key] = -1 if key in names else i
    hits = [names.get(_tail(cell, parts, stem), -1) for cell in cells]
    return np.array(hits, dtype=np.int64)


def _tail(name: str, parts: int, stem: bool) -> str:
    pieces = name.replace("\\", "/").split("/")
    tail = "/".join(pieces[-parts:])
    if stem:
        head, dot, end = tail.rpartition(".")
        return head if dot and f".{end.casefold()}" in IMAGE_SUFFIXES else tail
    return tail
