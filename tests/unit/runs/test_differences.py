"""What two tables of images differ in."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.runs.run import differences


@pytest.fixture
def rows(tmp_path) -> pd.DataFrame:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    paths = [str(tmp_path / name) for name in "ab"]
    return pd.DataFrame(
        {"image": ["a", "b"], "path": paths, "label": ["x", "y"], "age": [40.5, None]}
    )


def test_the_same_rows_in_another_order_do_not_differ(rows, tmp_path):
    saved = Manifest.load(Manifest(rows).save(tmp_path / "m.csv"))
    assert differences(saved, Manifest(rows.iloc[::-1])) == []


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", "z", "the label of 1 image: 'a' was 'x' and is 'z'"),
        ("patient", "7", "the patient of 1 image: 'a' was 'empty' and is '7'"),
        ("split", "test", "the split of 1 image: 'a' was 'empty' and is 'test'"),
        ("age", 41, "the age of 1 image: 'a' was '40.5' and is '41.0'"),
    ],
)
def test_a_column_that_differs_is_named_with_an_example(rows, column, value, said):
    other = rows.copy()
    other[column] = other.get(column, pd.Series([None, None])).astype(object)
    other.loc[0, column] = value
    assert differences(Manifest(rows), Manifest(other)) == [said]
    assert differences(Manifest(rows), Manifest(other), but=(column,)) == []


def test_images_gone_and_new_are_named(rows):
    one, two = Manifest(rows.head(1)), Manifest(rows.tail(1))
    assert differences(one, two) == ["1 image gone: 'a'", "1 image new: 'b'"]


def test_a_file_elsewhere_is_the_same_if_its_bytes_are_or_the_first_is_gone(rows, tmp_path):
    (tmp_path / "copy").write_bytes(b"a")
    copied, other = rows.copy(), rows.copy()
    copied.loc[0, "path"] = str(tmp_path / "copy")
    assert differences(Manifest(rows), Manifest(copied)) == []
    (tmp_path / "c").write_bytes(b"c")
    other.loc[0, "path"] = str(tmp_path / "c")
    (said,) = differences(Manifest(rows), Manifest(other))
    assert said.startswith("the file of 1 image: 'a' was ")
    (tmp_path / "a").unlink()
    assert differences(Manifest(rows), Manifest(other)) == []
