"""Copies stay together where images are split anew, and are named where they are not."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.copies.finder import COLUMNS, Copies
from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.errors import ManifestError


def copies(*pairs) -> Copies:
    rows = [(a, b, 0.99, False, False) for a, b in pairs]
    return Copies(pd.DataFrame(rows, columns=list(COLUMNS)))


def rows(n=40, **columns) -> Manifest:
    images = [f"i{k:02}" for k in range(n)]
    frame = pd.DataFrame(
        {"image": images, "path": [f"/{i}" for i in images], "label": ["a", "b"] * (n // 2)}
    )
    frame["patient"] = [f"p{k // 2}" for k in range(n)]
    return Manifest(frame.assign(**columns))


def test_linked_patients_become_one_also_through_a_third():
    found = copies(("i00", "i10"), ("i11", "i20"), ("i30", "i31")).united(rows())
    groups = found.groups
    assert groups.iloc[[0, 1, 10, 11, 20, 21]].nunique() == 1
    assert found.groups.nunique() == rows().groups.nunique() - 2
    untouched = ~rows().frame["patient"].isin(["p0", "p5", "p10"])
    assert (groups[untouched] == rows().groups[untouched]).all()


def test_patients_whose_ids_were_joined_are_united_too():
    manifest = rows(source=["here", "there"] * 20).with_patients_joined()
    found = copies(("i00", "i10")).united(manifest)
    assert found.groups.iloc[[0, 1, 10, 11]].nunique() == 1
    assert found.groups.nunique() == manifest.groups.nunique() - 1


@pytest.mark.parametrize("known", [True, False])
def test_no_split_parts_copies_and_without_copies_it_is_as_before(known):
    manifest = rows(patient=rows().frame["patient"] if known else None)
    pairs = copies(*((f"i{k:02}", f"i{k + 20:02}") for k in range(0, 20, 2)))
    for seed in range(10):
        how = {"seed": seed, "missing_patients": "one-each"}
        plain = split(manifest, **how).frame["split"]
        assert split(copies().united(manifest), **how).frame["split"].equals(plain)
        parted = manifest.with_split(split(pairs.united(manifest), **how).frame["split"])
        assert not pairs.known_of(parted)
        assert not pairs.remarks(parted)
        shuffled = Manifest(manifest.frame.sample(frac=1, random_state=seed))
        again = split(pairs.united(shuffled), **how).frame.set_index("image")["split"]
        assert again.loc[parted.frame["image"]].tolist() == parted.frame["split"].tolist()


def test_a_given_split_is_kept_and_its_copies_are_named():
    given = ["train"] * 20 + ["validation"] * 10 + ["test"] * 10
    manifest = rows(split=given, patient=None)
    found = copies(("i00", "i30"), ("i25", "i31"), ("i01", "i20"), ("i32", "i33"), ("i02", "i03"))
    assert found.known_of(manifest) == {"i30": "i00", "i31": "i25"}
    test, validation = found.remarks(manifest)
    assert test.startswith("2 of 10 test images show the same radiograph as a training or val")
    assert "i30 is i00; i31 is i25" in test
    assert validation.startswith("1 of 10 validation images show the same radiograph as a training")
    united = found.united(manifest, within_parts=True)
    assert united.groups.nunique() == 38  # those that the given split parts stay apart


def test_the_table_is_read_as_it_was_written_and_a_damaged_one_is_refused(tmp_path):
    found = copies(("1", "NA"), ("i,1", "i2"))
    read = Copies.load(found.save(tmp_path / "copies.csv"))
    pd.testing.assert_frame_equal(read.pairs, found.pairs, check_dtype=False)
    assert len(Copies.load(copies().save(tmp_path / "none.csv"))) == 0
    (tmp_path / "copies.csv").write_text("image_a,image_b\nx\n")
    with pytest.raises(ManifestError, match=r"copies\.csv is damaged"):
        Copies.load(tmp_path / "copies.csv")
