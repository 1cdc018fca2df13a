"""Who was in the data, as the "Table 1" of a clinical paper, and what was left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Sex, Split, View
from hurdles.reporting.wording import count, share

_NO_REASON = "no reason given"
_SEXES = {Sex.FEMALE: "female", Sex.MALE: "male", Sex.OTHER: "other"}
_VIEWS = {View.PA: "PA", View.AP: "AP", View.AP_SUPINE: "AP supine", View.LATERAL: "lateral"}
_SPLITS = {
    Split.TRAIN: "trained on",
    Split.VALIDATION: "chosen on (validation)",
    Split.TEST: "tested on",
}


@dataclass(frozen=True)
class CohortRow:
    """One line of the table.

    Parameters
    ----------
    name : str
        What is counted.
    cells : tuple of (str, str)
        Number and its share or range, one per class and then one for all.
    level : int
        0 for a total, 1 for a heading without numbers, 2 for a line under a heading.
    """

    name: str
    cells: tuple[tuple[str, str], ...] = ()
    level: int = 2


@dataclass(frozen=True)
class ExclusionGroup:
    """Files left out for one reason; `paths` holds the first of them, `n` counts all."""

    reason: str
    n: int
    paths: tuple[str, ...]

    @property
    def n_more(self) -> int:
        """How many are not listed."""
        return self.n - len(self.paths)


def cohort_rows(manifest: Manifest) -> list[CohortRow]:
    """Return the lines of the table; its columns are ``manifest.labels`` and then "all".

    Whatever is not known is a line of its own, so that every block adds up to its images (of the
    ages only those that are not known are counted).
    """
    frame = manifest.frame
    parts = [frame[frame["label"] == label] for label in manifest.labels] + [frame]
    rows = [CohortRow("Images", tuple((count(len(p)), "") for p in parts), 0), _patients(manifest)]
    used = _terms(frame, "split", {s.value: name for s, name in _SPLITS.items()})
    rows += _block("Used for", parts, "split", used, "not assigned")
    rows += _block("Source", parts, "source", {s: s for s in manifest.sources}, "source not known")
    sexes = _terms(frame, "sex", {s.value: name for s, name in _SEXES.items()})
    rows += _block("Sex", parts, "sex", sexes, "not known")
    rows += _ages(parts)
    views = _terms(frame, "view", {v.value: name for v, name in _VIEWS.items()})
    rows += _block("View", parts, "view", views, "not known")
    return rows


def _patients(manifest: Manifest) -> CohortRow:
    named = manifest.frame["patient"].notna()
    groups = manifest.groups[named]
    labels = manifest.frame["label"][named]
    each = [groups[labels == label].nunique() for label in manifest.labels] + [groups.nunique()]
    return CohortRow("Patients known", tuple((count(n), "") for n in each), 0)


def _terms(frame: pd.DataFrame, column: str, names: dict[str, str]) -> dict[str, str]:
    there = set(frame[column].dropna())
    return {term: name for term, name in names.items() if term in there}


def _block(
    title: str, parts: list[pd.DataFrame], column: str, terms: dict[str, str], unknown: str
) -> list[CohortRow]:
    def line(name: str, matches: Callable[[pd.DataFrame], pd.Series[bool]]) -> CohortRow:
        numbers = [(int(matches(part).sum()), len(part)) for part in parts]
        cells = ((count(n), share(n, whole) if n else "") for n, whole in numbers)
        return CohortRow(name, tuple(cells))

    rows = [CohortRow(title, level=1)]
    rows += [line(name, partial(_is, column, term)) for term, name in terms.items()]
    if parts[-1][column].isna().any():
        rows.append(line(unknown, lambda part: part[column].isna()))
    return rows


def _is(column: str, term: str, part: pd.DataFrame) -> pd.Series[bool]:
    return part[column] == term


def _ages(parts: list[pd.DataFrame]) -> list[CohortRow]:
    def middle(part: pd.DataFrame) -> tuple[str, str]:
        ages = part["age"].dropna()
        if ages.empty:
            return ("—", "")
        low, median, high = ages.quantile([0.25, 0.5, 0.75])
        return (f"{median:.0f}", f"{low:.0f}–{high:.0f}")

    rows = [CohortRow("Age in years", level=1)]
    if parts[-1]["age"].notna().any():
        rows.append(CohortRow("median and quartiles", tuple(middle(p) for p in parts)))
    return rows + _block("", parts, "age", {}, "not known")[1:]


def exclusion_groups(exclusions: pd.DataFrame, most: int = 500) -> list[ExclusionGroup]:
    """Return the files left out by reason, the commonest first; of each, `most` paths at most."""
    stated = exclusions.assign(reason=exclusions["reason"].fillna("").replace("", _NO_REASON))
    groups = [
        ExclusionGroup(str(reason), len(rows), tuple(map(str, rows["path"].head(most))))
        for reason, rows in stated.groupby("reason", sort=True)
    ]
    return sorted(groups, key=lambda group: -group.n)
