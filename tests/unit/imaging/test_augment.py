"""Augmentation: drawn first, applied without chance, and never telling a class by its corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.imaging.augment import DRAW, apply_draws, draw, inner_scale


def some_pixels(n: int = 4, size: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), dtype=np.uint8)


def draws_of(*rows: tuple[int, bool, float]) -> np.ndarray:
    return np.array(list(rows), dtype=DRAW)


def turned_slowly(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn and enlarge about the centre, pixel by pixel, as float: the obvious way."""
    size = image.shape[0]
    centre, angle = (size - 1) / 2, math.radians(degrees)
    scale = abs(math.cos(angle)) + abs(math.sin(angle))
    out = np.empty((size, size))
    for y in range(size):
        for x in range(size):
            dx, dy = (x - centre) / scale, (y - centre) / scale
            # Counter-clockwise on a screen, whose y points down; this is the way back.
            u = np.clip(centre + math.cos(angle) * dx - math.sin(angle) * dy, 0, size - 1)
            v = np.clip(centre + math.sin(angle) * dx + math.cos(angle) * dy, 0, size - 1)
            i, j = min(int(v), size - 2), min(int(u), size - 2)
            a, b = v - i, u - j
            top = (1 - b) * image[i, j] + b * image[i, j + 1]
            bottom = (1 - b) * image[i + 1, j] + b * image[i + 1, j + 1]
            out[y, x] = (1 - a) * top + a * bottom
    return out


class TestApply:
    def test_no_alteration_gives_the_same_bytes(self):
        pixels = some_pixels()
        made = apply_draws(pixels, draws_of((2, False, 0.0), (0, False, 0.0), (2, False, 0.0)))
        np.testing.assert_array_equal(made, pixels[[2, 0, 2]])

    def test_a_flip_is_left_to_right(self):
        pixels = some_pixels()
        made = apply_draws(pixels, draws_of((1, True, 0.0)))[0]
        for y in range(pixels.shape[1]):
            assert made[y].tolist() == pixels[1][y].tolist()[::-1]

    @pytest.mark.parametrize("degrees", [-15.0, -3.5, 0.5, 7.0, 15.0, 45.0])
    @pytest.mark.parametrize("flip", [False, True])
    def test_a_rotation_agrees_with_the_slow_twin(self, degrees, flip):
        ramp = np.add.outer(np.arange(32) * 3, np.arange(32) * 4)
        blob = 90 * np.exp(-((np.arange(32) - 9.0) ** 2) / 30)
        image = (ramp + blob[:, None]).clip(0, 255).astype(np.uint8)
        made = apply_draws(image[None], draws_of((0, flip, degrees)))[0]
        slow = turned_slowly(image, degrees)
        slow = slow[:, ::-1] if flip else slow
        # OpenCV places samples on a grid of 1/32 pixel; the steepest slope here is about 9 levels.
        assert np.abs(made - slow).max() <= 1.5

    def test_a_rotation_is_counter_clockwise(self):
        image = np.zeros((65, 65), dtype=np.uint8)
        image[30:35, 50:60] = 255  # to the right of the centre
        made = apply_draws(image[None], draws_of((0, False, 30.0)))[0]
        rows, _ = np.nonzero(made > 128)
        assert rows.mean() < 28  # and now above it

    @given(degrees=st.floats(-45, 45, width=32), value=st.integers(1, 255), flip=st.booleans())
    def test_no_corner_is_ever_empty(self, degrees, value, flip):
        image = np.full((1, 31, 31), value, dtype=np.uint8)
        assert (apply_draws(image, draws_of((0, flip, degrees))) == value).all()

    @given(degrees=st.floats(-45, 45, width=32), size=st.sampled_from([16, 31, 64]))
    def test_nothing_from_beyond_the_edge_is_seen(self, degrees, size):
        """A frame around the image would show wherever the turned square is left."""
        grown = inner_scale(degrees)
        centre, half, angle = (size - 1) / 2, (size - 1) / 2 / grown, math.radians(degrees)
        for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
            u = centre + half * (x * math.cos(angle) - y * math.sin(angle))
            v = centre + half * (x * math.sin(angle) + y * math.cos(angle))
            assert -1e-6 <= u <= size - 1 + 1e-6
            assert -1e-6 <= v <= size - 1 + 1e-6

    def test_the_inputs_stay_as_they_are(self):
        pixels = some_pixels()
        pixels.setflags(write=False)
        draws = draws_of((0, True, 11.0), (3, True, 0.0))
        before = draws.copy()
        apply_draws(pixels, draws)
        assert (draws == before).all()

    def test_out_is_filled_and_returned(self):
        pixels, draws = some_pixels(), draws_of((0, True, 11.0), (3, False, 0.0))
        out = np.zeros((2, 24, 24), dtype=np.uint8)
        assert apply_draws(pixels, draws, out) is out
        np.testing.assert_array_equal(out, apply_draws(pixels, draws))

    def test_no_draws_make_no_images(self):
        assert apply_draws(some_pixels(), np.zeros(0, dtype=DRAW)).shape == (0, 24, 24)


class TestDraw:
    def test_the_same_seed_draws_the_same(self):
        settings = {"flip": 0.5, "rotation": 0.5, "degrees": 15.0}
        one, two, other = (
            draw(np.arange(50), np.random.default_rng(s), **settings) for s in (3, 3, 4)
        )
        assert (one == two).all()
        assert (one != other).any()

    def test_positions_are_kept_in_order(self):
        positions = np.array([7, 3, 3, 9])
        made = draw(positions, np.random.default_rng(0), flip=1, rotation=1, degrees=5)
        assert made["position"].tolist() == [7, 3, 3, 9]

    @pytest.mark.parametrize(("flip", "rotation"), [(0.7, 0.2), (0.1, 0.7), (0.5, 0.5)])
    def test_alterations_are_as_frequent_as_asked(self, flip, rotation):
        n = 20_000
        made = draw(
            np.zeros(n, int), np.random.default_rng(0), flip=flip, rotation=rotation, degrees=15
        )
        turned = made["degrees"] != 0
        # Five standard errors of a share are at most 5 * sqrt(1/4 / n) = 0.018.
        assert abs(made["flip"].mean() - flip) < 0.018
        assert abs(turned.mean() - rotation) < 0.018
        assert abs((made["flip"] & turned).mean() - flip * rotation) < 0.018
        degrees = made["degrees"][turned]
        assert -15 <= degrees.min() < -14.9
        assert 14.9 < degrees.max() <= 15
        assert abs(degrees.mean()) < 5 * 30 / math.sqrt(12 * turned.sum())

    def test_never_and_always(self):
        rng = np.random.default_rng(0)
        never = draw(np.arange(100), rng, flip=0, rotation=0, degrees=15)
        always = draw(np.arange(100), rng, flip=1, rotation=1, degrees=15)
        assert not never["flip"].any()
        assert not never["degrees"].any()
        assert always["flip"].all()
        assert (always["degrees"] != 0).all()


def test_the_scale_of_a_quarter_of_a_right_angle():
    assert inner_scale(45) == pytest.approx(math.sqrt(2))
    assert inner_scale(-20) == inner_scale(20)
