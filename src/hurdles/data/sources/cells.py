"""Cells of published tables in the manifest's own terms; what does not fit stays empty."""

from __future__ import annotations

import re

from hurdles.data.vocabulary import Sex, View

#: Ages above this are mistakes of the table (NIH lists patients of 148 and 411 years).
AGE_LIMIT = 120.0

_VIEWS = {
    "pa": View.PA,
    "posteroanterior": View.PA,
    "ap": View.AP,
    "anteroposterior": View.AP,
    "ap erect": View.AP,
    "ap portable": View.AP,
    "ap semi erect": View.AP,
    "ap sitting": View.AP,
    "ap upright": View.AP,
    "portable ap": View.AP,
    "ap supine": View.AP_SUPINE,
    "supine ap": View.AP_SUPINE,
    "l": View.LATERAL,
    "lat": View.LATERAL,
    "lateral": View.LATERAL,
    "left lateral": View.LATERAL,
    "ll": View.LATERAL,
    "right lateral": View.LATERAL,
    "rl": View.LATERAL,
    "seitlich": View.LATERAL,
}
_SEXES = {
    "f": Sex.FEMALE,
    "female": Sex.FEMALE,
    "w": Sex.FEMALE,
    "weiblich": Sex.FEMALE,
    "woman": Sex.FEMALE,
    "m": Sex.MALE,
    "male": Sex.MALE,
    "man": Sex.MALE,
    "männlich": Sex.MALE,
    "d": Sex.OTHER,
    "divers": Sex.OTHER,
    "o": Sex.OTHER,
    "other": Sex.OTHER,
}
#: Units of an age by their first letter: years (German: Jahre; Latin: anni), months, weeks, days.
_UNITS = {"": 1.0, "y": 1.0, "j": 1.0, "a": 1.0, "m": 12.0, "w": 52.18, "d": 365.25, "t": 365.25}
_AGE = re.compile(
    r"(\d+(?:[.,]\d+)?)\s*"
    r"(y|yrs?|years?(?: old)?|j|jahre?|a|m|mo|months?|monate?|w|wk|weeks?|wochen?|d|days?|tage?|)",
    re.IGNORECASE,
)
#: Anonymisers put old people into one group: above 89 in the USA (45 CFR 164.514(b)(2)(i)(C)),
#: above 80 or 85 elsewhere. Of a bound below these nothing is made: "50+" may be any age.
_GROUPED_AGE = 80


def view_of(text: str) -> str | None:
    """Return the view, or None where it is not one of the vocabulary's.

    An erect AP film is AP: the vocabulary tells only the supine one apart.

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
    return years if years <= AGE_LIMIT else None


def least_age(text: str) -> float | None:
    """Return the youngest age that an anonymiser's group of old people can mean, or None.

    Examples
    --------
    >>> least_age(">89"), least_age("89+"), least_age(">= 90"), least_age("50+"), least_age("89")
    (90.0, 89.0, 90.0, None, None)
    """
    match = re.fullmatch(r"(>=|≥|>|)\s*0*(\d{2,3})\s*[YyJj]?\s*(\+|)", text.strip())
    if match is None or not (match[1] or match[3]) or not _GROUPED_AGE <= int(match[2]) <= 120:
        return None
    return float(match[2]) + (match[1] == ">")
