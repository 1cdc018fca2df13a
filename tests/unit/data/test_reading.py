"""One door: tables, folders, collections by name; and merging what came through it."""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest, exclusions_table
from hurdles.data.reading import collections_table, locate, merge, read_manifest, recognize
from hurdles.data.sources import COLLECTIONS
from hurdles.errors import CollectionError, ManifestError, RegistryError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def kermany(root: Path) -> Path:
    for split in ("train", "test"):
        number = 1 if split == "train" else 9
        touch(root / split / "NORMAL" / f"IM-000{number}-0001.jpeg")
        touch(root / split / "PNEUMONIA" / f"person{number}_virus_6.jpeg")
    return root


@pytest.fixture(autouse=True)
def no_data(monkeypatch):
    monkeypatch.delenv("HURDLES_DATA", raising=False)


class TestReadManifest:
    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_a_table(self, tmp_path, suffix):
        image = str(touch(tmp_path / "a.png"))
        frame = pd.DataFrame({"image": ["a"], "path": [image], "label": ["x"]})
        path = Manifest(frame).save(tmp_path / f"cohort{suffix}")
        assert read_manifest(path).frame["image"].tolist() == ["a"]

    def test_class_folders(self, tmp_path, caplog):
        touch(tmp_path / "Normal" / "1.png")
        with caplog.at_level(logging.INFO, logger="hurdles"):
            manifest = read_manifest(tmp_path)
        assert manifest.labels == ["Normal"]
        assert "read as a folder of class folders" in caplog.text

    def test_a_recognized_collection_says_so(self, tmp_path, caplog):
        with caplog.at_level(logging.INFO, logger="hurdles"):
            manifest = read_manifest(kermany(tmp_path))
        assert manifest.labels == ["Normal", "Viral Pneumonia"]
        assert "read as kermany" in caplog.text

    def test_a_collection_by_name_from_the_mapping(self, tmp_path):
        root = kermany(tmp_path / "x")
        assert len(read_manifest("kermany", data={"kermany": root})) == 4

    def test_a_collection_by_name_from_the_environment(self, tmp_path, monkeypatch):
        kermany(tmp_path / "chest_xray")
        monkeypatch.setenv("HURDLES_DATA", str(tmp_path))
        assert len(read_manifest("kermany")) == 4

    def test_a_name_wins_over_a_folder_of_that_name(self, tmp_path, monkeypatch):
        touch(tmp_path / "kermany" / "Normal" / "1.png")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CollectionError, match="where is kermany"):
            read_manifest("kermany")
        assert read_manifest("./kermany").labels == ["Normal"]

    def test_said_to_be_a_collection_but_is_not(self, tmp_path):
        touch(tmp_path / "Normal" / "1.png")
        with pytest.raises(CollectionError, match=r"is not cohen .*metadata\.csv"):
            read_manifest(tmp_path, collection="cohen")

    def test_the_folder_above_a_collection_is_hinted_at(self, tmp_path):
        kermany(tmp_path / "chest_xray")
        with pytest.raises(CollectionError, match=r"Did you mean .*chest_xray\?"):
            read_manifest(tmp_path, collection="kermany")

    def test_a_folder_of_collections_is_no_folder_of_classes(self, tmp_path):
        kermany(tmp_path / "chest_xray")
        touch(tmp_path / "other" / "1.png")
        with pytest.raises(CollectionError, match=r"holds some \(chest_xray\)"):
            read_manifest(tmp_path)

    def test_two_collections_in_one_folder_need_a_word(self, tmp_path):
        kermany(tmp_path)
        for name in ("No_findings", "Pneumonia"):
            touch(tmp_path / name / "00000001_000.png")
        with pytest.raises(CollectionError, match=r"several collections \(darkcovidnet, kermany\)"):
            read_manifest(tmp_path)
        assert len(read_manifest(tmp_path, collection="darkcovidnet")) == 2

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ManifestError, match=r"neither a folder.*kermany"):
            read_manifest(tmp_path / "nowhere")

    def test_unknown_collection(self, tmp_path):
        with pytest.raises(RegistryError, match="did you mean 'kermany'"):
            read_manifest(tmp_path, collection="kermani")


class TestLocate:
    def test_unknown_name(self):
        with pytest.raises(RegistryError, match="no collection is called 'x'"):
            locate("x")

    def test_mapping_wins_over_the_environment(self, tmp_path, monkeypatch):
        kermany(tmp_path / "chest_xray")
        mine = kermany(tmp_path / "mine")
        monkeypatch.setenv("HURDLES_DATA", str(tmp_path))
        assert locate("kermany", {"kermany": mine}) == mine
        assert locate("kermany", {"cohen": mine}) == tmp_path / "chest_xray"

    def test_mapping_to_nothing(self, tmp_path):
        with pytest.raises(CollectionError, match=r"said to be in .*gone, which is not a folder"):
            locate("kermany", {"kermany": tmp_path / "gone"})

    def test_without_the_environment_it_says_what_to_do(self):
        with pytest.raises(CollectionError, match="--data kermany=PATH, or set HURDLES_DATA"):
            locate("kermany")

    def test_places_looked_at_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HURDLES_DATA", str(tmp_path))
        with pytest.raises(CollectionError, match=r"looked for .*chest_xray, .*kermany\)"):
            locate("kermany")

    def test_a_folder_of_the_right_name_but_another_layout_is_named(self, tmp_path, monkeypatch):
        touch(tmp_path / "chest_xray" / "1.png")
        monkeypatch.setenv("HURDLES_DATA", str(tmp_path))
        with pytest.raises(CollectionError, match="chest_xray exists, but lacks train/NORMAL"):
            locate("kermany")

    def test_a_folder_with_the_collections_own_name_is_found(self, tmp_path, monkeypatch):
        root = kermany(tmp_path / "kermany")
        monkeypatch.setenv("HURDLES_DATA", str(tmp_path))
        assert locate("kermany") == root


def test_recognize(tmp_path):
    assert [c.name for c in recognize(kermany(tmp_path))] == ["kermany"]
    assert recognize(tmp_path / "nowhere") == []


def test_collections_table(tmp_path):
    table = collections_table({"kermany": kermany(tmp_path)})
    assert table.columns.tolist() == ["name", "title", "license", "citation", "url", "folder"]
    assert table["name"].tolist() == COLLECTIONS.names() == sorted(COLLECTIONS)
    found = table.set_index("name")["folder"]
    assert found["kermany"] == str(tmp_path)
    assert found.drop("kermany").isna().all()
    assert (table.dtypes == "str").all()


class TestMerge:
    @staticmethod
    def one(source: str | None, *, where: str = "", left: str = "", **columns: object) -> Manifest:
        where = where or str(source)
        row = {"image": "1", "path": f"/{where}/1.png", "label": "x", "patient": "p"}
        frame = pd.DataFrame([row | {"source": source} | columns])
        return Manifest(frame, exclusions_table([(f"/{where}/2.png", left)] if left else ()))

    def test_names_patients_and_exclusions_stay_apart(self):
        both = merge([self.one("a", left="lateral", finding="f"), self.one("b", left="CT")])
        assert both.frame["image"].tolist() == ["a/1", "b/1"]
        assert both.groups.nunique() == 2
        assert both.exclusions["reason"].tolist() == ["lateral", "CT"]
        assert both.frame["finding"].fillna("-").tolist() == ["f", "-"]
        assert both.frame["patient"].dtype == "str"

    def test_one_is_returned_as_it_is(self):
        alone = self.one(None)
        assert merge([alone]) is alone

    def test_nothing(self):
        with pytest.raises(ManifestError, match="nothing to merge"):
            merge([])

    def test_without_a_source_patients_could_be_mistaken(self):
        with pytest.raises(ManifestError, match="manifest 2 of 2 names no source in 1 of 1"):
            merge([self.one("a"), self.one(None)])

    def test_the_same_twice_is_refused(self):
        with pytest.raises(ManifestError, match="'image' is repeated"):
            merge([self.one("a"), self.one("a", where="b")])

    def test_inputs_are_not_changed(self):
        first = self.one("a")
        merge([first, self.one("b")])
        assert first.frame["image"].tolist() == ["1"]


def test_a_folder_that_brings_its_table_is_read_by_it(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"")
    touch(tmp_path / "a.png")
    touch(tmp_path / "b.png")
    (tmp_path / "manifest.csv").write_text("path,label,patient\na.png,x,p1\nb.png,y,p2\n")
    assert read_manifest(tmp_path).counts == {"x": 1, "y": 1}
