"""Words of the project's own that nobody outside it knows reach no user."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = {".py", ".md", ".toml", ".j2", ".cff", ".txt", ".csv"}
#: The papers have authors and years; a seed is a number that random numbers begin with.
OURS = re.compile(
    r"\bseeds? ?(00\d\b|documents?\b)|\bthe seed'?s'? own\b|\bthe seed's (net|base)", re.I
)


def test_papers_go_by_their_authors_and_years():
    files = [p for folder in ("src", "docs") for p in (ROOT / folder).rglob("*")]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*files, ROOT / "README.md", ROOT / "CHANGELOG.md"]
        if path.suffix in KINDS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if OURS.search(line)
    ]
    assert found == []
