"""Single settings of a recipe, as they are typed: ``training.epochs=3``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from hurdles.errors import RecipeError
from hurdles.recipe.recipe import Recipe


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return ``SECTION.FIELD=VALUE`` texts as a mapping; of two for one field the last one counts.

    Examples
    --------
    >>> settings_of(["training.epochs=3", "split.fractions=[0.6, 0.2, 0.2]"])
    {'training.epochs': '3', 'split.fractions': [0.6, 0.2, 0.2]}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise RecipeError(
                f"{text!r} is no setting; write SECTION.FIELD=VALUE, as in training.epochs=3."
            )
        found[name.strip()] = _value(text, value.strip())
    return found


def _value(text: str, value: str) -> Any:
    if not value.startswith(("[", '"', "'")):
        return value  # the recipe knows which type it is to be
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{text!r}: {value} is not valid TOML ({error}).") from error


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return a recipe with single settings changed, checked like any other recipe.

    Examples
    --------
    >>> with_settings(Recipe(name="x"), {"training.epochs": 3}).training.epochs
    3
    """
    known = [name for name in Recipe.explanations() if "." in name]
    there = {name.partition(".")[0] for name in known}
    sections: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, dot, field = name.partition(".")
        if not dot or section not in there:
            raise RecipeError(f"{name!r} is no setting of a recipe; known: {', '.join(known)}.")
        sections.setdefault(section, {})[field] = value
    return recipe.changed(**sections) if sections else recipe
