"""What a public collection is: where it comes from, how its folder looks, how it is read.

Cells of published tables in the manifest's own terms; what does not fit stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.spreadsheet import read_sheet
from hurdles.data.vocabulary import Sex, View
from hurdles.errors import CollectionError, ManifestError
from hurdles.registry import Registry

__all__ = ["COLLECTIONS", "Collection", "Layout", "Reader", "collection", "read_rows"]


#: Ages above this are mistakes of the table (NIH lists patients of 148 and 411 years).
AGE_LIMIT = 120.0

_VIEWS = {
    "pa": View.PA,
    "posteroanterior": View.PA,
    "ap": View.AP,
    "anteroposterior": View.AP,
    "ap erect": View.AP,
    "ap portable": View.AP,
    "ap semi erect": View.AP,
    "ap sitting": View.AP,
    "ap upright": View.AP,
    "portable ap": View.AP,
    "ap supine": View.AP_SUPINE,
    "supine ap": View.AP_SUPINE,
    "l": View.LATERAL,
    "lat": View.LATERAL,
    "lateral": View.LATERAL,
    "left lateral": View.LATERAL,
    "ll": View.LATERAL,
    "right lateral": View.LATERAL,
    "rl": View.LATERAL,
    "seitlich": View.LATERAL,
}
_SEXES = {
    "f": Sex.FEMALE,
    "female": Sex.FEMALE,
    "w": Sex.FEMALE,
    "weiblich": Sex.FEMALE,
    "woman": Sex.FEMALE,
    "m": Sex.MALE,
    "male": Sex.MALE,
    "man": Sex.MALE,
    "männlich": Sex.MALE,
    "d": Sex.OTHER,
    "divers": Sex.OTHER,
    "o": Sex.OTHER,
    "other": Sex.OTHER,
}
#: Units of an age by their first letter: years (German: Jahre; Latin: anni), months, weeks, days.
_UNITS = {"": 1.0, "y": 1.0, "j": 1.0, "a": 1.0, "m": 12.0, "w": 52.18, "d": 365.25, "t": 365.25}
_AGE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*"
    r"(y|yrs?|years?(?: old)?|j|jahre?|a|m|mo|months?|monate?|w|wk|weeks?|wochen?|d|days?|tage?|)",
    re.IGNORECASE,
)
#: Anonymisers put old people into one group: above 89 in the USA (45 CFR 164.514(b)(2)(i)(C)),
#: above 80 or 85 elsewhere. Of a bound below these nothing is made: "50+" may be any age.
_GROUPED_AGE = 80


def view_of(text: str) -> str | None:
    """Return the view, or None where it is not one of the vocabulary's.

    An erect AP film is AP: the vocabulary tells only the supine one apart.

    Examples
    --------
    >>> view_of("AP erect"), view_of("p.a."), view_of("AP_SUPINE"), view_of("Axial")
    ('AP', 'PA', 'AP Supine', None)
    """
    plain = text.lower().replace(".", "")
    view = _VIEWS.get(" ".join(re.split(r"[\s_-]+", plain)).strip())
    return view.value if view else None


def sex_of(text: str) -> str | None:
    """Return the sex, or None where it is not stated.

    Examples
    --------
    >>> sex_of("m"), sex_of("Female"), sex_of("?")
    ('M', 'F', None)
    """
    sex = _SEXES.get(text.strip().lower())
    return sex.value if sex else None


def age_of(text: str) -> float | None:
    """Return the age in years, or None where it is no exact number or not a human age.

    Understands DICOM's Age String (PS3.5, 6.2: ``058Y``, ``005M``), a decimal comma, and units in
    words. Of ``50+`` and ``early 40s`` nothing is made; see `least_age`.

    Examples
    --------
    >>> age_of("65"), age_of("058Y"), age_of("006M"), age_of("45,5"), age_of("3 years")
    (65.0, 58.0, 0.5, 45.5, 3.0)
    >>> age_of("50+"), age_of("411")
    (None, None)
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    years = float(match[1].replace(",", ".")) / _UNITS[match[2][:1].lower()]
    return years if years <= AGE_LIMIT else None


def least_age(text: str) -> float | None:
    """Return the youngest age that an anonymiser's group of old people can mean, or None.

    Examples
    --------
    >>> least_age(">89"), least_age("89+"), least_age(">= 90"), least_age("50+"), least_age("89")
    (90.0, 89.0, 90.0, None, None)
    """
    match = re.fullmatch(r"(>=|≥|>|)\s*0*(\d{2,3})\s*[YyJj]?\s*(\+|)", text.strip())
    if match is None or not (match[1] or match[3]) or not _GROUPED_AGE <= int(match[2]) <= 120:
        return None
    return float(match[2]) + (match[1] == ">")


Reader = Callable[[Path], Manifest]


@dataclass(frozen=True)
class Layout:
    """How a folder is recognised as a collection.

    Parameters
    ----------
    text : str
        The layout in words, for people.
    needs : tuple of str
        Paths or glob patterns below the root, with ``/``; each must match at least once.
    header : tuple of (str, tuple of str)
        A table below the root and the columns that its first line must name.
    """

    text: str
    needs: tuple[str, ...]
    header: tuple[str, tuple[str, ...]] | None = None

    def missing(self, root: Path) -> list[str]:
        """Return what `root` lacks, in words; nothing where it has this layout."""
        lacks = [need for need in self.needs if not _matches(root, need)]
        if self.header is not None and not lacks:
            table, columns = self.header
            there = _heading(root / table)
            lacks = [f"column '{column}' in {table}" for column in columns if column not in there]
        return lacks


def _matches(root: Path, need: str) -> bool:
    if any(sign in need for sign in "*?["):
        return any(True for _ in root.glob(need))
    return (root / need).exists()


def _heading(table: Path) -> list[str]:
    try:
        return read_sheet(table).columns
    except ManifestError:
        return []


@dataclass(frozen=True)
class Collection:
    """A public collection of chest X-rays.

    Parameters
    ----------
    name : str
        Short name, as in ``--data NAME=PATH``.
    title : str
        Full name, as its makers call it.
    licence : str
        Under which terms it may be used, as its makers state them.
    citation : str
        What to cite.
    url : str
        Where to get it.
    quirks : tuple of str
        What a user of these images has to know, a sentence each.
    layouts : tuple of Layout
        How its folder may look.
    folders : tuple of str
        Names that its folder has as distributed; looked for under ``$HURDLES_DATA``.
    reader : callable
        From the folder to a manifest; call `read`, which checks the folder first.
    """

    name: str
    title: str
    licence: str
    citation: str
    url: str
    quirks: tuple[str, ...]
    layouts: tuple[Layout, ...]
    folders: tuple[str, ...]
    reader: Reader

    @property
    def layout(self) -> str:
        """How its folder looks, in words."""
        return " Or: ".join(layout.text for layout in self.layouts)

    def missing(self, root: Path) -> list[str]:
        """Return what `root` lacks of the layout that it is closest to; nothing if it has it."""
        return min((layout.missing(root) for layout in self.layouts), key=len)

    def recognises(self, root: str | Path) -> bool:
        """Whether `root` looks like this collection."""
        return Path(root).is_dir() and not self.missing(Path(root))

    def read(self, root: str | Path) -> Manifest:
        """Read the collection in `root`.

        Raises
        ------
        CollectionError
            If `root` is missing or has another layout; the message names what was looked for.
        """
        root = Path(root).absolute()
        if not root.is_dir():
            raise CollectionError(
                f"{root} is not a folder. {self.title} has this layout: {self.layout} "
                f"Get it from {self.url}."
            )
        missing = self.missing(root)
        if missing:
            below = next(
                (child for child in sorted(root.iterdir()) if self.recognises(child)), None
            )
            hint = f"Did you mean {below}?" if below else f"Get it from {self.url}."
            raise CollectionError(
                f"{root} is not {self.name} ({self.title}): {', '.join(missing)} not found there. "
                f"Its layout: {self.layout} {hint}"
            )
        try:
            return self.reader(root)
        except ManifestError as error:
            raise CollectionError(f"{self.name}: {error}") from error


#: Every collection that hurdles reads, by name.
COLLECTIONS: Registry[Collection] = Registry("collection")


def collection(
    name: str,
    *,
    title: str,
    licence: str,
    citation: str,
    url: str,
    quirks: tuple[str, ...],
    layouts: tuple[Layout, ...],
    folders: tuple[str, ...],
) -> Callable[[Reader], Reader]:
    """Return a decorator that registers a reader as the collection `name`; see `Collection`."""

    def keep(reader: Reader) -> Reader:
        COLLECTIONS.register(name)(
            Collection(name, title, licence, citation, url, quirks, layouts, folders, reader)
        )
        return reader

    return keep


def read_rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table as text, stripped; an absent cell is an empty string.

    Somebody may have saved it again, with other separators and letters; see `read_sheet`.
    """
    sheet = read_sheet(table)
    for row in sheet.rows:
        yield {name: cell for name, cell in zip(sheet.columns, row, strict=True) if name}
