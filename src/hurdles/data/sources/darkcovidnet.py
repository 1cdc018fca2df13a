"""The folders of DarkCovidNet (Ozturk et al. 2020).

Licence: none is stated for the folders; the NIH's part is free with citation, the COVID-19 images
are Cohen's with a licence each. Where: https://github.com/muhammedtalo/COVID-19

Layout: ``No_findings/`` and ``Pneumonia/`` (500 images each, NIH), ``Covid-19/`` (about 125, Cohen)
where it was not left out; ``Data_Entry_2017_subset.csv`` or the NIH's whole ``Data_Entry_2017.csv``
may lie beside and gives age, sex and view.
"""

from __future__ import annotations

from pathlib import Path

from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection
from hurdles.data.sources.nih import cells_of, entries, patient_of
from hurdles.data.tally import Tally, walk

_LABELS = {"Covid-19": "COVID-19", "No_findings": "No Finding", "Pneumonia": "Pneumonia"}


@collection(
    "darkcovidnet",
    title="DarkCovidNet folders (NIH ChestX-ray8 and Cohen)",
    licence="None stated for the folders; NIH part free with citation, COVID-19 images as in "
    "Cohen's collection",
    citation="Ozturk et al., Automated detection of COVID-19 cases using deep neural networks "
    "with X-ray images, Comput. Biol. Med. 121 (2020) 103792, "
    "doi:10.1016/j.compbiomed.2020.103792; Wang et al., ChestX-ray8, CVPR 2017",
    url="https://github.com/muhammedtalo/COVID-19",
    quirks=(
        "COVID-19 comes from another collection than the other two classes, so origin and class "
        "are one and the same; in many copies it is left out.",
        "Patients of the COVID-19 images are not known: their names are those of publications.",
        "Several images show one patient: 1,000 NIH images are of 682 patients.",
        "Labels are the NIH's, mined from reports by a program; 'No Finding' is not a normal "
        "chest.",
        "The table names .png files where a copy holds .jpg: they are matched without the "
        "extension.",
    ),
    layouts=(
        Layout(
            "No_findings/ and Pneumonia/ (and Covid-19/), Data_Entry_2017_subset.csv beside.",
            ("No_findings", "Pneumonia"),
        ),
    ),
    folders=("X-Ray Image DataSet", "DarkCovidNet", "COVID-19/X-Ray Image DataSet"),
)
def read(root: Path) -> Manifest:
    """Read the folders; further columns: finding (the NIH's labels)."""
    tables = sorted(root.glob("Data_Entry_2017*.csv"))
    rows = entries(tables[0]) if tables else {}
    tally = Tally(root, "darkcovidnet")
    for folder, label in _LABELS.items():
        if not (root / folder).is_dir():
            continue
        for file in walk(root / folder):
            if file.refusal:
                tally.leave(file.path, file.refusal)
                continue
            stem = file.path.stem
            cells = cells_of(rows.get(stem, {}))
            tally.keep(file.path, label, patient=patient_of(stem), **cells)
    return tally.manifest()
