"""Elements of a DICOM header as they are found: empty, padded, in lower case, with a comma."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any


def number(dataset: Any, keyword: str, place: int = 0) -> float | None:
    """Return a value of an element."""
    try:
        value = dataset.get(keyword)
    except Exception:  # pydicom converts a value when it is asked for, and refuses "1,5" so
        value = dataset.get_item(keyword).value
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    values = value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
    value = next(islice(values, place, None), None)
    written = "" if value is None else str(value).strip(" \0").replace(",", ".")
    try:
        return float(written) if written else None
    except ValueError:
        return math.nan


def whole(dataset: Any, keyword: str, otherwise: int) -> int:
    """Return the first value of an element as an integer."""
    found = number(dataset, keyword)
    return otherwise if found is None or not math.isfinite(found) else int(found)


def text(dataset: Any, keyword: str, place: int = 0) -> str:
    """Return a code string in capitals and without padding."""
    value = dataset.get(keyword) or ""
    values = [value] if isinstance(value, str) else value
    return str(next(islice(values, place, None), "")).strip(" \0").upper()
