"""What POSIX alone has is not needed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

PROGRAM = """
    import os, sys
    from pathlib import Path
    for name in ("fcntl", "pwd", "grp", "resource", "termios"):
        sys.modules[name] = None
    for name in ("sched_getaffinity", "fork"):
        if hasattr(os, name):
            delattr(os, name)
    import hurdles.cli
    import numpy as np
    from hurdles.pixels.cache import default_cache, prepare
    from hurdles.copies.similarity import near_pairs
    from hurdles.phantom.cohort import write_phantom
    from hurdles.pixels.prepare import Preparation
    from hurdles.runs.run import Run

    folder = Path(sys.argv[1])
    images = write_phantom(folder / "phantom", 2, seed=1, size=32)
    assert len(prepare(images, Preparation(16), cache=folder / "cache")) == len(images)
    with Run(folder / "run").locked():
        pass
    hashes = np.zeros((3, 4), dtype=np.uint64)
    near_pairs(hashes, hashes)
    assert default_cache().name == "hurdles"
    print("done")
"""


def test_the_posix_calls_are_not_needed(tmp_path, monkeypatch):
    monkeypatch.delenv("HURDLES_CACHE", raising=False)
    call = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr
