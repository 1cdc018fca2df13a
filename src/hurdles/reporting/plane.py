"""The plane on which a small chart is drawn: round ticks, and from numbers to places in an SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape


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
