"""Coverage of every interval and errors of every test, measured: docs/results/coverage.md.

    python bench/coverage --out runs/coverage [--only WORD ...] [--again WORD ...] [--workers 2]

draws sets from populations whose true value is known (`grid.toml` says which), and counts how often
the 95 % intervals of `hurdles.evaluation` hold it, and how often tests reject what is so (type I)
and what is not (power). Every finished cell is a line of a journal in `--out`, so that the same
command goes on where it was stopped; `--again` measures the cells anew whose part holds the word.
Workers run at the lowest priority. The numbers of a cell follow from its settings and the seed
alone, whatever else is drawn. A cell of which more sets were drawn stays as it is, so that a run of
`--sets 500` gives a first look at all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
from grid import Cell, cells, measured, ready

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the journal")
    parser.add_argument("--sets", type=int, default=2000, help="sets drawn for each cell")
    parser.add_argument("--seed", type=int, default=0, help="everything follows from it")
    parser.add_argument("--only", nargs="*", help="parts whose title holds one of these words")
    parser.add_argument("--again", nargs="*", help="parts to measure anew, likewise")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", action="store_true", help="write the page of what is done")
    parser.add_argument("--statement", action="store_true", help="print the table of statistics.md")
    chosen = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    chosen.out.mkdir(parents=True, exist_ok=True)
    journal = chosen.out / "cells.jsonl"
    done = read(journal)
    wanted = [] if chosen.page else cells()
    wanted = [c for c in wanted if not chosen.only or any(w in c.part for w in chosen.only)]
    wanted = [c for c in wanted if is_due(c, done.get(c.key), chosen)]
    wanted = in_turn(wanted)
    failed = 0
    with ProcessPoolExecutor(
        chosen.workers, mp_context=get_context("spawn"), initializer=ready
    ) as pool:
        tasks = {pool.submit(measured, c, chosen.sets, chosen.seed): c for c in wanted}
        for number, task in enumerate(as_completed(tasks), 1):
            said = f"{number}/{len(tasks)} {tasks[task].key}"
            if error := task.exception():
                failed += 1
                print(f"{said}: {error!r}", file=sys.stderr, flush=True)
                continue
            line = done[tasks[task].key] = task.result()
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{said} ({line['seconds']} s)", file=sys.stderr, flush=True)
    from results_page import statement, write

    lines = [done[c.key] for c in cells() if c.key in done]
    write(lines, len(cells()), RESULTS)
    if chosen.statement:
        table = pd.read_csv(RESULTS / "coverage.csv")
        print("\n".join(statement(table.to_dict("records"))))
    if failed:
        raise SystemExit(f"{failed} cells could not be measured")


def is_due(cell: Cell, old: dict[str, Any] | None, chosen: argparse.Namespace) -> bool:
    """Return whether a cell is to be measured: of as many sets or more, of this seed, it is not."""
    if old is None or old["sets"] < chosen.sets or old["seed"] != chosen.seed:
        return True
    return any(word in cell.part for word in chosen.again or ())


def in_turn(wanted: list[Cell]) -> list[Cell]:
    """Return cells of all parts in turn, drawn within a part: a run that is cut off has of each."""
    kept: dict[str, list[Cell]] = {}
    for cell in sorted(wanted, key=lambda c: zlib.crc32(c.key.encode())):
        kept.setdefault(cell.part, []).append(cell)
    rounds = itertools.zip_longest(*(kept[part] for part in dict.fromkeys(c.part for c in wanted)))
    return [cell for one in rounds for cell in one if cell is not None]


def read(journal: Path) -> dict[str, dict[str, Any]]:
    """Return the last line of each cell; one that a kill cut off is left out for good."""
    if not journal.is_file():
        return {}
    whole = journal.read_text(encoding="utf-8")
    kept = whole[: whole.rfind("\n") + 1]
    journal.write_text(kept, encoding="utf-8")
    lines = map(json.loads, kept.splitlines())
    return {f"{line['part']}: {line['cell']}": line for line in lines}


if __name__ == "__main__":
    main()
