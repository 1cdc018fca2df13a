"""The page of the remedies: every sentence follows from what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from hurdles.recipe.remedies import REMEDIES
from hurdles.studies.remedies_sets import STRENGTH, Trial
from hurdles.studies.remedies_tables import NONE
from hurdles.studies.study import Profile

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEVEL = 0.05


def page(
    trials: Sequence[Trial],
    profile: Profile,
    table: pd.DataFrame,
    cells: pd.DataFrame,
    made_on: str = "",
) -> str:
    """Return the study's page in Markdown, from whatever is done."""
    parts = ["# Remedies: what they gain outside, and what they cost inside\n", _head(profile)]
    parts.append(_in_short(trials, table))
    parts += [_trial(trial, table, cells) for trial in trials]
    parts.append(_legend())
    if made_on:
        parts.append(f"Made by `hurdles study remedies`: {made_on}.\n")
    parts.append("Research use only; not a medical device.\n")
    return "\n".join(parts)


def _head(profile: Profile) -> str:
    return (
        f"Each remedy is added to one and the same recipe (network `small`, raw images, "
        f"{profile.explanation}). In every trial {100 * STRENGTH:.0f} of 100 training images "
        "follow the coincidence of class and source or mark, except in `covid`, where it is what "
        "the collections bring along. *Inside* are test images of the same kind, *outside* images "
        "in which class and source do not go together. Areas under the curve, means over seeds; "
        "changes against no remedy are paired on the same images, with 95 % intervals by patient "
        "of each change alone and p-values corrected (Holm) over the remedies of a trial. Nothing "
        "was chosen on test images.\n"
    )


def _in_short(trials: Sequence[Trial], table: pd.DataFrame) -> str:
    lines = ["## In short\n"]
    for trial in trials:
        rows = table[table["trial"] == trial.name]
        if not len(rows):
            lines.append(f"- `{trial.name}`: nothing is done yet.")
            continue
        plain = rows[rows["remedy"] == NONE]
        start = (
            f"without a remedy {plain['inside'].iloc[0]:.3f} inside and "
            f"{plain['outside'].iloc[0]:.3f} outside"
            if len(plain)
            else "no run without a remedy yet"
        )
        told = "; ".join(_told(rows))
        lines.append(f"- `{trial.name}`: {start}; {told}.")
    return "\n".join(lines) + "\n"


def _told(rows: pd.DataFrame) -> Iterator[str]:
    tried = rows[rows["remedy"] != NONE]
    for part, words in (("outside", "gains outside"), ("outside", "loses outside"),
                        ("inside", "costs inside")):  # fmt: skip
        sign = 1 if words.startswith("gains") else -1
        shown = tried[(tried[f"{part} p"] < _LEVEL) & (sign * tried[f"{part} change"] > 0)]
        named = ", ".join(
            f"{r['remedy']} ({r[f'{part} change']:+.3f} [{r[f'{part} low']:+.3f}, "
            f"{r[f'{part} high']:+.3f}])"
            for _, r in shown.iterrows()
        )
        yield f"{words}: {named or 'none is shown to'}"


def _trial(trial: Trial, table: pd.DataFrame, cells: pd.DataFrame) -> str:
    rows = table[table["trial"] == trial.name]
    mine = cells[cells["trial"] == trial.name]
    lines = [f"## {trial.name}\n", f"{trial.says} The area is that of {trial.positive}.\n"]
    if len(rows):
        done = mine[mine["status"] == "done"]
        lines.append(
            f"{done['images inside'].max():.0f} images inside, "
            f"{done['images outside'].max():.0f} outside.\n"
        )
        lines.append("| remedy | inside | change | p | outside | change | p | answered outside |")
        lines.append("|---|---|---|---|---|---|---|---|")
        for _, row in rows.iterrows():
            answered = done.loc[done["remedy"] == row["remedy"], "answered outside"].mean()
            lines.append(f"{_cells(row)} {100 * answered:.0f} % |")
        lines.append("")
    why = mine[mine["status"] == "not possible"].drop_duplicates("remedy")
    lines += [f"- `{r['remedy']}` is not possible here: {r['message']}" for _, r in why.iterrows()]
    pending = int((mine["status"] == "pending").sum())
    if pending:
        lines.append(f"- {pending} of {len(mine)} cells are pending.")
    return "\n".join(lines) + "\n"


def _cells(row: pd.Series) -> str:
    said = [f"| {row['remedy']} |"]
    for part in ("inside", "outside"):
        spread = f"{row[f'{part} least']:.3f}-{row[f'{part} most']:.3f}"
        said.append(f" {row[part]:.3f} ({spread}) |")
        if math.isnan(float(row[f"{part} change"])):
            said.append(" | |")
            continue
        bounds = f"[{row[f'{part} low']:+.3f}, {row[f'{part} high']:+.3f}]"
        said.append(f" {row[f'{part} change']:+.3f} {bounds} | {_p(row[f'{part} p'])} |")
    return "".join(said)


def _p(value: float) -> str:
    if math.isnan(value):
        return "undefined"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _legend() -> str:
    lines = ["## The remedies\n"]
    lines += [f"- `{name}`: {REMEDIES.get(name).effect}." for name in REMEDIES]
    lines.append(
        "\nIn brackets behind an area: the smallest and the largest of the seeds. `reject` answers "
        "fewer images: its areas are of those that it answers.\n"
    )
    return "\n".join(lines)
