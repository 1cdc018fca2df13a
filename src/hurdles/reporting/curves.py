"""Training curves as inline SVG, coloured by the page's own variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hurdles.reporting.plane import Plane, ticks
from hurdles.reporting.wording import NARROW, counted, percent

#: A diverging loss would press everything else flat: the axis ends at this multiple of the middle.
_TALLEST = 6.0


@dataclass(frozen=True)
class Curve:
    """One small chart.

    Parameters
    ----------
    title : str
        What is drawn.
    svg : str
        The drawing; already escaped.
    summary : str
        The same in a sentence.
    """

    title: str
    svg: str
    summary: str


def curves(history: pd.DataFrame, chosen_epoch: int | None) -> list[Curve]:
    """Return the charts of accuracy and of loss, train and validation in each."""
    if history.empty:
        return []
    return [
        _curve(history, "accuracy", "Right answers", chosen_epoch),
        _curve(history, "loss", "Loss", chosen_epoch),
    ]


def _curve(history: pd.DataFrame, name: str, title: str, chosen: int | None) -> Curve:
    epochs = [int(e) for e in history["epoch"]]
    lines = {
        part: [float(v) for v in history[f"{part}_{name}"]] for part in ("train", "validation")
    }
    finite = [v for values in lines.values() for v in values if math.isfinite(v)]
    summary = _summary(name, epochs, lines["validation"], chosen)
    if not finite:
        return Curve(title, "", summary)
    across = ticks(*_range(name, finite))
    scale = Plane(epochs[0], epochs[-1], across[0], across[-1])
    write = _share if name == "accuracy" else "{:g}".format
    pieces = [
        *scale.grid(across, _epoch_ticks(epochs), write_across=write),
        *_chosen(scale, chosen),
        *(_line(scale, epochs, values, part) for part, values in lines.items()),
    ]
    return Curve(title, scale.svg(pieces, f"{title}. {summary}"), summary)


def _range(name: str, values: Sequence[float]) -> tuple[float, float]:
    if name == "accuracy":
        return min(values), 1.0
    middle = sorted(values)[len(values) // 2]
    return 0.0, min(max(values), _TALLEST * middle) if middle > 0 else max(values)


def _epoch_ticks(epochs: Sequence[int]) -> list[int]:
    if len(epochs) == 1:
        return [epochs[0]]
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if len(epochs) / s <= 7)
    inner = [e for e in epochs if e % step == 0 and e - epochs[0] >= step / 2]
    return [epochs[0], *[e for e in inner if e != epochs[0]]]


def _share(value: float) -> str:
    return f"{100 * value:g}{NARROW}%"


def _chosen(scale: Plane, chosen: int | None) -> list[str]:
    if chosen is None or not scale.first <= chosen <= scale.last:
        return []
    x, bottom = f"{scale.x(chosen):.1f}", scale.height - scale.bottom
    return [f'<line class="chosen" x1="{x}" x2="{x}" y1="{scale.top - 6}" y2="{bottom}"/>']


def _line(scale: Plane, epochs: Sequence[int], values: Sequence[float], part: str) -> str:
    runs: list[list[str]] = [[]]
    for epoch, value in zip(epochs, values, strict=True):
        if math.isfinite(value):
            runs[-1].append(f"{scale.x(epoch):.1f},{scale.y(value):.1f}")
        elif runs[-1]:
            runs.append([])
    pieces = []
    for run in filter(None, runs):
        if len(run) == 1:
            x, y = run[0].split(",")
            pieces.append(f'<circle class="{part} dot" cx="{x}" cy="{y}" r="3.2"/>')
        else:
            pieces.append(f'<polyline class="{part}" points="{" ".join(run)}"/>')
    return "".join(pieces)


def _summary(name: str, epochs: Sequence[int], values: Sequence[float], chosen: int | None) -> str:
    def write(value: float) -> str:
        return f"{percent(value)}{NARROW}%" if name == "accuracy" else f"{value:.3g}"

    finite = [(e, v) for e, v in zip(epochs, values, strict=True) if math.isfinite(v)]
    if not finite:
        return f"The validation {name} was never a number."
    at = dict(finite)
    if len(finite) == 1:
        text = f"Validation {name} was {write(finite[0][1])} in epoch {finite[0][0]}"
    else:
        (first, start), (last, end) = finite[0], finite[-1]
        text = f"Validation {name} went from {write(start)} in epoch {first} to {write(end)}"
        text += f" in epoch {last}"
        if chosen in at and chosen not in (first, last):
            text += f"; it was {write(at[chosen])} in the chosen epoch {chosen}"
    lost = len(epochs) - len(finite)
    return text + (f". In {counted(lost, 'epoch')} it was not a number." if lost else ".")
