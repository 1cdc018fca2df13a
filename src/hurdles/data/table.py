"""A manifest from a table that somebody made: their columns, their terms, their mistakes.

What other people call the columns of a manifest.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from hurdles.data.files import expanded, reads
from hurdles.data.folder import drawn_on, is_mask_folder
from hurdles.data.formats import IMAGE_SUFFIXES
from hurdles.data.manifest import COLUMNS, REQUIRED, Manifest, problems, read_exclusions
from hurdles.data.people import with_headers, without_placeholders
from hurdles.data.sources.collection import age_of, least_age, sex_of, view_of
from hurdles.data.spreadsheet import SUFFIXES, Sheet, read_sheet
from hurdles.data.untrusted import from_cells
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError

__all__ = ["known_columns", "manifest_from_table"]


#: Other names of a column, letters and digits only, in lower case; the column's own name wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "absolutepath", "bild", "bildname", "datei", "dateiname", "dateipfad", "dicomfile",
        "dicompath", "file", "fileid", "filename", "filepath", "fullpath", "image", "imagefile",
        "imagefilename", "imageid", "imageindex", "imagename", "imagepath", "img", "imgfile",
        "imgname", "imgpath", "paths", "pfad", "relativepath", "xray",
    ),
    "label": (
        "befund", "category", "class", "classlabel", "classname", "diagnose", "diagnosis",
        "disease", "dx", "finding", "findinglabel", "findinglabels", "findings", "groundtruth",
        "imagelabel", "klasse", "labels", "pathology", "target",
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
_OURS = {alias: ours for ours, names in ALIASES.items() for alias in names}
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


@dataclass(frozen=True)
class Named:
    """Which column of a table stands for which of a manifest's.

    Parameters
    ----------
    theirs : dict of str to int
        A manifest's column -> number of the table's column, from 0.
    rivals : dict of str to list of int
        A manifest's column -> several columns of the table that could all be meant.
    private : list of int
        Columns that say who somebody is.
    spare : dict of int to str
        Columns that mean what another column says already, and which that is.
    unknown : list of str
        Columns that the user names and the table does not have.
    """

    theirs: dict[str, int] = field(default_factory=dict)
    rivals: dict[str, list[int]] = field(default_factory=dict)
    private: list[int] = field(default_factory=list)
    spare: dict[int, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def named_columns(columns: list[str], wanted: Mapping[str, str]) -> Named:
    """Match the columns of a table with those of a manifest.

    Examples
    --------
    >>> named = named_columns(["File Name", "Diagnosis", "Group"], {"Group": "source"})
    >>> named.theirs
    {'source': 2, 'path': 0, 'label': 1}
    """
    if unknown := sorted(set(wanted.values()) - set(COLUMNS) - {""}):
        raise ManifestError(
            f"{unknown[0]!r} is no column of a manifest, so no column of a table can stand for it; "
            f"there are {', '.join(COLUMNS)}."
        )
    named = Named()
    plain = [_plain(column) for column in columns]
    said = {_place(columns, theirs): ours for theirs, ours in wanted.items()}
    named.unknown.extend(theirs for theirs in wanted if _place(columns, theirs) is None)
    for place, ours in said.items():
        if place is not None and ours:
            named.rivals.setdefault(ours, []).append(place)
    for ours in [*named.rivals]:
        if len(named.rivals[ours]) == 1:
            named.theirs[ours] = named.rivals.pop(ours)[0]
    free = [i for i in range(len(columns)) if i not in said]
    named.private.extend(i for i in free if plain[i] in _PRIVATE)
    exact: dict[str, list[int]] = {}
    for i in free:
        if plain[i] in COLUMNS:
            exact.setdefault(plain[i], []).append(i)
    alike: dict[str, list[int]] = {}
    for i in free:
        if plain[i] in _OURS and plain[i] not in COLUMNS:
            alike.setdefault(_OURS[plain[i]], []).append(i)
    # 'image' names the image where another column has its path, and is the path otherwise.
    strong = [i for i in alike.get("path", []) if plain[i] not in _IDS]
    if "image" in exact and not (strong or {"path"} & (set(exact) | set(named.theirs))):
        exact["path"] = exact.pop("image")
    elif strong:
        named.spare.update({i: "path" for i in alike["path"] if i not in strong})
        alike["path"] = strong
    for found in (exact, alike):
        for ours, places in found.items():
            if ours in named.theirs or ours in named.rivals:
                named.spare.update(dict.fromkeys(places, ours))
            elif len(places) > 1:
                named.rivals[ours] = places
            else:
                named.theirs[ours] = places[0]
    return named


def _place(columns: list[str], theirs: str) -> int | None:
    """Return which column is meant: as it is spelt, or by its letters and digits."""
    if theirs in columns:
        return columns.index(theirs)
    plain = [_plain(column) for column in columns]
    return plain.index(_plain(theirs)) if _plain(theirs) in plain else None


def _plain(column: str) -> str:
    return "".join(c for c in column.casefold() if c.isalnum())


logger = logging.getLogger("hurdles.data")

_UNKNOWN = frozenset(
    {"", "?", "-", "--", "frontal", "k.a.", "n/a", "na", "nan", "none", "not available", "null",
     "u", "unbekannt", "unknown"}
)  # fmt: skip
_SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), Split.TRAIN),
    **dict.fromkeys(("dev", "val", "valid", "validate", "validation"), Split.VALIDATION),
    **dict.fromkeys(("test", "testing", "tst"), Split.TEST),
}
#: How many rows or columns a sentence names.
_SHOWN = 8


def manifest_from_table(path: str | Path, *, columns: Mapping[str, str] | None = None) -> Manifest:
    r"""Read a table with one row per image.

    Comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252; CSV, Excel or Parquet. Columns are known
    by their usual names in any case (see `hurdles.data.table.ALIASES`), and cells by their usual
    terms: ``male``, ``045Y``, ``45,5``, ``AP supine``. Ages of an anonymiser's oldest group
    (``>89``) become the youngest that it can mean.

    Parameters
    ----------
    path : str or Path
        The table. Paths in it count from its own folder; a file that is not there is also looked
        for in the folders beside the table, and under every extension where the table gives none.
    columns : mapping of str to str, optional
        A column of the table -> a column of the manifest, where the name does not tell; empty: it
        is not used.

    Returns
    -------
    Manifest
        Files that are missing are exclusions. Patient, sex, age and view are filled in from DICOM
        headers where the table does not say. `notes` say what was read in which way, and what was
        not used; they are logged as well (logger ``hurdles``).

    Raises
    ------
    ManifestError
        If it is no table, a column cannot be told, or cells are wrong: one message names all rows.
        Also if not one file is there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.png").write_bytes(b""), (folder / "ward.csv").write_text(
    ...     "File;Diagnosis;Gender;Age;Ward\na.png;Normal ;male;45,5;3\nb.png;Ill;;;3\n")
    >>> manifest = manifest_from_table(folder / "ward.csv")
    >>> manifest.frame.loc[0, ["label", "sex"]].tolist(), float(manifest.frame["age"][0])
    (['Normal', 'M'], 45.5)
    >>> manifest.notes[0]
    'ward.csv: 1 of 2 files are missing and left out: row 3'
    """
    path = Path(path)
    reads([path])
    return _Reading(path, read_sheet(path), columns or {}).manifest()


def known_columns(path: str | Path, columns: Mapping[str, str]) -> dict[str, str]:
    """Return those of `columns` that a table has; none where `path` is no table."""
    path = expanded(path)
    path = path / "manifest.csv" if path.is_dir() else path
    if not columns or path.suffix.lower() not in SUFFIXES or not path.is_file():
        return {}
    lacking = named_columns(read_sheet(path).columns, columns).unknown
    return {theirs: ours for theirs, ours in columns.items() if theirs not in lacking}


class _Reading:
    """One table on its way to a manifest, with what there is to say of it."""

    def __init__(self, path: Path, sheet: Sheet, columns: Mapping[str, str]) -> None:
        self.path, self.sheet = path, sheet
        self.folder = path.parent.absolute()
        self.notes: list[str] = [*sheet.notes]
        self.beside: set[str] = set()
        self.several: set[str] = set()
        self.named = self._named(columns)
        places = range(len(sheet.columns))
        self.cells = from_cells(pd.DataFrame(sheet.rows, columns=places, dtype="str"))

    def manifest(self) -> Manifest:
        frame = self._frame()
        self._refuse(frame)
        there = self._there(frame)
        frame = frame.assign(path=there.where(there.notna(), frame["path"]))
        exclusions = self._exclusions(frame, there.notna())
        numbers = self.sheet.numbers
        kept = ~frame["path"].isin(exclusions["path"])
        rows = [f"row {n}" for n, keep in zip(numbers, kept, strict=True) if keep]
        frame = frame[kept].reset_index(drop=True)
        frame["mask"] = self._masks(frame["mask"])
        frame, notes = with_headers(frame, names=rows)
        self.notes += notes
        self._tell_unused()
        before = read_exclusions(self.path)
        left = pd.concat([before, exclusions], ignore_index=True).drop_duplicates()
        try:
            manifest = Manifest(frame, left.reset_index(drop=True))
        except ManifestError as error:
            raise ManifestError(f"{self.path}: {error}") from error
        for note in self.notes:
            logger.warning("%s: %s", self.path, note)
        return replace(manifest, notes=tuple(f"{self.path.name}: {note}" for note in self.notes))

    # --- columns -----------------------------------------------------------------------------

    def _named(self, columns: Mapping[str, str]) -> Named:
        heads = self.sheet.columns
        named = named_columns(heads, columns)
        if named.unknown:
            raise ManifestError(
                f"{self.path} has no column {named.unknown[0]!r}; it has {self._list(heads)}."
            )
        for ours, places in named.rivals.items():
            rivals = [heads[i] for i in places]
            if ours == "path" and (place := self._full_of_files(places)) is not None:
                named.theirs["path"] = place
                named.spare.update({i: "path" for i in places if i != place})
                continue
            raise ManifestError(
                f"{self.path}: the columns {self._list(rivals)} can all be the {ours}. Say which, "
                f"as in --column {shlex.quote(rivals[0] + '=' + ours)}; the others are not used."
            )
        missing = [c for c in REQUIRED[1:] if c not in named.theirs]
        if missing:
            free = [h for i, h in enumerate(heads) if i not in named.theirs.values()]
            told = {"path": "the file", "label": "the class"}
            raise ManifestError(
                f"{self.path}: which column is {' and which is '.join(told[c] for c in missing)}? "
                f"It has {self._list(free)}. Say so: "
                + " ".join(f"--column {shlex.quote('THEIRS=' + c)}" for c in missing)
                + "."
            )
        return named

    def _full_of_files(self, places: list[int]) -> int | None:
        """Return the only one of some columns that names a file that is there."""
        rows = self.sheet.rows[:50]
        full = [i for i in places if any(r[i] and self._find(r[i]) for r in rows)]
        return full[0] if len(full) == 1 else None

    def _list(self, names: list[str]) -> str:
        return ", ".join(map(repr, names)) or "no other"

    def _tell_unused(self) -> None:
        heads, named = self.sheet.columns, self.named
        if heads[: len(COLUMNS)] == [*COLUMNS]:
            return  # written by `Manifest.save`, whose further columns have their meaning
        if named.private:
            names = self._list([heads[i] for i in named.private])
            self.notes.append(f"never read, since they say who somebody is: {names}")
        used = {*named.theirs.values(), *named.private}
        rest = [i for i in range(len(heads)) if i not in used and not self._says_nothing(i)]
        if rest:
            words = [
                f"{heads[i]!r}" + (f" ({named.spare[i]} is another)" if i in named.spare else "")
                for i in rest
            ]
            shown = ", ".join(words[:_SHOWN]) + (
                f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
            )
            self.notes.append(f"kept, but not used: {shown}")

    def _says_nothing(self, place: int) -> bool:
        """Whether a column has neither a name nor cells, or counts the rows."""
        cells = self.cells[place].tolist()
        counted = cells in ([str(i + k) for i in range(len(cells))] for k in (0, 1))
        return not any(cells) or (not self.sheet.columns[place] and counted)

    # --- cells -------------------------------------------------------------------------------

    def _frame(self) -> pd.DataFrame:
        """Return the table in the manifest's columns and terms, before any file is looked at."""
        frame = pd.DataFrame(index=range(len(self.cells)))
        for ours in COLUMNS:
            place = self.named.theirs.get(ours)
            cells = self.cells[place] if place is not None else pd.Series("", index=frame.index)
            frame[ours] = cells.astype(object).where(cells != "", None)
        self._understand(frame)
        for place, head in enumerate(self.sheet.columns):
            free = place not in {*self.named.theirs.values(), *self.named.private}
            if free and not self._says_nothing(place):
                name = head or f"column {place + 1}"
                name = f"{name} ({place + 1})" if name in frame.columns else name
                frame[name] = self.cells[place].where(self.cells[place] != "", None)
        if "image" not in self.named.theirs:
            frame["image"] = frame["path"]
        return frame

    def _understand(self, frame: pd.DataFrame) -> None:
        for column in ("label", "patient", "source"):
            frame[column] = _whole(frame[column])
        frame["patient"], notes = without_placeholders(frame["patient"], where="rows")
        self.notes += notes
        terms: dict[str, Callable[[str], str | None]] = {
            "view": view_of,
            "sex": sex_of,
            "split": lambda cell: _SPLITS.get(cell.lower()),
        }
        for column, known in terms.items():
            cells = frame[column].map(lambda c, k=known: _understood(c, k), na_action="ignore")
            place = self.named.theirs.get(column)
            guessed = place is not None and self.sheet.columns[place].lower() != column
            terms_found = frame[column].map(lambda c, k=known: k(c) is not None, na_action="ignore")
            if column == "split" and guessed and not terms_found.any():
                del self.named.theirs[column]  # a 'set' or 'fold' that means something else
                cells = pd.Series(None, index=cells.index, dtype=object)
            frame[column] = cells.astype(object).where(cells.notna(), None)
        grouped = frame["age"].map(lambda c: least_age(c) is not None, na_action="ignore")
        if n := int(grouped.fillna(False).sum()):
            self.notes.append(f"the age is a group in {n} rows, as '>89': its youngest is used")
        frame["age"] = frame["age"].map(_age, na_action="ignore").astype(object)

    def _refuse(self, frame: pd.DataFrame) -> None:
        """Name everything that is wrong in the table, in one message."""
        heads, numbers = self.sheet.columns, self.sheet.numbers
        looked = frame.assign(path=frame["path"].map(_normal, na_action="ignore"))
        if "image" not in self.named.theirs:  # what is wrong with the path is said once
            looked["image"] = [str(number) for number in numbers]
        names = {ours: heads[place] for ours, place in self.named.theirs.items()}
        found = problems(looked, numbers, names)
        if self.sheet.ragged:
            rows = self._rows(self.sheet.ragged)
            found.append(
                f"{rows} have more cells than the {len(heads)} columns; put text that holds the "
                "separator into quotes."
            )
        if not len(frame):
            found.append("there is no row below the heading.")
        if len(found) == 1:
            raise ManifestError(f"{self.path}: {found[0]}")
        if found:
            lines = "\n- ".join(found)
            raise ManifestError(f"{self.path}: {len(found)} things are wrong:\n- {lines}")

    def _rows(self, numbers: list[int]) -> str:
        shown = ", ".join(map(str, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
        return f"row {shown}" if len(numbers) == 1 else f"rows {shown}"

    # --- files -------------------------------------------------------------------------------

    def _there(self, frame: pd.DataFrame) -> pd.Series:
        """Return where each file is, missing where it is not."""
        found = frame["path"].map(self._find).astype(object)
        if not found.notna().any():
            first = frame["path"].iloc[0]
            where = ", ".join([str(self.folder / _normal(first)), *map(str, self._folders[:3])])
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
        return found.where(found.notna(), None)

    def _find(self, cell: str) -> str | None:
        """Return the file that a cell means: as written, in a folder beside, with an extension."""
        name = _normal(cell)
        plain = os.path.join(self.folder, name)  # noqa: PTH118 - for thousands of cells
        if os.path.isfile(plain):  # noqa: PTH113 - as above
            return plain
        # Systems spell accents in two ways, in one letter or in two.
        spelt = dict.fromkeys([name, *(unicodedata.normalize(f, name) for f in ("NFC", "NFD"))])
        bare = "/" not in name
        ends = [""]
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            ends += sorted(IMAGE_SUFFIXES)
        for folders in ([self.folder], self._folders if bare else []):
            places = [
                folder / f"{each}{end}" for folder in folders for each in spelt for end in ends
            ]
            # `is_file` raises where a name is longer than a file system takes.
            found = [place for place in places if os.path.isfile(place)]  # noqa: PTH113 - this one does not
            if len(found) > 1:
                self.several.add(cell)
                return None
            if found:
                self.beside |= {found[0].parent.name} if folders is self._folders else set()
                return str(found[0])
        return None

    @cached_property
    def _folders(self) -> list[Path]:
        inside = sorted(p for p in self.folder.iterdir() if p.is_dir())
        return [p for p in inside if p.name[0] not in "._" and not is_mask_folder(p.name)]

    def _exclusions(self, frame: pd.DataFrame, there: pd.Series) -> pd.DataFrame:
        """Return what is left out: files that are missing, and masks beside their images."""
        meant = frame["path"].map(lambda cell: str(self.folder / _normal(cell)))
        gone = frame["path"] = frame["path"].where(there, meant)
        rows = [(p, f"named in {self.path.name}, but the file is missing") for p in gone[~there]]
        if rows:
            numbers = [n for n, here in zip(self.sheet.numbers, there, strict=True) if not here]
            self.notes.append(
                f"{len(rows)} of {len(frame)} files are missing and left out: {self._rows(numbers)}"
            )
        for drawing in drawn_on(gone[there].tolist()):
            rows.append((drawing, "a mask by its name, beside its image; no X-ray"))
        return pd.DataFrame(rows, columns=["path", "reason"], dtype="str")

    def _masks(self, masks: pd.Series) -> pd.Series:
        found = masks.map(self._find, na_action="ignore").astype(object)
        if n := int((masks.notna() & found.isna()).sum()):
            self.notes.append(f"{n} masks are not there and are not used")
        return found.where(found.notna(), None)


def _whole(cells: pd.Series) -> pd.Series:
    """Return numbers as a person writes them: where all cells are whole, '1.0' is '1'."""
    text = cells.dropna().astype("str")
    if text.str.fullmatch(r"\d+([.,]0+)?").all():
        return cells.map(lambda c: re.split("[.,]", c)[0], na_action="ignore").astype(object)
    return cells


def _understood(cell: str, known: Callable[[str], str | None]) -> str | None:
    """Return the manifest's term; nothing for an unknown one, and the cell itself otherwise."""
    term = known(cell)
    if term is None and cell.lower() not in _UNKNOWN:
        return cell
    return term


def _age(cell: str) -> float | str | None:
    if cell.lower() in _UNKNOWN:
        return None
    exact = age_of(cell)
    if exact is None:
        exact = least_age(cell)
    return cell if exact is None else exact


def _normal(cell: str) -> str:
    """Return a path with forward slashes, without detours."""
    plain = cell.replace("\\", "/")
    while plain.startswith("./"):
        plain = plain[2:]
    return plain.replace("/./", "/").replace("//", "/")
