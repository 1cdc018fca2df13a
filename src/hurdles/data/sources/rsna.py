"""RSNA Pneumonia Detection Challenge (Shih et al. 2019).

Licence: the competition's terms, non-commercial and academic research. Where:
https://www.kaggle.com/c/rsna-pneumonia-detection-challenge

Layout: ``stage_2_train_images/<patientId>.dcm``, ``stage_2_train_labels.csv`` (a row per box) and
``stage_2_detailed_class_info.csv``. The images of stage_2_test_images have no labels.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from pathlib import Path

from hurdles.data.dicom_file import open_dataset
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, age_of, collection, read_rows, sex_of, view_of
from hurdles.data.tally import Tally, walk

_IMAGES, _LABELS = "stage_2_train_images", "stage_2_train_labels.csv"
_DETAILS = "stage_2_detailed_class_info.csv"


@collection(
    "rsna",
    title="RSNA Pneumonia Detection Challenge",
    licence="Non-commercial and academic research, under the terms of the competition",
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
def read(root: Path) -> Manifest:
    """Read the images of the training stage; further columns: boxes (how many were drawn)."""
    boxes: dict[str, list[bool]] = defaultdict(list)
    for row in read_rows(root / _LABELS):
        boxes[row["patientId"]].append(row["Target"] == "1")
    details = {}
    if (root / _DETAILS).is_file():
        details = {row["patientId"]: row["class"] for row in read_rows(root / _DETAILS)}
    tally, met = Tally(root, "rsna"), set()
    for file in walk(root / _IMAGES):
        image = file.path.stem
        if file.refusal:
            tally.leave(file.path, file.refusal)
        elif image not in boxes:
            tally.leave(file.path, f"not named in {_LABELS}")
        else:
            met.add(image)
            drawn = sum(boxes[image])
            label = _label(drawn > 0, details.get(image))
            tally.keep(file.path, label, boxes=drawn, **_header(file.path))
    for image in boxes:
        if image not in met:
            missing = root / _IMAGES / f"{image}.dcm"
            tally.leave(missing, f"named in {_LABELS}, but the file is missing")
    return tally.manifest()


def _label(target: bool, detail: str | None) -> str:
    """Boxes decide; the detailed class only tells normal from other images without a box."""
    if target:
        return "Lung Opacity"
    if detail == "Normal":
        return "Normal"
    return "No Lung Opacity" if detail is None else "No Lung Opacity / Not Normal"


def _header(path: Path) -> dict[str, str | float | None]:
    """Return view, sex and age from the DICOM header; nothing where it cannot be read.

    A file that is damaged is for the decoder to name, with its own error.
    """
    tags = ["ViewPosition", "PatientSex", "PatientAge"]
    try:
        with warnings.catch_warnings(), path.open("rb") as handle:
            # The challenge writes the age as '51', which is not DICOM's '051Y'.
            warnings.simplefilter("ignore")
            header = open_dataset(handle)
            view, sex, age = (str(header.get(tag, "") or "") for tag in tags)
    except Exception:  # pydicom parses an element only when it is asked for, and raises anything
        return {}
    return {"view": view_of(view), "sex": sex_of(sex), "age": age_of(age)}
