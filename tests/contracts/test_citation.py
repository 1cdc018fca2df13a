"""CITATION.cff says how to cite the package, in the form that citation tools read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import hurdles

ROOT = Path(__file__).parents[2]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# The schema 1.2.0 requires the first four; further fields would have to be looked up there.
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {"abstract", "keywords", "license", "type"}


def test_it_has_the_fields_that_the_schema_requires_and_no_misspelt_one():
    assert set(CITATION) >= REQUIRED
    assert set(CITATION) <= KNOWN
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert all(isinstance(CITATION[field], str) for field in KNOWN - {"authors", "keywords"})


def test_it_says_of_the_package_what_the_package_says_of_itself():
    assert [author["name"] for author in CITATION["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["keywords"] == PROJECT["keywords"]


def test_the_version_stands_in_one_place():
    holding = [
        path.relative_to(ROOT).as_posix()
        for path in [ROOT / "CITATION.cff", ROOT / "pyproject.toml", *ROOT.glob("src/**/*.py")]
        if f'"{hurdles.__version__}"' in path.read_text(encoding="utf-8")
    ]
    assert holding == ["src/hurdles/_version.py"]
