"""The report of a run: everything that it shows as typed fields, and the HTML page made of that.

Every number is written here, and the template only sets the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.copies.finder import Copies
from hurdles.data.files import write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Sex, Split, View
from hurdles.errors import EvaluationError
from hurdles.evaluation.conditions import CONDITIONAL, Conditional
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.metrics import METRICS, Metric
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.table import Findings
from hurdles.reporting import answer, pictures, wording
from hurdles.reporting.charts import curves
from hurdles.reporting.findings_page import findings_content
from hurdles.reporting.histograms import score_charts
from hurdles.reporting.wording import count, share
from hurdles.training.history import COLUMNS as HISTORY

_SEXES = {Sex.FEMALE: "female", Sex.MALE: "male", Sex.OTHER: "other"}
_VIEWS = {View.PA: "PA", View.AP: "AP", View.AP_SUPINE: "AP supine", View.LATERAL: "lateral"}
_SPLITS = {
    Split.TRAIN: "trained on",
    Split.VALIDATION: "chosen on (validation)",
    Split.TEST: "tested on",
}
#: Files left out that are named for each reason.
_PATHS = 500
#: Headings short enough for a table; a measure that is not named here goes by its own title.
_SHORT = {"ppv": "PPV", "npv": "NPV", "average_precision": "AP", "diagnostic_odds_ratio": "DOR"}
#: What another column says already: a table must fit its page.
_MIRRORS = frozenset({"miss_rate"})
#: How a measure is written, by `Metric.written`.
_WRITERS = {"share": wording.percent, "number": wording.ratio, "odds": wording.odds}
#: The strongest shade of the confusion matrix: text on it must stay easy to read.
_DARKEST = 0.5
#: Column of the history, its heading, what it is multiplied by, how it is written.
_EPOCH_COLUMNS = (
    ("epoch", "Epoch", 1, ".0f"),
    ("train_loss", "Training loss", 1, ".4f"),
    ("validation_loss", "Validation loss", 1, ".4f"),
    ("train_accuracy", "Training, % right", 100, ".1f"),
    ("validation_accuracy", "Validation, % right", 100, ".1f"),
    ("validation_auc", "Validation AUC", 1, ".3f"),
    ("size", "Size", 1, ".0f"),
    ("learning_rate", "Learning rate", 1, ".2g"),
    ("seconds", "Seconds", 1, ".1f"),
)


@dataclass(frozen=True, eq=False)
class SheetItem:
    """One radiograph of a contact sheet, as the network saw it, with what the network said of it.

    In `heat`, higher is warmer, and at most zero is cold; where it is None, empty or not finite,
    the caption says so, by `message` if there is one. `probability` is that of the predicted class.
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


class Sheet(NamedTuple):
    """Radiographs that have a title in common, and how these few were chosen from how many."""

    title: str
    items: Sequence[SheetItem]
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that one report shows. Text may hold anything: it is escaped on the way to the page.

    `manifest` holds every image of the experiment, with its split, and the files left out; for an
    evaluation on a further collection, the images of that. `history` is None where nothing was
    trained, `copies` where they were not looked for, `n_encoder` (test images that the encoder has
    seen which the model starts from) where that is not known. `recipe_notes` has a sentence for a
    field by its dotted name. To the `warnings`, what the data themselves show is added.
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
    environment: Mapping[str, Any] = field(default_factory=dict)
    copies: Copies | None = None
    n_encoder: int | None = 0
    findings: Findings | None = None

    def __post_init__(self) -> None:
        missing = [c for c in HISTORY if self.history is not None and c not in self.history]
        if missing:
            raise EvaluationError(
                f"the history lacks {', '.join(map(repr, missing))}; a report needs "
                f"{', '.join(HISTORY)}."
            )


def write_report(content: ReportContent, path: str | Path) -> Path:
    """Write the report to `path`, whole or not at all, and return the path."""
    write_text(path, render(content))
    return Path(path)


def render(content: ReportContent) -> str:
    """Return the report as HTML: no script, nothing loaded from anywhere."""
    evaluation, history = content.evaluation, content.history
    seen = answer.exposure(content.manifest, content.predictions, content.copies, content.n_encoder)
    accuracy = evaluation.get("accuracy")
    own = answer.own_warnings(content.manifest, content.predictions)

    grew = history is not None and history["size"].nunique() > 1
    columns = [column for column in _EPOCH_COLUMNS if grew or column[0] != "size"]

    def epoch(value: float, factor: int, pattern: str) -> str:
        return format(value * factor, pattern) if math.isfinite(value) else "not a number"

    context = {
        "content": content,
        "version": __version__,
        "headline": answer.headline(accuracy, seen),
        "audit": None if content.findings is None else findings_content(content.findings),
        "baseline": answer.baseline(content.predictions),
        "caveat": answer.caveat(seen),
        "warnings": list(dict.fromkeys([*own, *content.warnings])),
        "level": wording.level(accuracy.level),
        "forest": forest_rows(evaluation),
        "forest_notes": [n for n in (answer.width_notes(evaluation), *evaluation.notes) if n],
        "cohort": cohort_rows(content.manifest),
        "curves": [] if history is None else curves(history, content.chosen_epoch),
        "epoch_headings": [heading for _, heading, _, _ in columns],
        "epochs": []
        if history is None
        else [
            [epoch(float(row[column]), factor, pattern) for column, _, factor, pattern in columns]
            for row in history.to_dict("records")
        ],
        "confusion": confusion_rows(evaluation),
        "measures": measure_tables(evaluation),
        "conditions": condition_rows(evaluation),
        "scores": score_charts(evaluation.scores),
        "sheets": [
            {"title": sheet.title, "note": sheet.note, "items": [_item(i) for i in sheet.items]}
            for sheet in content.sheets
        ],
        "legend": ", ".join(pictures.legend_stops()),
        "exclusions": _exclusions(content.manifest.exclusions),
        "recipe": _settings(content.recipe, content.recipe_notes),
        "environment": _flat(content.environment),
    }
    return wording.template("report.html.j2").render(context)


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
        "fraction": f"{count(hit)} of {count(size)}" if size else "no images",
        "estimate": _cell(estimate),
        "value": place(estimate.value) if estimate.is_defined else "",
        "low": place(estimate.low) if has_interval else "",
        "width": place(estimate.high - estimate.low) if has_interval else "",
    }


class CohortRow(NamedTuple):
    """One line of the table of the data: a number and its share or range for each class, and all.

    `level` is 0 for a total, 1 for a heading without numbers, 2 for a line under a heading.
    """

    name: str
    cells: Sequence[tuple[str, str]] = ()
    level: int = 2


def cohort_rows(manifest: Manifest) -> list[CohortRow]:
    """Return who was in the data, as the "Table 1" of a clinical paper has it.

    Whatever is not known is a line of its own, so that every block adds up to its images (of the
    ages only those that are not known are counted).
    """
    frame = manifest.frame
    parts = [frame[frame["label"] == label] for label in manifest.labels] + [frame]
    groups = manifest.groups.where(frame["patient"].notna())
    patients = [groups[part.index].nunique() for part in parts]
    sources = {source: source for source in manifest.sources}
    return [
        CohortRow("Images", [(count(len(part)), "") for part in parts], 0),
        CohortRow("Patients known", [(count(n), "") for n in patients], 0),
        *_block("Used for", parts, "split", _SPLITS, "not assigned"),
        *_block("Source", parts, "source", sources, "source not known"),
        *_block("Sex", parts, "sex", _SEXES, "not known"),
        *_ages(parts),
        *_block("View", parts, "view", _VIEWS, "not known"),
    ]


def _block(
    title: str,
    parts: list[pd.DataFrame],
    column: str,
    terms: Mapping[Any, str],
    unknown: str,
) -> list[CohortRow]:
    there = set(parts[-1][column].dropna())
    lines = [(name, str(term)) for term, name in terms.items() if str(term) in there]
    rows = [CohortRow(title, level=1)]
    for name, term in [*lines, (unknown, None)]:
        columns = [part[column] for part in parts]
        matches = [c.isna() if term is None else c == term for c in columns]
        numbers = [int(match.sum()) for match in matches]
        if numbers[-1]:
            pairs = zip(numbers, parts, strict=True)
            rows.append(
                CohortRow(name, [(count(n), share(n, len(part)) if n else "") for n, part in pairs])
            )
    return rows


def _ages(parts: list[pd.DataFrame]) -> list[CohortRow]:
    def middle(part: pd.DataFrame) -> tuple[str, str]:
        ages = part["age"].dropna()
        if ages.empty:
            return ("—", "")
        low, median, high = ages.quantile([0.25, 0.5, 0.75])
        return (f"{median:.0f}", f"{low:.0f}–{high:.0f}")

    heading, *unknown = _block("Age in years", parts, "age", {}, "not known")
    known = parts[-1]["age"].notna().any()
    medians = [CohortRow("median and quartiles", [middle(p) for p in parts])] if known else []
    return [heading, *medians, *unknown]


def confusion_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row for each true class: counts, shares of the row, and how dark to shade."""
    rows = []
    for name, numbers in zip(evaluation.labels, evaluation.confusion, strict=True):
        total = sum(numbers)
        cells = [
            {
                "n": n,
                "share": share(n, total),
                "hit": name == predicted,
                "shade": f"{_DARKEST * (n / total) ** 0.7:.3f}" if n else "0",
            }
            for predicted, n in zip(evaluation.classes, numbers, strict=True)
        ]
        rows.append({"name": name, "total": total, "cells": cells})
    return rows


def measure_tables(evaluation: Evaluation) -> dict[str, Any]:
    """Return the two tables of measures, with numbered notes and how each interval was made."""
    notes: dict[str, int] = {}  # the same note always under the same number
    methods: dict[str, list[str]] = {}

    def marked(metric: Metric, estimate: Estimate) -> dict[str, Any]:
        texts = _cell(estimate, _WRITERS[metric.written])
        note = texts["note"]
        return {**texts, "mark": notes.setdefault(note, len(notes) + 1) if note else ""}

    def cell(metric: Metric, name: str | None = None) -> dict[str, Any]:
        estimate = evaluation.get(metric.name, name)
        if estimate.is_defined:
            titles = methods.setdefault(estimate.method, [])
            titles += [metric.title] if metric.title not in titles else []
        return marked(metric, estimate)

    # Files of older versions lack what is new.
    there = {measure for measure, _ in evaluation.estimates}
    each = [
        m for m in METRICS.values() if m.per_class and m.name not in _MIRRORS and m.name in there
    ]
    total = [metric for metric in METRICS.values() if not metric.per_class]
    return {
        "headings": [_SHORT.get(metric.name, metric.title) for metric in each],
        "classes": [
            {"name": name, "cells": [cell(metric, name) for metric in each]}
            for name in evaluation.classes
        ],
        "totals": [{"name": metric.title, **cell(metric)} for metric in total],
        # Each patient once, beside the measure of images.
        "weighted": [
            {
                "name": METRICS[measure].title,
                "class": class_,
                "once": marked(METRICS[measure], once),
                "image": marked(METRICS[measure], evaluation.get(measure, class_ or None)),
            }
            for (measure, class_), once in evaluation.patient_weighted.items()
        ],
        "words": [(metric.title, metric.sentence) for metric in METRICS.values()]
        + [(row.title, CONDITIONAL[row.measure].sentence) for row in _first(evaluation)],
        "notes": [(number, note) for note, number in notes.items()],
        "methods": [(wording.and_list(titles), method) for method, titles in methods.items()],
    }


def _first(evaluation: Evaluation) -> list[Conditional]:
    """Return one row of each condition, whatever its class."""
    return list({row.title: row for row in reversed(evaluation.conditional)}.values())[::-1]


def condition_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row for each measure at a condition and class, and how many a measure has."""
    write = {"share": wording.percent, "number": "{:.4f}".format}
    titles = [row.title.replace(" %", f"{wording.NARROW}%") for row in evaluation.conditional]
    return [
        {
            "name": title,
            "rows": titles.count(title) if title not in titles[:number] else 0,
            "class": row.class_,
            "basis": row.basis,
            **_cell(row.estimate, write[CONDITIONAL[row.measure].written]),
        }
        for number, (title, row) in enumerate(zip(titles, evaluation.conditional, strict=True))
    ]


def _cell(estimate: Estimate, write: Callable[[float], str] = wording.percent) -> dict[str, str]:
    """Return what stands in a cell: a number with its interval, or why there is none."""
    if not estimate.is_defined:
        return {"value": "", "interval": "", "note": estimate.note or "undefined"}
    bounds = wording.interval(estimate, write=write)
    return {"value": write(estimate.value), "interval": bounds, "note": estimate.note}


def _item(item: SheetItem) -> dict[str, Any]:
    fault, layer = pictures.heat_fault(item.heat), ""
    height, width = item.pixels.shape
    if item.heat is None:
        fault = item.message or fault
    elif not fault:
        # Heat-maps are smooth: the browser enlarges a small one to the radiograph's size.
        scale = 72 / max(height, width)
        small = (max(1, round(scale * height)), max(1, round(scale * width)))
        layer = pictures.data_uri(pictures.heat_layer(item.heat, small), "png", longest=72)
    probability = f"{wording.percent(item.probability, 0)}{wording.NARROW}%"
    return {
        "image": item.image,
        "radiograph": pictures.data_uri(item.pixels, "jpeg", longest=256),
        "layer": layer,
        "width": width,
        "height": height,
        "fault": fault,
        "right": item.true == item.predicted,
        "true": item.true,
        "predicted": item.predicted,
        "probability": probability,
        "alt": f"Chest X-ray {item.image}: truly {item.true}, named {item.predicted} "
        f"({probability})." + ("" if fault else " A heat-map shows where the network looked."),
    }


def _exclusions(exclusions: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the files left out by reason, the commonest first."""
    reasons = exclusions["reason"].fillna("").replace("", "no reason given")
    groups = [
        {
            "reason": str(reason),
            "n": len(paths),
            "paths": [str(path) for path in paths.head(_PATHS)],
            "n_more": max(0, len(paths) - _PATHS),
        }
        for reason, paths in exclusions["path"].groupby(reasons, sort=True)
    ]
    return sorted(groups, key=lambda group: -int(group["n"]))


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
