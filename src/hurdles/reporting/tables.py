"""The tables of the report: bars with intervals, measures, confusion matrix, differences.

Plain dictionaries of text that the template sets; every number is written here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hurdles.evaluation.comparisons import Comparison, holm
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.evaluation import Evaluation
from hurdles.evaluation.metrics import METRICS, Metric
from hurdles.reporting import wording

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
