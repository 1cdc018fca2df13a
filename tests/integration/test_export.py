"""A run as an ONNX file: torch's answers, with what it needs to be asked rightly."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.errors import ModelError, OutputError, RecipeError, RunError
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import load_spec
from hurdles.models import build
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation, resize_square
from hurdles.runs import export
from hurdles.runs.run import Run
from hurdles.training.prediction import embed, probabilities

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(finished, options, tmp_path_factory):
    """Return what was exported of the finished run; treat it as read-only."""
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    return hurdles.export(finished, out=path, options=options)


def prepared(run: Run, paths) -> np.ndarray:
    size = run.recipe.preparation.size
    return np.stack([Preparation(size)(decode(path)) for path in paths])


def test_onnx_runtime_alone_gives_the_runs_predictions(exported, finished):
    """Without anything of hurdles but the pixels: gray within [0, 1], logits, softmax."""
    import onnxruntime

    table = finished.predictions("test")
    gray = prepared(finished, table.frame["path"]).astype(np.float32)[:, None] / 255
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"image": gray})
    assert np.abs(softmax(logits, axis=1) - table.y_prob).max() < 1e-4
    pixels = prepared(finished, table.frame["path"])
    assert features == pytest.approx(embed(finished.network(), pixels), abs=1e-3)
    (one,) = session.run(["logits"], {"image": gray[:1]})
    assert one == pytest.approx(logits[:1], abs=1e-4)
    assert exported.n_images == len(table)
    assert 0 <= exported.difference <= 1e-4


def test_the_door_for_onnx_files_asks_it_by_the_spec_within(exported, finished):
    table = finished.predictions("test")
    model = OnnxModel(exported.path)
    assert model.labels == finished.labels
    size = model.size
    squares = [resize_square(decode(path), size) for path in table.frame["path"]]
    pixels = np.stack([np.rint(s * 255).astype(np.uint8) for s in squares])
    assert np.abs(model.ask(pixels) - table.y_prob).max() < 1e-4
    assert "features" in model.capabilities


def test_the_spec_beside_it_is_the_one_within(exported, finished):
    spec = load_spec(exported.spec_path)
    assert spec == OnnxModel(exported.path).spec == exported.spec
    assert exported.spec_path == exported.path.with_suffix(".toml")
    assert spec.classes == finished.labels
    assert (spec.size, spec.preparation, spec.output) == (32, "raw", "logits")
    assert "not a medical device" in exported.spec_path.read_text(encoding="utf-8")


def test_the_file_names_its_run_and_nothing_of_this_machine(exported, finished):
    content = exported.path.read_bytes()
    metadata = OnnxModel(exported.path).file.metadata
    assert metadata["use"] == "research use only; not a medical device"
    assert metadata["hurdles_weights"].startswith("sha256:")
    for place in (Path(export.__file__).parent, finished.path, Path.home()):
        assert str(place).encode() not in content
    assert b"export.py" not in content


def test_a_preparation_and_a_threshold_stand_in_the_spec(phantom, tiny, tmp_path, options):
    run = hurdles.run(
        tiny,
        data=phantom,
        out=tmp_path / "run",
        labels={"Pneumonia": "other", "COVID-19": "other"},
        settings={
            "evaluation.threshold": "youden",
            "preparation.name": "equalized",
            "training.epochs": 1,
        },
        options=options,
    )
    done = hurdles.export(run, options=options)
    assert done.path == run.path / "model.onnx"
    spec = load_spec(run.path / "model.toml")
    assert spec.preparation == "equalized"
    threshold = run.read_json("threshold.json")
    assert (spec.threshold, spec.threshold_class) == (threshold["value"], threshold["positive"])
    model, table = OnnxModel(done.path), run.predictions("test")
    told = model.spec.decided(table.y_prob)
    assert (told == table.y_pred).all()
    Run(run.path).require_finished()  # the file does not pass for damage of the run
    hurdles.export(run, options=options)  # and is replaced, since hurdles wrote it


def test_a_file_whose_answers_are_others_is_not_kept(finished, options, tmp_path, monkeypatch):
    real = export.exported

    def planted(network):
        other = build(network.spec, seed=5)
        return real(other.eval())

    monkeypatch.setattr(export, "exported", planted)
    with pytest.raises(ModelError, match="was not written: ONNX Runtime and torch differ by"):
        hurdles.export(finished, out=tmp_path / "m.onnx", options=options)
    assert not list(tmp_path.iterdir())


def test_a_difference_that_is_no_number_is_none_that_is_allowed(
    finished, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(export, "largest_difference", lambda *_: float("nan"))
    with pytest.raises(ModelError, match="was not written"):
        hurdles.export(finished, out=tmp_path / "m.onnx", options=options)
    assert not list(tmp_path.iterdir())


def test_without_its_images_others_can_be_named(finished, other_phantom, options, tmp_path):
    run = Run(shutil.copytree(finished.path, tmp_path / "run"))
    text = (run.path / "manifest.csv").read_text()
    folder = str(Path(run.manifest.frame["path"][0]).parents[1])
    (run.path / "manifest.csv").write_text(text.replace(folder, "/nowhere"))
    run = Run(run.path)
    with pytest.raises(RunError, match="Name some by --on"):
        hurdles.export(run, out=tmp_path / "m.onnx", options=options)
    done = hurdles.export(run, out=tmp_path / "m.onnx", on=other_phantom, options=options)
    assert done.n_images > 0
    assert probabilities(run.network(), np.zeros((1, 32, 32), np.uint8)).shape == (1, 3)


def test_wrong_wishes_are_clear_errors(finished, options, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="exported as onnx, not 'keras'"):
        hurdles.export(finished, out=tmp_path / "m", format="keras", options=options)
    with pytest.raises(RunError, match="is not a folder"):
        hurdles.export(tmp_path / "no-run", options=options)
    (tmp_path / "m.toml").write_text("mine")
    with pytest.raises(OutputError, match="hurdles did not write it"):
        hurdles.export(finished, out=tmp_path / "m.onnx", options=options)
    (tmp_path / "m.toml").unlink()
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else real(name)
    )
    with pytest.raises(ModelError, match=r"needs onnxscript; install it: pip install"):
        hurdles.export(finished, out=tmp_path / "m.onnx", options=options)


def test_the_command_says_how_near_it_is(finished, tmp_path):
    words = ["export", str(finished.path), "--out", str(tmp_path / "m.onnx"), "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "differ from torch's by" in done.stdout
    assert "Research use only; not a medical device." in done.stdout
    content = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert content["largest_difference"] <= content["tolerance"] == 1e-4


def test_auditing_the_file_gives_the_findings_of_the_run(exported, finished, options, tmp_path):
    """On the run's own test images, through the door for models from elsewhere."""
    run = Run(shutil.copytree(finished.path, tmp_path / "run"))
    images = run.manifest.part("test").save(tmp_path / "test.csv")
    names = ["calibration", "lungs-removed"]
    own = hurdles.audit(run, hurdles=names, pictures=False, options=options).frame
    other = hurdles.audit(
        model=exported.path, data=images, hurdles=names, pictures=False, options=options
    ).frame
    said = ["hurdle", "subject", "verdict"]
    assert other[said].to_numpy().tolist() == own[said].to_numpy().tolist()
    numbers = ["value", "low", "high"]
    assert other[numbers].to_numpy() == pytest.approx(
        own[numbers].to_numpy(), abs=2e-3, nan_ok=True
    )
