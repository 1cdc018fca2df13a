"""The table of images: one row each, validated once, then trusted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles.data.files import reads, remove, replacing
from hurdles.data.vocabulary import Sex, Split, View
from hurdles.errors import ManifestError

__all__ = ["COLUMNS", "Manifest", "exclusions_table"]

#: Every column with its meaning. Only the first three are required; the others may be left out,
#: and a cell may be empty where a thing is not known.
COLUMNS: dict[str, str] = {
    "image": "unique name of the image within the manifest, e.g. 'NORMAL/NORMAL (1).jpeg'",
    "path": "absolute path of the file",
    "label": "class, as text",
    "patient": "who it shows, unique within its source; empty where not known, never guessed",
    "source": "collection or hospital that the image comes from",
    "view": "PA, AP, AP Supine or LL (DICOM View Position); empty where not known",
    "sex": "F, M or O (DICOM Patient's Sex); empty where not known",
    "age": "years, 0 to 120; empty where not known",
    "split": "train, validation or test; empty where not assigned",
    "mask": "absolute path of a lung mask; empty where there is none",
}
_REQUIRED = ("image", "path", "label")
_VOCABULARIES: dict[str, list[str]] = {
    "view": [v.value for v in View],
    "sex": [s.value for s in Sex],
    "split": [s.value for s in Split],
}


def exclusions_table(rows: Iterable[tuple[str, str]] = ()) -> pd.DataFrame:
    """Return a table of files left out: columns ``path`` and ``reason``, both text."""
    return pd.DataFrame(list(rows), columns=["path", "reason"], dtype="str")


@dataclass(frozen=True, eq=False)
class Manifest:
    """One row per image.

    Parameters
    ----------
    frame : DataFrame
        Columns as in `COLUMNS`; missing optional columns are added empty, further columns (say
        ``offset`` or ``finding``) are kept as they are.
    exclusions : DataFrame, optional
        Files that were seen and left out, with columns ``path`` and ``reason``. They travel with
        the manifest so that the report can list them.

    Raises
    ------
    ManifestError
        If a required cell is empty, an image is named twice, or a term is not in its vocabulary.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": ["a", "b"], "path": ["/a.png", "/b.png"],
    ...                      "label": ["Normal", "COVID-19"], "patient": ["p1", "p2"]})
    >>> manifest = Manifest(rows)
    >>> len(manifest), manifest.labels, manifest.missing_patients
    (2, ['COVID-19', 'Normal'], 0)
    """

    frame: pd.DataFrame
    exclusions: pd.DataFrame = field(default_factory=exclusions_table)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _validated(self.frame))

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def labels(self) -> list[str]:
        """The classes, sorted."""
        return sorted(self.frame["label"].unique())

    @property
    def counts(self) -> dict[str, int]:
        """Images per class, in the order of `labels`."""
        return {label: int((self.frame["label"] == label).sum()) for label in self.labels}

    @property
    def sources(self) -> list[str]:
        """The sources that are named, sorted."""
        return sorted(self.frame["source"].dropna().unique())

    @property
    def missing_patients(self) -> int:
        """How many images name no patient."""
        return int(self.frame["patient"].isna().sum())

    @property
    def known_patients(self) -> int:
        """How many patients are named, counted apart for each source."""
        return int(self.groups[self.frame["patient"].notna()].nunique())

    @property
    def groups(self) -> pd.Series[str]:
        """One group per patient, as text, never shared between sources.

        An image without a patient is a group of its own: callers that must not assume this check
        `missing_patients` first.
        """
        source = self.frame["source"].fillna("")
        named = source + "\x1f" + self.frame["patient"].fillna("")
        alone = "\x1e" + self.frame["image"]
        return named.where(self.frame["patient"].notna(), alone).rename("group")

    @property
    def content_hash(self) -> str:
        """SHA-256 over what defines the experiment's data: every column but the absolute paths."""
        columns = [c for c in COLUMNS if c not in ("path", "mask")]
        text = self.frame.sort_values("image")[columns].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def select(self, keep: pd.Series[bool] | np.ndarray | Sequence[bool]) -> Manifest:
        """Return the rows where `keep` is true, whole and in order, with the same exclusions."""
        mask = np.asarray(keep, dtype=bool)
        return Manifest(self.frame[mask].reset_index(drop=True), self.exclusions)

    def part(self, split: Split | str) -> Manifest:
        """Return the rows of one split."""
        return self.select(self.frame["split"] == Split(split).value)

    def with_split(self, split: pd.Series[str] | Sequence[str]) -> Manifest:
        """Return the same rows with another ``split`` column."""
        return Manifest(self.frame.assign(split=np.asarray(split, dtype=object)), self.exclusions)

    def without(self, images: Iterable[str], reasons: Iterable[str]) -> Manifest:
        """Return the rows whose image is not named, and remember why the others were left out."""
        why = dict(zip(images, reasons, strict=True))
        gone = self.frame["image"].isin(list(why))
        rows = zip(self.frame.loc[gone, "path"], self.frame.loc[gone, "image"], strict=True)
        more = exclusions_table((path, why[image]) for path, image in rows)
        kept = self.frame[~gone].reset_index(drop=True)
        return Manifest(kept, pd.concat([self.exclusions, more], ignore_index=True))

    def save(self, path: str | Path) -> Path:
        """Write the rows to `path` as CSV, or Parquet if the name ends so; return the path.

        The exclusions go beside it, as ``<stem>.exclusions.csv``, where there are any.
        """
        path = Path(path)
        # The exclusions first: whoever finds the table finds them, also after an interruption, and
        # never those of a table that stood here before.
        if len(self.exclusions):
            with replacing(_exclusions_path(path)) as part:
                self.exclusions.to_csv(part, index=False)
        else:
            remove(_exclusions_path(path))
        with replacing(path) as part:
            if path.suffix == ".parquet":
                self.frame.to_parquet(part, index=False)
            else:
                self.frame.to_csv(part, index=False)
        return path

    @staticmethod
    def files(path: str | Path | None) -> list[Path]:
        """Return the files that `save` may write: the table, and the exclusions beside it."""
        return [] if path is None else [Path(path), _exclusions_path(Path(path))]

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Read a CSV or Parquet; relative paths in it count from the file's own folder.

        A table without an ``image`` column takes its paths as names.

        Raises
        ------
        ManifestError
            If `path` is not a file, not a table, or not a manifest.
        """
        path = Path(path)
        reads([path, _exclusions_path(path)])
        frame = _read_table(path)
        if "path" in frame:
            if "image" not in frame:
                frame.insert(0, "image", frame["path"])
            here = path.parent.absolute()
            for column in {"path", "mask"} & set(frame.columns):
                filled = frame[column].notna()
                frame.loc[filled, column] = [str(here / p) for p in frame.loc[filled, column]]
        beside = _exclusions_path(path)
        exclusions = pd.read_csv(beside, dtype="str") if beside.exists() else exclusions_table()
        try:
            return cls(frame, exclusions)
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error


def _exclusions_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.exclusions.csv")


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ManifestError(f"{path} is not a file; give a CSV or Parquet with one row per image.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # "NA" and "None" may be somebody's label: only an empty cell is empty.
        return pd.read_csv(
            path,
            dtype={c: "str" for c in COLUMNS if c != "age"},
            keep_default_na=False,
            na_values={c: [""] for c in COLUMNS},
        )
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a table ({error}).") from error


def _validated(frame: pd.DataFrame) -> pd.DataFrame:
    missing = [c for c in _REQUIRED if c not in frame]
    if missing:
        raise ManifestError(
            f"column {', '.join(map(repr, missing))} is missing; there are "
            f"{', '.join(map(repr, frame.columns))}. A manifest needs image, path and label."
        )
    frame = frame.reset_index(drop=True).copy()
    for column in COLUMNS:
        if column not in frame:
            frame[column] = None
    for column in COLUMNS:
        frame[column] = _typed(column, frame[column])
    _refuse_empty(frame)
    _refuse_repeated(frame)
    extra = [c for c in frame.columns if c not in COLUMNS]
    return frame[[*COLUMNS, *extra]]


def _typed(column: str, values: pd.Series) -> pd.Series:
    if column == "age":
        ages = pd.to_numeric(values, errors="coerce").astype("float64")
        wrong = values[(values.notna() & ages.isna()) | (ages < 0) | (ages > 120)]
        if len(wrong):
            raise ManifestError(
                f"'age' is not a number of years between 0 and 120 in {_rows(wrong.index)}: "
                f"{wrong.iloc[0]!r}. Correct it or leave the cell empty."
            )
        return ages
    text = values.astype("str").where(values.notna(), None).astype("str")
    text = text.where(text != "", None)
    known = _VOCABULARIES.get(column)
    wrong = text[text.notna() & ~text.isin(known)] if known else text[:0]
    if known and len(wrong):
        raise ManifestError(
            f"{column!r} is {wrong.iloc[0]!r} in {_rows(wrong.index)}; it must be one of "
            f"{', '.join(known)}, or empty where it is not known."
        )
    return text


def _refuse_empty(frame: pd.DataFrame) -> None:
    for column in _REQUIRED:
        empty = frame.index[frame[column].isna()]
        if len(empty):
            raise ManifestError(
                f"{column!r} is empty in {_rows(empty)}. Fill them in or drop the rows."
            )


def _refuse_repeated(frame: pd.DataFrame) -> None:
    for column in ("image", "path"):
        again = frame.index[frame[column].duplicated(keep=False)]
        if len(again):
            raise ManifestError(
                f"{column!r} is repeated in {_rows(again)}: {frame[column][again[0]]!r}. "
                "Every image stands in one row; drop the copies."
            )


def _rows(index: Iterable[int], most: int = 3) -> str:
    """Name rows as a person counts them in a spreadsheet: the header is row 1."""
    numbers = [int(i) + 2 for i in index]
    shown = ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")
    return f"{len(numbers)} row{'s' if len(numbers) != 1 else ''} ({shown})"
