"""The registry: a name once, and an unknown one answered with the known."""

from __future__ import annotations

import pytest

from hurdles.errors import RegistryError
from hurdles.registry import Registry


@pytest.fixture
def colours() -> Registry[int]:
    registry: Registry[int] = Registry("colour")
    registry.register("red")(1)
    registry.register("blue")(2)
    return registry


def test_the_decorator_returns_what_it_files():
    registry: Registry[object] = Registry("function")

    @registry.register("twice")
    def twice(x: int) -> int:
        return 2 * x

    assert twice(2) == 4
    assert registry.get("twice") is twice


def test_a_second_use_of_a_name_raises_and_keeps_the_first(colours):
    with pytest.raises(RegistryError, match="a colour called 'red' is registered already"):
        colours.register("red")(3)
    assert colours.get("red") == 1


def test_an_unknown_name_lists_the_known_ones(colours):
    with pytest.raises(RegistryError, match=r"no colour is called 'xyz'\. Known: red, blue\.$"):
        colours.get("xyz")


def test_a_near_miss_is_named(colours):
    with pytest.raises(RegistryError, match="did you mean 'blue'"):
        colours.get("bleu")


def test_an_empty_registry_says_so():
    with pytest.raises(RegistryError, match="Known: none"):
        Registry("colour").get("red")


def test_it_reads_like_a_collection_in_order(colours):
    assert colours.names() == list(colours) == ["red", "blue"]
    assert len(colours) == 2
    assert "red" in colours
    assert "green" not in colours


def test_names_is_a_copy(colours):
    colours.names().append("green")
    assert "green" not in colours


def test_names_in_alphabetical_order():
    registry: Registry[int] = Registry("colour", alphabetical=True)
    registry.register("red")(1)
    registry.register("blue")(2)
    assert registry.names() == ["blue", "red"]
    with pytest.raises(RegistryError, match=r"Known: blue, red\.$"):
        registry.get("xyz")
