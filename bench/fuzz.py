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
import math
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
from filelock import FileLock

from fuzzing.targets import TARGETS, BrokenPromiseError, Target

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
#: How many cases a group is to have, all its kinds of input together.
GOALS = {
    "pictures": 700_000,
    "DICOM": 300_000,
    "tables and recipes": 100_000,
    "run folders": 10_000,
}
SECONDS, MEGABYTES = 5, 500
_BATCH, _BATCH_OF_RUNS, _KILLED_AFTER = 5000, 500, 60
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FAULTS = ("death", "hang", "memory", "foreign exception", "broken promise")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="inputs with this in their group or name"
    )
    parser.add_argument("--again", action="store_true", help="put the faults found once more")
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
    if chosen.again:
        ledger.ask_again()
        return 0
    goals = {
        name: chosen.cases or _goal(name)
        for name, target in TARGETS.items()
        if chosen.only in f"{target.group}: {name}"
    }
    while lags := {n: ledger.done(n) / goal for n, goal in goals.items() if ledger.done(n) < goal}:
        # The kind that lags most comes next, so that whatever is stopped has seen all of them.
        name = min(lags, key=lags.__getitem__)
        done = ledger.done(name)
        batch = _BATCH_OF_RUNS if TARGETS[name].group == "run folders" else _BATCH
        ledger.add(name, *_batch(name, done, min(done + batch, goals[name])))
    return 0


def _goal(name: str) -> int:
    target = TARGETS[name]
    shares = [each.share for each in TARGETS.values() if each.group == target.group]
    return math.ceil(GOALS[target.group] * target.share / sum(shares))


def _rng(name: str, number: int) -> np.random.Generator:
    return np.random.default_rng([number, *name.encode()])


# --- what has been done --------------------------------------------------------------------------


class _Ledger:
    """Cases by kind of input and outcome, and the faults, each a table on disk.

    Several processes may fill it, each with other kinds of input.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table, self._list = folder / "fuzz.csv", folder / "fuzz.faults.csv"
        self._page = folder / "fuzz.md"
        self._lock = FileLock(Path(tempfile.gettempdir()) / "hurdles-fuzz.lock")

    @property
    def counts(self) -> dict[str, collections.Counter[str]]:
        counts: dict[str, collections.Counter[str]] = {n: collections.Counter() for n in TARGETS}
        if self._table.is_file():
            for row in pd.read_csv(self._table).itertuples():
                counts[row.input][row.outcome] = int(row.cases)
        return counts

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Return the faults found, with what comes of the same case now."""
        if not self._list.is_file():
            return []
        listed = pd.read_csv(self._list, keep_default_na=False)
        listed["words"] = listed["words"].str.replace(r"(/[^\s/]+)+/", "", regex=True)  # folders
        return listed.to_dict("records")

    def done(self, name: str) -> int:
        return _cases(self.counts[name])

    def add(self, name: str, more: collections.Counter[str], faults: list[dict[str, Any]]) -> None:
        with self._lock:
            counts = self.counts
            counts[name].update(more)
            listed = self.faults + [{"input": name, **fault, "now": ""} for fault in faults]
            self._write(counts, listed)

    def ask_again(self) -> None:
        """Put every fault once more: what is mended moves to its new outcome."""
        for fault in [each for each in self.faults if not each["now"]]:
            counts, faults = _batch(fault["input"], fault["number"], fault["number"] + 1)
            if faults:
                continue
            with self._lock:
                total, listed = self.counts, self.faults
                total[fault["input"]][fault["what"]] -= 1
                total[fault["input"]].update(counts)
                listed[listed.index(fault)]["now"] = "refused" if counts["refused"] else "accepted"
                self._write(total, listed)

    def _write(
        self, counts: dict[str, collections.Counter[str]], faults: list[dict[str, Any]]
    ) -> None:
        rows = [
            {"input": name, "outcome": outcome, "cases": cases}
            for name, found in counts.items()
            for outcome, cases in sorted(found.items())
        ]
        pd.DataFrame(rows).to_csv(self._table, index=False, lineterminator="\n")
        if faults:
            pd.DataFrame(faults).to_csv(self._list, index=False, lineterminator="\n")
        self._page.write_text(_page(counts, faults), encoding="utf-8")


def _cases(counts: collections.Counter[str]) -> int:
    return sum(cases for outcome, cases in counts.items() if outcome not in _UNITS)


#: Counted beside the outcomes: seconds of processor time, and decoders that died in their process.
_UNITS = ("seconds", "decoder died")


# --- carrying out --------------------------------------------------------------------------------

#: What a process notes before every case: its number, the last one, the time, then the counts so
#: far of cases accepted and refused, of decoders that died, and seconds of processor time.
_NOTE = struct.Struct("<qqdqqqd")


def _batch(
    name: str, first: int, last: int
) -> tuple[collections.Counter[str], list[dict[str, Any]]]:
    """Carry out cases of a kind, in as many processes as it takes; return counts and faults."""
    counts: collections.Counter[str] = collections.Counter()
    faults = []
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
            lines = printed.read_text(errors="replace").splitlines()
            if child.returncode > 0:  # a fault of this script; signals are negative
                raise RuntimeError("\n".join(lines))
            faults += [json.loads(line) for line in lines if line.startswith("{")]
            first, _, _, accepted, refused, died, seconds = _NOTE.unpack(note.read_bytes())
            counts["accepted"] += accepted
            counts["refused"] += refused
            counts["decoder died"] += died
            counts["seconds"] += round(seconds)
            if child.returncode:  # with this case in hand
                how = f"the process ended with {child.returncode}"
                what = "hang" if hung else "death"
                faults.append({"number": first, "what": what, "words": how})
                first += 1
    for fault in faults:
        counts[fault["what"]] += 1
        print(f"{name} {fault['number']}: {fault['what']}: {fault['words']}", flush=True)
    return counts, faults


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
    from hurdles.pixels import frames

    peaks = {0: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    for worker in frames._IDLE.workers:
        pid = worker._process.pid
        status = Path(f"/proc/{pid}/status")
        if status.is_file() and (found := re.search(r"VmHWM:\s*(\d+)", status.read_text())):
            peaks[pid] = int(found[1]) * 1024
    return peaks


# --- the page ------------------------------------------------------------------------------------


def _page(counts: dict[str, collections.Counter[str]], faults: list[dict[str, Any]]) -> str:
    from importlib.metadata import version

    import hurdles

    left = sum(found[fault] for found in counts.values() for fault in _FAULTS)
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
            total.update(counts[name])
            lines.append(_row(name, counts[name]))
        lines.append(_row(f"**{group}** (of {GOALS[group]:,})", total))
    lines += [
        "",
        f"{len(faults):,} faults were found; {left:,} are left. Memory is that of the process and "
        "of the one that decodes for it; seconds are of a processor, and a case that takes a "
        "minute by the clock is ended.",
        "",
        *_listed(faults),
        f"hurdles {hurdles.__version__}, pydicom {version('pydicom')}, Pillow {version('pillow')}, "
        f"OpenCV {version('opencv-python-headless')}, simplejpeg {version('simplejpeg')}, "
        f"python-gdcm {version('python-gdcm')}; Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{datetime.now(UTC):%Y-%m-%d}.",
        "",
    ]
    return "\n".join(lines)


def _listed(faults: list[dict[str, Any]]) -> list[str]:
    """Return a table of the faults: of each kind of words the first case."""
    if not faults:
        return []
    rows = ["| found | input | cases | first | now |", "|---|---|---:|---:|---|"]
    table = pd.DataFrame(faults)
    table["kind"] = table["words"].str.replace(r"\d+", "N", regex=True)
    for (kind, name), cases in table.groupby(["kind", "input"], sort=False):
        words = str(kind).replace("|", "\\|").replace("\n", " ")[:160]
        now = ", ".join(sorted({each or "not mended" for each in cases["now"]}))
        first = cases["number"].iloc[0]
        what = cases["what"].iloc[0]
        rows.append(f"| {what}: `{words}` | {name} | {len(cases)} | {first} | {now} |")
    return [*rows, ""]


def _row(name: str, counts: collections.Counter[str]) -> str:
    cases = sum(n for outcome, n in counts.items() if outcome not in _UNITS)
    shown = [
        cases,
        *(counts[o] for o in ("accepted", "refused", "decoder died", *_FAULTS, "seconds")),
    ]
    return f"| {name} | " + " | ".join(f"{n:,}" for n in shown) + " |"


if __name__ == "__main__":
    sys.exit(main())
