"""The hurdle that docs/hurdles.md writes in fifteen lines."""

from __future__ import annotations

import re
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
