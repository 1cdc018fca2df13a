"""The figure of a calibration: how often each shortcut is seen, by its strength."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

import pandas as pd

from hurdles.calibrating.limits import ANY, GOALS, TARGETS
from hurdles.calibrating.trials import FRESH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito 2008, told apart with any color vision.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_ACROSS, _PANEL = 3, (3.35, 2.55)
_GRAY = "#666666"


def detection_figure(
    rates: pd.DataFrame, areas: pd.DataFrame, references: Mapping[str, float]
) -> bytes:
    r"""Draw one panel for each shortcut: share of cohorts in which hurdles for data are hit.

    Black is any of the hurdles, colors are those that are meant to see it; the leftmost point is
    the share of cohorts with nothing planted. Gray is the AUC of a network that has nothing but
    the shortcut to read, and the upright line is where power is judged.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    plants = list(references)
    down = max(-(-len(plants) // _ACROSS), 1)
    height = _PANEL[1] * down + 1.0
    figure = Figure(figsize=(_PANEL[0] * _ACROSS, height), facecolor="white", dpi=130)
    panels = figure.subplots(down, _ACROSS, sharex=True, sharey=True, squeeze=False)
    shown = rates[(rates["part"] == FRESH) & (rates["kind"] == "data") & rates["whole"]]
    targeted = [h for h in shown["hurdle"].unique() if any(p in TARGETS.get(h, ()) for p in plants)]
    colors = {hurdle: _COLORS[i % len(_COLORS)] for i, hurdle in enumerate(targeted)}
    for place, axes in enumerate(panels.flat):
        if place >= len(plants):
            axes.set_axis_off()
            continue
        plant = plants[place]
        _frame(axes, plant, references[plant])
        own = areas[areas["plant"] == plant].sort_values("strength")
        axes.plot(own["strength"], own["auc"], color=_GRAY, linestyle="--", marker=".", linewidth=1)
        for hurdle, color in {ANY: "black", **colors}.items():
            if hurdle == ANY or plant in TARGETS[hurdle]:
                _line(axes, shown[shown["hurdle"] == hurdle], plant, color)
        axes.tick_params(labelbottom=place + _ACROSS >= len(plants))
    lines = [("any hurdle for data", "black", "-"), *((h, c, "-") for h, c in colors.items())]
    lines.append(("AUC of a network that reads the shortcut alone", _GRAY, "--"))
    figure.legend(
        handles=[Line2D([], [], color=c, linestyle=style, label=n) for n, c, style in lines],
        loc="lower center",
        bbox_to_anchor=(0.5, 0.05 / height),
        frameon=False,
        ncols=min(len(lines), 5),
        fontsize=8.5,
    )
    figure.supxlabel("strength of the shortcut", fontsize=10, y=0.48 / height)
    figure.supylabel("share of cohorts in which the hurdle is hit", fontsize=10, x=0.008)
    figure.subplots_adjust(
        left=0.075, right=0.985, top=1 - 0.32 / height, bottom=0.92 / height, hspace=0.24,
        wspace=0.08,
    )  # fmt: skip
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _frame(axes: Axes, plant: str, reference: float) -> None:
    most, least = GOALS
    axes.axhspan(0, most, color="#eeeeee", zorder=0)
    axes.axhline(least, color="#bbbbbb", linewidth=0.8, linestyle=":")
    axes.axvline(reference, color="#bbbbbb", linewidth=1.0)
    axes.set_title(plant, fontsize=10, loc="left", pad=3)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(0, 1.03)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _line(axes: Axes, rows: pd.DataFrame, plant: str, color: str) -> None:
    planted = rows[rows["plant"] == plant]
    if planted.empty:
        return
    # Nothing planted is where every curve begins.
    null = rows[(rows["plant"] == "") & rows["disease"]]
    both = pd.concat([null, planted]).sort_values("strength")
    # Lines that coincide are both seen: the black one is wider, and intervals stand side by side.
    width, aside = (2.8, 0.0) if color == "black" else (1.3, 0.012)
    axes.plot(both["strength"], both["share"], color=color, marker="o", markersize=3.2,
              linewidth=width, clip_on=False)  # fmt: skip
    at = both["strength"] + aside
    axes.vlines(at, both["low"], both["high"], color=color, linewidth=0.8, alpha=0.6)
