"""How the share of detected cohorts grows with the strength of what is planted."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

import pandas as pd

from hurdles.auditing.calibrate.table import ANY, GOALS, MEANT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito 2008, told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_ACROSS, _PANEL = 3, (3.35, 2.55)
_GREY = "#666666"


def detection_figure(
    rates: pd.DataFrame, areas: pd.DataFrame, references: Mapping[str, float]
) -> bytes:
    r"""Draw one panel for each shortcut: share of cohorts in which hurdles for data are hit.

    Black is any of the hurdles, colours are those that are meant to see it; the leftmost point is
    the share of cohorts with nothing planted. Grey is the AUC of a network that has nothing but
    the shortcut to read, and the upright line is where power is judged.
    """
    from matplotlib.figure import Figure

    plants = list(references)
    down = max(-(-len(plants) // _ACROSS), 1)
    height = _PANEL[1] * down + 1.0
    figure = Figure(figsize=(_PANEL[0] * _ACROSS, height), facecolor="white", dpi=130)
    panels = figure.subplots(down, _ACROSS, sharex=True, sharey=True, squeeze=False)
    shown = rates[(rates["part"] == "fresh") & (rates["kind"] == "data")]
    colours = _colours(shown, plants)
    for place, axes in enumerate(panels.flat):
        if place < len(plants):
            _panel(axes, plants[place], shown, areas, references, colours)
            axes.tick_params(labelbottom=place + _ACROSS >= len(plants))
        else:
            axes.set_axis_off()
    _legend(figure, colours, height)
    figure.supxlabel("strength of the shortcut", fontsize=10, y=0.48 / height)
    figure.supylabel("share of cohorts in which the hurdle is hit", fontsize=10, x=0.008)
    figure.subplots_adjust(
        left=0.075, right=0.985, top=1 - 0.32 / height, bottom=0.92 / height, hspace=0.24,
        wspace=0.08,
    )  # fmt: skip
    content = BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _colours(shown: pd.DataFrame, plants: list[str]) -> dict[str, str]:
    """Return a colour for every hurdle for data that is meant to see one of these shortcuts."""
    asked = [str(h) for h in shown["hurdle"].unique()]
    meant = [h for h in asked if any(p in MEANT.get(h, ()) for p in plants)]
    return {hurdle: _COLOURS[i % len(_COLOURS)] for i, hurdle in enumerate(meant)}


def _panel(
    axes: Axes,
    plant: str,
    shown: pd.DataFrame,
    areas: pd.DataFrame,
    references: Mapping[str, float],
    colours: Mapping[str, str],
) -> None:
    most, least = GOALS
    axes.axhspan(0, most, color="#eeeeee", zorder=0)
    axes.axhline(least, color="#bbbbbb", linewidth=0.8, linestyle=":")
    axes.axvline(references[plant], color="#bbbbbb", linewidth=1.0)
    own = areas[areas["plant"] == plant].sort_values("strength")
    axes.plot(own["strength"], own["auc"], color=_GREY, linestyle="--", marker=".", linewidth=1)
    for hurdle, colour in {ANY: "black", **colours}.items():
        if hurdle in colours and plant not in MEANT[hurdle]:
            continue
        _line(axes, shown[shown["hurdle"] == hurdle], plant, colour)
    axes.set_title(plant, fontsize=10, loc="left", pad=3)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(0, 1.03)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _line(axes: Axes, rows: pd.DataFrame, plant: str, colour: str) -> None:
    planted = rows[rows["plant"] == plant]
    if planted.empty:
        return
    # Nothing planted is where every curve begins: cohorts of the same size.
    null = rows[(rows["plant"] == "") & rows["disease"]]
    null = null[null["patients"] == planted["patients"].iloc[0]]
    both = pd.concat([null, planted]).sort_values("strength")
    # Lines that coincide are both seen: the black one is wider, and intervals stand side by side.
    width, aside = (2.8, 0.0) if colour == "black" else (1.3, 0.012)
    axes.plot(both["strength"], both["share"], color=colour, marker="o", markersize=3.2,
              linewidth=width, clip_on=False)  # fmt: skip
    at = both["strength"] + aside
    axes.vlines(at, both["low"], both["high"], color=colour, linewidth=0.8, alpha=0.6)


def _legend(figure: object, colours: Mapping[str, str], height: float) -> None:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    assert isinstance(figure, Figure)
    lines = [("any hurdle for data", "black", "-"), *((h, c, "-") for h, c in colours.items())]
    lines.append(("AUC of a network that reads the shortcut alone", _GREY, "--"))
    handles = [
        Line2D([], [], color=colour, linestyle=style, label=name) for name, colour, style in lines
    ]
    figure.legend(
        handles=handles, loc="lower center", bbox_to_anchor=(0.5, 0.05 / height), frameon=False,
        ncols=min(len(handles), 5), fontsize=8.5,
    )  # fmt: skip
