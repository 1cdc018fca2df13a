"""The study of one's own that the documentation shows, from its file to the page."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from hurdles.cli import app
from hurdles.phantom import write_phantom
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
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert page.read_text("utf-8") == text

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
