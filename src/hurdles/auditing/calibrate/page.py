"""What a reader is told: the answer first, then every number, and what was missed.

How the share of detected cohorts grows with the strength of what is planted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from hurdles._version import __version__
from hurdles.auditing.calibrate.calibration import Calibration
from hurdles.auditing.calibrate.limits import ANY, GOALS, MEANT, write_limits
from hurdles.auditing.calibrate.trials import FAULTS
from hurdles.data.files import write_bytes, write_text
from hurdles.data.untrusted import as_csv

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


_STEM = "audit-calibration"
#: A row of the table of rates.
Row: TypeAlias = "Mapping[Any, Any]"


def write_calibration(calibration: Calibration, folder: Path) -> list[Path]:
    """Write the page, the tables, the figure and the limits into a folder; return their paths."""
    page, table, networks, figure, limits = calibration_files(folder)
    write_text(page, calibration_page(calibration))
    for frame, path in ((calibration.rates, table), (calibration.areas, networks)):
        write_text(path, as_csv(frame.round(4)))
    drawn = detection_figure(calibration.rates, calibration.areas, calibration.references)
    write_bytes(figure, drawn)
    return [page, table, networks, figure, write_limits(calibration.limits, limits)]


def calibration_files(folder: Path) -> list[Path]:
    """Return what `write_calibration` writes: page, table, table of networks, figure, limits."""
    ends = (".md", ".csv", ".networks.csv", ".png")
    return [*(folder / f"{_STEM}{end}" for end in ends), folder / "limits.toml"]


def answer_lines(calibration: Calibration) -> list[str]:
    """Return the answer in a few lines, as for a console."""
    rates = calibration.rates
    lines = []
    for part, where in (("fresh", "phantoms"), ("real", "real images")):
        for goal, what in (("<=", "False alarms"), (">=", "Power")):
            rows = rates[(rates["part"] == part) & rates["goal"].str.startswith(goal)]
            if len(rows):
                counts = rows["result"].value_counts()
                said = ", ".join(f"{counts[r]} {r}" for r in _RESULTS if r in counts)
                lines.append(f"{what} on {where}: of {len(rows)} goals {said}.")
    return lines


def calibration_page(calibration: Calibration) -> str:
    """Return the page in Markdown."""
    parts: list[str] = ["# The audit audited", "", *_answer(calibration), ""]
    for section in (_false_alarms, _power, _models, _faults, _real, _references, _limits, _method):
        parts += [*section(calibration), ""]
    return "\n".join(parts).rstrip() + "\n"


_RESULTS = ("met", "not shown", "missed")


def _answer(calibration: Calibration) -> Iterator[str]:
    yield (
        "Every hurdle was tried on cohorts of which it is known what is planted in them: at most 5 "
        "% of those without a shortcut may hit it, and at least 80 % of those with one, at the "
        "strength at which the shortcut alone gives a network an AUC of 0.8."
    )
    yield ""
    for line in answer_lines(calibration):
        yield f"- **{line}**"
    missed = calibration.rates[calibration.rates["result"].isin(["missed", "not shown"])]
    yield ""
    if missed.empty:
        yield "No goal was missed."
        return
    yield f"{len(missed)} goals were not reached:"
    yield ""
    for row in missed.to_dict("records"):
        goal = f"goal {row['goal']} ({row['result']})"
        yield f"- {_condition(row)}: {_named(row)} {_share(row)}, {goal}."


def _false_alarms(calibration: Calibration) -> Iterator[str]:
    rates = calibration.rates
    rows = rates[(rates["plant"] == "") & (rates["part"] == "fresh")]
    yield "## False alarms: nothing planted"
    yield ""
    yield (
        "Fresh cohorts, drawn from other phantoms than those that the limits come from. Where the "
        "classes have a disease, hurdles must not take it for a shortcut."
    )
    yield ""
    columns = rows[["kind", "patients", "disease"]].drop_duplicates().to_dict("records")
    heads = [
        f"{c['kind']}, {c['patients']} patients, {'disease' if c['disease'] else 'classes alike'}"
        for c in columns
    ]
    yield from _table(["hurdle", *heads], (
        [_named({"hurdle": h}), *(_cell(_only(rows, {"hurdle": h, **c})) for c in columns)]
        for h in _in_order(rows, [""])
    ))  # fmt: skip


def _power(calibration: Calibration) -> Iterator[str]:
    yield "## Power: hurdles for data"
    yield ""
    yield f"![Share of cohorts in which hurdles are hit, by strength]({_STEM}.png)"
    yield ""
    yield from _matrix(calibration, "data", "fresh")


def _models(calibration: Calibration) -> Iterator[str]:
    if (calibration.rates["kind"] == "model").any():
        yield "## Power: hurdles for models"
        yield ""
        yield (
            "A network `small` was trained on every cohort, and put before the hurdles with images "
            "of other patients, among whom the shortcut points to no class."
        )
        yield ""
        yield from _matrix(calibration, "model", "fresh")


def _faults(calibration: Calibration) -> Iterator[str]:
    rates = calibration.rates
    rows = rates[rates["plant"].isin(FAULTS.names()) & rates["judged"]]
    if rows.empty:
        return
    yield "## Faults of tables and files"
    yield ""
    heads = ["planted", "cases", "hurdle", "share of cohorts in which it is hit", "goal"]
    yield from _table(heads, (
        [FAULTS.get(r["plant"]).says, f"{r['strength']:g}", r["hurdle"], _cell(r), r["result"]]
        for r in rows.to_dict("records")
    ))  # fmt: skip


def _real(calibration: Calibration) -> Iterator[str]:
    yield "## Planted into real images"
    yield ""
    rows = calibration.rates[calibration.rates["part"] == "real"]
    if rows.empty:
        yield "Not tried: no folder of collections was named."
        return
    yield (
        "Adults without findings of NIH ChestX-ray8, to whom classes are dealt by chance: what "
        "distinguishes the classes is what was planted. Limits are those of the phantoms."
    )
    yield ""
    null = rows[rows["plant"] == ""]
    yield from _table(["hurdle", "nothing planted"], (
        [_named(r), _cell(r)] for r in null.to_dict("records")
    ))  # fmt: skip
    yield ""
    yield from _matrix(calibration, "data", "real")


def _references(calibration: Calibration) -> Iterator[str]:
    yield "## What a network makes of a shortcut alone"
    yield ""
    yield (
        "Classes that differ in nothing else; mean AUC on patients that the network never saw, and "
        "its range. A shortcut of strength s that is read perfectly gives 0.5 + s / 2, so weaker "
        "ones than 0.6 cannot give 0.8."
    )
    yield ""
    areas = calibration.areas
    grid = sorted(areas["strength"].unique())
    heads = ["shortcut", *(f"{s:g}" for s in grid), "power is judged at"]
    rows = []
    for plant, own in areas.groupby("plant", sort=False):
        cells = {r["strength"]: r for r in own.to_dict("records")}
        told = [f"{cells[s]['auc']:.2f} ({cells[s]['lowest']:.2f}-{cells[s]['highest']:.2f})"
                if s in cells else "" for s in grid]  # fmt: skip
        reached = bool((own["auc"] >= 0.8).any())
        at = f"{calibration.references[str(plant)]:g}"
        rows.append([str(plant), *told, at if reached else f"{at}, though it never gives 0.8"])
    yield from _table(heads, rows)


def _limits(calibration: Calibration) -> Iterator[str]:
    yield "## Limits"
    yield ""
    rows = [
        [hurdle, subject or "all others", f"{limit.beyond} {limit.value:g}", limit.source]
        for (hurdle, subject), limit in calibration.limits.items()
    ]
    yield from _table(["hurdle", "of what", "hit", "source"], rows)


def _method(calibration: Calibration) -> Iterator[str]:
    p = calibration.profile
    larger = ", ".join(str(s) for s in p.sizes if s != p.patients)
    yield "## How it was made"
    yield ""
    yield (
        f"`hurdles calibrate-audit`, profile {p.name}, hurdles {__version__}: "
        f"{calibration.cohorts:,} cohorts of phantoms of {p.size} pixels, "
        f"{calibration.seconds / 60:.0f} minutes on one core. A cohort has {p.patients} patients"
        f"{f' (without a shortcut also {larger})' if larger else ''}, "
        "two classes, three hospitals, and a split of 60, 15 and 25 % by patient. Cohorts of "
        "calibration and fresh ones share no phantom and no hospital."
    )
    yield ""
    yield (
        "What this does not show. Lungs are those of the phantom, so errors of the lung network "
        "are not among the false alarms. Cohorts of one pool share patients. The limits of hurdles "
        "that see the disease itself depend on how visible that is in the phantoms, and cohorts "
        f"of more than {max(p.sizes)} patients were not tried: their intervals are narrower. "
        "Networks are small and trained for seconds."
    )


def _matrix(calibration: Calibration, kind: str, part: str) -> Iterator[str]:
    """Yield shortcuts x hurdles at the reference strength; what is meant to see it is in bold."""
    rates = calibration.rates
    rows = rates[(rates["kind"] == kind) & (rates["part"] == part)]
    shortcuts = list(calibration.references)
    hurdles = _in_order(rows[rows["strength"].isin(calibration.references.values())], shortcuts)
    yield "Bold: meant to see the shortcut, and all of them together; * the goal is not reached."
    yield ""
    lines = []
    for plant, strength in calibration.references.items():
        here = rows[(rows["plant"] == plant) & (rows["strength"] == strength)]
        if len(here):
            cells = [_marked(_only(here, {"hurdle": h})) for h in hurdles]
            lines.append([f"{plant}, {strength:g}", *cells])
    yield from _table(["shortcut, strength", *(_named({"hurdle": h}) for h in hurdles)], lines)


def _in_order(rows: pd.DataFrame, plants: Sequence[str]) -> list[str]:
    """Return the hurdles that were asked about one of these, all of them together last."""
    asked = rows.loc[rows["plant"].isin(plants), "hurdle"].unique()
    return sorted(asked, key=lambda hurdle: hurdle == ANY)


def _marked(row: Row | None) -> str:
    cell = _cell(row)
    if row is None or not row["judged"]:
        return cell
    return f"**{cell}**" if row["result"] == "met" else f"**{cell}** *"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row["could_not_run"] == row["cohorts"]:
        return "could not run"
    return _share(row)


def _share(row: Row) -> str:
    low, high = (100 * float(row[k]) for k in ("low", "high"))
    return f"{row['hit']}/{row['cohorts']} [{low:.0f}, {high:.0f} %]"


def _condition(row: Row) -> str:
    where = "real images" if row["part"] == "real" else f"{row['patients']} patients"
    if not row["plant"]:
        return f"nothing planted, {'disease' if row['disease'] else 'classes alike'}, {where}"
    return f"{row['plant']} {row['strength']:g}, {where}"


def _named(row: Row) -> str:
    return "any of them" if row["hurdle"] == ANY else f"`{row['hurdle']}`"


def _only(rows: pd.DataFrame, columns: Row) -> Row | None:
    for column, value in columns.items():
        rows = rows[rows[column] == value]
    found = rows.to_dict("records")
    return found[0] if found else None


def _table(heads: Sequence[str], rows: Iterator[list[str]] | list[list[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + " --- |" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
