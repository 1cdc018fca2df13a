"""The cells of a table as somebody's program wrote it: CSV of any habit, Excel, Parquet."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from hurdles.errors import ManifestError

_TEXT = frozenset({".csv", ".tab", ".tsv", ".txt"})
_BOOKS = frozenset({".ods", ".xls", ".xlsm", ".xlsx"})
_PARQUET = frozenset({".parquet", ".pq"})
#: Extensions that are taken for tables, in lower case.
SUFFIXES = _TEXT | _BOOKS | _PARQUET


#: Signs that `_clean` removes besides blanks.
_STRANGE = ("\x00", "\ufeff", "\u200b")
#: Signs that may stand between cells, the likeliest first.
_SEPARATORS = ",;\t|"
#: Blanks, as `str.strip` knows them.
_BLANKS = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)


class Sheet(NamedTuple):
    """A table as stripped text; an empty cell is an empty string, empty rows are left out."""

    columns: list[str]
    cells: pd.DataFrame  # text; its columns are called by their number from 0
    numbers: list[int]  # of the rows, as a spreadsheet counts: the first below the heading is 2
    ragged: list[int]  # numbers of rows that have more cells than there are columns
    notes: list[str]  # what had to be guessed to read it


def read_sheet(path: Path, *, only_heads: bool = False) -> Sheet:
    r"""Read every cell of a table, or those of its heading alone.

    Text may be separated by comma, semicolon, tab or bar, and be in UTF-8, UTF-16 or Windows-1252,
    with or without a byte order mark. Of a workbook the first sheet is read.
    """
    if not path.is_file():
        raise ManifestError(f"{path} is not a file; give a table with one row per image.")
    kind = path.suffix.lower()
    read: Callable[[Path], tuple[Iterable[list[str]], list[str]]]
    read = _of_workbook if kind in _BOOKS else _of_parquet if kind in _PARQUET else _of_text
    try:
        if kind in _TEXT and (plain := _plain_heads(path) if only_heads else _plain_text(path)):
            return plain
        records, notes = read(path)
        numbered = ((number, r) for number, r in enumerate(records, start=1) if any(r))
        filled = list(islice(numbered, 1 if only_heads else None))
    except ImportError as error:
        raise ManifestError(
            f"{path} cannot be read here ({error}); save it as .xlsx or .csv."
        ) from error
    # Readers of Excel and Parquet fail in many ways on damaged bytes.
    except Exception as error:
        why = re.sub(r"<class '([\w.]+)'>", r"\1", str(error)) or type(error).__name__
        raise ManifestError(
            f"{path} cannot be read as a table ({why}); save it anew, or as .csv."
        ) from error
    if not filled:
        raise ManifestError(f"{path} is empty; give a table with one row per image.")
    (_, head), *body = filled
    width = max(i for i, cell in enumerate(head, start=1) if cell)
    if width == 1 and head[0].count(" ") > 1 and len(re.findall(r'"\S+"', "".join(head))) > 1:
        raise ManifestError(
            f"{path} is separated by blanks, as R's write.table does; write it with write.csv, or "
            "with sep=','."
        )
    ragged = [n for n, record in body if len(record) > width and any(record[width:])]
    rows = [
        record if len(record) == width else record[:width] + [""] * (width - len(record))
        for _, record in body
    ]
    cells = pd.DataFrame(rows, columns=range(width), dtype="str")
    return Sheet(head[:width], cells, [number for number, _ in body], ragged, notes)


def _plain_heads(path: Path) -> Sheet | None:
    """Return the heading of text as `_of_text` reads it; None where more than a line tells it."""
    with path.open("rb") as file:
        line = file.readline()
    heads, _ = _heads(line) if line.isascii() else ([], "")
    return (
        Sheet(heads, pd.DataFrame(columns=range(len(heads)), dtype="str"), [], [], [])
        if heads
        else None
    )


def _plain_text(path: Path) -> Sheet | None:
    """Return what `_of_text` reads, in a fraction of its time; None where the two might differ.

    That is where cells are quoted, rows are uneven, lines are empty, letters are no UTF-8, or signs
    stand in it that `_clean` removes.
    """
    import pyarrow as pa
    from pyarrow import compute
    from pyarrow import csv as arrow

    content = path.read_bytes()
    line, _, _ = content.partition(b"\n")
    heads, sign = _heads(line)
    odd = b'"' in content or content.count(b"\r") != content.count(b"\r\n")
    if odd or not heads or any(content.find(each.encode(), 3) >= 0 for each in _STRANGE):
        return None
    names = [str(place) for place in range(len(heads))]
    try:
        table = arrow.read_csv(
            pa.BufferReader(pa.py_buffer(content).slice(len(line) + 1)),
            arrow.ReadOptions(column_names=names),
            arrow.ParseOptions(delimiter=sign, quote_char=False, ignore_empty_lines=False),
            arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string())),
        )
    except pa.ArrowException:
        return None
    # The csv module refuses longer cells.
    longest = max(
        compute.max(compute.binary_length(column)).as_py() or 0 for column in table.columns
    )
    if longest > csv.field_size_limit():
        return None
    cells = pa.table(
        [compute.utf8_trim(column, _BLANKS) for column in table.columns], names=names
    ).to_pandas()
    cells.columns = range(len(heads))
    filled = np.zeros(len(cells), dtype=bool)
    for place in cells:
        filled |= (cells[place] != "").to_numpy(dtype=bool)
        if filled.all():
            break
    else:
        cells = cells[filled].reset_index(drop=True)
    return Sheet(heads, cells, (np.flatnonzero(filled) + 2).tolist(), [], [])


def _heads(line: bytes) -> tuple[list[str], str]:
    """Return the cells of a heading and the sign between them; none where they may be others."""
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        return [], ""
    sign = max(_SEPARATORS, key=text.count)
    heads = list(map(str.strip, text.split(sign)))
    odd = any(each in text for each in ('"', "\r", *_STRANGE)) or text.lower().lstrip().startswith(
        "sep="
    )
    is_plain = not odd and len(heads) > 1 and heads[-1] and any(map(str.isalnum, text))
    return (heads, sign) if is_plain else ([], "")


def _of_text(path: Path) -> tuple[Iterable[list[str]], list[str]]:
    text, notes = _decoded(path.read_bytes())

    strange = any(sign in text for sign in _STRANGE)

    def records(text: str, separator: str) -> Iterator[list[str]]:
        # Lines are left to the csv module, which knows that a quoted note may hold line breaks.
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        return (list(map(_clean if strange else str.strip, row)) for row in rows)

    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # a word to Excel
        return records(rest, first.strip()[4]), notes
    widths = {sign: len(next(filter(any, records(text, sign)), [])) for sign in _SEPARATORS}
    sign = max(widths, key=lambda s: widths[s])  # the first of equals, so the comma
    return records(text, sign), notes


def _decoded(content: bytes) -> tuple[str, list[str]]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), []
    if content[1:2] == b"\x00" and content[3:4] == b"\x00":
        return content.decode("utf-16-le"), []
    for encoding, notes in (
        ("utf-8-sig", []),
        ("cp1252", ["its letters are read as Windows-1252"]),
    ):
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode(encoding), notes
    return content.decode("latin-1"), ["its letters are read as Latin-1"]


def _of_workbook(path: Path) -> tuple[list[list[str]], list[str]]:
    sheets = pd.read_excel(path, sheet_name=None, header=None, dtype=object, na_filter=False)
    filled = [name for name in sheets if len(sheets[name])]
    if not filled:
        return [], []
    notes = []
    if len(filled) > 1:
        others = ", ".join(repr(name) for name in filled[1:])
        notes = [f"of its sheets {filled[0]!r} is read; not used: {others}"]
    return [list(map(_text, row)) for row in sheets[filled[0]].itertuples(index=False)], notes


def _of_parquet(path: Path) -> tuple[list[list[str]], list[str]]:
    frame = pd.read_parquet(path)
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    cells = (list(map(_text, row)) for row in frame.itertuples(index=False))
    return [[_clean(str(column)) for column in frame.columns], *cells], []


def _text(cell: Any) -> str:
    """Return a typed cell as a CSV would hold it: a whole number has no decimals."""
    if cell is None or cell != cell or str(cell) == "<NA>":
        return ""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return _clean(str(cell))


def _clean(cell: str) -> str:
    return cell.replace(_STRANGE[0], "").strip("".join(_STRANGE[1:])).strip()
