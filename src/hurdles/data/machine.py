"""The share of the machine that this process may use."""

from __future__ import annotations

import os


def processors() -> int:
    """Return the number of processors that this process may use; not every system tells."""
    affinity = getattr(os, "sched_getaffinity", None)  # os.process_cpu_count: from Python 3.13 on
    return len(affinity(0)) if affinity else os.cpu_count() or 1
