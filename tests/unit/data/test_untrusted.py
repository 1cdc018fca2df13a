"""Names from elsewhere are shown, not obeyed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hurdles
from hurdles.cli.output import print_result, say
from hurdles.copies.finder import COLUMNS, Copies
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_cells, as_csv, from_cells, plain_markdown, shown
from hurdles.reporting.charts import plain_name
from hurdles.reporting.wording import environment
from hurdles.runs.seen import images_by_fingerprint, save_fingerprints


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


@given(st.lists(st.text(alphabet="'=+-@\t\r\na", max_size=4) | st.none(), max_size=6))
def test_texts_and_objects_are_quoted_alike(cells):
    one, two = (pd.DataFrame({"a": pd.Series(cells, dtype=kind)}) for kind in ("str", object))
    for change in (as_cells, from_cells):
        changed = [[None if pd.isna(c) else c for c in change(f)["a"]] for f in (one, two)]
        assert changed[0] == changed[1]


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


def test_no_heading_is_a_formula():
    frame = pd.DataFrame({"=1+1": ["-"], "p:=1": ["a"]})
    assert as_csv(frame) == "'=1+1,p:=1\n'-,a\n"
    assert list(as_cells(as_cells(frame))) == ["'=1+1", "p:=1"]


def test_every_csv_is_written_on_the_one_road():
    source = Path(hurdles.__file__).parent
    others = {p.name for p in source.rglob("*.py") if ".to_csv(" in p.read_text(encoding="utf-8")}
    # A manifest's hash is of the text that nobody opens.
    assert others == {"manifest.py", "untrusted.py"}
    assert (source / "data/manifest.py").read_text(encoding="utf-8").count(".to_csv(") == 1


def test_names_like_formulas_come_back_from_every_table_of_a_run(tmp_path):
    name = "=1+1"
    save_fingerprints(tmp_path / "f.csv", [name], np.zeros((1, 2, 2), np.uint8))
    assert list(images_by_fingerprint(tmp_path / "f.csv").values()) == [name]
    pairs = Copies(pd.DataFrame([(name, "@b", 0.99, False, False)], columns=list(COLUMNS)))
    assert Copies.load(pairs.save(tmp_path / "c.csv")).pairs["image_a"].tolist() == [name]
    for file in tmp_path.iterdir():
        assert not any(
            cell.startswith(("=", "@"))
            for line in file.read_text().splitlines()
            for cell in line.split(",")
        )


def test_nothing_that_a_command_prints_is_obeyed(tmp_path, capsys):
    hostile = "\x1b[2J\x9b31m\u202e\u2028\udcff"
    say(tmp_path / hostile)
    print_result(True, {"image": hostile}, ())
    said = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e", "\u2028", "\udcff"} & set(said)
    assert json.loads(said[said.index("{") :]) == {"image": hostile}
    others = [
        path.name
        for path in (Path(hurdles.__file__).parent / "cli").glob("*.py")
        if "typer.echo(" in path.read_text(encoding="utf-8")
    ]
    assert others == ["output.py"]


def test_names_in_pages_are_shown():
    page = environment().from_string("{{ name }}{{ name|safe }}").render(name="<i>\x1b[2J")
    assert page.startswith("&lt;i&gt;\\x1b[2J")


def test_names_in_legends_are_no_formulas():
    assert plain_name("$\\frac$\x1b") == r"\$\frac\$\x1b"
