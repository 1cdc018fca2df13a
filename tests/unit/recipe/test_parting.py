"""Which split is used, what is refused, and what has to be said."""

from __future__ import annotations

import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.data.split import save_split, split
from hurdles.errors import RegistryError
from hurdles.recipe.images import parted, remarks, same_ids, settled
from hurdles.recipe.recipe import Recipe

AUTO = Recipe(name="x")


def images(labels: str = "AB" * 12, **columns: object) -> Manifest:
    n = len(labels)
    names = [f"i{i:02}" for i in range(n)]
    rows = pd.DataFrame({"image": names, "path": [f"/{i}" for i in names], "label": list(labels)})
    return Manifest(rows.assign(**{"patient": names, **columns}))


GIVEN = ["test", "train", "train"] * 8


class TestSettled:
    @pytest.mark.parametrize(
        ("asked", "manifest", "scheme"),
        [
            ("auto", images(), "patient"),
            ("auto", images(split=GIVEN), "given"),
            ("auto", images(split=[None, *GIVEN[1:]]), "given"),
            ("patient", images(split=GIVEN), "patient"),
            ("image", images(), "image"),
        ],
    )
    def test_auto_is_what_the_images_bring(self, asked, manifest, scheme):
        recipe = AUTO.changed(split={"scheme": asked})
        assert settled(recipe, manifest).split.scheme == scheme

    def test_a_split_file_comes_before_what_the_images_bring(self):
        assert settled(AUTO, images(split=GIVEN), by_file=True).split.scheme == "patient"

    def test_an_unknown_scheme_lists_the_known(self):
        with pytest.raises(RegistryError, match="Known: auto, patient, image, k-fold, given"):
            settled(AUTO.changed(split={"scheme": "random"}), images())


def test_a_split_file_is_used(tmp_path):
    manifest = images()
    done = split(manifest, seed=5)
    file = save_split(done, tmp_path / "split.csv")
    again = parted(manifest, settled(AUTO, manifest), file)
    assert again.frame["split"].tolist() == done.frame["split"].tolist()


class TestRemarks:
    def test_nothing_is_said_where_nothing_is_lost(self):
        manifest = images()
        recipe = settled(AUTO, manifest)
        assert remarks(manifest, parted(manifest, recipe), recipe) == []

    def test_a_given_split_that_is_not_used(self):
        manifest = images(split=GIVEN)
        recipe = AUTO.changed(split={"scheme": "patient"})
        done = parted(manifest, recipe)
        (said,) = remarks(manifest, done, recipe)
        kept = manifest.frame["split"] == "test"
        learnt = int((kept & (done.frame["split"] != "test")).sum())
        assert said.startswith("The images bring a split (16 train, 8 test), and it is NOT used")
        assert f"keeps for testing, the model was trained or chosen on {learnt}." in said

    def test_images_that_could_not_be_used_by_class(self):
        manifest = images()
        recipe = settled(AUTO, manifest)
        kept = manifest.select(~manifest.frame["image"].isin(["i00", "i02", "i03"]))
        (said,) = remarks(manifest, parted(kept, recipe), recipe)
        assert said.startswith("3 of 24 images could not be used and are left out (2 of 12 A, 1")

    @pytest.mark.parametrize(
        ("patients", "how"),
        [("known", "(by patient)"), ("none", "by image, since no patient is known")],
    )
    def test_validation_taken_out_of_training(self, patients, how):
        manifest = images(split=GIVEN, **({"patient": None} if patients == "none" else {}))
        recipe = settled(AUTO, manifest)
        (said,) = remarks(manifest, parted(manifest, recipe), recipe)
        assert "has no validation part" in said
        assert how in said

    def test_equal_ids_of_two_sources_and_how_many_the_split_parts(self):
        manifest = images("AB" * 3, patient=list("112233"), source=["x", "y"] * 3)
        parts = ["train", "test", "train", "train", "test", "validation"]
        (said,) = same_ids(manifest.with_split(parts))
        assert said.startswith("3 patient ids stand under several sources ('1' under x and y, ...)")
        assert "2 of them stand in more than one part" in said
        assert list(same_ids(manifest.with_patients_joined())) == []

    def test_patients_in_two_parts_only_where_that_is_wanted(self):
        manifest = images("AB" * 12, patient=[str(i // 6) for i in range(24)])
        recipe = AUTO.changed(split={"scheme": "image"})
        done = parted(manifest, recipe)
        assert any("in more than one split" in s for s in remarks(manifest, done, recipe))
        assert remarks(manifest, done, recipe, shared=False) == []
