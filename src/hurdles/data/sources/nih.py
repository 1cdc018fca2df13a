"""NIH ChestX-ray8, later ChestX-ray14 (Wang et al. 2017), in its original layout.

Licence: no restriction on use; link, citation and acknowledgement of the NIH Clinical Center are
asked for. Where: https://nihcc.app.box.com/v/ChestXray-NIHCC

Layout: ``Data_Entry_2017.csv`` (or ``Data_Entry_2017_v2020.csv``), images in ``images/`` or in
``images_001/images/`` to ``images_012/images/``, and ``train_val_list.txt`` and ``test_list.txt``.

What the NIH's table and file names tell, for the collections that are made from its images.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, age_of, collection, read_rows, sex_of, view_of
from hurdles.data.tally import Tally, walk
from hurdles.data.vocabulary import Split


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


_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
_LISTS = {"train_val_list.txt": Split.TRAIN, "test_list.txt": Split.TEST}


def _layout(table: str) -> Layout:
    return Layout(
        f"{table} with its images in images*/, train_val_list.txt and test_list.txt beside.",
        (table, "images*"),
        (table, _COLUMNS),
    )


@collection(
    "nih",
    title="NIH ChestX-ray8 / ChestX-ray14",
    licence="No restriction on use; link to the NIH's page, citation and acknowledgement of the "
    "NIH Clinical Center are asked for",
    citation="Wang et al., ChestX-ray8: Hospital-Scale Chest X-Ray Database and Benchmarks, CVPR "
    "2017, 3462-3471, doi:10.1109/CVPR.2017.369",
    url="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    quirks=(
        "Labels were mined from reports by a program and are held to be more than 90 % right; for "
        "pneumonia they are worse.",
        "'No Finding' means none of fourteen findings, not a normal chest.",
        "An image has several findings: it counts as Pneumonia wherever that is among them, and "
        "the column 'finding' keeps them all.",
        "A few ages are mistakes (148, 411 years) and are left empty.",
        "AP images are mostly bedside ones of sicker patients, so the view tells the class.",
        "train_val_list.txt becomes 'train': choose the validation part from it, by patient.",
        "RSNA's pneumonia collection and DarkCovidNet's folders are drawn from these images.",
    ),
    layouts=(_layout("Data_Entry_2017.csv"), _layout("Data_Entry_2017_v2020.csv")),
    folders=("ChestXray-NIHCC", "ChestX-ray14", "ChestX-ray8", "NIH Chest X-rays"),
)
def read(root: Path) -> Manifest:
    """Read the images that the table names; further columns: finding."""
    names = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
    table = next(root / name for name in names if (root / name).is_file())
    rows, splits = entries(table), _splits(root)
    tally, met = Tally(root, "nih"), set()
    for folder in sorted(path for path in root.glob("images*") if path.is_dir()):
        for file in walk(folder):
            stem = file.path.stem
            if file.refusal:
                tally.leave(file.path, file.refusal)
            elif stem not in rows:
                tally.leave(file.path, f"not named in {table.name}")
            elif stem in met:
                tally.leave(file.path, "a second file of the same name")
            else:
                met.add(stem)
                row = rows[stem]
                patient = row["Patient ID"].lstrip("0") or patient_of(stem)
                label, split = label_of(row["Finding Labels"]), splits.get(stem)
                tally.keep(file.path, label, patient=patient, split=split, **cells_of(row))
    for stem, row in rows.items():
        if stem not in met:
            missing = root / "images" / row["Image Index"]
            tally.leave(missing, f"named in {table.name}, but the file is missing")
    return tally.manifest()


def _splits(root: Path) -> dict[str, str]:
    """Return the published split by the image's stem; empty where the lists are not there."""
    return {
        Path(line.strip()).stem: split.value
        for name, split in _LISTS.items()
        if (root / name).is_file()
        for line in (root / name).read_text(encoding="utf-8").splitlines()
        if line.strip()
    }
