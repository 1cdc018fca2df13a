"""From files to findings: check and audit as a user calls them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.findings.finding import Verdict
from hurdles.findings.table import Findings
from hurdles.phantom import Shortcut, write_phantom
from hurdles.progress import Options
from hurdles.recipe.recipe import load_recipe


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hurdles")
    plant = Shortcut("border", 1.0)
    write_phantom(folder / "planted", 60, seed=3, size=96, classes=("COVID-19", "Normal"),
                  shortcut=plant)  # fmt: skip
    write_phantom(folder / "there", 24, seed=4, size=96, classes=("COVID-19", "Normal"))
    return folder


@pytest.fixture(scope="module")
def run(home):
    recipe = load_recipe("covid-small").changed(
        preparation={"name": "raw", "size": 64},
        split={"scheme": "patient"},
        training={"epochs": 2, "batch_size": 8},
    )
    options = Options(cache=home / "cache")
    return hurdles.run(recipe, data=home / "planted", out=home / "run", options=options)


@pytest.fixture
def call(home, monkeypatch):
    monkeypatch.setenv("HURDLES_CACHE", str(home / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words])


def test_check_finds_a_planted_border_a_copy_and_a_broken_file(call, home, tmp_path):
    folder = tmp_path / "ours"
    for row in hurdles.manifest(home / "planted").frame.itertuples():
        target = folder / row.label / Path(row.path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(row.path, target)
    first = sorted((folder / "Normal").iterdir())[0]
    pixels = cv2.imread(str(first), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "COVID-19" / "copy.jpg"), cv2.resize(pixels, (80, 80)))
    (folder / "Normal" / "torn.png").write_bytes(first.read_bytes()[:900])
    done = call("check", folder, "--out", tmp_path / "page.html", "--quiet")
    assert done.exit_code == 3, done.output
    found = Findings.load(tmp_path / "page.json")
    assert found.verdict("pixels") is Verdict.HIT
    (conflict,) = [f for f in found.of("duplicates") if f.subject == "conflicting labels"]
    assert conflict.estimate.value == 1
    assert {e.image for e in conflict.evidence} & {"COVID-19/copy.jpg"}
    (unread,) = [f for f in found.of("files") if f.subject == "unreadable"]
    assert unread.verdict is Verdict.HIT
    assert any("torn.png" in e.image for e in unread.evidence)
    assert "Research use only" in done.stdout
    assert "please report it" not in done.stdout
    assert "<img" in (tmp_path / "page.html").read_text()


def test_check_takes_some_hurdles_prints_json_and_writes_markdown(call, home, tmp_path):
    page = tmp_path / "page.md"
    done = call("check", home / "there", "--hurdle", "size", "--json", "--out", page, "-q")
    plain = json.loads(done.stdout)
    assert [h["name"] for h in plain["hurdles"]] == ["size"]
    assert done.exit_code == (3 if plain["hurdles"][0]["verdict"] == "hit" else 0)
    assert page.read_text().startswith("# Hurdles for data: there")
    wrong = call("check", home / "there", "--hurdle", "sise", "-q")
    assert "did you mean 'size'" in str(wrong.exception)


@pytest.mark.full
def test_audit_writes_its_page_and_a_section_into_the_report(call, home, run):
    said = call("audit", run.path, "--on", home / "there", "--hurdle", "views",
                "--hurdle", "lungs-removed", "--hurdle", "elsewhere", "-q")  # fmt: skip
    assert said.exit_code in (0, 3), (said.output, said.exception)
    assert "please report it" not in said.stdout
    found = Findings.load(run.path / "audit.json")
    assert found.hurdles == ["views", "lungs-removed", "elsewhere"]
    views = {f.subject: f for f in found.of("views")}
    assert views["border"].estimate.value > 0.8
    assert any(f.subject.startswith("there,") for f in found.of("elsewhere"))
    assert (run.path / "audit.html").is_file()
    report = run.report_path.read_text()
    assert "Hurdles" in report
    assert "without any lung" in report
    # Fewer hurdles do not replace an audit by more: a hit of the others would be gone.
    fewer = call("audit", run.path, "--hurdle", "calibration")
    assert "written" not in fewer.stdout
    assert "audit asked 3 more (views, lungs-removed, elsewhere)" in fewer.stderr
    assert Findings.load(run.path / "audit.json").hurdles == found.hurdles
    assert run.report_path.read_text() == report


@pytest.mark.full
def test_findings_of_another_version_cost_no_report(run, caplog):
    (run.path / "audit.json").write_text('{"about": {}, "hurdles": [], "findings": [{}]}')
    try:
        hurdles.report(run)
    finally:
        (run.path / "audit.json").unlink()
    assert "holds no findings that this version reads" in caplog.text
    assert "without any lung" not in run.report_path.read_text()


@pytest.mark.full
def test_images_of_training_are_no_other_collection(call, home, run):
    from hurdles.auditing.loading import subject_of

    again = hurdles.manifest(home / "planted")
    options = Options(cache=home / "cache")
    subject = subject_of(run, on={"again": again}, options=options)
    (there,) = subject.elsewhere
    tested = set(run.predictions("test").frame["image"])
    assert set(there.material.manifest.frame["image"]) <= tested
    assert there.predictions.frame["image"].tolist() == (
        there.material.manifest.frame["image"].tolist()
    )


def test_lungs_are_looked_for_only_where_a_hurdle_looks_at_them(home, run, monkeypatch):
    """Told without lungs, it is the same."""

    def asked(names):
        options = Options(cache=home / "cache")
        return hurdles.audit(run.path, hurdles=names, options=options, pictures=False).frame

    names = ["calibration", "perturbations", "source"]
    with_lungs = asked([*names, "lungs-removed"])
    with_lungs = with_lungs[with_lungs["hurdle"] != "lungs-removed"].reset_index(drop=True)
    monkeypatch.setattr("hurdles.auditing.loading._masks", lambda *_: pytest.fail("looked for"))
    assert asked(names).equals(with_lungs)


@pytest.mark.full
def test_siblings_must_differ_in_the_seed_alone(home, run):
    from hurdles.auditing.loading import subject_of
    from hurdles.errors import HurdleError

    options = Options(cache=home / "cache")
    other = run.recipe.changed(training={"seed": 1})
    twin = hurdles.run(other, data=home / "planted", out=home / "seed1", options=options)
    (told,) = subject_of(run, siblings=[twin], options=options).siblings
    assert told.frame["image"].tolist() == run.predictions("test").frame["image"].tolist()
    assert not np.allclose(told.y_prob, run.predictions("test").y_prob)
    longer = run.recipe.changed(training={"epochs": 1})
    strange = hurdles.run(longer, data=home / "planted", out=home / "strange", options=options)
    with pytest.raises(HurdleError, match=r"differs from .* in more than training\.seed"):
        subject_of(run, siblings=[strange], options=options)


def test_lineage_and_fingerprint(call, home, tmp_path):
    made = call("fingerprint", home / "planted", "--out", tmp_path / "ours.npz",
                "--name", "planted", "-q")  # fmt: skip
    assert made.exit_code == 0, made.output
    found = call("lineage", home / "planted", "--fingerprint", tmp_path / "ours.npz",
                 "--out", tmp_path / "table.csv", "-q")  # fmt: skip
    n = len(hurdles.manifest(home / "planted"))
    assert f"Where {n} images are found" in found.stdout
    assert "planted" in found.stdout
    assert "100.0 %" in found.stdout
    nowhere = hurdles.lineage(home / "there", options=Options(cache=home / "cache"))
    assert nowhere.summary.iloc[-1]["share"] == 1.0


def test_a_remedy_is_added_to_a_recipe(call, home, tmp_path):
    toml = tmp_path / "r.toml"
    recipe = load_recipe("covid-small").changed(
        preparation={"name": "raw", "size": 64},
        split={"scheme": "patient"},
        training={"epochs": 1, "batch_size": 8},
    )
    toml.write_text(recipe.to_toml())
    done = call("run", toml, "--data", home / "there", "--out", tmp_path / "run",
                "--remedy", "class-by-source", "-q")  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    assert "class-by-source" in (tmp_path / "run" / "recipe.toml").read_text()
    wrong = call("run", toml, "--data", home / "there", "--out", tmp_path / "x",
                 "--remedy", "pray", "-q")  # fmt: skip
    assert "no remedy is called 'pray'" in str(wrong.exception)
