"""Everything that must hold of the project: scripts/check, once, the last of all rows."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pairs import Goal, Row, Side

ROOT = Path(__file__).resolve().parents[2]
LOG = ROOT / "build" / "check.log"
#: Lines of pytest's list of slow tests that the page shows.
SLOWEST = 20


def everything() -> Callable[[float], float]:
    def turn(_: float) -> float:
        LOG.parent.mkdir(exist_ok=True)
        # The tests must not find the modules of the bench; a fresh clone has no cache of mypy.
        with tempfile.TemporaryDirectory() as cache, LOG.open("w", encoding="utf-8") as log:
            environment = {
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "MYPY_CACHE_DIR": cache,
                "PYTEST_ADDOPTS": "--durations=50",
            }
            began = time.perf_counter()
            done = subprocess.run(
                [str(ROOT / "scripts" / "check")], stdout=log, stderr=log, env=environment
            )
        if done.returncode:
            raise SystemExit(f"scripts/check failed: {LOG}")
        return time.perf_counter() - began

    return turn


def where_the_time_goes() -> Callable[[float], list[str]]:
    """Return the summary of the turn that was measured, and its slowest tests."""

    def turn(_: float) -> list[str]:
        lines = LOG.read_text(encoding="utf-8").splitlines()
        slow = next(i for i, line in enumerate(lines) if "slowest 50 durations" in line)
        return lines[lines.index("== summary") + 1 :] + lines[slow + 1 : slow + 1 + SLOWEST]

    return turn


ROWS = (
    Row(
        name="make-test",
        what="make test: lint, types, documentation and all tests",
        unit="s",
        sides=(Side("hurdles", "suite:everything"),),
        goals=(Goal(300.0),),
        better="lower",
        turns=1,
        profile="suite:where_the_time_goes",
        note="Chromium and DCMTK installed, or the tests that need them are skipped.",
    ),
)
