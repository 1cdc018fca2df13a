"""CORDA, COVID-19 X-rays from hospitals of Turin (Tartaglione et al. 2020; Barbano et al. 2024).

Licence: as its makers state with each release; none is assumed here.
Where: https://corsa.di.unito.it

Layout of 2020: ``CORDA_fix.csv`` (image_id, covid, rx) and folders named after both, with minus
signs that are part of the name: ``RX+-COVID+/``, ``RX+-COVID-/``, ``RX--COVID+/``,
``RX--COVID-/``, each with ``<image_id>.png``. Layout as released later: ``corda.csv`` (patient_id,
study_number, modality, sex, age, rx, covid, path, institution), DICOM files without an extension
at ``path``, and ``fold0_train.csv``, ``fold0_test.csv`` to ``fold3_test.csv`` with the same rows
parted four times.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, age_of, collection, read_rows, sex_of
from hurdles.data.tally import Tally, walk

logger = logging.getLogger("hurdles.data")

_SIGNS = {"0": "-", "1": "+"}
_XRAYS = frozenset({"CR", "DX"})
_RELEASED = "corda.csv"


@collection(
    "corda",
    title="CORDA, COVID Radiographic images Data-set for AI",
    licence="As stated by its makers with each release; ask them before use",
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
    return _released(root) if (root / _RELEASED).is_file() else _first(root)


def _first(root: Path) -> Manifest:
    tally = Tally(root, "corda")
    seen = [file for folder in sorted(root.glob("RX*-COVID*")) for file in walk(folder)]
    files = {file.path for file in seen if not file.refusal}
    for row in read_rows(root / "CORDA_fix.csv"):
        covid, rx = _sign(row["covid"]), _sign(row["rx"])
        path = root / f"RX{rx}-COVID{covid}" / f"{row['image_id']}.png"
        if "?" in (covid, rx):
            tally.leave(path, f"covid is {row['covid']!r} and rx {row['rx']!r}; 0 and 1 are known")
        elif path not in files:
            tally.leave(path, "named in CORDA_fix.csv, but the file is missing")
        else:
            label = "COVID-19" if covid == "+" else "Not COVID-19"
            tally.keep(path, label, finding=f"RX{rx}")
    for file in seen:
        if file.refusal:
            tally.leave(file.path, file.refusal)
    tally.leave_rest(sorted(files), "not named in CORDA_fix.csv")
    return tally.manifest()


def _released(root: Path) -> Manifest:
    tally, folds = Tally(root, "corda"), _folds(root)
    seen = list(walk(root))
    files = {file.path for file in seen if not file.refusal}
    for row in read_rows(root / _RELEASED):
        path, covid = root / row["path"].replace("\\", "/").lstrip("/"), _sign(row["covid"])
        if row["modality"].upper() not in _XRAYS:
            tally.leave(path, f"{row['modality'] or 'no modality'}, no X-ray")
        elif covid == "?":
            tally.leave(path, f"covid is {row['covid']!r}; 0 and 1 are known")
        elif path not in files:
            tally.leave(path, f"named in {_RELEASED}, but the file is missing")
        else:
            rx = _sign(row["rx"])
            tally.keep(
                path,
                "COVID-19" if covid == "+" else "Not COVID-19",
                patient=row["patient_id"].removesuffix(".0") or None,
                source=row["institution"] or "corda",
                sex=sex_of(row.get("sex", "")),
                age=age_of(row.get("age", "")),
                finding=None if rx == "?" else f"RX{rx}",
                study=row.get("study_number") or None,
                fold=folds.get(row["path"]),
            )
    for file in seen:
        if file.refusal and file.path.suffix != ".csv":
            tally.leave(file.path, file.refusal)
    tally.leave_rest(sorted(files), f"not named in {_RELEASED}")
    manifest = tally.manifest()
    if not folds:
        return manifest
    note = "its folds are kept in the column 'fold', not used as a split"
    logger.warning("%s: %s", root, note)
    return replace(manifest, notes=(f"corda: {note}",))


def _folds(root: Path) -> dict[str, str]:
    """Return the fold that each image is tested in, by its path."""
    return {
        row["path"]: table.stem.removeprefix("fold").removesuffix("_test")
        for table in sorted(root.glob("fold*_test.csv"))
        for row in read_rows(table)
        if row.get("path")
    }


def _sign(cell: str) -> str:
    return _SIGNS.get(cell.removesuffix(".0"), "?")
