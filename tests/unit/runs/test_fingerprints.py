"""What a network has seen."""

from __future__ import annotations

import numpy as np
import pytest

from hurdles.errors import RunError
from hurdles.runs.seen import fingerprints, images_by_fingerprint, save_fingerprints


def test_equal_pixels_equal_fingerprints(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8)
    save_fingerprints(tmp_path / "f.csv", list("abcd"), pixels)
    assert set(images_by_fingerprint(tmp_path / "f.csv")) == set(fingerprints(pixels))
    changed = pixels.copy()
    changed[2, 0, 0] ^= 1
    known = images_by_fingerprint(tmp_path / "f.csv")
    assert [f in known for f in fingerprints(changed)] == [True, True, False, True]


def test_memory_layout_makes_no_difference():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    assert fingerprints(pixels) == fingerprints(np.asfortranarray(pixels))


@pytest.mark.parametrize("content", ["", "image\na\n"])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "f.csv").write_text(content)
    with pytest.raises(RunError, match=r"f\.csv is damaged .*Restore it"):
        images_by_fingerprint(tmp_path / "f.csv")
