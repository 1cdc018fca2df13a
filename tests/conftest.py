"""What every test gets: nothing of the user's is read or changed."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, not whether it is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory):
    """Keep what hurdles remembers of its outputs apart from what it remembers for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def no_lines_by_the_clock(monkeypatch):
    """Leave out the lines of progress that a busy machine would add; a test may set the clock."""
    monkeypatch.setattr("hurdles.cli.progress._SILENT", math.inf)
