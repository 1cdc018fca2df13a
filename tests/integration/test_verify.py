"""A run's folder, verified as its reader would; and the JSON that commands write."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.evaluation.evaluation import SCHEMA as EVALUATION
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.runs.run import Run
from hurdles.verifying.verification import Outcome


@pytest.fixture(scope="module")
def audited(finished, other_phantom, folder, options):
    """Return a run that was tested on others' images and audited."""
    run = folder / "audited"
    shutil.copytree(finished.path, run)
    hurdles.evaluate(run, on=other_phantom, name="ward", options=options)
    hurdles.audit(run, hurdles=["calibration", "subgroups"], pictures=False, options=options)
    return run


@pytest.fixture
def run(audited, tmp_path):
    shutil.copytree(audited, tmp_path / "run")
    return tmp_path / "run"


def call(*words, code):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_an_untouched_run_agrees_in_everything(run):
    text = call("verify", run, code=0)
    assert "DIFFERS" not in text
    assert "COULD NOT" not in text
    for words in (
        "sealed files: all ",
        "evaluation.json, measures: all ",
        "evaluation.ward.json, measures: all ",
        "evaluation.json, images test: ",
        "evaluation.ward.json, images ward: ",
        "audit.json, weights weights/best.safetensors: ",
        "audit.json, images tiny: ",
        "audit.html, its words and numbers",
        "report.html, its words and numbers",
        "report.ward.html, its pictures: those of heatmaps.npz",
    ):
        assert f"AGREES                {words}" in text.replace("audit.json, audit", "audit"), words
    assert "no model asked again" in text
    assert "Research use only" in text
    plain = json.loads(call("verify", run, "--json", code=0))
    assert plain["agrees"] is True


def test_other_predictions_in_a_run_are_noticed(run):
    table = run / "predictions" / "test.csv"
    first, *rest = table.read_text().splitlines()
    table.write_text("\n".join([first, *rest[1:]]) + "\n")
    text = call("verify", run, code=3)
    assert "sealed files: " in text
    assert "DIFFERS               evaluation.json, counts: n_images is" in text
    assert "DIFFERS               audit.json, predictions predictions/test.csv: " in text


def test_a_changed_report_is_noticed(run):
    page = run / "report.html"
    page.write_text(page.read_text().replace("Research use only", "For the clinic", 1))
    text = call("verify", page, code=3)
    assert "'s folder gives" in text
    assert "DIFFERS               report.html, its words and numbers" in text


def test_a_changed_picture_is_noticed(run):
    page = run / "report.ward.html"
    text = page.read_text()
    at = text.index("data:image/")
    page.write_text(text[: at + 40] + ("A" if text[at + 40] != "A" else "B") + text[at + 41 :])
    assert "report.ward.html, its pictures: others in heatmaps.npz" in call("verify", page, code=3)


def test_images_that_are_gone_were_not_checked(run, tmp_path):
    table = (run / "manifest.csv").read_text()
    (run / "manifest.csv").write_text(table.replace("phantom/", "moved/"))
    text = call("verify", run / "audit.json", code=4)
    assert "files cannot be opened" in text
    assert "AGREES                rows tiny" in text


def test_another_run_s_weights_are_noticed(run):
    path = run / "weights" / "best.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    text = call("verify", run / "audit.json", code=3)
    assert "DIFFERS               weights weights/best.safetensors" in text


def test_what_a_run_writes_is_as_its_schemas_have_it(audited):
    run = Run(audited)
    for name in ("evaluation.json", "evaluation.ward.json"):
        assert EVALUATION.faults(run.read_json(name)) == []
    assert FINDINGS.faults(run.read_json("audit.json")) == []
    roles = [each["role"] for each in run.read_json("audit.json")["inputs"]]
    wanted = ["images", "rows", "weights", "recipe", "predictions", "predictions", "limits"]
    assert roles == wanted
    text = json.dumps(run.read_json("audit.json")["inputs"])
    assert str(audited.parent) not in text
    page = (audited / "report.html").read_text()
    for each in run.read_json("evaluation.json")["inputs"]:
        assert each["sha256"] in page
    page = (audited / "audit.html").read_text()
    for each in run.read_json("audit.json")["inputs"]:
        assert each["sha256"] in page


def test_an_older_run_s_files_are_read(run):
    for name in ("evaluation.json", "audit.json"):
        plain = json.loads((run / name).read_text())
        old = {k: v for k, v in plain.items() if k not in ("schema", "digest", "inputs")}
        (run / name).write_text(json.dumps(old))
    assert Run(run).evaluation().get("accuracy").is_defined
    text = call("verify", run / "evaluation.json", code=4)
    assert "an earlier version wrote it" in text
    assert "DIFFERS" not in text


def test_a_badge_is_drawn_and_replaces_nothing_of_the_user(audited, tmp_path):
    out = tmp_path / "badge.svg"
    assert "written" in call("badge", audited / "audit.json", "--out", out, code=0)
    assert out.read_text().startswith("<svg")
    call("badge", audited / "audit.json", "--out", out, code=0)
    out.write_text("mine")
    done = CliRunner().invoke(app, ["badge", str(audited / "audit.json"), "--out", str(out)])
    assert "hurdles did not write it" in str(done.exception)
    assert out.read_text() == "mine"
    words = ["badge", str(audited / "meta.json"), "--out", str(tmp_path / "other.svg")]
    done = CliRunner().invoke(app, words)
    assert "holds no findings" in str(done.exception)


def test_files_for_servers_are_written_and_guarded(phantom, tmp_path):
    words = ["check", phantom, "--hurdle", "size", "-q"]
    for option, name in (("--sarif", "x.sarif"), ("--junit", "x.xml")):
        out = tmp_path / name
        done = CliRunner().invoke(app, [*map(str, words), option, str(out)])
        assert done.exit_code in (0, 3)
        assert f"written: {out}" in done.stdout
        out.write_text("mine")
        done = CliRunner().invoke(app, [*map(str, words), option, str(out)])
        assert "hurdles did not write it" in str(done.exception)
        done = CliRunner().invoke(app, [*map(str, words), option, str(phantom), "--force"])
        assert "would overwrite it" in str(done.exception)


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [
        ([], 0),
        (["--fail-on", "hit"], 0),
        (["--fail-on", "could-not-run"], 4),
        (["--fail-on", "inconclusive,could-not-run"], 4),
        (["--fail-on", "inconclusive", "--fail-on", "could-not-run"], 4),
        (["--fail-on", "inconclusive"], 0),
        (["--fail-on", "nothing"], 0),
    ],
)
def test_a_command_fails_on_what_it_is_told_to(audited, fail_on, code, options):
    """Stability needs runs of other seeds, so it cannot run; nothing is hit."""
    words = ["audit", audited, "--hurdle", "stability", "-q", *fail_on]
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--strict"], "--fail-on inconclusive,could-not-run"),
        (["--fail-on", "hits"], "'hits' is none of hit, inconclusive, could-not-run, nothing"),
        (["--fail-on", "hit,nothing"], "nothing stands alone"),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_read(words, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for verb in ("check", "audit"):
        done = CliRunner().invoke(app, [verb, "no-such-thing", *words])
        assert done.exit_code == 2
        assert message in done.output


def test_measures_of_anybodys_predictions_are_made_again_as_they_were_made(tmp_path):
    rng = np.random.default_rng(0)
    p = rng.uniform(size=120)
    table = pd.DataFrame(
        {
            "image": [f"i{k}" for k in range(120)],
            "label": np.where(p + rng.normal(scale=0.3, size=120) > 0.5, "sick", "well"),
            "patient": [f"p{k // 2}" for k in range(120)],
            "split": np.where(np.arange(120) // 2 % 3, "test", "validation"),
            "sick": p,
        }
    )
    table.to_csv(tmp_path / "p.csv", index=False)
    result = hurdles.evaluate(predictions=tmp_path / "p.csv")
    (tmp_path / "e.json").write_text(json.dumps(result.to_dict()), encoding="utf-8")
    lines = hurdles.verify(tmp_path / "e.json").lines
    assert {line.outcome for line in lines} <= {Outcome.AGREES}, lines
    changed = json.loads((tmp_path / "e.json").read_text(encoding="utf-8"))
    changed["n_images"] += 1
    (tmp_path / "f.json").write_text(json.dumps(changed), encoding="utf-8")
    outcomes = {line.outcome for line in hurdles.verify(tmp_path / "f.json").lines}
    assert outcomes - {Outcome.AGREES}
