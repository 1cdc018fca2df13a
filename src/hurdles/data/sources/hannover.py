"""COVID-19 Image Repository of Hannover Medical School (Winther et al. 2020)."""

from __future__ import annotations

from pathlib import Path

from hurdles.data.inventory import ManifestBuilder, walk
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.vocabulary import View, age_of, sex_of, view_of


@collection(
    "hannover",
    title="COVID-19 Image Repository, Hannover Medical School",
    license="CC BY 3.0",
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

    def days(text: str) -> float | None:
        try:
            return float(text)
        except ValueError:
            return None

    builder = ManifestBuilder(root, "hannover")
    entries = list(walk(root / "png"))
    files = {entry.path.stem: entry.path for entry in entries if not entry.refusal}
    for row in read_rows(root / "data.csv"):
        path = files.get(row["image_id"], root / "png" / f"{row['image_id']}.png")
        view = view_of(row["projection"])
        if view == View.LATERAL or (view is None and row["projection"]):
            builder.leave(path, f"projection {row['projection']!r}, not frontal")
        elif row["image_id"] not in files:
            builder.leave(path, "named in data.csv, but the file is missing")
        else:
            builder.keep(
                path,
                "COVID-19",
                patient=row["patient_id"] or None,
                view=view,
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                admission_offset=days(row.get("admission_offset", "")),
                modality=row.get("modality") or None,
            )
    builder.leave_rest(entries, "not named in data.csv")
    return builder.manifest()
