"""What every test gets: nothing of the user's is read or changed."""

from __future__ import annotations

import math
import os

import pytest
from hypothesis import settings

from hurdles.copies import finder
from hurdles.copies.similarity import Thumbnail, aligned_similarity

# How long an example takes says how busy the machine is, not whether it is right.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

DATA = os.environ.get("HURDLES_DATA")


@pytest.hookimpl(tryfirst=True)  # before the fixtures
def pytest_runtest_setup(item):
    """Let tests marked `realdata` alone see the public collections of this machine.

    Others would give other answers where there are some, and compare their images with thousands.
    """
    if DATA and item.get_closest_marker("realdata"):
        os.environ["HURDLES_DATA"] = DATA
    else:
        os.environ.pop("HURDLES_DATA", None)


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


@pytest.fixture(autouse=True, scope="session")
def known_alignments():
    """Align two images of the phantoms once in a session, however many tests look for copies.

    Half of a small experiment's time is that, and most tests share their images. The function is
    one of its arguments alone; those of `hurdles.copies` are given it as it is.
    """
    known: dict[tuple[object, ...], float] = {}

    def remembered(a: Thumbnail, b: Thumbnail, scale: float = 1.0, *, least: float = 0) -> float:
        key = (*(hash(array.tobytes()) for array in (*a, *b)), scale, least)
        if key not in known:
            known[key] = aligned_similarity(a, b, scale, least=least)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finder, "aligned_similarity", remembered)
        yield


def pytest_collection_modifyitems(items):
    """Put tests that take long first, so that none is left to one process at the end."""
    items.sort(key=lambda item: item.get_closest_marker("full") is None)
