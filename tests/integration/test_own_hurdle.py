"""The hurdle that docs/hurdles.md writes in fifteen lines."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.hurdle import DATA_HURDLES, load_hurdles, run_hurdles
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.findings.finding import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "hurdles.md"


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.setattr(DATA_HURDLES, "_items", dict(DATA_HURDLES._items))
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "mine_of_the_docs.py"
    file.write_text(text)
    load_hurdles([file])
    return [line for line in text.splitlines() if line.strip()]


def material(brighter):
    n = 120
    rng = np.random.default_rng(3)
    labels = np.array(["COVID-19", "Normal"] * (n // 2))
    pixels = rng.integers(60, 190, (n, 64, 64), dtype=np.uint8)
    pixels[labels == "COVID-19", :8, :8] += np.uint8(brighter)
    names = [f"i{k}" for k in range(n)]
    frame = pd.DataFrame({"image": names, "path": ["/" + i for i in names], "label": labels})
    return Material("made", Manifest(frame), pixels)


def test_it_is_short_and_finds_what_it_looks_for_and_nothing_else(written):
    assert len(written) <= 15
    found = run_hurdles(DATA_HURDLES, material(30), names=["top-left"])
    assert found.verdict("top-left") is Verdict.HIT
    clean = run_hurdles(DATA_HURDLES, material(0), names=["top-left"])
    assert clean.verdict("top-left") is Verdict.CLEARED
    assert "our own choice" in clean.rows[0].limit.source


def test_the_page_names_every_hurdle():
    from hurdles.auditing import data, model

    text = PAGE.read_text(encoding="utf-8")
    for hurdle in (*data.DATA_HURDLES, *model.MODEL_HURDLES):
        assert f"| `{hurdle}` |" in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("yield 1 / 0", "in wrong.py, line 4: ZeroDivisionError"),
        ("return 3", "in wrong.py: TypeError: it returned int; a hurdle yields its findings"),
        ("yield 3", "in wrong.py: TypeError: it gave int, which is no Finding; wrap an Estimate"),
    ],
)
def test_a_fault_in_ones_own_file_is_told_with_its_place(line, says, tmp_path, monkeypatch):
    monkeypatch.setattr(DATA_HURDLES, "_items", dict(DATA_HURDLES._items))
    monkeypatch.delitem(sys.modules, "hurdles_own_wrong", raising=False)
    head = "from hurdles.auditing.hurdle import data_hurdle\n"
    head += "@data_hurdle('wrong', question='Is it?')\ndef wrong(material):\n    "
    file = tmp_path / "wrong.py"
    file.write_text(head + line + "\n")
    load_hurdles([file])
    (row,) = run_hurdles(DATA_HURDLES, material(0), names=["wrong"]).rows
    assert row.verdict is Verdict.FAILED
    assert says in row.estimate.note
    assert "report" not in row.estimate.note


def test_the_one_that_makes_its_finding_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(DATA_HURDLES, "_items", dict(DATA_HURDLES._items))
    page = PAGE.parent / "howto" / "own-hurdle.md"
    (text,) = re.findall(r"```python .*?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    file = tmp_path / "dark_of_the_docs.py"
    file.write_text(text)
    load_hurdles([file])
    assert run_hurdles(DATA_HURDLES, material(0), names=["dark"]).verdict("dark") is Verdict.CLEARED
    dark = replace(material(0), pixels=np.zeros((120, 64, 64), np.uint8))
    found = run_hurdles(DATA_HURDLES, dark, names=["dark"])
    assert found.verdict("dark") is Verdict.HIT
    assert len(found.rows[0].evidence) == 120
