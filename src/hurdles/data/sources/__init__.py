"""Public collections, those of one family a file: license, citation, layout, quirks, reader."""

from __future__ import annotations

# Importing a module registers its collections; nothing heavy is imported by it.
from hurdles.data.sources import covid, kermany, nih, radiography_database  # noqa: F401 - register
from hurdles.data.sources.collection import COLLECTIONS, Collection

__all__ = ["COLLECTIONS", "Collection"]
