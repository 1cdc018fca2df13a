"""Text from elsewhere, shown and not obeyed: by a terminal, Markdown, a notebook, a spreadsheet.

File names and labels may hold escape sequences and links, and ``=1+1`` in a cell would be computed.
Every CSV of hurdles is made by `as_csv`; `from_cells` returns what it was made of.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: Control, format and surrogate characters, and what ends a line or a paragraph.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"''*[=+\-@\t\r]")
#: A notebook shows the beginning of a table; the object itself holds all of it.
_MOST_ROWS, _MOST_NOTES = 40, 5


def shown(text: str) -> str:
    r"""Return text for a terminal: what it would obey is written out; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(
        c
        if c in "\n\t" or unicodedata.category(c) not in _OBEYED
        else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def listed(items: Sequence[object], most: int = 3, show: Callable[[object], str] = repr) -> str:
    """Return the first items of a sequence with commas between, and dots where there are more."""
    return ", ".join(map(show, items[:most])) + (", ..." if len(items) > most else "")


def plain_markdown(text: str) -> str:
    r"""Return text in which Markdown and HTML see no sign of theirs, on one line."""
    safe = re.sub(r"([\\`*_\[\]|!])", r"\\\1", shown(text)).replace("<", "&lt;")
    return " ".join(safe.split("\n"))


def notebook_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Iterable[str] = (),
) -> str:
    """Return a title, a table and notes below it as HTML, every word escaped; the first of many."""

    def text(value: object) -> str:
        return escape(shown(str(value)))

    def row(tag: str, cells: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{text(cell)}</{tag}>" for cell in cells) + "</tr>"

    below = list(notes)
    left = [(len(rows) - _MOST_ROWS, "rows"), (len(below) - _MOST_NOTES, "notes")]
    below = below[:_MOST_NOTES] + [f"{n} more {what}" for n, what in left if n > 0]
    body = "".join(row("td", cells) for cells in rows[:_MOST_ROWS])
    table = f"<table>{row('th', columns)}{body}</table>" if rows else ""
    paragraphs = "".join(f"<p>{text(note)}</p>" for note in below)
    return f"<div><p><strong>{text(title)}</strong></p>{table}{paragraphs}</div>"


def as_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which a spreadsheet sees no formula: an apostrophe stands before it."""
    cells = _changed(frame, _FORMULA, lambda text: f"'{text}")
    signs = tuple("=+-@\t\r")
    return cells.rename(columns=lambda name: f"'{name}" if str(name).startswith(signs) else name)


def as_csv(frame: pd.DataFrame, *, float_format: str | None = None, header: bool = True) -> str:
    """Return a table as CSV in which a spreadsheet sees no formula."""
    text: str = as_cells(frame).to_csv(
        index=False, header=header, float_format=float_format, lineterminator="\n"
    )
    return text


def from_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it was before `as_cells`."""
    return _changed(frame, _QUOTED, lambda text: text[1:])


def _changed(
    frame: pd.DataFrame, which: re.Pattern[str], change: Callable[[str], str]
) -> pd.DataFrame:
    """Return a table with those texts changed that begin with a pattern."""
    from pandas import StringDtype  # the command line must start without pandas
    from pandas.api.types import is_numeric_dtype

    def hits_among(texts: pd.Series) -> list[int]:
        if isinstance(texts.dtype, StringDtype):  # a million cells at once
            found = texts.str.match(which.pattern, na=False).to_numpy(dtype=bool)
            return list(map(int, found.nonzero()[0]))
        return [i for i, v in enumerate(texts) if isinstance(v, str) and which.match(v)]

    frame = frame.copy(deep=False)
    for column in frame.columns:
        texts = frame[column]
        if not is_numeric_dtype(texts) and (hits := hits_among(texts)):
            changed = texts.astype(object).where(texts.notna(), None)
            changed.iloc[hits] = [change(texts.iloc[i]) for i in hits]
            frame[column] = changed
    return frame
