"""From a report's content to one self-contained HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.data.files import write_text
from hurdles.reporting import answer, cohort, overlay, tables, wording
from hurdles.reporting.content import ReportContent, Sheet, SheetItem
from hurdles.reporting.curves import curves
from hurdles.reporting.findings import findings_content
from hurdles.reporting.template import template

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
        "forest": tables.forest_rows(content.evaluation),
        "forest_notes": [note for note in (wide, *content.evaluation.notes) if note],
        "cohort": cohort.cohort_rows(content.manifest),
        "curves": [] if content.history is None else curves(content.history, content.chosen_epoch),
        "epoch_headings": [heading for _, heading, _, _ in _EPOCH_COLUMNS],
        "epochs": _epoch_table(content.history),
        "confusion": tables.confusion_rows(content.evaluation),
        "measures": tables.measure_tables(content.evaluation),
        "sheets": [_sheet(sheet) for sheet in content.sheets],
        "legend": ", ".join(overlay.legend_stops()),
        "comparisons": tables.difference_tables(content.comparisons),
        "exclusions": cohort.exclusion_groups(content.manifest.exclusions),
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
    fault, layer = overlay.heat_fault(item.heat), ""
    if item.heat is None:
        fault = item.message or fault
    elif not fault:
        layer = _layer_uri(item.heat, item.pixels.shape)
    height, width = item.pixels.shape
    right = item.true == item.predicted
    said = f"{wording.percent(item.probability, 0)}{wording.NARROW}%"
    return {
        "image": item.image,
        "radiograph": overlay.data_uri(item.pixels, "jpeg", longest=256),
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
    return overlay.data_uri(overlay.heat_layer(heat, small), "png", longest=72)


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
