"""Page of a calibration: the answer first, then every number, and what was missed.

Its figure shows how the share of detected cohorts grows with the strength of what is planted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from hurdles._version import __version__
from hurdles.calibrating.calibration import Calibration
from hurdles.calibrating.cohorts import REAL
from hurdles.calibrating.figure import detection_figure
from hurdles.calibrating.limits import (
    ANY,
    GOALS,
    GOALS_OF_ALL,
    NEVER_CLEAN,
    can_be_met,
    write_limits,
)
from hurdles.calibrating.trials import FAULTS, FRESH, MODELS
from hurdles.data.files import write_bytes, write_text
from hurdles.data.untrusted import as_csv
from hurdles.evaluation.bounds import exact_share
from hurdles.reporting.wording import and_list

_STEM = "audit-calibration"
#: Kinds of models in words.
_MODELS = {
    "small": "A network `small`",
    "pipeline": "A logistic regression on principal components, behind a function,",
    "resnet-18": "A ResNet-18, from which no limit is set,",
}
_RESULTS = ("met", "not shown", "missed")
#: A row of the table of rates.
Row: TypeAlias = "Mapping[Any, Any]"


def write_calibration(calibration: Calibration, folder: Path) -> list[Path]:
    """Write the page, the tables, the figure and the limits into a folder; return their paths."""
    page, table, networks, figure, limits = calibration_files(folder)
    write_text(page, calibration_page(calibration))
    p_values = ["p", "p_of_all"]  # of which few digits after the point are nothing
    rates = calibration.rates.round(4)
    rates[p_values] = calibration.rates[p_values].map(lambda p: float(f"{p:.4g}"))
    for frame, path in ((rates, table), (calibration.areas.round(4), networks)):
        write_text(path, as_csv(frame))
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
    for part in rates["part"].unique():
        where = "phantoms" if part == FRESH else f"real images of {part}"
        for goal, what in (("<=", "False alarms"), (">=", "Power")):
            rows = rates[(rates["part"] == part) & rates["goal"].str.startswith(goal)]
            if len(rows):
                counts = rows["result"].value_counts()
                results = ", ".join(f"{counts[r]} {r}" for r in _RESULTS if r in counts)
                lines.append(f"{what} on {where}: of {len(rows)} goals {results}.")
    judged = rates[rates["goal"] != ""]
    sure = judged.loc[judged["p_of_all"] < 0.05, "result"].value_counts()
    if len(judged) > 1:
        results = ", ".join(f"{sure.get(r, 0)} {r}" for r in ("met", "missed"))
        lines.append(f"Of all {len(judged)} goals, held against chance at once (Holm): {results}.")
    if beyond := len(judged) - sum(map(can_be_met, judged["goal"], judged["cohorts"])):
        lines.append(f"{beyond} goals could not be met by so few cohorts, whatever hits them.")
    if calibration.left:
        lines.append(f"{calibration.left:,} cohorts are left: the same command goes on with them.")
    return lines


def calibration_page(calibration: Calibration) -> str:
    """Return the page in Markdown."""
    limits = (
        [hurdle, subject or "all others", f"{limit.beyond} {limit.value:g}", limit.source]
        for (hurdle, subject), limit in calibration.limits.items()
    )
    models = [
        paragraph
        for kind in MODELS
        if (calibration.rates["kind"] == kind).any()
        for paragraph in (
            f"## Power: hurdles for models, `{kind}`",
            f"{_MODELS[kind]} was trained on every cohort, and put before the hurdles with images "
            "of other patients, among whom the shortcut points to no class.",
            *_power(calibration, kind, FRESH),
        )
    ]
    paragraphs = [
        "# The audit audited",
        *_answer(calibration),
        "## Hurdle by hurdle",
        "Cohorts that hit it, of how many, with the exact 95 % interval in percent. Bold: the goal "
        "is met; where it is not *missed* either, so few cohorts do not show it.",
        hurdle_table(calibration.rates),
        *_false_alarms(calibration.rates),
        "## Power: hurdles for data",
        f"![Share of cohorts in which hurdles are hit, by strength]({_STEM}.png)",
        *_power(calibration, "data", FRESH),
        *models,
        *_faults(calibration.rates),
        *_sizes(calibration.sizes),
        *_real(calibration),
        *_references(calibration),
        "## Limits",
        _table(["hurdle", "of what", "hit", "source"], limits),
        *_own_limits(calibration.own_limits),
        *_method(calibration),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _answer(calibration: Calibration) -> list[str]:
    introduction = (
        "Every hurdle was tried on cohorts of which it is known what is planted in them: at most "
        f"{GOALS[0]:.1%} of those without a shortcut may hit it, and at least {GOALS[1]:.0%} of "
        "those with one that it is meant to see, at the strength at which the shortcut alone gives "
        f"a network an AUC of 0.8; of all together, at most {GOALS_OF_ALL[0]:.0%} and at least "
        f"{GOALS_OF_ALL[1]:.0%}. A goal is met or missed where the 95 % interval says so; else it "
        "is not shown."
    )
    answer = "\n".join(f"- **{line}**" for line in answer_lines(calibration))
    rates = calibration.rates
    missed = rates[rates["result"] == "missed"]
    if missed.empty:
        return [introduction, answer, "No goal was missed."]
    lines = []
    for row in missed.to_dict("records"):
        where = _patients(row) if row["part"] == FRESH else f"real images of {row['part']}"
        classes = "disease" if row["disease"] else "classes alike"
        planted = f"{row['plant']} {row['strength']:g}"
        condition = planted if row["plant"] else f"nothing planted, {classes}"
        lines.append(
            f"- {row['kind']}, {condition}, {where}: {_hurdle(row['hurdle'])} {_share(row)}, goal "
            f"{row['goal']} ({row['result']})."
        )
    return [introduction, answer, f"{len(missed)} goals were missed:", "\n".join(lines)]


def hurdle_table(rates: pd.DataFrame) -> str:
    """Return a row for each hurdle, kind and place: its false alarms, and what it is to see.

    ``docs/hurdles.md`` holds the same lines.
    """
    judged = rates[rates["judged"].astype(bool) & ~rates["plant"].isin(FAULTS.names())]
    place = judged["part"].where(
        judged["part"] != FRESH, np.where(judged["disease"], "phantoms", "phantoms, alike")
    )
    lines = []
    for key, rows in judged.groupby(["kind", "hurdle", place], sort=False):
        kind, hurdle, where = map(str, key)
        alarms = [_marked(r) for r in rows[rows["plant"] == ""].to_dict("records")]
        seen = [f"{r['plant']} {_marked(r)}" for r in rows[rows["plant"] != ""].to_dict("records")]
        lines.append([_hurdle(hurdle), kind, where, "".join(alarms), "; ".join(seen)])
    heads = ["hurdle", "of", "on", "false alarms", "shortcuts that it is meant to see"]
    return _table(heads, lines)


def _marked(row: Row) -> str:
    low, high = (100 * float(row[k]) for k in ("low", "high"))
    share = f"{row['hit']}/{row['cohorts']} [{low:.0f}, {high:.0f}]"
    return {"met": f"**{share}**", "missed": f"{share} *missed*"}.get(str(row["result"]), share)


def _false_alarms(rates: pd.DataFrame) -> list[str]:
    rows = rates[(rates["plant"] == "") & (rates["part"] == FRESH)]
    columns = rows[["kind", "patients", "disease"]].drop_duplicates().to_dict("records")
    heads = [
        f"{c['kind']}, {_patients(c)}, {'disease' if c['disease'] else 'classes alike'}"
        for c in columns
    ]
    lines = (
        [_hurdle(h), *(_cell(_only(rows, {"hurdle": h, **c})) for c in columns)]
        for h in _hurdles(rows)
    )
    return [
        "## False alarms: nothing planted",
        "Fresh cohorts, drawn from other phantoms than those that the limits come from. Where the "
        "classes have a disease, hurdles must not take it for a shortcut.",
        _table(["hurdle", *heads], lines),
    ]


def _patients(row: Row) -> str:
    return f"{row['patients']} patients" if row["patients"] else "all sizes"


def _faults(rates: pd.DataFrame) -> list[str]:
    rows = rates[rates["plant"].isin(FAULTS.names()) & rates["judged"]]
    if rows.empty:
        return []
    heads = ["planted", "cases", "hurdle", "share of cohorts in which it is hit", "goal"]
    lines = (
        [
            FAULTS.get(r["plant"]).description,
            f"{r['strength']:g}",
            r["hurdle"],
            _cell(r),
            r["result"],
        ]
        for r in rows.to_dict("records")
    )
    return ["## Faults of tables and files", _table(heads, lines)]


def _real(calibration: Calibration) -> list[str]:
    head = "## Planted into real images"
    rates = calibration.rates
    tried = [name for name in REAL if (rates["part"] == name).any()]
    if not tried:
        return [head, "Not tried: no folder of collections was named."]
    paragraphs = [
        head,
        "Patients of one hospital without a finding, to whom classes are dealt by chance: what "
        "distinguishes the classes is what was planted. Limits are those of the phantoms, "
        "references as well. Cohorts of a collection share most of its patients.",
    ]
    for name in tried:
        rows = rates[rates["part"] == name]
        for kind in rows["kind"].unique():
            null = rows[(rows["plant"] == "") & (rows["kind"] == kind)].to_dict("records")
            cells = ([_hurdle(r["hurdle"]), _cell(r)] for r in null)
            paragraphs += [
                f"### {name}, {kind}",
                f"{REAL[name].who[0].upper()}{REAL[name].who[1:]}.",
                _table(["hurdle", "nothing planted"], cells),
                *_power(calibration, kind, name),
            ]
    return paragraphs


def _sizes(table: pd.DataFrame) -> list[str]:
    draws = sorted(set(zip(table["patients"], table["pool"], strict=True)))
    if len(draws) < 2:
        return []
    lines = []
    for kind, own in table.groupby("kind", sort=False):
        planted = own[own["plant"] != ""]
        parts = {"nothing, false alarms": own[own["plant"] == ""]}
        parts |= {str(plant): rows for plant, rows in planted.groupby("plant")}
        parts |= {"any shortcut, power": planted}
        for what, rows in parts.items():
            counts = rows.groupby(["patients", "pool"])[["hit", "cohorts"]].sum()
            each = counts.reindex(draws, fill_value=0).to_numpy().tolist()
            lines.append([str(kind), what, *itertools.starmap(_counted, each)])
    without = and_list([f"`{name}`" for name in NEVER_CLEAN])
    return [
        "## By size of cohort and pool of phantoms",
        "Cohorts, of how many, in which any of the hurdles is hit that have a goal for false "
        f"alarms ({without} have none). Each pool has patients and three hospitals of its own. "
        "Goals hold for each shortcut and all sizes together; so few cohorts of one size and pool "
        "show none.",
        _table(["of", "planted", *(f"{n} patients, pool {pool + 1}" for n, pool in draws)], lines),
    ]


def _references(calibration: Calibration) -> list[str]:
    areas = calibration.areas
    grid = sorted(areas["strength"].unique())
    heads = ["shortcut", *(f"{s:g}" for s in grid), "power is judged at"]
    lines = []
    for plant, own in areas.groupby("plant", sort=False):
        cells = {
            r["strength"]: f"{r['auc']:.2f} ({r['lowest']:.2f}-{r['highest']:.2f})"
            for r in own.to_dict("records")
        }
        at = f"{calibration.references[str(plant)]:g}"
        never = "" if (own["auc"] >= 0.8).any() else ", though it never gives 0.8"
        lines.append([str(plant), *(cells.get(s, "") for s in grid), at + never])
    return [
        "## What a network makes of a shortcut alone",
        "Classes that differ in nothing else; mean AUC on patients that the network never saw, and "
        "its range. A shortcut of strength s that is read perfectly gives 0.5 + s / 2, so weaker "
        "ones than 0.6 cannot give 0.8.",
        _table(heads, lines),
    ]


def _own_limits(table: pd.DataFrame) -> list[str]:
    if table.empty:
        return []
    lines = (
        [
            *(_hurdle(r["hurdle"]), r["kind"], r["what"]),
            *(_counted(r[limits], r["cohorts"]) for limits in ("shared", "own")),
        ]
        for r in table.to_dict("records")
    )
    return [
        "## Were each kind of models held against limits of its own",
        "The limits above are the laxest of all kinds, so that they hold for models of which "
        "nothing is known. The same fresh cohorts, held against limits from clean cohorts of their "
        "own kind alone, which are never laxer: what they hit beside the others is all the "
        "difference. Power is over all shortcuts that the hurdle is meant to see. Where both give "
        "the same, nothing is listed.",
        _table(["hurdle", "of", "what", "limits above", "limits of its kind"], lines),
    ]


def _method(calibration: Calibration) -> list[str]:
    from hurdles.training.machine import environment, in_words

    p = calibration.profile
    return [
        "## How it was made",
        f"`hurdles calibrate-audit`, profile {p.name}, hurdles {__version__}: "
        f"{calibration.cohorts:,} cohorts of images of {p.size} pixels, {calibration.left:,} are "
        f"left; {calibration.seconds / 60:.0f} minutes of one process. A cohort has "
        f"{' or '.join(map(str, p.sizes))} patients, each size by turns from every pool "
        f"({p.patients} where a network reads a shortcut alone, at other strengths, where classes "
        "are alike, in real images, and with faults), "
        "two classes, three hospitals, and a split of 60, 15 and 25 % by patient. Cohorts of "
        "calibration and fresh ones share no phantom and no hospital.",
        "What this does not show. Lungs of phantoms are theirs, so errors of the lung network "
        "are among the false alarms on real images alone. Cohorts of one pool share patients, and "
        "intervals do not say what other hospitals would give. The "
        "limits of hurdles that see the disease itself depend on how visible that is in the "
        f"phantoms, and cohorts of more than {max(p.sizes)} patients were not tried: their "
        "intervals are narrower. Networks are small and trained for seconds.",
        f"Made with {in_words(environment())}.",
    ]


def _power(calibration: Calibration, kind: str, part: str) -> list[str]:
    """Return shortcuts x hurdles at the reference strength; what is meant to see it is in bold."""
    rates, references = calibration.rates, calibration.references
    rows = rates[(rates["kind"] == kind) & (rates["part"] == part) & rates["whole"]]
    at_reference = rows["strength"].isin(references.values()) & rows["plant"].isin(references)
    hurdles = _hurdles(rows[at_reference])

    def marked(row: Row | None) -> str:
        cell = _cell(row)
        if row is None or not row["judged"]:
            return cell
        return f"**{cell}**" if row["result"] == "met" else f"**{cell}** *"

    lines = []
    for plant, strength in references.items():
        here = rows[(rows["plant"] == plant) & (rows["strength"] == strength)]
        if len(here):
            cells = [marked(_only(here, {"hurdle": h})) for h in hurdles]
            lines.append([f"{plant}, {strength:g}", *cells])
    return [
        "Bold: meant to see the shortcut, and all of them together; * the goal is not reached.",
        _table(["shortcut, strength", *map(_hurdle, hurdles)], lines),
    ]


def _hurdles(rows: pd.DataFrame) -> list[str]:
    """Return the hurdles that were asked, all of them together last."""
    return sorted(rows["hurdle"].unique(), key=lambda hurdle: hurdle == ANY)


def _hurdle(name: str) -> str:
    return "any of them" if name == ANY else f"`{name}`"


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return "could not run" if row["could_not_run"] == row["cohorts"] else _share(row)


def _share(row: Row) -> str:
    low, high = (100 * float(row[k]) for k in ("low", "high"))
    return f"{row['hit']}/{row['cohorts']} [{low:.0f}, {high:.0f} %]"


def _counted(hit: int, cohorts: int) -> str:
    """Return a share that the table of rates does not hold; nothing where there is none."""
    if not cohorts:
        return ""
    rate = exact_share(hit, cohorts)
    return _share({"hit": hit, "cohorts": cohorts, "low": rate.low, "high": rate.high})


def _only(rows: pd.DataFrame, columns: Row) -> Row | None:
    for column, value in columns.items():
        rows = rows[rows[column] == value]
    return next(iter(rows.to_dict("records")), None)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(cells) for cells in (heads, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], "|" + " --- |" * len(heads), *lines[1:]])
