"""Audits: of a run, through ONNX, through a command, and of the networks of a calibration."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pairs import Goal, Row, Side

_PLACE = Path(tempfile.gettempdir()) / "hurdles-bench" / "audits"
_HURDLES = [sys.executable, "-c", "from hurdles.cli import main; main()"]
_COLLECTION = "COVID-19 Radiography Database"
_RECIPE, _SIZE, _EPOCHS = "lazaro-barco-2020-baseline", 80, 8
_DOORS = {
    "run": "audit run --force",
    "onnx": "audit --model run.onnx --data run/manifest.csv",
    "command": f"audit --ask-anew --size {_SIZE} --data run/manifest.csv --model-command",
}
_PROGRAM = Path(__file__).resolve().parents[1] / "peers" / "predict_onnx.py"
#: Images and epochs of the training that an audit is to be no longer than, and images of a turn.
_TRAINED, _TRAINING_EPOCHS, _SOME = 1961, 30, 256


def _call(*words: str) -> None:
    environment = {**os.environ, "HURDLES_CACHE": str(_PLACE / "cache")}
    done = subprocess.run(
        [*_HURDLES, *words], cwd=_PLACE, env=environment, capture_output=True, check=False
    )
    if done.returncode not in (0, 3):  # 3: some limit was not met
        raise SystemExit(f"hurdles {' '.join(words)}: {done.stderr.decode()[-2000:]}")


def _run() -> Path:
    """Return the run that is audited, trained and exported once."""
    run = _PLACE / "run"
    _PLACE.mkdir(parents=True, exist_ok=True)
    if not (run / "meta.json").exists():
        data = Path(os.environ["HURDLES_DATA"], _COLLECTION)
        settings = [f"preparation.size={_SIZE}", f"training.epochs={_EPOCHS}"]
        sets = [word for setting in settings for word in ("--set", setting)]
        source = ["--data", f"radiography-database={data}"]
        _call("run", _RECIPE, *sets, *source, "--out", "run", "--resume")
    if not (_PLACE / "run.onnx").exists():
        _call("export", "run", "--out", "run.onnx")
    return run


def audit(door: str) -> Callable[[float], float]:
    """Audit the 436 test images by one command, the cache warm: seconds."""
    from hurdles.runs.run import Run

    classes = Run(_run()).manifest.labels
    words = shlex.split(_DOORS[door])
    if door == "command":
        program = [sys.executable, str(_PROGRAM), "{images}", "{out}", "--model", "run.onnx"]
        words.append(shlex.join([*program, "--classes", *classes]))
    _call(*shlex.split(_DOORS["run"]), "--hurdle", "views")  # files, pixels and lungs are cached

    def turn(_: float) -> float:
        began = time.perf_counter()
        _call(*words)
        return time.perf_counter() - began

    return turn


def training() -> Callable[[float], float]:
    """Train the baseline at 224 pixels on some images: seconds of all, for 30 epochs."""
    import numpy as np

    from hurdles.recipe.recipe import load_recipe
    from hurdles.training.loop import TrainingData, train

    recipe = load_recipe(_RECIPE).changed(training={"epochs": 1})
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (_SOME + 32, 224, 224), dtype=np.uint8)
    labels = ("COVID-19", "Normal", "Viral Pneumonia")
    rows = np.arange(len(pixels))
    data = TrainingData(pixels, rows % 3, labels, rows[:_SOME], rows[_SOME:], "bench")

    def turn(_: float) -> float:
        began = time.perf_counter()
        train(recipe, data)
        return (time.perf_counter() - began) * _TRAINED / _SOME * _TRAINING_EPOCHS

    return turn


def audit_profile() -> Callable[[float], list[str]]:
    """Audit within this process: seconds by hurdle."""
    run = _run()

    def turn(_: float) -> list[str]:
        from hurdles.auditing.hurdle import run_hurdles
        from hurdles.auditing.loading import subject_of
        from hurdles.auditing.model import MODEL_HURDLES
        from hurdles.progress import Options
        from hurdles.runs.run import Run

        lines = []

        def timed(what: str, work: Callable[[], object]) -> object:
            wall, used = time.perf_counter(), time.process_time()
            made = work()
            wall, used = time.perf_counter() - wall, time.process_time() - used
            lines.append(f"{what}: {wall:.2f} s, {used:.2f} processor seconds")
            return made

        options = Options(cache=_PLACE / "cache")
        subject = timed("images, lungs, network", lambda: subject_of(Run(run), options=options))
        for name in MODEL_HURDLES:
            timed(name, lambda name=name: run_hurdles(MODEL_HURDLES, subject, names=[name]))
        return lines

    return turn


def calibration() -> Callable[[float], float]:
    """Train and audit a network of a calibration, one after another: processor seconds of each."""
    from hurdles.calibrating.worker import one_thread, run_trial

    plan, names = _calibration()

    def turn(_: float) -> float:
        with one_thread():
            used = time.process_time()
            run_trial(plan, next(names))
            return time.process_time() - used

    turn(0)  # libraries are loaded once for hundreds of networks
    return turn


def calibration_profile() -> Callable[[float], list[str]]:
    """Train and audit a network of a calibration: processor seconds by part."""
    from dataclasses import replace

    from hurdles.calibrating.worker import one_thread, run_trial

    plan, names = _calibration()

    def turn(_: float) -> list[str]:
        lines = []
        hurdles = {"training, answers": (), **{name: (name,) for name in plan.model}}
        trial = next(names)
        with one_thread():
            run_trial(plan, trial)
            rest = 0.0
            for what, model in hurdles.items():
                used = time.process_time()
                run_trial(replace(plan, model=model), trial)
                used = time.process_time() - used
                lines.append(f"{what}: {max(0.0, used - rest):.2f} processor seconds")
                rest = rest or used
        return lines

    return turn


def _calibration() -> tuple[Any, Iterator[str]]:
    from hurdles.auditing.model import MODEL_HURDLES
    from hurdles.calibrating.trials import Profile, Trial
    from hurdles.calibrating.worker import Plan, register_hurdles

    register_hurdles()
    profile = Profile("bench", pools=1, pool_patients=420, planted_patients=0)
    plan = Plan(_PLACE / "calibration", profile, (), tuple(MODEL_HURDLES))
    plan.out.mkdir(parents=True, exist_ok=True)
    (pool,) = plan.pools("calibration")
    for state, first in pool.tasks(()):
        pool.make(state, first)
    trials = (
        Trial("small", "calibration", profile.patients, True, "", 0.0, n) for n in itertools.count()
    )
    return plan, (trial.name for trial in trials)


def _audited(door: str) -> Side:
    return Side(door, "auditing:audit", {"door": door})


ROWS = (
    Row(
        "audit",
        f"`hurdles audit` of 436 test images at {_SIZE} pixels, beside its training at 224",
        "s",
        (_audited("run"), Side("training", "auditing:training")),
        (Goal(60), Goal(1, "training")),
        better="lower",
        turns=3,
        profile="auditing:audit_profile",
        needs=_COLLECTION,
    ),
    Row(
        "audit-onnx",
        "the same network through its ONNX file",
        "s",
        (_audited("onnx"), _audited("run")),
        (Goal(1 / 1.5, "run"),),
        better="lower",
        turns=3,
        profile="auditing:audit_profile",
        needs=_COLLECTION,
    ),
    Row(
        "audit-command",
        "the same network behind a command, started anew",
        "s",
        (_audited("command"), _audited("run")),
        (Goal(1 / 1.5, "run"),),
        better="lower",
        turns=3,
        profile="auditing:audit_profile",
        needs=_COLLECTION,
    ),
    Row(
        "calibration-network",
        "network `small` on 240 patients at 96 pixels, trained and audited, on one thread",
        "CPU s",
        (Side("hurdles", "auditing:calibration"),),
        (Goal(6),),
        better="lower",
        profile="auditing:calibration_profile",
    ),
)
