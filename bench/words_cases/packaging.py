"""The package, away from its clone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from words_cases import case

_POINT = "The package works from a wheel installed outside the clone"

_USE = """
from hurdles._version import __version__
from hurdles.copies.lineage import shipped_fingerprints
from hurdles.findings.limits import load_limits
from hurdles.lungs.training import load_lungs
from hurdles.recipe.recipe import load_recipe, shipped_recipes
from hurdles.reporting.wording import template
assert [load_recipe(name) for name in shipped_recipes()] and shipped_fingerprints()
load_lungs(), template("report.html.j2"), load_limits()
print("recipes, fingerprints, limits, lungs and templates are read")
"""


def _clone() -> Path:
    import hurdles

    return Path(hurdles.__file__).parents[2]


@case(
    _POINT,
    "the wheel, installed into another folder and used from there",
    "recipes, fingerprints, limits, lungs and templates are read",
)
def installed_elsewhere() -> str:
    folder = Path(tempfile.mkdtemp())
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=_clone(), check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder / "to"), str(wheel)], check=True)
    where = {**os.environ, "PYTHONPATH": str(folder / "to")}
    call = [sys.executable, "-W", "ignore", "-c", _USE]
    done = subprocess.run(call, cwd=folder, env=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@case(_POINT, "how to cite it", "CITATION.cff is there")
def citation() -> str:
    there = (_clone() / "CITATION.cff").is_file()
    return "CITATION.cff is there" if there else "nothing says it"
