"""Elements of a DICOM header as they are found: empty, padded, in lower case, with a comma."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["number", "text", "whole"]


def number(dataset: Any, keyword: str) -> float | None:
    """Return the first value of an element.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Where to look.
    keyword : str
        Of an element whose values are numbers, written out or not.

    Returns
    -------
    float or None
        None where the element is missing or empty; NaN where it is no number.
    """
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for, and refuses "1,5" so
        value = dataset.get_item(keyword).value
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    if not isinstance(value, (str, int, float)):
        value = next(iter(value), None) if hasattr(value, "__iter__") else value
    written = "" if value is None else str(value).strip(" \0").replace(",", ".")
    try:
        return float(written) if written else None
    except ValueError:
        return math.nan


def whole(dataset: Any, keyword: str, otherwise: int) -> int:
    """Return the first value of an element as an integer; `otherwise` where there is none."""
    found = number(dataset, keyword)
    return otherwise if found is None or not math.isfinite(found) else int(found)


def text(dataset: Any, keyword: str) -> str:
    """Return a code string in capitals and without padding; empty where there is none."""
    return str(dataset.get(keyword) or "").strip(" \0").upper()
