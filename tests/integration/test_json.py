"""Every command prints JSON with --json, and nothing else on stdout."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

import hurdles.lungs.results  # noqa: F401 - it makes recipes, before the fixture replaces them
from hurdles import api
from hurdles.calibrating import page
from hurdles.cli import app
from hurdles.evaluation.evaluation import SCHEMA as EVALUATION
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.findings.table import Findings
from hurdles.lungs import training
from hurdles.lungs.training import LungRecipe
from hurdles.studies import StudyResult

pytestmark = pytest.mark.full
SHORT = LungRecipe(
    width=2, epochs=1, calm_epochs=0, images=4, batch_size=4, fractions=(0.5, 0.25, 0.25)
)
#: With RUN (a copy that may be changed), TABLE, OTHER, IMAGE, AUDIT (findings) and OUT (a folder).
COMMANDS = [
    "recipes",
    "recipes demo",
    "cache",
    "collections",
    "manifest TABLE",
    "manifest TABLE --out OUT/table.csv",
    "segment IMAGE --out OUT",
    "run small-data --data TABLE --out RUN --resume",
    "demo --out OUT",
    "evaluate RUN --on OTHER --name ward",
    "evaluate RUN --prevalence COVID-19=0.02 --benefit-at 0.1",
    "compare RUN RUN",
    "predict RUN IMAGE --out OUT/p.csv",
    "export RUN --out OUT/m.onnx",
    "compare RUN RUN --metric auc --margin 0.02",
    "explain RUN IMAGE --out OUT/sheet.png",
    "embed RUN --on TABLE --out OUT",
    "report RUN",
    "study lazaro-barco-2020 --out OUT",
    "study lazaro-barco-2020 --out OUT --dry-run",
    "learning-curve small-data --data TABLE --out OUT/curve --seeds 1 --share 0.5 --share 0.75",
    "train-lungs --data TABLE --out OUT",
    "check TABLE --hurdle size --out OUT/page.html",
    "audit RUN --hurdle calibration",
    "audit --predictions PREDICTIONS --hurdle calibration",
    "evaluate --predictions PREDICTIONS",
    "compare PREDICTIONS PREDICTIONS --metric auc",
    "spec --like keras --classes A,B",
    "fit-head FEATURES --data TABLE --out OUT",
    "import-encoder ENCODER --architecture resnet-18 --like timm --mean 0.5 --std 0.25 "
    "--out OUT/e.safetensors",
    "verify RUN",
    "badge AUDIT --out OUT/badge.svg",
    "lineage TABLE --out OUT/found.csv",
    "fingerprint TABLE --out OUT/print.npz",
    "calibrate-audit --profile fast --out OUT",
]


def test_every_command_is_tried():
    assert {line.split()[0] for line in COMMANDS} == set(get_command(app).commands)


@pytest.fixture
def short(finished, monkeypatch):
    """Replace what takes minutes by its result."""
    cells = pd.DataFrame({"status": ["done", "pending"], "accuracy": [0.5, math.nan]})
    studied = StudyResult(cells, Path("page.md"), Path("table.csv"), {})
    calibrated = SimpleNamespace(rates=cells, references={"age": 0.5}, left=3)
    monkeypatch.setattr(api, "study", lambda *_, **__: studied)
    monkeypatch.setattr(api, "demo", lambda **_: finished)
    monkeypatch.setattr(api, "calibrate_audit", lambda *_, **__: calibrated)
    monkeypatch.setattr(page, "answer_lines", lambda _: [])
    monkeypatch.setattr(training, "LungRecipe", lambda: SHORT)


@pytest.mark.parametrize("line", COMMANDS)
@pytest.mark.usefixtures("short")
def test_stdout_is_json(line, finished, phantom, other_phantom, files_of_others, tiny, tmp_path):
    run, out, recipe = tmp_path / "run", tmp_path / "out", tmp_path / "tiny.toml"
    shutil.copytree(finished.path, run)
    out.mkdir()
    recipe.write_text(tiny.to_toml())
    image = sorted(phantom.parent.rglob("*.png"))[0]
    audit = Findings((), {"size": "Are there enough?"}).save(tmp_path / "findings.json")
    names = {
        "AUDIT": audit,
        "RUN": run,
        "TABLE": phantom,
        "OTHER": other_phantom,
        "IMAGE": image,
        "OUT": out,
        **files_of_others,
    }
    line = line.replace("OUT/", f"{out}/").replace("small-data", str(recipe))
    done = CliRunner().invoke(app, [*(str(names.get(w, w)) for w in line.split()), "--json"])
    assert done.exit_code in {0, 3, 4}, done.exception

    def refuse(constant):
        raise AssertionError(constant)

    plain = json.loads(done.stdout, parse_constant=refuse)
    assert plain
    schemas = {schema.id: schema for schema in (FINDINGS, EVALUATION)}
    named = plain.get("schema") if isinstance(plain, dict) else None
    assert (named in schemas) == (line.split()[0] in ("run", "demo", "evaluate", "check", "audit"))
    if named:
        assert schemas[named].faults(plain) == []
