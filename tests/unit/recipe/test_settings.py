"""Single settings of a recipe, typed or given in Python."""

from __future__ import annotations

import pytest

from hurdles.errors import RecipeError
from hurdles.recipe.recipe import Recipe
from hurdles.recipe.settings import settings_of, with_settings

PLAIN = Recipe(name="x")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.epochs=3", 3),
        ("training.learning_rate=1e-4", 1e-4),
        ("preparation.name=equalized", "equalized"),
        ("preparation.name='equalized'", "equalized"),
        ("split.fractions=[0.6, 0.2, 0.2]", (0.6, 0.2, 0.2)),
        ("model.hidden=[64]", (64,)),
        ("evaluation.positive=a=b", "a=b"),
        ("split.missing_patients=one-each", "one-each"),
    ],
)
def test_a_text_becomes_what_its_field_is(text, value):
    found = with_settings(PLAIN, settings_of([text]))
    section, _, field = text.partition("=")[0].partition(".")
    assert getattr(getattr(found, section), field) == value


def test_several_and_of_two_for_one_field_the_last():
    texts = ["training.epochs=3", "training.seed=2", "training.epochs=4"]
    found = with_settings(PLAIN, settings_of(texts)).training
    assert (found.epochs, found.seed) == (4, 2)


def test_none_leaves_the_recipe_as_it_is():
    assert with_settings(PLAIN, {}) is PLAIN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.epochs", "is no setting; write SECTION.FIELD=VALUE"),
        ("=3", "is no setting; write SECTION.FIELD=VALUE"),
        ("epochs=3", r"'epochs' is no setting of a recipe; known: .*training\.epochs"),
        ("name.x=3", r"'name\.x' is no setting|no field"),
        ("trainning.epochs=3", r"no setting of a recipe; known: .*training\.epochs"),
        ("training.epoch=3", r"training\.epoch is no field; known: epochs, "),
        ("training.epochs=many", r"training\.epochs: .*\(got 'many'\)"),
        ("training.epochs=0", r"training\.epochs: .*greater"),
        ("split.fractions=[0.6", "is not valid TOML"),
        ("split.missing_patients=guess", "'refuse' or 'one-each'"),
    ],
)
def test_what_is_wrong_is_said_with_what_there_is(text, message):
    with pytest.raises(RecipeError, match=message):
        with_settings(PLAIN, settings_of([text]))
