"""Fixtures of the tests of training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# pytest's importlib mode does not find a test's neighbours.
sys.path.insert(0, str(Path(__file__).parent))

from tiny import tiny_data, tiny_recipe


@pytest.fixture
def recipe_of():
    return tiny_recipe


@pytest.fixture
def data_of():
    return tiny_data
