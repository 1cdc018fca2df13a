"""Style: what it holds, and that an image comes to look like the other source."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.phantom import phantom_cohort
from hurdles.pixels.style import Style, bands_of, restyle, style_of

COHORT = phantom_cohort(24, seed=2, size=96, classes=("Normal A", "Normal B"), hospitals=1)
IMAGES, MASKS = COHORT.pixels, COHORT.masks > 127
SPLIT = len(IMAGES) // 2
#: Images of another hospital: other patients, darker and blurred.
DARK = (255 * (IMAGES[SPLIT:] / 255.0) ** 1.8).astype(np.uint8)
BLURRED = np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in IMAGES[SPLIT:]])
OWN = style_of(IMAGES[:SPLIT], MASKS[:SPLIT])


def fine(pixels: np.ndarray, masks: np.ndarray) -> float:
    """Deviation of the finest detail outside the lungs, over that of all."""
    values = []
    for image, mask in zip(pixels.astype(np.float32), masks, strict=True):
        away = cv2.erode((~mask).astype(np.uint8), np.ones((15, 15))) > 0
        values.append(cv2.Laplacian(image, cv2.CV_32F)[away].std() / image[~mask].std())
    return float(np.mean(values))


def test_a_style_is_the_slow_and_obvious_mean_over_images():
    pairs = zip(IMAGES, MASKS, strict=True)
    shares = [np.bincount(p[~m], minlength=256) / (~m).sum() for p, m in pairs]
    counts = np.mean(shares, axis=0)
    whole = style_of(IMAGES, MASKS)
    np.testing.assert_allclose(whole.histogram, counts)
    assert whole.spectrum.shape == bands_of(96).shape == (8,)
    parts = [style_of(IMAGES[i : i + 1], MASKS[i : i + 1]).spectrum for i in range(len(IMAGES))]
    np.testing.assert_allclose(whole.spectrum, np.exp(np.mean(np.log(parts), axis=0)), rtol=1e-4)


def test_what_lies_in_the_lungs_is_hardly_in_a_style():
    """Lungs white with disease, or full of noise: neither is the hand of the hospital."""
    start, rng = style_of(IMAGES, MASKS), np.random.default_rng(0)
    changes = []
    for inside in (190, rng.integers(0, 256, int(MASKS.sum()))):
        other = IMAGES.copy()
        other[MASKS] = inside
        found = style_of(other, MASKS)
        np.testing.assert_array_equal(found.histogram, start.histogram)
        changes.append(np.abs(np.log(found.spectrum / start.spectrum))[2:].max())
    assert max(changes) < 0.25, changes


def test_a_spectrum_tells_blur_and_not_contrast():
    flat = (64 + IMAGES // 2).astype(np.uint8)
    np.testing.assert_allclose(style_of(IMAGES, MASKS).gain_to(style_of(flat, MASKS)), 1, atol=0.05)
    start = style_of(IMAGES[SPLIT:], MASKS[SPLIT:])
    gain = start.gain_to(style_of(BLURRED, MASKS[SPLIT:]))
    # A Gaussian blur of one pixel damps f cycles per pixel to exp(-2 pi^2 f^2).
    wanted = np.exp(-2 * np.pi**2 * (bands_of(96) / 96) ** 2)
    np.testing.assert_allclose(gain[:-1], wanted[:-1] / wanted[0], atol=0.08)
    assert gain[-1] < 0.15


def test_grey_levels_become_those_of_the_other_source():
    other = style_of(DARK, MASKS[SPLIT:])
    made = restyle(IMAGES[:SPLIT], OWN, other)
    got = style_of(made, MASKS[:SPLIT]).histogram

    def apart(histogram: np.ndarray) -> float:
        """Mean distance of the levels of the same rank."""
        return float(np.abs(np.cumsum(histogram) - np.cumsum(other.histogram)).sum())

    assert apart(got) < 0.25 * apart(OWN.histogram)


def test_sharpness_becomes_that_of_the_other_source_both_ways():
    soft = style_of(BLURRED, MASKS[SPLIT:])
    masks = MASKS[:SPLIT]
    made = restyle(IMAGES[:SPLIT], OWN, soft)
    start, wanted, got = (
        fine(IMAGES[:SPLIT], masks),
        fine(BLURRED, MASKS[SPLIT:]),
        fine(made, masks),
    )
    assert abs(np.log(got / wanted)) < 0.4 * abs(np.log(start / wanted))
    back = restyle(BLURRED, soft, OWN)
    assert fine(back, MASKS[SPLIT:]) > 1.3 * wanted


def test_its_own_style_changes_an_image_by_no_more_than_rounding():
    made = restyle(IMAGES, OWN, OWN)
    assert np.abs(made.astype(int) - IMAGES).max() <= 1


def test_filtering_does_not_wrap_around():
    image = np.zeros((1, 96, 96), np.uint8)
    image[:, :, :4] = 255
    soft = style_of(BLURRED, MASKS[SPLIT:])
    keep = Style(OWN.histogram, soft.spectrum, 96, 1)
    own = Style(OWN.histogram, OWN.spectrum, 96, 1)
    made = restyle(image, own, keep).astype(int)
    assert made[0, :, -8:].max() <= 2
    assert (made[0, :, 4:7] > 20).any()


@given(seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_tones_rise_and_gains_are_bounded(seed):
    rng = np.random.default_rng(seed)
    shares = rng.integers(0, 9, (2, 256)) + 1e-9
    made = [Style(h / h.sum(), rng.uniform(0.01, 5, 8), 96, 1) for h in shares]
    tone, gain = made[0].tone_to(made[1]), made[0].gain_to(made[1])
    assert (np.diff(tone) >= 0).all()
    assert 0 <= tone[0] <= tone[-1] <= 255
    assert 0.02 <= gain.min() <= gain.max() <= 4
    np.testing.assert_allclose(gain[0], 1)
    np.testing.assert_allclose(made[0].gain_to(made[0]), 1)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one mask for each"):
        style_of(IMAGES, MASKS[:3])
    with pytest.raises(ValueError, match="whole image"):
        style_of(IMAGES[:1], np.ones_like(MASKS[:1]))
    with pytest.raises(ValueError, match="styles are of 96"):
        restyle(IMAGES[:, :64, :64], OWN, OWN)
    with pytest.raises(ValueError, match="is none"):
        Style(np.zeros(256), OWN.spectrum, 96, 1)
    with pytest.raises(ValueError, match="does not fit images of 224"):
        Style(OWN.histogram, OWN.spectrum, 224, 1)
