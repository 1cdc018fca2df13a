"""The finder itself is tested as it is."""

from __future__ import annotations

import pytest

from hurdles.copies import finder, similarity


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(finder, "aligned_similarity", similarity.aligned_similarity)
