"""Planted faults are there, in the number that was asked for, and nothing else changes."""

import numpy as np
import pandas as pd
import pytest

from hurdles.auditing.material import Material
from hurdles.calibrating.trials import FAULTS, fault_numbers
from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.phantom import phantom_cohort


@pytest.fixture(scope="module")
def clean():
    cohort = phantom_cohort(40, seed=2, size=64, classes=("COVID-19", "Normal"))
    frame = cohort.frame.assign(path="/" + cohort.frame["image"])
    return Material("clean", split(Manifest(frame), fractions=(0.6, 0.15, 0.25)), cohort.pixels)


def planted(material, name, number, seed=0):
    return FAULTS.get(name).plant(material, number, np.random.default_rng(seed))


@pytest.mark.parametrize("number", [1, 5])
def test_patients_leak(clean, number):
    frame = planted(clean, "patient-in-two-parts", number).manifest.frame
    parts = frame.groupby("patient")["split"].nunique()
    assert (parts > 1).sum() == number


@pytest.mark.parametrize(("name", "column"), [
    ("copies-in-two-parts", "split"), ("copies-with-two-labels", "label"),
])  # fmt: skip
def test_copies_differ_in_what_they_say_but_hardly_in_pixels(clean, name, column):
    found = planted(clean, name, 3)
    frame = found.manifest.frame
    assert len(found) == len(clean) + 3
    for row in range(len(clean), len(found)):
        original = frame.index[frame["image"] == frame["image"][row].removeprefix("copy-")][0]
        assert frame[column][row] != frame[column][original]
        assert frame["patient"][row] != frame["patient"][original]
        both = found.pixels[[row, original]].reshape(2, -1).astype(float)
        assert np.corrcoef(both)[0, 1] > 0.98


def test_unreadable_images_are_missing_and_named(clean):
    found = planted(clean, "unreadable", 4)
    assert len(found.failures) == 4
    assert len(found) == len(clean) - 4
    assert not set(found.failures) & set(found.manifest.frame["image"])


def test_inverted_images_are_inverted(clean):
    changed = (planted(clean, "inverted", 2).pixels != clean.pixels).any(axis=(1, 2))
    assert changed.sum() == 2


def test_few_are_tested(clean):
    frame = planted(clean, "few-tested", 5).manifest.frame
    assert frame.loc[frame["split"] == "test", "patient"].nunique() == 5
    train = clean.manifest.frame.query("split == 'train'")
    pd.testing.assert_frame_equal(
        frame.query("split == 'train'").reset_index(drop=True), train.reset_index(drop=True)
    )


def test_faults_are_planted_for_hurdles_that_are_asked():
    assert set(fault_numbers(("patients",))) == {"patient-in-two-parts"}
    assert fault_numbers(()) == {}
