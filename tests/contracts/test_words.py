"""Words: no house words, terms of the field, one spelling."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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


#: Words that say what somebody did, or cute names, where a noun would say what a thing is.
HOUSE_WORDS = {"asked", "book", "crew", "found", "heard", "said", "says", "shelf", "stock", "told"}
BRITISH = re.compile(
    r"(grey|colour|centre|neighbour|behaviour|favour|licence|labelled|modelling|artefact)"
    r"|(?<!prom)(?<!other)(?<!adv)(?<!exerc)(?<!prec)(?<!no)(?<!ra)(?<!surpr)(?<!r)(?<!w)is(e|ed|er|ing|ation)s?$"
)
#: Names that files hold, by which older files are read; and "not found", which is a term.
WRITTEN = {"LungsNotFoundError", "_not_found", "asked", "found", "optimiser", "says"}
OPENINGS = {"How", "What", "Where", "Whether", "Which", "Who", "Whom", "Whose"}
DEFINITIONS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def package_nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path, node


def bound_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.arg):
        return [node.arg]
    return [node.name] if isinstance(node, DEFINITIONS[1:]) else []


def test_names_say_what_a_thing_is_in_american_spelling():
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, node in package_nodes()
        for name in bound_names(node)
        if name not in WRITTEN
        for word in re.findall(r"[A-Z]?[a-z]+", name)
        if word.lower() in HOUSE_WORDS or BRITISH.search(word.lower())
    ]
    assert sorted(set(wrong)) == []


def test_docstrings_open_with_a_verb_or_a_noun():
    wrong = [
        f"{path.relative_to(ROOT)}: {text.splitlines()[0]}"
        for path, node in package_nodes()
        if isinstance(node, DEFINITIONS) and (text := ast.get_docstring(node))
        if text.split()[0] in OPENINGS
    ]
    assert wrong == []
