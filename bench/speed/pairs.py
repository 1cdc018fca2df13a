"""Sides of a comparison, each in a process of its own, that take short turns in one run.

A host changes its speed in the middle of a run, by a factor of two at times, so nothing is compared
with a number of another minute: the sides of a row take turns of a few seconds, and what counts is
the median of the ratios of neighbouring turns. A process of its own for each side, since allocator,
threads and libraries are set once per process; all wait while one works.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Side:
    """One way to do the work.

    `make` names a function, ``module:function``, of a module in ``bench/speed`` or ``bench/peers``;
    called with `options` it sets up and returns a function of seconds that works for about so long
    (or does a fixed piece of work) and returns the value in the row's unit.
    """

    name: str
    make: str
    options: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """A number to reach: of our side itself, or as a ratio over a peer (larger is better then).

    `on` restricts it to a kind of processor (`kind_of_processor`); `of` names what is measured of
    our side: ``"value"``, ``"cpu_s"`` or ``"peak_mib"``.
    """

    value: float
    over: str = ""
    on: str = ""
    of: str = "value"

    def __str__(self) -> str:
        where = f" on {self.on}" if self.on else ""
        return f"{self.value:g} x {self.over}{where}" if self.over else f"{self.value:g}{where}"


@dataclass(frozen=True)
class Row:
    """One line of the table. The first side is ours.

    `better` is ``"higher"`` for rates, ``"lower"`` for seconds; a ratio is always so many times
    better than the peer. `profile` names a function like a side's `make` whose turn returns lines
    of text, where the time goes, for the page if a goal is missed. `needs` is a folder under
    ``HURDLES_DATA``, ``"cuda"`` or ``"Rscript"``.
    """

    name: str
    what: str
    unit: str
    sides: tuple[Side, ...]
    goals: tuple[Goal, ...] = ()
    better: str = "higher"
    turns: int = 5
    seconds: float = 4.0
    profile: str = ""
    needs: str = ""
    note: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of one side: the value, and processor seconds and memory of its process."""

    side: str
    turn: int
    value: float
    cpu_s: float
    wall_s: float
    peak_mib: float


def take_turns(row: Row) -> Iterator[Turn]:
    """Yield every turn of a row, the sides one after the other; the first to begin alternates."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker(side)) for side in row.sides]
        for turn in range(row.turns):
            for side, worker in list(zip(row.sides, workers, strict=True))[
                :: -1 if turn % 2 else 1
            ]:
                began = time.perf_counter()
                answer = _ask(side, worker, row.seconds)
                yield Turn(side=side.name, turn=turn, wall_s=time.perf_counter() - began, **answer)


def profile_of(row: Row, environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the lines of a row's profile."""
    side = Side("profile", row.profile, environment=environment or {})
    with _worker(side) as worker:
        return list(_ask(side, worker, row.seconds)["value"])


def kind_of_processor() -> str:
    """Return ``"amx"``, ``"avx512-bf16"``, ``"avx2"`` or ``"other"``.

    A larger processor that does without more than the instructions of ``ONEDNN_MAX_CPU_ISA``
    (``AVX2``, with ``ATEN_CPU_CAPABILITY=avx2``, or ``AVX512_CORE_BF16``) stands in for a smaller
    one where none is at hand, and is called by its name with ``-restricted``.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "other"
    here = next((kind for flag, kind in KINDS.items() if flag in flags), "other")
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").lower()
    allowed = {"avx2": "avx2", "avx512_core_bf16": "avx512-bf16"}.get(limit, here)
    return here if allowed == here else f"{allowed}-restricted"


#: Kinds of processors by a flag that only they and larger ones have, the largest first.
KINDS = {"amx_bf16": "amx", "avx512_bf16": "avx512-bf16", "avx2": "avx2"}


@contextlib.contextmanager
def _worker(side: Side) -> Iterator[subprocess.Popen[str]]:
    paths = [str(HERE), str(HERE.parent / "peers"), str(HERE.parents[1] / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **side.environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed: modules are compiled once
    command = [sys.executable, str(HERE / "worker.py"), side.make, json.dumps(dict(side.options))]
    pipe = subprocess.PIPE
    # Left, it closes the worker's input, at whose end the worker ends.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as worker:
        _answer(side, worker)  # it is set up
        yield worker


def _ask(side: Side, worker: subprocess.Popen[str], seconds: float) -> dict:
    assert worker.stdin
    worker.stdin.write(f"{seconds}\n")
    worker.stdin.flush()
    return _answer(side, worker)


def _answer(side: Side, worker: subprocess.Popen[str]) -> dict:
    assert worker.stdout
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(f"{side.name} ({side.make}) ended early; its error stands above.")
    return dict(json.loads(line))
