"""Features of images that somebody's encoder gave: a matrix in a file, brought to rows of images.

Rows are matched by the images' names, in the file or beside it, or by order where the numbers of
rows and images agree. A matrix is never unpickled.
"""

from __future__ import annotations

import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.spreadsheet import read_sheet
from hurdles.data.table import match_columns
from hurdles.data.untrusted import listed
from hurdles.errors import ModelError
from hurdles.foreign.answers import images_named

_TABLES = {".csv", ".parquet", ".pq", ".tsv", ".txt"}
#: Headings of the column that names the image, in plain letters.
_NAMES = ("image", "path", "file", "filename", "imagename", "imagepath", "imageid", "name", "id")
#: Headings that pandas and R give to the numbers of rows; also any column that counts them.
_INDEX = re.compile(
    r"|unnamed: ?\d+|index|level_0|__index_level_0__|rownames|row\.names|x\.?1?", re.I
)
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, KeyError, OverflowError,
    SyntaxError, MemoryError, RecursionError, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Features:
    """A matrix of features: row i is of `images[i]`, or of the i-th image where no name is given.

    `values` are finite float32 of shape (N, D). `notes` say what of the file is not used.
    """

    values: NDArray[np.float32]
    images: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def rows_for(
        self, images: Sequence[str], paths: Sequence[str] = (), *, what: str
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Return the row of each image, and notes; ModelError unless every image has one.

        Images are known by their names, or by the ends of their paths; by the longest spelling by
        which all are known. `what` is what messages call the file.
        """
        if self.images is None:
            if len(images) != len(self):
                raise ModelError(
                    f"{what}: {len(self)} rows of features for {len(images)} images, and nothing "
                    "says which is which. Give the name of each row's image (--ids FILE, a line "
                    "each), or exactly one row for each image in the order of the table."
                )
            note = f"rows are taken in the order of the table: {len(self)} rows, as many images"
            return np.arange(len(self)), [*self.notes, note]
        best: list[list[int]] = [[] for _ in images]
        for parts in (0, 5, 4, 3, 2, 1):
            for stem, names in product((False, True), filter(None, (images, paths))):
                rows_by_image = _rows_named(self.images, names, parts, stem)
                if sum(map(bool, rows_by_image)) > sum(map(bool, best)):
                    best = rows_by_image
        if missing := [image for image, rows in zip(images, best, strict=True) if not rows]:
            raise ModelError(
                f"{what}: {len(missing)} of {len(images)} images have no row of features: "
                f"{listed(missing)}; the rows are called {listed(self.images)}. Compute them too, "
                "or leave these images out of the table."
            )
        for image, rows in zip(images, best, strict=True):
            for row in rows[1:]:
                if not np.array_equal(self.values[row], self.values[rows[0]]):
                    raise ModelError(
                        f"{what}: {image!r} has two rows that differ ({rows[0] + 1} and {row + 1}, "
                        "counted from 1); keep one, or name the rows by longer paths."
                    )
        extra = len(self) - len({row for rows in best for row in rows})
        chosen = np.array([rows[0] for rows in best], dtype=np.int64)
        others = [f"{extra} rows of features are of other images"] if extra else []
        return chosen, [*self.notes, *others]


def _rows_named(
    cells: Sequence[str], images: Sequence[str], parts: int, stem: bool
) -> list[list[int]]:
    """Return the rows that each image has by one spelling; none where two images share it."""
    rows: list[list[int]] = [[] for _ in images]
    for row, image in enumerate(images_named(cells, images, parts, stem).tolist()):
        if image >= 0:
            rows[image].append(row)
    return rows


def read_features(path: str | Path, *, ids: str | Path | None = None) -> Features:
    """Read a matrix of features: ``.npy``, ``.npz``, CSV or Parquet.

    An ``.npz`` holds one matrix, and may hold the images' names beside it, as ``features.npz`` of
    `hurdles.embed` does; a table has a column of names, best called ``image``, and numbers in all
    others. `ids` is a text file with a name a line, or a table with a column of names.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give features as .npy, .npz, .csv or .parquet.")
    kind = path.suffix.lower()
    notes: tuple[str, ...] = ()
    if kind in _TABLES:
        values, names, notes = _of_table(path)
    elif kind in {".npy", ".npz"}:
        values, names = _of_arrays(path, has_ids=ids is not None)
    else:
        raise ModelError(
            f"{path} is no kind of file that holds features; save .npy (numpy.save), .npz, .csv or "
            ".parquet."
        )
    if ids is not None:
        names = _names_of(Path(ids))
    values = _checked(path, values)
    if names is not None and len(names) != len(values):
        raise ModelError(
            f"{ids or path}: {len(names)} names for {len(values)} rows of features; give one each."
        )
    return Features(values, names, notes)


def _of_arrays(path: Path, *, has_ids: bool) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    try:
        with path.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded.items())
    except _DAMAGE as error:
        if "allow_pickle" in str(error) or "pickle" in str(error).lower():
            raise ModelError(
                f"{path} holds Python objects, pickled, which hurdles does not load: a pickle may "
                "run any program. Save plain numbers where it was made: "
                "numpy.save('features.npy', numpy.asarray(features, dtype='float32'))."
            ) from error
        raise ModelError(
            f"{path} is damaged, or no file of numpy ({error}); save it anew."
        ) from error
    matrices = {name: a for name, a in arrays.items() if a.ndim == 2 and a.dtype.kind in "fiu"}
    if len(matrices) != 1 and "features" in matrices:
        matrices = {"features": matrices["features"]}
    if len(matrices) != 1:
        shapes = ", ".join(f"{n or 'array'} {a.dtype} {a.shape}" for n, a in arrays.items())
        raise ModelError(
            f"{path} must hold one matrix of numbers, a row for each image and a column for each "
            f"feature; it holds {shapes or 'nothing'}."
        )
    (values,) = matrices.values()
    texts = {name: a for name, a in arrays.items() if a.ndim == 1 and a.dtype.kind == "U"}
    place = 0 if len(texts) == 1 else _name_place([*texts])
    if place is None and texts and not has_ids:
        raise ModelError(
            f"{path} holds several arrays of text ({listed([*texts])}), and none is called image; "
            "call the one with the images' names so, or give the names by --ids."
        )
    return values, None if place is None or not texts else tuple([*texts.values()][place].tolist())


def _of_table(path: Path) -> tuple[NDArray[Any], tuple[str, ...] | None, tuple[str, ...]]:
    sheet = read_sheet(path)
    if sheet.ragged:
        raise ModelError(f"{path}: rows {listed(sheet.ragged)} have more cells than the heading.")
    place = _name_place(sheet.columns)
    names = None if place is None else tuple(sheet.cells[place].tolist())
    columns: list[NDArray[np.float64]] = []
    counting: list[str] = []
    known = match_columns([*sheet.columns], {})
    of_images = set(known.places.values()) | {*known.private, *known.spare}
    of_images |= {c for places in known.rivals.values() for c in places}
    for c, head in enumerate(sheet.columns):
        if c == place:
            continue
        cells = sheet.cells[c]
        numbers = pd.to_numeric(cells, errors="coerce")
        wrong = cells[numbers.isna() & (cells.str.lower() != "nan")]
        if len(wrong):
            raise ModelError(
                f"{path}: the column {head!r} holds other things than numbers, for one "
                f"{wrong.iloc[0]!r}. Keep one column of names, called image, and the features; "
                "labels belong in the table of images."
            )
        if c in of_images:
            raise ModelError(
                f"{path}: by its name the column {head!r} says something of the image or the "
                "patient, and is no feature of an encoder. Leave it out; if it is one, rename it."
            )
        column = numbers.to_numpy(dtype="float64")
        if _counts_rows(head, column):
            counting.append(head)
        else:
            columns.append(column)
    if not columns or sheet.cells.empty:
        raise ModelError(
            f"{path} holds no features: {len(sheet.cells)} rows, {len(columns)} columns."
        )
    notes = (f"columns that count rows are no features: {listed(counting)}",) if counting else ()
    return np.stack(columns, axis=1), names, notes


def _counts_rows(head: str, column: NDArray[np.float64]) -> bool:
    """Tell the number of the row, which a sorted table's classes can be read off, from a feature.

    That is whole numbers one after the other, or, in another order, under the name of an index.
    """
    if len(column) < 3 or not (column == np.floor(column)).all():
        return False
    follows = bool((np.diff(column) == 1).all())
    return follows or (
        _INDEX.fullmatch(head.strip()) is not None and len(np.unique(column)) == len(column)
    )


def _name_place(columns: Sequence[str]) -> int | None:
    plain = ["".join(c for c in column.casefold() if c.isalnum()) for column in columns]
    return next((plain.index(name) for name in _NAMES if name in plain), None)


def _names_of(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        raise ModelError(f"{path} is not a file; give the images' names, a line each.")
    if path.suffix.lower() == ".npy":
        try:
            names = np.load(path, allow_pickle=False)
        except _DAMAGE as error:
            raise ModelError(f"{path} holds no names, or pickled ones ({error}).") from error
        return tuple(str(name) for name in np.ravel(names))
    sheet = read_sheet(path)
    place = _name_place(sheet.columns)
    if place is not None:
        return tuple(sheet.cells[place].tolist())
    if len(sheet.columns) > 1:
        raise ModelError(f"{path}: none of {listed(sheet.columns)} is called image; name one so.")
    return (sheet.columns[0], *sheet.cells[0].tolist())  # without a heading


def _checked(path: Path, values: NDArray[Any]) -> NDArray[np.float32]:
    n, width = values.shape
    if not n or not width:
        raise ModelError(f"{path} is empty: {n} rows, {width} columns.")
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    bad = ~np.isfinite(numbers)
    if bad.any():
        row, column = (int(each[0]) for each in np.nonzero(bad))
        rows = int(bad.any(axis=1).sum())
        raise ModelError(
            f"{path}: {rows} of {n} rows hold values that are not finite; the first is "
            f"{values[row, column]} in row {row + 1}, column {column + 1} (counted from 1). "
            "Compute them anew, or leave these images out."
        )
    if not np.ptp(numbers, axis=0).any():
        raise ModelError(f"{path}: all {n} rows are alike, so the features tell nothing.")
    return numbers
