"""A run of folds, from a small phantom to its report, and whatever a run is used for after that."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.data.folds import Folds
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError, HurdlesError, RecipeError, RunError, SplitError
from hurdles.evaluation.predictions import Predictions
from hurdles.phantom.cohort import write_phantom
from hurdles.progress import Options
from hurdles.recipe.recipe import Recipe
from hurdles.runs import folds as folds_module
from hurdles.runs.run import Run

pytestmark = pytest.mark.full

FOLDED = Recipe(
    name="folded",
    preparation={"size": 40},
    split={"folds": 3},  # auto: few patients, so folds
    model={"architecture": "small"},
    augmentation={"policy": "balanced"},
    training={"epochs": 1, "precision": "float32"},
    evaluation={"resamples": 100, "threshold": "youden", "positive": "COVID-19"},
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    classes = ("COVID-19", "Normal")
    write_phantom(folder / "ours", 18, seed=5, size=64, classes=classes)
    write_phantom(folder / "theirs", 6, seed=6, size=64, classes=classes)
    return folder


@pytest.fixture(scope="module")
def here(home) -> Options:
    return Options(cache=home / "cache")


@pytest.fixture(scope="module")
def run(home, here) -> Run:
    return hurdles.run(FOLDED, data=home / "ours", out=home / "run", options=here)


class Lines:
    """A listener that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, *_):
        pass

    def advance(self, *_):
        pass

    def say(self, line):
        self.said.append(line)


def contents(folder) -> dict[str, bytes]:
    """Everything that must be equal, by name: no dates and no seconds."""
    dated = {"meta.json", "history.csv", "checksums.json", ".written"}
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in dated and p.suffix != ".html" and p.name != ".lock"
    }


def test_every_image_is_answered_by_a_network_that_never_saw_its_patient(run):
    assert run.recipe.split.scheme == "k-fold"
    assert run.is_ensemble
    folds = Folds.load(run.folds_path)
    children = run.fold_runs()
    assert (folds.k, len(children)) == (3, 3)
    answers = run.predictions("test")
    assert answers.frame["image"].tolist() == run.manifest.frame["image"].tolist()
    fold = folds.of(run.manifest)
    for number, child in enumerate(children):
        own = child.predictions("test")
        learnt = child.learnt
        assert not {*own.groups} & {*learnt.groups}
        mine = answers.frame[fold == number].set_index("image")
        pd.testing.assert_frame_equal(
            mine.sort_index(), own.frame.set_index("image").sort_index(), check_exact=True
        )
        assert child.recipe.split.scheme == "given"
    assert sum(len(c.predictions("test")) for c in children) == len(answers) == len(run.manifest)


def test_its_evaluation_says_how_it_was_made_and_stands_in_the_report(run):
    result = run.evaluation()
    assert result.n_images == len(run.manifest)
    assert any("answered once, by the one of 3 networks" in note for note in result.notes)
    assert any("parted into 3 folds by patient" in note for note in result.notes)
    assert any("threshold of each fold" in note for note in result.notes)
    assert "times as wide" in result.get("auc", "COVID-19").method
    page = run.report_path.read_text()
    assert "parted into 3 folds by patient" in page
    assert "3 thresholds, one for each fold" in page
    table = pd.read_csv(run.path / "folds" / "measures.csv")
    assert table["images"].sum() == result.n_images
    again = hurdles.evaluate(run)
    assert again.estimates == result.estimates
    verified = hurdles.verify(run.path / "evaluation.json")
    assert not [line for line in verified.lines if "differ" in str(line.outcome)], verified.lines


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(
    run, home, here, tmp_path, monkeypatch
):
    out, real, calls = tmp_path / "run", folds_module.run_experiment, []

    def stops(*args, **kwargs):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(folds_module, "run_experiment", stops)
    with pytest.raises(KeyboardInterrupt):
        hurdles.run(FOLDED, data=home / "ours", out=out, options=here)
    monkeypatch.undo()
    assert Run(out).fold_runs()[0].is_finished
    assert not Run(out).is_finished
    with pytest.raises(RunError, match="other images"):
        hurdles.run(FOLDED, data=home / "theirs", out=out, resume=True, options=here)

    def fails(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write_ensemble", fails)
    with pytest.raises(KeyboardInterrupt):
        hurdles.run(FOLDED, out=out, resume=True, options=here)
    monkeypatch.undo()
    done = hurdles.run(FOLDED, out=out, resume=True, options=here)
    assert done.is_finished
    one, two = contents(run.path), contents(out)
    assert [n for n in two if n not in one] == [n for n in one if n not in two] == []
    assert [n for n in one if one[n] != two[n]] == []


def test_the_networks_answer_as_one_and_know_every_image(run, home, here, tmp_path):
    answers = hurdles.predict(run, home / "theirs", out=tmp_path / "p.csv", options=here)
    alone = [hurdles.predict(c, home / "theirs", options=here).frame for c in run.fold_runs()]
    columns = [c for c in answers.frame if c.startswith("raw:")]
    mean = np.mean([each[columns].to_numpy(dtype=float) for each in alone], axis=0)
    assert np.allclose(answers.frame[columns].to_numpy(dtype=float), mean, atol=1e-5)
    notes = " ".join(answers.about["notes"])
    assert "means of 3 networks" in notes
    assert "what share they hold was not measured" in notes
    assert "Sets hold" not in notes  # that is promised of the answers of one network alone
    assert "in nine of ten draws" not in notes
    assert "No image is refused: each of the run's own images was trained on" in notes
    own = hurdles.predict(run, run.manifest.select([True] + [False] * (len(run.manifest) - 1)),
                          options=here)  # fmt: skip
    assert own.frame["seen"].tolist() == [run.manifest.frame["image"].iloc[0]]


def test_images_that_any_fold_has_seen_are_left_out_of_a_further_test(run, home, here, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    with pytest.raises(RunError, match="show what was used to train"):
        hurdles.evaluate(copy, on=home / "ours", name="again", options=here)
    result = hurdles.evaluate(copy, on=home / "theirs", name="theirs", options=here)
    assert any("Answers are means of 3 networks" in note for note in result.notes)
    assert result.n_images == len(Manifest.load(home / "theirs" / "manifest.csv"))


def test_it_is_exported_as_one_graph(run, home, here, tmp_path):
    pytest.importorskip("onnxscript")
    done = hurdles.export(run, out=tmp_path / "model.onnx", options=here)
    assert done.difference < 1e-4
    assert done.n_images == len(run.manifest)


def test_an_audit_asks_the_network_that_has_not_seen_the_image(run, home, here, monkeypatch):
    from hurdles.auditing.loading import subject_of

    subject = subject_of(run, lungs=False, options=here)
    tested = subject.test
    assert np.allclose(subject.reference, tested.y_prob, atol=1e-5)
    some = subject.tested.take(np.array([5, 2, 17]))
    asked = subject.ask(some.pixels, rows=subject.positions(some))
    assert np.allclose(asked, tested.y_prob[[5, 2, 17]], atol=1e-5)
    with pytest.raises(HurdleError, match="say which they are"):
        subject.ask(some.pixels)


def test_hurdles_judge_it(run, home, here, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    listener = Lines()
    findings = hurdles.audit(
        copy,
        hurdles=["perturbations", "calibration", "lungs-removed", "attention"],
        options=Options(cache=here.cache, progress=listener),
    )
    assert "had not seen its patient" in findings.about["folds"]
    assert any("also where that clears a hurdle" in line for line in listener.said)
    names = {row.hurdle for row in findings.rows}
    assert names == {"perturbations", "calibration", "lungs-removed", "attention"}
    assert not [row for row in findings.rows if row.is_fault]


def test_what_several_networks_cannot_do_is_refused_by_name(run, home, here, tmp_path):
    with pytest.raises(RunError, match="tested in folds and the other was not"):
        hurdles.compare(run, run.fold_runs()[0])
    with pytest.raises(RunError, match=r"encoder is that of one network.*folds/1"):
        hurdles.run(FOLDED, data=home / "ours", out=tmp_path / "a", encoder_from=run,
                    options=here)  # fmt: skip
    with pytest.raises(RecipeError, match=r"remedy\.reject"):
        hurdles.run(FOLDED.changed(split={"scheme": "k-fold"}, remedy={"reject": 0.05}),
                    data=home / "ours", out=tmp_path / "b", options=here)  # fmt: skip
    with pytest.raises(RecipeError, match="--split holds one split"):
        hurdles.run(FOLDED.changed(split={"scheme": "k-fold"}), data=home / "ours",
                    out=tmp_path / "c", split=run.fold_runs()[0].path / "split.csv",
                    options=here)  # fmt: skip
    assert len(hurdles.compare(run.fold_runs()[0], run.fold_runs()[0])) > 0


def test_repeats_train_more_networks_and_average(home, here, tmp_path):
    recipe = FOLDED.changed(split={"folds": 2, "repeats": 2}, evaluation={"threshold": "argmax"})
    run = hurdles.run(recipe, data=home / "ours", out=tmp_path / "run", options=here)
    assert [child.path.name for child in run.fold_runs()] == ["1-1", "1-2", "2-1", "2-2"]
    assert len(run.network().networks) == 4
    assert any("answered 2 times" in note for note in run.evaluation().notes)


def test_the_scheme_is_what_the_images_ask_for(home, here, run, tmp_path):
    manifest = Manifest.load(home / "ours" / "manifest.csv")
    listener = Lines()
    given = manifest.with_split(
        pd.Series(pd.factorize(manifest.groups)[0] % 3)
        .map({0: "train", 1: "validation", 2: "test"})
        .tolist()
    )
    recipe = FOLDED.changed(split={"folds": 5})
    done = hurdles.run(recipe, data=given, out=tmp_path / "given", options=here)
    assert (done.recipe.split.scheme, done.is_ensemble) == ("given", False)
    options = Options(cache=here.cache, progress=listener)
    people = manifest.groups.unique()
    few = manifest.select(manifest.groups.isin(people[[0, 1, 2, -3, -2, -1]]))
    recipe = recipe.changed(split={"scheme": "k-fold"})
    with pytest.raises(SplitError, match="5 folds need 5 patients"):
        hurdles.run(recipe, data=few, out=tmp_path / "few", options=options)
    hurdles.run(FOLDED, data=home / "ours", out=run.path, resume=True, options=options)
    assert any("is finished already" in line for line in listener.said)


@pytest.fixture
def begun(home, here, tmp_path, monkeypatch):
    """Return a function that starts a run and returns its scheme, and the lines before training."""

    class Begun(Exception):  # noqa: N818 - no error
        pass

    def trained(recipe, *_, **__):
        raise Begun(recipe.split.scheme)

    def in_folds(recipe, *_, **__):
        raise Begun(recipe.split.scheme)

    monkeypatch.setattr(folds_module, "run_experiment", trained)
    monkeypatch.setattr(folds_module, "_parts", lambda _, recipe, *__: in_folds(recipe))

    def begin(data, **sections) -> tuple[str, str]:
        listener = Lines()
        options = Options(cache=here.cache, progress=listener)
        recipe = FOLDED.changed(**{**sections, "split": {"folds": 5, **sections.get("split", {})}})
        with pytest.raises(Begun) as stopped:
            hurdles.run(recipe, data=data, out=tmp_path / "begun", options=options)
        return str(stopped.value), "\n".join(listener.said)

    return begin


def patients(manifest: Manifest, **kept: int) -> Manifest:
    """Return so many patients of each class, by its first letter."""
    people = manifest.frame.groupby("label")["patient"].unique()
    names = [name for label, all_ in people.items() for name in all_[: kept.get(label[0], 99)]]
    return manifest.select(manifest.frame["patient"].isin(names))


def test_auto_says_what_it_makes_of_few_patients(home, begun):
    manifest = Manifest.load(home / "ours" / "manifest.csv")
    scheme, lines = begun(manifest)
    assert scheme == "k-fold"
    assert "they are parted into 5 folds, and 5 networks trained" in lines
    assert "note: The images were parted into 5 folds by patient" in lines
    scheme, lines = begun(patients(manifest, C=3))
    assert scheme == "patient"
    assert "'COVID-19', has 3 patients, too few for 5 folds: one split by patient" in lines
    scheme, lines = begun(patients(manifest, C=1))
    assert (scheme, "has 1 patient, too few" in lines) == ("patient", True)
    scheme, lines = begun(manifest, remedy={"reject": 0.05})
    assert (scheme, "remedy.reject needs images" in lines) == ("patient", True)


def test_folds_that_cannot_be_are_refused_before_anything_is_written(home, here, tmp_path):
    manifest = Manifest.load(home / "ours" / "manifest.csv")
    recipe = FOLDED.changed(split={"scheme": "k-fold", "folds": 20})
    with pytest.raises(SplitError, match="20 folds need 20 patients of every class"):
        hurdles.run(recipe, data=manifest, out=tmp_path / "run", options=here)
    recipe = FOLDED.changed(split={"scheme": "k-fold", "folds": 5})
    with pytest.raises(SplitError, match=r"'COVID-19' \(1\)\. Call several classes by one name"):
        hurdles.run(recipe, data=patients(manifest, C=1), out=tmp_path / "run", options=here)
    assert not (tmp_path / "run").exists()


def test_a_split_that_folders_give_is_used_or_said_not_to_be(home, begun, tmp_path):
    for row in Manifest.load(home / "ours" / "manifest.csv").frame.itertuples():
        part = ("train", "val", "test")[int(row.patient[1:]) % 3]
        to = tmp_path / "parted" / part / row.label / Path(row.path).name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.path, to)
    assert begun(tmp_path / "parted")[0] == "given"
    scheme, lines = begun(
        tmp_path / "parted", split={"scheme": "k-fold", "missing_patients": "one-each"}
    )
    assert scheme == "k-fold"
    assert "The images bring a split, and it is NOT used: they were parted into folds" in lines


def test_images_without_a_class_are_no_class_of_their_own(home, here, tmp_path):
    table = pd.read_csv(home / "ours" / "manifest.csv")
    table["path"] = [str(home / "ours" / path) for path in table["path"]]
    table.loc[3, "label"] = ""
    table.to_csv(tmp_path / "some.csv", index=False)
    with pytest.raises(HurdlesError, match="label"):
        hurdles.run(FOLDED, data=tmp_path / "some.csv", out=tmp_path / "run", options=here)
    assert not (tmp_path / "run").exists()


def test_the_command_line(home, tmp_path, monkeypatch):
    monkeypatch.setenv("HURDLES_CACHE", str(home / "cache"))
    toml = tmp_path / "r.toml"
    toml.write_text(FOLDED.to_toml())
    words = ["run", toml, "--data", home / "ours", "--out", tmp_path / "run", "--json"]
    words += ["--set", "split.scheme=k-fold", "--set", "split.folds=2"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, (done.output, done.exception)
    content = json.loads(done.stdout)
    assert content["n_images"] == len(Predictions.load(tmp_path / "run" / "predictions/test.csv"))


def test_a_learning_curve_is_drawn_from_resumable_runs(home, here, run, tmp_path, monkeypatch):
    recipe = FOLDED.changed(evaluation={"threshold": "argmax"})
    out = tmp_path / "curve"
    done = hurdles.learning_curve(
        recipe, data=home / "ours", out=out, shares=[0.3, 0.6], seeds=2, options=here
    )
    assert sorted(p.name for p in out.iterdir() if p.is_dir()) == [
        f"{share}-seed{seed}" for share in ("030", "060", "100") for seed in (0, 1)
    ]
    table = pd.read_csv(done.table)
    assert table.groupby("share")["patients"].mean().is_monotonic_increasing
    assert "4 times as many" in done.page.read_text()
    content = json.loads((out / "learning-curve.json").read_text())
    assert content["seeds"] == [0, 1]
    tested = [Run(out / f"{share}-seed0").predictions().frame["image"] for share in ("030", "100")]
    assert tested[0].tolist() == tested[1].tolist()

    from hurdles.studies import learning

    started = []
    monkeypatch.setattr(learning, "run_experiment", lambda *a, **k: started.append(a) or Run(a[2]))
    again = hurdles.learning_curve(
        recipe, data=home / "ours", out=out, shares=[0.3, 0.6], seeds=2, options=here
    )
    assert np.array_equal(again.curve.aucs, done.curve.aucs)
    with pytest.raises(RecipeError, match="makes several splits"):
        hurdles.learning_curve(
            recipe.changed(split={"scheme": "k-fold"}), data=home / "ours", out=out, options=here
        )
    with pytest.raises(RunError, match="holds a run"):
        hurdles.learning_curve(recipe, data=home / "ours", out=run.path, options=here)
