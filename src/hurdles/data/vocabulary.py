"""Closed vocabularies, with the standard's own terms, and other people's cells in these terms."""

from __future__ import annotations

import re
from enum import StrEnum


class View(StrEnum):
    """Projection of a chest radiograph, DICOM View Position (0018,5101) where it has a term."""

    PA = "PA"
    AP = "AP"
    AP_SUPINE = "AP Supine"
    LATERAL = "LL"


class Sex(StrEnum):
    """DICOM Patient's Sex (0010,0040)."""

    FEMALE = "F"
    MALE = "M"
    OTHER = "O"


class Split(StrEnum):
    """The part of a split: what an image is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class SplitScheme(StrEnum):
    """Ways to split that the program knows by name; `hurdles.data.split` registers all."""

    AUTO = "auto"
    GIVEN = "given"
    K_FOLD = "k-fold"
    PATIENT = "patient"


class MissingPatients(StrEnum):
    """Treatment, by a split, of images whose patient is not known."""

    REFUSE = "refuse"
    ONE_EACH = "one-each"


class OnBad(StrEnum):
    """Treatment, by a batch, of a file that cannot be read."""

    SKIP = "skip"
    STOP = "stop"


_VIEWS = {
    **dict.fromkeys(("pa", "posteroanterior"), View.PA),
    **dict.fromkeys(
        ("ap", "anteroposterior", "ap erect", "ap portable", "ap semi erect", "ap sitting",
         "ap upright", "portable ap"),
        View.AP,
    ),
    **dict.fromkeys(("ap supine", "supine ap"), View.AP_SUPINE),
    **dict.fromkeys(
        ("l", "lat", "lateral", "left lateral", "ll", "right lateral", "rl", "seitlich"),
        View.LATERAL,
    ),
}  # fmt: skip
_SEXES = {
    **dict.fromkeys(("f", "female", "w", "weiblich", "woman"), Sex.FEMALE),
    **dict.fromkeys(("m", "male", "man", "männlich"), Sex.MALE),
    **dict.fromkeys(("d", "divers", "o", "other"), Sex.OTHER),
}
#: Units of an age by their first letter: years (German: Jahre; Latin: anni), months, weeks, days.
_UNITS = {"": 1.0, "y": 1.0, "j": 1.0, "a": 1.0, "m": 12.0, "w": 52.18, "d": 365.25, "t": 365.25}
_AGE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*"
    r"(y|yrs?|years?(?: old)?|j|jahre?|a|m|mo|months?|monate?|w|wk|weeks?|wochen?|d|days?|tage?|)",
    re.IGNORECASE,
)
#: Ages above this are mistakes of the table (NIH lists patients of 148 and 411 years).
_OLDEST = 120.0
#: Anonymizers put old people into one group: above 89 in the USA (45 CFR 164.514(b)(2)(i)(C)),
#: above 80 or 85 elsewhere. Of a bound below these nothing is made: "50+" may be any age.
_GROUPED_AGE = 80


def view_of(text: str) -> str | None:
    """Return the view, or None where it is not one of the vocabulary's; an erect AP film is AP.

    Examples
    --------
    >>> view_of("AP erect"), view_of("p.a."), view_of("AP_SUPINE"), view_of("Axial")
    ('AP', 'PA', 'AP Supine', None)
    """
    plain = text.lower().replace(".", "")
    view = _VIEWS.get(" ".join(re.split(r"[\s_-]+", plain)).strip())
    return view.value if view else None


def sex_of(text: str) -> str | None:
    """Return the sex, or None where it is not stated.

    Examples
    --------
    >>> sex_of("m"), sex_of("Female"), sex_of("?")
    ('M', 'F', None)
    """
    sex = _SEXES.get(text.strip().lower())
    return sex.value if sex else None


def age_of(text: str) -> float | None:
    """Return the age in years, or None where it is no exact number or not a human age.

    Understands DICOM's Age String (PS3.5, 6.2: ``058Y``, ``005M``), a decimal comma, and units in
    words. Of ``50+`` and ``early 40s`` nothing is made; see `least_age`.

    Examples
    --------
    >>> age_of("65"), age_of("058Y"), age_of("006M"), age_of("45,5"), age_of("3 years")
    (65.0, 58.0, 0.5, 45.5, 3.0)
    >>> age_of("50+"), age_of("411")
    (None, None)
    """
    match = _AGE.fullmatch(text.strip())
    if match is None:
        return None
    years = float(match[1].replace(",", ".")) / _UNITS[match[2][:1].lower()]
    return years if years <= _OLDEST else None


def least_age(text: str) -> float | None:
    """Return the youngest age that an anonymizer's group of old people can mean, or None.

    Examples
    --------
    >>> least_age(">89"), least_age("89+"), least_age(">= 90"), least_age("50+"), least_age("89")
    (90.0, 89.0, 90.0, None, None)
    """
    match = re.fullmatch(r"(>=|≥|>|)\s*0*(\d{2,3})\s*[YyJj]?\s*(\+|)", text.strip())
    if match is None or not (match[1] or match[3]) or not _GROUPED_AGE <= int(match[2]) <= 120:
        return None
    return float(match[2]) + (match[1] == ">")
