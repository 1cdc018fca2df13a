"""COVID-19 image data collection, covid-chestxray-dataset (Cohen et al. 2020).

Licence: every image has its own, in the ``licence`` column; scripts Apache 2.0; V7's lung masks
CC BY 4.0. Where: https://github.com/ieee8023/covid-chestxray-dataset

Layout: ``metadata.csv``, ``images/``, ``volumes/`` (CT), and lung masks in
``annotations/v7labs-lung-masks/`` or ``annotations/lungVAE-masks/``; the former are used, found by
the image's stem. Frontal X-rays (PA, AP, AP Supine) are kept.

The ``metadata.csv`` that Cohen's, Figure 1's and Actualmed's collections have in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, age_of, collection, read_rows, sex_of, view_of
from hurdles.data.tally import Tally, walk
from hurdles.data.vocabulary import View

_UNKNOWN = {"", "todo", "unknown", "?", "nan"}
#: What the tables call pneumonia without always saying the word: germs, and kinds.
_PNEUMONIAS = {
    "aspiration", "aspergillosis", "bacterial", "chlamydophila", "e.coli", "fungal", "h1n1",
    "herpes", "influenza", "klebsiella", "legionella", "lipoid", "mers", "mers-cov", "mrsa",
    "mycoplasma", "nocardia", "pneumocystis", "pneumonia", "sars", "staphylococcus",
    "streptococcus", "varicella", "viral",
}  # fmt: skip

Row = dict[str, str]


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
    text = finding.strip().lower()
    if text in _UNKNOWN:
        return None
    words = {word for word in re.split(r"[\s,/]+", text) if word}
    if "covid-19" in words:
        return "COVID-19"
    if words & _PNEUMONIAS:
        return "Other Pneumonia"
    return "Normal" if text == "no finding" else None


def read_family(
    root: Path,
    source: str,
    *,
    locate: Callable[[Row, dict[str, Path]], Path],
    patient: Callable[[Row], str | None],
    view_required: bool,
    extra: Iterable[tuple[str, str]],
    mask: Callable[[Path], Path | None] = lambda _: None,
) -> Manifest:
    """Read ``metadata.csv`` and ``images/``; every row and every file is kept or left out."""
    tally = Tally(root, source)
    columns = list(extra)
    seen = list(walk(root / "images")) if (root / "images").is_dir() else []
    files = {file.path.name: file.path for file in seen if not file.refusal}
    for row in read_rows(root / "metadata.csv"):
        path = locate(row, files)
        label = label_of(row.get("finding", ""))
        reason = _reason(row, path, files, label, view_required)
        if reason or label is None:
            tally.leave(path, reason)
            continue
        lungs = mask(path)
        tally.keep(
            path,
            label,
            patient=patient(row),
            view=view_of(row.get("view", "")),
            sex=sex_of(row.get("sex", "")),
            age=age_of(row.get("age", "")),
            mask=str(lungs) if lungs else None,
            **{name: row.get(column) or None for column, name in columns},
        )
    for file in seen:
        if file.refusal:
            tally.leave(file.path, file.refusal)
    tally.leave_rest(files.values(), "not named in metadata.csv")
    return tally.manifest()


def _reason(
    row: Row, path: Path, files: dict[str, Path], label: str | None, view_required: bool
) -> str:
    """Return why a row cannot be used, the plainest reason first; empty where it can."""
    modality, view = row.get("modality", ""), row.get("view", "")
    known = view_of(view)
    if modality and modality.lower() not in {"x-ray", "cxr", "dx", "cr"}:
        return f"{modality}, no X-ray"
    if known == View.LATERAL.value:
        return "a lateral view"
    if known is None and view not in {"", "?"}:
        return f"view {view!r}, not frontal"
    if known is None and view_required:
        return "the view is not stated"
    if label is None:
        finding = row.get("finding", "")
        return f"finding {finding!r} tells no class" if finding else "no finding is stated"
    if path.name not in files:
        return "named in metadata.csv, but the file is missing"
    return ""


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
