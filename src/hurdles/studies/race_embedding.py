"""Whether the features of a race's models tell the collection: a picture and a number."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hurdles.studies.race import Standing

__all__ = ["PROBE_COLUMNS", "embeddings"]

#: Columns of the table of probes.
PROBE_COLUMNS: dict[str, str] = {
    "features": "whose features: pixels of a preparation, or a model",
    "within": "the class within which collections are told apart; 'all' for all images",
    "value": "area under the curve, mean of one collection against the rest",
    "low": "lower bound of its interval",
    "high": "upper bound of its interval",
    "n_images": "images",
    "note": "why it is undefined, or what weakens it",
}


def embeddings(standing: Standing, folder: Path, stem: str) -> tuple[pd.DataFrame, dict[str, Path]]:
    """Return the table of probes, and the pictures by name."""
    return pd.DataFrame(columns=list(PROBE_COLUMNS)), {}
