"""Every command that the README shows is run, in its order, in a folder as it supposes."""

import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from hurdles.cli import app
from hurdles.data.phantom import write_phantom

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    whole = [block.replace("\\\n", " ") for block in blocks]
    lines = [line.split(" #")[0].strip() for block in whole for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_shows_the_two_commands_that_set_everything_up():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    targets = [c.removeprefix("make ") for c in commands() if c.startswith("make ")]
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{t}:", makefile, re.MULTILINE) for t in targets)


def as_supposed(folder: Path) -> None:
    """Lay out what the README's commands name."""
    mine = write_phantom(folder / "phantom", 24, seed=1, size=64)
    other = write_phantom(folder / "other-phantom", 6, seed=2, size=64)
    for name, manifest in (("my-xrays", mine), ("another-hospital", other)):
        for row in manifest.frame.itertuples():
            target = folder / name / row.label / Path(row.path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(row.path, target)
    kermany = {"Normal": "NORMAL/IM-{:04}-0001", "COVID-19": "PNEUMONIA/person{}_virus_{}"}
    kermany |= {"Pneumonia": "PNEUMONIA/person{}_bacteria_{}"}
    for n, row in enumerate(mine.frame.itertuples()):
        name = kermany[row.label].format(n, n) + ".jpeg"
        target = folder / "PATH" / ("test" if n % 4 == 0 else "train") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), cv2.imread(row.path, cv2.IMREAD_GRAYSCALE))
    shutil.copy(other.frame["path"][0], folder / "two.png")
    write_dicom(folder / "one.dcm", other.frame["path"][1])


def write_dicom(path: Path, png: str) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

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


#: What lets a command of the README finish in seconds: nothing else of it is changed.
SETTINGS = ("training.epochs=1", "preparation.size=64", "evaluation.resamples=100")
SMALL = [word for setting in SETTINGS for word in ("--set", setting)]


def python_examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.full
def test_every_command_of_the_readme_runs(tmp_path, monkeypatch):
    """On class folders that name no patient, and those of another hospital, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HURDLES_CACHE", str(tmp_path / "cache"))
    as_supposed(tmp_path)
    runner = CliRunner()
    shown = [c for c in commands() if c.startswith(".venv/bin/hurdles ")]
    verbs = [c.split()[1] for c in shown]
    assert {"manifest", "run", "evaluate", "explain", "compare", "check", "audit"} <= set(verbs)
    for command in shown:
        words = shlex.split(re.sub(r"\[[^]]*\]", "", command))[1:]
        if words[0] == "study":
            continue  # hours of computing: tests/unit/studies has it
        result = runner.invoke(app, words + (SMALL if words[0] == "run" else []))
        # A hurdle that is hit is no failure of the command.
        fine = {0, 3} if words[0] in ("check", "audit") else {0}
        assert result.exit_code in fine, f"{command}: {result.output} {result.exception!r}"
        assert "please report it" not in result.output, f"{command}: {result.output}"
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
