"""Text from elsewhere, shown and not obeyed: by a terminal, by Markdown, by a spreadsheet.

File names and labels come from elsewhere, and ``=1+1`` in a cell would be computed. Every CSV of
hurdles is made by `as_csv`; `from_cells` returns what it was made of.

Text from elsewhere, shown and not obeyed: by a terminal, by Markdown.

File names and labels may hold escape sequences and links.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


#: Control, format and surrogate characters, and what ends a line or a paragraph.
_OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def shown(text: str) -> str:
    r"""Return text for a terminal: what it would obey is written out; line ends and tabs stay.

    Examples
    --------
    >>> shown("a\x1b[31mb.png")
    'a\\x1b[31mb.png'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _OBEYED else _written(c) for c in text
    )


def _written(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def plain_markdown(text: str) -> str:
    r"""Return text in which Markdown and HTML see no sign of theirs, on one line.

    Examples
    --------
    >>> plain_markdown("[a](http://b)|c")
    '\\[a\\](http://b)\\|c'
    """
    safe = re.sub(r"([\\`*_\[\]|!])", r"\\\1", shown(text)).replace("<", "&lt;")
    return " ".join(safe.split("\n"))


_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_HEADING = re.compile(r"[=+\-@\t\r]")
_QUOTED = re.compile(r"''*[=+\-@\t\r]")


def as_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which a spreadsheet sees no formula: an apostrophe stands before it.

    Examples
    --------
    >>> import pandas as pd
    >>> as_cells(pd.DataFrame({"image": ["=1+1", "a.png"], "age": [-1, 2]})).values.tolist()
    [["'=1+1", -1], ['a.png', 2]]
    """
    found = _changed(frame, lambda text: f"'{text}" if _FORMULA.match(text) else text)
    return found.rename(columns=lambda name: f"'{name}" if _HEADING.match(str(name)) else name)


def as_csv(frame: pd.DataFrame, *, float_format: str | None = None) -> str:
    """Return a table as CSV in which a spreadsheet sees no formula.

    Examples
    --------
    >>> import pandas as pd
    >>> as_csv(pd.DataFrame({"image": ["@home.png"], "share": [0.25]})).splitlines()
    ['image,share', "'@home.png,0.25"]
    """
    text: str = as_cells(frame).to_csv(index=False, float_format=float_format, lineterminator="\n")
    return text


def from_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it was before `as_cells`."""
    return _changed(frame, lambda text: text[1:] if _QUOTED.match(text) else text)


def _changed(frame: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    from pandas.api.types import is_numeric_dtype  # the command line must start without pandas

    found = {}
    for column in frame.columns:
        texts = frame[column]
        if not is_numeric_dtype(texts):
            hits = [i for i, v in enumerate(texts) if isinstance(v, str) and change(v) != v]
            if hits:
                found[column] = texts.astype(object).where(texts.notna(), None)
                found[column].iloc[hits] = [change(texts.iloc[i]) for i in hits]
    return frame.assign(**found) if found else frame
