"""What lies beneath: made once for all that need it, and its refusals carried upwards."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import Manifest
from hurdles.errors import CacheError, ImageError, LungsNotFoundError, TruncatedImageError
from hurdles.phantom import Cohort, phantom_cohort
from hurdles.phantom.cohort import write_phantom
from hurdles.pixels import cache as module
from hurdles.pixels.cache import Prepared, prepare
from hurdles.pixels.decode import decode, decode_levels
from hurdles.pixels.packs import Packs, Refusals
from hurdles.pixels.prepare import Preparation

SIZE = 32


@dataclass(frozen=True)
class Lungs:
    """Finds as lungs what is dark, in images whose corner is not white; counts what it looks at."""

    key: str = "lungs-1"
    size: int = SIZE
    looked: list[int] = field(default_factory=list, compare=False)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        self.looked.append(1)
        if pixels[0, 0] == 1:
            raise LungsNotFoundError("the lungs were not found: the corner is white.")
        dark = cv2.resize(pixels, (SIZE, SIZE)) < 0.5
        return dark.astype(np.uint8) * 255


def write_image(path: Path, seed: int, *, corner: int = 7) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 36), dtype=np.uint8)
    pixels[0, 0] = corner
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    settled = time.time() - 3600
    os.utime(path, (settled, settled))
    return path


def manifest_of(paths: list[Path]) -> Manifest:
    rows = {"image": [p.name for p in paths], "path": [str(p) for p in paths], "label": "x"}
    return Manifest(pd.DataFrame(rows))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [write_image(tmp_path / "images" / f"{i}.png", i) for i in range(9)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []

    def recorded(path: str, **options: Any) -> np.ndarray:
        seen.append(Path(path).name)
        return decode_levels(path, **options)

    monkeypatch.setattr(module, "decode_levels", recorded)
    return seen


def expected(paths: list[Path], name: str, size: int = 16) -> np.ndarray:
    return np.stack([Preparation(size, name, Lungs())(decode(path)) for path in paths])


def test_both_layers_are_made_in_one_decoding(
    paths: list[Path], folder: Path, decodings: list[str]
) -> None:
    lungs = Lungs()
    prepared = prepare(manifest_of(paths), Preparation(16, "masked", lungs), cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(paths, "masked"))
    assert (len(decodings), len(lungs.looked)) == (9, 9)


def test_a_second_run_decodes_and_looks_for_nothing(
    paths: list[Path], folder: Path, decodings: list[str]
) -> None:
    lungs = Lungs()
    for _ in range(2):
        prepared = prepare(manifest_of(paths), Preparation(16, "masked", lungs), cache=folder)
        np.testing.assert_array_equal(prepared.pixels, expected(paths, "masked"))
    assert (len(decodings), len(lungs.looked)) == (9, 9)


def test_all_preparations_share_the_masks(
    paths: list[Path], folder: Path, decodings: list[str]
) -> None:
    lungs = Lungs()
    for count, (name, size) in enumerate([("masked", 16), ("masked", 24), ("cropped", 16)], 1):
        prepared = prepare(manifest_of(paths), Preparation(size, name, lungs), cache=folder)
        np.testing.assert_array_equal(prepared.pixels, expected(paths, name, size))
        assert len(decodings) == 9 * count
    masks = prepare(manifest_of(paths), lungs, cache=folder)
    np.testing.assert_array_equal(masks.pixels, [Lungs()(decode(path)) for path in paths])
    assert (len(decodings), len(lungs.looked)) == (27, 9)


def test_masks_made_before_are_used(paths: list[Path], folder: Path) -> None:
    lungs = Lungs()
    prepare(manifest_of(paths), lungs, cache=folder)
    prepare(manifest_of(paths[2:]), Preparation(16, "masked", lungs), cache=folder)
    assert len(lungs.looked) == 9


def test_more_images_cost_only_their_own_masks(
    paths: list[Path], folder: Path, tmp_path: Path, decodings: list[str]
) -> None:
    lungs = Lungs()
    preparation = Preparation(16, "background", lungs)
    prepare(manifest_of(paths), preparation, cache=folder)
    decodings.clear()
    more = [write_image(tmp_path / f"n{i}.png", 50 + i) for i in range(3)]
    prepared = prepare(manifest_of([*more, *paths]), preparation, cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected([*more, *paths], "background"))
    assert sorted(decodings) == ["n0.png", "n1.png", "n2.png"]
    assert len(lungs.looked) == 12


def test_other_lungs_have_folders_of_their_own(paths: list[Path], folder: Path) -> None:
    one, other = Lungs(), Lungs(key="lungs-2")
    for lungs in (one, other):
        prepare(manifest_of(paths), Preparation(16, "masked", lungs), cache=folder)
    assert (len(one.looked), len(other.looked)) == (9, 9)
    names = sorted(p.name.rpartition("-d")[0] for p in folder.iterdir() if "lungs" in p.name)
    assert names == ["lungs-1", "lungs-2", "masked-16px-v1.1-lungs-1", "masked-16px-v1.1-lungs-2"]


def test_a_preparation_without_lungs_makes_no_masks(paths: list[Path], folder: Path) -> None:
    lungs = Lungs()
    prepare(manifest_of(paths), Preparation(16, "equalized", lungs), cache=folder)
    assert lungs.looked == []
    assert not any("lungs" in p.name for p in folder.iterdir())


def test_lungs_that_are_not_found_are_an_exclusion_and_looked_for_once(
    paths: list[Path], folder: Path, decodings: list[str]
) -> None:
    for i in (2, 5):
        write_image(paths[i], i, corner=255)
    lungs = Lungs()
    for name in ("masked", "masked", "cropped"):
        prepared = prepare(manifest_of(paths), Preparation(16, name, lungs), cache=folder)
        left = [path for i, path in enumerate(paths) if i not in (2, 5)]
        np.testing.assert_array_equal(prepared.pixels, expected(left, name))
        assert prepared.manifest.exclusions["path"].tolist() == [str(paths[2]), str(paths[5])]
        assert set(prepared.manifest.exclusions["reason"]) == {
            "the lungs were not found: the corner is white."
        }
        assert sorted(prepared.failures) == ["2.png", "5.png"]
        for image, error in prepared.failures.items():
            assert isinstance(error, LungsNotFoundError)
            assert error.path == paths[int(image[0])]
    assert len(lungs.looked) == 9
    assert len(decodings) == 9 + 7
    raw = prepare(manifest_of(paths), Preparation(16), cache=folder)
    assert (len(raw), raw.failures) == (9, {})


def test_a_refusal_belongs_to_the_content_not_to_the_file(
    paths: list[Path], folder: Path, tmp_path: Path
) -> None:
    write_image(paths[3], 3, corner=255)
    lungs = Lungs()
    preparation = Preparation(16, "masked", lungs)
    prepare(manifest_of(paths), preparation, cache=folder)
    moved = paths[3].rename(tmp_path / "moved.png")
    prepared = prepare(manifest_of([moved]), preparation, cache=folder)
    assert prepared.failures["moved.png"].path == moved
    assert len(lungs.looked) == 9
    write_image(moved, 3)  # the same name, and lungs in it
    assert len(prepare(manifest_of([moved]), preparation, cache=folder)) == 1


@pytest.mark.parametrize("before", [False, True])
def test_stop_raises_for_lungs_that_are_not_found(
    paths: list[Path], folder: Path, before: bool
) -> None:
    write_image(paths[4], 4, corner=255)
    preparation = Preparation(16, "masked", Lungs())
    if before:
        prepare(manifest_of(paths), preparation, cache=folder)
    with pytest.raises(LungsNotFoundError, match=r"4\.png: the lungs were not found"):
        prepare(manifest_of(paths), preparation, cache=folder, on_bad="stop")


def test_a_file_that_cannot_be_read_is_tried_again(paths: list[Path], folder: Path) -> None:
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[:100])
    preparation = Preparation(16, "masked", Lungs())
    prepared = prepare(manifest_of(paths), preparation, cache=folder)
    assert isinstance(prepared.failures["1.png"], TruncatedImageError)
    assert not list(folder.rglob("refused.json"))


def test_an_image_that_only_the_upper_layer_refuses_keeps_its_mask(
    paths: list[Path], folder: Path
) -> None:
    flat = np.full((40, 36), 20, np.uint8)  # dark all over: the mask is the whole image
    paths[0].write_bytes(cv2.imencode(".png", np.pad(flat, 1, constant_values=9))[1].tobytes())
    lungs = Lungs()
    for _ in range(2):
        prepared = prepare(manifest_of(paths), Preparation(16, "masked", lungs), cache=folder)
        assert "the mask is the whole image" in prepared.manifest.exclusions["reason"][0]
    assert len(lungs.looked) == 9
    assert prepare(manifest_of(paths[:1]), lungs, cache=folder).pixels.min() == 255


def test_progress_counts_every_image_once(paths: list[Path], folder: Path) -> None:
    write_image(paths[4], 4, corner=255)
    preparation, seen = Preparation(16, "masked", Lungs()), []
    for _ in range(2):
        prepare(
            manifest_of(paths), preparation, cache=folder, progress=lambda *step: seen.append(step)
        )
    assert seen == [*((i, 9) for i in range(10)), (9, 9)]


def test_memory_is_bounded_by_a_batch_and_batches_are_merged(
    paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 4 * 2 * 16 * 16)
    prepared = prepare(manifest_of(paths), Preparation(16, "masked", Lungs()), cache=folder)
    np.testing.assert_array_equal(prepared.pixels, expected(paths, "masked"))
    assert len(list(folder.rglob("*.pack"))) == 2
    assert list(folder.rglob("*.batch")) == []


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_killed_and_prepared_again_the_cache_holds_the_same_files(
    paths: list[Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 4 * 2 * 16 * 16)
    manifest, preparation = manifest_of(paths), Preparation(16, "masked", Lungs())
    prepare(manifest, preparation, cache=folder)
    put_away, written = Packs.put_away, []

    def killed(self: Packs, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(rows)
        return put_away(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Packs, "put_away", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(manifest, preparation, cache=tmp_path / "again")
    again = prepare(manifest, preparation, cache=tmp_path / "again")
    np.testing.assert_array_equal(again.pixels, expected(paths, "masked"))
    one, two = (
        {p.relative_to(root): p.read_bytes() for p in root.glob("*-d*/*")}
        for root in (folder, tmp_path / "again")
    )
    assert one == two


def test_a_mask_that_breaks_its_word_is_named(paths: list[Path], folder: Path) -> None:
    class Wrong(Lungs):
        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return np.zeros((SIZE, SIZE + 1), np.uint8)

    with pytest.raises(CacheError, match=r"preparation 'lungs-1' made uint8 \(32, 33\)"):
        prepare(manifest_of(paths), Preparation(16, "masked", Wrong()), cache=folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 3}'])
def test_a_damaged_memory_of_refusals_is_ignored(
    paths: list[Path], folder: Path, text: str
) -> None:
    write_image(paths[4], 4, corner=255)
    preparation = Preparation(16, "masked", Lungs())
    prepare(manifest_of(paths), preparation, cache=folder)
    (memory,) = folder.rglob("refused.json")
    memory.write_text(text)
    assert list(prepare(manifest_of(paths), preparation, cache=folder).failures) == ["4.png"]


def test_refusals_of_two_processes_are_joined(tmp_path: Path) -> None:
    one, other = Refusals(tmp_path), Refusals(tmp_path)
    one.put_away({"a": LungsNotFoundError("because")})
    other.put_away({"b": LungsNotFoundError("so")})
    again = Refusals(tmp_path)
    assert str(again.error("a", "x.png")) == "x.png: because"
    assert str(again.error("b", "y.png")) == "y.png: so"
    assert again.error("c", "z.png") is None


def test_refusals_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CacheError, match=r"refused\.json.*set HURDLES_CACHE"):
        Refusals(tmp_path / "file").put_away({"a": LungsNotFoundError("because")})


def test_a_prepared_set_carries_its_failures_to_another_process(
    paths: list[Path], folder: Path
) -> None:
    write_image(paths[4], 4, corner=255)
    prepared = prepare(manifest_of(paths), Preparation(16, "masked", Lungs()), cache=folder)
    again: Prepared = pickle.loads(pickle.dumps(prepared))
    error: ImageError = again.failures["4.png"]
    assert (type(error), error.path) == (LungsNotFoundError, paths[4])


def test_the_phantoms_true_lungs_through_the_cache(tmp_path: Path, folder: Path) -> None:
    """Planted masks, found by the pixels they belong to, come out where they were planted."""
    cohort: Cohort = phantom_cohort(4, seed=3, size=64)
    write_phantom(tmp_path / "phantom", 4, seed=3, size=64)
    manifest = Manifest.load(tmp_path / "phantom" / "manifest.csv")
    true = {cohort.pixels[i].tobytes(): cohort.masks[i] for i in range(len(cohort))}

    class Drawn(Lungs):
        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return true[np.rint(pixels * 255).astype(np.uint8).tobytes()]

    prepared = prepare(manifest, Preparation(64, "masked", Drawn(size=64)), cache=folder)
    assert len(prepared) == len(cohort)
    for made, mask in zip(prepared.pixels, cohort.masks, strict=True):
        assert (made[mask == 0] == 0).all()
        assert (made[mask > 0] > 0).mean() > 0.98
