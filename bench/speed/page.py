"""The table of all rows: a CSV for each kind of processor, with every turn, and one page of all."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from pairs import Goal, Row, Turn, kind_of_processor, profile_of, take_turns

INTRODUCTION = """# Speed

Made by `make bench`. Each row's sides are processes of their own that take short turns in one run,
since hosts change speed; a ratio is the median of the ratios of neighboring turns, with its range.
Ratios say how many times *better* hurdles is. Every turn stands in the CSV of its kind of
processor. Research use only; not a medical device.
"""

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


class Record:
    """The turns of every row on one kind of processor, and how they were made."""

    def __init__(self, kind: str | None = None, folder: Path = RESULTS) -> None:
        self.kind = kind or kind_of_processor()
        self.table = folder / f"bench.{self.kind}.csv"
        self.facts = folder / f"bench.{self.kind}.json"
        self.turns = pd.read_csv(self.table) if self.table.exists() else pd.DataFrame()
        self.made = json.loads(self.facts.read_text("utf-8")) if self.facts.exists() else {}

    @classmethod
    def all(cls, folder: Path = RESULTS) -> list[Record]:
        """Return the records of all kinds of processors that are there."""
        files = sorted(folder.glob("bench.*.csv"))
        return [cls(file.name.split(".")[1], folder) for file in files]

    def is_fresh(self, row: Row, hours: float) -> bool:
        """Tell whether the row was measured within so many hours."""
        made = self.made.get(row.name)
        if made is None:
            return False
        age = datetime.now(UTC) - datetime.fromisoformat(made["at"])
        return age < timedelta(hours=hours)

    def measure(self, row: Row) -> None:
        """Take the turns of a row and keep them in the place of what was measured before."""
        load = os.getloadavg()[0]
        self.put(row, list(take_turns(row)), load)

    def put(self, row: Row, turns: Sequence[Turn], load: float) -> None:
        """Keep the turns of a row, load and versions, and a profile if a goal is missed."""
        from hurdles.training.machine import environment, in_words, this_machine

        new = pd.DataFrame([{"row": row.name, **vars(turn)} for turn in turns])
        old = self.turns[self.turns["row"] != row.name] if len(self.turns) else self.turns
        self.turns = pd.concat([old, new], ignore_index=True)
        self.made[row.name] = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": round(load, 2),
            "cores": os.cpu_count(),
            "machine": in_words(environment(this_machine())),
        }
        if row.profile and any(self.meets(row, goal) is False for goal in row.goals):
            self.made[row.name]["profile"] = profile_of(row)
        self.turns.round(4).to_csv(self.table, index=False)
        self.facts.write_text(json.dumps(self.made, indent=1, ensure_ascii=False) + "\n", "utf-8")

    def values(self, row: Row, side: str, of: str = "value") -> list[float]:
        """Return what the turns of a side measured, in their order."""
        if not len(self.turns):
            return []
        mine = self.turns[(self.turns["row"] == row.name) & (self.turns["side"] == side)]
        return [float(v) for v in mine.sort_values("turn")[of]]

    def ratios(self, row: Row, peer: str) -> list[float]:
        """Return how many times better our side was than a peer, turn by turn."""
        pairs = zip(self.values(row, row.sides[0].name), self.values(row, peer), strict=True)
        return [o / p if row.better == "higher" else p / o for o, p in pairs]

    def meets(self, row: Row, goal: Goal) -> bool | None:
        """Tell whether the median reaches a goal; None for one of another processor."""
        kind = self.kind.removesuffix("-restricted")
        if goal.on and goal.on != ("avx512-bf16" if kind == "amx" else kind):
            return None
        if goal.over:
            return statistics.median(self.ratios(row, goal.over)) >= goal.value
        value = statistics.median(self.values(row, row.sides[0].name, goal.of))
        lower = row.better == "lower" or goal.of != "value"
        return value <= goal.value if lower else value >= goal.value


def write_page(rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """Write the page of all records and return its path."""
    lines = [INTRODUCTION]
    for record in Record.all(folder):
        lines += _section(record, rows)
    path = folder / "bench.md"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def _section(record: Record, rows: Sequence[Row]) -> list[str]:
    lines = [
        f"## {record.kind}\n",
        "| what | hurdles | peers | times better | goal | reached | memory | load |",
        "|---|---|---|---|---|---|---|---|",
    ]
    measured = [row for row in rows if row.name in record.made]
    lines += [_line(record, row) for row in measured]
    missing = [row.what for row in rows if row.name not in record.made]
    if missing:
        lines += ["", "Not measured here:", "", *[f"- {what}" for what in missing]]
    for row in measured:
        made = record.made[row.name]
        if row.note or "profile" in made:
            lines += ["", f"**{row.what}.** {row.note}".rstrip()]
        if "profile" in made:
            lines += ["", "```", *made["profile"], "```"]
    machines = sorted({record.made[row.name]["machine"] for row in measured})
    dates = sorted(record.made[row.name]["at"][:10] for row in measured)
    lines += ["", *[f"{m}." for m in machines], f"Measured {dates[0]} to {dates[-1]}.", ""]
    return lines


def _line(record: Record, row: Row) -> str:
    ours, *peers = row.sides
    made = record.made[row.name]
    met = {goal: record.meets(row, goal) for goal in row.goals}
    goals = [goal for goal in row.goals if met[goal] is not None]
    reached = ["yes" if met[goal] else "**no**" for goal in goals]
    cells = [
        row.what,
        _spread(record.values(row, ours.name), row.unit),
        "<br>".join(f"{p.name} {_spread(record.values(row, p.name), row.unit)}" for p in peers),
        "<br>".join(f"{_spread(record.ratios(row, p.name), '')} ({p.name})" for p in peers),
        "<br>".join(_in_words(row, goal) for goal in goals),
        "<br>".join(reached),
        f"{max(record.values(row, ours.name, 'peak_mib')):,.0f} MiB",
        f"{made['load']:.1f} of {made['cores']}",
    ]
    return f"| {' | '.join(cells)} |"


def _in_words(row: Row, goal: Goal) -> str:
    if goal.over:
        return f"≥ {goal.value:g} x {goal.over}"
    unit = {"value": row.unit, "cpu_s": "processor s", "peak_mib": "MiB"}[goal.of]
    sign = "≤" if row.better == "lower" or goal.of != "value" else "≥"
    return f"{sign} {goal.value:g} {unit}"


def _spread(values: Sequence[float], unit: str) -> str:
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    low, mid, high = (f"{v:,.{digits}f}" for v in (min(values), middle, max(values)))
    return f"{mid} [{low}, {high}] {unit}".rstrip()
