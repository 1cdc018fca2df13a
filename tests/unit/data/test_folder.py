"""Folders of class folders: what is kept, what is left out, what is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hurdles.data.folder import manifest_from_folder
from hurdles.data.image_file import IMAGE_SUFFIXES
from hurdles.errors import ManifestError


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def reasons(manifest) -> dict[str, str]:
    return {Path(p).name: r for p, r in manifest.exclusions.itertuples(index=False)}


def test_class_is_the_first_level_and_the_rest_is_read_recursively(tmp_path):
    for name in ("Normal/1.png", "Normal/2020/ward 3/2.png", "COVID-19/1.JPG"):
        png(tmp_path / name)
    manifest = manifest_from_folder(tmp_path)
    assert dict(zip(manifest.frame["image"], manifest.frame["label"], strict=True)) == {
        "COVID-19/1.JPG": "COVID-19",
        "Normal/1.png": "Normal",
        "Normal/2020/ward 3/2.png": "Normal",
    }
    assert manifest.sources == []
    assert manifest.missing_patients == 3
    assert manifest.frame["split"].isna().all()
    assert all(Path(p).is_absolute() and Path(p).is_file() for p in manifest.frame["path"])
    assert len(manifest.exclusions) == 0


def test_columns_are_text_also_where_all_is_empty(tmp_path):
    png(tmp_path / "a" / "1.png")
    frame = manifest_from_folder(tmp_path).frame
    for column in ("image", "path", "label", "patient", "source", "view", "sex", "split", "mask"):
        assert frame[column].dtype == "str", column
    assert frame["age"].dtype == "float64"


def test_what_is_no_image_is_left_out_with_the_reason(tmp_path):
    png(tmp_path / "Normal" / "1.png")
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "._1.png"):
        (tmp_path / "Normal" / name).write_bytes(b"x")
    png(tmp_path / "__MACOSX" / "Normal" / "1.png")
    png(tmp_path / ".cache" / "Normal" / "1.png")
    png(tmp_path / "cover.png")
    (tmp_path / "Empty").mkdir()
    manifest = manifest_from_folder(tmp_path)
    assert manifest.frame["image"].tolist() == ["Normal/1.png"]
    assert reasons(manifest) == {
        "Thumbs.db": "a system file, no image",
        ".DS_Store": "hidden",
        "notes.txt": "not an image, by its extension",
        "._1.png": "hidden",
        "__MACOSX": "macOS side files, no images",
        ".cache": "hidden",
        "cover.png": "outside every class folder",
        "Empty": "a class folder without an image",
    }


def test_every_file_is_kept_or_left(tmp_path):
    rng = np.random.default_rng(7)
    for number in range(60):
        suffix = rng.choice([".png", ".txt", ".JPEG", ".csv", ".dcm"])
        folder = tmp_path / str(rng.choice(["a", "b", "b/c", "."]))
        folder.mkdir(exist_ok=True, parents=True)
        (folder / f"{number}{suffix}").write_bytes(b"")
    manifest = manifest_from_folder(tmp_path)
    told = {*manifest.frame["path"], *manifest.exclusions["path"]}
    assert told == {str(p) for p in tmp_path.rglob("*") if p.is_file()}
    assert len(manifest) + len(manifest.exclusions) == 60


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("Train", "VALID", "testing"), ("train", "validation", "test")),
        (("training", "validation", "Test"), ("train", "validation", "test")),
    ],
)
def test_train_val_test_fill_the_split(tmp_path, names, splits):
    for name in names:
        png(tmp_path / name / "Normal" / "1.png")
        png(tmp_path / name / "Ill" / "deep" / "2.png")
    (tmp_path / names[0] / "Rare").mkdir()
    manifest = manifest_from_folder(tmp_path)
    for name, split in zip(names, splits, strict=True):
        rows = manifest.frame[manifest.frame["image"].str.startswith(f"{name}/")]
        assert rows["split"].unique().tolist() == [split]
        assert sorted(rows["label"]) == ["Ill", "Normal"]
    assert reasons(manifest) == {"Rare": "a class folder without an image"}


def test_split_folders_beside_others_are_refused(tmp_path):
    for name in ("train/Normal/1.png", "test/Normal/1.png", "extra/Normal/1.png"):
        png(tmp_path / name)
    with pytest.raises(ManifestError, match=r"mixes folders of a split \(test, train\).*extra"):
        manifest_from_folder(tmp_path)


def test_one_class_is_allowed(tmp_path):
    png(tmp_path / "COVID-19" / "1.png")
    assert manifest_from_folder(tmp_path).labels == ["COVID-19"]


@pytest.mark.parametrize("files", [(), ("1.png", "2.png"), ("Normal/readme.txt",)])
def test_without_class_folders_the_expected_layout_is_said(tmp_path, files):
    for name in files:
        png(tmp_path / name)
        if name.endswith(".txt"):  # what it holds counts
            (tmp_path / name).write_text("read me")
    with pytest.raises(ManifestError, match=r"no class folders with images.*ROOT/Normal"):
        manifest_from_folder(tmp_path)


def test_missing_root(tmp_path):
    with pytest.raises(ManifestError, match="nowhere is not a folder"):
        manifest_from_folder(tmp_path / "nowhere")


def test_spaces_and_every_script(tmp_path):
    root = tmp_path / "röntgen bilder 胸部"
    names = ["Lungenentzündung/Bild 1 (ä).png", "健康/画像 ２.png", "Нормаль/снимок.png"]
    for name in names:
        png(root / name)
    manifest = manifest_from_folder(root)
    assert sorted(manifest.frame["image"]) == sorted(unicodedata.normalize("NFC", n) for n in names)
    again = manifest_from_folder(str(root))
    assert again.content_hash == manifest.content_hash


def test_names_do_not_depend_on_how_the_system_spells_accents(tmp_path):
    for form, folder in (("NFC", "one"), ("NFD", "two")):
        png(tmp_path / folder / unicodedata.normalize(form, "Pneumonía") / "é.png")
    one, two = (manifest_from_folder(tmp_path / folder) for folder in ("one", "two"))
    assert one.content_hash == two.content_hash
    assert one.labels == two.labels == [unicodedata.normalize("NFC", "Pneumonía")]
    assert Path(two.frame["path"][0]).is_file()


def test_a_link_to_a_file_that_has_its_row_is_named(tmp_path):
    first = png(tmp_path / "Normal" / "1.png")
    (tmp_path / "Normal" / "2.png").symlink_to(first)
    (tmp_path / "Normal" / "3.png").symlink_to(tmp_path / "gone.png")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.frame["image"].tolist() == ["Normal/1.png"]
    assert reasons(manifest) == {
        "2.png": "the same file as Normal/1.png, by a link",
        "3.png": "a link that leads nowhere",
    }


def test_a_linked_folder_is_followed_and_its_repeated_files_are_named(tmp_path):
    png(tmp_path / "real" / "Normal" / "1.png")
    outside = png(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "real" / "Normal" / "more").symlink_to(outside.parent, target_is_directory=True)
    (tmp_path / "real" / "Normal" / "same").symlink_to(outside.parent, target_is_directory=True)
    manifest = manifest_from_folder(tmp_path / "real")
    assert manifest.frame["image"].tolist() == ["Normal/1.png", "Normal/more/2.png"]
    assert reasons(manifest) == {"2.png": "the same file as Normal/more/2.png, by a link"}


def test_one_file_in_two_classes_is_refused(tmp_path):
    first = png(tmp_path / "Normal" / "1.png")
    (tmp_path / "Ill").mkdir()
    (tmp_path / "Ill" / "x.png").symlink_to(first)
    with pytest.raises(ManifestError, match=r"Ill/x.png and Normal/1.png .* one file"):
        manifest_from_folder(tmp_path)


def test_links_in_a_circle_end(tmp_path):
    png(tmp_path / "Normal" / "1.png")
    (tmp_path / "Normal" / "loop").symlink_to(tmp_path, target_is_directory=True)
    manifest = manifest_from_folder(tmp_path)
    assert len(manifest) == 1
    assert reasons(manifest) == {"loop": "a link back to a folder that holds it"}


def test_a_link_to_a_folder_above_the_root_is_not_followed(tmp_path):
    root = tmp_path / "images"
    for name in ("images/A/1.png", "images/B/1.png", "others/A/2.png"):
        png(tmp_path / name)
    (root / "A" / "up").symlink_to(tmp_path)
    manifest = manifest_from_folder(root)
    assert manifest.counts == {"A": 1, "B": 1}
    assert reasons(manifest) == {"up": "a link back to a folder that holds it"}


def test_dicom_without_an_extension_is_an_image(tmp_path):
    folder = tmp_path / "Normal"
    folder.mkdir()
    (folder / "IM0001").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 16)
    (folder / "1.2.840.5").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "README").write_bytes(b"x" * 200)
    (folder / "short").write_bytes(b"DICM")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.frame["image"].tolist() == ["Normal/1.2.840.5", "Normal/IM0001"]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(
        st.tuples(
            st.sampled_from(["A", "B b", "ç"]),
            st.text("abc 1ß._", min_size=1, max_size=6).filter(lambda t: t.strip(". ")),
            st.sampled_from(["", ".txt", *sorted(IMAGE_SUFFIXES)]),
        ),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_kept_and_left_make_up_everything(tmp_path_factory, names):
    root = tmp_path_factory.mktemp("root")
    for label, stem, suffix in names:
        path = root / label / f"{stem}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    files = sorted(p for p in root.rglob("*") if p.is_file())
    images = [p for p in files if not p.name.startswith(".") and p.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        with pytest.raises(ManifestError, match="no class folders with images"):
            manifest_from_folder(root)
        return
    manifest = manifest_from_folder(root)
    assert sorted(manifest.frame["path"]) == [str(p) for p in images]
    left = [p for p in manifest.exclusions["path"] if Path(p).is_file()]
    assert sorted(left) == sorted(str(p) for p in files if p not in images)


def test_masks_beside_their_images_are_masks(tmp_path):
    for name in ("COVID/images/1.png", "COVID/masks/1.png", "COVID/masks/9.png", "Normal/1.png"):
        png(tmp_path / name)
    manifest = manifest_from_folder(tmp_path)
    assert manifest.counts == {"COVID": 1, "Normal": 1}
    assert manifest.frame["mask"].tolist()[0] == str(tmp_path / "COVID/masks/1.png")
    assert reasons(manifest) == {"9.png": "in a folder of masks, no X-ray"}


def test_folders_of_masks_are_no_classes(tmp_path):
    for top in ("images", "masks"):
        for name in ("Ill/1.png", "Well/1.png"):
            png(tmp_path / top / name)
    png(tmp_path / "annotations" / "1.png")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.counts == {"Ill": 1, "Well": 1}
    assert manifest.frame["mask"].tolist() == [
        str(tmp_path / "masks" / name) for name in ("Ill/1.png", "Well/1.png")
    ]


@pytest.mark.parametrize(
    "name", ["a@.png", "a_mask.png", "a-mask.png", "mask_a.png", "a.mask.png", "a_seg.jpg"]
)
def test_a_mask_by_its_name_lies_beside_its_image(tmp_path, name):
    png(tmp_path / "Ill" / "a.png")
    png(tmp_path / "Ill" / name)
    png(tmp_path / "Ill" / "b_mask.png")  # nothing is known of a 'b'
    manifest = manifest_from_folder(tmp_path)
    assert manifest.frame["image"].tolist() == ["Ill/a.png", "Ill/b_mask.png"]
    assert reasons(manifest) == {name: "a mask by its name, beside its image; no X-ray"}


def test_a_split_below_the_classes_is_a_split(tmp_path):
    for label in ("Ill", "Well"):
        for split in ("train", "test"):
            png(tmp_path / label / split / "1.png")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.counts == {"Ill": 2, "Well": 2}
    assert sorted(manifest.frame["split"]) == ["test", "test", "train", "train"]
    png(tmp_path / "Ill" / "2.png")
    with pytest.raises(ManifestError, match="below some of its classes"):
        manifest_from_folder(tmp_path)


@pytest.mark.parametrize("names", [("train_images", "test_images"), ("Training Set", "Test set")])
def test_long_names_of_splits(tmp_path, names):
    for name in names:
        png(tmp_path / name / "Ill" / "1.png")
    manifest = manifest_from_folder(tmp_path)
    assert manifest.labels == ["Ill"]
    assert set(manifest.frame["split"]) == {"train", "test"}


def test_a_folder_of_training_images_is_no_split_without_classes(tmp_path):
    for name in ("train_images", "test_images"):
        png(tmp_path / name / "1.png")
    assert manifest_from_folder(tmp_path).labels == ["test_images", "train_images"]


def test_a_folder_around_a_split_is_no_class(tmp_path):
    for name in ("chest/train/Ill/1.png", "chest/test/Well/1.png"):
        png(tmp_path / name)
    manifest = manifest_from_folder(tmp_path)
    assert manifest.labels == ["Ill", "Well"]
    assert manifest.frame["split"].tolist() == ["test", "train"]


def test_one_class_with_folders_below_is_named(tmp_path):
    for name in ("chest/Ill/1.png", "chest/Well/1.png"):
        png(tmp_path / name)
    manifest = manifest_from_folder(tmp_path)
    assert "one class, 'chest'" in manifest.notes[0]
    assert manifest.notes[0].endswith("('Ill', 'Well'), give the folder 'chest'")


def test_blanks_around_a_class_are_not_part_of_it(tmp_path):
    png(tmp_path / "Normal " / "1.png")
    assert manifest_from_folder(tmp_path).labels == ["Normal"]


def test_an_image_is_known_by_its_content_where_its_name_says_nothing(tmp_path: Path) -> None:
    gray = Image.linear_gradient("L")
    for name, form in [("a.jfif", "JPEG"), ("b.img", "TIFF"), ("c", "PNG"), ("d.ima", "BMP")]:
        (tmp_path / "Normal").mkdir(exist_ok=True)
        gray.save(tmp_path / "Normal" / name, form)
    (tmp_path / "Normal" / "e.img").write_bytes(b"no image at all")
    manifest = manifest_from_folder(tmp_path)
    found = ["Normal/a.jfif", "Normal/b.img", "Normal/c", "Normal/d.ima"]
    assert list(manifest.frame["image"]) == found
    assert list(manifest.exclusions["reason"]) == ["not an image, by its extension"]
