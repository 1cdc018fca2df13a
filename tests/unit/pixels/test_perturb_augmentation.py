"""Augmentation: drawn first, applied without chance, and never telling a class by its corners."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.pixels.perturb import DRAW, apply_draws, draw, inner_scale


def some_pixels(n: int = 4, size: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), dtype=np.uint8)


def draws_of(*rows: tuple[int, bool, float], **others: float) -> np.ndarray:
    """Return draws of position, flip and degrees; `others` are the same in each."""
    made = np.zeros(len(rows), dtype=DRAW)
    for name, column in zip(("position", "flip", "degrees"), zip(*rows, strict=True), strict=True):
        made[name] = column
    for name, value in others.items():
        made[name] = value
    return made


def moved_slowly(
    image: np.ndarray, degrees: float, right: float = 0.0, down: float = 0.0, growth: float = 0.0
) -> np.ndarray:
    """Turn and enlarge about the centre, then shift, pixel by pixel, as float: the obvious way."""
    size = image.shape[0]
    centre, angle = (size - 1) / 2, math.radians(degrees)
    scale = (abs(math.cos(angle)) + abs(math.sin(angle))) * (1 + growth)
    edge = mirrored if right or down else held
    out = np.empty((size, size))
    for y in range(size):
        for x in range(size):
            dx, dy = (x - right * size - centre) / scale, (y - down * size - centre) / scale
            # Counter-clockwise on a screen, whose y points down; this is the way back.
            u = centre + math.cos(angle) * dx - math.sin(angle) * dy
            v = centre + math.sin(angle) * dx + math.cos(angle) * dy
            i, j = math.floor(v), math.floor(u)
            a, b = v - i, u - j
            rows, columns = [edge(n, size) for n in (i, i + 1)], [edge(n, size) for n in (j, j + 1)]
            (p, q), (r, s) = ([float(image[n, m]) for m in columns] for n in rows)
            out[y, x] = (1 - a) * ((1 - b) * p + b * q) + a * ((1 - b) * r + b * s)
    return out


def held(n: int, size: int) -> int:
    return min(max(n, 0), size - 1)


def mirrored(n: int, size: int) -> int:
    n = abs(n) % (2 * size - 2)
    return n if n < size else 2 * size - 2 - n


def smooth_image() -> np.ndarray:
    ramp = np.add.outer(np.arange(32) * 3, np.arange(32) * 4)
    blob = 90 * np.exp(-((np.arange(32) - 9.0) ** 2) / 30)
    return (ramp + blob[:, None]).clip(0, 255).astype(np.uint8)


def turned_as_published(image: np.ndarray, degrees: float) -> np.ndarray:
    """What the results of Lázaro and Barco 2020 were computed with, before there were shifts."""
    import cv2

    size = image.shape[0]
    centre = ((size - 1) / 2, (size - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, inner_scale(degrees))
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    return cv2.warpAffine(image, matrix, (size, size), flags=flags, borderMode=border)


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
        image = smooth_image()
        made = apply_draws(image[None], draws_of((0, flip, degrees)))[0]
        slow = moved_slowly(image, degrees)
        slow = slow[:, ::-1] if flip else slow
        # OpenCV places samples on a grid of 1/32 pixel; the steepest slope here is about 9 levels.
        assert np.abs(made - slow).max() <= 1.5

    @pytest.mark.parametrize("degrees", [0.0, -1.0, 12.0])
    @pytest.mark.parametrize(
        ("right", "down", "growth"),
        [(0.1, 0, 0), (0, -0.07, 0), (0.13, 0.21, 0.1), (0, 0, 0.4), (-0.5, 0.5, 0.0)],
    )
    def test_moves_in_one_agree_with_the_slow_twin(self, degrees, right, down, growth):
        image = smooth_image()
        made = apply_draws(
            image[None],
            draws_of((0, False, degrees), shift_x=right, shift_y=down, growth=growth),
        )[0]
        assert np.abs(made - moved_slowly(image, degrees, right, down, growth)).max() <= 1.5

    @given(degrees=st.floats(-45, 45, width=32), seed=st.integers(0, 20))
    def test_a_rotation_alone_is_what_it_was_to_the_last_bit(self, degrees, seed):
        image = some_pixels(1, 33, seed)
        made = apply_draws(image, draws_of((0, False, degrees)))[0]
        twin = turned_as_published(image[0], degrees) if degrees else image[0]
        np.testing.assert_array_equal(made, twin)

    def test_a_shift_by_whole_pixels_moves_them(self):
        pixels = some_pixels(1, 16)
        made = apply_draws(pixels, draws_of((0, False, 0.0), shift_x=2 / 16, shift_y=-3 / 16))[0]
        np.testing.assert_array_equal(made[:13, 2:], pixels[0, 3:, :14])
        np.testing.assert_array_equal(made[:13, :2], pixels[0, 3:, 2:0:-1])  # mirrored

    def test_growth_enlarges_about_the_centre(self):
        image = np.zeros((1, 65, 65), dtype=np.uint8)
        image[0, 22:43, 22:43] = 255
        made = apply_draws(image, draws_of((0, False, 0.0), growth=0.5))[0] > 128
        assert made.sum() == pytest.approx(1.5**2 * 21**2, rel=0.05)
        assert (made == made[::-1, ::-1]).all()

    @given(
        contrast=st.floats(-0.875, 0.875, width=32),
        brightness=st.floats(-0.5, 0.5, width=32),
        flip=st.booleans(),
    )
    def test_tones_agree_with_the_slow_twin(self, contrast, brightness, flip):
        pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
        draws = draws_of((0, flip, 0.0), contrast=contrast, brightness=brightness)
        made = apply_draws(pixels, draws)[0]
        made = made[:, ::-1] if flip else made
        for value, found in zip(pixels[0].ravel().tolist(), made.ravel().tolist(), strict=True):
            slow = 127.5 + (1 + contrast) * (value - 127.5) + 255 * brightness
            assert abs(found - min(max(slow, 0), 255)) <= 0.5 + 1e-6

    @given(contrast=st.floats(-0.9, 0.9), brightness=st.floats(-0.9, 0.9))
    def test_tones_keep_their_order(self, contrast, brightness):
        pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
        draws = draws_of((0, False, 0.0), contrast=contrast, brightness=brightness)
        assert (np.diff(apply_draws(pixels, draws).ravel().astype(int)) >= 0).all()

    def test_a_second_flip_undoes_the_first(self):
        pixels, flip = some_pixels(), draws_of(*((n, True, 0.0) for n in range(4)))
        np.testing.assert_array_equal(apply_draws(apply_draws(pixels, flip), flip), pixels)

    def test_zeros_alter_nothing(self):
        made = np.zeros(4, dtype=DRAW)
        made["position"] = [3, 1, 0, 2]
        np.testing.assert_array_equal(apply_draws(some_pixels(), made), some_pixels()[[3, 1, 0, 2]])

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

    def test_no_draws_make_no_images(self):
        assert apply_draws(some_pixels(), np.zeros(0, dtype=DRAW)).shape == (0, 24, 24)


SETTINGS = {"flip": 0.5, "rotation": 0.5, "degrees": 15.0}


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

    def test_what_is_new_leaves_the_old_numbers_alone(self):
        old = draw(np.arange(50), np.random.default_rng(3), **SETTINGS)
        rng = np.random.default_rng(3)
        new = draw(np.arange(50), rng, **SETTINGS, shift=0.1, scale=1.2, contrast=0.3)
        for name in ("position", "flip", "degrees"):
            assert (old[name] == new[name]).all()

    def test_what_has_no_range_draws_nothing(self):
        rngs = [np.random.default_rng(3) for _ in range(2)]
        made = draw(np.arange(50), rngs[0], **SETTINGS)
        neutral = draw(np.arange(50), rngs[1], **SETTINGS, shift=0.0, scale=1.0, contrast=0.0)
        assert (made == neutral).all()
        assert rngs[0].random() == rngs[1].random()
        # Two probabilities and an angle for each image, and no number more.
        left = np.random.default_rng(3)
        left.random(150)
        rng = np.random.default_rng(3)
        draw(np.arange(50), rng, **SETTINGS)
        assert rng.random() == left.random()

    @given(shift=st.floats(0.01, 0.5), scale=st.floats(1.01, 2), contrast=st.floats(0.01, 0.9))
    def test_each_image_is_altered_within_the_ranges(self, shift, scale, contrast):
        rng = np.random.default_rng(0)
        made = draw(
            np.zeros(400, int), rng, **SETTINGS, shift=shift, scale=scale, contrast=contrast
        )
        for name, low, high in (
            ("shift_x", -shift, shift),
            ("shift_y", -shift, shift),
            ("growth", 0.0, scale - 1),
            ("contrast", -contrast, contrast),
            ("brightness", -contrast, contrast),
        ):
            span = high - low
            assert low - 1e-6 <= made[name].min() < low + 0.05 * span
            assert high - 0.05 * span < made[name].max() <= high + 1e-6
        assert (made["shift_x"] != made["shift_y"]).any()
        assert (made["contrast"] != made["brightness"]).any()

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
