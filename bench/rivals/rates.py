"""How often either alarms: counts of cohorts, with exact intervals, by what was planted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.limits import ANY, rates_table
from hurdles.calibrating.trials import Record, Trial
from hurdles.evaluation.bounds import exact_share
from hurdles.findings.limits import load_limits

HURDLES, RIVAL = "hurdles", "ShortKit-ML"
#: What is true of a set of cohorts.
CLEAN, ALIKE, PLANTED, NOISE = "clean", "alike", "planted", "noise"
#: A row that is of all shortcuts and strengths together.
ALL = "all"
#: "Multi-method convergence" of ShortKit-ML's own false-positive analysis: so many of these agree.
CONVERGENCE, AGREEING = ("hbac", "probe", "statistical", "geometric"), 2
#: Words of an overall assessment that count, by where the alarm begins.
LEVELS = {"HIGH": ("HIGH",), "MODERATE or HIGH": ("HIGH", "MODERATE")}
KEY = ["tool", "input", "method", "truth", "plant", "strength"]
COLUMNS: dict[str, str] = {
    "tool": "hurdles or ShortKit-ML",
    "input": "hurdles: data or model; ShortKit-ML: images, and their groups",
    "method": "hurdle, method, or overall assessment",
    "truth": "clean, alike (classes that differ in nothing), planted, or noise (no images at all)",
    "plant": "shortcut; of noise, the dimensions; all: together",
    "strength": "of the shortcut, 0 to 1; empty for all together",
    "cohorts": "how many",
    "flagged": "in how many it was hit, or flagged",
    "silent": "in how many it did not run; counted as not flagged",
    "share": "flagged / cohorts",
    "low": "lower end of the exact 95 % interval",
    "high": "upper end",
}


def rates_of(records: Sequence[Record], answers: Mapping[str, dict]) -> pd.DataFrame:
    """Return a row for each tool, question, method and truth; planted ones together as well."""
    counts = pd.DataFrame([*_of_hurdles(records), *_of_rival(answers)])
    # Networks of a strength are as many as of any other, so that all count alike in the sum.
    planted = counts[counts["truth"] == PLANTED]
    together = [
        planted.assign(strength=""),
        planted.assign(plant=ALL),
        planted.assign(plant=ALL, strength=""),
    ]
    every = pd.concat([counts, *together])
    table = every.groupby(KEY, sort=False, as_index=False)[["cohorts", "flagged", "silent"]].sum()
    shares = [
        exact_share(int(f), int(n)) for f, n in zip(table["flagged"], table["cohorts"], strict=True)
    ]
    for end in ("value", "low", "high"):
        name = "share" if end == "value" else end
        table[name] = [round(getattr(share, end), 4) for share in shares]
    return table[list(COLUMNS)]


def _of_hurdles(records: Sequence[Record]) -> Iterator[dict[str, object]]:
    limits = load_limits()
    for given, registry in (("model", MODEL_HURDLES), ("data", DATA_HURDLES)):
        own = [replace(r, asked=tuple(h for h in r.asked if h in registry)) for r in records]
        for row in rates_table(own, limits, {}).to_dict("records"):
            yield {
                "tool": HURDLES,
                "input": given,
                "method": row["hurdle"],
                **_truth(str(row["plant"]), float(row["strength"]), bool(row["disease"])),
                "cohorts": row["cohorts"],
                "flagged": row["hit"],
                "silent": row["could_not_run"],
            }


def _truth(plant: str, strength: float, disease: bool) -> dict[str, object]:
    if plant:
        return {"truth": PLANTED, "plant": plant, "strength": f"{strength:g}"}
    return {"truth": CLEAN if disease else ALIKE, "plant": "", "strength": ""}


def _of_rival(answers: Mapping[str, dict]) -> Iterator[dict[str, object]]:
    for name, answer in answers.items():
        if name.startswith("noise"):
            truth = {"truth": NOISE, "plant": name.split("-")[1], "strength": ""}
        else:
            trial = Trial.parse(name.replace("~", "/"))
            truth = _truth(trial.plant, trial.strength, trial.disease)
        for given, said in answer["answers"].items():
            key = {"tool": RIVAL, "input": given} | truth
            for method, verdict in said["methods"].items():
                flagged = verdict["flagged"]
                silent = flagged is None
                yield key | {"method": method, **_one(bool(flagged), silent)}
            agreeing = sum(bool(said["methods"].get(m, {}).get("flagged")) for m in CONVERGENCE)
            convergence = f"convergence: {AGREEING} of {len(CONVERGENCE)}"
            yield key | {"method": convergence, **_one(agreeing >= AGREEING, False)}
            for methods, by_condition in said["overall"].items():
                for condition, level in by_condition.items():
                    for words, levels in LEVELS.items():
                        overall = f"{methods}, {condition}: {words}"
                        yield key | {"method": overall, **_one(level in levels, False)}


def _one(flagged: bool, silent: bool) -> dict[str, object]:
    return {"cohorts": 1, "flagged": int(flagged), "silent": int(silent)}


def select(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Return the rows that have these values."""
    rows = pd.Series(True, index=table.index)
    for column, value in wanted.items():
        rows &= table[column] == value
    return table[rows]


__all__ = [
    "AGREEING", "ALIKE", "ALL", "ANY", "CLEAN", "COLUMNS", "CONVERGENCE", "HURDLES", "LEVELS",
    "NOISE", "PLANTED", "RIVAL", "rates_of", "select",
]  # fmt: skip
