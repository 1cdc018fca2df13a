"""Single settings of a recipe, as given on a command line: ``SECTION.FIELD=VALUE``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from hurdles.errors import RecipeError
from hurdles.recipe.recipe import Recipe


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """Return ``SECTION.FIELD=VALUE`` texts as a mapping; of two for one field the last counts."""
    settings: dict[str, Any] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise RecipeError(
                f"{text!r} is no setting; write SECTION.FIELD=VALUE, as in training.epochs=3."
            )
        settings[name] = value  # the recipe knows which type it is to be
        if value.startswith(("[", '"', "'")):
            try:
                settings[name] = tomllib.loads(f"value = {value}")["value"]
            except (ValueError, RecursionError) as error:
                raise RecipeError(f"{text!r}: {value} is not valid TOML ({error}).") from error
    return settings


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """Return a recipe with single settings changed, checked like any other recipe."""
    known = [name for name in Recipe.explanations() if "." in name]
    present = {name.partition(".")[0] for name in known}
    sections: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        section, dot, field = name.partition(".")
        if not dot or section not in present:
            raise RecipeError(f"{name!r} is no setting of a recipe; known: {', '.join(known)}.")
        sections.setdefault(section, {})[field] = value
    return recipe.changed(**sections) if sections else recipe
