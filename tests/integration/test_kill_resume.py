"""Interrupted and resumed, a run ends with the numbers that it would have had.

``test_kills.py`` kills it at random moments and before writes, resumes it, and compares every file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from hurdles import api
from hurdles.errors import RunError
from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run
from hurdles.training import loop
from hurdles.training.checkpoint import load_weights

pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def one_thread():
    """Compute as the other process does, whatever the machine: sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def recipe(tiny, tmp_path) -> Path:
    long: Recipe = tiny.changed(training={"epochs": 8, "batch_size": 4})  # five steps each
    (tmp_path / "long.toml").write_text(long.to_toml(), encoding="utf-8")
    return tmp_path / "long.toml"


@pytest.fixture
def command(recipe, phantom, cache):
    """Return a function that starts ``hurdles run`` in a process of its own."""
    # A state after every step, so that the end may fall into its writing. Where the tests run in
    # the background of a shell, their processes would inherit a Ctrl-C that is ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import hurdles.training.loop as loop; loop.SAVE_EVERY = 0.0\n"
        "from hurdles.cli import main; main()"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HURDLES_CACHE": str(cache)}
    words = [sys.executable, "-c", code, "run", str(recipe), "--data", str(phantom)]

    def start(out: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*words, "--out", str(out)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def assert_same(run: Run, whole: Run) -> None:
    assert run.is_finished
    for name in ("predictions/test.csv", "predictions/validation.csv", "evaluation.json"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    for name in ("best", "last"):
        # Not the files' bytes: safetensors writes its metadata in any order.
        (a, meta), (b, other) = (
            load_weights(r.path / "weights" / f"{name}.safetensors") for r in (run, whole)
        )
        assert meta == other
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a), name
    one, two = (r.history.frame.drop(columns="seconds") for r in (run, whole))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def begun(process: subprocess.Popen[str], run: Run) -> None:
    """Wait until training has saved something."""
    deadline = time.monotonic() + 120
    while not run.state_path.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_do_not_fill_one_folder_and_ctrl_c_says_how_to_go_on(
    command, recipe, phantom, options, monkeypatch, tmp_path
):
    run = Run(tmp_path / "r")
    here = partial(api.run, recipe, data=phantom, options=options)
    process = command(run.path)
    try:
        begun(process, run)
        with pytest.raises(RunError, match="another process is filling"):
            here(out=run.path, resume=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, err
    assert "interrupted; the same command uses what is kept" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert out == ""
    assert not run.is_finished
    assert run.state_path.exists()
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    assert_same(here(out=run.path, resume=True), here(out=tmp_path / "whole"))
