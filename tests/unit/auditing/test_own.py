"""Hurdles of one's own."""

from __future__ import annotations

import sys

import pytest

from hurdles.auditing.hurdle import DATA_HURDLES, load_hurdles
from hurdles.errors import HurdleError, RegistryError

HURDLE = """
from hurdles.auditing.hurdle import data_hurdle

@data_hurdle("{name}", question="Is it there?")
def here(material):
    yield from ()
"""


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    monkeypatch.setattr(DATA_HURDLES, "_items", dict(DATA_HURDLES._items))
    yield
    for name in [n for n in sys.modules if n.startswith("hurdles_own_")]:
        del sys.modules[name]


def write(folder, text, name="mine.py"):
    (folder / name).write_text(text)
    return folder / name


def test_a_file_registers_its_hurdles_once(tmp_path):
    file = write(tmp_path, HURDLE.format(name="mine"))
    load_hurdles([file])
    load_hurdles([file])
    assert DATA_HURDLES.get("mine").question == "Is it there?"


def test_a_name_that_is_taken_is_refused_and_may_be_mended(tmp_path):
    file = write(tmp_path, HURDLE.format(name="ours"))
    load_hurdles([file])
    again = write(tmp_path, HURDLE.format(name="ours"), "again.py")
    with pytest.raises(RegistryError, match="called 'ours' is registered already"):
        load_hurdles([again])
    write(tmp_path, HURDLE.format(name="other"), "again.py")
    load_hurdles([again])
    assert "other" in DATA_HURDLES


@pytest.mark.parametrize(
    ("text", "says"),
    [("import nothing_of_this_name", "ModuleNotFoundError"), ("1 +", "SyntaxError")],
)
def test_a_file_that_cannot_be_run_says_so(tmp_path, text, says):
    with pytest.raises(HurdleError, match=rf"mine\.py cannot be run: {says}"):
        load_hurdles([write(tmp_path, text)])


def test_no_file_and_no_python(tmp_path):
    with pytest.raises(HurdleError, match="is not a file"):
        load_hurdles([tmp_path / "none.py"])
    with pytest.raises(HurdleError, match="is no Python file"):
        load_hurdles([write(tmp_path, "x = 1", "mine.txt")])
