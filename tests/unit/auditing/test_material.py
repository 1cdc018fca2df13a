"""What hurdles are given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.errors import HurdleError


def manifest(n=4):
    return Manifest(
        pd.DataFrame(
            {
                "image": [f"i{k}" for k in range(n)],
                "path": [f"/i{k}.png" for k in range(n)],
                "label": ["a", "b"] * (n // 2),
                "patient": [f"p{k // 2}" for k in range(n)],
                "split": ["train"] * (n - 1) + ["test"],
            }
        )
    )


def pixels(n=4):
    return np.arange(n * 64 * 64, dtype=np.uint32).reshape(n, 64, 64).astype(np.uint8)


def test_rows_belong_together_and_stay_together():
    masks = np.zeros((4, 64, 64), dtype=bool)
    masks[[1, 3]] = True
    facts = pd.DataFrame({"bytes": [10, 20, 30, 40]})
    made = Material("ours", manifest(), pixels(), facts, masks)
    some = made.take(np.array([3, 1]))
    assert some.manifest.frame["image"].tolist() == ["i3", "i1"]
    assert some.facts["bytes"].tolist() == [40, 20]
    assert np.array_equal(some.pixels, pixels()[[3, 1]])
    assert some.has_lungs.all()
    assert made.take(made.has_lungs).manifest.frame["image"].tolist() == ["i1", "i3"]
    assert made.rows("test").tolist() == [3]
    assert made.labels.tolist() == ["a", "b", "a", "b"]
    assert len(set(made.groups)) == 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pixels": pixels(3)}, "4 rows in the manifest, but pixels 3"),
        ({"facts": pd.DataFrame({"bytes": [1]})}, "but facts 1"),
        ({"masks": np.zeros((5, 64, 64), dtype=bool)}, "but masks 5"),
    ],
)
def test_what_does_not_fit_is_refused(changes, says):
    with pytest.raises(HurdleError, match=says):
        Material(**{"name": "ours", "manifest": manifest(), "pixels": pixels(), **changes})


def test_no_image_is_refused():
    none = manifest().select([False] * 4)
    with pytest.raises(HurdleError, match="no image at all"):
        Material("ours", none, pixels(0))


def test_lungs_that_are_not_there_are_asked_for_in_vain():
    with pytest.raises(HurdleError, match="were not looked for"):
        _ = Material("ours", manifest(), pixels()).has_lungs
    with pytest.raises(HurdleError, match="no lungs were found in any of 4 images"):
        _ = Material(
            "ours", manifest(), pixels(), masks=np.zeros((4, 64, 64), dtype=bool)
        ).has_lungs
