"""How right the time left is that long commands write, and how long they are silent.

    HURDLES_DATA=PATHS python bench/progress.py --out runs/progress [--only audit] [--clock wall]

gives each command, reads what it writes on stderr line by line with the time of day, and writes
``docs/results/progress.md``: for each stage of ten seconds or more what it had said last at each
tenth of its time, as the total that follows over the true one, and the longest silence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import hurdles

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "progress.md"
#: Lines of progress begin with the time; and a calibration has fewer cohorts. Processor seconds are
#: those of a machine that does nothing else, as far as the command computes on one thread.
_CHILD = """
import sys, threading, time
if sys.argv[1] == "processor":
    time.monotonic = time.perf_counter = time.process_time
clock, began = time.monotonic, 0.0 if sys.argv[1] == "processor" else time.monotonic()
from dataclasses import replace
from hurdles.calibrating.trials import PROFILES
from hurdles.cli import main
from hurdles.cli.progress import ProgressBar
PROFILES["fast"] = replace(
    PROFILES["fast"], data=(4, 2), alike=0, grid=(1.0,), faults=1,
    shortcuts=("marker",),
)
line = ProgressBar._line
ProgressBar._line = lambda bar, text: line(bar, f"{clock() - began:.3f} {text}")
del sys.argv[1]
try:
    main()
finally:
    print(f"{clock() - began:.3f} ended", file=sys.stderr)
"""
_DATA = '--data "radiography-database=$HURDLES_DATA/COVID-19 Radiography Database"'
_RUN = (
    "run lazaro-barco-2020-baseline --set preparation.size=80 --set training.epochs=2 "
    f"--out run --resume {_DATA}"
)
#: The commands by name; `{out}` is a folder of their own, which is new every time.
CASES = {
    "audit": "audit run --force",
    "check": "check radiography-database --out {out}/check.html",
    "study": f"study lazaro-barco-2020 --fast --cells 'as coded/baseline/*' --out {{out}} {_DATA}",
    "calibrate-audit": "calibrate-audit --profile fast --workers 1 --out {out}",
}
_LINE = re.compile(r"(?P<stage>[^:\[]+): (?P<done>\d+) of (?P<total>\d+)(?P<rest>.*)")
_CELL = re.compile(r"\[(?P<done>\d+)/(?P<total>\d+)\](?P<rest>.*)")
_LEFT = re.compile(r"([\d.]+) (s|min|h) left")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
#: Shorter stages say nothing, or one line.
_LONG = 10.0


class Stage(NamedTuple):
    """One stage: when it began and ended, and the seconds left that it had said, by the time."""

    name: str
    began: float
    ended: float
    said: list[tuple[float, float]]

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.ended - self.began

    def ratios(self) -> list[float | None]:
        """Return the total that it had said last over the true one, at each tenth; None: none."""
        ratios: list[float | None] = []
        for tenth in range(1, 10):
            now = self.began + tenth / 10 * self.seconds
            lines = [(when, left) for when, left in self.said if when <= now]
            total = sum(lines[-1]) - self.began if lines else None
            ratios.append(None if total is None else total / self.seconds)
        return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/progress"))
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--only", choices=CASES, nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    if "audit" in arguments.only and not (out / "run" / "meta.json").exists():
        watched(_RUN, out, "wall")
    for name in arguments.only:
        own = out / name
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        lines, seconds = watched(CASES[name].format(out=name), out, arguments.clock)
        kept = json.dumps([lines, seconds, arguments.clock])
        (out / f"{name}.json").write_text(kept, encoding="utf-8")
    files = {n: out / f"{n}.json" for n in CASES if (out / f"{n}.json").exists()}
    PAGE.write_text(page({n: json.loads(f.read_text("utf-8")) for n, f in files.items()}), "utf-8")


def watched(command: str, folder: Path, clock: str) -> tuple[list[tuple[float, str]], float]:
    """Give a command; return its lines of progress with their second, and the seconds of it all."""
    words = [sys.executable, "-c", _CHILD, clock, *shlex.split(os.path.expandvars(command))]
    environment = {**os.environ, "HURDLES_CACHE": str(folder / "cache")}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):  # 3: some limit was not met
        raise SystemExit(f"hurdles {command}: {done.stderr[-2000:]}")
    found = map(re.compile(r"([\d.]+) (.*)").fullmatch, done.stderr.splitlines())
    lines = [(float(line[1]), line[2]) for line in found if line]
    return lines[:-1], lines[-1][0]


def stages(lines: Sequence[tuple[float, str]], seconds: float) -> Iterator[Stage]:
    """Yield the stages of a command, and the cells of a study as one."""
    open_now: dict[str, Stage] = {}
    for when, text in lines:
        for pattern in (_LINE, _CELL):
            if not (found := pattern.match(text)):
                continue
            name = found["stage"] if pattern is _LINE else "cells"
            if pattern is _LINE and found["done"] == "0" and not found["rest"]:
                yield from [open_now.pop(n) for n in list(open_now) if n != "cells"]
            stage = open_now.get(name, Stage(name, when, when, []))
            if left := _LEFT.search(found["rest"]):
                stage.said.append((when, float(left[1]) * _SECONDS[left[2]]))
            open_now[name] = stage._replace(ended=when)
    yield from (s._replace(ended=seconds) if s.name == "cells" else s for s in open_now.values())


def page(measured: dict[str, tuple[list[tuple[float, str]], float, str]]) -> str:
    """Return the page as Markdown."""
    rows, silences, worst = [], [], []
    for command, (lines, seconds, clock) in measured.items():
        times = [0.0, *(when for when, _ in lines), seconds]
        silence = max(b - a for a, b in itertools.pairwise(times))
        silences.append(f"| `{command}` | {clock} | {seconds:.0f} | {silence:.1f} |")
        for stage in stages(lines, seconds):
            if stage.seconds < _LONG:
                continue
            ratios = stage.ratios()
            worst += [abs(ratio - 1) for ratio in ratios if ratio is not None]
            cells = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            first = [f"`{command}`", stage.name, f"{stage.seconds:.0f}"]
            rows.append("| " + " | ".join([*first, *cells]) + " |")
    within = sum(error <= 0.2 for error in worst)
    tenths = " | ".join(f"{10 * n} %" for n in range(1, 10))
    made = datetime.now(UTC).date().isoformat()
    commands = [f"- `{name}`: `hurdles {CASES[name]}`" for name in measured]
    return "\n".join(
        [
            "# The time left, and silence",
            "",
            "What `bench/progress.py` read on stderr, which was no terminal. At each tenth of a "
            "stage's true time, the total that follows from the last time left, over the true one; "
            f"empty where there was none yet. Of {len(worst)} such numbers, {within} are within a "
            f"fifth; the worst is {max(worst, default=0):.0%} off. The last stages of a command "
            "may hold work of other kinds than their steps.",
            "",
            f"| command | stage | seconds | {tenths} |",
            "|---|---|--:|" + "--:|" * 9,
            *rows,
            "",
            "Silence is the longest time between two lines, from the start of the process to its "
            "end. By the clock `processor` all seconds are those of the processor, the program's "
            "own clock included: what they would be on a machine that does nothing else.",
            "",
            "| command | clock | seconds | longest silence, s |",
            "|---|---|--:|--:|",
            *silences,
            "",
            *commands,
            "",
            f"Made with hurdles {hurdles.__version__}, Python {platform.python_version()}, "
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors that others "
            f"used as well, {made}.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
