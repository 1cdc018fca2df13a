"""How many phantoms a second one core makes: drawn, rendered, and written as PNG.

Usage: ``OMP_NUM_THREADS=1 python bench/phantom.py [IMAGE_SIZE]``. Processor time is printed beside
wall time, because other processes of a shared machine slow only the latter.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2

from hurdles.phantom import draw_cohort, phantom_cohort, write_phantom

PATIENTS = 100


def main() -> None:
    cv2.setNumThreads(1)
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 224
    phantom_cohort(1, size=size)  # imports and caches
    images = sum(len(case.images) for case in draw_cohort(PATIENTS))
    with tempfile.TemporaryDirectory() as folder:
        for name, work in (
            ("parameters drawn", lambda: draw_cohort(PATIENTS)),
            ("rendered in memory", lambda: phantom_cohort(PATIENTS, size=size)),
            ("written as files", lambda: write_phantom(Path(folder) / "p", PATIENTS, size=size)),
        ):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{name:20s} {images / wall:8.1f} images/s  {images / cpu:8.1f} images/s of CPU")


if __name__ == "__main__":
    main()
