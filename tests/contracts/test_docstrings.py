"""Every public name is documented in numpydoc form, and the documentation fits the signature."""

from __future__ import annotations

import ast
import builtins
import enum
import functools
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

import hurdles
import hurdles.errors

# The arguments of a function with one or two may go without saying.
FEW = 2
SECTIONS = (
    "Parameters",
    "Returns",
    "Yields",
    "Raises",
    "See Also",
    "Notes",
    "References",
    "Examples",
)
ELSEWHERE = re.compile(r"\b(see|those of|as in|as for|as by|like)\b[^.]*`{1,2}\w+", re.I)


def public_objects() -> Iterator[tuple[str, Any]]:
    for info in pkgutil.walk_packages(hurdles.__path__, "hurdles."):
        if info.name.startswith("hurdles.cli."):
            continue  # a command's docstring is its help page; its options explain themselves
        module = importlib.import_module(info.name)
        # The verbs are listed once, by the package itself.
        listed = hurdles.__all__ if info.name.startswith("hurdles.api.") else ()
        for name in getattr(module, "__all__", listed):
            thing = getattr(module, name, None)
            is_code = inspect.isclass(thing) or inspect.isfunction(thing)
            if is_code and thing.__module__ == info.name:
                yield f"{info.name.removeprefix('hurdles.')}.{name}", thing


def underlying(member: Any) -> Any:
    """Return the function behind a method or a property, or None."""
    if isinstance(member, property):
        return member.fget
    if isinstance(member, functools.cached_property):
        return member.func
    if isinstance(member, classmethod | staticmethod):
        return member.__func__
    return member if inspect.isfunction(member) else None


def methods_of(cls: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(cls).items():
        function = underlying(member)
        if function is not None and not name.startswith("_"):
            yield name, function


OBJECTS = dict(public_objects())
FUNCTIONS = {name: thing for name, thing in OBJECTS.items() if inspect.isfunction(thing)}
CLASSES = {name: thing for name, thing in OBJECTS.items() if inspect.isclass(thing)}
METHODS = {
    f"{name}.{method}": function
    for name, cls in CLASSES.items()
    for method, function in methods_of(cls)
}


def refuse(problems: dict[str, object]) -> None:
    """Fail with a line for each name that breaks the rule at hand."""
    found = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    assert not found, "\n" + "\n".join(found)


def sections_of(thing: Any) -> dict[str, str]:
    """Split a docstring at its underlined headings; what comes first is called ''."""
    doc = inspect.cleandoc(thing.__doc__ or "") + "\n"
    pieces = re.split(r"^([A-Z][A-Za-z ]+)\n-{3,}\n", doc, flags=re.M)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2], strict=True))}


def documented(section: str) -> list[str]:
    """Return the names that a Parameters section explains: ``a, b : type`` at the margin."""
    heads = [line.partition(" :")[0] for line in section.splitlines() if re.match(r"[\w*]", line)]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters(thing: Any) -> list[str]:
    names = [p for p in inspect.signature(thing).parameters if p not in ("self", "cls")]
    return [name for name in names if not name.startswith("_")]


def unexplained(thing: Any, names: list[str]) -> list[str]:
    """Return the names that the documentation leaves open: in no section, in no sentence."""
    sections = sections_of(thing)
    if "Parameters" in sections:
        return sorted(set(names) ^ set(documented(sections["Parameters"])))
    if ELSEWHERE.search(thing.__doc__ or ""):
        return []
    words = set(re.findall(r"\w+", sections[""]))
    return [name for name in names if name.strip("_") not in words and name not in words]


def errors_raised(function: Any) -> set[str]:
    """Return the names of the errors in a function's own raise statements, nested ones left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise)]
    names = {ast.unparse(c.func) for c in calls if isinstance(c, ast.Call)}
    return {name.rpartition(".")[2] for name in names if name.endswith("Error")}


def ancestors(error: str) -> set[str]:
    """Return an error's name and those of the classes it can be caught as."""
    cls = getattr(hurdles.errors, error, None) or getattr(builtins, error, None)
    return {error} if cls is None else {c.__name__ for c in cls.__mro__[:-3]} | {error}


def test_there_is_something_to_look_at():
    assert len(FUNCTIONS) > 20
    assert len(CLASSES) > 10
    assert len(METHODS) > 20


def test_it_opens_with_a_sentence_in_one_line():
    def problem(thing: Any) -> str:
        summary, _, rest = inspect.cleandoc(thing.__doc__ or "").partition("\n")
        if not summary:
            return "no docstring"
        if summary[-1] not in ".:?":
            return f"no full stop at the end of {summary!r}"
        return "no blank line after the summary" if rest and not rest.startswith("\n") else ""

    refuse({name: problem(thing) for name, thing in (OBJECTS | METHODS).items()})


def test_sections_are_known_and_in_order():
    def problem(thing: Any) -> list[str]:
        found = [name for name in sections_of(thing) if name]
        return found if found != [name for name in SECTIONS if name in found] else []

    refuse({name: problem(thing) for name, thing in (OBJECTS | METHODS).items()})


def test_a_parameters_section_names_what_the_signature_has_in_its_order():
    def problem(thing: Any) -> str:
        section = sections_of(thing).get("Parameters")
        if section is None or documented(section) == parameters(thing):
            return ""
        return f"documents {documented(section)}, has {parameters(thing)}"

    refuse({name: problem(thing) for name, thing in (FUNCTIONS | METHODS).items()})


def test_a_function_of_several_arguments_explains_each():
    refuse(
        {
            name: unexplained(thing, parameters(thing))
            for name, thing in FUNCTIONS.items()
            if len(parameters(thing)) > FEW and "Parameters" not in sections_of(thing)
        }
    )


def test_a_class_explains_what_it_is_made_of():
    # Exceptions inherit theirs, the fields of a recipe carry their own sentence, terms are terms.
    apart = BaseException | enum.Enum | pydantic.BaseModel
    refuse(
        {
            name: unexplained(thing, parameters(thing.__init__))
            for name, thing in CLASSES.items()
            if not issubclass(thing, apart) and not getattr(thing, "_is_protocol", False)
            if thing.__init__ is not object.__init__
        }
    )


def test_a_field_of_a_recipe_has_its_sentence():
    models = {n: c for n, c in CLASSES.items() if issubclass(c, pydantic.BaseModel)}
    assert models

    def problem(model: type[pydantic.BaseModel]) -> list[str]:
        # A section of a recipe is a model of its own, whose docstring is its sentence.
        fields = model.model_fields.items()
        return [n for n, f in fields if not f.description and f.annotation not in models.values()]

    refuse({name: problem(model) for name, model in models.items()})


def test_errors_that_are_raised_are_announced():
    def problem(thing: Any) -> set[str]:
        sections = sections_of(thing)
        if re.search(r"\b(raise[sd]?|refuse[sd]?|an error)\b", sections[""], re.I):
            return set()
        listed = documented(sections.get("Raises", ""))
        return {e for e in errors_raised(thing) if not ancestors(e) & set(listed)}

    refuse({name: problem(thing) for name, thing in (FUNCTIONS | METHODS).items()})


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("Do it.", ["a", "b", "c"]),
        ("Do `a` with `b`, and c.", []),
        ("Do it.\n\nParameters\n----------\na, b : int\n    Two.\n", ["c"]),
        ("Do it.\n\nParameters\n----------\na, b, c, d : int\n    Four.\n", ["d"]),
        ("Do it; see `other` for the arguments.", []),
    ],
)
def test_the_rule_for_arguments_catches_what_it_should(doc, expected):
    def function(a, b, c):
        pass

    function.__doc__ = doc
    assert unexplained(function, parameters(function)) == expected
