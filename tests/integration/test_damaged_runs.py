"""A damaged run folder is refused by the name of the file; nothing of it is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hurdles import api
from hurdles._version import __version__
from hurdles.cli import app
from hurdles.errors import HurdlesError, RunError
from hurdles.runs.run import Run
from hurdles.runs.seals import SEALS

pytestmark = pytest.mark.full

READ = [
    "recipe.toml",
    "history.csv",
    "evaluation.json",
    "heatmaps.npz",
    "fingerprints.csv",
    "split.csv",
    "predictions/test.csv",
    "predictions/validation.csv",
    "weights/best.safetensors",
    "weights/last.safetensors",
    "meta.json",
]


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * (len(content) - 1))])


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    shutil.copytree(finished.path, tmp_path / "run")
    return tmp_path / "run"


def use(run: Path) -> None:
    """Read everything that a run's folder holds."""
    api.report(run)
    held = Run(run).require_finished()
    for epoch in ("best", "last"):
        held.network(epoch)
        held.chosen_epoch(epoch)
    for name in ("test", "validation"):
        held.predictions(name)
    assert held.manifest.labels == list(held.labels)


def what_goes_wrong(run: Path) -> str:
    try:
        use(run)
    except HurdlesError as error:
        return str(error)
    return ""


def test_a_whole_one_is_used(copy):
    use(copy)


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("name", READ)
def test_every_damage_names_its_file(name, damage, copy):
    whole = (copy / name).read_bytes()
    for share in (0.0, 0.1, 0.35, 0.5, 0.77, 0.95, 1.0):
        damage(copy / name, share)
        with pytest.raises(RunError, match=Path(name).name):
            use(copy)
        (copy / name).write_bytes(whole)


@pytest.mark.parametrize("name", [n for n in READ if not n.startswith(("fingerprints", "split"))])
def test_without_seals_every_damage_that_is_noticed_names_its_file(name, copy):
    (copy / SEALS).unlink()
    whole = (copy / name).read_bytes()
    for damage, share in ((cut, 0.0), (cut, 0.1), (cut, 0.5), (flip, 0.02), (flip, 0.5)):
        damage(copy / name, share)
        said = what_goes_wrong(copy)
        assert said == "" or Path(name).name in said
        (copy / name).write_bytes(whole)


def test_a_manifest_may_name_other_paths_and_nothing_else(copy):
    text = (copy / "manifest.csv").read_text()
    (copy / "manifest.csv").write_text(text.replace("/phantom/", "/moved/"))
    use(copy)
    (copy / "manifest.csv").write_text(text.replace(",test,", ",train,", 1))
    with pytest.raises(RunError, match=r"manifest\.csv is damaged, or was changed"):
        use(copy)
    for share in (0.0, 0.3, 0.6):
        (copy / "manifest.csv").write_text(text)
        cut(copy / "manifest.csv", share)
        with pytest.raises(HurdlesError, match=r"manifest\.csv"):
            use(copy)


def test_a_missing_file_is_named(copy):
    (copy / "history.csv").unlink()
    with pytest.raises(RunError, match=r"history\.csv is missing.* removed since, restore it"):
        use(copy)


def test_damaged_seals_are_named(copy):
    (copy / SEALS).write_text("[1]")
    with pytest.raises(RunError, match=r"checksums\.json is damaged"):
        use(copy)


def test_a_run_of_another_version_is_refused_by_version(copy):
    meta = json.loads((copy / "meta.json").read_text())
    meta["environment"]["hurdles"] = "7.3.0"
    (copy / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(RunError, match=r"written by hurdles 7\.3\.0, and this is hurdles"):
        use(copy)


def test_what_is_evaluated_later_is_sealed_as_well(copy, other_phantom, options):
    for _ in range(2):  # what is written anew is no damage
        api.evaluate(copy, on=other_phantom, name="elsewhere", options=options)
    flip(copy / "predictions" / "elsewhere.csv", 0.5)
    with pytest.raises(RunError, match=r"elsewhere\.csv is damaged"):
        use(copy)


def test_a_finished_run_that_is_resumed_is_whole_and_of_this_version(copy, tiny, options):
    assert api.run(tiny, out=copy, resume=True, options=options).evaluation()
    text = (copy / "evaluation.json").read_text()
    (copy / "evaluation.json").write_text(text.replace("0.", "1.", 1))
    with pytest.raises(RunError, match=r"evaluation\.json is damaged"):
        api.run(tiny, out=copy, resume=True, options=options)
    (copy / "evaluation.json").write_text(text)
    meta = (copy / "meta.json").read_text()
    (copy / "meta.json").write_text(
        meta.replace(f'"hurdles": "{__version__}"', '"hurdles": "7.3.0"')
    )
    with pytest.raises(RunError, match=r"written by hurdles 7\.3\.0, and this is hurdles"):
        api.run(tiny, out=copy, resume=True, options=options)


@pytest.mark.parametrize("content", [b"", b"null", b"[1]", b"\xff\x00"])
def test_no_command_ends_with_a_traceback(content, copy, finished, tiny, tmp_path):
    (tmp_path / "tiny.toml").write_text(tiny.to_toml())
    resumed = ["run", str(tmp_path / "tiny.toml"), "--out", str(copy), "--resume"]
    commands = [["compare", str(copy), str(finished.path)], ["report", str(copy)], resumed]
    for path in sorted(p for p in copy.rglob("*") if p.is_file() and p.name != ".lock"):
        whole = path.read_bytes()
        path.write_bytes(content)
        for words in commands:
            error = CliRunner().invoke(app, words).exception
            assert error is None or isinstance(error, HurdlesError), (path.name, words[0])
            assert path.read_bytes() in {content, whole} or path.suffix in {".html"}, path.name
        path.write_bytes(whole)
