"""What other people call the columns of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hurdles.data.manifest import COLUMNS
from hurdles.errors import ManifestError

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
