"""Names from elsewhere are shown, not obeyed."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.cells import as_cells, from_cells
from hurdles.data.manifest import Manifest
from hurdles.data.shown import plain_markdown, shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("Röntgen 日本.png", "Röntgen 日本.png"),
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\x07\x9b31m", "a\\rb\\x07\\x9b31m"),
        ("gnp.\u202eevil", "gnp.\\u202eevil"),
        ("\udcff.png", "\\udcff.png"),
        ("one\n- two\tthree", "one\n- two\tthree"),
    ],
)
def test_a_terminal_gets_nothing_to_obey(text, seen):
    assert shown(text) == seen
    assert seen.encode()


@pytest.mark.parametrize("text", ["[a](http://b)", "![a](b)", "<img src=x>", "a|b", "`a`", "a\nb"])
def test_markdown_gets_nothing_to_obey(text):
    plain = plain_markdown(text)
    assert "\n" not in plain
    assert "<" not in plain
    for sign in "[]!|`":
        assert sign not in plain.replace("\\" + sign, "")


NAMES = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=1", "''-1", "'plain", "plain", "a=b", ""]


def test_no_cell_is_a_formula_and_nothing_is_lost():
    frame = pd.DataFrame({"image": NAMES, "number": range(-3, len(NAMES) - 3)})
    cells = as_cells(frame)
    assert not cells["image"].str.match(r"[=+\-@\t\r]").any()
    assert from_cells(cells)["image"].tolist() == NAMES
    assert cells["number"].tolist() == frame["number"].tolist()


def test_missing_cells_stay_missing():
    frame = pd.DataFrame({"image": ["=1", None]})
    assert as_cells(frame)["image"].tolist() == ["'=1", None]


def test_a_manifest_comes_back_as_it_was(tmp_path):
    rows = {"image": ["=1+1.png", "b"], "path": [str(tmp_path / "=1"), "/x/b"], "label": ["+", "-"]}
    saved = Manifest(pd.DataFrame(rows)).save(tmp_path / "m.csv")
    assert ",=" not in saved.read_text().replace("\n", ",")
    frame = Manifest.load(saved).frame
    assert frame["image"].tolist() == rows["image"]
    assert frame["label"].tolist() == ["+", "-"]
