"""Public collections, one a file: where to get it, licence, citation, layout, quirks."""

from __future__ import annotations

# Importing a module registers its collection; nothing heavy is imported by it.
from hurdles.data.sources import (
    actualmed,
    cohen,
    corda,
    darkcovidnet,
    figure1,
    hannover,
    kermany,
    montgomery_shenzhen,
    nih,
    radiography_database,
    rsna,
)
from hurdles.data.sources.collection import COLLECTIONS, Collection, Layout, collection

__all__ = [
    "COLLECTIONS",
    "Collection",
    "Layout",
    "actualmed",
    "cohen",
    "collection",
    "corda",
    "darkcovidnet",
    "figure1",
    "hannover",
    "kermany",
    "montgomery_shenzhen",
    "nih",
    "radiography_database",
    "rsna",
]
