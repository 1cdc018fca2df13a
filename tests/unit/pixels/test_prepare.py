"""One resizer, exact where nothing has to change, and keys that tell settings apart."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.errors import LungsNotFoundError, RecipeError, RegistryError
from hurdles.phantom import Cohort, phantom_cohort
from hurdles.pixels.prepare import (
    BLANK_MARGIN,
    CROP_MARGIN,
    PREPARATIONS,
    Preparation,
    Step,
    _row_weights,
    as_bytes,
    equalize,
    grown,
    resize_square,
)
from hurdles.recipe.recipe import Recipe


def area_mean(values: np.ndarray, size: int) -> np.ndarray:
    """Average rows, slowly and obviously: each result is the mean of the stretch it covers."""
    length = len(values)
    result = np.zeros((size, *values.shape[1:]))
    for i in range(size):
        start, end = i * length / size, (i + 1) * length / size
        for j in range(length):
            overlap = min(end, j + 1) - max(start, j)
            if overlap > 0:
                result[i] += values[j] * overlap / (length / size)
    return result


def linear(values: np.ndarray, size: int) -> np.ndarray:
    """Interpolate rows, slowly and obviously: pixels are points at their centres."""
    length = len(values)
    where = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
    low = np.minimum(where.astype(int), max(length - 2, 0))
    share = (where - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - share) + values[np.minimum(low + 1, length - 1)] * share


def axis(values: np.ndarray, size: int) -> np.ndarray:
    if len(values) == size:
        return values
    return (area_mean if len(values) > size else linear)(values, size)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_every_axis_is_averaged_where_it_shrinks_and_linear_where_it_grows(
    height: int, width: int, size: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    expected = axis(axis(pixels.astype(float), size).T, size).T
    np.testing.assert_allclose(resize_square(pixels, size), expected, atol=2e-5)


def assert_same_bits(ours: np.ndarray, theirs: np.ndarray) -> None:
    if platform.machine() in ("x86_64", "AMD64"):
        np.testing.assert_array_equal(ours, theirs)
    else:  # a compiler may round a product and its sum once
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 80, 224, 512])
def test_weights_of_areas_are_to_the_bit_those_of_opencv(size: int) -> None:
    pixels = np.random.default_rng(0).random((5 * size + 9, 3), dtype=np.float32)
    for height in range(size + 1, len(pixels), 1 + size // 50):
        part = pixels[:height]
        shrunk = cv2.resize(part, (3, size), interpolation=cv2.INTER_AREA)
        if height % size:
            assert_same_bits(_row_weights(height, size) @ part, shrunk)


@pytest.mark.parametrize("shape", [(1400, 1400), (672, 900), (3001, 225), (2048, 448), (500, 500)])
def test_large_images_shrink_to_the_bit_as_by_opencv(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = pixels
    for _ in range(2):
        rows = (expected.shape[1], 224)
        expected = cv2.resize(expected, rows, interpolation=cv2.INTER_AREA).T.copy()
    assert_same_bits(resize_square(pixels, 224), expected)


@given(hnp.arrays(np.uint8, (16, 16)))
@example(np.arange(256, dtype=np.uint8).reshape(16, 16))
@settings(max_examples=30, deadline=None)
def test_eight_bit_images_of_the_right_size_come_through_exactly(array: np.ndarray) -> None:
    preparation = Preparation(size=16)
    prepared = preparation(array / np.float32(255))
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, array)
    assert preparation.leaves(array)


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(15),
        Preparation(16, "equalized"),
        Preparation(16, framing="crop", fraction=0.5),
        Preparation(16, resize="bilinear"),
    ],
)
def test_bytes_are_left_only_where_nothing_is_done(preparation: Preparation) -> None:
    assert not preparation.leaves(np.zeros((16, 16), np.uint8))
    assert not Preparation(16).leaves(np.zeros((16, 16), np.float32))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (224, 224), (3000, 100)])
@pytest.mark.parametrize("value", [0, 100, 255])
def test_flat_stays_flat(shape: tuple[int, int], value: int) -> None:
    prepared = Preparation()(np.full(shape, value / 255, dtype=np.float32))
    assert prepared.shape == (224, 224)
    np.testing.assert_array_equal(prepared, value)


def test_values_are_rounded_to_the_nearest_and_kept_in_range() -> None:
    pixels = np.array([[0.5019, 0.5021], [-0.1, 1.1]], dtype=np.float32)
    assert Preparation(size=2)(pixels).tolist() == [[128, 128], [0, 255]]


def test_the_input_is_left_alone() -> None:
    pixels = np.random.default_rng(0).random((30, 20), dtype=np.float32)
    before = pixels.copy()
    pixels.setflags(write=False)
    Preparation(size=20)(pixels)
    np.testing.assert_array_equal(pixels, before)


def test_keys_tell_settings_apart_and_are_stable() -> None:
    assert Preparation().key == "raw-224px-v1"
    assert Preparation(size=128).key != Preparation().key


def test_a_new_preparation_is_registered_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    negative = Step(lambda view: replace(view, pixels=1 - view.pixels), version=3)
    monkeypatch.setitem(PREPARATIONS._items, "negative", (negative,))
    prepare = Preparation(size=2, name="negative")
    assert prepare.key == "negative-2px-v1.3"
    assert prepare(np.array([[0, 1], [0.2, 0.4]], np.float32)).tolist() == [[255, 0], [204, 153]]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RegistryError, match=r"no preparation is called 'rwa'.*Known: raw"):
        Preparation(name="rwa")


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Preparation(size=0)


# --- preparations that look at the lungs ---------------------------------------------------------

NAMES = PREPARATIONS.names()
LUNGS = [n for n in NAMES if {"cropped", "masked", "background"} & set(n.split("+"))]
SIZE = 128


@dataclass(frozen=True)
class Planted:
    """Finds the lungs where they were drawn."""

    mask: np.ndarray
    key: str = "planted"
    size: int = SIZE

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return self.mask


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return phantom_cohort(6, seed=5, size=SIZE)


def prepared(name: str, image: np.ndarray, mask: np.ndarray, size: int = SIZE) -> np.ndarray:
    return Preparation(size, name, Planted(mask))(image / np.float32(255))


def changed(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Other pixels there: inverted, so that their mean, range and texture differ."""
    return np.where(where, 255 - image, image)


def test_the_names_are_those_of_the_published_design_and_their_sensible_extensions() -> None:
    asked = "raw equalized clahe cropped masked background equalized+cropped equalized+masked"
    assert set(asked.split()) | {"clahe+cropped", "clahe+masked"} <= set(NAMES)
    steps = {part for name in NAMES for part in name.split("+")}
    sentence = Recipe.explanations()["preparation.name"]
    assert [step for step in steps if step not in sentence] == []
    page = (Path(__file__).parents[3] / "docs" / "preparations.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_name_gives_bytes_and_leaves_its_input_alone(name: str, cohort: Cohort) -> None:
    results = []
    for image, mask in zip(cohort.pixels[:4], cohort.masks[:4], strict=True):
        pixels = image / np.float32(255)
        pixels.setflags(write=False)
        made = Preparation(96, name, Planted(mask))(pixels)
        assert (made.shape, made.dtype) == ((96, 96), np.uint8)
        assert made.std() > 5
        results.append(made)
    assert not np.array_equal(results[0], results[1])


def test_every_name_gives_another_picture(cohort: Cohort) -> None:
    made = {n: prepared(n, cohort.pixels[0], cohort.masks[0]).tobytes() for n in NAMES}
    assert len(set(made.values())) == len(NAMES)


def test_only_names_that_need_lungs_look_for_them(cohort: Cohort) -> None:
    class Never(Planted):
        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            raise AssertionError("looked for lungs")

    for name in NAMES:
        preparation = Preparation(SIZE, name, Never(cohort.masks[0]))
        assert (preparation.beneath is not None) == (name in LUNGS)
        if name in LUNGS:
            with pytest.raises(RecipeError, match="needs the lungs, and nothing was given"):
                Preparation(SIZE, name)
        else:
            preparation(cohort.pixels[0] / np.float32(255))


def test_the_key_holds_the_steps_and_what_finds_the_lungs(cohort: Cohort) -> None:
    one, other = (Planted(cohort.masks[0], key=k) for k in ("lungs-aa", "lungs-bb"))
    assert Preparation(64, "equalized+masked", one).key == "equalized+masked-64px-v1.1.1-lungs-aa"
    keys = {Preparation(64, n, p).key for n in NAMES for p in (one, other)}
    assert len(keys) == len(NAMES) + len(LUNGS)


def test_masks_come_as_what_lies_beneath_or_as_the_second_argument(cohort: Cohort) -> None:
    pixels = cohort.pixels[0] / np.float32(255)
    preparation = Preparation(64, "masked", Planted(cohort.masks[0]))
    np.testing.assert_array_equal(preparation(pixels), preparation(pixels, cohort.masks[0]))
    assert not np.array_equal(preparation(pixels), preparation(pixels, cohort.masks[1]))


@pytest.mark.parametrize("name", ["masked", "masked+equalized", "masked+cropped"])
def test_masked_holds_nothing_of_the_outside(name: str, cohort: Cohort) -> None:
    for image, mask in zip(cohort.pixels, cohort.masks, strict=True):
        other = changed(image, mask == 0)
        np.testing.assert_array_equal(prepared(name, image, mask), prepared(name, other, mask))
        inside = changed(image, mask > 0)
        assert not np.array_equal(prepared(name, image, mask), prepared(name, inside, mask))


@pytest.mark.parametrize("name", ["background", "background+equalized"])
def test_background_holds_nothing_of_the_inside(name: str, cohort: Cohort) -> None:
    for image, mask in zip(cohort.pixels, cohort.masks, strict=True):
        other = changed(image, mask > 0)
        np.testing.assert_array_equal(prepared(name, image, mask), prepared(name, other, mask))
        assert len(np.unique(prepared(name, image, mask)[mask > 0])) == 1


def test_background_takes_the_rim_of_the_lungs_too(cohort: Cohort) -> None:
    """A mask that ends two pixels inside the lungs leaves nothing of them all the same."""
    image, mask = cohort.pixels[0], cohort.masks[0]
    tight = cv2.erode(mask, np.ones((5, 5), np.uint8))
    rim = (mask > 0) & (tight == 0) & (cv2.dilate(tight, np.ones((5, 5), np.uint8)) > 0)
    assert rim.mean() > 0.02
    other = changed(image, rim)
    found = [prepared("background", each, tight) for each in (image, other)]
    np.testing.assert_array_equal(*found)


def test_equalizing_first_lets_the_outside_through_a_little(cohort: Cohort) -> None:
    """The documented weakness of the published order; `masked+equalized` is the way round it."""
    image, mask = cohort.pixels[0], cohort.masks[0]
    outside = changed(image, mask == 0)
    name = "equalized+masked"
    assert not np.array_equal(prepared(name, image, mask), prepared(name, outside, mask))


def test_equalizing_second_counts_only_what_is_left(cohort: Cohort) -> None:
    image, mask = cohort.pixels[0], cohort.masks[0]
    left = ~grown(mask > 0, BLANK_MARGIN)
    made = prepared("background+equalized", image, mask)[left]
    expected = equalize(image / np.float32(255), left)[left] * 255
    assert np.abs(made - expected).max() <= 0.51
    made = prepared("masked+equalized", image, mask)[mask > 0]
    share, _ = np.histogram(made, bins=4, range=(0, 256))
    np.testing.assert_allclose(share / made.size, 0.25, atol=0.03)


def test_masked_is_the_image_times_the_mask_in_the_lungs_own_range(cohort: Cohort) -> None:
    image, mask = cohort.pixels[1], cohort.masks[1] > 0
    made = prepared("masked", image, cohort.masks[1])
    assert (made[~mask] == 0).all()
    low, high = np.percentile(image[mask], (0.5, 99.5))
    expected = np.clip((image[mask] - low) / (high - low), 0, 1) * 255
    assert np.abs(made[mask] - expected).max() < 1


def test_background_is_filled_with_the_mean_of_the_outside(cohort: Cohort) -> None:
    image, blank = cohort.pixels[1], grown(cohort.masks[1] > 0, BLANK_MARGIN)
    made = prepared("background", image, cohort.masks[1])
    np.testing.assert_array_equal(made[~blank], image[~blank])
    assert set(made[blank].tolist()) == {round(image[~blank].mean())}
    assert 1.05 < blank.sum() / (cohort.masks[1] > 0).sum() < 1.5


def test_cropped_is_the_box_and_its_margin(cohort: Cohort) -> None:
    image, mask = cohort.pixels[2], cohort.masks[2]
    rows, columns = np.nonzero(mask)
    edges = []
    for places in (rows, columns):
        first, last = places.min(), places.max() + 1
        more = int(np.ceil(CROP_MARGIN * (last - first)))
        edges.append(slice(max(0, first - more), min(SIZE, last + more)))
    crop = image[edges[0], edges[1]] / np.float32(255)
    np.testing.assert_array_equal(prepared("cropped", image, mask, 64), Preparation(64)(crop))
    assert crop.size < 0.9 * image.size
    # Equalized before it is cut out: the published order.
    first = equalize(image / np.float32(255))[edges[0], edges[1]]
    found = prepared("equalized+cropped", image, mask, 64)
    np.testing.assert_array_equal(found, Preparation(64)(first))


def test_a_mask_is_stretched_to_an_image_of_any_shape(cohort: Cohort) -> None:
    tall = np.repeat(cohort.pixels[0], 3, axis=0)
    made = prepared("masked", tall, cohort.masks[0])
    plain = prepared("masked", cohort.pixels[0], cohort.masks[0])
    assert np.abs(made.astype(int) - plain).mean() < 3


def test_a_mask_with_nothing_around_it_leaves_no_background(cohort: Cohort) -> None:
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    mask[:2] = 0
    with pytest.raises(LungsNotFoundError, match="nothing lies outside the mask"):
        prepared("background", cohort.pixels[0], mask)
    assert prepared("masked", cohort.pixels[0], mask).std() > 5


@pytest.mark.parametrize("name", LUNGS)
@pytest.mark.parametrize("value", [0, 255])
def test_no_lungs_or_nothing_but_lungs_is_refused(name: str, value: int, cohort: Cohort) -> None:
    with pytest.raises(LungsNotFoundError, match=r"lungs were not found: .*mask.*'raw'"):
        prepared(name, cohort.pixels[0], np.full((SIZE, SIZE), value, np.uint8))


def test_bytes_are_rounded_as_numpy_rounds_them():
    halves = ((np.arange(255) + 0.5) / 255).astype(np.float32)
    near = [halves.view(np.int32) + step for step in range(-3, 4)]
    drawn = np.random.default_rng(0).random(250 * 250 - 7 * 255 - 2, dtype=np.float32)
    pixels = np.concatenate([*(n.view(np.float32) for n in near), drawn, np.float32([0, 1])])
    square = pixels.reshape(250, 250)
    expected = np.rint(square * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(as_bytes(square, 250), expected)
