"""Charts: inline SVG colored by the page, and figures by matplotlib, the same for the same numbers.

Inline are training curves and, from the details of findings, reliability and what a perturbation
does; without the numbers that it needs there is no chart. Figures are the train-test matrix and
features in the plane.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.untrusted import shown
from hurdles.findings.finding import Finding
from hurdles.reporting.wording import NARROW, counted, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


#: Inches: one cell, the names of the rows, what stands above, below and beside the cells.
_CELL, _ROW, _ABOVE_CELLS, _BELOW, _BESIDE = 1.18, 0.52, 1.35, 0.85, 0.75
_LETTER = 0.078
#: Chance is the middle of a scale on which better and worse than chance differ in hue.
_MAP, _CHANCE = "PuOr", 0.5
#: Okabe and Ito 2008, told apart with any color vision; yellow, too pale for points, is left out.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "^", "s", "D", "v", "P", "X")
#: Inches: two panels beside each other, one panel's height, what stands above it, a line of notes.
_WIDTH, _PANEL, _ABOVE, _LINE = 10.4, 4.7, 0.8, 0.19
_GRAY = "#444444"


def matrix_figure(
    table: pd.DataFrame,
    *,
    measure: str = "auc",
    inside: Mapping[str, str],
    models: Sequence[str] = (),
    tests: Sequence[str] = (),
    title: str = "",
    notes: Sequence[str] = (),
    form: str = "png",
) -> bytes:
    r"""Draw one measure of every model on every test set.

    Cells inside a model's own collection are outlined; undefined ones are hatched and say so; a
    pair that was not measured stays empty.
    """
    from matplotlib.figure import Figure

    rows = table[table["measure"] == measure]
    if rows.empty:
        raise ValueError(f"the table has no row of {measure!r}; nothing can be drawn.")
    if rows.duplicated(["model", "test"]).any():
        twice = rows[rows.duplicated(["model", "test"])].iloc[0]
        raise ValueError(f"{twice['model']!r} on {twice['test']!r} stands twice in the table.")
    # Those that were given in their order, then the others as they come.
    down, across = (
        sorted(dict.fromkeys(there), key=lambda name: [*first, name].index(name))
        for first, there in ((models, rows["model"]), (tests, rows["test"]))
    )
    left = 0.3 + _LETTER * max(map(len, down))
    width = left + _CELL * len(across) + _BESIDE
    height = _ABOVE_CELLS + _ROW * len(down) + _BELOW
    figure = Figure(figsize=(width, height), facecolor="white")
    cells = (_CELL * len(across) / width, _ROW * len(down) / height)
    axes = figure.add_axes((left / width, _BELOW / height, *cells))
    axes.set_xlim(0, len(across))
    axes.set_ylim(len(down), 0)
    _draw_cells(axes, rows, down, across, inside)
    _label_cells(axes, down, across)
    figure.text(0.15 / width, 1 - 0.32 / height, title, fontsize=12, fontweight="bold")
    figure.text(0.15 / width, 1 - 0.62 / height, "rows: trained on; columns: tested on",
                fontsize=9, color=_GRAY)  # fmt: skip
    for number, note in enumerate(notes):
        place = (_BELOW - 0.32 - _LINE * number) / height
        figure.text(0.15 / width, place, note, fontsize=8, color=_GRAY)
    return _saved(figure, form)


def _draw_cells(
    axes: Axes,
    rows: pd.DataFrame,
    models: list[str],
    tests: list[str],
    inside: Mapping[str, str],
) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    scale, colors = Normalize(0, 2 * _CHANCE), colormaps[_MAP]
    for row in rows.itertuples():
        x, y = tests.index(str(row.test)), models.index(str(row.model))
        # pandas types a row of itertuples as str, int or anything else; these columns are floats.
        value, low, high = float(row.value), float(row.low), float(row.high)  # type: ignore[arg-type] # a row
        if math.isnan(value):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#eeeeee", edgecolor="#999999",
                                     hatch="///", linewidth=0))  # fmt: skip
            axes.text(x + 0.5, y + 0.5, "undefined", ha="center", va="center", fontsize=7,
                      bbox={"facecolor": "#eeeeee", "edgecolor": "none", "pad": 1})  # fmt: skip
            continue
        color = colors(scale(value))
        light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 0.5
        ink: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "color": "black" if light else "white",
        }
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=color, linewidth=0))
        axes.text(x + 0.5, y + 0.36, f"{value:.2f}", fontsize=11, fontweight="bold", **ink)
        axes.text(x + 0.5, y + 0.74, f"{low:.2f}-{high:.2f}, n={row.n_images}", fontsize=6.5, **ink)
    for line in range(len(models) + 1):
        axes.axhline(line, color="white", linewidth=1.5)
    for line in range(len(tests) + 1):
        axes.axvline(line, color="white", linewidth=1.5)
    for model, test in inside.items():
        if model in models and test in tests:
            corner = (tests.index(test) + 0.03, models.index(model) + 0.05)
            axes.add_patch(Rectangle(corner, 0.94, 0.9, fill=False, edgecolor="black",
                                     linewidth=2.2, zorder=3, label="inside"))  # fmt: skip


def _label_cells(axes: Axes, models: list[str], tests: list[str]) -> None:
    """Write the names of rows and columns, and draw the scale of colors."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    def broken(name: str) -> str:
        """Break a long name after a plus sign or a blank, so that columns stay narrow."""
        places = [i for i, sign in enumerate(name) if sign in "+ " and 0 < i < len(name) - 1]
        if len(name) <= 13 or not places:
            return name
        place = min(places, key=lambda i: abs(i - len(name) / 2))
        return f"{name[: place + 1].rstrip()}\n{name[place + 1 :]}"

    axes.set_xticks([i + 0.5 for i in range(len(tests))], [broken(t) for t in tests], fontsize=8.5)
    axes.set_yticks([i + 0.5 for i in range(len(models))], models, fontsize=8.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    width = _CELL * len(tests)
    bar = axes.inset_axes((1.02 + 0.1 / len(tests), 0.0, 0.14 / width, 1.0))
    scale = ScalarMappable(Normalize(0, 2 * _CHANCE), _MAP)
    axes.figure.colorbar(scale, cax=bar, ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8)


def _saved(figure: Figure, form: str) -> bytes:
    from matplotlib import rc_context

    content = BytesIO()
    # Without salt and date the same numbers would give another file each time.
    with rc_context({"svg.hashsalt": "hurdles"}):
        stamp = {"Date": None} if form == "svg" else {}
        figure.savefig(content, format=form, dpi=130, metadata=stamp)
    return content.getvalue()


def embedding_figure(
    xy: NDArray[np.floating],
    classes: Sequence[str],
    sources: Sequence[str],
    *,
    title: str,
    notes: Sequence[str] = (),
    form: str = "png",
) -> bytes:
    r"""Draw two panels of the same points, by class on the left and by collection on the right.

    If the right panel falls into patches of one color, the features know where an image comes
    from. Names beyond the seventh share a color with an earlier one, but not its marker.
    """
    from matplotlib.figure import Figure

    points = np.asarray(xy, dtype=float)
    if points.ndim != 2 or points.shape[1:] != (2,) or not len(points):
        raise ValueError(f"xy has shape {points.shape}; give one pair of numbers per image.")
    if not len(points) == len(classes) == len(sources):
        raise ValueError(
            f"{len(points)} points, {len(classes)} classes and {len(sources)} sources; give one of "
            "each per image."
        )
    entries = max(len(set(classes)), len(set(sources)))
    legend = 0.25 + 0.2 * -(-entries // 2)
    below = 0.12 + _LINE * len(notes)
    height = _ABOVE + _PANEL + legend + below
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    figure.text(0.02, 1 - 0.32 / height, title, fontsize=12.5, fontweight="bold")
    width = 0.47
    # Drawn in a fixed random order: whoever comes last would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    for number, (heading, names) in enumerate((("By class", classes), ("By collection", sources))):
        left = 0.02 + number * (width + 0.02)
        axes = figure.add_axes((left, (below + legend) / height, width, _PANEL / height))
        axes.set_title(heading, fontsize=10.5, loc="left")
        _draw_points(axes, points[order], [names[i] for i in order], first=3 * number)
    for number, note in enumerate(notes):
        place = (below - 0.14 - _LINE * number) / height
        figure.text(0.02, place, note, fontsize=8.5, color=_GRAY)
    return _saved(figure, form)


def _draw_points(axes: Axes, points: NDArray[np.float64], names: list[str], first: int) -> None:
    """Draw the points in the given order, each as its name's color and marker.

    Colors are taken from the `first` on, so that no collection looks like the first classes.
    """
    from matplotlib.lines import Line2D

    counts = Counter(names)
    looks = colors_and_markers(sorted(counts, key=lambda name: (-counts[name], name)), first)
    size = float(np.clip(9000 / len(points), 7, 26))
    # Few batches, each name by itself: that keeps the order of drawing nearly that of the points.
    for batch in np.array_split(np.arange(len(points)), min(12, len(points))):
        for name, (color, marker) in looks.items():
            here = [i for i in batch if names[i] == name]
            axes.scatter(points[here, 0], points[here, 1], s=size, c=color, marker=marker,
                         linewidths=0.25, edgecolors="white", alpha=0.85)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set_edgecolor("#bbbbbb")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=color, markersize=6,
               label=f"{plain_name(name)} ({counts[name]:,})")
        for name, (color, marker) in looks.items()
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.01, -0.01), ncols=2, frameon=False,
        fontsize=8.5, handletextpad=0.2, borderpad=0.2, columnspacing=1.2,
    )  # fmt: skip


def colors_and_markers(names: Sequence[str], first: int) -> dict[str, tuple[str, str]]:
    """Return a color and a marker for each name; no two of 49 have both in common."""
    n = len(_COLORS)
    return {
        name: (_COLORS[(first + i) % n], _MARKERS[(first + i + i // n) % len(_MARKERS)])
        for i, name in enumerate(names)
    }


def plain_name(name: str) -> str:
    """Return a name in which matplotlib finds no formula and a font no control character."""
    return shown(name).replace("$", r"\$")
