"""Coverage of every interval and errors of every test, measured: docs/results/coverage.md.

    python bench/coverage --out runs/coverage [--only WORD ...] [--again WORD ...] [--workers 2]

draws sets from populations whose true value is known (`grid.toml` says which), and counts how often
the 95 % intervals of `hurdles.evaluation` hold it, and how often tests reject what is so (type I)
and what is not (power). Every finished cell is a line of a journal in `--out`, so that the same
command goes on where it was stopped; `--again` measures the cells anew whose part holds the word.
Workers run at the lowest priority. The numbers of a cell follow from its settings and the seed
alone, whatever else is drawn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import time
import tomllib
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "docs" / "results"
MODULES = ("areas", "conditionals", "hurdle_tests", "models", "probabilities", "shares")


@dataclass(frozen=True)
class Cell:
    """One population, and what is measured on sets drawn from it."""

    part: str  # title of the part
    run: str  # name of the function that draws
    settings: dict[str, Any] = field(hash=False)

    @property
    def name(self) -> str:
        """The settings in words."""
        return ", ".join(f"{key} {_written(value)}" for key, value in self.settings.items())

    @property
    def key(self) -> str:
        """Part and settings, which no other cell has."""
        return f"{self.part}: {self.name}"


def _written(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def cells(path: Path = HERE / "grid.toml") -> list[Cell]:
    """Return every cell of the grid, in its order."""
    found = []
    for part in tomllib.loads(path.read_text(encoding="utf-8"))["part"]:
        fixed = {k: v for k, v in part.items() if k not in ("title", "run", "over")}
        over = part["over"]
        for values in itertools.product(*over.values()):
            settings: dict[str, Any] = {}
            for axis, value in zip(over, values, strict=True):
                settings |= value if isinstance(value, dict) else {axis: value}
            found.append(Cell(part["title"], part["run"], settings | fixed))
    keys = [cell.key for cell in found]
    if twice := {key for key in keys if keys.count(key) > 1}:  # one would hide the other
        raise SystemExit(f"two cells are called {', '.join(sorted(twice))}")
    return found


def measured(cell: Cell, sets: int, seed: int) -> dict[str, Any]:
    """Return what a cell shows, as a line of the journal."""
    import numpy as np
    from tally import PARTS, Tally

    started, tally = time.process_time(), Tally()
    rng = np.random.default_rng([seed, zlib.crc32(cell.key.encode())])
    PARTS[cell.run](tally, rng, sets, **cell.settings)
    seconds = round(time.process_time() - started, 1)
    settings = {"sets": sets, "seed": seed, "seconds": seconds}
    return {"part": cell.part, "cell": cell.name, **settings, "rows": list(tally.rows())}


def ready() -> None:
    """Make a worker one that gives way, computes on one thread and knows all parts."""
    import importlib

    os.nice(19)
    from draws import in_one_order

    for module in MODULES:
        importlib.import_module(module)
    in_one_order()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the journal")
    parser.add_argument("--sets", type=int, default=2000, help="sets drawn for each cell")
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it")
    parser.add_argument("--only", nargs="*", help="parts whose title holds one of these words")
    parser.add_argument("--again", nargs="*", help="parts to measure anew, likewise")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page of what is done")
    chosen = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    chosen.out.mkdir(parents=True, exist_ok=True)
    journal, done = chosen.out / "cells.jsonl", {}
    if journal.is_file():
        lines = map(json.loads, journal.read_text(encoding="utf-8").splitlines())
        done = {f"{line['part']}: {line['cell']}": line for line in lines}  # the last one counts
    wanted = [] if chosen.page else cells()
    wanted = [c for c in wanted if not chosen.only or any(w in c.part for w in chosen.only)]
    wanted = [
        c for c in wanted
        if (old := done.get(c.key)) is None
        or (old["sets"], old["seed"]) != (chosen.sets, chosen.seed)
        or any(word in c.part for word in chosen.again or ())
    ]  # fmt: skip
    with ProcessPoolExecutor(
        chosen.workers, mp_context=get_context("spawn"), initializer=ready
    ) as pool:
        tasks = {pool.submit(measured, c, chosen.sets, chosen.seed): c for c in wanted}
        for number, task in enumerate(as_completed(tasks), 1):
            line = done[tasks[task].key] = task.result()
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            said = f"{number}/{len(tasks)} {tasks[task].key} ({line['seconds']} s)"
            print(said, file=sys.stderr, flush=True)
    from results_page import write

    write([done[c.key] for c in cells() if c.key in done], len(cells()), RESULTS)


if __name__ == "__main__":
    main()
