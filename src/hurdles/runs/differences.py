"""What two tables of images differ in, in words."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from hurdles.data.manifest import COLUMNS, Manifest
from hurdles.data.patients import JOINED

#: What says something of an image; where its file and its mask lie does not.
_SAYING = [c for c in (*COLUMNS, JOINED) if c not in ("image", "path", "mask")]


def differences(before: Manifest, now: Manifest, *, but: Sequence[str] = ()) -> list[str]:
    """Return in what images differ from those there were before; nothing where they are the same.

    Examples
    --------
    >>> rows = pd.DataFrame({"image": ["1", "2"], "path": ["/1", "/2"], "label": ["a", "b"]})
    >>> differences(Manifest(rows), Manifest(rows.assign(label="a")))
    ["the label of 1 image: '2' was 'b' and is 'a'"]
    """
    one, two = (m.frame.set_index("image") for m in (before, now))
    found = []
    for only, word in (
        (one.index.difference(two.index), "gone"),
        (two.index.difference(one.index), "new"),
    ):
        if len(only):
            found.append(f"{_counted(len(only))} {word}: {only[0]!r}{', ...' * (len(only) > 1)}")
    both = one.index.intersection(two.index)
    for column in _SAYING:
        if column not in but:
            found += _told(column, _texts(one, column, both), _texts(two, column, both))
    return [*found, *_files(one.loc[both, "path"], two.loc[both, "path"])]


def _texts(frame: pd.DataFrame, column: str, images: pd.Index) -> pd.Series[str]:
    if column not in frame:
        return pd.Series("", index=images, dtype="str")
    values = frame.loc[images, column]
    return pd.Series(["" if v != v or v is None else str(v) for v in values], index=images)


def _told(column: str, one: pd.Series[str], two: pd.Series[str]) -> Iterator[str]:
    other = one.index[one != two]
    if len(other):
        image = other[0]
        yield (
            f"the {column} of {_counted(len(other))}: {image!r} was {one[image] or 'empty'!r} and "
            f"is {two[image] or 'empty'!r}"
        )


def _files(one: pd.Series[str], two: pd.Series[str]) -> Iterator[str]:
    other = [
        image
        for image, a, b in zip(one.index, one, two, strict=True)
        if os.path.realpath(a) != os.path.realpath(b)
        and Path(a).is_file()
        and not (Path(b).is_file() and filecmp.cmp(a, b, shallow=False))
    ]
    if other:
        image = other[0]
        yield (
            f"the file of {_counted(len(other))}: {image!r} was {one[image]} and is {two[image]}, "
            "which is not the same"
        )


def _counted(n: int) -> str:
    return "1 image" if n == 1 else f"{n} images"
