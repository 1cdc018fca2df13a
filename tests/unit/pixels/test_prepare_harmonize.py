"""Two hospitals' renderings of one phantom come together, and phantoms stay apart."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.phantom import draw_cohort, render
from hurdles.phantom.parameters import draw_hospital, draw_image
from hurdles.pixels.prepare import (
    ENERGIES,
    GRAYS,
    SIDE,
    Preparation,
    band_energies,
    gray_quantiles,
    harmonize,
)

PATIENTS = 5


def rendered(case, hospital: int, size: int = 160) -> np.ndarray:
    """Return a patient as the equipment of a hospital shows it, in float32 within [0, 1]."""
    patient = replace(case.patient, hospital=hospital)
    image = draw_image(3, patient, 0, draw_hospital(3, hospital))
    plain = replace(image, marker="", border=(0.0, 0.0, 0.0, 0.0))
    return render(patient, plain, size=size).pixels / np.float32(255)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(rendered(c, 0), rendered(c, 2)) for c in draw_cohort(PATIENTS, seed=3)]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)) / np.std(a))


def test_two_hospitals_come_together_and_two_patients_do_not(pairs) -> None:
    before = np.mean([apart(a, b) for a, b in pairs])
    after = np.mean([apart(harmonize(a), harmonize(b)) for a, b in pairs])
    assert before > 0.1
    assert after < 0.15 * before
    patients = [harmonize(a) for a, _ in pairs]
    assert min(apart(a, b) for a, b in pairwise(patients)) > 20 * after


def test_texture_is_evened_out_band_by_band(pairs) -> None:
    def gaps(pair):
        one, two = (np.array(list(band_energies(image).values())) for image in pair)
        return np.abs(np.log(one / two))

    raw = np.mean([gaps(pair) for pair in pairs], axis=0)
    made = np.mean([gaps([harmonize(image) for image in pair]) for pair in pairs], axis=0)
    assert (made < 0.3 * raw).all()
    assert raw[0] > 0.1, "the equipment must leave something to even out"


@pytest.mark.parametrize(("fault", "left"), [("blur", 0.2), ("noise", 0.6)])
def test_blur_and_noise_are_taken_back_in_part(pairs, fault: str, left: float) -> None:
    """Without the step on texture, equal ranks would leave both as they are."""
    import cv2

    rng, image = np.random.default_rng(0), pairs[0][0]
    other = (
        cv2.GaussianBlur(image, (0, 0), 0.8)
        if fault == "blur"
        else np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1).astype(np.float32)
    )
    finest = min(band_energies(image))

    def gap(one, two):
        return abs(np.log(band_energies(one)[finest] / band_energies(two)[finest]))

    assert gap(image, other) > 0.3
    assert gap(harmonize(image), harmonize(other)) < left * gap(image, other)


@given(st.floats(0.5, 2), st.floats(0.3, 1), st.floats(0, 0.3))
@settings(max_examples=15, deadline=None)
def test_no_tone_curve_is_left(gamma: float, contrast: float, offset: float) -> None:
    image = rendered(draw_cohort(1, seed=3)[0], 0, size=96)
    curved = np.clip(offset + contrast * (1 - offset) * image**gamma, 0, 1).astype(np.float32)
    assert apart(harmonize(image), harmonize(curved)) < 0.02


def test_doing_it_again_changes_little(pairs) -> None:
    for image, _ in pairs:
        once = harmonize(image)
        assert apart(once, harmonize(once)) < 0.05
        assert apart(once, harmonize(once)) < 0.3 * apart(image, once)


def test_the_histogram_is_the_reference(pairs) -> None:
    for image, _ in pairs:
        assert np.abs(gray_quantiles(harmonize(image), len(GRAYS)) - GRAYS).max() < 0.02


def test_a_letter_or_a_border_moves_the_rest_little(pairs) -> None:
    """They lie where pixels are not counted; a global equalization follows them."""
    from hurdles.pixels.prepare import equalize

    image = pairs[0][0]
    marked = image.copy()
    marked[:14], marked[:, :14], marked[2:12, 20:60] = 0, 0, 1
    inner = (slice(30, 130), slice(30, 130))
    found = {f: apart(f(image)[inner], f(marked)[inner]) for f in (harmonize, equalize)}
    assert found[harmonize] < 0.06
    assert found[harmonize] < 0.5 * found[equalize]


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (700, 300), (40, 40)])
def test_any_shape_comes_back_reduced_and_finite(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = pixels.copy()
    pixels.setflags(write=False)
    made = harmonize(pixels)
    assert max(made.shape) == min(max(shape), SIDE)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert (made >= 0).all()
    assert (made <= 1).all()
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_flat_stays_flat(value: float) -> None:
    made = harmonize(np.full((50, 50), value, dtype=np.float32))
    np.testing.assert_array_equal(made, np.float32(value))


def test_two_levels_are_not_taken_for_texture() -> None:
    """A band that is all but empty is not blown up."""
    steps = np.zeros((100, 100), dtype=np.float32)
    steps[:, 50:] = 1
    assert np.isfinite(harmonize(steps)).all()


def test_lungs_stay_where_they_are_when_the_image_is_reduced() -> None:
    case = draw_cohort(1, seed=3)[0]
    image = draw_image(3, case.patient, 0, draw_hospital(3, 0))
    shown = render(case.patient, image, size=512)

    class Given:
        key, size = "given", 512

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return shown.mask

    pixels = shown.pixels / np.float32(255)
    made = Preparation(256, "harmonized+masked", Given())(pixels)
    mask = Preparation(256)(shown.mask / np.float32(255)) > 127
    assert ((made > 0) & ~mask).mean() < 0.005
    assert (made[mask] == 0).mean() < 0.05
    cropped = Preparation(256, "harmonized+masked+cropped", Given())(pixels)
    assert (cropped > 0).mean() > 1.3 * (made > 0).mean()


def test_the_reference_is_that_of_the_script() -> None:
    """Rounded as it prints them; made anew there from phantoms."""
    assert list(GRAYS) == sorted(GRAYS)
    assert list(ENERGIES) == sorted(ENERGIES)
    script = Path(__file__).parents[3] / "bench" / "harmonize_reference.py"
    ranks = re.search(r"RANKS = .*, (\d+)$", script.read_text(encoding="utf-8"), re.M)
    assert ranks is not None
    assert len(GRAYS) == int(ranks[1])


@pytest.mark.full
def test_the_script_prints_the_reference(capsys) -> None:
    import runpy

    script = Path(__file__).parents[3] / "bench" / "harmonize_reference.py"
    runpy.run_path(str(script), run_name="__main__")
    printed = dict(line.split(" = ") for line in capsys.readouterr().out.splitlines())
    assert printed == {"GRAYS": str(GRAYS), "ENERGIES": str(ENERGIES)}
