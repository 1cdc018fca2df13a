"""Put hundreds of thousands of damaged and hostile inputs to hurdles, and count what comes of them.

Each case is made from its number, in a process that may die; what has been done is kept in a table,
so the same command goes on where it was interrupted. Faults are: a death of the process, an answer
that takes more than 5 seconds, more than 500 MB, an exception that is none of hurdles', and pixels
that are not what `decode` promises (``float32`` within [0, 1], of the size that the header says).

    python bench/fuzz.py                                  # to the numbers that the page asks for
    python bench/fuzz.py --only TIFF --cases 20000
    python bench/fuzz.py --show "DICOM JPEG-LS" 1234 case.dcm
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import platform
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fuzzing.targets import TARGETS, BrokenPromiseError, Target

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
#: How many cases a group is to have, all its kinds of input together.
GOALS = {"decoders": 1_000_000, "tables and recipes": 100_000, "run folders": 10_000}
SECONDS, MEGABYTES = 5, 500
_BATCH, _KILLED_AFTER = 5000, 60
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FAULTS = ("death", "hang", "memory", "foreign exception", "broken promise")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="inputs with this in their name")
    parser.add_argument("--cases", type=int, help="of each of them, instead of what the page asks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of table and page")
    parser.add_argument("--show", nargs=3, metavar=("NAME", "NUMBER", "FILE"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.show:
        name, number, file = chosen.show
        Path(file).write_bytes(TARGETS[name].case(_rng(name, int(number))))
        return 0
    if chosen.child:
        name, note = chosen.child
        _carry_out(name, Path(note))
        return 0
    ledger = _Ledger(chosen.out)
    goals = {name: chosen.cases or _goal(name) for name in TARGETS if chosen.only in name}
    while pending := {n: g for n, g in goals.items() if ledger.done(n) < g}:
        # The kind that lags most comes next, so that whatever is stopped has seen all of them.
        name = min(pending, key=lambda each: ledger.done(each) / goals[each])
        _batch(name, ledger, min(_BATCH, goals[name] - ledger.done(name)))
        ledger.save()
    return 0 if ledger.faults == 0 else 1


def _goal(name: str) -> int:
    group = TARGETS[name].group
    several = [each for each in TARGETS.values() if each.group == group]
    return -(-GOALS[group] // len(several))


def _rng(name: str, number: int) -> np.random.Generator:
    return np.random.default_rng([number, *name.encode()])


# --- what has been done --------------------------------------------------------------------------


class _Ledger:
    """Cases by kind of input and outcome, on disk as a table; and the faults, one a line."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table, self._page = folder / "fuzz.csv", folder / "fuzz.md"
        self._list = folder / "fuzz.faults.csv"
        self.counts: dict[str, collections.Counter[str]] = {
            n: collections.Counter() for n in TARGETS
        }
        self.listed: list[dict[str, Any]] = []
        if self._table.is_file():
            for row in pd.read_csv(self._table).itertuples():
                self.counts[row.input][row.outcome] = int(row.cases)
        if self._list.is_file():
            self.listed = pd.read_csv(self._list).to_dict("records")

    def done(self, name: str) -> int:
        return sum(n for outcome, n in self.counts[name].items() if outcome not in _UNITS)

    @property
    def faults(self) -> int:
        return sum(count[fault] for count in self.counts.values() for fault in _FAULTS)

    def fault(self, name: str, number: int, what: str, words: str) -> None:
        print(f"{what}: {name} {number}: {words}", flush=True)
        self.counts[name][what] += 1
        self.listed.append({"input": name, "number": number, "fault": what, "words": words})

    def save(self) -> None:
        rows = [
            {"input": name, "outcome": outcome, "cases": cases}
            for name, counts in self.counts.items()
            for outcome, cases in sorted(counts.items())
        ]
        pd.DataFrame(rows).to_csv(self._table, index=False, lineterminator="\n")
        if self.listed:
            pd.DataFrame(self.listed).to_csv(self._list, index=False, lineterminator="\n")
        self._page.write_text(_page(self), encoding="utf-8")


#: Counted beside the outcomes: seconds of processor time, and decoders that died in their process.
_UNITS = ("seconds", "decoder died")


# --- carrying out --------------------------------------------------------------------------------

#: What a process notes before every case: its number, the last one, the time, then the counts so
#: far of cases accepted and refused, of decoders that died, and seconds of processor time.
_NOTE = struct.Struct("<qqdqqqd")


def _batch(name: str, ledger: _Ledger, cases: int) -> None:
    """Carry out the next cases of a kind, in as many processes as it takes."""
    first = ledger.done(name)
    last = first + cases
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        note, printed = Path(folder) / "note", Path(folder) / "printed"
        while first < last:
            note.write_bytes(_NOTE.pack(first, last, time.time(), 0, 0, 0, 0.0))
            call = [sys.executable, "-W", "ignore", __file__, "--child", name, str(note)]
            with printed.open("w") as out:
                child = subprocess.Popen(
                    call, stdout=out, stderr=subprocess.STDOUT,
                    env={**os.environ, "TMPDIR": folder}, start_new_session=True,
                )  # fmt: skip
                hung = _watched(child, note)
            lines = printed.read_text().splitlines()
            if child.returncode > 0:  # a fault of this script; signals are negative
                raise RuntimeError("\n".join(lines))
            for line in lines:
                if line.startswith("{"):
                    ledger.fault(name, **json.loads(line))
            first, _, _, accepted, refused, died, seconds = _NOTE.unpack(note.read_bytes())
            ledger.counts[name]["accepted"] += accepted
            ledger.counts[name]["refused"] += refused
            ledger.counts[name]["decoder died"] += died
            ledger.counts[name]["seconds"] += round(seconds)
            if child.returncode:  # with this case in hand
                how = f"the process ended with {child.returncode}"
                ledger.fault(name, first, "hang" if hung else "death", how)
                first += 1


def _watched(child: subprocess.Popen[bytes], note: Path) -> bool:
    """Wait for a process, and end it where a case takes a minute."""
    try:
        while child.poll() is None:
            try:
                child.wait(1)
            except subprocess.TimeoutExpired:
                if time.time() - _NOTE.unpack(note.read_bytes())[2] > _KILLED_AFTER:
                    return True
        return False
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _carry_out(name: str, note: Path) -> None:
    """Carry out cases one after the other; this is the process that may die."""
    first, last, *_ = _NOTE.unpack(note.read_bytes())
    target = TARGETS[name]
    target.case(_rng(name, first))  # what is made once is not measured
    path = note.with_name(f"case{target.suffix}")
    counts = {"accepted": 0, "refused": 0, "decoder died": 0}
    with note.open("r+b", buffering=0) as noted:

        def tell(number: int) -> None:
            noted.seek(0)
            noted.write(
                _NOTE.pack(number, last, time.time(), *counts.values(), time.process_time())
            )

        for number in range(first, last):
            path.write_bytes(target.case(_rng(name, number)))
            tell(number)
            outcome, words = _judged(target, path)
            if outcome in _FAULTS:
                told = {"number": number, "what": outcome, "words": words}
                print(json.dumps(told), flush=True)
            else:
                counts[outcome] += 1
                counts["decoder died"] += "decoder died" in words
        tell(last)


def _judged(target: Target, path: Path) -> tuple[str, str]:
    from hurdles.errors import HurdlesError

    before, clock = _peaks(), time.process_time()
    outcome, words = "accepted", ""
    try:
        target.enter(path)
    except HurdlesError as error:
        outcome, words = "refused", str(error)
        if not words.strip() or re.search(r"Traceback|<class|object at 0x", words):
            outcome = "broken promise"
    except BrokenPromiseError as error:
        outcome, words = "broken promise", str(error)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome = "foreign exception"
        words = f"{error!r:.200} in {Path(where.filename).name}, line {where.lineno}"
    took = time.process_time() - clock
    grew = max(peak - before.get(who, peak) for who, peak in _peaks().items()) / 2**20
    if took > SECONDS:
        outcome, words = "hang", f"{took:.1f} s"
    elif grew > MEGABYTES:
        outcome, words = "memory", f"{grew:.0f} MB"
    return outcome, words.replace(str(path), "FILE")[:300]


def _peaks() -> dict[int, int]:
    """Return the highest memory so far, in bytes, of this process and of those that decode."""
    from hurdles.data import frames

    peaks = {0: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    for worker in frames._IDLE.workers:
        pid = worker._process.pid
        status = Path(f"/proc/{pid}/status")
        if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+)", status.read_text())):
            peaks[pid] = int(found[1]) * 1024
    return peaks


# --- the page ------------------------------------------------------------------------------------


def _page(ledger: _Ledger) -> str:
    from importlib.metadata import version

    import hurdles

    lines = [
        "# Searched for, not waited for: damaged and hostile inputs",
        "",
        "Each case is a small valid input that was changed: blindly (bits, bytes, numbers, cut, "
        "moved, repeated), or where a reader looks (a PNG chunk with its checksum set right, a "
        "JPEG segment, an entry of a TIFF directory, an element of a DICOM header, a look-up "
        "table, a cell of a table, a value of a recipe, a file of a run with its seal set right). "
        "A case is made from its number; `python bench/fuzz.py --show NAME NUMBER FILE` writes it. "
        f"A fault is a death of the process, more than {SECONDS} s, more than {MEGABYTES} MB, an "
        "exception that is none of hurdles', or a result that breaks a promise: pixels that are "
        "not finite within [0, 1] or not of the size that the header says; a recipe that is "
        "another when it is read again. Decoders that die do so in their own process, and the "
        "file is refused.",
        "",
        "| input | cases | accepted | refused | of these decoder died | "
        + " | ".join(_FAULTS)
        + " | CPU s |",
        "|---|" + "---:|" * (len(_FAULTS) + 5),
    ]
    for group in GOALS:
        names = [name for name, target in TARGETS.items() if target.group == group]
        total: collections.Counter[str] = collections.Counter()
        for name in names:
            total.update(ledger.counts[name])
            lines.append(_row(name, ledger.counts[name]))
        lines.append(_row(f"**{group}** (of {GOALS[group]:,})", total))
    lines += [
        "",
        f"{ledger.faults:,} faults. Memory is that of the process and of the one that decodes for "
        "it; seconds are of a processor, and a case that takes a minute by the clock is ended.",
        "",
        f"hurdles {hurdles.__version__}, pydicom {version('pydicom')}, Pillow {version('pillow')}, "
        f"OpenCV {version('opencv-python-headless')}, simplejpeg {version('simplejpeg')}, "
        f"python-gdcm {version('python-gdcm')}; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d}.",
        "",
    ]
    return "\n".join(lines)


def _row(name: str, counts: collections.Counter[str]) -> str:
    cases = sum(n for outcome, n in counts.items() if outcome not in _UNITS)
    shown = [
        cases,
        *(counts[o] for o in ("accepted", "refused", "decoder died", *_FAULTS, "seconds")),
    ]
    return f"| {name} | " + " | ".join(f"{n:,}" for n in shown) + " |"


if __name__ == "__main__":
    sys.exit(main())
