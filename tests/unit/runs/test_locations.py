"""What the user says by --data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import HurdlesError, ManifestError
from hurdles.runs.images import classified, classified_apart, manifest_of, name_of, named_folders


def folder(root: Path, source: str = "x", n: int = 2) -> Path:
    rng = np.random.default_rng(0)
    for label in ("A", "B"):
        (root / label).mkdir(parents=True)
        for i in range(n):
            image = rng.integers(0, 255, (20, 20), dtype=np.uint8)
            cv2.imwrite(str(root / label / f"{source}{i}.png"), image)
    return root


def test_a_manifest_is_itself(tmp_path):
    made = manifest_of(folder(tmp_path / "one"))
    assert manifest_of(made) is made


@pytest.mark.parametrize("name", ["one", "with space", "ünï=code"])
@pytest.mark.parametrize("kind", [str, Path, lambda p: [p], lambda p: (str(p),)])
def test_a_folder(tmp_path, name, kind):
    made = manifest_of(kind(folder(tmp_path / name)))
    assert made.counts == {"A": 2, "B": 2}


def test_several_are_merged(tmp_path):
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two", n=3)
    made = manifest_of([one, two])
    assert len(made) == 10
    assert made.sources == ["one", "two"]


@pytest.mark.parametrize("nothing", [None, [], "", {}])
def test_nothing_given_and_no_default(nothing):
    with pytest.raises(ManifestError, match=r"which images.*--data PATH"):
        manifest_of(nothing)


def test_the_default_is_used_only_where_nothing_is_given(tmp_path):
    one, two = folder(tmp_path / "one"), folder(tmp_path / "two", n=3)
    assert len(manifest_of(None, default=str(one))) == 4
    assert len(manifest_of(two, default=str(one))) == 6


def test_pairs_name_their_folders():
    assert named_folders(["kermany=/a/b", "/c", "rsna=/d=e"]) == {
        "kermany": Path("/a/b"),
        "rsna": Path("/d=e"),
    }
    assert named_folders({"kermany": "/a"}) == {"kermany": Path("/a")}
    assert named_folders(None) == named_folders("/c") == {}


def test_an_unknown_name_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HURDLES_DATA", raising=False)
    with pytest.raises(HurdlesError, match="nosuch"):
        manifest_of("nosuch")
    with pytest.raises(HurdlesError, match="nosuch"):
        manifest_of(f"nosuch={tmp_path}")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("kermany=/data/chest_xray", "kermany"),
        (["kermany=/data/x", "rsna"], "kermany"),
        ({"rsna": "/data"}, "rsna"),
        ("/data/Our Ward_3", "our-ward-3"),
        ("/data/ward.v2.csv", "ward-v2"),
        ("/data/Köln/manifest.csv", "köln"),
        (Path("/data/chest_xray/test"), "chest-xray"),
        ("/data/???", "images"),
        ([], "images"),
    ],
)
def test_names_of_sets(data, name):
    assert name_of(data) == name


def test_a_folder_with_a_dot_keeps_its_whole_name(tmp_path):
    (tmp_path / "release 1.0").mkdir()
    assert name_of(tmp_path / "release 1.0") == "release-1-0"


def test_a_manifest_has_no_name():
    rows = pd.DataFrame({"image": ["a"], "path": ["/a"], "label": ["x"]})
    assert name_of(Manifest(rows)) == "images"


class TestClassified:
    def test_one_collection_of_several_is_mapped(self, tmp_path):
        one, two = folder(tmp_path / "one"), folder(tmp_path / "two", n=3)
        made = classified([one, two], labels={"one:A": "B", "A": "C"})
        assert made.counts == {"B": 7, "C": 3}

    def test_a_colon_may_belong_to_a_class(self, tmp_path):
        folder(tmp_path / "one")
        (tmp_path / "one" / "A").rename(tmp_path / "one" / "x:A")
        assert classified(tmp_path / "one", labels={"x:A": "C"}).counts == {"B": 2, "C": 2}

    def test_a_wish_has_to_find_a_class(self, tmp_path):
        one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
        (two / "A").rename(two / "C")
        assert classified([one, two], labels={"C": "A"}).counts == {"A": 4, "B": 4}
        for wrong in ("X", "one:C", "three:A"):
            with pytest.raises(
                ManifestError, match=rf"no image is of class '{wrong}'.* one: A, B; two: B, C"
            ):
                classified([one, two], labels={wrong: "A"})

    def test_a_pattern_stands_for_many(self, tmp_path):
        root = folder(tmp_path / "one")
        (root / "A").rename(root / "A|B")
        with pytest.raises(ManifestError, match=r"several findings in one.*'\*\|\*='"):
            classified(root)
        assert classified(root, labels={"*|*": ""}).counts == {"B": 2}
        assert classified(root, labels={"*A*": "A", "*": "other"}).counts == {"A": 2, "other": 2}

    def test_nothing_left(self, tmp_path):
        with pytest.raises(ManifestError, match="no image is left"):
            classified(folder(tmp_path / "one"), labels={"*": ""})

    def test_spellings_of_two_collections_are_refused(self, tmp_path):
        one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
        (two / "A").rename(two / "a")
        with pytest.raises(ManifestError, match=r"'A' and 'a' differ in case.*--label a=A"):
            classified([one, two])
        assert classified([one, two], labels={"a": "A"}).counts == {"A": 4, "B": 4}

    def test_apart(self, tmp_path):
        one, two = folder(tmp_path / "one"), folder(tmp_path / "two")
        made = classified_apart([one, two], labels={"two:A": "B"})
        assert {name: m.counts for name, m in made.items()} == {
            "one": {"A": 2, "B": 2},
            "two": {"B": 4},
        }
        assert classified_apart(None) == {}


def test_columns_of_one_table_of_several(tmp_path):
    root = folder(tmp_path / "one")
    folder(tmp_path / "two")
    (tmp_path / "x.csv").write_text("file,x\ntwo/A/x0.png,1\ntwo/B/x0.png,2\n")
    both = [tmp_path / "x.csv", root]
    assert manifest_of(both, columns={"x": "label"}).counts == {"1": 1, "2": 1, "A": 2, "B": 2}
    with pytest.raises(ManifestError, match=r"no table of .* has a column 'z'"):
        manifest_of(both, columns={"x": "label", "z": "patient"})
    with pytest.raises(ManifestError, match="is not read by a table, so it has no column 'x'"):
        manifest_of(root, columns={"x": "label"})
