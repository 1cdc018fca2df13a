"""The threshold of a run: fixed on validation, written down, applied to everything else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import EvaluationError, RunError
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.decisions import Threshold, youden_threshold
from hurdles.evaluation.predictions import Predictions
from hurdles.pixels.cache import Prepared
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe
from hurdles.runs import assessment
from hurdles.runs.assessment import assess_own, measured_again
from hurdles.runs.run import Run

N = 40
YOUDEN = Recipe(name="t", evaluation={"threshold": "youden", "positive": "sick", "resamples": 100})


def manifest(flip_test=False):
    """Return 20 validation and 20 test images; where asked, the test labels are turned round."""
    labels = np.array(["sick", "well"] * (N // 2))
    split = np.array(["validation"] * (N // 2) + ["test"] * (N // 2))
    if flip_test:
        turned = np.where(labels == "sick", "well", "sick")
        labels = np.where(split == "test", turned, labels)
    names = [f"i{k}.png" for k in range(N)]
    columns = {"image": names, "path": names, "label": labels, "patient": names, "split": split}
    return Manifest(pd.DataFrame(columns))


@pytest.fixture
def assessed(tmp_path, monkeypatch):
    """Assess a run whose network answers by the pixels alone; return its folder."""

    def answer(network, pixels, **_):
        sick = pixels[:, 0, 0] / 255
        return np.column_stack([sick, 1 - sick])

    class Quiet:
        def network(self, epoch=None):
            return SimpleNamespace(to=lambda device: None)

    monkeypatch.setattr(assessment, "probabilities", answer)
    monkeypatch.setattr(assessment, "sheets_of", lambda *_: [])
    monkeypatch.setattr(assessment, "image_inputs", lambda *_, **__: ())
    monkeypatch.setattr(assessment, "run_inputs", lambda *_: ())
    monkeypatch.setattr(Run, "network", Quiet.network)
    monkeypatch.setattr(Run, "labels", ("sick", "well"))

    def run(name, recipe=YOUDEN, *, flip_test=False, shift_test=0):
        table, rng = manifest(flip_test), np.random.default_rng(0)
        sick = np.array(["sick", "well"] * (N // 2)) == "sick"
        level = np.clip(40 + 50 * sick + rng.normal(0, 25, N), 1, 250)
        level[N // 2 :] += shift_test
        pixels = np.repeat(level.astype(np.uint8), 4).reshape(N, 2, 2)
        found = Run(tmp_path / name)
        found.begin(recipe, resume=False)
        listener = SimpleNamespace(start=lambda *_: None, advance=lambda *_: None)
        assess_own(found, Prepared(table, pixels), SimpleNamespace(listener=listener, cache=None))
        return found

    return run


def test_it_is_the_youden_threshold_of_validation_and_decides_both_sets(assessed):
    run = assessed("a")
    threshold = Threshold.from_dict(run.read_json("threshold.json"))
    validation, test = run.predictions("validation"), run.predictions("test")
    assert threshold == youden_threshold(validation, "sick")
    assert threshold.value < 0.45, "otherwise it decides as the most probable class would"
    for said in (validation, test):
        by_hand = np.where(said.y_prob[:, 0] >= threshold.value, "sick", "well")
        assert (said.y_pred == by_hand).all()
    assert (test.y_pred != np.where(test.y_prob[:, 0] >= 0.5, "sick", "well")).any()
    right = (test.y_true == test.y_pred).mean()
    assert run.evaluation().get("accuracy").value == pytest.approx(right)


@pytest.mark.parametrize("change", [{"flip_test": True}, {"shift_test": 80}])
def test_nothing_about_the_test_images_moves_it(assessed, change):
    """Were it chosen on test images, other labels or other pixels there would move it."""
    one, two = assessed("a"), assessed("b", **change)
    assert one.read_json("threshold.json") == two.read_json("threshold.json")
    on_test = [youden_threshold(run.predictions("test"), "sick").value for run in (one, two)]
    assert on_test[0] != on_test[1], "the change must be one that a wrong choice would follow"
    assert on_test[0] != one.read_json("threshold.json")["value"]


def test_report_and_console_say_which_threshold_and_where_it_was_fixed(assessed):
    from hurdles.reporting.console import evaluation_lines

    run = assessed("a")
    value = run.read_json("threshold.json")["value"]
    note = run.evaluation().notes[0]
    assert f"sick from a probability of {value:.3g} on" in note
    assert "fixed on 20 validation images (10 of sick)" in note
    assert any(note in line for line in evaluation_lines(run.evaluation()))


def test_without_a_threshold_the_most_probable_class_stays_and_no_file_is_written(assessed):
    run = assessed("a", Recipe(name="t", evaluation={"resamples": 100}))
    assert not (run.path / "threshold.json").exists()
    said = run.predictions("test")
    assert (said.y_pred == np.where(said.y_prob[:, 0] >= 0.5, "sick", "well")).all()
    assert run.evaluation().notes == ()


def test_no_name_means_the_first_class(assessed):
    recipe = YOUDEN.changed(evaluation={"positive": ""})
    assert assessed("a", recipe).read_json("threshold.json")["positive"] == "sick"


def test_the_other_epoch_has_a_threshold_of_its_own(assessed, monkeypatch):
    run = assessed("a")
    for name in ("test", "validation"):
        assert (run.path / "predictions" / f"{name}.csv").is_file()
    table, asked = manifest(), []

    def prepared(run, part, options):
        asked.append(part.frame["split"].iloc[0])
        return Prepared(part, np.full((len(part), 2, 2), 90, np.uint8))

    monkeypatch.setattr(assessment, "prepare_for", prepared)
    monkeypatch.setattr(Run, "manifest", table)
    listener = SimpleNamespace(start=lambda *_: None, advance=lambda *_: None)
    said = assessment.test_predictions(
        run, ChosenEpoch.LAST, SimpleNamespace(listener=listener, cache=None)
    )
    assert isinstance(said, Predictions)
    assert asked == ["test", "validation"]
    assert "the same probability" in run.read_json("threshold.last.json")["note"]
    assert run.read_json("threshold.json")["note"] == ""


def test_thresholds_for_a_specificity_are_chosen_on_validation_images(assessed):
    run = assessed("a")
    rows = {(r.measure, r.class_): r for r in run.evaluation().conditional}
    assert {measure for measure, _ in rows} == {"sensitivity_at_specificity", "specificity_reached"}
    row = rows["sensitivity_at_specificity", "sick"]
    assert row.at == 0.95
    assert "fixed on 20 validation images, 10 of them other than sick" in row.basis
    moved = assessed("b", shift_test=80).evaluation().conditional
    assert [r.basis for r in moved] == [r.basis for r in run.evaluation().conditional]


def test_a_set_is_measured_again_at_other_conditions_and_nothing_is_written(assessed, monkeypatch):
    run = assessed("a")
    monkeypatch.setattr(Run, "require_finished", lambda run: run)
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    asked = Conditions(prevalence={"sick": 0.02}, benefit_at=(0.1,))
    found = measured_again(run, "test", asked)
    kinds = {row.measure for row in found.conditional}
    assert {"ppv_at_prevalence", "net_benefit", "sensitivity_at_specificity"} <= kinds
    assert found.estimates == run.evaluation().estimates
    assert found.notes == run.evaluation().notes
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before
    with pytest.raises(RunError, match="numbers on them test nothing"):
        measured_again(run, "validation", asked)
    with pytest.raises(EvaluationError, match=r"a prevalence is given of 'flu', .* sick, well"):
        measured_again(run, "test", Conditions(prevalence={"flu": 0.1}))
