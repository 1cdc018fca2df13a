"""Attributes of an image that are known without looking at it: table columns, file headers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.material import Material
from hurdles.data.manifest import COLUMNS

Floats = NDArray[np.float64]

#: Fields of file headers, put together where one thing has several columns.
_FACTS: dict[str, tuple[str, ...]] = {
    "image size": ("height", "width"),
    "aspect": ("aspect",),
    "file format": ("format",),
    "bytes per pixel": ("bytes_per_pixel",),
    "JPEG quality": ("jpeg_quality",),
    "bit depth": ("bits",),
    "colour mode": ("photometric",),
    "coding": ("coding",),
    "resolution": ("dpi",),
    "header tags": ("exif", "icc", "comment"),
    "software": ("software",),
    "modality": ("modality",),
    "manufacturer": ("manufacturer",),
    "body part": ("body_part",),
    "view position": ("view_position",),
    "burned-in annotation": ("burned_in",),
}
_OWN = ("source", "view", "sex", "age")
#: Columns that say in other words what the class is, or what the disease did.
_DIAGNOSES = re.compile(
    r"finding|diagnos|patholog|disease|class(?!ic)|label|target|outcome|categor|severity|pattern|"
    r"opacit|pneumonia|covid|pcr|survival|died|death|went_icu|in_icu|intubat|needed_|_present$|"
    r"score|report|clinical|notes",
    re.IGNORECASE,
)
_TRUTH = "shortcut_"
#: Numbers with so few values, and texts, are taken as categories.
_FEW = 12
_LEVELS = 30
_BINS = 8
_COMMON = 0.05
_SHOWN = 10
_QUARTILES = {"lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75}


@dataclass(frozen=True, eq=False)
class Attribute:
    """One thing that is known of every image, or of some: a column or several, a row per image."""

    name: str
    values: pd.DataFrame

    @property
    def features(self) -> Floats:
        """Numbers that a line can be drawn through, shape (N, D), see `encoded`."""
        return np.hstack([encoded(self.values[column]) for column in self.values])

    def by_class(self, labels: NDArray[np.str_]) -> dict[str, Any]:
        """Return, for JSON, the counts of values, or quartiles of numbers, in each class."""
        return {str(column): _by_class(self.values[column], labels) for column in self.values}


def attributes_of(material: Material) -> list[Attribute]:
    """Return what is known of these images and is not the same for all of them.

    Attributes that part the images alike are one question: one is kept, named after all.
    """
    frame, facts = material.manifest.frame, material.facts
    out = left_out(material)
    names = [c for c in frame if c in _OWN or (c not in COLUMNS and c not in out)]
    attributes = [Attribute(str(name), frame[[name]]) for name in names]
    for name, columns in _FACTS.items():
        attributes.append(Attribute(name, facts[[c for c in columns if c in facts]]))
    kept: dict[bytes, Attribute] = {}
    for each in attributes:
        if all(each.values[column].nunique(dropna=False) < 2 for column in each.values):
            continue
        cells = each.values.astype("str").where(each.values.notna(), "")
        rows = cells.agg("\x1f".join, axis=1)
        key = pd.factorize(rows)[0].astype(np.int64).tobytes()
        first = kept.get(key)
        kept[key] = replace(first, name=f"{first.name}, {each.name}") if first else each
    return list(kept.values())


def left_out(material: Material) -> dict[str, str]:
    """Return the further columns of the manifest that are not asked, with the reason.

    A column that restates the diagnosis would tell the class by definition. It is known by its
    name, or by its cells: in most images the class's name stands in the cell or the other way
    round.
    """
    frame = material.manifest.frame
    reasons = {}
    for name in [c for c in frame if c not in COLUMNS]:
        cells = frame[name]
        if str(name).startswith(_TRUTH):
            reasons[str(name)] = "says what was planted"
        elif _DIAGNOSES.search(str(name)) or _restates(cells, frame["label"]):
            reasons[str(name)] = "says in other words what the class is"
        elif not _is_number(cells) and cells.nunique() > max(_LEVELS, cells.notna().sum() / 2):
            reasons[str(name)] = "has another value in most images"
    return reasons


def _restates(cells: pd.Series, labels: pd.Series) -> bool:
    known = cells.notna().to_numpy()
    if _is_number(cells) or not known.any():
        return False

    def plain(column: pd.Series) -> list[str]:
        return [re.sub(r"[\W_]+", "", str(text)).casefold() for text in column[known]]

    pairs = zip(plain(cells), plain(labels), strict=True)
    return float(np.mean([a != "" and (a in b or b in a) for a, b in pairs])) > 0.5


def _is_number(cells: pd.Series) -> bool:
    """Return whether every filled cell is a number; tables read from CSV keep them as text."""
    known = cells.dropna()
    return bool(len(known)) and bool(pd.to_numeric(known, errors="coerce").notna().all())


def encoded(cells: pd.Series) -> Floats:
    """Turn a column into numbers from which a logistic regression can tell much.

    A number becomes its standardized value, its eighth (one column each, so that a class may lie
    in the middle) and its common values by themselves; few different numbers, and texts, become
    one column for each of the 30 most frequent. That a cell is empty is a column too: what is not
    known of an image often tells where it comes from.
    """
    missing = cells.isna().to_numpy()
    columns = [missing] if missing.any() else []
    if not _is_number(cells) or cells.nunique() <= _FEW:
        text = cells.astype("str").where(cells.notna(), None)
        levels = sorted(text.value_counts().index[:_LEVELS])
        columns = [(text == level).to_numpy(dtype=bool) for level in levels] + columns
        return np.column_stack(columns).astype(np.float64)
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    known = numbers[~missing]
    filled = np.where(missing, known.mean(), numbers)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    eighth = np.searchsorted(edges, filled, side="right")
    eighths = (eighth[:, None] == np.arange(len(edges) + 1)) & ~missing[:, None]
    values, counts = np.unique(known, return_counts=True)
    common = values[counts >= _COMMON * len(cells)]
    spread = float(known.std()) or 1.0
    parts = [((filled - known.mean()) / spread)[:, None], eighths, filled[:, None] == common]
    return np.column_stack([*parts, *columns]).astype(np.float64)


def _by_class(cells: pd.Series, labels: NDArray[np.str_]) -> dict[str, Any]:
    groups = {str(label): cells[labels == label] for label in np.unique(labels)}
    if _is_number(cells) and cells.nunique() > _FEW:
        table: dict[str, Any] = {}
        for label, part in groups.items():
            numbers = pd.to_numeric(part, errors="coerce").dropna()
            table[label] = {"images": len(part), "not known": len(part) - len(numbers)}
            for name, share in _QUARTILES.items() if len(numbers) else ():
                table[label][name] = round(float(numbers.quantile(share)), 4)
        return table
    text = cells.astype("str").where(cells.notna(), "not known")
    text = text.where(text.isin(text.value_counts().index[:_SHOWN]), "others")
    values = list(text.value_counts().index)
    return {
        label: {str(v): int((text[part.index] == v).sum()) for v in values}
        for label, part in groups.items()
    }
