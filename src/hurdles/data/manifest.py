"""The table of images: one row per image, checked once; and who is one person in it."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hurdles.data.files import reads, remove, replacing, write_text
from hurdles.data.untrusted import as_csv, from_cells, listed, notebook_table
from hurdles.data.vocabulary import Sex, Split, View
from hurdles.errors import ManifestError

__all__ = ["COLUMNS", "Manifest"]

#: Every column with its meaning. Only the first three are required; the others may be left out,
#: and a cell may be empty where a thing is not known.
COLUMNS: dict[str, str] = {
    "image": "unique name of the image within the manifest, e.g. 'NORMAL/NORMAL (1).jpeg'",
    "path": "absolute path of the file",
    "label": "class, as text; '(no class)' where none is known, as some verbs allow",
    "patient": "who it shows, unique within its source; empty where not known, never guessed",
    "source": "collection or hospital that the image comes from",
    "view": "PA, AP, AP Supine or LL (DICOM View Position); empty where not known",
    "sex": "F, M or O (DICOM Patient's Sex); empty where not known",
    "age": "years, 0 to 120; empty where not known",
    "split": "train, validation or test; empty where not assigned",
    "mask": "absolute path of a lung mask; empty where there is none",
}
#: The label of every image where no class is known.
UNLABELED = "(no class)"
#: Columns of which no cell may be empty.
REQUIRED = ("image", "path", "label")
_VOCABULARIES: dict[str, list[str]] = {
    "view": [v.value for v in View],
    "sex": [s.value for s in Sex],
    "split": [s.value for s in Split],
}
#: A further column of a manifest: who an image shows whatever its source, where ids were joined.
JOINED = "joined_patient"
#: A group whose name begins so is an image without a patient, by itself.
UNKNOWN = "\x1e"
_JOINED = "\x1d"


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
    notes : tuple of str, optional
        How the images were read, and what of the user's was not used, a sentence each. They are
        not saved with the table.

    Raises
    ------
    ManifestError
        If a required cell is empty, an image is named twice, or a term is not in its vocabulary;
        one message names everything that is wrong.

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
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if missing := [c for c in REQUIRED if c not in self.frame]:
            raise ManifestError(
                f"column {', '.join(map(repr, missing))} is missing; there are "
                f"{', '.join(map(repr, self.frame.columns))}. A manifest needs image, path and "
                "label."
            )
        frame = self.frame.reset_index(drop=True).copy()
        for column in COLUMNS:
            frame[column] = _text(column, frame[column]) if column in frame else None
        if messages := problems(frame):
            more = f"{len(messages)} things are wrong:\n- " if len(messages) > 1 else ""
            raise ManifestError(more + "\n- ".join(messages))
        for column in COLUMNS:
            if column == "age":
                frame[column] = frame[column].astype("float64")
            elif frame[column].dtype != "str":
                frame[column] = frame[column].astype("str")
        extra = [c for c in frame.columns if c not in COLUMNS]
        object.__setattr__(self, "frame", frame[[*COLUMNS, *extra]])

    def __len__(self) -> int:
        return len(self.frame)

    def _repr_html_(self) -> str:
        """Show how many images there are of each class, and in which part of the split."""
        frame = self.frame.assign(patient=self.groups.where(self.frame["patient"].notna()))
        parts = [s.value for s in Split] if frame["split"].notna().any() else []
        rows = [
            [label, len(own), own["patient"].nunique(), *((own["split"] == p).sum() for p in parts)]
            for label, own in ((each, frame[frame["label"] == each]) for each in self.labels)
        ]
        title = f"Manifest: {len(self)} images, {self.known_patients} known patients"
        unknown, left = self.missing_patients, len(self.exclusions)
        notes = [f"sources: {', '.join(self.sources)}"] if self.sources else []
        notes += [f"images without a patient: {unknown}"] if unknown else []
        notes += [f"left out, see .exclusions: {left}"] if left else []
        return notebook_table(title, ["class", "images", "patients", *parts], rows, notes)

    @property
    def labels(self) -> list[str]:
        """The classes, sorted."""
        return sorted(self.frame["label"].unique())

    @property
    def has_classes(self) -> bool:
        """True if the class of every image is known; where it is not, the label is a stand-in."""
        return not bool((self.frame["label"] == UNLABELED).any())

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
        """Number of images that name no patient."""
        return int(self.frame["patient"].isna().sum())

    @property
    def known_patients(self) -> int:
        """Number of patients that are named, counted apart for each source."""
        return int(self.groups[self.frame["patient"].notna()].nunique())

    @property
    def groups(self) -> pd.Series[str]:
        """One group per patient, as text; see `hurdles.data.manifest.groups_of`.

        An image without a patient is a group of its own: callers that must not assume this check
        `missing_patients` first.
        """
        return groups_of(self.frame)

    @property
    def content_hash(self) -> str:
        """SHA-256 over what defines the experiment's data: every column but the absolute paths."""
        columns = [c for c in COLUMNS if c not in ("path", "mask")]
        text = self.frame.sort_values("image")[columns].to_csv(index=False, lineterminator="\n")
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def select(self, keep: pd.Series[bool] | np.ndarray | Sequence[bool]) -> Manifest:
        """Return the rows where `keep` is true, whole and in order, with the same exclusions."""
        mask = np.asarray(keep, dtype=bool)
        part = copy(self)  # rows of a table that was checked are not checked again
        object.__setattr__(part, "frame", self.frame[mask].reset_index(drop=True))
        return part

    def part(self, split: Split | str) -> Manifest:
        """Return the rows of one split."""
        return self.select(self.frame["split"] == Split(split).value)

    def with_split(self, split: pd.Series[str] | Sequence[str]) -> Manifest:
        """Return the same rows with another ``split`` column."""
        return replace(self, frame=self.frame.assign(split=np.asarray(split, dtype=object)))

    def with_patients_joined(self) -> Manifest:
        """Return the same rows with equal patient ids joined, whatever their source."""
        # With a word before it, an id of digits stays text in a CSV.
        patient = self.frame["patient"]
        joined = ("patient " + patient).where(patient.notna())
        return replace(self, frame=self.frame.assign(**{JOINED: joined}))

    def without(self, images: Iterable[str], reasons: Iterable[str]) -> Manifest:
        """Return the rows whose image is not named, and remember why the others were left out."""
        why = dict(zip(images, reasons, strict=True))
        is_gone = self.frame["image"].isin(list(why))
        gone = self.frame[is_gone]
        more = exclusions_table(zip(gone["path"], gone["image"].map(why), strict=True))
        exclusions = pd.concat([self.exclusions, more], ignore_index=True)
        return replace(self.select(~is_gone), exclusions=exclusions)

    def save(self, path: str | Path) -> Path:
        """Write the rows to `path` as CSV, or Parquet if the name ends so; return the path.

        The exclusions go beside it, as ``<stem>.exclusions.csv``, where there are any.

        Raises
        ------
        ManifestError
            If the name is that of a workbook.
        """
        path = Path(path)
        if path.suffix.lower() in {".ods", ".xls", ".xlsm", ".xlsx"}:
            raise ManifestError(
                f"{path}: a manifest is written as .csv or .parquet, not as a book."
            )
        # The exclusions first: whoever finds the table finds them, also after an interruption, and
        # never those of a table that stood here before.
        if len(self.exclusions):
            write_text(_exclusions_path(path), as_csv(self.exclusions))
        else:
            remove(_exclusions_path(path))
        if path.suffix == ".parquet":
            with replacing(path) as part:
                self.frame.to_parquet(part, index=False)
        else:
            write_text(path, as_csv(self.frame))
        return path

    @staticmethod
    def files(path: str | Path | None) -> list[Path]:
        """Return the files that `save` may write: the table, and the exclusions beside it."""
        return [] if path is None else [Path(path), _exclusions_path(Path(path))]

    @classmethod
    def load(cls, path: str | Path) -> Manifest:
        """Read a CSV or Parquet that `save` wrote; relative paths count from its own folder.

        A table without an ``image`` column takes its paths as names. Tables of other programs, with
        other separators, column names and terms, are read by `hurdles.data.table`.

        Raises
        ------
        ManifestError
            If `path` is not a file, not a table, or not a manifest.
        """
        path = Path(path)
        reads([path, _exclusions_path(path)])
        frame = from_cells(_read_table(path))
        if "path" in frame:
            if "image" not in frame:
                frame.insert(0, "image", frame["path"])
            here = path.parent.absolute()
            for column in {"path", "mask"} & set(frame.columns):
                frame[column] = _absolute(frame[column], here)
        try:
            return cls(frame, read_exclusions(path))
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error


def read_exclusions(path: Path) -> pd.DataFrame:
    """Return the exclusions that `Manifest.save` wrote beside a table; none if it wrote none."""
    beside = _exclusions_path(path)
    return from_cells(pd.read_csv(beside, dtype="str")) if beside.exists() else exclusions_table()


def _exclusions_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.exclusions.csv")


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ManifestError(f"{path} is not a file; give a CSV or Parquet with one row per image.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        content = path.read_bytes()
        frame = _plain_csv(content)
        return _typed_csv(io.BytesIO(content)) if frame is None else frame
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read as a table ({error}).") from error


_TEXTS = tuple(c for c in COLUMNS if c != "age")


def _typed_csv(content: io.BytesIO, **options: Any) -> pd.DataFrame:
    # "NA" and "None" may be somebody's label: only an empty cell is empty.
    frame: pd.DataFrame = pd.read_csv(
        content,
        dtype=dict.fromkeys(_TEXTS, "str"),
        keep_default_na=False,
        na_values={c: [""] for c in COLUMNS},
        **options,
    )
    return frame


def _plain_csv(content: bytes) -> pd.DataFrame | None:
    """Read what `_typed_csv` would, in a fraction of its time; None where the two might differ.

    That is where cells are quoted, rows are uneven or columns share a name. Arrow reads all cells
    as text; those of further columns and ages are typed by `_typed_csv` still.
    """
    from pyarrow import ArrowException, BufferOutputStream, BufferReader, csv, string

    head, _, _ = content.partition(b"\n")
    names = head.decode("utf-8-sig", "replace").rstrip("\r").split(",")
    odd = b'"' in content or b"\0" in content or content.count(b"\r") != content.count(b"\r\n")
    if odd or not all(names) or not 1 < len(names) == len({*names}):
        return None
    kinds = csv.ConvertOptions(
        column_types=dict.fromkeys(names, string()), null_values=[""], strings_can_be_null=True
    )
    try:
        cells = csv.read_csv(BufferReader(content), convert_options=kinds)
        if cells.column_names != names:
            return None
        frame: pd.DataFrame = cells.select([c for c in names if c in _TEXTS]).to_pandas()
        if typed := [c for c in names if c not in _TEXTS]:
            written = BufferOutputStream()
            csv.write_csv(cells.select(typed), written)
            text = io.BytesIO(written.getvalue())
            frame[typed] = _typed_csv(text, skip_blank_lines=False)
    except (ArrowException, UnicodeDecodeError):
        return None
    return frame[names]


#: Paths that pathlib writes otherwise: with a slash too many, or a step to where one is.
_UNTIDY = r"//|/$|^$|(?:^|/)\.(?:/|$)"


def _absolute(paths: pd.Series, here: Path) -> pd.Series:
    """Return ``str(here / path)`` for every path, where it can be without an object for each."""
    # By position: rows with a cell too many have an index, in which one name may stand twice.
    filled = paths.reset_index(drop=True).dropna().astype("str")
    root = os.path.join(here, "")  # noqa: PTH118 - with the slash at its end
    whole = (root + filled).where(~filled.str.startswith("/"), filled)
    slow = filled.str.contains(_UNTIDY) if os.sep == "/" else filled.notna()
    joined = pd.Series([str(here / path) for path in filled[slow]], filled.index[slow], dtype="str")
    whole = whole.where(~slow, joined.reindex(filled.index))
    return whole.reindex(range(len(paths))).set_axis(paths.index)


def _text(column: str, values: pd.Series) -> pd.Series:
    """Return cells as text (ages as numbers, where they are), blanks around them removed."""
    if column == "age":
        ages = pd.to_numeric(values, errors="coerce")
        return ages.where(ages.notna() | values.isna(), values)
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # 0.0 and 1.0 of a table with gaps are 0 and 1
    text = values
    if values.dtype != "str":
        text = values.astype("str").where(values.notna(), None).astype("str")
    if column not in ("image", "path", "mask"):  # blanks in a file's name are its own
        text = text.str.replace("\x00", "").str.strip()
    return text.where(text != "", None)


def problems(
    frame: pd.DataFrame,
    numbers: Sequence[int] | None = None,
    names: Mapping[str, str] | None = None,
) -> list[str]:
    """Return everything that is wrong in the cells of a manifest, a sentence each.

    `frame` has all `COLUMNS`, empty cells missing. `numbers` are those of the rows, from 2 on by
    default, as a spreadsheet counts; `names` are those of the columns in the user's own table.
    """
    called = {c: (names or {}).get(c, c) for c in COLUMNS}
    number = range(2, len(frame) + 2) if numbers is None else numbers

    def rows(wrong: Sequence[int] | np.ndarray) -> str:
        numbers = listed([number[int(i)] for i in wrong], 20)
        return f"{len(wrong)} row{'s' if len(wrong) != 1 else ''} ({numbers})"

    def values(cells: pd.Series) -> str:
        return listed(cells.unique().tolist(), 5)

    messages = []
    for column in REQUIRED:
        if len(empty := np.flatnonzero(frame[column].isna())):
            messages.append(
                f"{called[column]!r} is empty in {rows(empty)}. Fill them in or drop the rows."
            )
    repeated: list[int] = []
    for column in ("image", "path"):
        cells, before = frame[column], repeated
        repeated = np.flatnonzero(cells.duplicated(keep=False) & cells.notna()).tolist()
        if repeated and repeated != before:  # a row that stands twice is one mistake
            messages.append(
                f"{called[column]!r} is repeated in {rows(repeated)}: "
                f"{cells.iloc[repeated[0]]!r}. Every image stands in one row; drop the copies."
            )
    for column, known in _VOCABULARIES.items():
        cells = frame[column]
        if len(wrong := np.flatnonzero(cells.notna() & ~cells.isin(known))):
            messages.append(
                f"{called[column]!r} is {values(cells.iloc[wrong])} in {rows(wrong)}; it must be "
                f"one of {', '.join(known)}, or empty where it is not known."
            )
    ages = pd.to_numeric(frame["age"], errors="coerce")
    outside = (frame["age"].notna() & ages.isna()) | (ages < 0) | (ages > 120)
    if len(wrong := np.flatnonzero(outside)):
        messages.append(
            f"{called['age']!r} is not a number of years between 0 and 120 in {rows(wrong)}: "
            f"{values(frame['age'].iloc[wrong])}. Correct it or leave the cell empty."
        )
    return messages


def groups_of(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the person of each image, as text that means nothing outside these rows.

    An id belongs to its source: two hospitals may both have a "1". An id without a source is that
    of the one source which has it, if there is just one; ids that were joined are one person over
    all sources; an image without an id is by itself.
    """
    known, source = frame["patient"].notna(), frame["source"]
    if (known & source.isna()).any():
        sources = frame.loc[known & source.notna()].groupby("patient")["source"]
        only = sources.first()[sources.nunique() == 1]
        source = source.where(source.notna(), frame["patient"].map(only))
    groups = source.fillna("") + "\x1f" + frame["patient"].fillna("")
    if JOINED in frame:
        joined = frame[JOINED].fillna("").astype("str")
        groups = groups.where(joined == "", _JOINED + joined)
    return groups.where(known, UNKNOWN + frame["image"]).rename("group")


def patients_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns patient and `JOINED` of a table that has ``group`` instead.

    The inverse of `groups_of`, of text whose signs at either end a reader of tables has taken away.
    """
    group = frame["group"].astype("str").str.strip()
    source, parted = frame["source"].fillna(""), group.str.contains("\x1f", regex=False)
    patient = group.str.rpartition("\x1f")[2].where(group != frame["image"], None)
    joined = patient.where(~parted & (source != ""), None)  # one person of several sources
    return pd.DataFrame({"patient": patient, JOINED: joined})


def several_sources(frame: pd.DataFrame) -> pd.Series:
    """Return the ids that stand for several people, one in each source, with these sources."""
    rows = frame[frame["patient"].notna()]
    rows = rows.assign(group=groups_of(rows), source=rows["source"].fillna("no source"))
    several = rows.groupby("patient")["group"].transform("nunique") > 1
    return rows[several].groupby("patient")["source"].agg(lambda s: sorted(set(s))).sort_index()
