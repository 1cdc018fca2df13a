"""Figure 1 COVID-19 chest X-ray initiative (Chung et al. 2020, for COVID-Net).

Licence: none is stated; its makers offer it for research purposes only.
Where: https://github.com/agchung/Figure1-COVID-chestxray-dataset

Layout: ``metadata.csv`` and ``images/``. The table gives no file names: an image is
``images/<patientid>.jpg`` or ``.png``.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from hurdles.data.formats import IMAGE_SUFFIXES
from hurdles.data.manifest import Manifest
from hurdles.data.sources.cohen import Row, read_family
from hurdles.data.sources.collection import Layout, collection


@collection(
    "figure1",
    title="Figure 1 COVID-19 Chest X-ray Dataset Initiative",
    licence="None stated; for research purposes only",
    citation="Chung, Figure 1 COVID-19 Chest X-ray Dataset Initiative (2020); Wang, Lin, Wong, "
    "COVID-Net, Sci. Rep. 10 (2020) 19549, doi:10.1038/s41598-020-76550-z",
    url="https://github.com/agchung/Figure1-COVID-chestxray-dataset",
    quirks=(
        "The column 'patientid' names an image: COVID-00003a and COVID-00003b are two images of "
        "the patient COVID-00003.",
        "File names have no extension in the table; the image is a .jpg or a .png.",
        "A third of the rows have no finding, often because a test was not back yet: left out.",
        "The view is empty for most images; these are kept, with an empty view.",
        "Ages such as '50+', '67+' or 'early 40s' are not made into numbers.",
        "Many images are photographs of a screen ('from monitor' in the artefacts column).",
        "The table is not always UTF-8.",
    ),
    layouts=(
        Layout(
            "metadata.csv with patientid, finding and 'pO2 saturation', and "
            "images/COVID-00001.jpg.",
            ("metadata.csv", "images/COVID-[0-9]*"),
            ("metadata.csv", ("patientid", "finding", "view", "modality", "pO2 saturation")),
        ),
    ),
    folders=("Figure1-COVID-chestxray-dataset", "Figure1-COVID-chestxray-dataset-master"),
)
def read(root: Path) -> Manifest:
    """Read the X-rays with a finding; further columns: finding, offset (days), artefacts."""
    return read_family(
        root,
        "figure1",
        locate=partial(_locate, root),
        patient=_patient,
        view_required=False,
        extra=(
            ("finding", "finding"),
            ("offset", "offset"),
            ("artifacts/distortion", "artefacts"),
        ),
    )


def _locate(root: Path, row: Row, files: dict[str, Path]) -> Path:
    for suffix in (".jpg", ".png", *sorted(IMAGE_SUFFIXES)):
        if (name := row["patientid"] + suffix) in files:
            return files[name]
    return root / "images" / row["patientid"]


def _patient(row: Row) -> str | None:
    return re.sub(r"(?<=\d)[a-z]$", "", row["patientid"]) or None
