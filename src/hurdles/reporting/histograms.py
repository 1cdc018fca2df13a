"""Histograms of scores as inline SVG: a strip of bars for each true class in each collection."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hurdles.data.untrusted import shown
from hurdles.evaluation.histograms import Histogram
from hurdles.reporting.charts import Chart, Plane
from hurdles.reporting.wording import counted, share

#: Strips of one chart; of more groups the largest are drawn.
_STRIPS = 24
#: Pixels: the chart's width and margin, a strip with its title, and what stands below the last.
_WIDTH, _MARGIN, _STRIP, _TITLE, _BELOW = 400, 10, 76, 18, 40
_LONGEST = 44


def score_charts(histograms: Sequence[Histogram]) -> list[Chart]:
    """Return a chart for each class whose probabilities were counted."""
    scored = dict.fromkeys(h.scored for h in histograms)
    return [_chart(name, [h for h in histograms if h.scored == name]) for name in scored]


def _chart(scored: str, histograms: Sequence[Histogram]) -> Chart:
    largest = sorted(histograms, key=lambda h: -h.n_images)[:_STRIPS]
    drawn = [h for h in histograms if h in largest]
    height = _STRIP * len(drawn) + _BELOW
    pieces = []
    for number, one in enumerate(drawn):
        top = number * _STRIP
        strip = Plane(
            0, 1, 0, 1, width=_WIDTH, height=top + _STRIP,
            left=_MARGIN, right=_MARGIN, top=top + _TITLE, bottom=6,
        )  # fmt: skip
        title = _name(one)
        short = title if len(title) <= _LONGEST else f"{title[: _LONGEST - 1]}…"
        pieces += [
            f'<text x="{_MARGIN}" y="{top + 13}">{escape(short)}'
            f"<title>{escape(title)}</title></text>",
            f'<text x="{_WIDTH - _MARGIN}" y="{top + 13}" text-anchor="end">'
            f"{_counted(one.n_images, one.n_patients)}</text>",
            *_bars(strip, one),
        ]
    axis = Plane(
        0, 1, 0, 1, width=_WIDTH, height=height, left=_MARGIN, right=_MARGIN, bottom=_BELOW
    )
    pieces += axis.grid([], (0, 0.25, 0.5, 0.75, 1))
    pieces.append(axis.caption(escape(shown(f"probability of {scored}"))))
    plane = Plane(0, 1, 0, 1, width=_WIDTH, height=height)
    title, summary = f"Probability of {scored}", _summary(drawn, len(histograms) - len(drawn))
    return Chart(title, plane.svg(pieces, f"{title}. {summary}"), summary)


def _bars(strip: Plane, one: Histogram) -> list[str]:
    bottom, pieces, n = strip.y(0), [], len(one.images)
    style = "tenth own" if one.label == one.scored else "tenth"
    for place, images in enumerate(one.images):
        left, right = strip.x(place / n) + 1, strip.x((place + 1) / n) - 1
        top = strip.y(images / one.n_images)
        pieces.append(
            f'<rect class="{style}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{bottom - top:.1f}"><title>{_counted(images, one.patients[place])}</title>'
            "</rect>"
        )
        if images:
            bounds = {"low": one.low[place], "high": one.high[place]}
            pieces.append(strip.whisker((place + 0.5) / n, bounds))
    line = f'x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{bottom:.1f}" y2="{bottom:.1f}"'
    return [f'<line class="grid" {line}/>', *pieces]


def _counted(images: int, patients: int) -> str:
    """Return images and their patients; where none is known, images alone."""
    known = f", {counted(patients, 'patient')}" if patients else ""
    return f"{counted(images, 'image')}{known}"


def _name(one: Histogram) -> str:
    return shown(f"{one.label}, {one.source}" if one.source else one.label)


def _summary(drawn: Sequence[Histogram], more: int) -> str:
    half = len(drawn[0].images) // 2
    parts = [
        f"{_name(one)}: {share(sum(one.images[half:]), one.n_images)} of "
        f"{counted(one.n_images, 'image')}"
        for one in drawn
    ]
    rest = f" {counted(more, 'smaller group')} not drawn." if more else ""
    return f"A probability of 0.5 or more have: {'; '.join(parts)}.{rest}"
