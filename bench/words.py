"""What hurdles says of small inputs with a known answer, under two versions, beside what is right.

Every case of `words_cases` is run in a process of its own, under the hurdles that is installed and,
with ``--before SRC``, under an earlier one; the pages ``docs/results/words.md`` and
``pictures-and-files.md`` set both beside what is right. Without ``--before`` the earlier answers
are taken from the tables beside the pages.

    git worktree add ../before b83858b
    python bench/words.py --before ../before/src
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pandas as pd

from words_cases import CASES

#: Pages, each with its title, what it is of, and the modules of its cases in their order.
PAGES = {
    "words": (
        "Words: never surer than measured",
        "Small inputs that once made hurdles say more than it had measured, or drop without a "
        "word what it was given.",
        ("verdicts", "statistics", "splits", "tables", "copies", "packaging"),
    ),
    "pictures-and-files": (
        "Pictures and files: right or refused, and nothing destroyed",
        "Small inputs that once gave a wrong picture without a word, took the process with them, "
        "or cost a user a file.",
        ("pictures", "files"),
    ),
}
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
SECONDS = 600


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="SRC", help="the src folder of an earlier version")
    parser.add_argument("--page", choices=list(PAGES), help="only this one")
    parser.add_argument("--only", metavar="TEXT", default="", help="cases with this in their name")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    _load()
    if chosen.one:
        sys.stdout.write(json.dumps(CASES[chosen.one].run()))
        return 0
    tables = [
        _written(page, chosen.before, chosen.only) for page in PAGES if chosen.page in (None, page)
    ]
    return 0 if all(table["holds"].all() for table in tables) else 1


def _written(page: str, source: str | None, only: str) -> pd.DataFrame:
    """Run the cases of a page, print each, and write the page unless only some were run."""
    modules = PAGES[page][2]
    names = [n for n in CASES if n.partition(".")[0] in modules and only in n]
    rows = []
    with ThreadPoolExecutor(2) as pool:  # of processes that are waited for
        asked = pool.map(_ask, names)
        earlier = [] if source is None else list(pool.map(_ask, names, [source] * len(names)))
        answers = list(asked)
    before = _earlier(page) if source is None else dict(zip(names, earlier, strict=True))
    for name, after in zip(names, answers, strict=True):
        each = CASES[name]
        holds = each.holds(after)
        print(f"{'ok  ' if holds else 'NOT '} {name}: {after}", flush=True)
        rows.append((name, each.point, each.what, each.right, before.get(name, ""), after, holds))
    columns = ["name", "point", "what", "right", "before", "after", "holds"]
    table = pd.DataFrame(rows, columns=columns)
    if not only:
        table.to_csv(RESULTS / f"{page}.csv", index=False, lineterminator="\n")
        (RESULTS / f"{page}.md").write_text(_page(page, table), encoding="utf-8")
    return table


def _load() -> None:
    for module in (m for _, _, modules in PAGES.values() for m in modules):
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
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    else:
        said = str(json.loads(done.stdout))
    return re.sub(rf"{re.escape(tempfile.gettempdir())}/\S+", "PATH", said)


def _earlier(page: str) -> dict[str, str]:
    path = RESULTS / f"{page}.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return dict(zip(table["name"], table["before"], strict=True))


def _page(page: str, table: pd.DataFrame) -> str:
    import hurdles

    title, intro, _ = PAGES[page]
    lines = [
        f"# {title}",
        "",
        f"{intro} `before` is version 0.1.0 at commit b83858b.",
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
