"""Shortcuts planted into images that exist do what the phantoms' own shortcuts do."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hurdles.errors import RegistryError
from hurdles.phantom import SHORTCUTS, Cohort, Shortcut, phantom_cohort
from hurdles.pixels.perturb import PLANTS, plant

CLASSES = ("Normal A", "Normal B")


@cache
def drawn(name: str, rate: float) -> Cohort:
    """The same patients, the shortcut present in all of them (rate 1) or in none (rate 0)."""
    shortcut = Shortcut(name, 0.0, target=CLASSES[0], base_rate=rate)
    return phantom_cohort(10, seed=5, size=96, classes=CLASSES, shortcut=shortcut)


@cache
def usual() -> Cohort:
    return phantom_cohort(10, seed=5, size=96, classes=CLASSES)


def everywhere(pixels: np.ndarray) -> np.ndarray:
    return np.ones(len(pixels), dtype=bool)


def detail(pixels: np.ndarray) -> float:
    """Deviation of what differs between neighbours, away from the borders."""
    inner = pixels[:, 20:-8, 8:-8].astype(float)
    return float(np.diff(inner, axis=2).std())


def test_everything_that_is_planted_is_a_shortcut_of_the_phantoms():
    assert set(PLANTS) <= set(SHORTCUTS)
    assert set(SHORTCUTS) - set(PLANTS) == {"body-size", "hospital"}


@pytest.mark.parametrize("name", ["jpeg", "inversion", "marker"])
def test_what_comes_last_in_a_phantom_is_planted_to_the_byte(name):
    without, with_it = drawn(name, 0.0).pixels, drawn(name, 1.0).pixels
    np.testing.assert_array_equal(plant(name, without, everywhere(without)), with_it)


@pytest.mark.parametrize(
    ("name", "apart"), [("blur", 0.15), ("noise", 0.25), ("brightness", 0.2), ("border", 0.3)]
)
def test_what_comes_earlier_in_a_phantom_is_planted_nearly_so(name, apart):
    """Planted images lie far nearer to the phantoms with the shortcut than those without it."""
    without, with_it = drawn(name, 0.0).pixels, drawn(name, 1.0).pixels
    source = usual().pixels if name == "brightness" else without
    made = plant(name, source, everywhere(source))
    if name in ("blur", "noise"):
        change, wanted = (detail(p) - detail(without) for p in (made, with_it))
    else:
        change, wanted = (p.astype(float).mean() - source.mean() for p in (made, with_it))
    assert change == pytest.approx(wanted, rel=apart)


def test_brightness_darkens_where_it_is_absent():
    images = usual().pixels
    absent = plant("brightness", images, ~everywhere(images))
    wanted = drawn("brightness", 0.0).pixels
    change, expected = (p.mean() - images.mean() for p in (absent, wanted))
    assert change < 0
    assert change == pytest.approx(expected, rel=0.3)


@pytest.mark.parametrize("name", sorted(set(PLANTS) - {"brightness"}))
def test_where_it_is_absent_the_image_stays(name):
    images = usual().pixels[:4]
    present = np.array([True, False, True, False])
    made = plant(name, images, present)
    np.testing.assert_array_equal(made[1::2], images[1::2])
    assert (made[::2] != images[::2]).any(axis=(1, 2)).all()


@pytest.mark.parametrize("name", PLANTS.names())
def test_planting_is_deterministic_and_leaves_its_argument_alone(name):
    images = usual().pixels[:4].copy()
    images.flags.writeable = False  # as a memory map is
    one, two = (plant(name, images, everywhere(images), seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[:2], plant(name, images[:2], everywhere(images)[:2], seed=3))
    assert one.dtype == np.uint8


def test_noise_and_borders_follow_the_seed():
    images = usual().pixels[:3]
    for name in ("noise", "border"):
        one, two = (plant(name, images, everywhere(images), seed=s) for s in (0, 1))
        assert (one != two).any(axis=(1, 2)).any()


def test_an_unknown_name_lists_what_can_be_planted():
    with pytest.raises(RegistryError, match=r"body-size.*Known: marker"):
        plant("body-size", np.zeros((1, 64, 64), np.uint8), np.array([True]))


def test_each_image_needs_its_answer():
    with pytest.raises(ValueError, match=r"2 images.*one truth value"):
        plant("blur", np.zeros((2, 64, 64), np.uint8), np.array([True]))
