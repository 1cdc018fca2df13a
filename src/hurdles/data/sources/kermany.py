"""Kermany's pneumonia collection, chest_xray (Kermany, Zhang, Goldbaum 2018).

Patients are told from file names: ``person1023_virus_1714.jpeg``, ``IM-0115-0001.jpeg``,
``NORMAL2-IM-1427-0001.jpeg``; in the third version of the release ``VIRUS-1980593-0001.jpeg``
(disease, randomized patient, image).

Two counters ran over the names, one for bacterial and one for viral pneumonia: 979 of 1,674 person
numbers occur with both diseases. Within a disease no number stands in both
``train`` and ``test``; across diseases 170 do. Images of the same number and disease resemble each
other (mean correlation of 32x32 thumbnails, class mean removed: 0.16 bacterial, 0.26 viral), those
of the same number and different disease do not (0.006; 0.002 and -0.004 for a number shifted by 7
and 13). So ``person1_bacteria`` and ``person1_virus`` are taken for two children, and likewise
``IM-0007`` and ``NORMAL2-IM-0007`` (0.014 against 0.10 and 0.12 within each).
"""

from __future__ import annotations

import re
from pathlib import Path

from hurdles.data.folder import ManifestBuilder
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection
from hurdles.data.vocabulary import Split

_SPLITS = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}
_LABELS = {
    "bacteria": "Bacterial Pneumonia",
    "virus": "Viral Pneumonia",
    "normal": "Normal",
}
_NAMES = (
    re.compile(r"(?P<patient>person\d+_(?P<disease>bacteria|virus))_\d+(?:_\d+)?"),
    re.compile(r"(?P<patient>(?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?(?P<disease>)"),
    re.compile(r"(?P<disease>BACTERIA|VIRUS|NORMAL)-(?P<patient>\d+)-\d+"),
)


@collection(
    "kermany",
    title="Chest X-ray images (pneumonia) of children, Guangzhou",
    license="CC BY 4.0",
    citation="Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based "
    "Deep Learning, Cell 172 (2018) 1122-1131, doi:10.1016/j.cell.2018.02.010; data "
    "doi:10.17632/rscbjbr9sj.3",
    url="https://data.mendeley.com/datasets/rscbjbr9sj",
    quirks=(
        "All patients are children of one to five years from one hospital; single ages are not "
        "given, so the age column stays empty.",
        "The kind of pneumonia stands only in the file name, not in the folder.",
        "Person numbers restart with the disease: person1_bacteria and person1_virus are different "
        "children, so the patient is the number with the disease.",
        "The validation folder has 16 images, 8 of them bacterial, none viral: too few to choose "
        "anything on.",
        "The Radiography Database's viral pneumonia and normal classes are this collection's "
        "training part.",
    ),
    layouts=(
        Layout(
            "train/ and test/ (and val/), each with NORMAL/ and PNEUMONIA/, names like "
            "person1_virus_6.jpeg.",
            ("train/NORMAL", "train/PNEUMONIA/person*", "test/NORMAL", "test/PNEUMONIA"),
        ),
        Layout(
            "train/ and test/, each with NORMAL/ and PNEUMONIA/, names like "
            "VIRUS-1980593-0001.jpeg.",
            ("train/NORMAL", "train/PNEUMONIA/BACTERIA-*", "test/NORMAL", "test/PNEUMONIA"),
        ),
    ),
    folders=("chest_xray", "chest-xray-pneumonia"),
)
def read(root: Path) -> Manifest:
    """Read the original split: labels and patients from the names, ``split`` from the folders."""
    builder = ManifestBuilder(root, "kermany")
    for entry in builder.images(root):
        parts = entry.name.split("/")
        if parts[0] not in _SPLITS or len(parts) < 3:
            # Kaggle's archive holds the whole collection a second time, in chest_xray/chest_xray.
            builder.leave(entry.path, "outside train, val and test")
        elif (known := identify(entry.path.stem)) is None:
            builder.leave(entry.path, "a name that tells neither disease nor patient")
        else:
            label, patient = known
            builder.keep(entry.path, label, patient=patient, split=_SPLITS[parts[0]].value)
    return builder.manifest()


def identify(stem: str) -> tuple[str, str] | None:
    """Return label and patient that a file's name tells, or None.

    Examples
    --------
    >>> identify("person1023_virus_1714")
    ('Viral Pneumonia', 'person1023_virus')
    >>> identify("NORMAL2-IM-1427-0001")
    ('Normal', 'NORMAL2-IM-1427')
    >>> identify("VIRUS-1980593-0001")
    ('Viral Pneumonia', '1980593')
    """
    for form in _NAMES:
        if match := form.fullmatch(stem):
            return _LABELS[(match["disease"] or "normal").lower()], match["patient"]
    return None
