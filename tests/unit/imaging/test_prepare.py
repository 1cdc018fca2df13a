"""One resizer, exact where nothing has to change, and keys that tell settings apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hurdles.errors import RegistryError
from hurdles.imaging.prepare import PREPARATIONS, Preparation, resize_square


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


@given(hnp.arrays(np.uint8, (16, 16)))
@settings(max_examples=30, deadline=None)
def test_eight_bit_images_of_the_right_size_come_through_exactly(array: np.ndarray) -> None:
    prepared = Preparation(size=16)(array / np.float32(255))
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, array)


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
    monkeypatch.setitem(PREPARATIONS._items, "negative", lambda pixels: 1 - pixels)
    prepare = Preparation(size=2, name="negative")
    assert prepare.key == "negative-2px-v1"
    assert prepare(np.array([[0, 1], [0.2, 0.4]], np.float32)).tolist() == [[255, 0], [204, 153]]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RegistryError, match=r"no preparation is called 'rwa'.*Known: raw"):
        Preparation(name="rwa")


def test_a_size_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        Preparation(size=0)
