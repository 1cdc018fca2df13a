"""Actualmed COVID-19 chest X-ray initiative (Chung et al. 2020, for COVID-Net).

Licence: none is stated; its makers offer it for research purposes only.
Where: https://github.com/agchung/Actualmed-COVID-chestxray-dataset

Layout: ``metadata.csv``, whose ``imagename`` names the file, and ``images/``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.cohen import Row, read_family
from hurdles.data.sources.collection import Layout, collection


@collection(
    "actualmed",
    title="Actualmed COVID-19 Chest X-ray Dataset Initiative",
    licence="None stated; for research purposes only",
    citation="Chung, Actualmed COVID-19 Chest X-ray Dataset Initiative (2020); Wang, Lin, Wong, "
    "COVID-Net, Sci. Rep. 10 (2020) 19549, doi:10.1038/s41598-020-76550-z",
    url="https://github.com/agchung/Actualmed-COVID-chestxray-dataset",
    quirks=(
        "An empty finding means that the test was inconclusive: left out.",
        "'No finding' means that COVID-19 was excluded, not that the lungs are clear.",
        "One patient may have images with and without COVID-19, days apart (ANON56, ANON58, "
        "ANON196).",
        "Supine and bedside images are AP, those of walking patients PA, so the view tells the "
        "severity.",
        "Age and sex are not given.",
    ),
    layouts=(
        Layout(
            "metadata.csv with patientid, finding, view, modality and imagename; images/ beside.",
            ("metadata.csv", "images"),
            ("metadata.csv", ("patientid", "finding", "view", "modality", "imagename")),
        ),
    ),
    folders=("Actualmed-COVID-chestxray-dataset", "Actualmed-COVID-chestxray-dataset-master"),
)
def read(root: Path) -> Manifest:
    """Read the X-rays with a conclusive finding; further columns: finding, notes."""
    return read_family(
        root,
        "actualmed",
        locate=partial(_locate, root),
        patient=lambda row: row["patientid"] or None,
        view_required=True,
        extra=(("finding", "finding"), ("notes", "notes")),
    )


def _locate(root: Path, row: Row, files: dict[str, Path]) -> Path:
    return files.get(row["imagename"], root / "images" / row["imagename"])
