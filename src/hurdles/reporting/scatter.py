"""One layout of images in the plane, coloured twice: by class and by collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.data.shown import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito 2008, told apart with any colour vision; yellow, too pale for points, is left out.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "^", "s", "D", "v", "P", "X")
_WIDTH, _PANEL, _ABOVE, _LINE = 10.4, 4.7, 0.8, 0.19
_GREY = "#444444"


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

    If the right panel falls into patches of one colour, the features know where an image comes
    from. Names beyond the seventh share a colour with an earlier one, but not its marker.

    Examples
    --------
    >>> xy = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> embedding_figure(xy, ["sick", "well"], ["ours", "theirs"], title="Features")[:4]
    b'\x89PNG'
    """
    from matplotlib import rc_context
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
        _draw(axes, points[order], [names[i] for i in order], first=3 * number)
    for number, note in enumerate(notes):
        place = (below - 0.14 - _LINE * number) / height
        figure.text(0.02, place, note, fontsize=8.5, color=_GREY)
    content = BytesIO()
    # Without salt and date the same points would give another file each time.
    with rc_context({"svg.hashsalt": "hurdles"}):
        stamp = {"Date": None} if form == "svg" else {}
        figure.savefig(content, format=form, dpi=130, metadata=stamp)
    return content.getvalue()


def _draw(axes: Axes, points: NDArray[np.float64], names: list[str], first: int) -> None:
    """Draw the points in the given order, each as its name's colour and marker.

    Colours are taken from the `first` on, so that no collection looks like the first classes.
    """
    from matplotlib.lines import Line2D

    counts = Counter(names)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    size = float(np.clip(9000 / len(points), 7, 26))
    looks = _looks(order, first)
    # Few batches, each name by itself: that keeps the order of drawing nearly that of the points.
    for batch in np.array_split(np.arange(len(points)), min(12, len(points))):
        for name, (colour, marker) in looks.items():
            here = [i for i in batch if names[i] == name]
            axes.scatter(
                points[here, 0], points[here, 1], s=size, c=colour, marker=marker,
                linewidths=0.25, edgecolors="white", alpha=0.85,
            )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.04)
    for spine in axes.spines.values():
        spine.set_edgecolor("#bbbbbb")
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=6,
               label=f"{_plain(name)} ({counts[name]:,})")
        for name, (colour, marker) in looks.items()
    ]  # fmt: skip
    axes.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.01, -0.01), ncols=2, frameon=False,
        fontsize=8.5, handletextpad=0.2, borderpad=0.2, columnspacing=1.2,
    )  # fmt: skip


def _looks(names: Sequence[str], first: int) -> dict[str, tuple[str, str]]:
    """Return a colour and a marker for each name; no two of 49 have both in common."""
    return {
        name: (
            _COLOURS[(first + i) % len(_COLOURS)],
            _MARKERS[(first + i + i // len(_COLOURS)) % len(_MARKERS)],
        )
        for i, name in enumerate(names)
    }


def _plain(name: str) -> str:
    """Return a name in which matplotlib finds no formula and a font no control character."""
    return shown(name).replace("$", r"\$")
