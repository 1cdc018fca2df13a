"""What lies in a folder, and a manifest that accounts for all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hurdles.data.folder import ManifestBuilder, walk
from hurdles.errors import ManifestError


def reasons(manifest) -> dict[str, str]:
    return {Path(p).name: r for p, r in manifest.exclusions.itertuples(index=False)}


def test_walk_agrees_with_a_plain_walk(tmp_path):
    for name in ("b/2.png", "a/x/1.txt", "a.png", "c d/ü.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    plain = sorted(
        os.path.join(folder, name)  # noqa: PTH118 - the plain way
        for folder, _, names in os.walk(tmp_path)
        for name in names
    )
    assert sorted(str(entry.path) for entry in walk(tmp_path)) == plain
    assert [entry.name for entry in walk(tmp_path)] == [entry.name for entry in walk(str(tmp_path))]
    assert all(entry.real == os.path.realpath(entry.path) for entry in walk(tmp_path))


class TestManifestBuilder:
    def test_a_repeated_row_is_left(self, tmp_path):
        builder = ManifestBuilder(tmp_path)
        builder.keep(tmp_path / "1.png", "a", patient="first")
        builder.keep(tmp_path / "1.png", "a", patient="second")
        manifest = builder.manifest()
        assert manifest.frame["patient"].tolist() == ["first"]
        assert list(reasons(manifest).values()) == [
            "named again by a later row; the first one is used"
        ]

    def test_contradicting_rows_are_all_left(self, tmp_path):
        builder = ManifestBuilder(tmp_path)
        builder.keep(tmp_path / "0.png", "a")
        for label in ("a", "b", "a"):
            builder.keep(tmp_path / "1.png", label)
        manifest = builder.manifest()
        assert manifest.frame["image"].tolist() == ["0.png"]
        assert (
            manifest.exclusions["reason"].tolist()
            == ["called 'a' by one row and 'b' by another"] * 3
        )

    def test_rest_is_what_was_not_met(self, tmp_path):
        builder = ManifestBuilder(tmp_path)
        for n in range(3):
            (tmp_path / f"{n}.png").touch()
        (tmp_path / "notes.txt").touch()
        builder.keep(tmp_path / "0.png", "a")
        builder.leave(tmp_path / "1.png", "broken")
        builder.leave_rest(walk(tmp_path), "not named")
        assert reasons(builder.manifest()) == {
            "1.png": "broken",
            "2.png": "not named",
            "notes.txt": "not an image, by its extension",
        }

    def test_nothing_kept_says_why(self, tmp_path):
        builder = ManifestBuilder(tmp_path)
        for n in range(3):
            builder.leave(tmp_path / f"{n}.png", "a lateral view")
        with pytest.raises(ManifestError, match=r"no usable image \(3 x a lateral view\)"):
            builder.manifest()
