"""Refusals of a recipe against images."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.errors import ManifestError, RecipeError, SplitError
from hurdles.recipe.images import (
    UNNAMED,
    refuse_images,
    refuse_one_source,
    refuse_split,
    refuse_undecidable,
    refuse_untested,
)
from hurdles.recipe.recipe import EvaluationSection, Recipe, RemedySection
from hurdles.recipe.remedies import REMEDIES, remedied


def images(labels: str, **columns) -> Manifest:
    names = [str(i) for i in range(len(labels))]
    rows = pd.DataFrame({"image": names, "path": [f"/{i}" for i in names], "label": list(labels)})
    return Manifest(rows.assign(**{"patient": names, **columns}))


ENLARGE = Recipe(name="x", augmentation={"policy": "enlarge", "label": "B", "copies": 3})


@pytest.mark.parametrize(
    ("labels", "sections", "message"),
    [
        ("AA", {}, r"one class only \(A\)"),
        ("AB", {"model": {"architecture": "lenet"}}, "'lenet' is no network; known: baseline"),
        ("AB", {"model": {"channels": 2}}, "channels must be 1 or 3"),
        ("AC", {"augmentation": {"label": "B"}}, "enlarges the class 'B', which the images do not"),
        ("AB", {"remedy": {"sampling": "source"}}, "all of them come from 'not named'"),
        ("ABC", {"evaluation": {"threshold": "youden"}}, "parts two classes"),
    ],
)
def test_what_cannot_come_to_anything_is_refused_before_it_is_decoded(labels, sections, message):
    refuse_images(Recipe(name="x"), images("AB"))
    with pytest.raises((ManifestError, RecipeError), match=message):
        refuse_images(Recipe(name="x").changed(**sections), images(labels))


def test_a_class_to_enlarge_needs_a_training_image():
    done = images("AABB", split=["train", "train", "validation", "test"])
    with pytest.raises(RecipeError, match=r"'B' has no training image; the classes are A\. Name"):
        refuse_split(ENLARGE, done)
    refuse_split(ENLARGE.changed(augmentation={"policy": "none"}), done)
    refuse_split(ENLARGE, done.with_split(["train", "validation", "train", "test"]))


@pytest.mark.parametrize("name", [n for n in REMEDIES if REMEDIES.get(n).needs_sources])
def test_the_second_source_of_the_validation_images_does_not_help(name):
    recipe = remedied(Recipe(name="x"), [name])
    done = images("ABAB", split=["train", "train", "validation", "test"], source=list("xxyy"))
    refuse_images(recipe, done)
    with pytest.raises(RecipeError, match=r"two sources at least, and all .* from 'x'"):
        refuse_split(recipe, done)


@pytest.mark.parametrize(
    ("labels", "validation", "positive", "message"),
    [
        (("a", "b", "c"), None, "", r"parts two classes, and the images have 3 \(a, b, c\)"),
        (("a", "b"), None, "c", "evaluation.positive = 'c' is not a class of the images"),
        (("a", "b"), {"b"}, "", "validation images, and none of them is a; give validation"),
    ],
)
def test_what_cannot_be_decided_is_refused_before_the_training(
    labels, validation, positive, message
):
    section = EvaluationSection(threshold="youden", positive=positive)
    with pytest.raises(RecipeError, match=message):
        refuse_undecidable(section, labels, validation)
    refuse_undecidable(EvaluationSection(), labels, validation)


@pytest.mark.parametrize(
    "remedy",
    [
        {"sampling": "source"},
        {"sampling": "class-by-source"},
        {"group_dro": 0.01},
        {"disentangle": 1.0},
        {"entangle": 1.0},
    ],
)
def test_one_source_is_refused_by_every_remedy_that_needs_two(remedy) -> None:
    section, (field, value) = RemedySection(**remedy), next(iter(remedy.items()))
    message = rf"remedy\.{field} = {value!r} needs .* come from 'A'\. Name the sources"
    with pytest.raises(RecipeError, match=message):
        refuse_one_source(section, ["A", "A"])
    with pytest.raises(RecipeError, match=f"come from '{UNNAMED}'"):
        refuse_one_source(section, [None, float("nan")])
    refuse_one_source(section, ["A", None])


def test_the_others_need_none() -> None:
    refuse_one_source(RemedySection(reject=0.1, reject_by="confidence"), ["A"])


class TestClassesWithoutATest:
    def test_they_are_refused_with_what_to_type(self):
        done = split(images("A" * 9 + "B" * 9 + "CD"))
        with pytest.raises(
            SplitError, match=r"2 of 4 classes have no test image.*'C' \(1\)"
        ) as caught:
            refuse_untested(done)
        assert caught.value.options == ("--label", "C=", "--label", "D=")

    def test_classes_that_are_tested_pass(self):
        refuse_untested(split(images("A" * 9 + "B" * 9)))
