"""Killed at any moment and resumed, a run ends with the numbers that it would have had."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from hurdles.recipe.recipe import Recipe
from hurdles.runs.run import Run
from hurdles.training.checkpoint import load_weights

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def command(folder, phantom, tiny, cache):
    """Return a function that starts ``hurdles run`` in a process of its own."""
    recipe: Recipe = tiny.changed(training={"epochs": 60})
    path = folder / "long.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    # A state after every step, so that a kill may fall into its writing. Where the tests run in the
    # background of a shell, their processes would inherit a Ctrl-C that is ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import hurdles.training.loop as loop; loop.SAVE_EVERY = 0.0\n"
        "from hurdles.cli import main; main()"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HURDLES_CACHE": str(cache)}

    python = [sys.executable, "-c", code, "run", str(path)]

    def start(out: Path, *more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*python, "--data", str(phantom), "--out", str(out), *more],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="module")
def whole(command, folder) -> Run:
    process = command(folder / "whole")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return Run(folder / "whole")


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


def test_killed_at_random_moments(command, whole, tmp_path):
    chance, run, kills = random.Random(7), Run(tmp_path / "r"), 0
    while not run.is_finished:
        process = command(run.path, "--resume")
        if kills == 0:
            begun(process, run)  # at least one kill falls into training
        if kills < 6:
            time.sleep(chance.uniform(0.05, 1.5) if kills == 0 else chance.uniform(1.0, 6.0))
            process.kill()
        _, err = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), err
        kills += process.returncode != 0
        assert "Traceback" not in err
    assert kills >= 1
    assert_same(run, whole)


def test_ctrl_c_says_how_to_go_on(command, whole, tmp_path):
    run = Run(tmp_path / "r")
    process = command(run.path)
    begun(process, run)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; the same command uses what is kept" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert out == ""
    assert not run.is_finished
    process = command(run.path, "--resume")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert_same(Run(run.path), whole)


def test_two_at_once_do_not_fill_one_folder(command, tmp_path):
    run = Run(tmp_path / "r")
    first = command(run.path)
    try:
        begun(first, run)
        second = command(run.path, "--resume")
        _, err = second.communicate(timeout=120)
        assert second.returncode == 2
        assert "another process is filling" in err
    finally:
        first.kill()
        first.communicate()
