"""Who is one person: an id within its source, an id without a source, ids that were joined."""

from __future__ import annotations

import pandas as pd

#: A further column of a manifest: who an image shows whatever its source, where ids were joined.
JOINED = "joined_patient"
#: A group whose name begins so is an image without a patient, by itself.
UNKNOWN = "\x1e"
_JOINED = "\x1d"


def groups_of(frame: pd.DataFrame) -> pd.Series[str]:
    """Return the person of each image, as text that means nothing outside these rows.

    An id belongs to its source: two hospitals may both have a "1". An id without a source is that
    of the one source which has it, if there is just one; ids that were joined are one person over
    all sources; an image without an id is by itself.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": ["a", "b", "c"], "patient": ["1"] * 3,
    ...                      "source": ["here", None, "there"]})
    >>> groups_of(rows).nunique(), groups_of(rows.head(2)).nunique()
    (3, 1)
    >>> groups_of(joined_patients(rows)).nunique()
    1
    """
    known, source = frame["patient"].notna(), frame["source"]
    if (known & source.isna()).any():
        named = frame.loc[known & source.notna()].groupby("patient")["source"]
        only = named.first()[named.nunique() == 1]
        source = source.where(source.notna(), frame["patient"].map(only))
    groups = source.fillna("") + "\x1f" + frame["patient"].fillna("")
    if JOINED in frame:
        joined = frame[JOINED].fillna("").astype("str")
        groups = groups.where(joined == "", _JOINED + joined)
    return groups.where(known, UNKNOWN + frame["image"]).rename("group")


def joined_patients(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with equal ids joined: each id is one person, whatever its source."""
    # With a word before it, an id of digits stays text in a CSV.
    return frame.assign(**{JOINED: ("patient " + frame["patient"]).where(frame["patient"].notna())})


def several_sources(frame: pd.DataFrame) -> pd.Series:
    """Return the ids that stand for several people, one in each source, with these sources."""
    rows = frame[frame["patient"].notna()]
    rows = rows.assign(group=groups_of(rows), source=rows["source"].fillna("no source"))
    several = rows.groupby("patient")["group"].transform("nunique") > 1
    found = rows[several].groupby("patient")["source"].agg(lambda s: sorted(set(s)))
    return found.sort_index()
