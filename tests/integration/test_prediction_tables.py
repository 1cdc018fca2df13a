"""Tables of any model's predictions: measured, and compared."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score
from typer.testing import CliRunner

import hurdles
from hurdles.errors import EvaluationError, ManifestError, RunError
from hurdles.evaluation.conditions import Conditions


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
    with pytest.raises(ManifestError, match="'labels' are of images"):
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
