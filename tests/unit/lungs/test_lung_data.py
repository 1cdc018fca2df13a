"""Masks read beside their images, and splits by patient."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import ManifestError, SplitError
from hurdles.lungs.training import across, read_lungs, split_lungs

FRACTIONS = (0.5, 0.25, 0.25)


def test_images_and_masks_stand_row_by_row(chests, chest, tmp_path):
    ready = read_lungs(chests, cache=tmp_path)
    assert len(ready) == len(chests)
    for i in (0, 7):
        pixels, mask = chest(i)
        assert np.array_equal(ready.pixels[i], pixels)
        assert np.array_equal(ready.masks[i], mask)


def test_a_mask_of_another_size_is_stretched_to_its_image(chests, chest, tmp_path):
    frame = chests.frame.head(1).copy()
    small = cv2.resize(chest(0)[1].astype(np.uint8) * 255, (512, 128))
    cv2.imwrite(str(tmp_path / "small.png"), small)
    frame["mask"] = str(tmp_path / "small.png")
    ready = read_lungs(Manifest(frame), cache=tmp_path)
    assert np.mean(ready.masks[0] != chest(0)[1]) < 0.01


def test_empty_and_missing_masks_are_left_out_with_a_reason(chests, tmp_path):
    frame = chests.frame.head(4).copy()
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((8, 8), np.uint8))
    frame.loc[0, "mask"] = str(tmp_path / "empty.png")
    frame.loc[1, "mask"] = str(tmp_path / "nowhere.png")
    frame.loc[2, "mask"] = None
    ready = read_lungs(Manifest(frame), cache=tmp_path)
    assert ready.manifest.frame["image"].tolist() == ["3"]
    reasons = ready.manifest.exclusions["reason"].tolist()
    assert "every pixel has the same value" in reasons[0]
    assert "cannot be opened" in reasons[1]
    with pytest.raises(ManifestError, match="none of 1 lung masks can be used"):
        read_lungs(Manifest(frame.head(1)), cache=tmp_path)


def test_without_masks_there_is_nothing_to_learn(chests):
    with pytest.raises(ManifestError, match="none of 16 images has a lung mask"):
        read_lungs(Manifest(chests.frame.assign(mask=None)))


def test_every_collection_is_shared_out_alike(chests):
    done = split_lungs(chests, fractions=FRACTIONS, seed=1)
    counts = done.frame.groupby(["source", "split"]).size()
    assert counts["here"].to_dict() == counts["there"].to_dict()
    assert counts["here"].to_dict() == {"test": 2, "train": 4, "validation": 2}
    assert done.frame["label"].tolist() == chests.frame["label"].tolist()


def test_a_given_split_is_kept_and_checked(chests):
    given = ["train"] * 8 + ["validation"] * 4 + ["test"] * 4
    done = split_lungs(chests.with_split(given), fractions=FRACTIONS, seed=1)
    assert done.frame["split"].tolist() == given
    leaking = Manifest(chests.frame.assign(patient="1", source="s", split=given))
    with pytest.raises(SplitError):
        split_lungs(leaking, fractions=FRACTIONS, seed=1)


def test_across_trains_on_one_collection_and_tests_on_the_others(chests):
    done = across(chests, "here", seed=0)
    parts = done.frame.groupby("source")["split"].unique()
    assert sorted(parts["here"]) == ["train", "validation"]
    assert list(parts["there"]) == ["test"]
    assert (done.frame["split"] == "validation").sum() in (1, 2)
    with pytest.raises(ManifestError, match=r"cannot train on 'elsewhere'.*here, there"):
        across(chests, "elsewhere", seed=0)
    alone = chests.select(chests.frame["source"] == "here")
    with pytest.raises(ManifestError, match="cannot train on 'here'"):
        across(alone, "here", seed=0)
