"""Tables of any model's predictions: measured, and compared."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from typer.testing import CliRunner

import hurdles
from hurdles.errors import EvaluationError, ManifestError, ModelError, RunError
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.predictions import Predictions
from hurdles.foreign.predictions import read_predictions


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 120
    truth = np.tile(["sick", "well"], n // 2)
    p = 1 / (1 + np.exp(-(np.where(truth == "sick", 1, -1) + rng.normal(size=n))))
    return pd.DataFrame(
        {
            "file": [f"{i:03}.png" for i in range(n)],
            "diagnosis": truth,
            "patient_id": [f"p{i // 4}" for i in range(n)],
            "sick": p,
        }
    )


def saved(table, tmp_path, name="p.csv"):
    table.to_csv(tmp_path / name, index=False)
    return tmp_path / name


def test_measures_are_those_of_scikit_learn(table, tmp_path):
    result = hurdles.evaluate(predictions=saved(table, tmp_path))
    truth = table["diagnosis"] == "sick"
    assert result.get("auc", "sick").value == pytest.approx(roc_auc_score(truth, table["sick"]))
    right = accuracy_score(truth, table["sick"] >= 0.5)
    assert result.get("accuracy").value == pytest.approx(right)
    assert result.n_patients == 30
    assert [each.role for each in result.inputs] == ["predictions"]


def test_decisions_of_the_table_are_taken_as_they_are(table, tmp_path):
    decided = np.where(table["sick"] >= 0.2, "sick", "well")
    result = hurdles.evaluate(predictions=saved(table.assign(prediction=decided), tmp_path))
    assert result.get("accuracy").value == pytest.approx((decided == table["diagnosis"]).mean())
    hard = table.drop(columns="sick").assign(prediction=decided)
    alone = hurdles.evaluate(predictions=saved(hard, tmp_path, "hard.csv"))
    assert alone.get("accuracy").value == result.get("accuracy").value
    assert any("decisions" in note for note in alone.notes)


def test_one_column_of_unknown_meaning_needs_the_class(table, tmp_path):
    path = saved(table.rename(columns={"sick": "probability"}), tmp_path)
    with pytest.raises(ValueError, match="which class is 'probability' the probability of"):
        hurdles.evaluate(predictions=path)
    sick = hurdles.evaluate(predictions=path, positive="sick")
    well = hurdles.evaluate(predictions=path, positive="well")
    assert sick.get("auc", "sick").value == pytest.approx(1 - well.get("auc", "sick").value)


def test_validation_rows_choose_thresholds_and_are_not_measured(table, tmp_path):
    split = np.where(np.arange(len(table)) // 4 % 2, "validation", "test")
    result = hurdles.evaluate(
        predictions=saved(table.assign(split=split), tmp_path),
        conditions=Conditions(specificity=(0.9,)),
    )
    assert result.n_images == (split == "test").sum()


def test_two_tables_are_compared_pair_by_pair(table, tmp_path):
    worse = table.assign(sick=np.random.default_rng(1).uniform(size=len(table)))
    a, b = saved(table, tmp_path), saved(worse.sample(frac=1, random_state=2), tmp_path, "b.csv")
    row, _ = hurdles.compare(a, b, metrics=["auc"])
    truth = table["diagnosis"] == "sick"
    expected = roc_auc_score(truth, table["sick"]) - roc_auc_score(truth, worse["sick"])
    assert row.difference.value == pytest.approx(expected)
    assert row.difference.n_patients == 30
    with pytest.raises(EvaluationError):
        hurdles.compare(a, saved(worse.iloc[4:], tmp_path, "short.csv"))


def test_options_of_runs_and_of_tables_do_not_mix(table, tmp_path):
    path = saved(table, tmp_path)
    with pytest.raises(RunError, match="one of the two"):
        hurdles.evaluate()
    with pytest.raises(RunError, match="are of a run"):
        hurdles.evaluate(predictions=path, on=tmp_path)
    with pytest.raises(RunError, match="are of predictions"):
        hurdles.evaluate(tmp_path, positive="sick")
    with pytest.raises(ManifestError, match="--label is of images"):
        hurdles.evaluate(predictions=path, labels={"a": "b"})


def test_the_command_line_says_the_same(table, tmp_path):
    from hurdles.cli import app

    path = str(saved(table, tmp_path))
    shown = CliRunner().invoke(app, ["evaluate", "--predictions", path, "--json"])
    assert shown.exit_code == 0, shown.output
    plain = json.loads(shown.stdout)
    assert plain["n_images"] == 120
    assert "report" not in plain
    both = CliRunner().invoke(app, ["compare", path, path, "--metric", "auc"])
    assert both.exit_code == 0, both.output
    assert "by patient" in both.stdout


def test_a_comparison_reads_each_table_once(table, tmp_path, monkeypatch):
    from hurdles.cli import app
    from hurdles.foreign import answers

    read, real = [], answers.read_sheet
    monkeypatch.setattr(answers, "read_sheet", lambda path: read.append(path) or real(path))
    paths = [saved(table, tmp_path), saved(table, tmp_path, "b.csv")]
    shown = CliRunner().invoke(app, ["compare", *map(str, paths), "--metric", "auc"])
    assert shown.exit_code == 0, shown.output
    assert read == paths


def test_a_comparison_says_what_its_tables_leave_out(table, tmp_path):
    from hurdles.cli import app

    short = table.copy()
    short.loc[3, "sick"] = np.nan
    paths = [str(saved(short, tmp_path, name)) for name in ("a.csv", "b.csv")]
    for options in ([], ["--json"]):
        result = CliRunner().invoke(app, ["compare", *paths, "--metric", "auc", *options])
        assert result.exit_code == 0
        where = result.stderr if options else result.stdout
        for name in "AB":
            assert f"note: {name}: 1 of 120 test images have no usable answer" in where
        assert "each stands here once" not in where
    whole = CliRunner().invoke(app, ["compare", *paths])
    assert "each stands here once" in whole.stdout


@pytest.fixture
def cohort(table, tmp_path):
    """Images of the table, in a table of their own; they are never decoded here."""
    from PIL import Image

    for name in table["file"]:
        Image.new("L", (8, 8)).save(tmp_path / name)
    return saved(table[["file", "diagnosis", "patient_id"]], tmp_path, "cohort.csv")


@pytest.mark.parametrize("name", ["diagnosis", "label", "target"])
def test_the_truth_beside_probabilities_is_no_decision(table, cohort, tmp_path, name):
    path = saved(table.rename(columns={"diagnosis": name}), tmp_path)
    result = hurdles.evaluate(predictions=path, data=cohort)
    assert [str(each.role) for each in result.inputs] == ["predictions", "table", "rows"]
    truth = table["diagnosis"] == "sick"
    right = accuracy_score(truth, table["sick"] >= 0.5)
    assert right < 1
    assert result.get("accuracy").value == pytest.approx(right)
    assert any(f"not used: '{name}'" in note for note in result.notes)


def test_a_lone_class_column_beside_images_may_be_the_truth(table, cohort, tmp_path):
    decided = np.where(table["sick"] >= 0.2, "sick", "well")
    path = saved(table[["file"]].assign(label=decided), tmp_path)
    with pytest.raises(ModelError, match=r"'label' may be the true class.*label=prediction"):
        hurdles.evaluate(predictions=path, data=cohort)
    columns = {"label": "prediction"}
    result = hurdles.evaluate(predictions=path, data=cohort, columns=columns)
    assert result.get("accuracy").value == pytest.approx((decided == table["diagnosis"]).mean())


def test_columns_of_probabilities_can_be_named_beside_a_table_of_images(table, cohort, tmp_path):
    path = saved(table.rename(columns={"sick": "zz"})[["file", "zz"]], tmp_path)
    with pytest.raises(ModelError, match="--column 'THEIRS=p:sick'"):
        hurdles.evaluate(predictions=path, data=cohort)
    result = hurdles.evaluate(predictions=path, data=cohort, columns={"zz": "p:sick"})
    truth = table["diagnosis"] == "sick"
    assert result.get("auc", "sick").value == pytest.approx(roc_auc_score(truth, table["sick"]))
    with pytest.raises(ModelError, match="'zz' is to be 'p:Sick', and nothing is called that"):
        hurdles.evaluate(predictions=path, data=cohort, columns={"zz": "p:Sick"})


def test_rows_without_the_truth_are_left_out_and_counted(table, tmp_path):
    table.loc[[3, 7], "diagnosis"] = None
    result = hurdles.evaluate(predictions=saved(table, tmp_path))
    assert result.get("accuracy").n_images == 118
    assert any("the true class is empty in 2 rows" in note for note in result.notes)


def test_a_fold_of_a_cross_validation_is_no_split(table, tmp_path):
    path = saved(table.assign(fold=np.arange(120) % 5), tmp_path)
    result = hurdles.evaluate(predictions=path)
    assert result.get("accuracy").n_images == 120
    assert any("'fold' holds no train, validation or test" in note for note in result.notes)


def test_names_of_scikit_learn_are_understood(table, tmp_path):
    of_01 = (table["diagnosis"] == "sick").astype(int)
    path = saved(pd.DataFrame({"y_true": of_01, "y_score": table["sick"]}), tmp_path)
    with pytest.raises(ModelError, match="--positive '1'"):
        hurdles.evaluate(predictions=path)
    result = hurdles.evaluate(predictions=path, positive="1")
    assert result.get("auc", "1").value == pytest.approx(roc_auc_score(of_01, table["sick"]))


@pytest.mark.parametrize("heads", [["1"], ["1.0"], ["0.0", "1.0"], ["prediction"]])
def test_classes_that_pandas_made_decimal_numbers_are_the_same_classes(table, tmp_path, heads):
    truth = (table["diagnosis"] == "sick").astype(int)
    p = {head: 1 - table["sick"] if head == "0.0" else table["sick"] for head in heads}
    if heads == ["prediction"]:
        p = {"prediction": (table["sick"] >= 0.5).astype(float)}
    path = saved(pd.DataFrame({"label": truth.astype(float), **p}), tmp_path)
    result = hurdles.evaluate(predictions=path)
    right = accuracy_score(truth, table["sick"] >= 0.5)
    assert result.get("accuracy").value == pytest.approx(right)
    assert result.classes == ("0", "1")


def test_comparing_says_how_tables_were_read(table, tmp_path):
    from hurdles.cli import app

    a = saved(table.drop(columns="file"), tmp_path, "a.csv")
    b = saved(table.drop(columns="file").assign(remark="x"), tmp_path, "b.csv")
    result = CliRunner().invoke(app, ["compare", str(a), str(b)])
    assert result.exit_code == 0
    assert f"{a}: no column names the images, so they are called by their rows" in result.stderr
    assert f"{b}: columns that are not used: 'remark'" in result.stderr


def test_names_that_differ_in_two_tables_are_matched_by_the_images(table, cohort, tmp_path):
    a = saved(table, tmp_path, "a.csv")
    b = saved(table.assign(file=[name[:-4] for name in table["file"]]), tmp_path, "b.csv")
    with pytest.raises(EvaluationError, match="give the images by --data"):
        hurdles.compare(a, b)
    assert {row.difference.value for row in hurdles.compare(a, b, data=cohort)} == {0}


def test_a_table_without_images_or_commas_says_what_to_do(table, cohort, tmp_path):
    path = saved(table.drop(columns=["file", "diagnosis"]), tmp_path)
    with pytest.raises(ModelError, match=r"'patient_id', 'sick'.*into a column 'image'"):
        hurdles.evaluate(predictions=path, data=cohort)
    blanks = tmp_path / "r.txt"
    blanks.write_text('"image" "label" "sick"\n"1" "a.png" "sick" 0.5\n')
    with pytest.raises(ModelError, match=r"separated by blanks.*write\.csv"):
        hurdles.evaluate(predictions=blanks)


def test_patients_that_differ_are_named_as_the_tables_name_them(table, tmp_path):
    other = saved(table.assign(patient_id=[f"q{i}" for i in range(120)]), tmp_path, "b.csv")
    with pytest.raises(EvaluationError, match=r"'p0' and 'q0'.*give the images by --data"):
        hurdles.compare(saved(table, tmp_path, "a.csv"), other)


def test_a_table_of_hurdles_keeps_its_patients(finished, tmp_path):
    own = finished.predictions("test")
    result = hurdles.evaluate(predictions=finished.path / "predictions" / "test.csv")
    assert result.n_patients == finished.evaluation().n_patients < result.n_images
    for key, estimate in finished.evaluation().estimates.items():
        np.testing.assert_allclose(
            [result.estimates[key].low, result.estimates[key].high], [estimate.low, estimate.high]
        )
    groups = ["\x1done"] * 2 + ["\x1fP0"] * 2 + ["\x1e" + i for i in own.frame["image"][4:]]
    sources = ["ward", "clinic", None, None] + ["ward"] * (len(own) - 4)
    several = own.frame.assign(group=groups, source=sources)
    table = read_predictions(Predictions(several).save(tmp_path / "several.csv"))
    assert table.test.groups.tolist() == groups
