"""Cells of published tables in the manifest's own terms; what does not fit stays empty."""

from __future__ import annotations

import re

from hurdles.data.vocabulary import Sex, View

__all__ = ["AGE_LIMIT", "age_of", "sex_of", "view_of"]

#: Ages above this are mistakes of the table (NIH lists patients of 148 and 411 years).
AGE_LIMIT = 120.0

_VIEWS = {
    "pa": View.PA,
    "ap": View.AP,
    "ap erect": View.AP,
    "ap semi erect": View.AP,
    "ap supine": View.AP_SUPINE,
    "l": View.LATERAL,
    "ll": View.LATERAL,
    "lateral": View.LATERAL,
}
_SEXES = {
    "f": Sex.FEMALE,
    "female": Sex.FEMALE,
    "w": Sex.FEMALE,
    "m": Sex.MALE,
    "male": Sex.MALE,
    "o": Sex.OTHER,
}
_UNITS = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}


def view_of(text: str) -> str | None:
    """Return the view, or None where it is not one of the vocabulary's.

    An erect AP film is AP: the vocabulary tells only the supine one apart.

    Examples
    --------
    >>> view_of("AP erect"), view_of("pa"), view_of("Axial")
    ('AP', 'PA', None)
    """
    view = _VIEWS.get(" ".join(text.lower().split()))
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

    Understands DICOM's Age String (PS3.5, 6.2: ``058Y``, ``005M``). Of ``50+`` and ``early 40s``
    nothing is made.

    Examples
    --------
    >>> age_of("65"), age_of("058Y"), age_of("006M"), age_of("50+"), age_of("411")
    (65.0, 58.0, 0.5, None, None)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([YMWD]?)", text.strip())
    if match is None:
        return None
    years = float(match[1]) / _UNITS[match[2]]
    return years if years <= AGE_LIMIT else None
