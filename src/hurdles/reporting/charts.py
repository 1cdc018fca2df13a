"""Small charts as inline SVG, colored by the page's own variables.

Training curves; and, from the details of findings, reliability and what a perturbation does.
Without the numbers that it needs there is no chart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from hurdles.findings.finding import Finding
from hurdles.reporting.wording import NARROW, counted, percent

#: A diverging loss would press everything else flat: the axis ends at this multiple of the middle.
_TALLEST = 6.0
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Chart(NamedTuple):
    """A chart: its title, the drawing (already escaped), and the same in a sentence."""

    title: str
    svg: str
    summary: str


def curves(history: pd.DataFrame, chosen_epoch: int | None) -> list[Chart]:
    """Return the charts of accuracy and of loss, train and validation in each."""
    if history.empty:
        return []
    return [
        _training_curve(history, "accuracy", "Right answers", chosen_epoch),
        _training_curve(history, "loss", "Loss", chosen_epoch),
    ]


def _training_curve(history: pd.DataFrame, name: str, title: str, chosen: int | None) -> Chart:
    epochs = [int(e) for e in history["epoch"]]
    lines = {
        part: [float(v) for v in history[f"{part}_{name}"]] for part in ("train", "validation")
    }
    finite = sorted(v for values in lines.values() for v in values if math.isfinite(v))
    summary = _training_summary(name, epochs, lines["validation"], chosen)
    if not finite:
        return Chart(title, "", summary)
    if name == "accuracy":
        across = ticks(finite[0], 1.0)
    else:
        middle = finite[len(finite) // 2]
        across = ticks(0.0, min(finite[-1], _TALLEST * middle) if middle > 0 else finite[-1])
    plane = Plane(epochs[0], epochs[-1], across[0], across[-1])
    write = (lambda v: f"{100 * v:g}{NARROW}%") if name == "accuracy" else "{:g}".format
    step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if len(epochs) / s <= 7)
    inner = [e for e in epochs[1:] if e % step == 0 and e - epochs[0] >= step / 2]
    pieces = plane.grid(across, [epochs[0], *inner], write_across=write)
    if chosen is not None and plane.first <= chosen <= plane.last:
        x, bottom = f"{plane.x(chosen):.1f}", plane.height - plane.bottom
        pieces.append(
            f'<line class="chosen" x1="{x}" x2="{x}" y1="{plane.top - 6}" y2="{bottom}"/>'
        )
    for part, values in lines.items():
        stretches: list[list[tuple[float, float]]] = [[]]
        for point in zip(epochs, values, strict=True):
            if math.isfinite(point[1]):
                stretches[-1].append(point)
            elif stretches[-1]:
                stretches.append([])
        for stretch in filter(None, stretches):
            alone = len(stretch) == 1
            pieces.append(plane.dot(*stretch[0], part, 3.2) if alone else plane.line(stretch, part))
    return Chart(title, plane.svg(pieces, f"{title}. {summary}"), summary)


def _training_summary(
    name: str, epochs: Sequence[int], values: Sequence[float], chosen: int | None
) -> str:
    def write(value: float) -> str:
        return f"{percent(value)}{NARROW}%" if name == "accuracy" else f"{value:.3g}"

    at = {e: v for e, v in zip(epochs, values, strict=True) if math.isfinite(v)}
    if not at:
        return f"The validation {name} was never a number."
    first, last = min(at), max(at)
    if first == last:
        text = f"Validation {name} was {write(at[first])} in epoch {first}"
    else:
        text = f"Validation {name} went from {write(at[first])} in epoch {first} to "
        text += f"{write(at[last])} in epoch {last}"
        if chosen in at and chosen not in (first, last):
            text += f"; it was {write(at[chosen])} in the chosen epoch {chosen}"
    lost = len(epochs) - len(at)
    return text + (f". In {counted(lost, 'epoch')} it was not a number." if lost else ".")


def drawings(findings: Sequence[Finding]) -> Iterator[Chart]:
    """Yield the charts that the details of findings allow."""
    for finding in findings:
        bins = _complete(finding.details.get("reliability"), ("mean_probability", "share"))
        if bins:
            yield _reliability(finding, bins)
        points = _complete(finding.details.get("curve"), ("amount", "auc"))
        if len(points) > 1:
            yield _amount_curve(finding, sorted(points, key=lambda p: p["amount"]))


def _complete(entries: Any, needed: Sequence[str]) -> list[dict[str, float]]:
    """Return the entries that have the numbers that are needed; what else is no number is NaN."""
    complete = []
    for entry in entries if isinstance(entries, list | tuple) else ():
        if isinstance(entry, Mapping):
            numbers = {
                str(k): float(v) if isinstance(v, int | float) else math.nan
                for k, v in entry.items()
            }
            if all(math.isfinite(numbers.get(name, math.nan)) for name in needed):
                complete.append(numbers)
    return complete


def _reliability(finding: Finding, bins: Sequence[Mapping[str, float]]) -> Chart:
    plane = Plane(0, 1, 0, 1, width=320, height=320, bottom=50)
    pieces = [
        *plane.grid(_QUARTERS, _QUARTERS, write_across=_percent, write_along=_percent),
        plane.line([(0, 0), (1, 1)], "chosen"),
        *(plane.whisker(b["mean_probability"], b) for b in bins),
        *(plane.dot(b["mean_probability"], b["share"]) for b in bins),
        plane.caption("probability that the model gave"),
    ]
    above = sum(b.get("low", math.nan) > b["mean_probability"] for b in bins)
    below = sum(b.get("high", math.nan) < b["mean_probability"] for b in bins)
    summary = (
        f"Share that was right, against the probability that the model gave, in "
        f"{counted(len(bins), 'bin')}; dashed: as sure as it is right. It is surer than it is "
        f"right in {below}, less sure in {above}; in the rest the interval holds the line."
    )
    title = "Reliability" + (f", {finding.subject}" if finding.subject else "")
    return Chart(title, plane.svg(pieces, f"{title}. {summary}"), summary)


def _amount_curve(finding: Finding, points: Sequence[Mapping[str, float]]) -> Chart:
    amounts = [p["amount"] for p in points]
    bounds = [v for p in points for k in ("auc", "low") if math.isfinite(v := p.get(k, math.nan))]
    across = ticks(min(*bounds, 0.9), 1.0)
    plane = Plane(amounts[0], amounts[-1], across[0], across[-1], height=180, bottom=46)
    along = amounts if len(amounts) <= len(_QUARTERS) else [amounts[0], amounts[-1]]
    pieces = [
        *plane.grid(across, along),
        *(plane.whisker(p["amount"], p) for p in points),
        plane.line([(p["amount"], p["auc"]) for p in points], "validation"),
        *(plane.dot(p["amount"], p["auc"]) for p in points),
        plane.caption("amount"),
    ]
    first, last = points[0], points[-1]
    summary = (
        f"AUC from {first['auc']:.3f} at {first['amount']:g} to {last['auc']:.3f} at "
        f"{last['amount']:g}"
    )
    if math.isfinite(last.get("flipped", math.nan)):
        summary += f", where {_percent(last['flipped'])} of the answers flip"
    title = finding.subject or finding.statistic
    return Chart(title, plane.svg(pieces, f"{title}. {summary}."), summary + ".")


def _percent(value: float) -> str:
    return f"{percent(value, 0)}{NARROW}%"


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
    """Numbers from `first` to `last` and `low` to `high` within the margins of an SVG, y upwards.

    What is higher or lower is drawn at the margin.

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
        """Return the distance from the left; the middle, where there is only one number."""
        span = self.width - self.left - self.right
        if self.last == self.first:
            return self.left + span / 2
        return self.left + span * (value - self.first) / (self.last - self.first)

    def y(self, value: float) -> float:
        """Return the distance from the top."""
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
        right, below = self.width - self.right, self.height - self.bottom + 18
        return [
            f'<line class="grid" x1="{self.left}" x2="{right}" y1="{self.y(tick):.1f}" '
            f'y2="{self.y(tick):.1f}"/><text x="{self.left - 8}" y="{self.y(tick) + 4:.1f}" '
            f'text-anchor="end">{escape(write_across(tick))}</text>'
            for tick in across
        ] + [
            f'<text x="{self.x(tick):.1f}" y="{below}" text-anchor="middle">'
            f"{escape(write_along(tick))}</text>"
            for tick in along
        ]

    def line(self, points: Sequence[tuple[float, float]], style: str) -> str:
        """Return a line through points."""
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        return f'<polyline class="{style}" points="{places}"/>'

    def dot(self, x: float, y: float, style: str = "validation", radius: float = 3.6) -> str:
        """Return a dot."""
        place = f'cx="{self.x(x):.1f}" cy="{self.y(y):.1f}"'
        return f'<circle class="{style} dot" {place} r="{radius}"/>'

    def whisker(self, x: float, bounds: Mapping[str, float]) -> str:
        """Return an upright line from ``low`` to ``high``, if both are numbers."""
        low, high = bounds.get("low", math.nan), bounds.get("high", math.nan)
        if not (math.isfinite(low) and math.isfinite(high)):
            return ""
        at = f"{self.x(x):.1f}"
        ends = f'y1="{self.y(low):.1f}" y2="{self.y(high):.1f}"'
        return f'<line class="whisker" x1="{at}" x2="{at}" {ends}/>'

    def caption(self, text: str) -> str:
        """Return the name of the x axis."""
        middle = self.x((self.first + self.last) / 2)
        return f'<text x="{middle:.1f}" y="{self.height - 8}" text-anchor="middle">{text}</text>'

    def svg(self, pieces: Sequence[str], label: str) -> str:
        """Return the whole drawing."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(label)}">{"".join(pieces)}</svg>'
        )
