"""The same commands with an earlier version and with this one: what they wrote, side by side.

    python bench/same_results.py --before REVISION --data FOLDERS --out runs/same

runs the demo, three cells of the fast study of Lázaro and Barco, `check` of the Radiography
Database, and a short training with its audit, once with the package as it was at REVISION and once
as it lies here, and writes ``docs/results/same-results.md``. A step that ended is not run again.
Left out of it are times, dates, folders, blank lines and the numbers in names of images, and files
that hold little else (``meta.json``, checksums, the record of what was written).
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "same-results.md"
#: Steps by name: the command line, and the files that it leaves, as patterns.
STEPS = {
    "check": (["check", "radiography-database", "--out", "check.md"], ["check.*"]),
    "study": (
        ["study", "lazaro-barco-2020", "--fast", "--cells", "*/baseline/0", "--out", "study"],
        ["study/*/**/*"],
    ),
    "run": (
        [
            "run", "lazaro-barco-2020-baseline", "--set", "preparation.size=80",
            "--set", "training.epochs=3", "--data", "radiography-database", "--out", "baseline",
        ],
        ["baseline/**/*"],
    ),
    "audit": (["audit", "baseline", "--out", "audit.md"], ["audit.md"]),
    "demo": (["demo", "--out", "demo"], ["demo/**/*"]),
}  # fmt: skip
LEFT_OUT = {"meta.json", "checksums.json", ".written", ".lock", "given.csv", "manifest.csv"}
_TIMES = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.+]+|\"seconds\": [\d.]+|\d+ (?:s|min|minutes|seconds)\b|\d+\.\d+ s\b"
)
_IMAGE = re.compile(r"\(\d+\)\.(?=jpe?g|png)")
_FOLDER = re.compile(r"[^\s\"']*/(?:before|after)/")
#: The last column of a history, as CSV and in a report, and their sum.
_SECONDS = re.compile(r",[\d.]+$|<td class=\"n\">[\d.]+</td></tr>$|<dt>seconds</dt>.*$", re.M)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_LONGEST = 200


class Difference(NamedTuple):
    """A file that is not the same: by how much its numbers differ, or where its text does."""

    file: str
    largest: float | None
    lines: tuple[str, str]


def main() -> None:
    """Run whatever has not run, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", required=True, help="a commit to compare with")
    parser.add_argument("--data", required=True, help="as $HURDLES_DATA")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sources = {"before": _extracted(options.before, options.out / "source"), "after": ROOT}
    for name in STEPS:
        for when, source in sources.items():
            _run(name, source, (options.out / when).resolve(), options.data)
    PAGE.write_text(_page(options.before, options.out), encoding="utf-8")


def _extracted(revision: str, folder: Path) -> Path:
    if not folder.exists():
        archive = subprocess.run(
            ["git", "archive", revision, "src"], cwd=ROOT, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
    return folder.resolve()


def _run(name: str, source: Path, folder: Path, data: str) -> None:
    ended = folder / f"{name}.rc"
    if ended.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    cache = str(folder / "cache")
    environment = {"PYTHONPATH": str(source / "src"), "HURDLES_DATA": data, "HURDLES_CACHE": cache}
    done = subprocess.run(
        [sys.executable, "-c", "from hurdles.cli import main; main()", *STEPS[name][0]],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    (folder / f"{name}.out").write_text(done.stdout, encoding="utf-8")
    (folder / f"{name}.err").write_text(done.stderr, encoding="utf-8")
    ended.write_text(f"{done.returncode}\n", encoding="utf-8")


def _compared(name: str, out: Path) -> tuple[int, list[Difference], list[str]]:
    """Return how many files of a step were compared, those that differ, those of one side alone."""
    sides = []
    for when in ("before", "after"):
        paths = [p for pattern in STEPS[name][1] for p in (out / when).glob(pattern)]
        finished = {p.parent for p in paths if p.name == "meta.json"}
        inside = [p for p in paths if name != "study" or finished & set(p.parents)]
        names = {p.relative_to(out / when).as_posix() for p in inside if p.is_file()}
        sides.append({n for n in names if Path(n).name not in LEFT_OUT} | {f"{name}.rc"})
    common = sorted(sides[0] & sides[1])
    different = [d for file in common for d in _differences(file, out)]
    return len(common), different, sorted(sides[0] ^ sides[1])


def _differences(file: str, out: Path) -> Iterator[Difference]:
    before, after = out / "before" / file, out / "after" / file
    if file.endswith((".safetensors", ".png")):
        if before.read_bytes() != after.read_bytes():
            yield Difference(file, None, ("bytes", "other bytes"))
        return
    if file.endswith(".npz"):
        ours, theirs = np.load(before), np.load(after)
        unequal = [k for k in ours.files if not np.array_equal(ours[k], theirs[k])]
        if ours.files != theirs.files or unequal:
            yield Difference(file, None, (f"arrays {unequal}", "other values"))
        return
    texts = [_plain(p.read_text(encoding="utf-8"), p) for p in (before, after)]
    if texts[0] == texts[1]:
        return
    unequal = [
        pair for pair in zip(*(t.splitlines() for t in texts), strict=False) if len(set(pair)) > 1
    ]
    first = unequal[0] if unequal else ("", "further lines")
    numbers = [[float(n) for n in _NUMBER.findall(t)] for t in texts]
    same_words = _NUMBER.sub("#", texts[0]) == _NUMBER.sub("#", texts[1])
    largest = max(abs(a - b) for a, b in zip(*numbers, strict=True)) if same_words else None
    yield Difference(file, largest, _around(*first))


def _plain(text: str, path: Path) -> str:
    text = _IMAGE.sub("(…).", _TIMES.sub("…", _FOLDER.sub("", text)))
    if path.name in ("history.csv", "report.html"):
        text = _SECONDS.sub("", text)
    return "\n".join(line for line in text.splitlines() if line.strip())


def _around(before: str, after: str) -> tuple[str, str]:
    """Cut two lines to what stands around their first difference."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    start = max(0, at - _LONGEST // 2)
    return before[start : start + _LONGEST], after[start : start + _LONGEST]


def _page(revision: str, out: Path) -> str:
    lines = [
        "# The same commands before and after the rebuild",
        "",
        f"Written by `python bench/same_results.py --before {revision} --data FOLDERS --out OUT`, "
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {os.cpu_count()} "
        "processors. Research use only; not a medical device.",
        "",
        "| step | command | files compared | the same | numbers differ | by at most | text differs "
        "| on one side |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    details: list[str] = []
    for name, (command, _) in STEPS.items():
        count, different, alone = _compared(name, out)
        numbers = [d for d in different if d.largest is not None]
        largest = f"{max(d.largest or 0.0 for d in numbers):.2g}" if numbers else ""
        cells = (
            name, f"`hurdles {' '.join(command)}`", count, count - len(different), len(numbers),
            largest, len(different) - len(numbers), len(alone),
        )  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
        if different or alone:
            details += ["", f"## {name}", ""]
        for difference in different:
            how = (
                "text" if difference.largest is None else f"numbers, up to {difference.largest:.2g}"
            )
            details += [f"- `{difference.file}`: {how}; first:", "", "  ```"]
            details += [
                f"  before  {difference.lines[0]}",
                f"  after   {difference.lines[1]}",
                "  ```",
            ]
        details += [f"- `{file}`: on one side alone" for file in alone]
    return "\n".join([*lines, *details]) + "\n"


if __name__ == "__main__":
    main()
