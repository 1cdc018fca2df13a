"""Whom the hurdle `acquisition` hits: clean models, and models with a shortcut to read.

    python bench/acquisition.py --out runs/acquisition [--clean 60] [--page]

draws cohorts of phantoms as ``hurdles calibrate-audit`` does, from one pool for each of its two
parts, trains models on them, puts them before the hurdle, and writes
``docs/results/acquisition.md``. Every finished trial is a line in ``OUT/trials.jsonl``: called
again, only what is missing is computed; ``--page`` writes the page of what is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import as_completed
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from hurdles._version import __version__
from hurdles.calibrating.limits import verdict_of
from hurdles.calibrating.trials import NOTHING, Journal, Profile, Record, Trial
from hurdles.calibrating.worker import Plan, register_hurdles, render, run_trial
from hurdles.cli.progress import ProgressBar
from hurdles.evaluation.bounds import exact_share
from hurdles.findings.finding import Verdict
from hurdles.findings.limits import limit_for, load_limits
from verdicts import RESULTS, workers

HURDLE = "acquisition"
SHORTCUTS = ("brightness", "blur", "noise", "body-size", "hospital", "marker")
STRENGTH = 0.8
KINDS = ("pipeline", "small")
PARTS = ("calibration", "fresh")
PROFILE = Profile(
    HURDLE, pools=1, pool_patients=1000, planted_patients=480, data=(0, 0), shortcuts=SHORTCUTS
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of phantoms and journal")
    parser.add_argument("--clean", type=int, default=60, help="clean cohorts a part and kind")
    parser.add_argument("--planted", type=int, default=4, help="cohorts a shortcut and kind")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page of what is done")
    chosen = parser.parse_args()
    register_hurdles()
    plan = Plan(chosen.out, PROFILE, (), (HURDLE,))
    journal = Journal(chosen.out / "trials.jsonl", {"made by": "bench/acquisition.py"})
    if not chosen.page:
        _carry_out(plan, [*_trials(chosen.clean, chosen.planted)], journal, chosen.workers)
    table = table_of(list(journal.records.values()))
    table.to_csv(RESULTS / "acquisition.csv", index=False, lineterminator="\n")
    words = "\n".join(page(table, list(journal.records.values())))
    (RESULTS / "acquisition.md").write_text(words + "\n", encoding="utf-8")


def _trials(clean: int, planted: int) -> Iterator[Trial]:
    def cohorts(kind: str, part: str, plant: str, repeats: int) -> Iterator[Trial]:
        for n in range(repeats):
            size = PROFILE.sizes[n % len(PROFILE.sizes)]
            yield Trial(kind, part, size, True, plant, STRENGTH if plant else 0.0, n)

    for kind in KINDS:
        for plant in SHORTCUTS:
            yield from cohorts(kind, "fresh", plant, planted)
        for part in PARTS:
            yield from cohorts(kind, part, NOTHING, clean)


def _carry_out(plan: Plan, trials: list[Trial], journal: Journal, number: int) -> None:
    with ProgressBar() as bar, workers(number) as pool:
        rendered = [
            pool.submit(render, plan, part, place, *task)
            for part, plants in zip(PARTS, ((), SHORTCUTS), strict=True)
            for place, one in enumerate(plan.pools(part))
            for task in one.tasks(plants)
        ]
        bar.start("Rendering phantoms", len(rendered))
        for done in as_completed(rendered):
            done.result()
            bar.advance()
        left = [t.name for t in trials if t.name not in journal.records]
        bar.start("Cohorts", len(left))
        for done in as_completed(pool.submit(run_trial, plan, name) for name in left):
            journal.add(done.result())
            bar.advance()


def table_of(records: list[Record]) -> pd.DataFrame:
    """Return one row per kind of model and what was planted, clean cohorts of both parts as one."""
    limits = load_limits()
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        trial = Trial.parse(record.trial)
        groups.setdefault((trial.kind, trial.plant or "nothing"), []).append(record)
    rows = []
    for (kind, plant), each in groups.items():
        verdicts = [verdict_of(HURDLE, record.found, limits) for record in each]
        share = exact_share(verdicts.count(Verdict.HIT), len(each))
        lows = [m.low for record in each for m in record.found if m.value != 0]
        aucs = [record.auc for record in each if record.auc is not None]
        rows.append(
            {
                "model": kind,
                "planted": plant,
                "cohorts": len(each),
                "auc": sum(aucs) / len(aucs),
                "moved": len(lows),
                "hit": verdicts.count(Verdict.HIT),
                "share": share.value,
                "low": share.low,
                "high": share.high,
                "least lower end": min(lows, default=0.0),
                "greatest lower end": max(lows, default=0.0),
            }
        )
    order = ["nothing", *SHORTCUTS]
    return pd.DataFrame(sorted(rows, key=lambda r: (r["model"], order.index(str(r["planted"])))))


def page(table: pd.DataFrame, records: list[Record]) -> Iterator[str]:
    """Yield the lines of the page."""
    clean = table[table["planted"] == "nothing"]
    alarms = exact_share(int(clean["hit"].sum()), int(clean["cohorts"].sum()))
    limit = limit_for(HURDLE)
    yield "# Acquisition, on models whose reading is known"
    yield ""
    yield (
        f"**Of {alarms.n_images} models of clean cohorts {int(clean['hit'].sum())} were hit, "
        f"{alarms.value:.1%} [{alarms.low:.1%}, {alarms.high:.1%}]** (exact, as if they were "
        f"independent: each pool has {PROFILE.pool_patients:,} patients, and cohorts share them). "
        f"The limit is {limit.value:g} (*{limit.source}*)."
    )
    yield ""
    yield (
        f"Cohorts have {' or '.join(map(str, PROFILE.sizes))} patients of {PROFILE.size} pixels, "
        f"and a disease; a shortcut has strength {STRENGTH:g}. `small` is a network, `pipeline` a "
        "logistic regression on principal components of thumbnails. *AUC*: the models' mean, on "
        "test images of their own cohort. *Moved*: cohorts in which the alteration moved the "
        "AUC at all; where classes differ by no more than chance nothing is altered, and the "
        "hurdle is inconclusive. *Lower ends*: of the AUC lost, where it moved."
    )
    yield ""
    yield "| model | planted | cohorts | AUC | moved | hit | share hit [95 %] | lower ends |"
    yield "|---|---|--:|--:|--:|--:|---|---|"
    for row in table.to_dict("records"):
        ends = f"{row['least lower end']:.2f} to {row['greatest lower end']:.2f}"
        yield (
            f"| `{row['model']}` | {row['planted']} | {row['cohorts']} | {row['auc']:.2f} | "
            f"{row['moved']} | {row['hit']} | {row['share']:.0%} [{row['low']:.0%}, "
            f"{row['high']:.0%}] | {ends if row['moved'] else 'none'} |"
        )
    yield ""
    yield (
        "The rule of what is altered was chosen on phantoms of these pools (see the log), so they "
        "do not confirm it. No real image was used, and no model but these two kinds."
    )
    yield ""
    processors = ", ".join(sorted({record.instructions for record in records}))
    yield (
        f"`python bench/acquisition.py`, hurdles {__version__}, Python "
        f"{sys.version.split()[0]}, processors with {processors}, "
        f"{sum(r.seconds for r in records) / 60:.0f} minutes of trials by the clock, several at "
        f"once on a busy machine; {datetime.now(UTC).date()}."
    )


if __name__ == "__main__":
    main()
