"""The command door as its how-to shows it, and the peers of bench behind it."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.foreign.command import CommandModel
from hurdles.phantom import write_phantom

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "bench" / "peers"
FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.fixture
def manifest(tmp_path, monkeypatch) -> Manifest:
    """A table of phantoms in the current folder, where `python` is the one that runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    made = write_phantom(tmp_path / "my-xrays", 40, seed=1, size=64)
    made = split(Manifest(made.frame.assign(split=None)), seed=0)
    made.save(tmp_path / "my-xrays.csv")
    return made


def pixels_of(frame: pd.DataFrame, size: int) -> np.ndarray:
    images = [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in frame["path"]]
    return np.stack([cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images])


def test_the_scikit_learn_model_of_the_how_to_answers_as_in_its_notebook(manifest):
    text = (ROOT / "docs" / "howto" / "command.md").read_text(encoding="utf-8")
    scope: dict[str, object] = {}
    commands = []
    for language, title, content in FENCE.findall(text):
        if language == "python" and title:
            Path(title).write_text(content, encoding="utf-8")
            compile(content, title, "exec")
        elif language == "python":
            exec(content, scope)
        elif "--model-command" in content:
            words = shlex.split(content.replace("\\\n", " "))
            commands.append(words[words.index("--model-command") + 1])
    assert commands[0] == "python predict.py {images} {out} thumbnails.joblib"
    pixels = pixels_of(manifest.frame, 64)
    model = CommandModel(commands[0], manifest.labels, folder="kept", size=64)
    pipeline, x = scope["pipeline"], scope["x"]
    np.testing.assert_allclose(model.ask(pixels), pipeline.predict_proba(x), rtol=0, atol=1e-12)
    assert model.difference == 0
    assert {"predict.py", "thumbnails.joblib"} <= {*model.files}


def trained(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def peer(manifest: Manifest, command: str, table: str) -> None:
    """Hold a peer behind the door against what it wrote of its own test images."""
    own = pd.read_csv(table)
    labels = manifest.labels
    model = CommandModel(command, labels, folder="kept", size=64)
    answers = model.ask(pixels_of(own, 64))
    np.testing.assert_allclose(answers, own[[f"p:{c}" for c in labels]], rtol=0, atol=1e-5)
    assert model.difference < 1e-5


def test_the_thumbnails_of_bench_answer_through_the_door(manifest):
    script = shlex.quote(str(PEERS / "thumbnails.py"))
    out = trained(shlex.split(script)[0], "train", "my-xrays.csv", "--model", "t.joblib")
    assert re.match(r"test: [\d.]+% of \d+ right", out)
    command = f"python {script} predict {{images}} {{out}} --model t.joblib"
    peer(manifest, command, "t.predictions.csv")
    by_folder = trained(str(PEERS / "thumbnails.py"), "train", "my-xrays", "--model", "f.joblib")
    assert by_folder.startswith("test: ")


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_keras_network_of_bench_answers_through_the_door(manifest, keep):
    script = str(PEERS / "lazaro_barco_keras.py")
    options = ["--size", "32", "--epochs", "1", "--keep", keep, "--augment", "COVID-19"]
    out = trained(script, "my-xrays.csv", "--out", "k.keras", *options)
    assert "trained in" in out
    predict = shlex.quote(str(PEERS / "predict_keras.py"))
    peer(manifest, f"python {predict} {{images}} {{out}} --model k.keras", "k.predictions.csv")
