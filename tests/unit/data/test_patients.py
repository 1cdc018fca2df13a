"""Who counts as one person: ids within sources, without one, and joined."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest, several_sources


def images(*rows: tuple[str | None, str | None]) -> Manifest:
    """One image for each pair of patient and source."""
    table = pd.DataFrame(rows, columns=["patient", "source"])
    names = [f"i{n}" for n in range(len(rows))]
    return Manifest(table.assign(image=names, path=[f"/{n}.png" for n in names], label="a"))


def people(manifest: Manifest) -> list[int]:
    """The person of each image, numbered in the order in which they come."""
    return pd.factorize(manifest.groups)[0].tolist()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("1", "A"), ("1", "A"), ("2", "A")], [0, 0, 1]),
        ([("1", "A"), ("1", "B")], [0, 1]),
        ([("1", None), ("1", None)], [0, 0]),
        ([("1", "A"), ("1", None), ("2", None)], [0, 0, 1]),
        ([("1", None), ("1", "A"), ("1", "B")], [0, 1, 2]),
        ([(None, "A"), (None, "A")], [0, 1]),
    ],
    ids=["within", "two hospitals", "no source", "one named source", "ambiguous", "unknown"],
)
def test_who_is_one_person(rows, found):
    assert people(images(*rows)) == found


def test_joined_ids_are_one_person_whatever_their_source():
    joined = images(
        ("1", "A"), ("1", "B"), ("1", None), ("2", "B"), (None, "B")
    ).with_patients_joined()
    assert people(joined) == [0, 0, 0, 1, 2]
    assert several_sources(joined.frame).empty


def test_joined_ids_stay_joined_in_a_file_and_in_a_part(tmp_path):
    joined = images(("01", "A"), ("01", "B"), ("1", "B"), (None, "B")).with_patients_joined()
    for name in ("x.csv", "x.parquet"):
        assert people(Manifest.load(joined.save(tmp_path / name))) == [0, 0, 1, 2]
    assert people(joined.select([False, True, True, True])) == [0, 1, 2]


def test_ids_under_several_sources_are_named_with_these():
    found = several_sources(
        images(
            ("1", "B"), ("1", "A"), ("2", "A"), ("2", None), ("3", None), ("3", "A"), ("3", "B")
        ).frame
    )
    assert found.to_dict() == {"1": ["A", "B"], "3": ["A", "B", "no source"]}
