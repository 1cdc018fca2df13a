"""The process of one side: sets up, then works once for every line that it is given."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from pathlib import Path


def main() -> None:
    name, _, function = sys.argv[1].partition(":")
    # What libraries print goes to the error stream; the answers have the output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    turn = getattr(importlib.import_module(name), function)(**json.loads(sys.argv[2]))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        before = _cpu_seconds()
        value = turn(float(line))
        answer = {"value": value, "cpu_s": _cpu_seconds() - before, "peak_mib": _peak_mib()}
        print(json.dumps(answer), file=answers, flush=True)


def _cpu_seconds() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(w) for w in who]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _peak_mib() -> float:
    """Return the most memory of this process or of one that it started.

    The system's ru_maxrss of a process begins with that of its parent at its start, so of this one
    the high-water mark is read instead; of children it says no less than what this one had.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    started = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(int(own.split()[1]), started) / 1024


if __name__ == "__main__":
    main()
