"""CORDA, COVID-19 X-rays from hospitals of Turin (Tartaglione et al. 2020; Barbano et al. 2024).

The folders of 2020 are named after table columns, with minus signs that are part of the name:
``RX+-COVID+/``, ``RX+-COVID-/``, ``RX--COVID+/``, ``RX--COVID-/``, each with ``<image_id>.png``.
The later release has DICOM files without an extension at the table's ``path``, and
``fold0_test.csv`` to ``fold3_test.csv`` (and ``_train``) with the same rows parted four times.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hurdles.data.inventory import ManifestBuilder, walk
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection, read_rows
from hurdles.data.vocabulary import age_of, sex_of

logger = logging.getLogger("hurdles.data")

_FIRST, _RELEASED = "CORDA_fix.csv", "corda.csv"
_LABELS = {"+": "COVID-19", "-": "Not COVID-19"}


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
            (_RELEASED,),
            (_RELEASED, ("patient_id", "modality", "covid", "rx", "path", "institution")),
        ),
    ),
    folders=("CORDA-dataset", "CORDA", "corda"),
)
def read(root: Path) -> Manifest:
    """Read the images that the table names; further columns: finding (RX+ or RX-), and fold."""
    return _read_released(root) if (root / _RELEASED).is_file() else _read_first(root)


def _read_first(root: Path) -> Manifest:
    builder = ManifestBuilder(root, "corda")
    entries = [entry for folder in sorted(root.glob("RX*-COVID*")) for entry in walk(folder)]
    files = {entry.path for entry in entries if not entry.refusal}
    for row in read_rows(root / _FIRST):
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        path = root / f"RX{rx}-COVID{covid}" / f"{row['image_id']}.png"
        if "?" in (covid, rx):
            builder.leave(
                path, f"covid is {row['covid']!r} and rx {row['rx']!r}; 0 and 1 are known"
            )
        elif path not in files:
            builder.leave(path, f"named in {_FIRST}, but the file is missing")
        else:
            builder.keep(path, _LABELS[covid], finding=f"RX{rx}")
    builder.leave_rest(entries, f"not named in {_FIRST}")
    return builder.manifest()


def _read_released(root: Path) -> Manifest:
    builder = ManifestBuilder(root, "corda")
    entries = [e for e in walk(root) if not (e.refusal and e.path.suffix == ".csv")]
    files = {entry.path for entry in entries if not entry.refusal}
    folds = {  # the fold that each image is tested in
        row["path"]: table.stem.removeprefix("fold").removesuffix("_test")
        for table in sorted(root.glob("fold*_test.csv"))
        for row in read_rows(table)
        if row.get("path")
    }
    for row in read_rows(root / _RELEASED):
        path = root / row["path"].replace("\\", "/").lstrip("/")
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        if row["modality"].upper() not in {"CR", "DX"}:
            builder.leave(path, f"{row['modality'] or 'no modality'}, no X-ray")
        elif covid == "?":
            builder.leave(path, f"covid is {row['covid']!r}; 0 and 1 are known")
        elif path not in files:
            builder.leave(path, f"named in {_RELEASED}, but the file is missing")
        else:
            builder.keep(
                path,
                _LABELS[covid],
                patient=row["patient_id"].removesuffix(".0") or None,
                source=row["institution"] or "corda",
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                finding=None if rx == "?" else f"RX{rx}",
                study=row.get("study_number") or None,
                fold=folds.get(row["path"]),
            )
    builder.leave_rest(entries, f"not named in {_RELEASED}")
    if not folds:
        return builder.manifest()
    note = "its folds are kept in the column 'fold', not used as a split"
    logger.warning("%s: %s", root, note)
    return replace(builder.manifest(), notes=(f"corda: {note}",))


def _sign(cell: str) -> str:
    return {"0": "-", "1": "+"}.get(cell.removesuffix(".0"), "?")
