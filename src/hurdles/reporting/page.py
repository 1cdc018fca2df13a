"""From a report's content to one self-contained HTML page.

What a report is made of: everything that it shows, as typed fields.

Who was in the data, as the "Table 1" of a clinical paper, and what was left out.

The tables of the report: bars with intervals, measures, confusion matrix, differences.

Plain dictionaries of text that the template sets; every number is written here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.copies.finder import Copies
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Sex, Split, View
from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import Comparison, holm
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.metrics import METRICS, Metric
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.table import Findings
from hurdles.reporting import answer, pictures, wording
from hurdles.reporting.charts import curves
from hurdles.reporting.findings import findings_content
from hurdles.reporting.template import template
from hurdles.reporting.wording import count, share
from hurdles.training.history import COLUMNS as HISTORY


@dataclass(frozen=True, eq=False)
class SheetItem:
    """One radiograph of a contact sheet.

    Parameters
    ----------
    image : str
        Its name in the manifest.
    pixels : uint8 array of shape (H, W)
        The radiograph as the network saw it.
    heat : float32 array of shape (H, W) or smaller, or None
        Where the network looked; higher is warmer, at most zero is cold. A map that is empty or
        not finite is named in the caption instead of drawn.
    true, predicted : str
        Classes.
    probability : float
        Of the predicted class, 0 to 1.
    message : str
        Why there is no heat-map, where `heat` is None.
    """

    image: str
    pixels: NDArray[np.uint8]
    heat: NDArray[np.floating] | None
    true: str
    predicted: str
    probability: float
    message: str = ""

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 2 or not self.pixels.size:
            raise EvaluationError(
                f"pixels of {self.image!r} are {self.pixels.dtype} of shape {self.pixels.shape}; "
                "a contact sheet takes uint8 of shape (H, W)."
            )


@dataclass(frozen=True, eq=False)
class Sheet:
    """A titled row of radiographs, e.g. the COVID-19 images that were named wrongly.

    Parameters
    ----------
    title : str
        What they have in common.
    items : sequence of SheetItem
        May be empty: the report then says that there is none.
    note : str
        How these few were chosen from how many.
    """

    title: str
    items: Sequence[SheetItem]
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that one report shows. Text may hold anything: it is escaped on the way to the page.

    Parameters
    ----------
    title : str
        Name of the experiment.
    research_sentence : str
        What was asked, in one sentence.
    manifest : Manifest
        Every image of the experiment, with its split, and the files left out. For an evaluation on
        a further collection: the images of that collection.
    evaluation : Evaluation
        Measures with intervals, made from `predictions`.
    predictions : Predictions
        One row per evaluated image.
    history : DataFrame, optional
        Columns as in `hurdles.training.history.COLUMNS`; None where nothing was trained.
    chosen_epoch : int, optional
        The epoch whose weights were kept.
    sheets : sequence of Sheet
        Heat-maps.
    heat_method : str
        How they were made, e.g. ``"Grad-CAM on the last convolution"``.
    recipe : mapping
        The experiment, nested plain values.
    recipe_notes : mapping of str to str
        A sentence for a field, by its dotted name, e.g. ``"training.batch_size"``.
    warnings : sequence of str
        What a reader must know before the numbers; shown on the first screen. What the report can
        see for itself (see `hurdles.reporting.answer.own_warnings`) is added to them.
    comparisons : mapping of str to sequence of Comparison
        Name of another model to what differs; in each, this model is ``a`` and the other ``b``.
    environment : mapping
        Versions, machine, commit, times.
    links : mapping of str to str
        Text to address (http or https), for citations. Nothing is loaded from them.
    copies : Copies, optional
        Copies among the images, if they were looked for; None where they were not.
    findings : Findings, optional
        What the hurdles found; shown as a section of its own, its answer on the first screen.
    thumbnails : mapping of str to uint8 array of shape (H, W)
        Pixels of images that are evidence of a finding, by name.
    language : str
        BCP 47 tag of the page.
    """

    title: str
    research_sentence: str
    manifest: Manifest
    evaluation: Evaluation
    predictions: Predictions
    history: pd.DataFrame | None = None
    chosen_epoch: int | None = None
    sheets: Sequence[Sheet] = ()
    heat_method: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_notes: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    comparisons: Mapping[str, Sequence[Comparison]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    copies: Copies | None = None
    findings: Findings | None = None
    thumbnails: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    language: str = "en-GB"

    def __post_init__(self) -> None:
        if self.history is not None:
            missing = [c for c in HISTORY if c not in self.history]
            if missing:
                raise EvaluationError(
                    f"the history lacks {', '.join(map(repr, missing))}; a report needs "
                    f"{', '.join(HISTORY)}."
                )
        for text, address in self.links.items():
            if not address.startswith(("https://", "http://")):
                raise EvaluationError(
                    f"link {text!r} goes to {address!r}; give an http or https address."
                )


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


#: Headings short enough for a table; a measure that is not named here goes by its own title.
_SHORT = {"ppv": "PPV", "npv": "NPV", "diagnostic_odds_ratio": "DOR"}
#: What another column says already: a table must fit its page.
_MIRRORS = frozenset({"miss_rate"})
#: How a measure is written, by `Metric.written`.
_WRITERS = {"share": wording.percent, "number": wording.ratio, "odds": wording.odds}
#: The strongest shade of the confusion matrix: text on it must stay easy to read.
_DARKEST = 0.5


def forest_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return bars with intervals: all images, then the sensitivity of each class."""
    # The rows begin with the classes that the model knows, in the order of the columns.
    hits = {name: evaluation.confusion[i][i] for i, name in enumerate(evaluation.classes)}
    rows = [_bar("All images", sum(hits.values()), evaluation.n_images, evaluation.get("accuracy"))]
    for name, hit in hits.items():
        rows.append(_bar(name, hit, evaluation.images[name], evaluation.get("sensitivity", name)))
    return rows


def _bar(name: str, hit: int, size: int, estimate: Estimate) -> dict[str, Any]:
    def place(value: float) -> str:
        return f"{100 * min(max(value, 0.0), 1.0):.2f}%"

    has_interval = math.isfinite(estimate.low) and math.isfinite(estimate.high)
    return {
        "name": name,
        "fraction": f"{wording.count(hit)} of {wording.count(size)}" if size else "no images",
        "estimate": _cell(estimate),
        "value": place(estimate.value) if estimate.is_defined else "",
        "low": place(estimate.low) if has_interval else "",
        "width": place(estimate.high - estimate.low) if has_interval else "",
    }


def measure_tables(evaluation: Evaluation) -> dict[str, Any]:
    """Return the two tables of measures, with numbered notes and how each interval was made."""
    notes, methods = _Notes(), dict[str, list[str]]()

    def cell(metric: Metric, name: str | None = None) -> dict[str, Any]:
        estimate = evaluation.get(metric.name, name)
        if estimate.is_defined:
            named = methods.setdefault(estimate.method, [])
            named += [metric.title] if metric.title not in named else []
        return notes.marked(_cell(estimate, _WRITERS[metric.written]))

    each = [m for m in METRICS.values() if m.per_class and m.name not in _MIRRORS]
    total = [metric for metric in METRICS.values() if not metric.per_class]
    return {
        "headings": [_SHORT.get(metric.name, metric.title) for metric in each],
        "classes": [
            {"name": name, "cells": [cell(metric, name) for metric in each]}
            for name in evaluation.classes
        ],
        "totals": [{"name": metric.title, **cell(metric)} for metric in total],
        "words": [(metric.title, metric.sentence) for metric in METRICS.values()],
        "notes": notes.listed,
        "methods": [(wording.and_list(names), method) for method, names in methods.items()],
    }


def confusion_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row for each true class: counts, shares of the row, and how dark to shade."""
    rows = []
    for name, numbers in zip(evaluation.labels, evaluation.confusion, strict=True):
        total = sum(numbers)
        cells = [
            {
                "n": n,
                "share": wording.share(n, total),
                "hit": name == said,
                "shade": f"{_DARKEST * (n / total) ** 0.7:.3f}" if n else "0",
            }
            for said, n in zip(evaluation.classes, numbers, strict=True)
        ]
        rows.append({"name": name, "total": total, "cells": cells})
    return rows


def difference_tables(comparisons: Mapping[str, Sequence[Comparison]]) -> list[dict[str, Any]]:
    """Return one table for each other model."""
    return [_difference_table(other, found) for other, found in comparisons.items()]


def _difference_table(other: str, found: Sequence[Comparison]) -> dict[str, Any]:
    notes, rows = _Notes(), []
    adjusted = holm([c.p_value for c in found])
    for c, corrected in zip(found, adjusted, strict=True):
        write = _WRITERS[METRICS[c.metric].written]
        cells = [
            _cell(c.a, write),
            _cell(c.b, write),
            _cell(c.difference, write, signed=True),
        ]
        title = METRICS[c.metric].title + (f", {c.class_}" if c.class_ else "")
        rows.append(
            {
                "name": title,
                "cells": [notes.marked(cell) for cell in cells],
                "p": [wording.p_value(c.p_value), wording.p_value(corrected)],
            }
        )
    methods = dict.fromkeys(c.p_method for c in found if c.p_method not in ("", "none"))
    return {"other": other, "rows": rows, "methods": list(methods), "notes": notes.listed}


class _Notes:
    """Numbers for the notes below a table, the same note always under the same number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def marked(self, cell: dict[str, str]) -> dict[str, Any]:
        if not cell["note"]:
            return {**cell, "mark": ""}
        return {**cell, "mark": self._numbers.setdefault(cell["note"], len(self._numbers) + 1)}

    @property
    def listed(self) -> list[tuple[int, str]]:
        return [(number, note) for note, number in self._numbers.items()]


def _cell(
    estimate: Estimate, write: Callable[[float], str] = wording.percent, *, signed: bool = False
) -> dict[str, str]:
    """Return what stands in a cell: a number with its interval, or why there is none."""
    if not estimate.is_defined:
        return {"value": "", "interval": "", "note": estimate.note or "undefined"}

    def written(value: float) -> str:
        return wording.signed(write(value)) if signed else write(value)

    return {
        "value": written(estimate.value),
        "interval": wording.interval(estimate, write=written),
        "note": estimate.note,
    }


#: Column of the history, its heading, what it is multiplied by, how it is written.
_EPOCH_COLUMNS = (
    ("epoch", "Epoch", 1, ".0f"),
    ("train_loss", "Training loss", 1, ".4f"),
    ("validation_loss", "Validation loss", 1, ".4f"),
    ("train_accuracy", "Training, % right", 100, ".1f"),
    ("validation_accuracy", "Validation, % right", 100, ".1f"),
    ("validation_auc", "Validation AUC", 1, ".3f"),
    ("learning_rate", "Learning rate", 1, ".2g"),
    ("seconds", "Seconds", 1, ".1f"),
)


def render(content: ReportContent) -> str:
    """Return the report as HTML: no script, nothing loaded from anywhere."""
    return template("report.html.j2").render(_context(content))


def write_report(content: ReportContent, path: str | Path) -> Path:
    """Write the report to `path`, whole or not at all, and return the path."""
    write_text(path, render(content))
    return Path(path)


def _context(content: ReportContent) -> dict[str, Any]:
    known = answer.exposure(content.manifest, content.predictions, content.copies)
    accuracy = content.evaluation.get("accuracy")
    wide = answer.width_notes(content.evaluation)
    own = answer.own_warnings(content.manifest, content.predictions)
    return {
        "content": content,
        "version": __version__,
        "headline": answer.headline(accuracy, known),
        "audit": _audit(content),
        "baseline": answer.baseline(content.predictions),
        "caveat": answer.caveat(known),
        "warnings": list(dict.fromkeys([*own, *content.warnings])),
        "level": wording.level(accuracy.level),
        "forest": forest_rows(content.evaluation),
        "forest_notes": [note for note in (wide, *content.evaluation.notes) if note],
        "cohort": cohort_rows(content.manifest),
        "curves": [] if content.history is None else curves(content.history, content.chosen_epoch),
        "epoch_headings": [heading for _, heading, _, _ in _EPOCH_COLUMNS],
        "epochs": _epoch_table(content.history),
        "confusion": confusion_rows(content.evaluation),
        "measures": measure_tables(content.evaluation),
        "sheets": [_sheet(sheet) for sheet in content.sheets],
        "legend": ", ".join(pictures.legend_stops()),
        "comparisons": difference_tables(content.comparisons),
        "exclusions": exclusion_groups(content.manifest.exclusions),
        "recipe": _settings(content.recipe, content.recipe_notes),
        "environment": _flat(content.environment),
    }


def _audit(content: ReportContent) -> dict[str, Any] | None:
    if content.findings is None:
        return None
    return findings_content(content.findings, thumbnails=content.thumbnails)


def _epoch_table(history: pd.DataFrame | None) -> list[list[str]]:
    if history is None:
        return []
    columns = [
        [_number(float(value) * factor, pattern) for value in history[column]]
        for column, _, factor, pattern in _EPOCH_COLUMNS
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _number(value: float, pattern: str) -> str:
    return format(value, pattern) if math.isfinite(value) else "not a number"


def _sheet(sheet: Sheet) -> dict[str, Any]:
    return {"title": sheet.title, "note": sheet.note, "items": [_item(i) for i in sheet.items]}


def _item(item: SheetItem) -> dict[str, Any]:
    fault, layer = pictures.heat_fault(item.heat), ""
    if item.heat is None:
        fault = item.message or fault
    elif not fault:
        layer = _layer_uri(item.heat, item.pixels.shape)
    height, width = item.pixels.shape
    right = item.true == item.predicted
    said = f"{wording.percent(item.probability, 0)}{wording.NARROW}%"
    return {
        "image": item.image,
        "radiograph": pictures.data_uri(item.pixels, "jpeg", longest=256),
        "layer": layer,
        "width": width,
        "height": height,
        "fault": fault,
        "right": right,
        "true": item.true,
        "predicted": item.predicted,
        "said": said,
        "alt": f"Chest X-ray {item.image}: truly {item.true}, named {item.predicted} ({said})."
        + ("" if fault else " A heat-map shows where the network looked."),
    }


def _layer_uri(heat: NDArray[np.floating], shape: tuple[int, ...]) -> str:
    # Heat-maps are smooth: the browser enlarges a small one to the radiograph's size.
    height, width = shape
    scale = 72 / max(height, width)
    small = (max(1, round(scale * height)), max(1, round(scale * width)))
    return pictures.data_uri(pictures.heat_layer(heat, small), "png", longest=72)


def _settings(recipe: Mapping[str, Any], notes: Mapping[str, str]) -> list[dict[str, Any]]:
    """Group nested settings under their first key; those without one come first."""
    loose = {k: v for k, v in recipe.items() if not isinstance(v, Mapping)}
    groups = [("", loose)] if loose else []
    groups += [(str(k), dict(v)) for k, v in recipe.items() if isinstance(v, Mapping)]
    return [
        {
            "title": title,
            "rows": [
                (key, value, notes.get(f"{title}.{key}" if title else key, ""))
                for key, value in _flat(values)
            ],
        }
        for title, values in groups
    ]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{before}{key}.")
        else:
            rows.append((f"{before}{key}", wording.plain(value)))
    return rows
