"""The train x test matrix as a picture: one number with its interval in every cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: one cell, the names of the rows, what stands above, below and beside the cells.
_CELL, _ROW, _ABOVE, _BELOW, _BESIDE = 1.18, 0.52, 1.35, 0.85, 0.75
_LETTER = 0.078
#: Chance is the middle of a scale on which better and worse than chance differ in hue.
_MAP, _CHANCE = "PuOr", 0.5


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

    Examples
    --------
    >>> row = {"model": "ours", "test": "ward", "measure": "auc", "n_images": 50}
    >>> table = pd.DataFrame([{**row, "value": 0.8, "low": 0.7, "high": 0.9}])
    >>> matrix_figure(table, inside={"ours": "ward"})[:4]
    b'\x89PNG'
    """
    rows = table[table["measure"] == measure]
    if rows.empty:
        raise ValueError(f"the table has no row of {measure!r}; nothing can be drawn.")
    if rows.duplicated(["model", "test"]).any():
        twice = rows[rows.duplicated(["model", "test"])].iloc[0]
        raise ValueError(f"{twice['model']!r} on {twice['test']!r} stands twice in the table.")
    order = _ordered(models, rows["model"]), _ordered(tests, rows["test"])
    figure, axes = _canvas(*order)
    _draw(axes, rows, *order, inside)
    _name(axes, *order, title, notes)
    buffer = BytesIO()
    # Without a date and with fixed ids the same numbers give the same file.
    plain: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {}
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "hurdles"}):
        figure.savefig(buffer, format=form, dpi=130, **plain)
    return buffer.getvalue()


def _ordered(named: Sequence[str], there: pd.Series[str]) -> list[str]:
    found = list(dict.fromkeys(there))
    return [n for n in named if n in found] + [n for n in found if n not in named]


def _canvas(models: list[str], tests: list[str]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    left = 0.3 + _LETTER * max(map(len, models))
    width = left + _CELL * len(tests) + _BESIDE
    height = _ABOVE + _ROW * len(models) + _BELOW
    figure = Figure(figsize=(width, height), facecolor="white")
    box = (
        left / width,
        _BELOW / height,
        _CELL * len(tests) / width,
        _ROW * len(models) / height,
    )
    axes = figure.add_axes(box)
    axes.set_xlim(0, len(tests))
    axes.set_ylim(len(models), 0)
    return figure, axes


def _draw(
    axes: Axes,
    rows: pd.DataFrame,
    models: list[str],
    tests: list[str],
    inside: Mapping[str, str],
) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    scale, colours = Normalize(0, 2 * _CHANCE), colormaps[_MAP]
    for row in rows.itertuples():
        x, y = tests.index(str(row.test)), models.index(str(row.model))
        # pandas types a row of itertuples as str, int or anything else; these columns are floats.
        value, low, high = float(row.value), float(row.low), float(row.high)  # type: ignore[arg-type] # a row
        if math.isnan(value):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#eeeeee", edgecolor="#999999",
                                     hatch="///", linewidth=0))  # fmt: skip
            axes.text(x + 0.5, y + 0.5, "undefined", ha="center", va="center", fontsize=7,
                      bbox={"facecolor": "#eeeeee", "edgecolor": "none", "pad": 1})  # fmt: skip
        else:
            colour = colours(scale(value))
            light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 0.5
            ink = "black" if light else "white"
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, linewidth=0))
            axes.text(x + 0.5, y + 0.36, f"{value:.2f}", ha="center", va="center", color=ink,
                      fontsize=11, fontweight="bold")  # fmt: skip
            axes.text(x + 0.5, y + 0.74, f"{low:.2f}-{high:.2f}, n={row.n_images}", ha="center",
                      va="center", color=ink, fontsize=6.5)  # fmt: skip
    for line in range(len(models) + 1):
        axes.axhline(line, color="white", linewidth=1.5)
    for line in range(len(tests) + 1):
        axes.axvline(line, color="white", linewidth=1.5)
    for model, test in inside.items():
        if model in models and test in tests:
            corner = (tests.index(test) + 0.03, models.index(model) + 0.05)
            axes.add_patch(Rectangle(corner, 0.94, 0.9, fill=False, edgecolor="black",
                                     linewidth=2.2, zorder=3, label="inside"))  # fmt: skip


def _name(
    axes: Axes, models: list[str], tests: list[str], title: str, notes: Sequence[str]
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    axes.set_xticks([i + 0.5 for i in range(len(tests))], [_broken(t) for t in tests], fontsize=8.5)
    axes.set_yticks([i + 0.5 for i in range(len(models))], models, fontsize=8.5)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure = axes.figure
    # Typed as possibly none or a figure inside a figure; these axes stand in a whole one.
    width, height = figure.get_figwidth(), figure.get_figheight()  # type: ignore[union-attr] # drawn
    figure.text(0.15 / width, 1 - 0.32 / height, title, fontsize=12, fontweight="bold")
    figure.text(0.15 / width, 1 - 0.62 / height, "rows: trained on; columns: tested on",
                fontsize=9, color="#444444")  # fmt: skip
    for number, note in enumerate(notes):
        figure.text(0.15 / width, (_BELOW - 0.32 - 0.19 * number) / height, note, fontsize=8,
                    color="#444444")  # fmt: skip
    bar = axes.inset_axes((1.02 + 0.1 / len(tests), 0.0, 0.14 / (_CELL * len(tests)), 1.0))
    figure.colorbar(ScalarMappable(Normalize(0, 2 * _CHANCE), _MAP), cax=bar, ticks=[0, 0.5, 1])
    bar.tick_params(labelsize=8)


def _broken(name: str) -> str:
    """Break a long name after a plus sign or a blank, so that columns stay narrow."""
    if len(name) <= 13:
        return name
    middle = len(name) / 2
    places = [i for i, sign in enumerate(name) if sign in "+ " and 0 < i < len(name) - 1]
    if not places:
        return name
    place = min(places, key=lambda i: abs(i - middle))
    return f"{name[: place + 1].rstrip()}\n{name[place + 1 :]}"
