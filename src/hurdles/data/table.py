"""A manifest from a table that somebody made: their columns, their terms, their mistakes."""

from __future__ import annotations

import logging
import os
import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from hurdles.data.files import expanded, reads
from hurdles.data.folder import drawn_on, is_mask_folder
from hurdles.data.image_file import IMAGE_SUFFIXES
from hurdles.data.manifest import (
    COLUMNS,
    REQUIRED,
    UNLABELED,
    Manifest,
    exclusions_table,
    problems,
    read_exclusions,
)
from hurdles.data.people import with_headers, without_placeholders
from hurdles.data.spreadsheet import SUFFIXES, read_sheet
from hurdles.data.untrusted import from_cells, listed
from hurdles.data.vocabulary import Split, age_of, least_age, sex_of, view_of
from hurdles.errors import ManifestError

logger = logging.getLogger("hurdles.data")

#: Other names of a column, letters and digits only, in lower case; the column's own name wins.
_ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "absolutepath", "bild", "bildname", "datei", "dateiname", "dateipfad", "dicomfile",
        "dicompath", "file", "fileid", "filename", "filepath", "fullpath", "image", "imagefile",
        "imagefilename", "imageid", "imageindex", "imagename", "imagepath", "img", "imgfile",
        "imgname", "imgpath", "paths", "pfad", "relativepath", "xray",
    ),
    "label": (
        "befund", "category", "class", "classlabel", "classname", "diagnose", "diagnosis",
        "disease", "dx", "finding", "findinglabel", "findinglabels", "findings", "groundtruth",
        "imagelabel", "klasse", "labels", "pathology", "target", "trueclass", "truelabel", "ytrue",
    ),
    "patient": (
        "participant", "participantid", "patid", "patienten", "patientenid", "patientennummer",
        "patientid", "patientno", "patientnr", "patientnumber", "patients", "patientsid", "person",
        "personid", "pid", "ptid", "subj", "subject", "subjectid",
    ),
    "source": (
        "center", "centre", "clinic", "collection", "dataset", "datasource", "hospital",
        "hospitalid", "hospitalname", "institution", "institutionname", "klinik", "krankenhaus",
        "quelle", "site", "siteid", "sitename", "standort",
    ),
    "view": ("projection", "projektion", "viewposition", "viewpos"),
    "sex": ("gender", "geschlecht", "patientgender", "patientsex", "patientsgender", "patientssex"),
    "age": (
        "ageinyears", "ageyears", "alter", "patientage", "patientsage", "patientageyears",
        "patientenalter",
    ),
    "split": ("datasplit", "fold", "partition", "phase", "set", "splits", "subset", "teilmenge"),
    "mask": ("lungmask", "lungmaskpath", "maskfile", "maskfilename", "maskpath"),
}  # fmt: skip
_OURS = {alias: ours for ours, names in _ALIASES.items() for alias in names}
#: A number of an image is its path only where nothing else can be.
_IDS = frozenset({"fileid", "imageid"})
#: Columns that say who somebody is. They never enter a manifest.
_PRIVATE = frozenset(
    {
        "address", "adresse", "birthdate", "dateofbirth", "dob", "familyname", "firstname",
        "geburtsdatum", "givenname", "lastname", "nachname", "patientbirthdate", "patientname",
        "patientsbirthdate", "patientsname", "surname", "vorname",
    }
)  # fmt: skip
_UNKNOWN = frozenset(
    {"", "?", "-", "--", "frontal", "k.a.", "n/a", "na", "nan", "none", "not available", "null",
     "u", "unbekannt", "unknown"}
)  # fmt: skip
_SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), Split.TRAIN.value),
    **dict.fromkeys(("dev", "val", "valid", "validate", "validation"), Split.VALIDATION.value),
    **dict.fromkeys(("test", "testing", "tst"), Split.TEST.value),
}
_TERMS: dict[str, Callable[[str], str | None]] = {
    "view": view_of,
    "sex": sex_of,
    "split": lambda cell: _SPLITS.get(cell.lower()),
}
#: How many rows or columns a sentence names.
_SHOWN = 8


def manifest_from_table(
    path: str | Path, *, columns: Mapping[str, str] | None = None, unlabeled: bool = False
) -> Manifest:
    """Read a table with one row per image: CSV of any habit, Excel or Parquet.

    Columns are known by their usual names in any case (`_ALIASES`), and cells by their usual terms:
    ``male``, ``045Y``, ``45,5``, ``AP supine``. `columns` maps a column of the table to one of the
    manifest where the name does not tell; to an empty text where it is not to be used. Ages of an
    anonymizer's oldest group (``>89``) become the youngest that it can mean. What the table does
    not say is filled in from DICOM headers.

    Paths count from the table's own folder; a file that is not there is also looked for in the
    folders beside the table, and under every extension where the table gives none. Files that are
    missing are exclusions. One error names all rows that are wrong. If `unlabeled`, a table without
    a class is read too, and no class is known of its images.
    """
    path = Path(path)
    reads([path])
    return _TableReader(path, columns or {}, unlabeled).manifest()


def known_columns(path: str | Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Return those of `columns` that a table has; none where `path` is no table."""
    path = expanded(path)
    path = path / "manifest.csv" if path.is_dir() else path
    if not columns or path.suffix.lower() not in SUFFIXES or not path.is_file():
        return {}
    lacking = match_columns(read_sheet(path, only_heads=True).columns, columns).unknown
    return {theirs: ours for theirs, ours in columns.items() if theirs not in lacking}


def columns_in(path: str | Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Return those of `columns` that a table has under exactly this name."""
    heads = read_sheet(expanded(path), only_heads=True).columns if columns else ()
    return {theirs: ours for theirs, ours in columns.items() if theirs in heads}


def columns_beside(
    columns: Mapping[str, str], answers: Iterable[str | Path], images: Iterable[str | Path]
) -> dict[str, str]:
    """Return `columns` without those that only tables of answers have, not those of images.

    What an image cannot have (``prediction``, ``p:<class>``) is of the answers alone.
    """
    of_answers = {theirs for path in answers for theirs in columns_in(path, columns)}
    shared = {
        theirs: ours
        for theirs, ours in columns.items()
        if theirs not in of_answers or ours in {*COLUMNS, ""}
    }
    of_images = {theirs for path in images for theirs in known_columns(path, shared)}
    only = of_answers - of_images
    return {theirs: ours for theirs, ours in columns.items() if theirs not in only}


@dataclass(frozen=True)
class ColumnMatch:
    """The columns of a table, by their number from 0, that stand for those of a manifest."""

    places: dict[str, int] = field(default_factory=dict)
    rivals: dict[str, list[int]] = field(default_factory=dict)  # that could all be meant
    private: list[int] = field(default_factory=list)  # that say who somebody is
    spare: dict[int, str] = field(default_factory=dict)  # that repeat the meaning of another
    unknown: list[str] = field(default_factory=list)  # requested, and not in the table


def match_columns(columns: list[str], wanted: Mapping[str, str]) -> ColumnMatch:
    """Match the columns of a table with those of a manifest."""
    if wrong := sorted(set(wanted.values()) - set(COLUMNS) - {""}):
        raise ManifestError(
            f"{wrong[0]!r} is no column of a manifest, so no column of a table can stand for it; "
            f"there are {', '.join(COLUMNS)}."
        )

    def plain(column: str) -> str:
        return "".join(c for c in column.casefold() if c.isalnum())

    match = ColumnMatch()
    names = list(map(plain, columns))
    taken: dict[int, str] = {}
    for theirs, ours in wanted.items():
        if theirs in columns:
            taken[columns.index(theirs)] = ours
        elif plain(theirs) in names:
            taken[names.index(plain(theirs))] = ours
        else:
            match.unknown.append(theirs)
    requested: defaultdict[str, list[int]] = defaultdict(list)
    exact: defaultdict[str, list[int]] = defaultdict(list)
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        if place in taken:
            continue
        if name in _PRIVATE:
            match.private.append(place)
        if name in COLUMNS:
            exact[name].append(place)
        elif name in _OURS:
            alike[_OURS[name]].append(place)
    for place, ours in taken.items():
        if ours:
            requested[ours].append(place)
    # 'image' names the image where another column has its path, and is the path otherwise.
    strong = [place for place in alike["path"] if names[place] not in _IDS]
    if "image" in exact and not (strong or {"path"} & {*exact, *requested}):
        exact["path"] = exact.pop("image")
    elif strong:
        match.spare.update((place, "path") for place in alike["path"] if place not in strong)
        alike["path"] = strong
    for group in (requested, exact, alike):
        for ours, places in group.items():
            if ours in match.places or ours in match.rivals:
                match.spare.update(dict.fromkeys(places, ours))
            elif len(places) > 1:
                match.rivals[ours] = places
            elif places:
                match.places[ours] = places[0]
    return match


def whole_numbers(cells: pd.Series) -> pd.Series:
    """Return cells, text or None, with '1' for '1.0' where all of them are whole numbers."""
    if not cells.dropna().astype("str").str.fullmatch(r"(\d+([.,]0+)?)?").all():
        return cells
    return cells.map(lambda cell: re.split("[.,]", cell)[0], na_action="ignore")


def in_terms(frame: pd.DataFrame, *, is_split_guessed: bool = False) -> list[str]:
    """Put cells, text or None, into the manifest's terms in place, and return notes.

    Those that are not understood stay, but for a split that is one by a guess: if no cell of it is
    a part, it is emptied.
    """
    for column in ("label", "patient", "source"):
        frame[column] = whole_numbers(frame[column]).astype(object)
    frame["patient"], notes = without_placeholders(frame["patient"], where="rows")
    for column, known in _TERMS.items():
        cells = frame[column]
        terms = cells.map(known, na_action="ignore").astype(object)
        if column != "split" or not is_split_guessed or terms.notna().any():
            unknown = cells.astype("str").str.lower().isin(_UNKNOWN)
            terms = terms.where(terms.notna() | unknown, cells)
        frame[column] = terms.where(terms.notna(), None)
    grouped = frame["age"].map(lambda c: least_age(c) is not None, na_action="ignore")
    if n := int(grouped.fillna(False).sum()):
        notes = [*notes, f"the age is a group in {n} rows, as '>89': its youngest is used"]
    frame["age"] = frame["age"].map(_age, na_action="ignore").astype(object)
    return list(notes)


class _TableReader:
    """One table on its way to a manifest, with the notes on how it is read."""

    def __init__(self, path: Path, columns: Mapping[str, str], unlabeled: bool = False) -> None:
        self.path, self.sheet = path, read_sheet(path)
        self.folder = path.parent.absolute()
        self.notes: list[str] = [*self.sheet.notes]
        self.beside: set[str] = set()
        self.several: set[str] = set()
        self.required = REQUIRED[1:-1] if unlabeled else REQUIRED[1:]
        self.columns = self.matched(columns)
        self.cells = from_cells(self.sheet.cells)

    def manifest(self) -> Manifest:
        frame = self.frame()
        self.refuse(frame)
        files = self.files(frame)
        exclusions = self.leave_out(frame, files)
        kept = ~frame["path"].isin(exclusions["path"])
        rows = [f"row {n}" for n, keep in zip(self.sheet.numbers, kept, strict=True) if keep]
        frame = frame[kept].reset_index(drop=True)
        masks = frame["mask"].map(self.find, na_action="ignore").astype(object)
        if n := int((frame["mask"].notna() & masks.isna()).sum()):
            self.notes.append(f"{n} masks are not there and are not used")
        frame["mask"] = masks.where(masks.notna(), None)
        frame, notes = with_headers(frame, names=rows)
        self.notes += notes
        self.note_unused()
        left = pd.concat([read_exclusions(self.path), exclusions], ignore_index=True)
        try:
            manifest = Manifest(frame, left.drop_duplicates(ignore_index=True))
        except ManifestError as error:
            raise ManifestError(f"{self.path}: {error}") from error
        for note in self.notes:
            logger.warning("%s: %s", self.path, note)
        return replace(manifest, notes=tuple(f"{self.path.name}: {note}" for note in self.notes))

    # --- columns -----------------------------------------------------------------------------

    def matched(self, columns: Mapping[str, str]) -> ColumnMatch:
        heads = self.sheet.columns
        match = match_columns(heads, columns)
        if match.unknown:
            raise ManifestError(
                f"{self.path} has no column {match.unknown[0]!r}; it has {_listed(heads)}."
            )
        for ours, places in match.rivals.items():
            rivals = [heads[i] for i in places]
            some = self.sheet.cells[:50]
            full = [i for i in places if any(cell and self.find(cell) for cell in some[i])]
            if ours == "path" and len(full) == 1:  # the only one that names files that are there
                match.places["path"] = full[0]
                match.spare.update({i: "path" for i in places if i not in full})
                continue
            raise ManifestError(
                f"{self.path}: the columns {_listed(rivals)} can all be the {ours}. Say which, "
                f"as in --column {shlex.quote(rivals[0] + '=' + ours)}; the others are not used."
            )
        if missing := [c for c in self.required if c not in match.places]:
            free = [h for i, h in enumerate(heads) if i not in match.places.values()]
            words = {"path": "the file", "label": "the class"}
            options = " ".join(f"--column {shlex.quote('THEIRS=' + c)}" for c in missing)
            raise ManifestError(
                f"{self.path}: which column is {' and which is '.join(words[c] for c in missing)}? "
                f"It has {_listed(free)}. Say so: {options}."
            )
        return match

    def note_unused(self) -> None:
        heads, match = self.sheet.columns, self.columns
        if heads[: len(COLUMNS)] == [*COLUMNS]:
            return  # written by `Manifest.save`, whose further columns have their meaning
        if match.private:
            names = _listed([heads[i] for i in match.private])
            self.notes.append(f"never read, since they say who somebody is: {names}")
        spare = {i: f" ({ours} is another)" for i, ours in match.spare.items()}
        words = [f"{heads[i]!r}{spare.get(i, '')}" for i in self.further()]
        if words:
            more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
            self.notes.append(f"kept, but not used: {', '.join(words[:_SHOWN])}{more}")

    def further(self) -> list[int]:
        """Return the other columns that hold something, more than the number of the row."""

        def is_empty(place: int) -> bool:
            cells = self.cells[place].tolist()
            counted = cells in ([str(i + k) for i in range(len(cells))] for k in (0, 1))
            return not any(cells) or (not self.sheet.columns[place] and counted)

        used = {*self.columns.places.values(), *self.columns.private}
        places = range(len(self.sheet.columns))
        return [place for place in places if place not in used and not is_empty(place)]

    # --- cells -------------------------------------------------------------------------------

    def frame(self) -> pd.DataFrame:
        """Return the table in the manifest's columns and terms, before any file is looked at."""
        frame = pd.DataFrame(index=range(len(self.cells)))
        for ours in COLUMNS:
            place = self.columns.places.get(ours)
            cells = self.cells[place] if place is not None else pd.Series("", index=frame.index)
            frame[ours] = cells.astype(object).where(cells != "", None)
        self.translate(frame)
        for place in self.further():
            name = self.sheet.columns[place] or f"column {place + 1}"
            name = f"{name} ({place + 1})" if name in frame.columns else name
            frame[name] = self.cells[place].where(self.cells[place] != "", None)
        if "image" not in self.columns.places:
            frame["image"] = frame["path"]
        if "label" not in self.required:
            self.unlabel(frame)
        return frame

    def unlabel(self, frame: pd.DataFrame) -> None:
        """Put the stand-in for a class where the table has none; note it."""
        empty = int(frame["label"].isna().sum())
        frame["label"] = frame["label"].fillna(UNLABELED)
        if "label" not in self.columns.places:
            self.notes.append("no column is the class, so no class is known of the images")
        elif empty:
            self.notes.append(f"the class is empty in {empty} rows, so classes are not used")

    def translate(self, frame: pd.DataFrame) -> None:
        """Put cells into the manifest's terms; those that are not understood stay."""
        place = self.columns.places.get("split")
        guessed = place is not None and self.sheet.columns[place].lower() != "split"
        self.notes += in_terms(frame, is_split_guessed=guessed)
        if guessed and not frame["split"].notna().any():
            del self.columns.places["split"]  # a 'set' or 'fold' that means something else

    def refuse(self, frame: pd.DataFrame) -> None:
        """Name everything that is wrong in the table, in one message."""
        heads, numbers = self.sheet.columns, self.sheet.numbers
        checked = frame.assign(path=frame["path"].map(_normal, na_action="ignore"))
        if "image" not in self.columns.places:  # what is wrong with the path is said once
            checked["image"] = list(map(str, numbers))
        names = {ours: heads[place] for ours, place in self.columns.places.items()}
        messages = problems(checked, numbers, names)
        if self.sheet.ragged:
            messages.append(
                f"{_rows(self.sheet.ragged)} have more cells than the {len(heads)} columns; put "
                "text that holds the separator into quotes."
            )
        if not len(frame):
            messages.append("there is no row below the heading.")
        if messages:
            more = f"{len(messages)} things are wrong:\n- " if len(messages) > 1 else ""
            raise ManifestError(f"{self.path}: {more}" + "\n- ".join(messages))

    # --- files -------------------------------------------------------------------------------

    def files(self, frame: pd.DataFrame) -> pd.Series:
        """Return the place of each file, missing where it is not there."""
        files = frame["path"].map(self.find).astype(object)
        if not files.notna().any():
            first = frame["path"].iloc[0]
            where = ", ".join(
                [str(self.folder / _normal(first)), *map(str, self.folders_beside[:3])]
            )
            raise ManifestError(
                f"{self.path}: not one of its {len(frame)} files is there; for the first, "
                f"{first!r}, looked at {where}. Paths count from the table's own folder: put the "
                "table beside the images, or write whole paths."
            )
        if self.beside:
            folders = ", ".join(sorted(self.beside)[:_SHOWN])
            self.notes.append(f"files are found in the folders beside it: {folders}")
        if self.several:
            self.notes.append(
                f"{len(self.several)} names are files of several folders beside it, so none is "
                f"used; for one, {min(self.several)!r}. Write the folder too"
            )
        return files

    def leave_out(self, frame: pd.DataFrame, files: pd.Series) -> pd.DataFrame:
        """Enter the files into the frame; return those left out: missing ones, and masks."""
        there = files.notna()
        whole = frame["path"].map(lambda cell: str(self.folder / _normal(cell)))
        frame["path"] = files.where(there, whole)
        rows = [(p, f"named in {self.path.name}, but the file is missing") for p in whole[~there]]
        if rows:
            numbers = [n for n, here in zip(self.sheet.numbers, there, strict=True) if not here]
            self.notes.append(
                f"{len(rows)} of {len(frame)} files are missing and left out: {_rows(numbers)}"
            )
        for drawing in drawn_on(files[there].tolist()):
            rows.append((drawing, "a mask by its name, beside its image; no X-ray"))
        return exclusions_table(rows)

    def find(self, cell: str) -> str | None:
        """Return the file that a cell means: as written, in a folder beside, with an extension."""
        name = _normal(cell)
        plain = os.path.join(self.folder, name)  # noqa: PTH118 - for thousands of cells
        if os.path.isfile(plain):  # noqa: PTH113 - as above
            return plain
        # Systems spell accents in two ways, in one letter or in two.
        names = dict.fromkeys([name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD"))])
        known = Path(name).suffix.lower() in IMAGE_SUFFIXES
        ends = ["", *(() if known else sorted(IMAGE_SUFFIXES))]
        for folders in ([self.folder], [] if "/" in name else self.folders_beside):
            places = [
                folder / f"{each}{end}" for folder in folders for each in names for end in ends
            ]
            # `is_file` raises where a name is longer than a file system takes.
            files = [place for place in places if os.path.isfile(place)]  # noqa: PTH113 - this one does not
            if len(files) > 1:
                self.several.add(cell)
                return None
            if files:
                self.beside |= {files[0].parent.name} if folders is self.folders_beside else set()
                return str(files[0])
        return None

    @cached_property
    def folders_beside(self) -> list[Path]:
        inside = sorted(p for p in self.folder.iterdir() if p.is_dir())
        return [p for p in inside if p.name[0] not in "._" and not is_mask_folder(p.name)]


def _age(cell: str) -> float | str | None:
    if cell.lower() in _UNKNOWN:
        return None
    age = age_of(cell)
    age = least_age(cell) if age is None else age
    return cell if age is None else age


def _normal(cell: str) -> str:
    """Return a path with forward slashes, without detours."""
    plain = cell.replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    return plain.replace("/./", "/").replace("//", "/")


def _rows(numbers: list[int]) -> str:
    return f"row{'s' if len(numbers) != 1 else ''} {listed(numbers, _SHOWN)}"


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "no other"
