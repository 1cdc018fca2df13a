"""How clean cohorts end: hit, inconclusive or cleared, hurdle by hurdle, at 120 and 400 patients.

Cohorts of phantoms with disease and without a shortcut, as ``hurdles calibrate-audit`` draws them
for its fresh part, are put through every hurdle, and judged by the limits and margins that ship.
Beside them, for the margin of the hurdle `attention`: networks that had nothing but a marker or a
border to read, the classes being alike otherwise. Every finished cohort is a line in a journal, so
that the same command goes on where it was stopped.

    python bench/verdicts.py --out runs/verdicts [--data 60] [--models 12] [--shortcuts 6]

writes ``docs/results/verdicts.md`` and ``verdicts.csv``.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles._version import __version__
from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.limits import verdict_of
from hurdles.calibrating.trials import PROFILES, Journal, Record, Trial
from hurdles.calibrating.worker import (
    Plan,
    one_thread,
    register_hurdles,
    render,
    run_trial,
)
from hurdles.cli.progress import ProgressBar
from hurdles.evaluation.bounds import wilson
from hurdles.findings.finding import Verdict
from hurdles.findings.limits import limit_for, load_limits

SIZES = (120, 400)
SHORTCUTS = ("marker", "border")
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of phantoms and journal")
    parser.add_argument("--data", type=int, default=60, help="cohorts of each size for data")
    parser.add_argument("--models", type=int, default=12, help="networks of each size")
    parser.add_argument("--shortcuts", type=int, default=6, help="networks a shortcut")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page of what is done")
    chosen = parser.parse_args()
    register_hurdles()
    journal = Journal(chosen.out / "trials.jsonl", {"made by": "bench/verdicts.py"})
    clean = [
        (_plan(chosen.out, patients), Trial(kind, "fresh", patients, True, "", 0.0, repeat))
        for kind, repeats in (("data", chosen.data), ("small", chosen.models))
        for patients in SIZES
        for repeat in range(repeats)
    ]
    planted = [
        (_plan(chosen.out, 240, ("attention",)), Trial("small", "fresh", 240, False, plant, 1, n))
        for plant in SHORTCUTS
        for n in range(chosen.shortcuts)
    ]
    if not chosen.page:
        _carry_out([*planted, *clean], journal, chosen)
    records = journal.among(t.name for _, t in clean)
    table = verdicts_table(records)
    table.to_csv(RESULTS / "verdicts.csv", index=False, lineterminator="\n")
    shortcut = journal.among(t.name for _, t in planted)
    (RESULTS / "verdicts.md").write_text("\n".join(page(table, records, shortcut)) + "\n")


def _carry_out(
    trials: Sequence[tuple[Plan, Trial]], journal: Journal, chosen: argparse.Namespace
) -> None:
    with ProgressBar() as bar, workers(chosen.workers) as pool:
        fresh = _plan(chosen.out, 240).pools("fresh")
        tasks = [(n, *task) for n, one in enumerate(fresh) for task in one.tasks(SHORTCUTS)]
        bar.start("Rendering phantoms", len(tasks))
        for done in as_completed(
            pool.submit(render, _plan(chosen.out, 240), "fresh", *task) for task in tasks
        ):
            done.result()
            bar.advance()
        wanted = [(p, t.name) for p, t in trials if t.name not in journal.records]
        bar.start("Cohorts", len(wanted))
        for done in as_completed(pool.submit(run_trial, *each) for each in wanted):
            journal.add(done.result())
            bar.advance()


def _plan(out: Path, patients: int, models: Sequence[str] | None = None) -> Plan:
    """Return a plan in which cohorts of this size are asked everything."""
    profile = replace(
        PROFILES["full"],
        name="verdicts",
        sizes=(patients,),
        shortcuts=SHORTCUTS,
        pool_patients=1500,
        planted_patients=800,
    )
    names = tuple(MODEL_HURDLES.names() if models is None else models)
    return Plan(out, profile, tuple(DATA_HURDLES.names()), names)


_held = ExitStack()


def _ready() -> None:
    register_hurdles()
    _held.enter_context(one_thread())


def workers(number: int) -> ProcessPoolExecutor:
    """Return processes that know the hurdles, each on one thread."""
    return ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=_ready)


def verdicts_table(records: Sequence[Record]) -> pd.DataFrame:
    """Return one row per kind, size and hurdle: how many cohorts ended in each verdict."""
    limits, rows = load_limits(), []
    keyed: dict[tuple[str, int, str], list[Verdict]] = {}
    for record in records:
        trial = Trial.parse(record.trial)
        for hurdle in record.asked:
            key = (trial.kind, trial.patients, hurdle)
            keyed.setdefault(key, []).append(verdict_of(hurdle, record.found, limits))
    for (kind, patients, hurdle), each in keyed.items():
        unsure = wilson(each.count(Verdict.INCONCLUSIVE), len(each))
        row = {"kind": kind, "patients": patients, "hurdle": hurdle, "cohorts": len(each)}
        row |= {str(verdict): each.count(verdict) for verdict in Verdict}
        rows.append(row | {"low": round(unsure.low, 4), "high": round(unsure.high, 4)})
    return pd.DataFrame(rows)


def page(table: pd.DataFrame, clean: Sequence[Record], shortcut: Sequence[Record]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# How clean cohorts end"
    yield ""
    yield (
        "Cohorts of phantoms with a disease and without a shortcut, judged by the limits and the "
        "margins that ship. A hurdle is hit where a whole interval lies beyond its limit, cleared "
        "where all of them lie within their margins, and inconclusive otherwise. Shares are with "
        "Wilson's 95 % interval. A model's test part is a quarter of the cohort."
    )
    for kind, rows in table.groupby("kind", sort=False):
        yield ""
        yield f"## Hurdles for {'data' if kind == 'data' else 'a model'}"
        yield ""
        sizes = sorted(rows["patients"].unique())
        yield (
            "| hurdle | "
            + " | ".join(f"inconclusive of {n} patients" for n in sizes)
            + " | "
            + (" | ".join(f"otherwise, {n}" for n in sizes) + " |")
        )
        yield "|---|" + "---|" * 2 * len(sizes)
        for hurdle, own in rows.groupby("hurdle", sort=False):
            by_size = {row["patients"]: row for row in own.to_dict("records")}
            shares = [_share(by_size[n]) if n in by_size else "" for n in sizes]
            others = [_others(by_size[n]) if n in by_size else "" for n in sizes]
            yield f"| `{hurdle}` | {' | '.join([*shares, *others])} |"
    yield ""
    yield "## What attention is in networks that read the lungs, and in networks that do not"
    yield ""
    yield (
        f"Heat in the lungs over what random weights put there; the margin is "
        f"{limit_for('attention').clears:g}."
    )
    yield ""
    heads = ("lowest, median, highest", "above the margin", "highest lower, lowest upper bound")
    yield f"| networks | method | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|"
    yield from _attention("read disease (clean cohorts)", clean)
    for plant in SHORTCUTS:
        own = [r for r in shortcut if Trial.parse(r.trial).plant == plant]
        aucs = ", ".join(f"{r.auc:.2f}" for r in own if r.auc is not None)
        yield from _attention(f"read the {plant} alone (AUC {aucs})", own)
    made = datetime.now(UTC).date().isoformat()
    yield ""
    yield (
        f"Made by `python bench/verdicts.py` with hurdles {__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {made}."
    )


def _attention(name: str, records: Sequence[Record]) -> Iterator[str]:
    found = [m for r in records for m in r.found if m.hurdle == "attention" and m.beyond]
    for method in dict.fromkeys(m.subject for m in found):
        own = [m for m in found if m.subject == method and m.is_defined]
        if own:
            values = np.array([m.value for m in own])
            three = (values.min(), np.median(values), values.max())
            numbers = ", ".join(f"{x:.2f}" for x in three)
            ends = f"{max(m.low for m in own):.2f}, {min(m.high for m in own):.2f}"
            above = f"{(values > limit_for('attention').clears).sum()} of {len(own)}"
            yield f"| {len(own)} that {name} | {method} | {numbers} | {above} | {ends} |"


def _share(row: dict[str, float]) -> str:
    n, of = int(row[str(Verdict.INCONCLUSIVE)]), int(row["cohorts"])
    return f"{n}/{of} [{100 * row['low']:.0f}, {100 * row['high']:.0f} %]"


def _others(row: dict[str, float]) -> str:
    said = [v for v in Verdict if v is not Verdict.INCONCLUSIVE and row[str(v)]]
    return ", ".join(f"{int(row[str(v)])} {v}" for v in said)


if __name__ == "__main__":
    main()
