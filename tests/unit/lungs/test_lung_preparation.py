"""Masks through the cache, and an image without lungs said plainly."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.errors import ImageError, LungsNotFoundError
from hurdles.lungs.find import LungPreparation, Segmenter, shipped_lungs
from hurdles.lungs.mask import LungMask, clean
from hurdles.pixels.cache import prepare
from hurdles.pixels.decode import decode


class Bright(Segmenter):
    """Finds what is bright; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    @property
    def key(self) -> str:
        return "bright"

    def __call__(self, pixels: NDArray[np.float32]) -> LungMask:
        self.asked += 1
        return clean(cv2.resize(pixels, (256, 256)))


def lungs(shape: tuple[int, int] = (200, 180)) -> NDArray[np.float32]:
    image = np.zeros(shape, np.float32)
    for side in (-1, 1):
        corners = [(90 + 10 * side, 30), (90 + 65 * side, 150), (90 + 10 * side, 130)]
        cv2.fillPoly(image, [np.array(corners)], 1.0)
    return image


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    plain = np.zeros((200, 180), np.float32)
    plain[50:60] = 1
    images = {"a": lungs(), "none": plain, "b": lungs()[:, ::-1]}
    for name, pixels in images.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.uint8(pixels * 255))
    return [tmp_path / f"{name}.png" for name in images]


def manifest_of(files: list[Path]) -> Manifest:
    rows = {"image": [f.name for f in files], "path": [str(f) for f in files], "label": "x"}
    return Manifest(pd.DataFrame(rows))


def test_a_mask_is_stored_as_black_and_white():
    found = LungPreparation(Bright())(lungs())
    assert found.dtype == np.uint8
    assert found.shape == (256, 256)
    assert set(np.unique(found)) == {0, 255}
    assert ((found == 255) == clean(cv2.resize(lungs(), (256, 256))).mask).all()


def test_lungs_that_are_not_found_are_an_error_that_says_what_to_do():
    with pytest.raises(LungsNotFoundError, match=r"not found: empty.*out.*'raw'") as e:
        LungPreparation(Bright())(np.zeros((64, 64), np.float32))
    assert isinstance(e.value, ImageError)


def test_the_cache_keeps_masks_and_lists_what_has_none(files, tmp_path):
    preparation = LungPreparation(Bright())
    prepared = prepare(manifest_of(files), preparation, cache=tmp_path / "cache")
    assert list(prepared.manifest.frame["image"]) == ["a.png", "b.png"]
    (reason,) = prepared.manifest.exclusions["reason"]
    assert "one part only" in reason
    expected = [preparation(decode(files[i])) for i in (0, 2)]
    assert (prepared.pixels == np.stack(expected)).all()


def test_a_second_run_asks_the_network_nothing_about_found_lungs(files, tmp_path):
    good = manifest_of([files[0], files[2]])
    prepare(good, LungPreparation(Bright()), cache=tmp_path / "cache")
    second = Bright()
    prepare(good, LungPreparation(second), cache=tmp_path / "cache")
    assert second.asked == 0


def test_stopping_names_the_image(files, tmp_path):
    with pytest.raises(LungsNotFoundError, match=r"none\.png: the lungs were not found"):
        prepare(
            manifest_of(files), LungPreparation(Bright()), cache=tmp_path / "cache", on_bad="stop"
        )


def test_keys_tell_segmenters_apart():
    class Other(Bright):
        @property
        def key(self) -> str:
            return "other"

    keys = [LungPreparation(segmenter).key for segmenter in (Bright(), Bright(), Other())]
    assert keys[0] == keys[1] != keys[2]


def test_the_shipped_network_is_shared_by_the_process():
    assert shipped_lungs() is shipped_lungs()
    assert shipped_lungs().size == 256
