"""Pools hold what would be rendered directly, and cohorts are what was asked for."""

import numpy as np
import pandas as pd
import pytest

from hurdles.calibrating.cohorts import (
    PLAIN,
    Images,
    Planting,
    Pool,
    RealImages,
    draw_materials,
    state_of,
)
from hurdles.errors import RecipeError, RunError
from hurdles.phantom import Shortcut, phantom_cohort


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    made = Pool(tmp_path_factory.mktemp("pool"), seed=7, patients=60, planted_patients=50, size=64)
    for task in made.tasks(("brightness", "jpeg")):
        made.make(*task)
    return made


def test_a_state_holds_what_a_cohort_of_phantoms_holds(pool):
    shortcut = Shortcut("brightness", 0.0, base_rate=1.0)
    direct = phantom_cohort(50, seed=7, size=64, classes=("COVID-19", "Normal"), shortcut=shortcut)
    images = pool.images(state_of("brightness", True))
    assert np.array_equal(images.pixels, direct.pixels)
    assert np.array_equal(images.masks, direct.masks > 127)
    assert images.frame["label"].tolist() == direct.frame["label"].tolist()


def test_states_belong_to_the_same_visits_in_the_same_order(pool):
    frames = [pool.images(state_of("jpeg", here)).frame for here in (True, False)]
    assert frames[0]["image"].tolist() == frames[1]["image"].tolist()
    plain = pool.images(PLAIN).frame["image"].tolist()
    assert plain[: len(frames[0])] == frames[0]["image"].tolist()


def test_what_looks_the_same_is_rendered_once(pool):
    names = {file.name for file in pool.folder.iterdir()}
    assert not any("jpeg-absent" in name for name in names)
    assert any("brightness-absent" in name for name in names)
    absent = pool.images(state_of("jpeg", False))
    assert np.array_equal(absent.pixels, pool.images(PLAIN).pixels[: len(absent.pixels)])


def test_nothing_is_rendered_twice(pool):
    assert pool.tasks(("brightness", "jpeg")) == []


def test_a_state_that_is_not_rendered_is_named(pool):
    with pytest.raises(RunError, match="blur-present-00000-00050"):
        pool.images(state_of("blur", True))


@pytest.mark.parametrize("disease", [True, False])
def test_cohorts_are_balanced_apart_and_split_by_patient(pool, disease):
    own, other = draw_materials(pool, Planting(disease), [12, 8], seed=3)
    patients = own.manifest.frame.drop_duplicates("patient")
    assert patients["label"].value_counts().tolist() == [6, 6]
    assert not set(own.groups) & set(other.groups)
    parts = own.manifest.frame.groupby("patient")["split"].nunique()
    assert (parts == 1).all()


def test_alike_classes_hold_healthy_patients_and_chance_names_them(pool):
    healthy = set(pool.images(PLAIN).frame.query("label == 'Normal'")["patient"])
    named = []
    for seed in range(3):
        material = draw_materials(pool, Planting(False), [24], seed=seed)[0]
        frame = material.manifest.frame
        assert set(frame["patient"]) <= healthy
        named.append(dict(zip(frame["patient"], frame["label"], strict=True)))
    assert named[0] != named[1] != named[2]


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_shortcut_follows_the_class_as_strongly_as_asked(pool, strength):
    planting = Planting(True, "brightness", strength)
    material = draw_materials(pool, planting, [40], seed=1)[0]
    carried = follows(pool, material, "brightness")
    agree = (carried == (material.labels == "COVID-19")).mean()
    assert agree == 1 if strength else 0.2 < agree < 0.8
    per_patient = material.manifest.frame.assign(carried=carried).groupby("patient")["carried"]
    assert (per_patient.nunique() == 1).all()


def follows(pool, material, plant):
    """Which images are those of the state in which the shortcut is present."""
    images = pool.images(state_of(plant, True))
    places = {name: i for i, name in enumerate(images.frame["image"])}
    rows = [places[name] for name in material.manifest.frame["image"]]
    return (material.pixels == images.pixels[rows]).all(axis=(1, 2))


def test_pixels_masks_and_rows_stay_together(pool):
    material = draw_materials(pool, Planting(True, "jpeg", 0.5), [30], seed=5)[0]
    states = {here: pool.images(state_of("jpeg", here)) for here in (True, False)}
    places = {name: i for i, name in enumerate(states[True].frame["image"])}
    for row, name in enumerate(material.manifest.frame["image"]):
        assert any(np.array_equal(material.pixels[row], s.pixels[places[name]])
                   for s in states.values())  # fmt: skip
        assert np.array_equal(material.masks[row], states[True].masks[places[name]])


def test_too_large_a_cohort_is_refused(pool):
    with pytest.raises(RecipeError, match="40 patients of each class are needed and 30 are there"):
        draw_materials(pool, Planting(True), [80], seed=0)


def test_real_images_are_written_once_and_nothing_else_is_replaced(tmp_path):
    frame = pd.DataFrame(
        {"image": ["a", "b"], "label": "Normal", "patient": ["p", "q"], "source": None,
         "view": "PA", "sex": None, "age": [40.0, np.nan]}
    )  # fmt: skip
    pixels = np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8)
    real = RealImages(Images(frame, pixels, None))
    path = tmp_path / "real.npz"
    real.save(path)
    before = path.read_bytes()
    real.save(path)
    assert path.read_bytes() == before
    assert np.array_equal(RealImages.load(path).plain.pixels, pixels)
    with pytest.raises(RunError, match="holds other images"):
        RealImages(Images(frame, pixels + 1, None)).save(path)
    for theirs in (b"somebody's notes", b"", b"PK\x03\x04 cut off", before[:200]):
        path.write_bytes(theirs)
        with pytest.raises(RunError, match="holds other images"):
            real.save(path)
        assert path.read_bytes() == theirs
