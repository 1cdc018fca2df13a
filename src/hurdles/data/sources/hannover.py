"""COVID-19 Image Repository of Hannover Medical School (Winther et al. 2020).

Licence: CC BY 3.0. Where: https://github.com/ml-workgroup/covid-19-image-repository

Layout: ``data.csv`` (patient_id, image_id, sex, age, admission_offset, modality, projection, ...)
and ``png/<image_id>.png``.
"""

from __future__ import annotations

from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, age_of, collection, read_rows, sex_of, view_of
from hurdles.data.tally import Tally, walk
from hurdles.data.vocabulary import View


@collection(
    "hannover",
    title="COVID-19 Image Repository, Hannover Medical School",
    licence="CC BY 3.0",
    citation="Winther et al., COVID-19 Image Repository (2020), doi:10.6084/m9.figshare.12275009",
    url="https://github.com/ml-workgroup/covid-19-image-repository",
    quirks=(
        "Every patient had COVID-19, so there is one class: use it beside another collection.",
        "The label is the patient's, not the image's: an image long before or after the admission "
        "may show no COVID-19.",
        "Offsets are in days from the image: admission_offset -22 means admitted 22 days before "
        "it, 10 means ten days after it. A table of 2020 spans -61 to 23.",
        "A few patients have most of the images (up to 25 each), so patients, not images, count.",
        "Ages are withheld; PA are walking patients, AP mostly intensive care.",
        "All images are in Cohen's collection too.",
    ),
    layouts=(
        Layout(
            "data.csv with patient_id, image_id and projection; png/<image_id>.png.",
            ("data.csv", "png"),
            ("data.csv", ("patient_id", "image_id", "projection")),
        ),
    ),
    folders=("covid-19-image-repository", "covid-19-image-repository-master"),
)
def read(root: Path) -> Manifest:
    """Read the frontal X-rays, all COVID-19; further columns: admission_offset (days), modality."""
    tally = Tally(root, "hannover")
    seen = list(walk(root / "png"))
    files = {file.path.stem: file.path for file in seen if not file.refusal}
    for row in read_rows(root / "data.csv"):
        path = files.get(row["image_id"], root / "png" / f"{row['image_id']}.png")
        view = view_of(row["projection"])
        if view == View.LATERAL.value or (view is None and row["projection"]):
            tally.leave(path, f"projection {row['projection']!r}, not frontal")
        elif row["image_id"] not in files:
            tally.leave(path, "named in data.csv, but the file is missing")
        else:
            tally.keep(
                path,
                "COVID-19",
                patient=row["patient_id"] or None,
                view=view,
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                admission_offset=_days(row.get("admission_offset", "")),
                modality=row.get("modality") or None,
            )
    for file in seen:
        if file.refusal:
            tally.leave(file.path, file.refusal)
    tally.leave_rest(files.values(), "not named in data.csv")
    return tally.manifest()


def _days(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
