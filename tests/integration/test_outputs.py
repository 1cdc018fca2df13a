"""No verb overwrites what it reads, or what hurdles did not write."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hurdles import api
from hurdles.cli import app
from hurdles.data.files import file_hash
from hurdles.findings.table import Findings
from hurdles.lungs import results
from hurdles.lungs.training import LungRecipe

pytestmark = pytest.mark.full
THEIRS = b"three years of work"
SHORT = LungRecipe(
    width=2, epochs=1, calm_epochs=0, images=4, batch_size=4, fractions=(0.5, 0.25, 0.25)
)


@pytest.fixture
def own(phantom, tmp_path) -> Path:
    """Return a copy of the phantom's folder that a verb may try to destroy."""
    shutil.copytree(phantom.parent, tmp_path / "own")
    (tmp_path / "own" / "manifest.csv").rename(tmp_path / "own" / "my.csv")
    return tmp_path / "own"


def content(folder: Path) -> dict[str, str]:
    return {str(p): file_hash(p) for p in folder.rglob("*") if p.is_file()}


def refused(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code != 0
    return str(done.exception)


# The verb with RUN, TABLE (a table), IMAGE and OWN (their folder).
OVER_INPUTS = [
    "check TABLE --out OWN/my.html",
    "check TABLE --out OWN/my.md",
    "audit RUN --on TABLE --hurdle calibration --out OWN/my.html",
    "explain RUN IMAGE --out IMAGE",
    "predict RUN TABLE --out TABLE",
    "export RUN --on TABLE --out IMAGE",
    "lineage TABLE --out TABLE",
    "fingerprint TABLE --out TABLE",
    "manifest TABLE --out TABLE",
    "manifest TABLE --out IMAGE",
    "lineage TABLE --out IMAGE",
]


@pytest.mark.parametrize("line", OVER_INPUTS)
def test_an_input_is_never_overwritten_even_by_force(line, finished, own):
    image = sorted(own.rglob("*.png"))[0]
    names = {"RUN": finished.path, "TABLE": own / "my.csv", "IMAGE": image, "OWN": own}
    before = content(own)
    for name, path in names.items():
        line = line.replace(name, str(path))
    for words in (line.split(), [*line.split(), "--force"]):
        said = refused(*words)
        assert "is read by this command" in said or "hurdles did not write it" in said
        assert content(own) == before
    assert "is read by this command" in said


OVER_OTHERS = {
    "check TABLE --hurdle size --out OUT/page.html": "page.json",
    "check TABLE --hurdle size --out OUT/page.md": "page.csv",
    "audit RUN --hurdle calibration --out OUT/page.html": "page.html",
    "explain RUN IMAGE --out OUT/sheet.png": "sheet.png",
    "embed RUN --on TABLE --out OUT": "features.npz",
    "lineage TABLE --out OUT/found.csv": "found.csv",
    "fingerprint TABLE --out OUT/print.npz": "print.npz",
    "manifest TABLE --out OUT/table.csv": "table.exclusions.csv",
    "segment IMAGE --out OUT": "masks.csv",
    "study lazaro-barco-2020 --fast --out OUT": "lazaro-barco-2020.fast.md",
    "calibrate-audit --profile fast --out OUT": "limits.toml",
    "learning-curve small-data --data TABLE --out OUT": "learning-curve.md",
}


@pytest.mark.parametrize(("line", "name"), OVER_OTHERS.items())
def test_a_file_that_hurdles_did_not_write_is_refused_before_anything_is_written(
    line, name, finished, phantom, tmp_path
):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(THEIRS)
    image = sorted(phantom.parent.rglob("*.png"))[0]
    names = {"RUN": finished.path, "TABLE": phantom, "IMAGE": image, "OUT": out}
    for each, path in names.items():
        line = line.replace(each, str(path))
    assert "hurdles did not write it" in refused(*line.split())
    assert [(p.name, p.read_bytes()) for p in out.iterdir()] == [(name, THEIRS)]


#: Every command that writes, with RUN (a copy that may be changed), AUDIT (findings) and the rest.
WRITING = [
    "manifest TABLE --out OUT/table.csv",
    "segment IMAGE --out OUT",
    "explain RUN IMAGE --out OUT/sheet.png",
    "predict RUN IMAGE --out OUT/p.csv --heatmaps OUT/heat",
    "export RUN --out OUT/m.onnx",
    "export RUN",
    "embed RUN --on TABLE --out OUT",
    "check TABLE --hurdle size --out OUT/page.html",
    "check TABLE --hurdle size --out OUT/page.md",
    "check TABLE --hurdle size --sarif OUT/x.sarif --junit OUT/x.xml",
    "badge AUDIT --out OUT/badge.svg",
    "audit RUN --hurdle calibration --out OUT/page.html",
    "audit --predictions PREDICTIONS --hurdle calibration --out OUT/page.html",
    "spec --like keras --classes A,B --out OUT/model.toml",
    "fit-head FEATURES --data TABLE --out OUT",
    "import-encoder ENCODER --architecture resnet-18 --like timm --mean 0.5 --std 0.25 "
    "--out OUT/e.safetensors",
    "evaluate RUN --on OTHER --name ward",
    "report RUN",
    "lineage TABLE --out OUT/found.csv",
    "fingerprint TABLE --out OUT/print.npz",
    "train-lungs --data TABLE --measure --out OUT",
]
#: These begin a run (a folder that is empty, or by hurdles), or are tested above.
BEGINNING = {"run", "demo", "study", "learning-curve", "calibrate-audit"}
WRITING_NOTHING = {"recipes", "cache", "collections", "compare", "verify"}
#: What hurdles keeps for itself: checksums, and what it wrote.
KEPT = ("checksums.", ".written", ".lock")


def test_every_command_is_tried():
    tried = {line.split()[0] for line in WRITING} | BEGINNING | WRITING_NOTHING
    assert tried == {
        c.name or c.callback.__name__.replace("_", "-") for c in app.registered_commands
    }


@pytest.mark.parametrize("line", WRITING)
def test_each_file_that_a_command_writes_is_replaced_only_if_hurdles_wrote_it(
    line, finished, phantom, other_phantom, files_of_others, tmp_path, monkeypatch
):
    out, run = tmp_path / "out", tmp_path / "run"
    image = sorted(phantom.parent.rglob("*.png"))[0]
    names = {"RUN": run, "TABLE": phantom, "OTHER": other_phantom, "IMAGE": image, "OUT": out}
    names |= files_of_others
    names["AUDIT"] = Findings((), {"size": "Are there enough?"}).save(tmp_path / "findings.json")
    words = [str(names.get(w, w)) for w in line.replace("OUT/", f"{out}/").split()]
    if line.startswith("train-lungs"):
        short = partial(results.lungs_results, recipe=SHORT, crossed=SHORT)
        monkeypatch.setattr(results, "lungs_results", short)

    def clean():
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(run, ignore_errors=True)
        out.mkdir()
        shutil.copytree(finished.path, run)

    clean()
    begun = time.time()
    for _ in range(2):  # its own files it replaces, the second time
        assert CliRunner().invoke(app, words).exit_code in {0, 3}
    there = [p for p in tmp_path.rglob("*") if p.is_file() and not p.name.startswith(KEPT)]
    written = sorted(p for p in there if p.stat().st_mtime >= begun)
    assert written
    for path in written:
        clean()
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(THEIRS)
        there = content(tmp_path)
        said = refused(*words)
        assert "hurdles did not write it" in said or path.name == "state.safetensors", path
        assert path.read_bytes() == THEIRS
        # The networks of train-lungs come one after the other; all else is refused at once.
        assert content(tmp_path) == there or line.startswith("train-lungs"), path
    if path.suffix != ".safetensors":
        assert CliRunner().invoke(app, [*words, "--force"]).exit_code in {0, 3}
        assert path.read_bytes() != THEIRS


def test_a_run_that_was_moved_or_is_older_than_its_ledger_is_written_on(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    assert CliRunner().invoke(app, ["report", str(run)]).exit_code == 0
    (run / ".written").unlink()
    (run / "report.html").write_text("by an earlier version")
    assert CliRunner().invoke(app, ["report", str(run)]).exit_code == 0


def test_the_same_command_twice_replaces_its_own_files(phantom, tmp_path):
    for _ in range(2):
        words = ["check", str(phantom), "--hurdle", "size", "--out", str(tmp_path / "page.html")]
        assert CliRunner().invoke(app, words).exit_code in {0, 3}
    assert {p.suffix for p in tmp_path.iterdir()} == {".html", ".json", ".csv"}


def test_two_outputs_of_one_name_are_refused(own):
    before = content(own)
    said = refused("check", own / "my.csv", "--out", own / "other.csv", "--force")
    assert "written twice" in said
    assert content(own) == before


def test_a_recipe_of_the_users_in_the_folder_of_a_run_stays(phantom, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('# for the thesis\nname = "mine"\n')
    words = ["run", str(recipe), "--data", str(phantom), "--out", str(tmp_path)]
    assert "not by hurdles" in refused(*words)
    assert recipe.read_text().startswith("# for the thesis")


def test_nothing_is_put_into_a_folder_that_is_no_run(phantom, tmp_path):
    (tmp_path / "notes.md").write_bytes(THEIRS)
    words = ["run", "small-data", "--data", str(phantom), "--out"]
    assert "holds no run" in refused(*words, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.md"]
    assert "is a file; give the name of a folder" in refused(*words, tmp_path / "notes.md")
    assert (tmp_path / "notes.md").read_bytes() == THEIRS


def test_the_command_that_empties_the_cache(tmp_path, phantom):
    words = ["lineage", str(phantom), "--cache", str(tmp_path)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert " files, " in CliRunner().invoke(app, ["cache", "--cache", str(tmp_path)]).output
    emptied = CliRunner().invoke(app, ["cache", "--cache", str(tmp_path), "--empty", "--json"])
    assert '"emptied": true' in emptied.output
    assert list(tmp_path.rglob("*.pack")) == []


def test_pages_without_patients_pixels(finished, phantom, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished.path, run)
    words = ["check", phantom, "--hurdle", "duplicates", "--out", tmp_path / "page.html"]
    assert CliRunner().invoke(app, [*map(str, words), "--no-images"]).exit_code in {0, 3}
    assert "data:image" not in (tmp_path / "page.html").read_text()
    assert CliRunner().invoke(app, ["report", str(run)]).exit_code == 0
    assert "data:image/jpeg" in (run / "report.html").read_text()
    assert CliRunner().invoke(app, ["report", str(run), "--no-images"]).exit_code == 0
    assert "data:image/jpeg" not in (run / "report.html").read_text()


def test_a_run_and_its_tests_without_patients_pixels(phantom, other_phantom, tiny, tmp_path):
    recipe, run = tmp_path / "tiny.toml", tmp_path / "run"
    recipe.write_text(tiny.to_toml())
    words = ["run", str(recipe), "--data", str(phantom), "--out", str(run)]
    assert CliRunner().invoke(app, [*words, "--no-images"]).exit_code == 0
    elsewhere = ["evaluate", str(run), "--on", str(other_phantom), "--name", "ward"]
    assert CliRunner().invoke(app, [*elsewhere, "--no-images"]).exit_code == 0
    audit = ["audit", str(run), "--hurdle", "calibration", "--hurdle", "attention"]
    assert CliRunner().invoke(app, [*audit, "--no-images"]).exit_code in {0, 3}
    assert {p.name for p in run.glob("*.html")} == {"report.html", "report.ward.html", "audit.html"}
    for page in run.glob("*.html"):
        assert "data:image" not in page.read_text()
        assert "patients' pixels" not in page.read_text()
    assert CliRunner().invoke(app, elsewhere).exit_code == 0
    held = (run / "report.ward.html").read_text()
    assert "data:image/jpeg" in held
    assert "This page holds patients' pixels" in held
    api.report(run)
    assert CliRunner().invoke(app, [*words, "--resume", "--no-images"]).exit_code == 0
    assert "data:image" not in (run / "report.html").read_text()


def test_every_command_that_writes_a_page_can_leave_the_pictures_out():
    for name in ("run", "evaluate", "report", "check", "audit", "study"):
        said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert "--no-images" in said, name
        assert "patients' pixels" in " ".join(said.split()), name
    for name in ("explain", "segment"):
        said = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"}).output
        assert "patients' pixels" in " ".join(said.split()), name
