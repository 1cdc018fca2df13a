"""Drawings from the details of findings: reliability, and what grows with a perturbation.

A hurdle that gives no details, or details without the numbers that are needed, gets no drawing.

The plane on which a small chart is drawn: round ticks, and from numbers to places in an SVG.

Training curves as inline SVG, coloured by the page's own variables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from hurdles.findings.finding import Finding
from hurdles.findings.table import Findings
from hurdles.reporting.wording import NARROW, counted, percent


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers from at most `low` to at least `high`: two or a few of them.

    Examples
    --------
    >>> ticks(0.52, 0.97)
    [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    """
    span = max(high - low, 1e-3)
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(m * size for m in (1, 2, 5, 10) if span / (m * size) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


@dataclass(frozen=True)
class Plane:
    """Numbers within margins of an SVG; y grows upwards.

    Parameters
    ----------
    first, last : float
        What lies at the left and at the right margin; where they are equal, it lies in the middle.
    low, high : float
        What lies at the lower and at the upper margin; what is beyond is drawn at the margin.
    width, height : int
        Of the SVG, in its own units.
    left, right, top, bottom : int
        Margins.

    Examples
    --------
    >>> plane = Plane(0, 10, 0, 1, width=100, height=50, left=0, right=0, top=0, bottom=0)
    >>> plane.x(5), plane.y(0.2), plane.y(7)
    (50.0, 40.0, 0.0)
    """

    first: float
    last: float
    low: float
    high: float
    width: int = 400
    height: int = 236
    left: int = 46
    right: int = 12
    top: int = 14
    bottom: int = 34

    def x(self, value: float) -> float:
        """Return where a number lies across."""
        span = self.width - self.left - self.right
        if self.last == self.first:
            return self.left + span / 2
        return self.left + span * (value - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        """Return where a number lies from above."""
        share = (value - self.low) / (self.high - self.low)
        span = self.height - self.top - self.bottom
        return self.height - self.bottom - span * min(max(share, 0.0), 1.0)

    def grid(
        self,
        across: Sequence[float],
        along: Sequence[float],
        *,
        write_across: Callable[[float], str] = "{:g}".format,
        write_along: Callable[[float], str] = "{:g}".format,
    ) -> list[str]:
        """Return a line with its number for every tick of y, and a number for every tick of x."""
        pieces = []
        right, bottom = self.width - self.right, self.height - self.bottom
        for tick in across:
            y = self.y(tick)
            pieces.append(
                f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text x="{self.left - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{escape(write_across(tick))}</text>"
            )
        pieces += [
            f'<text x="{self.x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{escape(write_along(tick))}</text>"
            for tick in along
        ]
        return pieces

    def svg(self, pieces: Sequence[str], label: str) -> str:
        """Return the whole drawing."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(label)}">{"".join(pieces)}</svg>'
        )


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
        _training_curve(history, "accuracy", "Right answers", chosen_epoch),
        _training_curve(history, "loss", "Loss", chosen_epoch),
    ]


def _training_curve(history: pd.DataFrame, name: str, title: str, chosen: int | None) -> Curve:
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
        *(_training_line(scale, epochs, values, part) for part, values in lines.items()),
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


def _training_line(scale: Plane, epochs: Sequence[int], values: Sequence[float], part: str) -> str:
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


_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_SQUARE = {"width": 320, "height": 320, "bottom": 50}


@dataclass(frozen=True)
class Drawing:
    """A drawing that belongs to a hurdle.

    Parameters
    ----------
    hurdle : str
        Beneath which it is shown.
    title : str
        What is drawn.
    svg : str
        The drawing, already escaped; empty where `png` holds it.
    summary : str
        The same in a sentence.
    png : bytes
        A picture instead.
    """

    hurdle: str
    title: str
    svg: str
    summary: str
    png: bytes = b""


def drawings(findings: Findings) -> list[Drawing]:
    """Return the drawings that the details of all findings allow."""
    return [drawing for row in findings.rows for drawing in _of(row)]


def _of(finding: Finding) -> Iterator[Drawing]:
    bins = _complete(finding.details.get("reliability"), ("mean_probability", "share"))
    if bins:
        yield _reliability(finding, bins)
    points = _complete(finding.details.get("curve"), ("amount", "auc"))
    if len(points) > 1:
        yield _amount_curve(finding, sorted(points, key=lambda p: p["amount"]))


def _complete(entries: Any, needed: Sequence[str]) -> list[dict[str, float]]:
    """Return the entries that have the numbers that are needed; what else is no number is NaN."""
    found = []
    for entry in entries if isinstance(entries, list | tuple) else ():
        if isinstance(entry, Mapping):
            numbers = {str(k): _number(v) for k, v in entry.items()}
            if all(math.isfinite(numbers.get(name, math.nan)) for name in needed):
                found.append(numbers)
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _reliability(finding: Finding, bins: Sequence[Mapping[str, float]]) -> Drawing:
    plane = Plane(0, 1, 0, 1, **_SQUARE)
    pieces = plane.grid(_QUARTERS, _QUARTERS, write_across=_percent, write_along=_percent)
    pieces.append(_polyline(plane, [(0, 0), (1, 1)], "chosen"))
    pieces += [_whisker(plane, b["mean_probability"], b) for b in bins]
    pieces += [_dot(plane, b["mean_probability"], b["share"]) for b in bins]
    pieces.append(_caption(plane, "probability that the model gave"))
    above = sum(b.get("low", math.nan) > b["mean_probability"] for b in bins)
    below = sum(b.get("high", math.nan) < b["mean_probability"] for b in bins)
    summary = (
        f"Share that was right, against the probability that the model gave, in "
        f"{counted(len(bins), 'bin')}; dashed: as sure as it is right. It is surer than it is "
        f"right in {below}, less sure in {above}; in the rest the interval holds the line."
    )
    title = f"Reliability{_of_what(finding)}"
    return Drawing(finding.hurdle, title, plane.svg(pieces, f"{title}. {summary}"), summary)


def _amount_curve(finding: Finding, points: Sequence[Mapping[str, float]]) -> Drawing:
    amounts = [p["amount"] for p in points]
    bounds = [v for p in points for k in ("auc", "low") if math.isfinite(v := p.get(k, math.nan))]
    across = ticks(min(*bounds, 0.9), 1.0)
    plane = Plane(amounts[0], amounts[-1], across[0], across[-1], height=180, bottom=46)
    along = amounts if len(amounts) <= len(_QUARTERS) else [amounts[0], amounts[-1]]
    pieces = plane.grid(across, along)
    pieces += [_whisker(plane, p["amount"], p) for p in points]
    pieces.append(_polyline(plane, [(p["amount"], p["auc"]) for p in points], "validation"))
    pieces += [_dot(plane, p["amount"], p["auc"]) for p in points]
    pieces.append(_caption(plane, "amount"))
    first, last = points[0], points[-1]
    summary = (
        f"AUC from {first['auc']:.3f} at {first['amount']:g} to {last['auc']:.3f} at "
        f"{last['amount']:g}"
    )
    if math.isfinite(last.get("flipped", math.nan)):
        summary += f", where {_percent(last['flipped'])} of the answers flip"
    title = finding.subject or finding.statistic
    return Drawing(finding.hurdle, title, plane.svg(pieces, f"{title}. {summary}."), summary + ".")


def _of_what(finding: Finding) -> str:
    return f", {finding.subject}" if finding.subject else ""


def _percent(value: float) -> str:
    return f"{percent(value, 0)}{NARROW}%"


def _polyline(plane: Plane, points: Sequence[tuple[float, float]], name: str) -> str:
    places = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in points)
    return f'<polyline class="{name}" points="{places}"/>'


def _whisker(plane: Plane, x: float, bounds: Mapping[str, float]) -> str:
    low, high = bounds.get("low", math.nan), bounds.get("high", math.nan)
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    at = f"{plane.x(x):.1f}"
    return (
        f'<line class="whisker" x1="{at}" x2="{at}" y1="{plane.y(low):.1f}" '
        f'y2="{plane.y(high):.1f}"/>'
    )


def _dot(plane: Plane, x: float, y: float) -> str:
    where = f'cx="{plane.x(x):.1f}" cy="{plane.y(y):.1f}"'
    return f'<circle class="validation dot" {where} r="3.6"/>'


def _caption(plane: Plane, text: str) -> str:
    middle = plane.x((plane.first + plane.last) / 2)
    return f'<text x="{middle:.1f}" y="{plane.height - 8}" text-anchor="middle">{text}</text>'
