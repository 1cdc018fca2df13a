"""Patient, sex, age and view of images from their DICOM headers, beside what a table says."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hurdles.data.image_file import read_headers
from hurdles.data.untrusted import listed

#: What anonymizers and devices write where there is no id; letters and digits only.
_NOBODY = frozenset(
    {
        "", "anon", "anonym", "anonymisiert", "anonymised", "anonymized", "anonymous", "default",
        "deidentified", "dummy", "na", "nan", "noid", "none", "notavailable", "null", "patient",
        "patientid", "redacted", "removed", "test", "testpatient", "unbekannt", "undefined",
        "unknown",
    }
)  # fmt: skip
#: No word for nobody has a digit but 0.
_NUMBERED = re.compile("[1-9]")
#: One id on every file, of at least so many, is a device's or an anonymizer's.
_SAME = 4


def without_placeholders(
    patients: pd.Series, *, where: str, same: bool = False
) -> tuple[pd.Series, list[str]]:
    """Return ids with those emptied that name nobody, and a sentence on each of these."""
    ids = patients.astype(object).where(patients.notna(), None)
    counts = ids.value_counts()
    one = any(name.lstrip("0") == "1" for name in counts.index)  # numbered from 0 on

    def nobody(name: str) -> bool:
        if _NUMBERED.search(name):
            return False
        plain = "".join(filter(str.isalnum, name.casefold()))
        zero = not plain.strip("0") and not one
        return plain in _NOBODY or zero or (len(plain) > 1 and not plain.strip("x"))

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
    """Fill the patient, sex, age and view of images from their DICOM headers; add notes on it.

    The frame's own cells stay. Patients are not filled in between those of a table that calls the
    same people otherwise.
    """
    headers = read_headers(frame["path"].tolist())
    dicom = headers["dicom"].to_numpy()
    if not dicom.any():
        return frame, []
    headers.index = frame.index
    ids, notes = without_placeholders(
        headers.loc[dicom, "patient"], where="DICOM headers", same=True
    )
    headers["patient"] = ids.reindex(frame.index)
    frame, filled = frame.copy(), []
    for column in ("patient", "sex", "age", "view"):
        own, header = frame[column], headers[column].where(headers[column].notna(), None)
        both = own.notna() & header.notna()
        if column == "age":
            years = pd.to_numeric(own, errors="coerce") - pd.to_numeric(header, errors="coerce")
            alike = years.abs() <= 1  # one of them may be rounded
        else:
            alike = own == header
        if (differ := both & ~alike).any():
            rows = [names[i] for i in np.flatnonzero(differ).tolist()]
            notes.append(
                f"{column!r} of the table and of the DICOM header differ in {len(rows)} of "
                f"{int(both.sum())} rows ({listed(rows, 5, str)}); the table's is used"
            )
            if column == "patient":
                notes += _note_of_split_patients(own, header)
                continue
        gaps = own.isna() & header.notna()
        if gaps.any():
            filled.append(f"{column} of {int(gaps.sum())}")
            frame[column] = own.astype(object).where(~gaps, header)
    if headers["institution"].notna().any() and "institution" not in frame:
        frame["institution"] = headers["institution"]
        n = headers["institution"].nunique()
        notes.append(
            f"the DICOM headers name {n} institution{'s' * (n != 1)}: kept in the column "
            "'institution', not used as the source"
        )
    if filled:
        notes.insert(0, f"read from {int(dicom.sum())} DICOM headers: {', '.join(filled)} images")
    return frame, notes


def _note_of_split_patients(own: pd.Series, header: pd.Series) -> list[str]:
    """Name people of the headers who are several in the table: a split would part them."""
    pairs = pd.DataFrame({"own": own, "header": header}).dropna().drop_duplicates()
    several = pairs[pairs["header"].duplicated(keep=False)]
    if not len(several):
        return []
    first = several.loc[several["header"] == several["header"].iloc[0], "own"].astype("str")
    more = several["header"].nunique() - 1
    others = f", and so {'is' if more == 1 else 'are'} {more} more" if more else ""
    return [
        "one PatientID of the DICOM headers is several patients of the table "
        f"({', '.join(map(repr, first[:3]))}){others}: a split may part them; correct the table "
        "if they are one"
    ]
