"""The names that a user of the package may rely on."""

from __future__ import annotations

import inspect
import logging
import re

import pytest

import hurdles
import hurdles.api

VERBS = [name for name in hurdles.__all__ if name != "__version__"]
FOR_THE_COMMAND_LINE = {"kept_hurdles", "compared"}


def test_the_public_names_are_the_functions_of_the_api():
    functions = inspect.getmembers(hurdles.api, inspect.isfunction)
    defined = [name for name, f in functions if f.__module__.startswith("hurdles.api.")]
    assert [name for name in defined if name not in FOR_THE_COMMAND_LINE] == VERBS
    assert dir(hurdles) == hurdles.__all__ == sorted(hurdles.__all__)


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", hurdles.__version__)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_function_of_the_api(verb):
    function = getattr(hurdles, verb)
    assert callable(function)
    assert function.__module__.startswith("hurdles.api.")
    assert function is getattr(hurdles.api, verb)
    assert function.__name__ == verb


def test_an_unknown_name_says_so():
    with pytest.raises(AttributeError, match="module 'hurdles' has no attribute 'trian'"):
        _ = hurdles.trian


@pytest.mark.parametrize("verb", VERBS)
def test_no_module_hides_a_verb(verb):
    """A module of that name would replace the function as soon as it is imported."""
    with pytest.raises(ModuleNotFoundError, match=f"hurdles.{verb}"):
        __import__(f"hurdles.{verb}")


def test_the_library_is_silent_until_asked():
    handlers = logging.getLogger("hurdles").handlers
    assert any(isinstance(h, logging.NullHandler) for h in handlers)
