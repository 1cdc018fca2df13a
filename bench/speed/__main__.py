"""Every speed that hurdles promises, measured beside its peers: docs/results/bench.md.

    python bench/speed [--only ROW ...] [--fresh HOURS] [--list]

`make bench` installs what the peers need and runs this. Rows that were measured within the last
`--fresh` hours stay as they are, so a run that was cut off goes on; 0 measures everything anew.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
from pathlib import Path

from page import Record, write_page
from pairs import Row

MODULES = (
    "training",
    "recipes",
    "inference",
    "preparing",
    "formats",
    "auditing",
    "tables",
    "evaluating",
    "starting",
    "accelerator",
    "suite",
)


def all_rows() -> list[Row]:
    rows = [row for name in MODULES for row in importlib.import_module(name).ROWS]
    names = [row.name for row in rows]
    if twice := {name for name in names if names.count(name) > 1}:  # one would hide the other
        raise SystemExit(f"two rows are called {', '.join(sorted(twice))}")
    return rows


def lacking(row: Row) -> str:
    """Return what a row cannot be measured without and is not here, or nothing."""
    if row.needs == "cuda":
        import torch

        return "" if torch.cuda.is_available() else "a GPU"
    if row.needs == "Rscript":
        return "" if shutil.which(row.needs) else "R with pROC"
    folder = Path(os.environ.get("HURDLES_DATA", "")) / row.needs
    if row.needs and not ("HURDLES_DATA" in os.environ and folder.is_dir()):
        return f"HURDLES_DATA with a folder {row.needs!r}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows to measure, by name")
    parser.add_argument("--fresh", type=float, default=24.0, metavar="HOURS")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    options = parser.parse_args()
    rows = all_rows()
    if options.list:
        print("\n".join(f"{row.name:28}{row.what}" for row in rows))
        return
    unknown = set(options.only or ()) - {row.name for row in rows}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; --list prints their names")
    for row in rows:
        record = Record()
        if options.only and row.name not in options.only:
            continue
        if not options.only and record.is_fresh(row, options.fresh):
            print(f"{row.name}: measured already", file=sys.stderr)
            continue
        if lack := lacking(row):
            print(f"{row.name}: skipped, it needs {lack}", file=sys.stderr)
            continue
        print(f"{row.name}: {row.what}", file=sys.stderr)
        record.measure(row)
        write_page(rows)
    print(write_page(rows))


if __name__ == "__main__":
    main()
