"""COVID-19 Radiography Database (Chowdhury et al. 2020; Rahman et al. 2021).

The first release brings a workbook of metadata for each class (``COVID-19.metadata.xlsx``,
``NORMAL.metadata.xlsx``, and, spelled so, ``Viral Pneumonia.matadata.xlsx``), that of 2021 masks.
"""

from __future__ import annotations

import re
from pathlib import Path

from hurdles.data.folder import ManifestBuilder
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection

_FIRST = {"COVID-19": "COVID-19", "NORMAL": "Normal", "Viral Pneumonia": "Viral Pneumonia"}
_SECOND = {
    "COVID": "COVID-19",
    "Lung_Opacity": "Lung Opacity",
    "Normal": "Normal",
    "Viral Pneumonia": "Viral Pneumonia",
}
#: The patient in Kermany's name of an image: that of 'person1023_virus_1714' is person1023.
_PATIENT = re.compile(r"(person\d+)_(?:bacteria|virus)_\d+(?:_\d+)?")


@collection(
    "radiography-database",
    title="COVID-19 Radiography Database",
    license="Rights remain with the makers, who ask for citation; each part keeps its origin's "
    "terms (Kermany CC BY 4.0, RSNA for research only)",
    citation="Chowdhury et al., Can AI Help in Screening Viral and COVID-19 Pneumonia?, IEEE "
    "Access 8 (2020) 132665-132676, doi:10.1109/ACCESS.2020.3010287; Rahman et al., Comput. Biol. "
    "Med. 132 (2021) 104319, doi:10.1016/j.compbiomed.2021.104319",
    url="https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database",
    quirks=(
        "Class and origin are nearly one and the same: in the first release viral pneumonia and "
        "all but 62 normal images are Kermany's children of one to five years from Guangzhou, "
        "COVID-19 are mostly adults from elsewhere.",
        "Patients are known only where the workbook's URL gives Kermany's file name: every viral "
        "pneumonia, no COVID-19 and no normal image.",
        "The COVID-19 class shares images with Cohen's collection and holds several images of some "
        "patients.",
        "The third workbook of the first release is spelled 'matadata'.",
        "In the 2021 release, normal images are children (Kermany) and adults (RSNA) in one "
        "folder, and lung opacity is RSNA's alone.",
    ),
    layouts=(
        Layout(
            "COVID-19/, NORMAL/ and 'Viral Pneumonia/' with images, workbooks of metadata beside.",
            ("COVID-19", "NORMAL", "Viral Pneumonia"),
        ),
        Layout(
            "COVID/images/, Normal/images/, Lung_Opacity/images/ and 'Viral Pneumonia/images/', "
            "with masks/ beside each images/.",
            tuple(f"{folder}/images" for folder in _SECOND),
        ),
    ),
    folders=(
        "COVID-19 Radiography Database",
        "COVID-19_Radiography_Dataset",
        "COVID-19-Radiography-Database",
    ),
)
def read(root: Path) -> Manifest:
    """Read either release; further columns: ``original`` (name or address of the origin)."""
    builder = ManifestBuilder(root, "radiography-database")
    second = (root / "COVID" / "images").is_dir()
    for folder, label in (_SECOND if second else _FIRST).items():
        originals = _originals(root, folder)
        images = root / folder / "images" if second else root / folder
        for entry in builder.images(images):
            original = originals.get(_key(entry.path.stem))
            name = Path(original).name.rsplit(".", 1)[0] if original else ""
            patient = _PATIENT.fullmatch(name)
            mask = images.parent / "masks" / entry.path.name
            builder.keep(
                entry.path,
                label,
                patient=patient[1] if patient else None,
                mask=str(mask) if second and mask.is_file() else None,
                original=original,
            )
    return builder.manifest()


def _originals(root: Path, folder: str) -> dict[str, str]:
    """Return the origin of each image of a class, by `_key` of its name, from the workbook."""
    import pandas as pd

    name = re.compile(rf"{re.escape(folder)}\.m[ae]tadata", re.IGNORECASE)
    workbook = next((p for p in sorted(root.glob("*.xlsx")) if name.fullmatch(p.stem)), None)
    if workbook is None:
        return {}
    table = pd.read_excel(workbook, dtype="str").rename(columns=lambda c: str(c).strip().upper())
    if not {"FILE NAME", "URL"} <= set(table.columns):
        return {}
    pairs = table[["FILE NAME", "URL"]].dropna().itertuples(index=False)
    return {_key(name): url.strip() for name, url in pairs}


def _key(name: str) -> str:
    """Remove differences in blanks and case: 'COVID-19 (1)' is 'COVID-19(1)' in the workbook."""
    return re.sub(r"\s+", "", name).casefold()
