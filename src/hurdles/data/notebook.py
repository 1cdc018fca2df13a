"""Small tables for notebooks: whatever comes from elsewhere is shown in them, and not obeyed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from hurdles.data.untrusted import shown

__all__ = ["notebook_table"]

#: A notebook shows the beginning; the object itself holds all of it.
_MOST_ROWS, _MOST_NOTES = 40, 5


def notebook_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: Iterable[str] = (),
) -> str:
    """Return a table as HTML, every word of it escaped.

    Parameters
    ----------
    title : str
        Stands above it.
    columns : sequence of str
        Heads of the columns.
    rows : sequence of sequences
        Cells; of many rows the first ones.
    notes : iterable of str
        Stand below it; of many the first ones.

    Examples
    --------
    >>> notebook_table("2 images", ["class"], [["<b>"]])[-37:]
    '<td>&lt;b&gt;</td></tr></table></div>'
    """
    parts = [f"<div><p><strong>{_text(title)}</strong></p>"]
    if rows:
        parts.append(f"<table>{_row('th', columns)}")
        parts += [_row("td", row) for row in rows[:_MOST_ROWS]]
        parts.append("</table>")
    below = list(notes)
    left = [(len(rows) - _MOST_ROWS, "rows"), (len(below) - _MOST_NOTES, "notes")]
    below = below[:_MOST_NOTES] + [f"{n} more {what}" for n, what in left if n > 0]
    return "".join([*parts, *(f"<p>{_text(note)}</p>" for note in below), "</div>"])


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _text(value: object) -> str:
    return escape(shown(str(value)))
