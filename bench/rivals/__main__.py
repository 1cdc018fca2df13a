"""hurdles beside ShortKit-ML: false alarms and power of both, on the same networks, in one run.

Cohorts are drawn as ``hurdles calibrate-audit`` draws its fresh ones, and a network `small` is
trained on each. Its audit is asked with the limits that ship; of the very same network the features
before its last layer go to ShortKit-ML, in an environment of its own, for it needs NumPy 1
(``bench/peers/shortkit.py``). Beside them, embeddings of nothing but noise. Every finished cohort
is a line in a journal or a file, so that the same command goes on where it was stopped, and goes
further where more is asked for.

    make rivals            # or, with an environment of one's own for bench/peers/shortkit.txt:
    python bench/rivals --out runs/rivals --peer PYTHON [--clean 40] [--planted 4]

writes ``docs/results/rivals.md`` and ``rivals.csv``. What the journal holds is measured and not yet
judged: called again after limits have changed, with ``--page`` and no ``--peer``, it writes the
page anew and trains nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from rates import rates_of
from sheet import sheet
from subjects import STRENGTHS, audit, cohort, draw_noise, features, file_of, plan_of

from hurdles.calibrating.calibration import prepare_process
from hurdles.calibrating.trials import Journal, Trial
from hurdles.calibrating.worker import Plan, register_hurdles, render
from hurdles.cli.progress import ProgressBar

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PEER = ROOT / "docs" / "results", ROOT / "bench" / "peers" / "shortkit.py"


def main() -> None:
    parser = argparse.ArgumentParser(prog="rivals", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of phantoms and journal")
    parser.add_argument("--peer", type=Path, help="Python that has ShortKit-ML")
    parser.add_argument("--clean", type=int, default=40, help="cohorts without a shortcut")
    parser.add_argument("--alike", type=int, default=8, help="cohorts of classes that are alike")
    parser.add_argument("--planted", type=int, default=4, help="cohorts a shortcut and strength")
    parser.add_argument("--noise", type=int, default=10, help="sets of noise of each dimension")
    parser.add_argument("--shortcuts", nargs="+", metavar="NAME", help="default: all of them")
    parser.add_argument("--without", nargs="+", default=[], metavar="HURDLE", help="not asked")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page of what is done")
    chosen = parser.parse_args()
    if not chosen.page and chosen.peer is None:
        parser.error("--peer is needed, but for --page")
    register_hurdles()
    plan = plan_of(chosen.out, chosen.without)
    about = {"made by": "bench/rivals", "patients of a pool": plan.profile.pool_patients}
    journal = Journal(chosen.out / "trials.jsonl", about)
    trials = [
        *(cohort("", 0.0, n) for n in range(chosen.clean)),
        *(
            cohort(plant, strength, n)
            for n in range(chosen.planted)
            for plant in chosen.shortcuts or plan.profile.planted
            for strength in STRENGTHS
        ),
        *(cohort("", 0.0, n, disease=False) for n in range(chosen.alike)),
    ]
    if not chosen.page:
        ask_hurdles(plan, trials, journal, chosen.workers)
        draw_noise(plan, chosen.noise)
        ask_rival(chosen.peer, plan, chosen.workers)
    said = {f.stem: json.loads(f.read_text("utf-8")) for f in sorted(features(plan).glob("*.json"))}
    # Both have answered, or neither is counted.
    records = [
        r for r in journal.among(t.name for t in trials) if file_of(plan, r.trial).stem in said
    ]
    known = {file_of(plan, r.trial).stem for r in records}
    answers = {name: a for name, a in said.items() if name in known or name.startswith("noise")}
    table = rates_of(records, answers)
    table.to_csv(RESULTS / "rivals.csv", index=False, lineterminator="\n")
    (RESULTS / "rivals.md").write_text(sheet(table, records, answers), "utf-8")


def ask_hurdles(plan: Plan, trials: Sequence[Trial], journal: Journal, workers: int) -> None:
    """Train the networks that are not trained yet, ask hurdles, and write their features."""
    every = (*plan.model, *plan.data)
    wanted = [trial.name for trial in trials if not journal.answers(trial.name, every)]
    if not wanted:
        return
    plants = dict.fromkeys(Trial.parse(name).plant for name in wanted)
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=prepare_process
    )
    with ProgressBar() as bar, pool:
        fresh = plan.pools("fresh")
        planted = tuple(filter(None, plants))
        tasks = [(n, *task) for n, one in enumerate(fresh) for task in one.tasks(planted)]
        bar.start("Rendering phantoms", len(tasks))
        for done in as_completed(pool.submit(render, plan, "fresh", *task) for task in tasks):
            done.result()
            bar.advance()
        bar.start("Cohorts", len(wanted))
        for audited in as_completed(pool.submit(audit, plan, name) for name in wanted):
            journal.add(audited.result())
            bar.advance()


def ask_rival(peer: Path, plan: Plan, workers: int) -> None:
    """Have ShortKit-ML answer what it has not answered yet."""
    command = [str(peer), str(PEER), str(features(plan))]
    processes = [subprocess.Popen([*command, str(n), str(workers)]) for n in range(workers)]
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"{peer} {PEER.name}: exit codes {codes}; it says why above.")


if __name__ == "__main__":
    main()
