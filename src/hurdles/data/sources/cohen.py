"""COVID-19 image data collection, covid-chestxray-dataset (Cohen et al. 2020).

Licence: every image has its own, in the ``licence`` column; scripts Apache 2.0; V7's lung masks
CC BY 4.0. Where: https://github.com/ieee8023/covid-chestxray-dataset

Layout: ``metadata.csv``, ``images/``, ``volumes/`` (CT), and lung masks in
``annotations/v7labs-lung-masks/`` or ``annotations/lungVAE-masks/``; the former are used, found by
the image's stem. Frontal X-rays (PA, AP, AP Supine) are kept.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection
from hurdles.data.sources.covid_metadata import Row, read_family

_EXTRA = (
    ("finding", "finding"),
    ("offset", "offset"),
    ("location", "location"),
    ("license", "licence"),
    ("url", "url"),
)


@collection(
    "cohen",
    title="COVID-19 image data collection (covid-chestxray-dataset)",
    licence="Each image its own (column 'licence'; often CC BY-NC-SA, or not stated); lung masks "
    "by V7 Labs CC BY 4.0",
    citation="Cohen et al., COVID-19 Image Data Collection: Prospective Predictions Are the "
    "Future, MELBA 1 (2020), arXiv:2006.11988",
    url="https://github.com/ieee8023/covid-chestxray-dataset",
    quirks=(
        "CT slices, lateral views, views that are not stated and findings still 'todo' are left "
        "out.",
        "Some rows name files that are missing, and some files stand in no row.",
        "A letter after the patient's number tells two people of one publication apart (311a is a "
        "man of 68, 311b a woman of 39): the whole id is the patient.",
        "Two patients are entered twice (285 is 339, 287 is 340: the same files); the first entry "
        "is used.",
        "One person may stand in several collections: all of Hannover's images and many of the "
        "Radiography Database's COVID-19 class are here too.",
        "Normal and other pneumonias come from other publications and hospitals than COVID-19: the "
        "'location' column is kept so that this can be looked at.",
    ),
    layouts=(
        Layout(
            "metadata.csv with patientid, finding, view, modality and filename; images/ beside.",
            ("metadata.csv", "images"),
            ("metadata.csv", ("patientid", "finding", "view", "modality", "filename")),
        ),
    ),
    folders=("covid-chestxray-dataset", "covid-chestxray-dataset-master"),
)
def read(root: Path) -> Manifest:
    """Read the frontal X-rays; further columns: finding, offset (days), location, licence, url."""
    masks = {}
    folder = root / "annotations" / "v7labs-lung-masks"
    if folder.is_dir():
        masks = {path.stem: path for path in folder.glob("*.png")}
    return read_family(
        root,
        "cohen",
        locate=partial(_locate, root),
        patient=lambda row: row["patientid"] or None,
        view_required=True,
        extra=_EXTRA,
        mask=lambda path: masks.get(path.stem),
    )


def _locate(root: Path, row: Row, files: dict[str, Path]) -> Path:
    name = row["filename"]
    return files.get(name, root / (row.get("folder") or "images") / name)
