"""Images of which no class is known: read where that is allowed, otherwise refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hurdles.data.manifest import UNLABELED
from hurdles.data.reading import read_manifest
from hurdles.data.unlabeled import manifest_of_images
from hurdles.errors import ManifestError


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path, format="PNG")
    return path


def names(manifest) -> list[str]:
    return manifest.frame["image"].tolist()


@pytest.fixture
def flat(tmp_path) -> Path:
    for name in ("a.png", "b.png", "b_mask.png", ".hidden.png"):
        png(tmp_path / "flat" / name)
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    return tmp_path / "flat"


class TestFolder:
    def test_images_without_class_folders_have_no_class(self, flat):
        manifest = read_manifest(flat, unlabeled=True)
        assert names(manifest) == ["a.png", "b.png"]
        assert manifest.labels == [UNLABELED]
        assert not manifest.has_classes
        assert "no class is known" in manifest.notes[0]
        assert len(manifest.exclusions) == 3

    def test_a_folder_that_is_no_class_is_looked_into(self, tmp_path):
        png(tmp_path / "images" / "a.png")
        assert not read_manifest(tmp_path, unlabeled=True).has_classes

    def test_masks_are_kept_beside_their_images(self, tmp_path):
        png(tmp_path / "a.png")
        png(tmp_path / "masks" / "a.png")
        manifest = read_manifest(tmp_path, unlabeled=True)
        assert manifest.frame["mask"].tolist() == [str(tmp_path / "masks" / "a.png")]

    def test_class_folders_stay_classes(self, tmp_path):
        for name in ("x/1.png", "y/2.png", "3.png"):
            png(tmp_path / name)
        manifest = read_manifest(tmp_path, unlabeled=True)
        assert manifest.labels == ["x", "y"]
        assert manifest.has_classes

    def test_where_classes_are_needed_it_is_refused_as_before(self, flat):
        with pytest.raises(ManifestError, match="has no class folders with images"):
            read_manifest(flat)


class TestTable:
    def table(self, folder: Path, text: str) -> Path:
        png(folder / "a.png")
        png(folder / "b.png")
        (folder / "t.csv").write_text(text)
        return folder / "t.csv"

    def test_no_column_is_needed_but_the_path(self, tmp_path):
        table = self.table(tmp_path, "file,patient\na.png,p1\nb.png,p2\n")
        manifest = read_manifest(table, unlabeled=True)
        assert manifest.frame["patient"].tolist() == ["p1", "p2"]
        assert not manifest.has_classes
        with pytest.raises(ManifestError, match="which column is the class"):
            read_manifest(table)

    def test_a_class_that_is_empty_in_some_rows_is_used_in_none(self, tmp_path):
        table = self.table(tmp_path, "path,label\na.png,x\nb.png,\n")
        manifest = read_manifest(table, unlabeled=True)
        assert not manifest.has_classes
        assert any("empty in 1 rows" in note for note in manifest.notes)
        with pytest.raises(ManifestError, match="'label' is empty"):
            read_manifest(table)

    def test_a_path_is_needed_all_the_same(self, tmp_path):
        table = self.table(tmp_path, "label\nx\ny\n")
        with pytest.raises(ManifestError, match="which column is the file"):
            read_manifest(table, unlabeled=True)


class TestImages:
    def test_files_folders_and_patterns(self, flat, tmp_path, monkeypatch):
        png(tmp_path / "one" / "deep" / "c.png")
        monkeypatch.chdir(tmp_path)
        manifest = manifest_of_images(["flat/a.png", "one", "flat/*.png"])
        assert names(manifest) == ["flat/a.png", "one/deep/c.png", "flat/b.png", "flat/b_mask.png"]
        assert all(Path(path).is_absolute() for path in manifest.frame["path"])

    def test_a_file_counts_once_by_whatever_path(self, flat, tmp_path):
        (tmp_path / "link.png").symlink_to(flat / "a.png")
        manifest = manifest_of_images([flat / "a.png", tmp_path / "link.png", flat])
        assert len(manifest) == 2

    def test_a_file_that_is_named_is_taken_whatever_it_is(self, tmp_path):
        text = tmp_path / "readme.txt"
        text.write_text("no image")
        assert names(manifest_of_images([text])) == [str(text)]

    def test_class_folders_say_nothing(self, tmp_path):
        for name in ("x/1.png", "y/1.png", "z.png"):
            png(tmp_path / name)
        manifest = manifest_of_images([tmp_path])
        assert names(manifest) == ["x/1.png", "y/1.png", "z.png"]
        assert not manifest.has_classes

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("nothing.png", "is not there"),
            ("*.jpg", "no file is called"),
            ("empty", "no image is to be read"),
        ],
    )
    def test_nothing_to_read_is_an_error(self, place, message, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(ManifestError, match=message):
            manifest_of_images([place])
