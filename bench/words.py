"""Whether hurdles says no more than it measures: small inputs with the right answer, before and after.

Every case of `words_cases` is run in a process of its own, under the hurdles that is installed and,
with ``--before SRC``, under an earlier one, and the page ``docs/results/words.md`` sets both beside
what is right. Without ``--before`` the earlier answers are taken from ``docs/results/words.csv``.

    git worktree add /tmp/before b83858b
    python bench/words.py --before /tmp/before/src
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pandas as pd
from words_cases import CASES

#: In the order of the page.
MODULES = ("verdicts", "statistics", "splits", "tables", "copies", "packaging")
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
SECONDS = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="SRC", help="the src folder of an earlier version")
    parser.add_argument("--only", metavar="TEXT", default="", help="cases with this in their name")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    _load()
    if chosen.one:
        sys.stdout.write(json.dumps(CASES[chosen.one].run()))
        return 0
    names = [name for name in CASES if chosen.only in name]
    before = _earlier() if chosen.before is None else {n: _ask(n, chosen.before) for n in names}
    rows = []
    for name in names:
        each, after = CASES[name], _ask(name)
        holds = each.holds(after)
        print(f"{'ok  ' if holds else 'NOT '} {name}: {after}", flush=True)
        rows.append((name, each.point, each.what, each.right, before.get(name, ""), after, holds))
    columns = ["name", "point", "what", "right", "before", "after", "holds"]
    table = pd.DataFrame(rows, columns=columns)
    if not chosen.only:
        table.to_csv(RESULTS / "words.csv", index=False, lineterminator="\n")
        (RESULTS / "words.md").write_text(_page(table), encoding="utf-8")
    return 0 if table["holds"].all() else 1


def _load() -> None:
    for module in MODULES:
        if (Path(__file__).parent / "words_cases" / f"{module}.py").is_file():
            import_module(f"words_cases.{module}")


def _ask(name: str, source: str | None = None) -> str:
    """Return the text of a case under the installed hurdles, or under that in `source`."""
    environment = dict(os.environ)
    if source is not None:
        environment["PYTHONPATH"] = str(Path(source).resolve())
    call = [sys.executable, "-W", "ignore", __file__, "--one", name]
    try:
        done = subprocess.run(
            call, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {SECONDS} s"
    if done.returncode:
        last = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return last[-1]
    return str(json.loads(done.stdout))


def _earlier() -> dict[str, str]:
    path = RESULTS / "words.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return dict(zip(table["name"], table["before"], strict=True))


def _page(table: pd.DataFrame) -> str:
    import hurdles

    lines = [
        "# Words: never surer than measured",
        "",
        "Small inputs that once made hurdles say more than it had measured, or drop without a word "
        "what it was given. `before` is version 0.1.0 at commit b83858b.",
        "",
        f"{int(table['holds'].sum())} of {len(table)} cases are right.",
    ]
    for point, rows in table.groupby("point", sort=False):
        lines += [
            "",
            f"## {point}",
            "",
            "| case | right | before | now | |",
            "|---|---|---|---|---|",
        ]
        for row in rows.itertuples():
            cells = (row.what, row.right, row.before, row.after, "" if row.holds else "**wrong**")
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    made = datetime.now(UTC).date().isoformat()
    lines += [
        "",
        f"Made by `python bench/words.py` with hurdles {hurdles.__version__}, Python "
        f"{platform.python_version()}, {platform.system()} {platform.machine()}, {made}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
