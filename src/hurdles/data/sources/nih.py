"""Collections of the U.S. National Institutes of Health, and others made of their images.

Montgomery County and Shenzhen are tuberculosis X-rays with lung masks (Jaeger et al. 2014). The
last digit of a name is 1 for tuberculosis: ``MCUCXR_0001_0.png``, ``CHNCXR_0001_0.png``. Shenzhen's
masks have the same names with or without ``_mask``; some copies bring a text per image in
``ClinicalReadings/``.

Of ChestX-ray8 (Wang et al. 2017), RSNA's challenge gives the images other names; DarkCovidNet's
folders (Ozturk et al. 2020) keep the names and set Cohen's images beside them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hurdles.data.folder import ManifestBuilder, walk
from hurdles.data.image_file import read_headers
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.vocabulary import Split, age_of, sex_of, view_of

_TUBERCULOSIS_NAME = re.compile(r"(MCUCXR|CHNCXR)_(\d+)_([01])")
_TUBERCULOSIS_SOURCES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}


@collection(
    "montgomery-shenzhen",
    title="Montgomery County and Shenzhen chest X-ray sets with lung masks",
    license="Free for research with citation and acknowledgement of the National Library of "
    "Medicine",
    citation="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of "
    "pulmonary diseases, Quant. Imaging Med. Surg. 4 (2014) 475-477, "
    "doi:10.3978/j.issn.2223-4292.2014.11.20; Candemir et al., IEEE Trans. Med. Imaging 33 (2014) "
    "577-590, doi:10.1109/TMI.2013.2290491; Shenzhen masks: Stirenko et al., ELNANO 2018, "
    "arXiv:1803.01199",
    url="https://www.kaggle.com/datasets/nikhilpandey360/chest-xray-masks-and-labels",
    quirks=(
        "Two hospitals of two countries: the column 'source' says montgomery or shenzhen, and "
        "numbers count within each.",
        "Every patient has one image, so the number is the patient.",
        "Montgomery's masks were drawn by radiologists, Shenzhen's by students, for 566 of 662 "
        "images.",
        "Montgomery's images have wide black margins, Shenzhen's have none: the hospital can be "
        "seen.",
        "Masks leave out the part of the lungs behind heart and diaphragm.",
    ),
    layouts=(
        Layout(
            "CXR_jpg/ or CXR_png/ with MCUCXR_0001_0.png and CHNCXR_0001_0.png; masks/ beside.",
            ("CXR_*/*CXR_[0-9]*", "masks"),
        ),
    ),
    folders=("Lung Segmentation",),
)
def read_montgomery_shenzhen(root: Path) -> Manifest:
    """Read both sets: labels Normal and Tuberculosis, ``mask`` where there is one."""
    builder = ManifestBuilder(root)
    masks = {
        entry.path.stem.removesuffix("_mask"): entry.path
        for entry in walk(root / "masks")
        if not entry.refusal
    }
    folders = sorted(path for path in root.glob("CXR_*") if path.is_dir())
    for entry in (entry for folder in folders for entry in builder.images(folder)):
        match = _TUBERCULOSIS_NAME.fullmatch(entry.path.stem)
        if match is None:
            builder.leave(entry.path, "neither MCUCXR_<number>_<0|1> nor CHNCXR_...")
            continue
        mask = masks.get(entry.path.stem)
        builder.keep(
            entry.path,
            "Tuberculosis" if match[3] == "1" else "Normal",
            source=_TUBERCULOSIS_SOURCES[match[1]],
            patient=match[2],
            mask=str(mask) if mask else None,
            **_reading(root / "ClinicalReadings" / f"{entry.path.stem}.txt"),
        )
    return builder.manifest()


def _reading(text: Path) -> dict[str, str | float | None]:
    """Return sex and age from a reading such as "Patient's Sex: F" or "male 45yrs"."""
    if not text.is_file():
        return {}
    content = text.read_text(encoding="latin-1")
    sex = re.search(r"\b(female|male|[FM])\b", content, re.IGNORECASE)
    age = re.search(r"\b0*(\d{1,3})\s*(?:Y\b|yrs?\b|years?\b)", content, re.IGNORECASE)
    return {"sex": sex_of(sex[1]) if sex else None, "age": age_of(age[1]) if age else None}


# --- ChestX-ray8 ---------------------------------------------------------------------------------


_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")


@collection(
    "nih",
    title="NIH ChestX-ray8 / ChestX-ray14",
    license="No restriction on use; link to the NIH's page, citation and acknowledgement of the "
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
    layouts=tuple(
        Layout(
            f"{table} with its images in images*/, train_val_list.txt and test_list.txt beside.",
            (table, "images*"),
            (table, ("Image Index", "Finding Labels", "Patient ID")),
        )
        for table in _TABLES
    ),
    folders=("ChestXray-NIHCC", "ChestX-ray14", "ChestX-ray8", "NIH Chest X-rays"),
)
def read_nih(root: Path) -> Manifest:
    """Read the images that the table names; further columns: finding."""
    table = next(root / name for name in _TABLES if (root / name).is_file())
    rows = _rows_by_stem(table)
    splits = {
        Path(line.strip()).stem: split.value
        for name, split in (("train_val_list.txt", Split.TRAIN), ("test_list.txt", Split.TEST))
        if (root / name).is_file()
        for line in (root / name).read_text(encoding="utf-8").splitlines()
        if line.strip()
    }
    builder, met = ManifestBuilder(root, "nih"), set()
    for folder in sorted(path for path in root.glob("images*") if path.is_dir()):
        for entry in builder.images(folder):
            stem = entry.path.stem
            if stem not in rows:
                builder.leave(entry.path, f"not named in {table.name}")
            elif stem in met:
                builder.leave(entry.path, "a second file of the same name")
            else:
                met.add(stem)
                row = rows[stem]
                builder.keep(
                    entry.path,
                    label_of(row["Finding Labels"]),
                    patient=row["Patient ID"].lstrip("0") or patient_of(stem),
                    split=splits.get(stem),
                    **_cells(row),
                )
    for stem, row in rows.items():
        if stem not in met:
            missing = root / "images" / row["Image Index"]
            builder.leave(missing, f"named in {table.name}, but the file is missing")
    return builder.manifest()


def _rows_by_stem(table: Path) -> dict[str, dict[str, str]]:
    return {Path(row["Image Index"]).stem: row for row in read_rows(table)}


def _cells(row: Mapping[str, str]) -> dict[str, Any]:
    """Return view, sex, age and the raw finding of a row; everything may be missing."""
    return {
        "view": view_of(row.get("View Position", "")),
        "sex": sex_of(row.get("Patient Gender", row.get("Patient Sex", ""))),
        "age": age_of(row.get("Patient Age", "")),
        "finding": row.get("Finding Labels") or None,
    }


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
    names = {finding.strip() for finding in findings.split("|")}
    if "Pneumonia" in names:
        return "Pneumonia"
    return "No Finding" if names == {"No Finding"} else "Other Finding"


@collection(
    "darkcovidnet",
    title="DarkCovidNet folders (NIH ChestX-ray8 and Cohen)",
    license="None stated for the folders; NIH part free with citation, COVID-19 images as in "
    "Cohen's collection",
    citation="Ozturk et al., Automated detection of COVID-19 cases using deep neural networks "
    "with X-ray images, Comput. Biol. Med. 121 (2020) 103792, "
    "doi:10.1016/j.compbiomed.2020.103792; Wang et al., ChestX-ray8, CVPR 2017",
    url="https://github.com/muhammedtalo/COVID-19",
    quirks=(
        "COVID-19 comes from another collection than the other two classes, so origin and class "
        "are one and the same; in many copies it is left out.",
        "Patients of the COVID-19 images are not known: their names are those of publications.",
        "Several images show one patient: 1,000 NIH images are of 682 patients.",
        "Labels are the NIH's, mined from reports by a program; 'No Finding' is not a normal "
        "chest.",
        "The table names .png files where a copy holds .jpg: they are matched without the "
        "extension.",
    ),
    layouts=(
        Layout(
            "No_findings/ and Pneumonia/ (and Covid-19/), Data_Entry_2017_subset.csv beside.",
            ("No_findings", "Pneumonia"),
        ),
    ),
    folders=("X-Ray Image DataSet", "DarkCovidNet", "COVID-19/X-Ray Image DataSet"),
)
def read_darkcovidnet(root: Path) -> Manifest:
    """Read the folders; further columns: finding (the NIH's labels)."""
    labels = {"Covid-19": "COVID-19", "No_findings": "No Finding", "Pneumonia": "Pneumonia"}
    tables = sorted(root.glob("Data_Entry_2017*.csv"))  # the NIH's, whole or a subset, or none
    rows = _rows_by_stem(tables[0]) if tables else {}
    builder = ManifestBuilder(root, "darkcovidnet")
    for folder, label in labels.items():
        for entry in builder.images(root / folder) if (root / folder).is_dir() else ():
            stem = entry.path.stem
            builder.keep(entry.path, label, patient=patient_of(stem), **_cells(rows.get(stem, {})))
    return builder.manifest()


_IMAGES, _LABELS = "stage_2_train_images", "stage_2_train_labels.csv"
_DETAILS = "stage_2_detailed_class_info.csv"


@collection(
    "rsna",
    title="RSNA Pneumonia Detection Challenge",
    license="Non-commercial and academic research, under the terms of the competition",
    citation="Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset "
    "with Expert Annotations of Possible Pneumonia, Radiol. Artif. Intell. 1 (2019) e180041, "
    "doi:10.1148/ryai.2019180041",
    url="https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
    quirks=(
        "The column 'patientId' names an image. Who it shows is not told (the images are the "
        "NIH's, where patients have several), so the patient stays empty.",
        "An image with several boxes stands in several rows, one per box; it is one row here, and "
        "'boxes' counts them.",
        "'Lung Opacity' is what may be pneumonia; 'No Lung Opacity / Not Normal' is everything "
        "else that is not normal.",
        "Without the table of detailed classes, normal and other images cannot be told apart: both "
        "are called 'No Lung Opacity'.",
        "View, sex and age are read from the DICOM headers.",
        "Images of the test stage have no labels and are not read.",
    ),
    layouts=(
        Layout(
            f"{_IMAGES}/*.dcm and {_LABELS}, and {_DETAILS} beside.",
            (_IMAGES, _LABELS),
            (_LABELS, ("patientId", "Target")),
        ),
    ),
    folders=("rsna-pneumonia-detection-challenge",),
)
def read_rsna(root: Path) -> Manifest:
    """Read the images of the training stage; further columns: boxes (how many were drawn)."""
    boxes: dict[str, list[bool]] = defaultdict(list)
    for row in read_rows(root / _LABELS):
        boxes[row["patientId"]].append(row["Target"] == "1")
    details = {}
    if (root / _DETAILS).is_file():
        details = {row["patientId"]: row["class"] for row in read_rows(root / _DETAILS)}
    builder = ManifestBuilder(root, "rsna")
    paths = []
    for entry in builder.images(root / _IMAGES):
        if entry.path.stem in boxes:
            paths.append(entry.path)
        else:
            builder.leave(entry.path, f"not named in {_LABELS}")
    headers = read_headers(list(map(str, paths)))
    for path, header in zip(paths, headers.to_dict("records"), strict=True):
        # Boxes decide; the detailed class only tells normal from other images without a box.
        label, detail = "Lung Opacity", details.get(path.stem)
        n_boxes = sum(boxes[path.stem])
        if not n_boxes:
            no_box = "No Lung Opacity" if detail is None else "No Lung Opacity / Not Normal"
            label = "Normal" if detail == "Normal" else no_box
        cells = {name: header[name] for name in ("view", "sex", "age")}
        builder.keep(path, label, boxes=n_boxes, **cells)
    present = {path.stem for path in paths}
    for image in (image for image in boxes if image not in present):
        missing = root / _IMAGES / f"{image}.dcm"
        builder.leave(missing, f"named in {_LABELS}, but the file is missing")
    return builder.manifest()
