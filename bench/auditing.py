"""How long the hurdles take, one by one.

``python bench/auditing.py --check radiography-database`` puts images through the hurdles for data;
``--audit RUN [--on NAME=PATH]`` puts a finished run through those for models. Collections are found
under ``$HURDLES_DATA``. Images, headers and lungs are read once before, so that what is timed is
what comes after the cache; the time of reading is printed apart. Processor time is printed beside
wall time: other processes of a shared machine slow only the latter.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from hurdles.auditing.data import DATA_HURDLES
from hurdles.auditing.hurdle import run_hurdles
from hurdles.auditing.loading import material_of, subject_of
from hurdles.auditing.model import MODEL_HURDLES
from hurdles.findings.table import Findings
from hurdles.progress import Options
from hurdles.runs.images import manifest_of, name_of
from hurdles.runs.run import Run
from hurdles.training.machine import environment, in_words

Row = tuple[str, float, float]


class Stopwatch:
    """Wall and processor seconds since it was last asked."""

    def __init__(self) -> None:
        self.wall, self.spent = time.perf_counter(), time.process_time()
        self.rows: list[Row] = []

    def lap(self, what: str) -> None:
        """Note what has passed since."""
        wall, spent = time.perf_counter(), time.process_time()
        self.rows.append((what, wall - self.wall, spent - self.spent))
        self.wall, self.spent = wall, spent

    def after(self, found: Findings) -> None:
        """Note the hurdle that was run last."""
        name = found.hurdles[-1]
        self.lap(f"{name} ({found.verdict(name)}, {len(found.of(name))} findings)")


def check(data: str) -> tuple[str, list[Row]]:
    images = manifest_of(data)
    options = Options()
    material_of(images, name=name_of(data), options=options, lungs=False)  # fills the cache
    watch = Stopwatch()
    given = material_of(images, name=name_of(data), options=options, lungs=False)
    watch.lap("reading from the cache")
    run_hurdles(DATA_HURDLES, given, after_each=watch.after)
    return f"hurdles check, {len(given)} images of {given.pixels.shape[1]} px", watch.rows


def audit(path: Path, others: list[str]) -> tuple[str, list[Row]]:
    run, options = Run(path), Options()
    on = {name_of(other): manifest_of(other) for other in others}
    subject_of(run, on=on, options=options)
    watch = Stopwatch()
    given = subject_of(run, on=on, options=options)
    watch.lap("reading from the cache")
    run_hurdles(MODEL_HURDLES, given, after_each=watch.after)
    n = len(given.material)
    return f"hurdles audit, {len(given.test)} test images of {n}, {run.recipe.name}", watch.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", metavar="DATA", help="images, as for hurdles check")
    parser.add_argument("--audit", metavar="RUN", type=Path, help="folder of a finished run")
    parser.add_argument("--on", action="append", default=[], help="as for hurdles audit")
    options = parser.parse_args()
    tables = []
    if options.check:
        tables.append(check(options.check))
    if options.audit:
        tables.append(audit(options.audit, options.on))
    for title, rows in tables:
        total = ("in all", sum(r[1] for r in rows), sum(r[2] for r in rows))
        print(f"{title:56}{'wall s':>10}{'processor s':>14}")
        for what, wall, spent in [*rows, total]:
            print(f"  {what:54}{wall:10.1f}{spent:14.1f}")
    print(in_words(environment()))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
