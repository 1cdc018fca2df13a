"""Text from elsewhere, shown and not obeyed: by a terminal, by Markdown.

File names and labels may hold escape sequences and links.
"""

from __future__ import annotations

import re
import unicodedata

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
