"""Drawings from the details of findings: reliability, and what grows with a perturbation.

A hurdle that gives no details, or details without the numbers that are needed, gets no drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hurdles.findings.finding import Finding
from hurdles.findings.table import Findings
from hurdles.reporting.plane import Plane, ticks
from hurdles.reporting.wording import NARROW, counted, percent

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
        yield _curve(finding, sorted(points, key=lambda p: p["amount"]))


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
    pieces.append(_line(plane, [(0, 0), (1, 1)], "chosen"))
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


def _curve(finding: Finding, points: Sequence[Mapping[str, float]]) -> Drawing:
    amounts = [p["amount"] for p in points]
    bounds = [v for p in points for k in ("auc", "low") if math.isfinite(v := p.get(k, math.nan))]
    across = ticks(min(*bounds, 0.9), 1.0)
    plane = Plane(amounts[0], amounts[-1], across[0], across[-1], height=180, bottom=46)
    along = amounts if len(amounts) <= len(_QUARTERS) else [amounts[0], amounts[-1]]
    pieces = plane.grid(across, along)
    pieces += [_whisker(plane, p["amount"], p) for p in points]
    pieces.append(_line(plane, [(p["amount"], p["auc"]) for p in points], "validation"))
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


def _line(plane: Plane, points: Sequence[tuple[float, float]], name: str) -> str:
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
