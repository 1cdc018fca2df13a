"""Remedies by name: each a change of settings that exist, each done once."""

from __future__ import annotations

import re

import pytest

from hurdles.errors import RecipeError, RegistryError
from hurdles.pixels.prepare import PREPARATIONS
from hurdles.recipe.recipe import Recipe
from hurdles.recipe.remedies import REMEDIES, remedied

PLAIN = Recipe(name="plain")


def prepared(name: str, *remedies: str) -> str:
    return remedied(PLAIN.changed(preparation={"name": name}), remedies).preparation.name


def test_the_names_are_those_that_the_documentation_lists() -> None:
    import hurdles.recipe.remedies

    assert REMEDIES.names() == [
        "lungs-only", "harmonized", "source-balanced", "class-by-source", "group-dro",
        "unlearn-source", "end", "reject",
    ]  # fmt: skip
    assert all(f"``{name}``" in str(hurdles.recipe.remedies.__doc__) for name in REMEDIES)


@pytest.mark.parametrize("name", REMEDIES.names())
def test_each_changes_the_key_and_is_the_same_twice(name: str) -> None:
    once = remedied(PLAIN, [name])
    assert once.key != PLAIN.key
    assert once.name == PLAIN.name
    assert remedied(once, [name]) == once == remedied(PLAIN, [name, name])
    assert REMEDIES.get(name).needs_sources == once.remedy.needs_sources


def test_none_leaves_the_recipe_alone() -> None:
    assert remedied(PLAIN, []) is PLAIN


@pytest.mark.parametrize(
    ("before", "lungs", "harmonized"),
    [
        ("raw", "masked", "harmonized"),
        ("equalized", "equalized+masked", "harmonized"),
        ("clahe", "clahe+masked", "harmonized"),
        ("cropped", "masked+cropped", "harmonized+cropped"),
        ("equalized+cropped", "equalized+masked+cropped", "harmonized+cropped"),
        ("equalized+masked", "equalized+masked", "harmonized+masked"),
        ("masked+equalized+cropped", "masked+equalized+cropped", "harmonized+masked+cropped"),
        ("harmonized", "harmonized+masked", "harmonized"),
    ],
)
def test_preparations_take_the_steps_that_they_lack(before, lungs, harmonized) -> None:
    assert prepared(before, "lungs-only") == lungs
    assert prepared(before, "harmonized") == harmonized
    both = prepared(before, "harmonized", "lungs-only")
    assert both == prepared(before, "lungs-only", "harmonized")
    assert both in PREPARATIONS


@pytest.mark.parametrize("name", ["background", "clahe+cropped"])
def test_a_preparation_that_a_remedy_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"'lungs-only' cannot be added to .*'{re.escape(name)}'"
    ):
        remedied(PLAIN.changed(preparation={"name": name}), ["lungs-only"])


def test_settings_that_were_chosen_stay() -> None:
    chosen = PLAIN.changed(remedy={"group_dro": 0.1, "reject": 0.2, "disentangle": 3.0})
    found = remedied(chosen, ["group-dro", "reject", "unlearn-source"]).remedy
    assert (found.group_dro, found.reject, found.disentangle, found.entangle) == (0.1, 0.2, 3, 0)


def test_end_is_unlearning_on_unit_features_with_the_weights_of_its_authors_or_those_chosen() -> (
    None
):
    found = remedied(PLAIN, ["end"]).remedy
    assert (found.disentangle, found.entangle, found.unit_features) == (0.1, 0.1, True)
    assert remedied(PLAIN, ["unlearn-source", "end"]) == remedied(PLAIN, ["end"])
    chosen = remedied(PLAIN.changed(remedy={"entangle": 3.0}), ["end"]).remedy
    assert (chosen.disentangle, chosen.entangle) == (0, 3)


def test_unit_features_without_a_term_that_needs_them_are_refused() -> None:
    with pytest.raises(RecipeError, match="unit_features needs disentangle or entangle"):
        PLAIN.changed(remedy={"unit_features": True})


def test_remedies_that_undo_each_other_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"'source-balanced' is undone by another"):
        remedied(PLAIN, ["source-balanced", "group-dro"])
    assert remedied(PLAIN, ["class-by-source", "group-dro"]) == remedied(PLAIN, ["group-dro"])


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(RegistryError, match=r"no remedy is called 'lungs'.*Known: lungs-only"):
        remedied(PLAIN, ["lungs"])


def test_sampling_does_not_go_with_fixed_copies() -> None:
    enlarged = PLAIN.changed(augmentation={"policy": "enlarge", "label": "a", "copies": 3})
    with pytest.raises(RecipeError, match=r"policy = 'enlarge' fixes how often"):
        remedied(enlarged, ["class-by-source"])
