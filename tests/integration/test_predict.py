"""Answers to new images: those of `evaluate` on the same files, and a row for whatever else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError, ImageError, ManifestError, OutputError, RunError
from hurdles.progress import Options
from hurdles.runs import engines, predictor
from hurdles.runs.answers import COLUMNS, Answers, about_path
from hurdles.runs.engines import Chosen
from hurdles.runs.images import preparation_of, prepare_pixels
from hurdles.runs.predictor import Predictor, Refusal
from hurdles.runs.run import Run


@pytest.fixture
def run(finished, tmp_path) -> Run:
    """Return a copy of the finished run: the first prediction puts the rule of refusal there."""
    return Run(shutil.copytree(finished.path, tmp_path / "run"))


@pytest.fixture
def images(other_phantom, tmp_path) -> Path:
    """Return a folder of X-rays that say nothing of their class."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number, path in enumerate(pd.read_csv(other_phantom)["path"][:9]):
        shutil.copy(other_phantom.parent / path, folder / f"{number:02}.png")
    return folder


def raw_by_path(answers: Answers) -> pd.DataFrame:
    columns = [f"raw:{c}" for c in answers.classes]
    return answers.frame.set_index("path")[columns].rename(columns=lambda c: c[4:])


def test_raw_probabilities_and_classes_are_those_of_evaluate(run, other_phantom, options):
    hurdles.evaluate(run, on=other_phantom, name="ward", options=options)
    table = run.predictions("ward")
    answers = hurdles.predict(run, other_phantom, options=options)
    theirs = table.frame.set_index("path")
    ours = raw_by_path(answers).loc[theirs.index]
    assert np.abs(ours.to_numpy() - theirs[[f"p:{c}" for c in table.classes]].to_numpy()).max() == 0
    shown = answers.frame.set_index("path")["prediction"].loc[theirs.index]
    answered = (shown != "").to_numpy()
    assert answered.any()
    assert (shown[answered] == theirs["prediction"][answered]).all()


def test_the_engine_is_named_and_names_the_classes_that_torch_does(run, images, options, tmp_path):
    pytest.importorskip("onnxruntime")
    expected = hurdles.predict(run, images, engine="torch", options=options)
    assert expected.about["engine"]["name"] == "torch"
    assert expected.about["engine"]["tolerance"] == 0
    out = tmp_path / "p.csv"
    answers = hurdles.predict(run, images, engine="onnxruntime", out=out, options=options)
    engine = json.loads(about_path(out).read_text())["engine"]
    assert (engine["name"], engine["number_format"]) == ("onnxruntime", "float32")
    assert "onnxruntime 1" in engine["versions"]
    assert engine["largest_difference"] <= 1e-4 == engine["tolerance"]
    assert answers.about["notes"][-1].startswith("Answered by onnxruntime (torch ")
    assert np.abs(answers.raw - expected.raw).max() <= 1e-4
    assert (answers.frame["prediction"] == expected.frame["prediction"]).all()
    words = ["predict", str(run.path), str(images), "--quiet", "--engine", "tensorrt"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "no engine is called 'tensorrt'" in str(done.exception)


def test_where_a_class_is_at_stake_torch_answers(run, images, options, monkeypatch):
    """An engine that is off by less than its tolerance cannot change a class."""
    model = hurdles.load(run, engine="torch", options=options)
    expected = model.predict(images)
    second, first = np.sort(expected.raw, axis=1)[:, -2:].T
    gaps = np.sort(first - second)
    tolerance = float(gaps[4]) / 3.9  # of nine images at least five are as close as it matters
    monkeypatch.setattr(Chosen, "tolerance", property(lambda self: tolerance))
    real = engines.answers_and_features

    def asked(network, pixels, *, encode=None):
        raw, features = real(network, pixels)
        if encode is not None:  # the second class gains on the first, or passes it
            rows, order = np.arange(len(raw)), np.argsort(raw, axis=1)
            raw[rows, order[:, -1]] -= 0.99 * tolerance
            raw[rows, order[:, -2]] += 0.99 * tolerance
        return raw, features

    monkeypatch.setattr(engines, "answers_and_features", asked)
    answers = model.predict(images)
    assert (answers.frame["prediction"] == expected.frame["prediction"]).all()
    # Torch's own, up to sums in another order: it is asked about fewer images at once.
    exact = (np.abs(answers.raw - expected.raw) < tolerance / 100).all(axis=1)
    assert 5 <= exact.sum() < len(exact)


def test_test_images_get_the_predictions_in_the_runs_folder(run, options):
    """In whatever chunks they come: a millionth is what sums in another order cost at most."""
    table = run.predictions("test")
    answers = hurdles.load(run, options=options).predict(table.frame["path"].tolist()[::-1])
    ours = raw_by_path(answers).loc[table.frame["path"]].to_numpy()
    assert np.abs(ours - table.y_prob).max() < 1e-6


def test_a_threshold_of_the_run_decides(phantom, tiny, tmp_path, options):
    labels = {"Pneumonia": "other", "COVID-19": "other"}
    settings = {"evaluation.threshold": "youden", "training.epochs": 1}
    run = hurdles.run(
        tiny, data=phantom, out=tmp_path / "two", labels=labels, settings=settings, options=options
    )
    table = run.predictions("test")
    answers = hurdles.predict(run, table.frame["path"].tolist(), options=options)
    told = answers.frame.set_index("path").loc[table.frame["path"], "prediction"].to_numpy()
    assert ((told == table.y_pred) | (told == "")).all()


def test_calibrated_probabilities_are_tempered_logits(run, images, options):
    model = hurdles.load(run, options=options)
    answers = model.predict(images)
    factor, answered = model.inverse_temperature, ~np.isnan(answers.calibrated).any(axis=1)
    expected = answers.raw
    if factor.is_defined:
        expected = softmax(factor.value * np.log(answers.raw), axis=1)
    assert answered.any()
    assert answers.calibrated[answered] == pytest.approx(expected[answered])


def test_it_is_told_where_no_temperature_can_be_fitted(run, images, options):
    model = hurdles.load(run, options=options)
    frame = model.validation.frame
    right = (frame["label"].to_numpy()[:, None] == np.array(model.validation.classes)).astype(float)
    frame[[f"p:{c}" for c in model.validation.classes]] = 0.8 * right + 0.1 * (1 - right)
    answers = model.predict(images)
    assert "are not calibrated" in answers.about["notes"][0]
    answered = (answers.frame["prediction"] != "").to_numpy()
    assert (answers.calibrated[answered] == answers.raw[answered]).all()


def test_with_few_validation_patients_the_set_is_all_classes(run, images, options):
    answers = hurdles.predict(run, images, options=options)
    limits = answers.about["sets"]["limits"]
    assert all(limit["n_patients"] < 9 for limit in limits)
    assert all(each == answers.classes for each in answers.sets if each is not None)
    assert any("too few for 90 %" in note for note in answers.about["notes"])
    narrow = hurdles.predict(run, images, coverage=0.3, options=options)
    assert any(len(each or ()) < 3 for each in narrow.sets)


def test_whatever_cannot_be_read_is_a_row_with_its_reason(run, images, options, tmp_path):
    whole = (images / "00.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "text.png").write_text("no image")
    (images / "empty.png").write_bytes(b"")
    (images / "notes.txt").write_text("no image")
    table = tmp_path / "table.csv"
    table.write_text("path\nnew/00.png\nnew/gone.png\n")
    answers = hurdles.predict(run, [images, table], options=options)
    errors = answers.frame[answers.frame["error"] != ""]
    assert len(answers) == 9 + 4
    assert [Path(p).name for p in errors["path"]] == [
        "cut.png",
        "empty.png",
        "text.png",
        "gone.png",
    ]
    assert (errors["prediction"] == "").all()
    assert errors["raw:Normal"].isna().all()
    assert answers.summary()["not read"] == 4
    assert answers.frame["path"].is_unique
    with pytest.raises(ImageError, match=r"cut\.png"):
        hurdles.predict(run, images, options=Options(on_bad="stop", cache=options.cache))


def test_a_folder_of_bad_files_alone_is_a_table_of_reasons(run, tmp_path, options):
    (tmp_path / "text.png").write_text("no image")
    answers = hurdles.predict(run, tmp_path / "text.png", options=options)
    assert answers.summary() == {
        "images": 1, "answered": 0, "refused": 0, "not read": 1, "seen in training": 0,
    }  # fmt: skip


def test_what_is_unlike_the_images_of_training_is_refused(run, images, options):
    """By the rule fixed on validation images; the numbers stay in the raw columns."""
    model = hurdles.load(run, options=options)
    answers = model.predict(images)
    assert (answers.frame["refused"] == "").all()  # 19 validation images are needed
    assert "too few validation images to reject any: 19 would do" in answers.about["notes"][-2]
    strange = answers.frame["strangeness"].to_numpy()
    rejector = model.refusal.rejector
    limit = float(np.median(strange))
    model.refusal = Refusal(replace(rejector, rule=replace(rejector.rule, limit=limit)))
    answers = model.predict(images)
    assert (answers.frame["refused"] == np.where(strange > limit, "yes", "no")).all()
    refused = answers.frame[answers.frame["refused"] == "yes"]
    assert 0 < len(refused) < len(answers)
    assert (refused["prediction"] == "").all()
    assert refused["p:Normal"].isna().all()
    assert refused["raw:Normal"].notna().all()
    assert refused["refusal"].str.startswith("unlike the images of training: distance").all()
    assert (refused["set"] == "").all()  # which the promise of the sets does not allow for
    assert "A refused image has no set" in answers.about["notes"][-2]


def test_the_rule_of_refusal_never_sees_a_test_image(run, images, options, monkeypatch):
    parts, real = [], predictor.prepare_for

    def seen(run, manifest, options):
        parts.extend(manifest.frame["split"].unique())
        return real(run, manifest, options)

    monkeypatch.setattr(predictor, "prepare_for", seen)
    model = hurdles.load(run, options=options)
    model.predict(images)
    rule = model.refusal.rejector.rule
    assert parts == ["train", "validation"]
    assert rule.n_validation == len(run.predictions("validation"))
    monkeypatch.setattr(predictor, "prepare_for", None)  # and is fixed once
    assert hurdles.load(run, options=options).refusal.rejector.rule == rule


def test_a_damaged_rule_is_not_used(run, images, options):
    hurdles.predict(run, images, options=options)
    file = run.path / "refusal" / "rejection.json"
    file.write_text(file.read_text().replace('"n_rejected": 0', '"n_rejected": 1'))
    with pytest.raises(RunError, match="damaged"):
        hurdles.load(run, options=options).refusal  # noqa: B018 - reading it raises


def test_without_the_images_of_training_nothing_is_refused_and_it_is_told(
    run, images, options, tmp_path
):
    frame = pd.read_csv(run.path / "manifest.csv")
    frame["path"] = [str(tmp_path / "away" / Path(p).name) for p in frame["path"]]
    frame.to_csv(run.path / "manifest.csv", index=False)
    answers = hurdles.predict(Run(run.path), images, options=options)
    assert (answers.frame["refused"] == "").all()
    assert answers.summary()["answered"] == len(answers)
    assert answers.about["refusal"] is None
    assert "not at hand" in answers.about["notes"][-2]


def test_an_image_of_training_is_known(run, options):
    paths = run.manifest.part("train").frame["path"].tolist()[:2]
    test = run.manifest.part("test").frame["path"].tolist()[:1]
    answers = hurdles.predict(run, paths + test, options=options)
    assert (answers.frame["seen"] != "").tolist() == [True, True, False]


def test_the_table_is_written_as_it_grows_and_read_again(
    run, images, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(predictor, "_CHUNK", 4)
    out = tmp_path / "p.csv"
    answers = hurdles.predict(run, images, out=out, heatmaps=tmp_path / "heat", options=options)
    again = Answers.load(out)
    pd.testing.assert_frame_equal(again.frame, answers.frame)
    assert again.about == json.loads(json.dumps(dict(answers.about)))
    assert again.sets == answers.sets
    plain = [c for c in COLUMNS if not c.endswith(":")]
    assert [c for c in again.frame if ":" not in c] == plain
    drawn = answers.frame[answers.frame["heatmap"] != ""]
    assert sorted(drawn["heatmap"]) == sorted(p.name for p in (tmp_path / "heat").iterdir())
    assert len(drawn) == answers.summary()["answered"]
    assert cv2.imread(str(tmp_path / "heat" / drawn["heatmap"].iloc[0])).shape[0] > 100


def test_an_interrupted_call_leaves_nothing_that_passes_for_whole(
    run, images, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(predictor, "_CHUNK", 4)
    out, real, calls = tmp_path / "p.csv", Chosen.answers, []
    hurdles.predict(run, images / "00.png", out=out, options=options)
    before = out.read_bytes(), about_path(out).read_bytes()

    def interrupted(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(Chosen, "answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hurdles.predict(run, images, out=out, options=options)
    assert (out.read_bytes(), about_path(out).read_bytes()) == before
    assert not list(tmp_path.glob(".*.part"))


def test_memory_holds_a_few_chunks_at_a_time(run, images, options, monkeypatch):
    monkeypatch.setattr(predictor, "_CHUNK", 2)
    held, most = [0], [0]
    files = [str(shutil.copy(images / "00.png", images / f"x{n}.png")) for n in range(20)]
    real_decode, real_answer = predictor.decode, Predictor._answered

    def decode(path):
        held[0] += 1
        most[0] = max(most[0], held[0])
        return real_decode(path)

    def answered(self, given, *rest):
        held[0] -= len(given)
        return real_answer(self, given, *rest)

    monkeypatch.setattr(predictor, "decode", decode)
    monkeypatch.setattr(Predictor, "_answered", answered)
    assert len(hurdles.predict(run, files, options=options)) == 20
    assert most[0] <= 4


def test_nothing_of_the_users_is_overwritten(run, images, options, tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("three years of work")
    with pytest.raises(OutputError, match="hurdles did not write it"):
        hurdles.predict(run, images, out=own, options=options)
    table = tmp_path / "table.csv"
    table.write_text("path\nnew/00.png\n")
    with pytest.raises(OutputError, match="is read by this command"):
        hurdles.predict(run, table, out=table, force=True, options=options)
    with pytest.raises(OutputError, match=r"a name that ends in \.csv"):
        hurdles.predict(run, images, out=images / "00.png", options=options)
    with pytest.raises(OutputError, match="is read by this command"):
        hurdles.predict(run, images, out=run.path / "history.csv", force=True, options=options)
    assert own.read_text() == "three years of work"
    hurdles.predict(run, images, out=own, force=True, options=options)
    assert len(Answers.load(own)) == 9


@pytest.mark.parametrize(
    ("where", "what", "error", "message"),
    [
        ("no-run", "new", RunError, "is not a folder"),
        ("run", "nothing-there", ManifestError, "is not there"),
        ("run", "*.nothing", ManifestError, "no file is called"),
        ("run", "empty", ManifestError, "no image is to be read"),
    ],
)
def test_what_is_not_there_is_a_clear_error(
    where, what, error, message, run, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=message):
        hurdles.predict(where, what)


def test_no_image_at_all_and_no_share_are_errors(run, images):
    with pytest.raises(ManifestError, match="which images"):
        hurdles.predict(run, [])
    with pytest.raises(EvaluationError, match="is no share"):
        hurdles.predict(run, images, coverage=90)


def test_the_command_prints_a_line_each_and_what_they_rest_on(run, images, tmp_path):
    (images / "text.png").write_text("no image")
    words = ["predict", str(run.path), str(images), "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert sum(line.startswith(("0", "text.png: not read")) for line in lines) == 10
    assert "Research use only; not a medical device." in lines
    assert any(line.startswith("Sets hold the true class") for line in lines)
    done = CliRunner().invoke(app, [*words, "--json"])
    content = json.loads(done.stdout)
    assert content["summary"]["images"] == len(content["images"]) == 10
    assert content["images"][0]["set"] == ["COVID-19", "Normal", "Pneumonia"]
    assert content["images"][-1]["p:Normal"] is None
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "p.csv")])
    assert "00.png" not in done.stdout
    assert f"written: {tmp_path / 'p.csv'}" in done.stdout


def test_dicom_is_read_as_in_training(run, images, options, tmp_path):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    pixels = cv2.imread(str(images / "00.png"), cv2.IMREAD_GRAYSCALE)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = (255 - pixels).tobytes()
    ds.save_as(tmp_path / "one", enforce_file_format=True)
    answers = hurdles.predict(run, [images / "00.png", tmp_path / "one"], options=options)
    assert answers.raw[0] == pytest.approx(answers.raw[1], abs=1e-6)


def test_a_table_that_is_no_answers_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("image,path\na,b\n")
    with pytest.raises(EvaluationError, match="lacks"):
        Answers.load(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["equalized", "masked+cropped", "harmonized"])
def test_an_image_is_prepared_to_the_byte_as_the_cache_does_it(name, phantom, tiny, options):
    """The lungs too: found in one image at a time here and there."""
    recipe = tiny.changed(preparation={"name": name})
    images = Manifest.load(phantom)
    rows = prepare_pixels(images.select(np.arange(len(images)) < 6), recipe, options)
    assert len(rows)
    preparation = preparation_of(recipe)
    for path, pixels in zip(rows.manifest.frame["path"], rows.pixels, strict=True):
        assert (predictor.prepared(path, preparation) == pixels).all()


def test_heat_maps_among_the_images_are_refused(run, phantom, options, tmp_path):
    images = phantom.parent
    for place in (images, images / "heat"):
        with pytest.raises(OutputError, match="lies among the images"):
            hurdles.load(run, options=options).predict(images, heatmaps=place)
