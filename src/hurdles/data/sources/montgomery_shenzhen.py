"""Montgomery County and Shenzhen tuberculosis X-rays with lung masks (Jaeger et al. 2014).

The last digit of a name is 1 for tuberculosis: ``MCUCXR_0001_0.png``, ``CHNCXR_0001_0.png``.
Shenzhen's masks have the same names with or without ``_mask``; some copies bring a text per image
in ``ClinicalReadings/``.
"""

from __future__ import annotations

import re
from pathlib import Path

from hurdles.data.inventory import ManifestBuilder, walk
from hurdles.data.manifest import Manifest
from hurdles.data.sources.collection import Layout, collection
from hurdles.data.vocabulary import age_of, sex_of

_NAME = re.compile(r"(MCUCXR|CHNCXR)_(\d+)_([01])")
_SOURCES = {"MCUCXR": "montgomery", "CHNCXR": "shenzhen"}


@collection(
    "montgomery-shenzhen",
    title="Montgomery County and Shenzhen chest X-ray sets with lung masks",
    license="Free for research with citation and acknowledgement of the National Library of "
    "Medicine",
    citation="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of "
    "pulmonary diseases, Quant. Imaging Med. Surg. 4 (2014) 475-477, "
    "doi:10.3978/j.issn.2223-4292.2014.11.20; Candemir et al., IEEE Trans. Med. Imaging 33 (2014) "
    "577-590, doi:10.1109/TMI.2013.2290491; Shenzhen masks: Stirenko et al., ELNANO 2018, "
    "arXiv:1803.01199",
    url="https://www.kaggle.com/datasets/nikhilpandey360/chest-xray-masks-and-labels",
    quirks=(
        "Two hospitals of two countries: the column 'source' says montgomery or shenzhen, and "
        "numbers count within each.",
        "Every patient has one image, so the number is the patient.",
        "Montgomery's masks were drawn by radiologists, Shenzhen's by students, for 566 of 662 "
        "images.",
        "Montgomery's images have wide black margins, Shenzhen's have none: the hospital can be "
        "seen.",
        "Masks leave out the part of the lungs behind heart and diaphragm.",
    ),
    layouts=(
        Layout(
            "CXR_jpg/ or CXR_png/ with MCUCXR_0001_0.png and CHNCXR_0001_0.png; masks/ beside.",
            ("CXR_*/*CXR_[0-9]*", "masks"),
        ),
    ),
    folders=("Lung Segmentation",),
)
def read(root: Path) -> Manifest:
    """Read both sets: labels Normal and Tuberculosis, ``mask`` where there is one."""
    builder = ManifestBuilder(root)
    masks = {
        entry.path.stem.removesuffix("_mask"): entry.path
        for entry in walk(root / "masks")
        if not entry.refusal
    }
    folders = sorted(path for path in root.glob("CXR_*") if path.is_dir())
    for entry in (entry for folder in folders for entry in builder.images(folder)):
        match = _NAME.fullmatch(entry.path.stem)
        if match is None:
            builder.leave(entry.path, "neither MCUCXR_<number>_<0|1> nor CHNCXR_...")
            continue
        mask = masks.get(entry.path.stem)
        builder.keep(
            entry.path,
            "Tuberculosis" if match[3] == "1" else "Normal",
            source=_SOURCES[match[1]],
            patient=match[2],
            mask=str(mask) if mask else None,
            **_reading(root / "ClinicalReadings" / f"{entry.path.stem}.txt"),
        )
    return builder.manifest()


def _reading(text: Path) -> dict[str, str | float | None]:
    """Return sex and age from a reading such as "Patient's Sex: F" or "male 45yrs"."""
    if not text.is_file():
        return {}
    content = text.read_text(encoding="latin-1")
    sex = re.search(r"\b(female|male|[FM])\b", content, re.IGNORECASE)
    age = re.search(r"\b0*(\d{1,3})\s*(?:Y\b|yrs?\b|years?\b)", content, re.IGNORECASE)
    return {"sex": sex_of(sex[1]) if sex else None, "age": age_of(age[1]) if age else None}
