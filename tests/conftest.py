"""What every test gets: nothing of the user's is read or changed."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_state(tmp_path_factory):
    """Keep what hurdles remembers of its outputs apart from what it remembers for the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
