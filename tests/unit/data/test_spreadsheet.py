"""Text read column by column, beside the same read cell by cell."""

from __future__ import annotations

import csv
import math
import sys
from unittest.mock import patch

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from hurdles.data import spreadsheet
from hurdles.data.spreadsheet import _BLANKS, _plain_heads, _plain_text, read_sheet
from hurdles.errors import HurdlesError
from hurdles.foreign.answer_columns import numbers
from hurdles.foreign.predictions import read_predictions

_NUMBERS = "hurdles.foreign.answer_columns._plain_numbers"
_ROWS = "image,patient,label,p:a,p:b\n1.png,007,a,0.75,0.25\n2.png,008,b,0.5,0.5\n"
_PREDICTIONS = {
    "plain": _ROWS,
    "leading zeros": _ROWS.replace("1.png", "001").replace("2.png", "01"),
    "NA as a class": _ROWS.replace(",a,", ",NA,").replace("p:a", "p:NA"),
    "NA as a patient": _ROWS.replace("007", "NA"),
    "whole numbers as classes": _ROWS.replace(",a,", ",0.0,").replace(",b,", ",1,"),
    "thousands": _ROWS.replace("0.75", "1,750"),
    "thousands in quotes": _ROWS.replace("0.75", '"1,750"'),
    "decimal commas": _ROWS.replace(",", ";").replace("0.", "0,"),
    "decimal commas in quotes": _ROWS.replace("0.75", '"0,75"').replace("0.25", '"0,25"'),
    "percent": _ROWS.replace("0.75", "75%").replace("0.25", "25 %"),
    "percent without a sign": _ROWS.replace("0.75,0.25", "75,25").replace("0.5", "50"),
    "logits": _ROWS.replace("0.75", "-3.5"),
    "no number": _ROWS.replace("0.75", "high"),
    "other numbers": _ROWS.replace("0.75,0.25", "+7.5e-1,.25").replace("0.5,0.5", "1_0,nan"),
    "infinite": _ROWS.replace("0.75", "inf").replace("0.25", "-inf"),
    "semicolons": _ROWS.replace(",", ";"),
    "tabs": _ROWS.replace(",", "\t"),
    "bars": _ROWS.replace(",", " | "),
    "sep=": "sep=;\n" + _ROWS.replace(",", ";"),
    "blanks": _ROWS.replace(",", " ,\u00a0").replace("\n", " \n"),
    "empty probability": _ROWS.replace("0.75", ""),
    "empty class": _ROWS.replace(",a,", ",,"),
    "empty image": _ROWS.replace("1.png", ""),
    "empty patient": _ROWS.replace("007", ""),
    "empty rows": _ROWS.replace("\n2", "\n\n,,,,\n2") + "\n\n",
    "rows of nothing": _ROWS.replace("\n2", "\n,, ,,\n2") + ",,,,\n",
    "empty heading": _ROWS.replace("patient", ""),
    "empty last heading": _ROWS.replace("p:b", ""),
    "a heading of nothing first": ",,,,\n" + _ROWS,
    "a blank line first": "\n" + _ROWS,
    "a line over it": "my table\n" + _ROWS,
    "two headings alike": _ROWS.replace("p:b", "p:a"),
    "two truths": _ROWS.replace("patient", "diagnosis").replace("label", "finding"),
    "formulas": _ROWS.replace("007", "'=1+1").replace("1.png", "'@1.png").replace("008", "''-x"),
    "formulas as they are": _ROWS.replace("007", "=1+1").replace("2.png", "-2.png"),
    "an image twice": _ROWS + "1.png,007,a,0.75,0.25\n1.png,007,a,0.5,0.5\n",
    "too many cells": _ROWS + "3.png,9,a,0.5,0.5,more\n",
    "too many cells that are empty": _ROWS + "3.png,9,a,0.5,0.5,,\n",
    "too few cells": _ROWS + "3.png,9,a\n",
    "no class": _ROWS.replace("label", "note"),
    "one class": _ROWS.replace(",b,", ",a,").replace("p:b", "q"),
    "sums": _ROWS.replace("0.75", "0.7"),
    "rounded": _ROWS.replace("0.75,0.25", "0.752,0.25"),
    "decisions": _ROWS.replace("p:a", "prediction").replace("0.75", "a").replace("0.5,", "B,"),
    "one probability": _ROWS.replace("p:a", "score").replace("p:b", "note"),
    "split": _ROWS.replace("patient", "fold").replace("007", "test").replace("008", "train"),
    "quoted line ends": _ROWS.replace("007", '"0\n07"'),
    "a quote within": _ROWS.replace("007", '0"07'),
    "carriage returns": _ROWS.replace("\n", "\r"),
    "one carriage return": _ROWS.replace("007", "0\r07"),
    "Windows": _ROWS.replace("\n", "\r\n"),
    "without an end": _ROWS.rstrip("\n"),
    "NUL": _ROWS.replace("007", "0\x0007"),
    "a mark within": _ROWS.replace("007", "\ufeff007\u200b"),
    "other line ends": _ROWS.replace("007", "0\u20287\x0b8\x1c"),
    "letters": _ROWS.replace("007", "M\u00fcller").replace("b", "K\u00e4fer"),
    "a heading alone": _ROWS.split("\n")[0] + "\n",
    "one column": "image\n1\n2\n",
    "R": '"image" "label" "p:a" "p:b"\n"1" "a" 0.5 0.5\n',
    "a long cell": _ROWS.replace("007", "0" * (csv.field_size_limit() + 1)),
    "a cell as long as can be": _ROWS.replace("007", "8" * csv.field_size_limit()),
    "nothing": "",
}  # fmt: skip


def _slowly():
    """Return a context in which every table is read cell by cell."""
    nothing = dict.fromkeys(("_plain_heads", "_plain_text"), lambda path: None)
    return patch.multiple(spreadsheet, **nothing)


def _outcome(read, path):
    """Return what is read, or what is refused, as something that can be compared."""
    try:
        return read(path)
    except HurdlesError as error:
        return type(error), str(error)


def _same_sheets(path):
    for only_heads in (False, True):
        fast = _outcome(lambda p: read_sheet(p, only_heads=only_heads), path)  # noqa: B023 - called at once
        with _slowly():
            slow = _outcome(lambda p: read_sheet(p, only_heads=only_heads), path)  # noqa: B023 - called at once
        if isinstance(slow, spreadsheet.Sheet):
            assert isinstance(fast, spreadsheet.Sheet)
            assert fast.columns == slow.columns
            if not only_heads:
                assert_frame_equal(fast.cells, slow.cells)
                assert (fast.numbers, fast.ragged, fast.notes) == slow[2:]
        else:
            assert fast == slow


@pytest.mark.parametrize("case", _PREDICTIONS)
def test_predictions_are_the_same_read_either_way(case, tmp_path):
    path = tmp_path / "answers.csv"
    for encoding in ("utf-8-sig", "utf-16", "cp1252", "utf-8"):
        path.write_bytes(_PREDICTIONS[case].encode(encoding, "replace"))
        _same_sheets(path)
    fast = _outcome(read_predictions, path)
    with _slowly(), patch(_NUMBERS, return_value=None):
        slow = _outcome(read_predictions, path)
    if isinstance(slow, tuple):
        assert fast == slow
        return
    assert not isinstance(fast, tuple)
    assert fast.notes == slow.notes
    assert fast.classes == slow.classes
    assert_frame_equal(fast.images.frame, slow.images.frame)
    assert_frame_equal(fast.images.exclusions, slow.images.exclusions)
    assert_frame_equal(fast.probability, slow.probability, check_exact=True)
    pd.testing.assert_series_equal(fast.decision, slow.decision)


def test_most_tables_are_plain(tmp_path):
    path = tmp_path / "answers.csv"
    for case in ("plain", "semicolons", "Windows", "letters", "NA as a class", "formulas"):
        path.write_text(_PREDICTIONS[case], encoding="utf-8-sig")
        assert _plain_text(path) is not None
    path.write_text(_ROWS, encoding="utf-8")
    assert _plain_heads(path) is not None


_CELL = st.text(
    alphabet="aZ01.,;\t|\"'= \u00a0\u3000\u00e4\ufeff\u200b\x00\x1c\x85-+%\n\r", max_size=4
)
_SIMPLE = st.sampled_from(["", "0", "007", "1.50", "NA", "x y", " x ", "-1", "1e3"])


@given(
    heads=st.lists(
        st.sampled_from(["image", "label", "p:a", "", " x ", "n\u00e9"]) | _CELL, max_size=4
    ),
    rows=st.lists(st.lists(_SIMPLE | _CELL, min_size=1, max_size=4), max_size=5),
    is_even=st.booleans(),
    sign=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "utf-16"]),
)
@settings(max_examples=200, deadline=None)
def test_cells_are_the_same_read_either_way(
    tmp_path_factory, heads, rows, is_even, sign, end, encoding
):
    width = max(len(heads), 1)
    lines = [heads, *([*row, *[""] * width][:width] if is_even else row for row in rows)]
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    path.write_bytes(end.join(sign.join(line) for line in lines).encode(encoding, "replace"))
    _same_sheets(path)


_NUMBER = (
    st.floats().map(repr)
    | st.integers().map(str)
    | st.text(alphabet="0123456789.,eE+-_% nainf\u0661x", max_size=6)
)


@given(st.lists(_NUMBER, max_size=3))
@settings(max_examples=300, deadline=None)
def test_numbers_are_the_same_read_either_way(texts):
    cells = pd.Series(texts, dtype="str")
    with patch(_NUMBERS, return_value=None):
        slow = numbers(cells)
    for one, two in zip(numbers(cells).tolist(), slow.tolist(), strict=True):
        assert one.hex() == two.hex() or (math.isnan(one) and math.isnan(two))


def test_blanks_are_those_of_python():
    assert sorted(_BLANKS) == [c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()]
