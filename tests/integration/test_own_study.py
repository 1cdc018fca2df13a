"""The study of one's own that the documentation shows, from its file to the page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hurdles.cli import app
from hurdles.evaluation.evaluation import evaluate
from hurdles.phantom import write_phantom
from hurdles.runs import folds
from hurdles.runs.run import Run
from hurdles.studies import find_study, runner

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "own-study.md"
SHOWN = re.search(r'```toml title="my-study.toml"\n(.*?)```', PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def study(tmp_path) -> Path:
    assert SHOWN
    (tmp_path / "my-study.toml").write_text(SHOWN[1], encoding="utf-8")
    return tmp_path / "my-study.toml"


def test_its_fragments_are_what_a_file_may_say(study, tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    collections, sets, start = blocks
    text = study.read_text("utf-8").replace("[collections.ours]", "[collections.own]")
    text = text.replace('["ours", "theirs"]', '["own", "both"]')
    kermany = '[collections.kermany]\nnames = "kermany"\n'
    study.write_text("\n".join([text, collections, kermany, sets, start]), encoding="utf-8")
    grid = find_study(study).grid
    assert grid.image_set("both").needs == ("ours", "database", "drawn")
    assert grid.path("cohort.csv") == tmp_path / "cohort.csv"
    assert grid.starts["kermany"].recipe == "pneumonia-small"


@pytest.mark.full
def test_it_is_planned_carried_out_and_gone_on_with(study, tmp_path, monkeypatch):
    arguments = ["study", str(study), "--out", str(tmp_path / "runs"), "--fast"]
    one = [*arguments, "--cells", "ours/*raw/0"]
    planned = CliRunner().invoke(app, [*arguments, "--dry-run", "--json"])
    assert planned.exit_code == 0, planned.output
    assert planned.output.count('"to do"') == 4
    assert not (tmp_path / "runs").exists()

    assert CliRunner().invoke(app, one).exit_code == 0
    page = tmp_path / "runs" / "my-study.fast.md"
    assert "1 of 4 cells are done." in page.read_text("utf-8")
    cells = pd.read_csv(tmp_path / "runs" / "my-study.fast.csv")
    assert sorted(cells["status"]) == ["done", "pending", "pending", "pending"]

    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    text = page.read_text("utf-8")
    assert "4 of 4 cells are done." in text
    assert re.search(r"\| ours, small-data, raw \| \*\*0\.\d+ \[.*\*\* \| 0\.\d+ \[", text)
    assert "- equalizing" in text
    assert " nan" not in text
    assert (tmp_path / "runs" / "my-study.fast.matrix.png").stat().st_size

    monkeypatch.setattr(runner, "run_experiment", None)
    for weights in (tmp_path / "runs").glob("*/weights"):
        shutil.rmtree(weights)  # what finished cells answered is enough
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert page.read_text("utf-8") == text

    for name in ("history.csv", "manifest.csv", "predictions/test.csv", "predictions/on-*.csv"):
        file = next((tmp_path / "runs").glob(f"*/{name}"))
        whole = file.read_bytes()
        file.write_bytes(whole[:100])
        damaged = CliRunner().invoke(app, one)  # a cell that was not asked for, or was
        assert damaged.exit_code == 1
        assert re.search(rf"failed: .*{file.name}", " ".join(damaged.output.split()))
        assert "3 of 4 cells are done." in page.read_text("utf-8")
        file.write_bytes(whole)

    page.write_text("my own words")
    refused = CliRunner().invoke(app, arguments)
    assert "hurdles did not write it" in str(refused.exception)


OWN = """
name = "own"
positive = "COVID-19"
copies = false
tables = {}
figures = []
page = "own.md.j2"
[collections.ours]
path = "ours/manifest.csv"
[[cells]]
train = "ours"
recipe = "tiny.toml"
[measures]
accuracy = "accuracy"
"missed" = ["miss_rate", "COVID-19"]
"""


@pytest.mark.full
def test_own_images_recipe_and_page_lie_beside_the_file(tiny, tmp_path):
    write_phantom(tmp_path / "ours", 16, seed=4, size=48)
    (tmp_path / "tiny.toml").write_text(tiny.to_toml(), encoding="utf-8")
    (tmp_path / "own.toml").write_text(OWN, encoding="utf-8")
    template = "{% for c in cells %}{{ c.row }}: {{ c.measures.accuracy.percent() }}{% endfor %}"
    (tmp_path / "own.md.j2").write_text(template, encoding="utf-8")
    study = find_study(tmp_path / "own.toml")
    result = study.carry_out(None, tmp_path / "runs")
    assert not result.failed
    row = result.cells.iloc[0]
    assert row["missed low"] <= row["missed"] <= row["missed high"]
    run = Run(tmp_path / "runs" / row["folder"])
    expected = run.evaluation().get("accuracy").percent()
    assert result.page.read_text("utf-8") == f"tiny.toml: {expected}\n"

    table = pd.read_csv(tmp_path / "ours" / "manifest.csv")
    table.iloc[:-1].to_csv(tmp_path / "ours" / "manifest.csv", index=False)
    edited = find_study(tmp_path / "own.toml").carry_out(None, tmp_path / "runs")
    (message,) = edited.failed.values()
    assert "begun with other images" in message


FOLDS = """
name = "folds"
positive = "COVID-19"
[collections.ours]
phantom = { patients = 16, seed = 4, size = 64 }
[collections.theirs]
phantom = { patients = 12, seed = 5, size = 64 }
[[cells]]
train = "ours"
recipe = "tiny.toml"
tests = ["ours", "theirs"]
split.scheme = ["k-fold", "patient"]
split.folds = 2
[measures]
AUC = ["auc", "COVID-19"]
[paired]
questions = [["folds or once", "tiny.toml, k-fold", "tiny.toml, patient"]]
"""


@pytest.mark.full
def test_a_cell_in_folds_answers_its_own_images_once_and_others_by_all_of_its_networks(
    tiny, tmp_path, monkeypatch
):
    (tmp_path / "tiny.toml").write_text(tiny.to_toml(), encoding="utf-8")
    (tmp_path / "folds.toml").write_text(FOLDS, encoding="utf-8")
    study = find_study(tmp_path / "folds.toml")
    real, trained = folds.run_experiment, []

    def cut(*of, **others):
        trained.append(of[2])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(*of, **others)

    with monkeypatch.context() as patch:
        patch.setattr(folds, "run_experiment", cut)
        with pytest.raises(KeyboardInterrupt):
            study.carry_out(None, tmp_path / "runs")
    result = study.carry_out(None, tmp_path / "runs")
    assert not result.failed
    table = result.cells.set_index("row")
    run = Run(tmp_path / "runs" / table.loc["tiny.toml, k-fold", "folder"])
    assert len(run.fold_runs()) == 2
    assert run.fold_runs()[0].path == trained[0]
    ours, theirs = (
        pd.read_csv(tmp_path / "runs" / "phantoms" / name / "manifest.csv")
        for name in ("ours", "theirs")
    )
    once = table.loc["tiny.toml, patient", "n_images"]
    assert table.loc["tiny.toml, k-fold", "n_images"] == len(ours) > once
    # The intervals are those of folds, wider than patients alone make them.
    area = run.evaluation().get("auc", "COVID-19")
    pooled = evaluate(run.predictions("test")).get("auc", "COVID-19")
    assert area.high - area.low > pooled.high - pooled.low
    shown = table.loc["tiny.toml, k-fold", ["AUC", "AUC low", "AUC high"]]
    assert tuple(shown) == (area.value, area.low, area.high)

    matrix = pd.read_csv(tmp_path / "runs" / "folds.full.matrix.csv")
    matrix = matrix[matrix["measure"] == "auc"].set_index(["model", "test"])
    own = matrix.loc[("tiny.toml, k-fold", "ours")]
    assert (own["value"], own["n_images"]) == (pytest.approx(area.value), len(ours))
    assert matrix.loc[("tiny.toml, k-fold", "theirs"), "n_images"] == len(theirs)
    # What one split loses outside is a difference of two tests of one network; folds have none.
    gaps = pd.read_csv(tmp_path / "runs" / "folds.full.gaps.csv")
    assert set(gaps["model"]) == {"tiny.toml, patient"}
    # Nor are several networks compared with one.
    assert not len(pd.read_csv(tmp_path / "runs" / "folds.full.paired.csv"))
    left_out = pd.read_csv(tmp_path / "runs" / "folds.full.left-out.csv")
    assert not left_out["cell"].str.contains("k-fold").any()
    assert " nan" not in result.page.read_text("utf-8")

    (run.fold_runs()[1].path / "history.csv").unlink()
    damaged = study.carry_out(None, tmp_path / "runs")
    ((cell, message),) = damaged.failed.items()
    assert cell.endswith("k-fold/0")
    assert "history.csv is missing" in message
    assert set(damaged.cells["status"]) == {"done", "failed"}
