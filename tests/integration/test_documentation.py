"""Every command that the README and the documentation show is run, in its order.

A fence ``sh title="needs ..."`` is not run: its options are looked up instead. A fence
``csv title="NAME"``, or ``toml``, is a file that the commands below it read, and ``python
title="NAME.py"`` a program that they run.
"""

import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import cv2
import pytest
import typer
import yaml
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.evaluation import calibration
from hurdles.evaluation.metrics import METRICS
from hurdles.phantom import write_phantom
from hurdles.runs.run import Run

ROOT = Path(__file__).parents[2]
README, DOCS = ROOT / "README.md", ROOT / "docs"
#: In this order in one folder: what the tutorial makes, the others use.
PAGES = (
    "tutorial.md",
    "howto/own-table.md",
    "howto/other-peoples-model.md",
    "howto/own-model.md",
    "howto/command.md",
    "howto/encoders.md",
    "howto/dicom.md",
    "howto/small-data.md",
    "howto/predict.md",
    "howto/export.md",
    "howto/compare.md",
    "howto/evaluate.md",
    "howto/predictions.md",
    "howto/function.md",
    "howto/verify.md",
    "howto/ci.md",
    "howto/published-work.md",
    "howto/own-study.md",
    "api.md",
    "howto/cache-and-files.md",  # last, since it empties the cache
)
#: Not run: a test of their own runs them (test_own_hurdle.py), or they take hours.
LOOKED_UP = ("hurdles.md", "results/README.md")
#: How many commands are not run, so that none slips away unseen.
NOT_RUN = {"howto/command.md": 1, "howto/evaluate.md": 1, "howto/published-work.md": 5}

FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


def fences(page: Path) -> list[tuple[str, str, str]]:
    """Return language, title and text of every fence of a page."""
    return [match.groups(default="") for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


def commands_of(block: str) -> list[str]:
    lines = [line.split(" #")[0].strip() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def commands(page: Path = README) -> list[str]:
    return [c for language, _, text in fences(page) if language == "sh" for c in commands_of(text)]


def test_the_readme_shows_the_two_commands_that_set_everything_up():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = [c.removeprefix("make ") for c in commands() if c.startswith("make ")]
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)


def as_supposed(folder: Path) -> None:
    """Lay out what the commands name."""
    mine = write_phantom(folder / "phantom", 18, seed=1, size=64)
    other = write_phantom(folder / "other-phantom", 6, seed=2, size=64)
    for name, manifest in (("my-xrays", mine), ("another-hospital", other)):
        for row in manifest.frame.itertuples():
            target = folder / name / row.label / Path(row.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(row.path, target)
    kermany = {"Normal": "NORMAL/IM-{:04}-0001", "COVID-19": "PNEUMONIA/person{}_virus_{}"}
    kermany |= {"Pneumonia": "PNEUMONIA/person{}_bacteria_{}"}
    children = write_phantom(folder / "children-phantom", 18, seed=3, size=64)
    for n, row in enumerate(children.frame.itertuples()):
        name = kermany[row.label].format(n, n) + ".jpeg"
        target = folder / "PATH" / ("test" if n % 4 == 0 else "train") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.imread(row.path, cv2.IMREAD_GRAYSCALE))
    shutil.copy(other.frame["path"][0], folder / "two.png")
    write_dicom(folder / "one.dcm", other.frame["path"][1])
    for n, row in enumerate(other.frame.iloc[:4].itertuples()):
        write_dicom(folder / "pacs" / row.label / f"{n}.dcm", row.path)


def write_dicom(path: Path, png: str) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = cv2.imread(png, cv2.IMREAD_GRAYSCALE)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = pixels.tobytes()
    ds.save_as(path, enforce_file_format=True)


#: What lets a command finish in seconds: nothing else of it is changed.
SETTINGS = ("training.epochs=1", "preparation.size=48", "evaluation.resamples=100")
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]
ASKED = ["--hurdle", "lungs-removed", "--hurdle", "elsewhere"]


def python_examples(page: Path = README) -> list[str]:
    return [text for language, title, text in fences(page) if (language, title) == ("python", "")]


def carried_out(words: list[str]):
    """Run one command; a hurdle that is hit is no failure of it."""
    result = CliRunner().invoke(
        app, words + (SMALL if words[0] in {"run", "learning-curve"} else [])
    )
    fine = {"check": {0, 3, 4}, "audit": {0, 3, 4}, "verify": {0, 4}}.get(words[0], {0})
    assert result.exit_code in fine, f"{words}: {result.output} {result.exception!r}"
    assert "an error in the hurdle itself" not in result.output, f"{words}: {result.output}"
    return result


@pytest.mark.full
def test_every_command_of_the_readme_runs(tmp_path, monkeypatch):
    """On class folders that name no patient, and those of another hospital, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HURDLES_CACHE", str(tmp_path / "cache"))
    as_supposed(tmp_path)
    shown = [c for c in commands() if c.startswith(".venv/bin/hurdles ")]
    verbs = [c.split()[1] for c in shown]
    assert {"manifest", "run", "evaluate", "explain", "compare", "check", "audit"} <= set(verbs)
    for command in shown:
        words = shlex.split(command)[1:]
        result = carried_out(words)
        if words[0] == "evaluate" or (words[0] == "run" and "my-xrays.csv" in words):
            assert "by image, since no patient is known" in result.output
            assert re.search(r"of \d+ patients", result.output) is None
    assert Path("runs/mine/report.html").is_file()
    assert Path("explained.png").is_file()


def test_the_python_of_the_readme_does_what_the_commands_do(monkeypatch, capsys):
    """It is executed with `hurdles.run` set apart: the commands' test trains the same."""
    import hurdles

    asked = []

    class Finished:
        def evaluation(self):
            return self

        def get(self, *which):
            return which

    def run(recipe, **given):
        asked.append((recipe, given))
        return Finished()

    monkeypatch.setattr(hurdles, "run", run, raising=False)
    for example in python_examples():
        exec(example, {})
    ((recipe, given),) = asked
    line = next(c for c in commands() if " run small-data " in c)
    assert f"run {recipe} --data {given['data']}" in line
    assert f"--missing-patients {given['settings']['split.missing_patients']}" in line
    assert f"--out {given['out']}" in line
    assert "sensitivity" in capsys.readouterr().out


def looked_up(command: str) -> None:
    """Hold a command that is not run against what its verb takes."""
    words = [w for w in shlex.split(command) if "=" not in w or w.startswith("-")]
    assert words[0] == "hurdles", command
    group = typer.main.get_command(app)
    assert words[1] in group.commands, command
    verb = group.commands[words[1]]
    known = {o for p in verb.params if p.param_type_name == "option" for o in p.opts} | {"--help"}
    unknown = {w.split("=")[0] for w in words if w.startswith("--")} - known
    assert not unknown, f"{command}: there is no {unknown}"


def test_pages_that_are_run_are_those_that_show_commands():
    with_commands = {
        str(p.relative_to(DOCS))
        for p in DOCS.rglob("*.md")
        if any(language == "sh" for language, _, _ in fences(p))
    }
    assert with_commands <= {*PAGES, *LOOKED_UP}


@pytest.mark.parametrize("page", [*PAGES, *LOOKED_UP])
def test_commands_that_are_not_run_have_the_options_that_they_show(page):
    not_run = [
        command
        for language, title, text in fences(DOCS / page)
        if language == "sh" and (title.startswith("needs") or page in LOOKED_UP)
        for command in commands_of(re.sub(r"^\w+=\S+ ", "", text, flags=re.MULTILINE))
        if command.startswith("hurdles ")
    ]
    for command in not_run:
        looked_up(command)
    assert page in LOOKED_UP or len(not_run) == NOT_RUN.get(page, 0)


def test_examples_of_python_that_are_not_run_fit_the_functions():
    calls = [
        node
        for page in PAGES
        for language, title, text in fences(DOCS / page)
        if language == "python" and title
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("hurdles.")
    ]
    assert len(calls) == 6
    for call in calls:
        verb = getattr(hurdles, ast.unparse(call.func).removeprefix("hurdles."))
        inspect.signature(verb).bind(*call.args, **{k.arg: k.value for k in call.keywords})


def test_the_page_of_python_shows_every_verb():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for verb in set(hurdles.__all__) - {"__version__"}:
        assert f"\n::: hurdles.{verb}\n" in text
        assert f"hurdles.{verb}(" in text


def small(text: str) -> str:
    """Return an example of Python with fewer and smaller images."""
    fewer = {"150": "18", "60": "9"}
    pattern = r"\b(150|60), (seed=\d), size=128"
    return re.sub(pattern, lambda m: f"{fewer[m[1]]}, {m[2]}, size=64", text)


def workflow_commands(text: str) -> list[str]:
    """Return the commands of hurdles that a workflow runs, in their order."""
    steps = yaml.safe_load(text)["jobs"]["hurdles"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    return [command for command in runs if command.startswith("hurdles ")]


def test_the_workflow_is_one():
    """As GitHub's documentation of workflows has it: names, uses with a version, with, run."""
    ((_, title, text),) = [f for f in fences(DOCS / "howto/ci.md") if f[0] == "yaml"]
    assert title == ".github/workflows/hurdles.yml"
    plain = yaml.safe_load(text)
    assert plain.keys() == {"name", True, "permissions", "jobs"}  # `on` is a truth value in YAML
    assert plain["permissions"]["security-events"] == "write"
    steps = plain["jobs"]["hurdles"]["steps"]
    written = set()
    for step in steps:
        assert ("uses" in step) != ("run" in step), step
        assert set(step) <= {"name", "uses", "with", "run", "if"}, step
        assert re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step.get("uses", "a/b@v1")), step
        written |= set(shlex.split(step.get("run", "")))
    uploads = [step["with"] for step in steps if "upload-sarif" in step.get("uses", "")]
    assert {upload["sarif_file"] for upload in uploads} <= written
    assert len({upload["category"] for upload in uploads}) == len(uploads) == 2
    verbs = [command.split()[1] for command in workflow_commands(text)]
    assert verbs == ["check", "audit", "verify", "badge"]
    for command in workflow_commands(text):
        looked_up(command)


@pytest.mark.full
def test_every_command_of_the_documentation_runs(tmp_path, monkeypatch):
    """In one folder, page after page, as somebody would who reads all of it."""
    monkeypatch.chdir(tmp_path)
    here = str(Path(sys.executable).parent)  # a model behind a command is a program of Python
    monkeypatch.setenv("PATH", os.pathsep.join([here, os.environ["PATH"]]))
    monkeypatch.setenv("HURDLES_CACHE", str(tmp_path / "cache"))
    as_supposed(tmp_path)
    for name in ("my-xrays", "another-hospital"):  # these the tutorial makes itself
        shutil.rmtree(name)
    run, audit = hurdles.run, hurdles.audit
    settings = dict(setting.split("=") for setting in SETTINGS)
    monkeypatch.setattr(
        hurdles,
        "run",
        lambda *a, **k: run(*a, **{**k, "settings": {**(k.get("settings") or {}), **settings}}),
        raising=False,
    )
    monkeypatch.setattr(
        hurdles,
        "audit",
        lambda *a, **k: audit(*a, **{"hurdles": ASKED[1::2], **k}),
        raising=False,
    )
    for page in PAGES:
        scope: dict[str, object] = {}
        for language, title, text in fences(DOCS / page):
            if (language in ("csv", "toml") and title) or title.endswith(".py"):
                Path(title).write_text(text, encoding="utf-8")
            elif language == "python" and not title:
                exec(small(text), scope)
            elif language == "yaml":
                for command in workflow_commands(text):
                    words = shlex.split(command)[1:]
                    carried_out(words + (ASKED if words[0] == "audit" else []))
            elif language == "sh" and not title:
                for command in commands_of(text):
                    words = shlex.split(command)
                    assert words[0] == "hurdles", f"{page}: {command}"
                    # All ten hurdles for models are run by the README's commands.
                    fewer = ASKED if words[1] == "audit" and "--hurdle" not in words else []
                    carried_out(words[1:] + fewer)
    assert Path("runs/mine/report.html").is_file()
    finished = Run("runs/mine")
    assert finished.evaluation().get("accuracy").percent() in finished._repr_html_()


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").split()) <= 900


def measures_of_the_page() -> list[list[str]]:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8").split("## Every measure")[1]
    rows = [line for line in text.split("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]


def test_every_row_of_the_statistics_is_whole_and_names_code_that_is_there():
    for row in measures_of_the_page():
        assert len(row) == 6, row
        if row[0].startswith("**"):
            continue
        assert row[1], row
        assert row[2], row
        names = re.findall(r"`([\w.]+)`", row[5])
        assert names, row
        for name in names:
            module, _, member = name.rpartition(".")
            assert hasattr(importlib.import_module(f"hurdles.{module}"), member), name


def test_every_measure_is_on_the_page_of_statistics():
    """By title, or by the functions that the program documents as such."""
    rows = measures_of_the_page()
    shown = {n.rsplit(".", 1)[1] for row in rows for n in row[5].split("`")[1::2]}
    titles = [row[0].lower() for row in rows]
    for metric in METRICS.values():
        assert any(title.startswith(metric.title.lower()) for title in titles), metric.name
    assert {n for n in vars(calibration) if n.endswith("_error")} <= shown
    assert {"calibration_slope", "calibration_intercept"} <= shown
