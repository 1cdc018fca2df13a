"""Public collections, those of one family a file: license, citation, layout, quirks, reader."""

from __future__ import annotations

# Importing a module registers its collections; nothing heavy is imported by it.
from hurdles.data.sources import (
    cohen,
    corda,
    hannover,
    kermany,
    montgomery_shenzhen,
    nih,
    radiography_database,
)
from hurdles.data.sources.collection import COLLECTIONS, Collection, Layout, collection

__all__ = [
    "COLLECTIONS",
    "Collection",
    "Layout",
    "cohen",
    "collection",
    "corda",
    "hannover",
    "kermany",
    "montgomery_shenzhen",
    "nih",
    "radiography_database",
]
