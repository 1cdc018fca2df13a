"""What the page of a race is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from hurdles.studies.race_tables import Tables


@dataclass(frozen=True, eq=False)
class Sheet:
    """What the page is made of.

    Parameters
    ----------
    profile, explanation : str
        How much was spent, and what that means.
    tables : Tables
        The numbers.
    cells : DataFrame
        One row per cell, with its status.
    sets : DataFrame
        One row per test set: test, of_covid, says, images, patients, positive.
    inside : mapping of model to test
        Each model's own test set.
    twins : DataFrame
        Columns between (two collections) and pairs.
    probes : DataFrame
        How well a linear probe tells the collection; see `race_embedding`. May be empty.
    pictures : mapping of str to str
        Picture -> file name beside the page; those that were drawn.
    machines : sequence of str
        What the finished cells were made with.
    missing : sequence of str
        Collections that are not here.
    """

    profile: str
    explanation: str
    tables: Tables
    cells: pd.DataFrame
    sets: pd.DataFrame
    inside: Mapping[str, str]
    twins: pd.DataFrame
    probes: pd.DataFrame
    pictures: Mapping[str, str]
    machines: Sequence[str]
    missing: Sequence[str]
