"""COVID-19 Radiography Database (Chowdhury et al. 2020; Rahman et al. 2021).

Licence: its makers keep the rights and ask for citation; parts carry their own origin's terms.
Where: https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database

Layout of the first release (2020): ``COVID-19/``, ``NORMAL/``, ``Viral Pneumonia/`` and a workbook
of metadata for each (``COVID-19.metadata.xlsx``, ``NORMAL.metadata.xlsx``, and, spelt so,
``Viral Pneumonia.matadata.xlsx``). Layout of 2021: ``COVID/images/COVID-1.png``, likewise
``Normal``, ``Lung_Opacity`` and ``Viral Pneumonia``, each with ``masks/`` beside ``images/``.
"""

from __future__ import annotations

import re
from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection
from hurdles.data.tally import Tally, walk

_FIRST = {"COVID-19": "COVID-19", "NORMAL": "Normal", "Viral Pneumonia": "Viral Pneumonia"}
_SECOND = {
    "COVID": "COVID-19",
    "Lung_Opacity": "Lung Opacity",
    "Normal": "Normal",
    "Viral Pneumonia": "Viral Pneumonia",
}


@collection(
    "radiography-database",
    title="COVID-19 Radiography Database",
    licence="Rights remain with the makers, who ask for citation; each part keeps its origin's "
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
        "The third workbook of the first release is spelt 'matadata'.",
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
    tally = Tally(root, "radiography-database")
    second = (root / "COVID" / "images").is_dir()
    for folder, label in (_SECOND if second else _FIRST).items():
        originals = _originals(root, folder)
        images = root / folder / "images" if second else root / folder
        for file in walk(images):
            if file.refusal:
                tally.leave(file.path, file.refusal)
                continue
            original = originals.get(_key(file.path.stem))
            mask = images.parent / "masks" / file.path.name
            tally.keep(
                file.path,
                label,
                patient=_patient(original),
                mask=str(mask) if second and mask.is_file() else None,
                original=original,
            )
    return tally.manifest()


def _originals(root: Path, folder: str) -> dict[str, str]:
    """Return where each image of a class came from, by `_key` of its name, from the workbook."""
    import pandas as pd

    books = [
        path
        for path in sorted(root.glob("*.xlsx"))
        if re.fullmatch(rf"{re.escape(folder)}\.m[ae]tadata", path.stem, re.IGNORECASE)
    ]
    if not books:
        return {}
    table = pd.read_excel(books[0], dtype="str").rename(columns=lambda c: str(c).strip().upper())
    if not {"FILE NAME", "URL"} <= set(table.columns):
        return {}
    table = table.dropna(subset=["FILE NAME", "URL"])
    return {
        _key(name): url.strip() for name, url in zip(table["FILE NAME"], table["URL"], strict=True)
    }


def _key(name: str) -> str:
    """Folder and workbook differ by blanks and case: 'COVID-19 (1)', 'COVID-19(1)'."""
    return re.sub(r"\s+", "", name).casefold()


def _patient(original: str | None) -> str | None:
    """Kermany's names carry the patient: 'person1023_virus_1714.jpeg' is person1023."""
    if original is None:
        return None
    stem = Path(original).name.rsplit(".", 1)[0]
    match = re.fullmatch(r"(person\d+)_(?:bacteria|virus)_\d+(?:_\d+)?", stem)
    return match[1] if match else None
