"""Collections of COVID-19 X-rays: Cohen's, Figure 1, Actualmed, CORDA and Hannover's.

Cohen's collection (2020), Figure 1 and Actualmed (made for COVID-Net, Chung et al. 2020) share the
form of their ``metadata.csv``. Of Cohen's lung masks, in ``annotations/v7labs-lung-masks/`` or
``annotations/lungVAE-masks/``, the former are used, found by the image's stem. Frontal X-rays (PA,
AP, AP Supine) are kept.

CORDA comes from hospitals of Turin (Tartaglione et al. 2020; Barbano et al. 2024). The folders of
2020 are named after table columns, with minus signs that are part of the name: ``RX+-COVID+/``,
``RX+-COVID-/``, ``RX--COVID+/``, ``RX--COVID-/``, each with ``<image_id>.png``. The later release
has DICOM files without an extension at the table's ``path``, and ``fold0_test.csv`` to
``fold3_test.csv`` (and ``_train``) with the same rows parted four times.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from hurdles.data.folder import ManifestBuilder, walk
from hurdles.data.image_file import IMAGE_SUFFIXES
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


# --- CORDA ---------------------------------------------------------------------------------------


logger = logging.getLogger("hurdles.data")

_CORDA_2020, _CORDA_RELEASED = "CORDA_fix.csv", "corda.csv"
_CORDA_LABELS = {"+": "COVID-19", "-": "Not COVID-19"}


@collection(
    "corda",
    title="CORDA, COVID Radiographic images Data-set for AI",
    license="As stated by its makers with each release; ask them before use",
    citation="Tartaglione et al., Unveiling COVID-19 from Chest X-Ray with Deep Learning: A "
    "Hurdles Race with Small Data, Int. J. Environ. Res. Public Health 17 (2020) 6933, "
    "doi:10.3390/ijerph17186933; Barbano et al., arXiv:2405.11598",
    url="https://corsa.di.unito.it",
    quirks=(
        "The label is the result of the swab (COVID+ or COVID-), not what the image shows.",
        "RX+ and RX- tell whether a radiologist saw signs of pneumonia; the column 'finding' "
        "keeps it.",
        "RX--COVID+ are infected people whose X-ray looks clear: no model can be right on all of "
        "them.",
        "The table of 2020 names no patients, so the patient stays empty; that of the later "
        "release does.",
        "In the later release the source is the institution (molinette, mauriziano, sanluigi, "
        "monzino), and its four folds are kept in the column 'fold' (the one that an image is "
        "tested in), not used as a split.",
        "The later release is known here from its makers' published loader alone: whether ids of "
        "two institutions can mean two people could not be looked up, nor whether lateral views "
        "are among the X-rays, which the table does not tell.",
        "A controls' image may show any other disease: 'Not COVID-19' is not normal.",
    ),
    layouts=(
        Layout(
            "CORDA_fix.csv with image_id, covid and rx; folders RX+-COVID+/, RX+-COVID-/, "
            "RX--COVID+/, RX--COVID-/.",
            ("CORDA_fix.csv", "RX*-COVID*"),
            ("CORDA_fix.csv", ("image_id", "covid", "rx")),
        ),
        Layout(
            "corda.csv with patient_id, modality, covid, rx, path and institution; DICOM files at "
            "its paths.",
            (_CORDA_RELEASED,),
            (_CORDA_RELEASED, ("patient_id", "modality", "covid", "rx", "path", "institution")),
        ),
    ),
    folders=("CORDA-dataset", "CORDA", "corda"),
)
def read_corda(root: Path) -> Manifest:
    """Read the images that the table names; further columns: finding (RX+ or RX-), and fold."""
    return (
        _read_corda_released(root) if (root / _CORDA_RELEASED).is_file() else _read_corda_2020(root)
    )


def _read_corda_2020(root: Path) -> Manifest:
    builder = ManifestBuilder(root, "corda")
    entries = [entry for folder in sorted(root.glob("RX*-COVID*")) for entry in walk(folder)]
    files = {entry.path for entry in entries if not entry.refusal}
    for row in read_rows(root / _CORDA_2020):
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        path = root / f"RX{rx}-COVID{covid}" / f"{row['image_id']}.png"
        if "?" in (covid, rx):
            builder.leave(
                path, f"covid is {row['covid']!r} and rx {row['rx']!r}; 0 and 1 are known"
            )
        elif path not in files:
            builder.leave(path, f"named in {_CORDA_2020}, but the file is missing")
        else:
            builder.keep(path, _CORDA_LABELS[covid], finding=f"RX{rx}")
    builder.leave_rest(entries, f"not named in {_CORDA_2020}")
    return builder.manifest()


def _read_corda_released(root: Path) -> Manifest:
    builder = ManifestBuilder(root, "corda")
    entries = [e for e in walk(root) if not (e.refusal and e.path.suffix == ".csv")]
    files = {entry.path for entry in entries if not entry.refusal}
    folds = {  # the fold that each image is tested in
        row["path"]: table.stem.removeprefix("fold").removesuffix("_test")
        for table in sorted(root.glob("fold*_test.csv"))
        for row in read_rows(table)
        if row.get("path")
    }
    for row in read_rows(root / _CORDA_RELEASED):
        path = root / row["path"].replace("\\", "/").lstrip("/")
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        if row["modality"].upper() not in {"CR", "DX"}:
            builder.leave(path, f"{row['modality'] or 'no modality'}, no X-ray")
        elif covid == "?":
            builder.leave(path, f"covid is {row['covid']!r}; 0 and 1 are known")
        elif path not in files:
            builder.leave(path, f"named in {_CORDA_RELEASED}, but the file is missing")
        else:
            builder.keep(
                path,
                _CORDA_LABELS[covid],
                patient=row["patient_id"].removesuffix(".0") or None,
                source=row["institution"] or "corda",
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                finding=None if rx == "?" else f"RX{rx}",
                study=row.get("study_number") or None,
                fold=folds.get(row["path"]),
            )
    builder.leave_rest(entries, f"not named in {_CORDA_RELEASED}")
    if not folds:
        return builder.manifest()
    note = "its folds are kept in the column 'fold', not used as a split"
    logger.warning("%s: %s", root, note)
    return replace(builder.manifest(), notes=(f"corda: {note}",))


def _sign(cell: str) -> str:
    return {"0": "-", "1": "+"}.get(cell.removesuffix(".0"), "?")


# --- Hannover (Winther et al. 2020) --------------------------------------------------------------


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
def read_hannover(root: Path) -> Manifest:
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
