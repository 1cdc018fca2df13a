"""What the NIH's table and file names tell, for the collections that are made from its images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hurdles.data.sources.cells import age_of, sex_of, view_of
from hurdles.data.sources.collection import read_rows


def entries(table: Path) -> dict[str, dict[str, str]]:
    """Return the rows of ``Data_Entry_2017*.csv`` by the image's stem."""
    return {Path(row["Image Index"]).stem: row for row in read_rows(table)}


def patient_of(stem: str) -> str | None:
    """Return the patient that a file's name tells: ``00000061_012`` is patient 61.

    Examples
    --------
    >>> patient_of("00000061_012"), patient_of("covid-19-pneumonia-7-PA")
    ('61', None)
    """
    match = re.fullmatch(r"(\d{8})_\d{3}", stem)
    return str(int(match[1])) if match else None


def label_of(findings: str) -> str:
    """Return the class of ``Finding Labels``: Pneumonia wherever it is among the findings.

    Examples
    --------
    >>> label_of("Edema|Pneumonia"), label_of("No Finding"), label_of("Mass|Nodule")
    ('Pneumonia', 'No Finding', 'Other Finding')
    """
    named = {finding.strip() for finding in findings.split("|")}
    if "Pneumonia" in named:
        return "Pneumonia"
    return "No Finding" if named == {"No Finding"} else "Other Finding"


def cells_of(row: dict[str, str]) -> dict[str, Any]:
    """Return view, sex, age and the raw finding of a row; everything may be missing."""
    return {
        "view": view_of(row.get("View Position", "")),
        "sex": sex_of(row.get("Patient Gender", row.get("Patient Sex", ""))),
        "age": age_of(row.get("Patient Age", "")),
        "finding": row.get("Finding Labels") or None,
    }
