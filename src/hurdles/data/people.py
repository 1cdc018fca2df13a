"""Whom a DICOM header says it shows: patient's id, sex, age, and the view; never a name."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from hurdles.data.formats import starts_as_dicom
from hurdles.data.sources.collection import age_of, least_age, sex_of, view_of

_TAGS = {
    "institution": 0x0008_0080,
    "patient": 0x0010_0020,
    "sex": 0x0010_0040,
    "age": 0x0010_1010,
    "view": 0x0018_5101,  # the last: nothing behind it is read
}
_CELLS = ("patient", "sex", "age", "view")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_INFLATED = 1 << 20
_THREADS = 8
#: What anonymisers and devices write where there is no id; letters and digits only.
_NOBODY = frozenset(
    {
        "", "anon", "anonym", "anonymisiert", "anonymised", "anonymized", "anonymous", "default",
        "deidentified", "dummy", "na", "nan", "noid", "none", "notavailable", "null", "patient",
        "patientid", "redacted", "removed", "test", "testpatient", "unbekannt", "undefined",
        "unknown",
    }
)  # fmt: skip
#: One id on every file, of at least so many, is a device's or an anonymiser's.
_SAME = 4


def read_headers(paths: Sequence[str]) -> pd.DataFrame:
    """Read what DICOM headers say, up to the view; other files are asked for 132 bytes."""
    with ThreadPoolExecutor(_THREADS) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the decoder speaks of bad headers, if they matter
        rows = list(pool.map(_read, paths))
    frame = pd.DataFrame(rows, columns=["dicom", *_TAGS], dtype=object)
    return frame.astype({"dicom": bool})


def _read(path: str) -> dict[str, Any]:
    if not starts_as_dicom(path):
        return {"dicom": False}
    try:
        with Path(path).open("rb") as handle:
            dataset = _first_groups(handle)
        found = {name: _clean(dataset[tag].value) for name, tag in _TAGS.items() if tag in dataset}
    except Exception:  # pydicom fails in many ways on damaged bytes
        return {"dicom": True}
    age = found.get("age", "")
    return {
        "dicom": True,
        "institution": found.get("institution") or None,
        "patient": found.get("patient") or None,
        "sex": sex_of(found.get("sex", "")),
        "age": least_age(age) if age_of(age) is None else age_of(age),
        "view": view_of(found.get("view", "")),
    }


def _first_groups(handle: BinaryIO) -> Any:
    from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
    from pydicom.tag import Tag

    tags = [Tag(tag) for tag in _TAGS.values()]

    def beyond(tag: Any, _vr: str | None, _length: int) -> bool:
        return bool(tag > tags[-1])

    head = handle.read(1024)
    if _DEFLATED.encode() in head and hasattr(handle, "name"):
        # pydicom would inflate all of it, and a few bytes can become gigabytes.
        size = read_file_meta_info(handle.name).FileMetaInformationGroupLength
        handle.seek(132 + 12 + size)
        plain = zlib.decompressobj(-zlib.MAX_WBITS).decompress(handle.read(_INFLATED), _INFLATED)
        return read_dataset(io.BytesIO(plain), False, True, stop_when=beyond, specific_tags=tags)
    handle.seek(0)
    return read_partial(handle, stop_when=beyond, force=True, specific_tags=tags)


def _clean(value: Any) -> str:
    return str(value if value is not None else "").replace("\x00", "").strip()


# --- what is made of them ------------------------------------------------------------------------


def without_placeholders(
    patients: pd.Series, *, where: str, same: bool = False
) -> tuple[pd.Series, list[str]]:
    """Return ids with those emptied that name nobody, and a sentence on each of these.

    Examples
    --------
    >>> ids, notes = without_placeholders(pd.Series(["A1", "Anonymous", "0", None]), where="rows")
    >>> ids.tolist()
    ['A1', None, None, None]
    >>> notes[0]
    "the patient is 'Anonymous' in 1 of 4 rows: that names nobody, so it is taken as unknown"
    """
    ids = patients.astype(object).where(patients.notna(), None)
    counts = ids.value_counts()
    one = any(re.fullmatch("0*1", name) for name in counts.index)  # numbered from 0 on

    def nobody(name: str) -> bool:
        plain = "".join(c for c in name.casefold() if c.isalnum())
        zero = re.fullmatch("0+", plain) is not None and not one
        return plain in _NOBODY or zero or re.fullmatch("x{2,}", plain) is not None

    gone = [name for name in counts.index if nobody(name)]
    notes = [
        f"the patient is {name!r} in {counts[name]} of {len(ids)} {where}: that names nobody, so "
        "it is taken as unknown"
        for name in gone
    ]
    if same and not gone and len(counts) == 1 and len(ids) == counts.iloc[0] >= _SAME:
        gone = list(counts.index)
        notes = [
            f"the patient is {gone[0]!r} in all {len(ids)} {where}: that tells nobody apart, so it "
            "is taken as unknown"
        ]
    return ids.where(~ids.isin(gone), None), notes


def with_headers(frame: pd.DataFrame, *, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Fill the patient, sex, age and view of images from their DICOM headers.

    What the frame says itself stays. Patients are not filled in between those of a table that calls
    the same people otherwise.
    """
    headers = read_headers(frame["path"].tolist())
    there = headers["dicom"].to_numpy()
    if not there.any():
        return frame, []
    headers.index = frame.index
    ids, notes = without_placeholders(
        headers.loc[there, "patient"], where="DICOM headers", same=True
    )
    headers["patient"] = ids.reindex(frame.index)
    frame, read = frame.copy(), []
    for column in _CELLS:
        own, said = frame[column], headers[column].where(headers[column].notna(), None)
        differ = own.notna() & said.notna() & ~_alike(column, own, said)
        if differ.any():
            rows = np.flatnonzero(differ)
            shown = ", ".join(str(names[i]) for i in rows[:5]) + (", ..." if len(rows) > 5 else "")
            notes.append(
                f"{column!r} of the table and of the DICOM header differ in {len(rows)} of "
                f"{int((own.notna() & said.notna()).sum())} rows ({shown}); the table's is used"
            )
        if column == "patient" and differ.any():
            notes += _mingled(own, said)
            continue
        filled = own.isna() & said.notna()
        if filled.any():
            read.append(f"{column} of {int(filled.sum())}")
            frame[column] = own.astype(object).where(~filled, said)
    if headers["institution"].notna().any() and "institution" not in frame:
        frame["institution"] = headers["institution"]
        n = headers["institution"].nunique()
        notes.append(
            f"the DICOM headers name {n} institution{'s' * (n != 1)}: kept in the column "
            "'institution', not used as the source"
        )
    if read:
        notes.insert(0, f"read from {int(there.sum())} DICOM headers: {', '.join(read)} images")
    return frame, notes


def _alike(column: str, own: pd.Series, said: pd.Series) -> pd.Series:
    if column != "age":
        return own == said
    years = pd.to_numeric(own, errors="coerce") - pd.to_numeric(said, errors="coerce")
    return years.abs() <= 1  # one of them may be rounded


def _mingled(own: pd.Series, said: pd.Series) -> list[str]:
    """Name people of the headers who are several in the table: a split would part them."""
    both = pd.DataFrame({"own": own, "said": said}).dropna().drop_duplicates()
    several = both[both["said"].duplicated(keep=False)]
    if not len(several):
        return []
    first = several[several["said"] == several["said"].iloc[0]]["own"].astype("str").tolist()
    more = several["said"].nunique() - 1
    others = f", and so {'is' if more == 1 else 'are'} {more} more" if more else ""
    return [
        "one PatientID of the DICOM headers is several patients of the table "
        f"({', '.join(map(repr, first[:3]))}){others}: a split may part them; correct the table "
        "if they are one"
    ]
