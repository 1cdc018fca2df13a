"""Patients: whether the column that keeps images of one person together can be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import NO_CLASSES, Material
from hurdles.data.manifest import UNLABELED, several_sources
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Evidence, Finding, Limit, Scale, counted, evidence_of
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
    known = frame[frame["patient"].notna()]
    findings = [_split(frame, known), _missing(frame)]
    if len(known):
        findings += [
            _two_people(known),
            _two_sources(known),
            _two_classes(known),
            _two_ids(known),
            _in_file_names(frame),
        ]
    # What holds of the ids that there are says nothing of the images without one.
    missing = len(frame) - len(known)
    uncleared = f"{missing:,} of {len(frame):,} images name no patient" if missing else ""
    for finding in findings:
        yield finding if finding.limit is None else replace(finding, uncleared=uncleared)


def _split(frame: pd.DataFrame, known: pd.DataFrame) -> Finding:
    limit: Limit | None = limit_for("patients")
    parted = known[known["split"].notna()]
    evidence: tuple[Evidence, ...] = ()
    if frame["split"].isna().all():
        limit = None
        torn = undefined("there is no split yet, so nothing to judge; hurdles makes one by patient")
    elif parted.empty:
        torn = undefined(
            "no image that has a part names its patient, so nobody knows whether the parts share "
            "people; fill in the column 'patient', and see the hurdle duplicates"
        )
    else:
        parts = parted.groupby("group")["split"].nunique()
        images = parted[parted["group"].isin(parts.index[parts > 1])]
        evidence = _evidence(images, "patient " + images["patient"] + ", " + images["split"])
        torn = counted(int((parts > 1).sum()), n_images=len(parted), n_patients=len(parts))
        missing = int((frame["patient"].isna() & frame["split"].notna()).sum())
        if missing:  # each may show somebody who stands in another part
            note = f"{missing} images of the split name no patient, so there may be more of them"
            torn = replace(torn, high=torn.value + missing, note=note)
    finding = _finding(
        "split",
        "patients who stand in more than one part of the split",
        torn,
        limit,
        "Split again by patient: the test part must show nobody whom the model has seen.",
        evidence,
    )
    # Ids would settle it, not more patients.
    return replace(finding, settled_by="") if torn.is_defined else finding


def _missing(frame: pd.DataFrame) -> Finding:
    missing = frame["patient"].isna()
    by_class = {
        label: {"images": len(part), "without_patient": int(missing[part.index].sum())}
        for label, part in frame.groupby("label")
    }
    advice = (
        "Fill in the column 'patient': until then each of these images counts as one person, the "
        "split may tear people apart, and intervals are too narrow."
    )
    if len({v["without_patient"] / v["images"] for v in by_class.values()}) > 1:
        advice += " The share differs between classes, so they were collected in different ways."
    known = frame.loc[~missing, "group"].nunique()
    number = counted(int(missing.sum()), n_images=len(frame), n_patients=known)
    evidence = _evidence(frame[missing].head(3), "no patient")
    finding = _finding("missing", "images that name no patient", number, None, advice, evidence)
    return finding if UNLABELED in by_class else replace(finding, details={"by_class": by_class})


def _two_people(known: pd.DataFrame) -> Finding:
    evidence: tuple[Evidence, ...] = ()
    shared = 0
    for _, images in known.groupby("group", sort=False):
        if len(images) > 1 and (why := _contradiction(images)):
            shared += 1
            evidence += _evidence(images.head(2), f"patient {images['patient'].iloc[0]}: {why}")
    return _finding(
        "two people",
        "ids under which two people seem to stand: of two sexes, or of ages too far apart",
        counted(shared, n_images=len(known), n_patients=known["group"].nunique()),
        limit_for("patients"),
        "Look them up: give each person an id, or correct the sex or the age.",
        evidence,
    )


def _contradiction(images: pd.DataFrame) -> str:
    if {"F", "M"} <= set(images["sex"].dropna()):
        return "both sexes"
    ages = images["age"].dropna()
    allowed = YEARS_WITHOUT_DATES
    if "offset" in images:
        days = pd.to_numeric(images.loc[ages.index, "offset"], errors="coerce")
        if days.notna().all():
            allowed = float(days.max() - days.min()) / _DAYS + 1.0  # ages are whole years
    if len(ages) > 1 and float(ages.max() - ages.min()) > allowed:
        return f"ages {ages.min():g} and {ages.max():g}"
    return ""


def _two_sources(known: pd.DataFrame) -> Finding:
    """Count the ids that stand under several sources; no table says whether they are one person."""
    several = several_sources(known)
    images = known[known["patient"].isin(several.index)].sort_values("patient", kind="stable")
    torn = int((images.groupby("patient")["split"].nunique() > 1).sum())
    n, people = len(several), known["group"].nunique()
    number = counted(0, n_images=len(known), n_patients=people)
    if n:
        first = " and ".join(several.iloc[0])
        number = undefined(
            f"{n} of the ids {'stand' if n > 1 else 'stands'} under several sources, for one "
            f"{several.index[0]!r} under {first}, and nobody but you knows whether equal ids are "
            "one person; each counts as another person in each source"
            + (f", and {torn} of them stand in more than one part of the split" if torn else ""),
            n_images=len(known),
            n_patients=people,
        )
    source = images["source"].fillna("no source")
    finding = _finding(
        "several sources",
        "ids under several sources that may be one person, and count as several",
        number,
        limit_for("patients"),
        "If equal ids are one person, join them by --join-patients; else leave them.",
        _evidence(images, "patient " + images["patient"] + ", " + source),
    )
    return replace(finding, details={"ids": n, "in_several_parts": torn})


def _two_classes(known: pd.DataFrame) -> Finding:
    classes = known.groupby("group")["label"].nunique()
    several = classes.index[classes > 1]
    images = known[known["group"].isin(several)].sort_values("group", kind="stable")
    number = counted(len(several), n_images=len(known), n_patients=len(classes))
    return _finding(
        "several classes",
        "patients with images of several classes",
        undefined(NO_CLASSES) if UNLABELED in set(known["label"]) else number,
        None,
        "Right where a disease came or went between two images; a mistake, or two people under one "
        "id, where the classes exclude each other.",
        _evidence(images, "patient " + images["patient"] + ": " + images["label"]),
    )


def _two_ids(known: pd.DataFrame) -> Finding:
    # An id without a source, or joined over sources, is compared as it is counted.
    within = known["group"].str.rpartition("\x1f")[0]
    keys = within + "\x1f" + known["patient"].map(folded)
    ids = known.groupby(keys)["patient"].nunique()
    images = known[keys.isin(ids.index[ids > 1])].drop_duplicates("group")
    return _finding(
        "several ids",
        "people who seem to have several ids, spelt differently (case, blanks, zeros)",
        counted(int((ids > 1).sum()), n_images=len(known), n_patients=len(ids)),
        limit_for("patients"),
        "Spell each id in one way: otherwise one person can stand in two parts of a split.",
        _evidence(images, "patient " + images["patient"]),
    )


def folded(patient: str) -> str:
    """Return an id without what people type at will: case, blanks, separators, leading zeros."""
    plain = re.sub(r"[\s_.\-/]+", " ", patient.strip()).casefold()
    parts = re.findall(r"\d+|[^\d ]+", plain)
    return " ".join(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def _in_file_names(frame: pd.DataFrame) -> Finding:
    """Count images that name no patient although their file's name, or its origin's, tells one."""
    in_name = frame["image"].map(patient_in_name)
    for column in ("original", "filename", "file"):
        if column in frame:
            more = [None if pd.isna(v) else patient_in_name(str(v)) for v in frame[column]]
            others = pd.Series(more, index=frame.index, dtype=object)
            in_name = in_name.where(in_name.notna(), others)
    in_name = in_name.where(in_name.notna(), np.nan)
    missing = frame["patient"].isna() & in_name.notna()
    patients_in_names = int(in_name[missing].nunique())
    return _finding(
        "file names",
        "images that name no patient although a file name seems to tell one",
        counted(int(missing.sum()), n_images=len(frame), n_patients=patients_in_names),
        None,
        "Fill in the column 'patient' from the file names, if that is what they mean.",
        _evidence(frame[missing], "the name tells " + in_name[missing]),
    )


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
    if match := _WORDS.search(path.stem):
        return f"{folder}person {match[1]}"
    if match := _NUMBERED.fullmatch(path.stem):
        return folder + match[1]
    return None


def _evidence(images: pd.DataFrame, texts: str | pd.Series) -> tuple[Evidence, ...]:
    words = texts if isinstance(texts, str) else texts.astype(str).tolist()
    return evidence_of(images, range(len(images)), words)


def _finding(
    subject: str,
    statistic: str,
    number: Estimate,
    limit: Limit | None,
    advice: str,
    evidence: tuple[Evidence, ...],
) -> Finding:
    shown = evidence[:_MOST_SHOWN]
    return Finding("patients", subject, statistic, number, limit, advice, shown, scale=Scale.COUNT)
