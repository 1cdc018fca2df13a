"""The package as others get it: a wheel, installed away from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hurdles import __version__

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "hurdles"

# Uses every file that is not Python; prints where the package was found.
USE = """
from pathlib import Path
import numpy as np
import hurdles
from hurdles.copies.similarity import image_hashes
from hurdles.copies.lineage import shipped_fingerprints
from hurdles.evaluation.evaluation import SCHEMA as EVALUATION
from hurdles.findings.limits import load_limits
from hurdles.findings.table import SCHEMA as FINDINGS
from hurdles.lungs.training import load_lungs
from hurdles.recipe.recipe import load_recipe, shipped_recipes
from hurdles.reporting.wording import template

assert [load_recipe(name) for name in shipped_recipes()]
assert shipped_fingerprints() and load_limits()
assert FINDINGS.content["$id"] and EVALUATION.content["$id"]
load_lungs()
image_hashes(np.zeros((1, 64, 64), dtype=np.uint8))
for page in ("report.html.j2", "findings.html.j2"):
    template(page)
print(Path(hurdles.__file__).parent)
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """Return a wheel of this clone, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(call, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel, tmp_path_factory) -> Path:
    """Return a folder that the wheel is installed into, without what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    call = [*pip, "--target", str(folder), str(wheel)]
    subprocess.run(call, check=True, capture_output=True)
    return folder


def elsewhere(installed: Path, folder: Path, *words: str) -> str:
    """Run the installed package from a folder that has nothing to do with the clone."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "HURDLES_CACHE": str(folder)}
    call = [sys.executable, *words]
    done = subprocess.run(
        call, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def data_files() -> set[str]:
    files = (f for f in PACKAGE.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    return {f.relative_to(PACKAGE.parent).as_posix() for f in files if f.suffix != ".py"}


@pytest.mark.full
def test_every_file_that_is_not_python_is_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert "hurdles/lungs/weights/lungs.safetensors" in data_files()
    assert data_files() - inside == set()


@pytest.mark.full
def test_nothing_but_the_package_and_its_licence_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    about = f"hurdles-{__version__}.dist-info/"
    assert [n for n in names if not n.startswith(("hurdles/", about))] == []
    assert about + "licenses/LICENSE" in names


@pytest.mark.full
def test_what_is_installed_reads_its_own_files_from_another_folder(installed, tmp_path):
    assert Path(elsewhere(installed, tmp_path, "-c", USE)) == installed / "hurdles"
    main = "from hurdles.cli import main; main()"
    assert elsewhere(installed, tmp_path, "-c", main, "--version") == f"hurdles {__version__}"
    assert "small-data" in elsewhere(installed, tmp_path, "-c", main, "recipes")


@pytest.mark.full
def test_the_commands_of_the_wheel_are_installed(installed):
    assert (installed / "bin" / "hurdles").is_file()
