"""Cohen's collection (2020), and those that share its ``metadata.csv``: Figure 1 and Actualmed.

Figure 1 and Actualmed were made for COVID-Net (Chung et al. 2020). Of Cohen's lung masks, in
``annotations/v7labs-lung-masks/`` or ``annotations/lungVAE-masks/``, the former are used, found by
the image's stem. Frontal X-rays (PA, AP, AP Supine) are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from hurdles.data.formats import IMAGE_SUFFIXES
from hurdles.data.inventory import ManifestBuilder, walk
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.vocabulary import View, age_of, sex_of, view_of

#: What the tables call pneumonia without always saying the word: germs, and kinds.
_PNEUMONIAS = {
    "aspiration", "aspergillosis", "bacterial", "chlamydophila", "e.coli", "fungal", "h1n1",
    "herpes", "influenza", "klebsiella", "legionella", "lipoid", "mers", "mers-cov", "mrsa",
    "mycoplasma", "nocardia", "pneumocystis", "pneumonia", "sars", "staphylococcus",
    "streptococcus", "varicella", "viral",
}  # fmt: skip


@collection(
    "cohen",
    title="COVID-19 image data collection (covid-chestxray-dataset)",
    license="Each image its own (column 'license'; often CC BY-NC-SA, or not stated); lung masks "
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
def read_cohen(root: Path) -> Manifest:
    """Read the frontal X-rays; further columns: finding, offset (days), location, license, url."""
    return _read_metadata(
        root,
        "cohen",
        file_name=lambda row, _: row["filename"],
        patient=lambda row: row["patientid"],
        extra={name: name for name in ("finding", "offset", "location", "license", "url")},
        masks={p.stem: p for p in (root / "annotations" / "v7labs-lung-masks").glob("*.png")},
    )


@collection(
    "figure1",
    title="Figure 1 COVID-19 Chest X-ray Dataset Initiative",
    license="None stated; for research purposes only",
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
        "Many images are photographs of a screen ('from monitor' in the artifacts column).",
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
def read_figure1(root: Path) -> Manifest:
    """Read the X-rays with a finding; further columns: finding, offset (days), artifacts."""

    def file_name(row: Mapping[str, str], files: Mapping[str, Path]) -> str:
        image = row["patientid"]
        ends = (".jpg", ".png", *sorted(IMAGE_SUFFIXES))
        return next((image + end for end in ends if image + end in files), image)

    return _read_metadata(
        root,
        "figure1",
        file_name=file_name,
        patient=lambda row: re.sub(r"(?<=\d)[a-z]$", "", row["patientid"]),
        view_required=False,
        extra={"finding": "finding", "offset": "offset", "artifacts": "artifacts/distortion"},
    )


@collection(
    "actualmed",
    title="Actualmed COVID-19 Chest X-ray Dataset Initiative",
    license="None stated; for research purposes only",
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
def read_actualmed(root: Path) -> Manifest:
    """Read the X-rays with a conclusive finding; further columns: finding, notes."""
    return _read_metadata(
        root,
        "actualmed",
        file_name=lambda row, _: row["imagename"],
        patient=lambda row: row["patientid"],
        extra={"finding": "finding", "notes": "notes"},
    )


def _read_metadata(
    root: Path,
    source: str,
    *,
    file_name: Callable[[Mapping[str, str], Mapping[str, Path]], str],
    patient: Callable[[Mapping[str, str]], str],
    extra: Mapping[str, str],
    masks: Mapping[str, Path] | None = None,
    view_required: bool = True,
) -> Manifest:
    """Read ``metadata.csv`` and ``images/``; every row and every file is kept or left out."""
    builder = ManifestBuilder(root, source)
    entries = list(walk(root / "images")) if (root / "images").is_dir() else []
    files = {entry.path.name: entry.path for entry in entries if not entry.refusal}
    for row in read_rows(root / "metadata.csv"):
        name = file_name(row, files)
        path = files.get(name, root / (row.get("folder") or "images") / name)
        view, label = view_of(row.get("view", "")), label_of(row.get("finding", ""))
        if reason := _unusable(row, view, label, view_required):
            builder.leave(path, reason)
        elif name not in files:
            builder.leave(path, "named in metadata.csv, but the file is missing")
        else:
            mask = masks.get(path.stem) if masks else None
            builder.keep(
                path,
                str(label),
                patient=patient(row) or None,
                view=view,
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                mask=str(mask) if mask else None,
                **{ours: row.get(theirs) or None for ours, theirs in extra.items()},
            )
    builder.leave_rest(entries, "not named in metadata.csv")
    return builder.manifest()


def _unusable(
    row: Mapping[str, str], view: str | None, label: str | None, view_required: bool
) -> str:
    """Return why a row cannot be used, the plainest reason first; empty where it can."""
    modality, finding = row.get("modality", ""), row.get("finding", "")
    if modality and modality.lower() not in {"x-ray", "cxr", "dx", "cr"}:
        return f"{modality}, no X-ray"
    if view == View.LATERAL:
        return "a lateral view"
    if view is None and row.get("view", "") not in {"", "?"}:
        return f"view {row['view']!r}, not frontal"
    if view is None and view_required:
        return "the view is not stated"
    if label is None:
        return f"finding {finding!r} tells no class" if finding else "no finding is stated"
    return ""


def label_of(finding: str) -> str | None:
    """Return the class of a raw ``finding``, or None where it tells no class.

    COVID-19 wins over what is named beside it; then every named pneumonia is "Other Pneumonia";
    "No Finding" is "Normal". ARDS alone is a syndrome, tuberculosis another disease: neither is a
    class here.

    Examples
    --------
    >>> label_of("COVID-19, ARDS"), label_of("Pneumonia/Viral/COVID-19")
    ('COVID-19', 'COVID-19')
    >>> label_of("Mycoplasma Bacterial Pneumonia"), label_of("No Finding")
    ('Other Pneumonia', 'Normal')
    >>> label_of("todo") is None, label_of("ARDS") is None, label_of("Tuberculosis") is None
    (True, True, True)
    """
    words = set(re.split(r"[\s,/]+", finding.strip().lower()))
    if "covid-19" in words:
        return "COVID-19"
    if words & _PNEUMONIAS:
        return "Other Pneumonia"
    return "Normal" if finding.strip().lower() == "no finding" else None
