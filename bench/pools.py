"""Whether the size of a cohort counts, or the phantoms that it is drawn from.

    python bench/pools.py runs/calibration > docs/results/pools.txt

In a calibration, cohorts of 120 patients come from one pool of phantoms with three hospitals of its
own, those of 400 from another. Here cohorts are drawn the other way round, and any of the hurdles
for models is counted beside those of the calibration, by the limits that ship. The folder is that
of a calibration, whose pools and trials are read; what is done is kept in crossed.jsonl beside
them, so that the same command goes on.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from hurdles.auditing.hurdle import DATA_HURDLES, MODEL_HURDLES
from hurdles.calibrating.calibration import prepare_process
from hurdles.calibrating.limits import NEVER_CLEAN, verdict_of
from hurdles.calibrating.trials import PROFILES, Journal, Record, Trial
from hurdles.calibrating.worker import Plan, hurdles_for, register_hurdles, run_trial
from hurdles.cli.progress import ProgressBar
from hurdles.evaluation.bounds import exact_share
from hurdles.findings.finding import Verdict
from hurdles.findings.limits import load_limits
from hurdles.training.machine import environment, in_words

#: What was missed most often, by kind of models, and each strength.
SHORTCUTS = {
    "small": {"blur": 0.8, "hospital": 0.8},
    "pipeline": {"blur": 0.8, "hospital": 0.8, "noise": 0.8},
}
SIZES, COHORTS = (120, 400), 18


def crossed() -> list[Trial]:
    """Return trials whose sizes are drawn from the other pool; no calibration has these numbers."""
    return [
        Trial(kind, "fresh", size, True, plant, strength, 1000 + 2 * number + (place + 1) % 2)
        for kind, plants in SHORTCUTS.items()
        for plant, strength in plants.items()
        for place, size in enumerate(SIZES)
        for number in range(COHORTS)
    ]


def is_hit(record: Record) -> bool:
    limits = load_limits()
    # `attention` was asked of the first cohorts alone.
    counted = (h for h in record.asked if h not in (*NEVER_CLEAN, "attention"))
    return any(verdict_of(hurdle, record.found, limits) is Verdict.HIT for hurdle in counted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a calibration")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    register_hurdles()
    names = tuple(DATA_HURDLES.names()), tuple(MODEL_HURDLES.names())
    plan = Plan(chosen.folder, PROFILES["full"], *names)
    journal = Journal(chosen.folder / "crossed.jsonl", {"made by": "bench/pools.py"})
    trials = crossed()
    left = [t.name for t in trials if not journal.answers(t.name, hurdles_for(plan, t))]
    pool = ProcessPoolExecutor(
        chosen.workers, mp_context=get_context("spawn"), initializer=prepare_process
    )
    with ProgressBar() as bar, pool:
        bar.start("Cohorts", len(left))
        for done in as_completed(pool.submit(run_trial, plan, name) for name in left):
            journal.add(done.result())
            bar.advance()
    kept = chosen.folder / "trials.jsonl"
    about = json.loads(kept.read_text("utf-8").splitlines()[0])["about"]
    before = Journal(kept, about).records.values()
    print("any of the hurdles for models but attention is hit: of how many [exact 95 %]")
    print("pools differ in patients and hospitals; a calibration has the first and last column\n")
    heads = (f"{size} patients, pool {number}" for size in SIZES for number in (0, 1))
    print(f"{'':<22}" + "".join(f"{head:>26}" for head in heads))
    records = [*before, *journal.among(t.name for t in trials)]
    for kind, plants in SHORTCUTS.items():
        for plant, strength in plants.items():
            cells = []
            for size in SIZES:
                for number in (0, 1):
                    mine = [
                        is_hit(record)
                        for record in records
                        for t in [Trial.parse(record.trial)]
                        if (t.kind, t.part, t.patients, t.plant, t.strength, t.repeat % 2)
                        == (kind, "fresh", size, plant, strength, number)
                    ]
                    share = exact_share(sum(mine), len(mine))
                    low, high = 100 * share.low, 100 * share.high
                    cells.append(f"{sum(mine)}/{len(mine)} [{low:.0f}, {high:.0f}]")
            print(f"{f'{kind}, {plant}':<22}" + "".join(f"{cell:>26}" for cell in cells))
    print(f"\n{in_words(environment())}")


if __name__ == "__main__":
    main()
