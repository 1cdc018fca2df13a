"""Sources and groups, and who is told that they are too few."""

from __future__ import annotations

import numpy as np
import pytest

from hurdles.recipe.recipe import RemedySection
from hurdles.training.plan import (
    UNNAMED,
    Sources,
    balance_of,
    groups_of,
    warning_of,
)

DRO = RemedySection(group_dro=0.01)


def test_what_is_not_named_is_one_source() -> None:
    found = Sources.numbered([None, "B", float("nan"), "", "A"])
    assert found.names == ("A", "B", UNNAMED)
    assert found.of.tolist() == [2, 1, 2, 2, 0]


def test_groups_are_the_cells_that_exist() -> None:
    classes, sources = np.array([0, 2, 2, 1, 0]), Sources.numbered(["A", "A", "B", "B", "B"])
    found = groups_of(classes, sources, ("x", "y", "z"))
    assert [found.names[g] for g in found.of] == ["x of A", "z of A", "z of B", "y of B", "x of B"]
    assert len(found) == 5
    assert not found.parted


@pytest.mark.parametrize(
    ("classes", "parted"), [([0, 0, 1, 1], True), ([0, 1, 1, 1], False), ([0, 0, 1, 0], False)]
)
def test_class_and_source_that_cannot_be_told_apart_are_said_to_be(classes, parted) -> None:
    groups = groups_of(np.array(classes), Sources.numbered(["A", "A", "B", "B"]), ("sick", "well"))
    assert groups.parted is parted
    assert bool(warning_of(DRO, groups)) is parted
    assert warning_of(RemedySection(reject=0.1), groups) == ""


def test_the_warning_names_the_groups() -> None:
    groups = groups_of(np.array([0, 1]), Sources.numbered(["A", "B"]), ("sick", "well"))
    assert "sick of A, well of B" in warning_of(DRO, groups)


def test_what_is_balanced() -> None:
    sources = Sources.numbered(["A", "B", "A"])
    groups = groups_of(np.array([0, 0, 1]), sources, ("x", "y"))
    assert balance_of(RemedySection(), sources, groups) is None
    for sampling, wanted in (("source", sources.of), ("class-by-source", groups.of)):
        assert balance_of(RemedySection(sampling=sampling), sources, groups) is wanted
