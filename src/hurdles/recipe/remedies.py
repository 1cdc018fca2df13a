"""Remedies by name: changes of a recipe that are to make a network read the lungs.

A remedy is nothing but settings that anybody may write into a recipe by hand; the name makes it
possible to compare them, and to add several to any recipe.

===================  ===========================================================================
``lungs-only``       nothing but the lungs is shown (`hurdles.pixels.prepare`)
``harmonized``       gray levels and texture are brought to a reference
                     (`hurdles.pixels.prepare`)
``source-balanced``  every epoch shows each source equally often
``class-by-source``  every epoch shows each class of each source equally often
``group-dro``        the groups, class by source, that go worst count most (Sagawa et al. 2020)
``unlearn-source``   features are to tell the class, not the source: the two terms of EnD alone
``end``              EnD as its authors coded it (Tartaglione et al. 2021): the head, too, is given
                     nothing but the direction of the features
``reject``           images unlike those of training are not answered, and listed
===================  ===========================================================================

None of them can tell a class from its source where all images of a class come from a source that
has no other class: then no image says which of the two is which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hurdles.errors import RecipeError
from hurdles.pixels.prepare import PREPARATIONS
from hurdles.recipe.recipe import Recipe
from hurdles.registry import Registry

__all__ = ["REMEDIES", "Remedy", "remedied"]

Change: TypeAlias = Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Remedy:
    """A change of a recipe.

    Parameters
    ----------
    effect : str
        What it does, for a reader, in a few words.
    apply : callable
        From a recipe to the recipe with the remedy; a recipe that has it already stays as it is.
    needs_sources : bool
        Whether training images of two sources at least are needed.
    """

    effect: str
    apply: Change
    needs_sources: bool = False


#: Every remedy by name.
REMEDIES: Registry[Remedy] = Registry("remedy")


def remedied(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """Return a recipe with remedies added, one after the other.

    Parameters
    ----------
    recipe : Recipe
        The recipe; its name stays.
    names : sequence of str
        Names in `REMEDIES`; none leaves the recipe as it is.

    Raises
    ------
    RegistryError
        If there is no remedy of a name.
    RecipeError
        If a remedy does not fit the recipe, or two of them want one setting otherwise.

    Examples
    --------
    >>> plain = Recipe(name="plain")
    >>> remedied(plain, ["harmonized", "lungs-only"]).preparation.name
    'harmonized+masked'
    >>> remedied(plain, []).key == plain.key
    True
    """
    changed = recipe
    for name in names:
        changed = REMEDIES.get(name).apply(changed)
    for name in names:
        if REMEDIES.get(name).apply(changed) != changed:
            raise RecipeError(
                f"the remedy {name!r} is undone by another of {', '.join(names)}: they want one "
                "setting in two ways. Give one of them."
            )
    return changed


def _remedy(name: str, effect: str, *, needs_sources: bool = False) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        REMEDIES.register(name)(Remedy(effect, change, needs_sources))
        return change

    return keep


def _reprepared(recipe: Recipe, remedy: str, name: str) -> Recipe:
    if name not in PREPARATIONS:
        raise RecipeError(
            f"the remedy {remedy!r} cannot be added to preparation.name = "
            f"{recipe.preparation.name!r}; use it with 'raw', 'cropped' or 'masked'."
        )
    return recipe.changed(preparation={"name": name})


@_remedy("lungs-only", "everything but the lungs is blanked")
def _lungs_only(recipe: Recipe) -> Recipe:
    steps = _steps(recipe)
    if "masked" in steps:
        return recipe
    # Gray levels come first, then the mask, then the crop.
    gray = [step for step in steps if step != "cropped"]
    last = ["cropped"] if "cropped" in steps else []
    return _reprepared(recipe, "lungs-only", "+".join([*gray, "masked", *last]))


@_remedy("harmonized", "grey levels and texture are brought to a reference")
def _harmonized(recipe: Recipe) -> Recipe:
    # It fixes the histogram: equalizing besides would undo it.
    others = [s for s in _steps(recipe) if s not in {"equalized", "clahe", "harmonized"}]
    return _reprepared(recipe, "harmonized", "+".join(["harmonized", *others]))


@_remedy("source-balanced", "each source is seen equally often", needs_sources=True)
def _source_balanced(recipe: Recipe) -> Recipe:
    return recipe.changed(remedy={"sampling": "source"})


@_remedy("class-by-source", "each class of each source is seen equally often", needs_sources=True)
def _class_by_source(recipe: Recipe) -> Recipe:
    return recipe.changed(remedy={"sampling": "class-by-source"})


@_remedy("group-dro", "the groups that go worst count most", needs_sources=True)
def _group_dro(recipe: Recipe) -> Recipe:
    # Sagawa et al. draw the groups alike (their algorithm 1) and move the weights by 0.01.
    step = recipe.remedy.group_dro or 0.01
    return recipe.changed(remedy={"sampling": "class-by-source", "group_dro": step})


@_remedy("unlearn-source", "features are to tell the class, not the source", needs_sources=True)
def _unlearn_source(recipe: Recipe) -> Recipe:
    if recipe.remedy.disentangle or recipe.remedy.entangle:
        return recipe
    return recipe.changed(remedy={"disentangle": 0.1, "entangle": 0.1})


@_remedy("end", "the same as the authors of EnD coded it, on unit features", needs_sources=True)
def _end(recipe: Recipe) -> Recipe:
    return _unlearn_source(recipe).changed(remedy={"unit_features": True})


@_remedy("reject", "images unlike those of training are not answered")
def _reject(recipe: Recipe) -> Recipe:
    return recipe if recipe.remedy.reject else recipe.changed(remedy={"reject": 0.05})


def _steps(recipe: Recipe) -> list[str]:
    name = recipe.preparation.name
    return [] if name == "raw" else name.split("+")
