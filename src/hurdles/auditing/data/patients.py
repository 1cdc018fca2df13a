"""Patients: whether the column that keeps images of one person together can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import Material
from hurdles.data.manifest import several_sources
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Limit, Scale, counted
from hurdles.findings.limits import limit_for

#: Years that ages of one person may differ by where nothing says when images were made: longer
#: series than this are rare, and a typing error of ten years is not.
YEARS_WITHOUT_DATES = 15.0
_MOST_SHOWN = 12
_DAYS = 365.25
_WORDS = re.compile(
    r"(?<![a-z])(?:person|patient|subject|subj|pat|pid)[-_ ]?0*(\d+)(?!\d)", re.IGNORECASE
)
#: NIH: 00001280_004 is image 4 of patient 1280.
_NUMBERED = re.compile(r"0*(\d+)_\d{3}", re.ASCII)


@data_hurdle("patients", question="Is it known which images show the same person?")
def patients(material: Material) -> Iterator[Finding]:
    """Find patients in two parts of the split, and ids that are missing or mean two things."""
    frame = material.manifest.frame.assign(group=material.groups)
    unnamed = int(frame["patient"].isna().sum())
    # What holds of the ids that there are says nothing of the images without one.
    uncleared = f"{unnamed:,} of {len(frame):,} images name no patient" if unnamed else ""
    for finding in _findings(frame, frame[frame["patient"].notna()]):
        yield finding if finding.limit is None else replace(finding, uncleared=uncleared)


def _findings(frame: pd.DataFrame, named: pd.DataFrame) -> Iterator[Finding]:
    yield _split(frame, named)
    yield _missing(frame)
    if named.empty:
        return
    yield _two_people(named)
    yield _two_sources(named)
    yield _two_classes(named)
    yield _two_names(named)
    yield _in_names(frame)


def folded(patient: str) -> str:
    """Return an id without what people type differently: case, blanks, separators, leading zeros.

    Examples
    --------
    >>> folded("P 007") == folded("p-7"), folded("311a") == folded("311b")
    (True, False)
    """
    plain = re.sub(r"[\s_.\-/]+", " ", patient.strip()).casefold()
    parts = re.findall(r"\d+|[^\d ]+", plain)
    return " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def patient_in_name(name: str) -> str | None:
    """Return the patient whom a file's name tells, or None.

    Examples
    --------
    >>> patient_in_name("train/person1023_virus_1714.jpeg")
    'train/person 1023'
    >>> patient_in_name("00001280_004.png"), patient_in_name("NORMAL (12).jpeg")
    ('1280', None)
    """
    path = PurePosixPath(name)
    folder = f"{path.parent}/" if path.parent.name else ""
    if found := _WORDS.search(path.stem):
        return f"{folder}person {found[1]}"
    if found := _NUMBERED.fullmatch(path.stem):
        return folder + found[1]
    return None


def _split(frame: pd.DataFrame, named: pd.DataFrame) -> Finding:
    statistic = "patients who stand in more than one part of the split"
    advice = "Split again by patient: the test part must show nobody whom the model has seen."
    limit: Limit | None = limit_for("patients")
    parted = named[named["split"].notna()]
    if not frame["split"].notna().any():
        limit, why = (
            None,
            "there is no split yet, so nothing to judge; hurdles makes one by patient",
        )
    elif parted.empty:
        why = (
            "no image that has a part names its patient, so nobody knows whether the parts share "
            "people; fill in the column 'patient', and see the hurdle duplicates"
        )
    else:
        parts = parted.groupby("group")["split"].agg(lambda s: sorted(set(s)))
        torn = parts[parts.map(len) > 1]
        images = parted[parted["group"].isin(torn.index)]
        evidence = _evidence(images, "patient " + images["patient"] + ", " + images["split"])
        found = counted(len(torn), n_images=len(parted), n_patients=len(parts))
        unnamed = int((frame["patient"].isna() & frame["split"].notna()).sum())
        if unnamed:  # each may show somebody who stands in another part
            note = f"{unnamed} images of the split name no patient, so there may be more of them"
            found = replace(found, high=found.value + unnamed, note=note)
        finding = _finding("split", statistic, found, limit, advice, evidence)
        return replace(finding, settled_by="")  # ids would settle it, not more patients
    return Finding("patients", "split", statistic, undefined(why), limit, advice, scale=Scale.COUNT)


def _missing(frame: pd.DataFrame) -> Finding:
    missing = frame["patient"].isna()
    by_class = {
        label: {"images": len(part), "without_patient": int(missing[part.index].sum())}
        for label, part in frame.groupby("label")
    }
    known = frame.loc[~missing, "group"].nunique()
    found = counted(int(missing.sum()), n_images=len(frame), n_patients=known)
    advice = (
        "Fill in the column 'patient': until then each of these images counts as one person, the "
        "split may tear people apart, and intervals are too narrow."
    )
    shares = {v["without_patient"] / v["images"] for v in by_class.values()}
    if len(shares) > 1:
        advice += " The share differs between classes, so they were collected in different ways."
    statistic = "images that name no patient"
    details = {"by_class": by_class}
    evidence = _evidence(frame[missing].head(3), "no patient")
    return Finding(
        "patients", "missing", statistic, found, None, advice, evidence, details, scale=Scale.COUNT
    )


def _two_people(named: pd.DataFrame) -> Finding:
    evidence: list[Evidence] = []
    shared = 0
    for _, images in named.groupby("group", sort=False):
        if len(images) < 2 or not (why := _contradiction(images)):
            continue
        shared += 1
        evidence += _evidence(images.head(2), f"patient {images['patient'].iloc[0]}: {why}")
    statistic = "ids under which two people seem to stand: of two sexes, or of ages too far apart"
    advice = "Look them up: give each person an id, or correct the sex or the age."
    found = counted(shared, n_images=len(named), n_patients=named["group"].nunique())
    return _finding("two people", statistic, found, limit_for("patients"), advice, evidence)


def _contradiction(images: pd.DataFrame) -> str:
    sexes = sorted(set(images["sex"].dropna()) & {"F", "M"})
    if len(sexes) > 1:
        return "both sexes"
    ages = images["age"].dropna()
    apart = float(ages.max() - ages.min()) if len(ages) > 1 else 0.0
    if apart > _allowed(images.loc[ages.index]):
        return f"ages {ages.min():g} and {ages.max():g}"
    return ""


def _allowed(images: pd.DataFrame) -> float:
    """Return by how many years ages may differ, from the days between images where known."""
    if "offset" in images:
        days = pd.to_numeric(images["offset"], errors="coerce")
        if days.notna().all():
            return float(days.max() - days.min()) / _DAYS + 1.0  # ages are whole years
    return YEARS_WITHOUT_DATES


def _two_sources(named: pd.DataFrame) -> Finding:
    """Name the ids that stand under several sources: whether they are one person, no table says."""
    several = several_sources(named)
    images = named[named["patient"].isin(several.index)].sort_values("patient", kind="stable")
    torn = int((images.groupby("patient")["split"].nunique() > 1).sum())
    n, people = len(several), named["group"].nunique()
    if n:
        first = " and ".join(several.iloc[0])
        found = undefined(
            f"{n} of the ids {'stand' if n > 1 else 'stands'} under several sources, for one "
            f"{several.index[0]!r} under {first}, and nobody but you knows whether equal ids are "
            "one person; each counts as another person in each source"
            + (f", and {torn} of them stand in more than one part of the split" if torn else ""),
            n_images=len(named),
            n_patients=people,
        )
    else:
        found = counted(0, n_images=len(named), n_patients=people)
    source = images["source"].fillna("no source")
    evidence = _evidence(images, "patient " + images["patient"] + ", " + source)
    statistic = "ids under several sources that may be one person, and count as several"
    advice = "If equal ids are one person, join them by --join-patients; else leave them."
    limit = limit_for("patients")
    finding = _finding("several sources", statistic, found, limit, advice, evidence)
    return replace(finding, details={"ids": n, "in_several_parts": torn})


def _two_classes(named: pd.DataFrame) -> Finding:
    classes = named.groupby("group")["label"].nunique()
    several = classes.index[classes > 1]
    images = named[named["group"].isin(several)].sort_values("group", kind="stable")
    evidence = _evidence(images, "patient " + images["patient"] + ": " + images["label"])
    statistic = "patients with images of several classes"
    advice = (
        "Right where a disease came or went between two images; a mistake, or two people under one "
        "id, where the classes exclude each other."
    )
    found = counted(len(several), n_images=len(named), n_patients=len(classes))
    return _finding("several classes", statistic, found, None, advice, evidence)


def _two_names(named: pd.DataFrame) -> Finding:
    # An id without a source, or joined over sources, is compared as it is counted.
    within = named["group"].str.rpartition("\x1f")[0]
    keys = within + "\x1f" + named["patient"].map(folded)
    ids = named.groupby(keys)["patient"].nunique()
    images = named[keys.isin(ids.index[ids > 1])].drop_duplicates("group")
    evidence = _evidence(images, "patient " + images["patient"])
    statistic = "people who seem to have several ids, spelt differently (case, blanks, zeros)"
    advice = "Spell each id in one way: otherwise one person can stand in two parts of a split."
    found = counted(int((ids > 1).sum()), n_images=len(named), n_patients=len(ids))
    return _finding("several ids", statistic, found, limit_for("patients"), advice, evidence)


def _in_names(frame: pd.DataFrame) -> Finding:
    """Count images that name no patient although their file's name, or its origin's, tells one."""
    told = _told(frame)
    missing = frame["patient"].isna() & told.notna()
    images = frame[missing]
    evidence = _evidence(images, "the name tells " + told[missing])
    statistic = "images that name no patient although a file name seems to tell one"
    advice = "Fill in the column 'patient' from the file names, if that is what they mean."
    found = counted(len(images), n_images=len(frame), n_patients=int(told[missing].nunique()))
    return _finding("file names", statistic, found, None, advice, evidence)


def _told(frame: pd.DataFrame) -> pd.Series:
    told = frame["image"].map(patient_in_name)
    for column in ("original", "filename", "file"):
        if column in frame:
            more = [None if v != v or v is None else patient_in_name(str(v)) for v in frame[column]]
            told = told.where(told.notna(), pd.Series(more, index=frame.index, dtype=object))
    return told.where(told.notna(), np.nan)


def _evidence(images: pd.DataFrame, says: str | pd.Series) -> tuple[Evidence, ...]:
    words = [says] * len(images) if isinstance(says, str) else says
    cells = zip(images["image"], words, images["path"], strict=True)
    return tuple(Evidence(str(image), str(word), str(path)) for image, word, path in cells)


def _finding(
    subject: str,
    statistic: str,
    found: Estimate,
    limit: Limit | None,
    advice: str,
    evidence: Sequence[Evidence],
) -> Finding:
    return Finding(
        "patients", subject, statistic, found, limit, advice, tuple(evidence[:_MOST_SHOWN]),
        scale=Scale.COUNT,
    )  # fmt: skip
