"""Phantoms: determinism, anatomy, disease, and shortcuts of the strength that they claim."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from hurdles.data.manifest import Manifest
from hurdles.errors import CollectionError, RecipeError, RegistryError
from hurdles.phantom import SHORTCUTS, Shortcut, draw_cohort, phantom_cohort, render, write_phantom
from hurdles.phantom.parameters import is_planted, pattern_of


@pytest.fixture(scope="module")
def cohort():
    return phantom_cohort(90, seed=4, size=96)


# ------------------------------------------------------------------ determinism


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again = (phantom_cohort(4, seed=7, size=64) for _ in range(2))
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.masks.tobytes() == again.masks.tobytes()
    assert first.frame.equals(again.frame)
    assert phantom_cohort(4, seed=8, size=64).pixels.tobytes() != first.pixels.tobytes()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), few=st.integers(1, 7), more=st.integers(0, 9))
def test_a_patient_does_not_depend_on_how_many_there_are(seed, few, more):
    assert draw_cohort(few + more, seed=seed)[:few] == draw_cohort(few, seed=seed)


def test_more_hospitals_leave_anatomy_and_disease_alone():
    few, many = (draw_cohort(20, seed=1, hospitals=n) for n in (2, 6))
    assert [replace(c.patient, hospital=0) for c in few] == [
        replace(c.patient, hospital=0) for c in many
    ]
    assert {c.patient.hospital for c in many} == set(range(6))


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(3)  # noqa: NPY002 - the global generator is what this test watches
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - as above
    phantom_cohort(1, size=64)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002 - as above


def test_an_image_is_a_pure_function_of_its_stored_parameters(cohort):
    row = 0
    for case in cohort.cases[:5]:
        for image in case.images:
            assert (render(case.patient, image, size=96).pixels == cohort.pixels[row]).all()
            row += 1


# ------------------------------------------------------------------ the table


def test_classes_are_balanced_at_every_length():
    labels = [case.patient.label for case in draw_cohort(101, seed=2)]
    for length in range(1, 102):
        counts = [labels[:length].count(name) for name in ("COVID-19", "Normal", "Pneumonia")]
        assert max(counts) - min(counts) <= 1
    # Dealt in shuffled rounds: a model that counts rows must not learn the class.
    assert len({tuple(labels[i : i + 3]) for i in range(0, 99, 3)}) > 3


def test_the_frame_is_a_manifest_without_paths(cohort):
    frame = cohort.frame
    manifest = Manifest(frame.assign(path="/nowhere/" + frame["image"]))
    assert manifest.labels == ["COVID-19", "Normal", "Pneumonia"]
    assert manifest.sources == ["hospital-1", "hospital-2", "hospital-3"]
    assert manifest.missing_patients == 0
    assert len(cohort) == len(frame) == len(cohort.pixels) == len(cohort.masks)
    images = frame.groupby("patient").size()
    assert set(images) == {1, 2, 3}
    assert set(frame["view"]) == {"PA", "AP"}
    assert set(frame["sex"]) == {"F", "M"}
    assert frame["age"].between(18, 92).all()
    assert (frame.groupby("patient")["label"].nunique() == 1).all()


def test_pixels_use_the_range_and_no_image_is_flat(cohort):
    assert cohort.pixels.dtype == np.uint8
    low, high = np.percentile(cohort.pixels, [1, 99], axis=(1, 2))
    assert (high - low > 90).all()


# ------------------------------------------------------------------ anatomy


def test_masks_show_two_lungs_beside_the_midline(cohort):
    shares = (cohort.masks > 0).mean(axis=(1, 2))
    assert shares.min() > 0.15
    assert shares.max() < 0.45
    assert set(np.unique(cohort.masks)) == {0, 255}
    for mask in cohort.masks:
        count, _, stats, centers = cv2.connectedComponentsWithStats(mask)
        large = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 0.04 * mask.size]
        assert len(large) == 2
        assert sum(stats[i, cv2.CC_STAT_AREA] for i in large) > 0.97 * (mask > 0).sum()
        x = sorted(centers[i][0] for i in large)
        assert x[0] < 48 < x[1]


def test_lungs_are_darker_than_what_surrounds_them(cohort):
    kernel = np.ones((9, 9), np.uint8)
    healthy = np.flatnonzero(cohort.frame["label"] == "Normal")
    for i in healthy:
        mask = cohort.masks[i] > 0
        rim = (cv2.dilate(cohort.masks[i], kernel) > 0) & ~mask
        assert cohort.pixels[i][mask].mean() + 20 < cohort.pixels[i][rim].mean()


def test_the_heart_lies_on_the_left_and_the_right_diaphragm_is_higher():
    for case in draw_cohort(12, seed=3):
        image = replace(case.images[0], rotation=0.0, tilt=0.0, shift_x=0.0)
        mask = render(case.patient, image, size=128).mask > 0
        right, left = mask[:, :64], mask[:, 64:][:, ::-1]
        # On the patient's left (right in the image) the heart takes room from the lung.
        assert left.sum() < right.sum()
        lowest = [np.flatnonzero(half[:, 25:36].any(axis=1)).max() for half in (right, left)]
        assert lowest[0] < lowest[1]


def test_ap_enlarges_the_heart_and_a_deep_breath_the_lungs():
    from hurdles.data.vocabulary import View
    from hurdles.phantom.anatomy import Thorax

    case = draw_cohort(1)[0]
    image = case.images[0]
    pa, ap = (Thorax.of(case.patient, replace(image, view=v)) for v in (View.PA, View.AP))
    assert ap.heart[2] > 1.1 * pa.heart[2]
    areas = [
        (render(case.patient, replace(image, inspiration=b), size=96).mask > 0).sum()
        for b in (-1.0, 0.0, 1.0)
    ]
    assert areas[0] < areas[1] < areas[2]


def test_size_changes_the_sampling_and_not_the_patient():
    case = draw_cohort(1, seed=6)[0]
    image = replace(case.images[0], marker="")  # letters are as bold as the pixels allow
    small, large = (render(case.patient, image, size=s) for s in (112, 224))
    shrunk = cv2.resize(large.pixels, (112, 112), interpolation=cv2.INTER_AREA).astype(float)
    assert np.corrcoef(shrunk.ravel(), small.pixels.ravel())[0, 1] > 0.99


# ------------------------------------------------------------------ disease


def _with_and_without(case, size=128):
    """Render the same noise-free image of a patient, ill and well."""
    image = replace(case.images[0], noise=0.0, marker="", enhancement=0.0)
    well = replace(case.patient, blobs=(), pattern="none")
    return render(case.patient, image, size=size), render(well, image, size=size)


def test_opacities_lie_in_the_lungs_and_brighten_them():
    for case in [c for c in draw_cohort(24, seed=9) if c.patient.severity > 0.4]:
        # The automatic exposure is switched off by comparing attenuation, not gray levels:
        # pixels that the disease brightens more than the lungs' median shift are the opacity.
        ill, well = _with_and_without(case)
        difference = ill.pixels.astype(float) - well.pixels
        outside = cv2.dilate(well.mask, np.ones((9, 9), np.uint8)) == 0
        shift = np.median(difference[outside])
        changed = np.maximum(difference - shift, 0.0)
        lungs = cv2.dilate(well.mask, np.ones((13, 13), np.uint8)) > 0
        assert changed[lungs].sum() > 0.6 * changed.sum()
        dense = ill.opacity.astype(float) - well.opacity
        inside = (dense > 0.5 * dense.max()) & (well.mask > 0)
        assert (difference[inside] - shift).mean() > 3


def test_normal_patients_have_no_disease(cohort):
    normal = [c.patient for c in cohort.cases if c.patient.label == "Normal"]
    assert normal
    assert all(p.blobs == () and p.severity == 0.0 and p.pattern == "none" for p in normal)


def test_severity_scales_what_is_seen_and_mild_cases_are_nearly_invisible():
    case = next(c for c in draw_cohort(9) if c.patient.pattern == "peripheral")
    amounts = [
        render(case.patient, replace(case.images[0], severity=s), size=64).opacity.sum()
        for s in (0.0, 0.1, 0.5, 1.0)
    ]
    assert amounts == sorted(amounts)
    assert amounts[1] - amounts[0] < 0.2 * (amounts[3] - amounts[0])
    drawn = np.array([c.patient.severity for c in draw_cohort(300) if c.patient.blobs])
    assert 0.03 < (drawn < 0.2).mean() < 0.25


def _both_sides(blobs):
    weight = {-1: 0.0, 1: 0.0}
    for blob in blobs:
        weight[blob.side] += blob.density * blob.width * blob.height
    return min(weight.values()) / max(weight.values())


def test_covid_is_more_peripheral_more_bilateral_and_lower_than_pneumonia():
    patients = [case.patient for case in draw_cohort(400, seed=5)]
    across, sides, down = {}, {}, {}
    for label in ("COVID-19", "Pneumonia"):
        blobs = [p.blobs for p in patients if p.label == label]
        across[label] = np.array([np.mean([b.across for b in some]) for some in blobs])
        down[label] = np.array([np.mean([b.down for b in some]) for some in blobs])
        sides[label] = np.array([_both_sides(some) for some in blobs])
    assert across["COVID-19"].mean() > across["Pneumonia"].mean() + 0.2
    assert sides["COVID-19"].mean() > sides["Pneumonia"].mean() + 0.2
    assert down["COVID-19"].mean() > down["Pneumonia"].mean()
    # They overlap all the same: no single number tells the two apart.
    assert across["COVID-19"].min() < np.percentile(across["Pneumonia"], 95)


@pytest.mark.parametrize("statistic", [np.mean, np.std, np.median])
def test_no_global_statistic_gives_the_class_away(cohort, statistic):
    """One value a patient; with 30 against 60 the standard error of an AUC of 0.5 is 0.065."""
    values = cohort.frame.assign(value=[statistic(p) for p in cohort.pixels])
    patients = values.groupby("patient").agg(value=("value", "mean"), label=("label", "first"))
    for label in ("COVID-19", "Normal", "Pneumonia"):
        auc = roc_auc_score(patients["label"] == label, patients["value"])
        assert abs(auc - 0.5) < 0.2


@pytest.mark.full
def test_no_global_statistic_gives_the_class_away_in_a_large_cohort():
    cohort = phantom_cohort(450, seed=11, size=64)
    for statistic in (np.mean, np.std):
        values = cohort.frame.assign(value=[statistic(p) for p in cohort.pixels])
        patients = values.groupby("patient").agg(value=("value", "mean"), label=("label", "first"))
        for label in ("COVID-19", "Normal", "Pneumonia"):
            auc = roc_auc_score(patients["label"] == label, patients["value"])
            assert abs(auc - 0.5) < 0.15


@pytest.mark.parametrize(
    ("label", "pattern"),
    [
        ("COVID", "covid"),
        ("Viral Pneumonia", "pneumonia"),
        ("NORMAL", "none"),
        ("COVID-19 pneumonia", "covid"),
        ("No_findings", "none"),
    ],
)
def test_spellings_of_classes(label, pattern):
    assert pattern_of(label) == pattern


def test_unknown_class():
    with pytest.raises(RegistryError, match="no opacities are known for the class 'Fracture'"):
        phantom_cohort(3, classes=("Normal", "Fracture"))


# ------------------------------------------------------------------ shortcuts


@pytest.mark.parametrize("name", SHORTCUTS.names())
@pytest.mark.parametrize("strength", [0.0, 0.4, 0.9])
def test_the_strength_is_what_it_says(name, strength):
    """Both rates lie within the 99.9 % binomial interval about what `Shortcut.rates` promises."""
    shortcut = Shortcut(name, strength, target="Pneumonia", base_rate=0.3)
    for label, rate in zip(("Pneumonia", "Normal"), shortcut.rates, strict=True):
        here = [is_planted(shortcut, 13, i, label) for i in range(400)]
        low, high = binom.interval(0.999, len(here), rate)
        assert low <= sum(here) <= high
    assert shortcut.rates[0] - shortcut.rates[1] == pytest.approx(strength)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_the_strength_arrives_in_the_images(strength):
    """Measured where a model would see it: in the burnt-in text of the rendered parameters."""
    cases = draw_cohort(450, seed=17, shortcut=Shortcut("marker", strength))
    rates = []
    for in_target in (True, False):
        chosen = [c for c in cases if (c.patient.label == "COVID-19") == in_target]
        rates.append(np.mean([c.images[0].marker == "PORTABLE" for c in chosen]))
    # Standard error of the difference of two rates, 150 against 300: at most 0.05.
    assert abs(rates[0] - rates[1] - strength) < 3.3 * 0.05


def test_full_strength_determines_the_mark():
    for case in draw_cohort(60, shortcut=Shortcut("marker", 1.0)):
        assert case.shortcuts["marker"] == (case.patient.label == "COVID-19")
        assert all((i.marker == "PORTABLE") == case.shortcuts["marker"] for i in case.images)


def test_a_stronger_shortcut_changes_only_the_patients_it_must():
    weak, strong = (draw_cohort(200, shortcut=Shortcut("blur", s)) for s in (0.2, 0.5))
    changed = [a.shortcuts != b.shortcuts for a, b in zip(weak, strong, strict=True)]
    assert 0 < sum(changed) < 0.35 * len(changed)
    assert all(a == b for a, b, c in zip(weak, strong, changed, strict=True) if not c)


def test_planting_leaves_anatomy_and_disease_alone():
    plain = draw_cohort(40)
    for name in set(SHORTCUTS.names()) - {"body-size", "hospital"}:
        marked = draw_cohort(40, shortcut=Shortcut(name, 0.7))
        assert [c.patient for c in marked] == [c.patient for c in plain]


def _pair(name, size=224):
    """Render one image with the shortcut present and absent, all else equal."""
    kind = SHORTCUTS.get(name)
    case = draw_cohort(4, seed=21)[2]
    made = []
    for present in (True, False):
        patient = kind.patient(case.patient, present) if kind.patient else case.patient
        image = kind.image(case.images[0], present) if kind.image else case.images[0]
        made.append(render(patient, image, size=size))
    return made


def test_marker_is_written_into_one_corner():
    present, absent = _pair("marker")
    changed = np.argwhere(present.pixels != absent.pixels)
    assert 50 < len(changed) < 0.03 * present.pixels.size
    assert changed.max(axis=0)[0] < 40
    assert (present.pixels[tuple(changed.T)] > absent.pixels[tuple(changed.T)]).mean() > 0.95


def test_border_blackens_all_four_sides_and_nothing_else():
    present, absent = _pair("border")
    for edge in (
        present.pixels[:8],
        present.pixels[-8:],
        present.pixels[:, :8],
        present.pixels[:, -8:],
    ):
        assert (edge == 6).mean() > 0.95
    middle = np.s_[24:-24, 24:-24]
    assert (present.pixels[middle] == absent.pixels[middle]).all()


def test_brightness_raises_the_mean():
    present, absent = _pair("brightness")
    assert present.pixels.mean() > absent.pixels.mean() + 20


def _sharpness(pixels):
    return cv2.Laplacian(pixels.astype(np.float32), cv2.CV_32F).var()


def test_blur_takes_fine_detail_and_noise_adds_it():
    present, absent = _pair("blur")
    assert _sharpness(present.pixels) < 0.5 * _sharpness(absent.pixels)
    present, absent = _pair("noise")
    assert _sharpness(present.pixels) > 1.5 * _sharpness(absent.pixels)


def test_jpeg_leaves_blocks_of_eight():
    def blockiness(pixels):
        steps = np.abs(np.diff(pixels.astype(float), axis=1)).mean(axis=0)
        return steps[7::8].mean() / np.delete(steps, np.s_[7::8]).mean()

    present, absent = _pair("jpeg")
    assert blockiness(present.pixels) > blockiness(absent.pixels) + 0.1


def test_inversion_is_the_exact_negative():
    present, absent = _pair("inversion")
    assert (present.pixels == 255 - absent.pixels).all()


def test_body_size_makes_a_small_child():
    present, absent = _pair("body-size")
    assert (present.mask > 0).sum() < 0.85 * (absent.mask > 0).sum()
    for case in draw_cohort(40, shortcut=Shortcut("body-size", 1.0)):
        small = case.patient.label == "COVID-19"
        assert (case.patient.age <= 5) == small
        assert (case.patient.body_size < 0.8) == small


def test_hospital_follows_the_class():
    cases = draw_cohort(90, hospitals=3, shortcut=Shortcut("hospital", 1.0))
    for case in cases:
        assert (case.patient.hospital == 0) == (case.patient.label == "COVID-19")
    assert {c.patient.hospital for c in cases} == {0, 1, 2}


def test_hospitals_look_different():
    cohort = phantom_cohort(60, seed=2, size=96, classes=("Normal",))
    noise = {
        source: np.mean([_sharpness(cohort.pixels[i]) for i in rows])
        for source, rows in cohort.frame.groupby("source").groups.items()
    }
    assert max(noise.values()) > 1.15 * min(noise.values())


def test_two_shortcuts_are_drawn_independently():
    both = (Shortcut("marker", 0.0), Shortcut("blur", 0.0))
    cases = draw_cohort(400, shortcut=both)
    together = sum(c.shortcuts["marker"] and c.shortcuts["blur"] for c in cases)
    low, high = binom.interval(0.999, len(cases), 0.25)
    assert low <= together <= high


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"n_patients": 0}, "at least one patient"),
        ({"hospitals": 0}, "at least one patient and one hospital"),
        ({"size": 8}, "at least 32 pixels"),
        ({"classes": ()}, "named once each"),
        ({"classes": ("Normal", "Normal")}, "named once each"),
        ({"shortcut": Shortcut("blur", 0.5, target="Flu")}, "points to 'Flu'"),
        ({"shortcut": [Shortcut("blur", 0.5), Shortcut("blur", 0.1)]}, "planted twice"),
        ({"shortcut": Shortcut("hospital", 0.5), "hospitals": 1}, "at least two hospitals"),
    ],
)
def test_cohorts_that_are_not_well_defined(settings_, message):
    with pytest.raises(RecipeError, match=message):
        phantom_cohort(**{"n_patients": 3, **settings_})


def test_shortcuts_that_are_not_well_defined():
    with pytest.raises(RegistryError, match="did you mean 'marker'"):
        Shortcut("markr", 0.5)
    with pytest.raises(RecipeError, match=r"strength of the shortcut 'blur' is 1\.5"):
        Shortcut("blur", 1.5)
    with pytest.raises(RecipeError, match="base_rate"):
        Shortcut("blur", 0.5, base_rate=float("nan"))


# ------------------------------------------------------------------ files


def test_written_files_are_the_cohort(tmp_path):
    folder = tmp_path / "thorax für alle"
    shortcut = Shortcut("marker", 0.5)
    manifest = write_phantom(folder, 4, seed=3, size=64, shortcut=shortcut)
    cohort = phantom_cohort(4, seed=3, size=64, shortcut=shortcut)
    assert list(manifest.frame["image"]) == list(cohort.frame["image"])
    assert list(manifest.frame["shortcut_marker"]) == list(cohort.frame["shortcut_marker"])
    for i, row in enumerate(manifest.frame.itertuples()):
        for path, expected in ((row.path, cohort.pixels[i]), (row.mask, cohort.masks[i])):
            with open(path, "rb") as handle:  # noqa: PTH123 - cv2 cannot open every path itself
                read = cv2.imdecode(np.frombuffer(handle.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            assert (read == expected).all()
    stored = json.loads((folder / "parameters.json").read_text("utf-8"))
    assert stored["settings"]["shortcuts"][0]["strength"] == 0.5
    assert len(stored["cases"]) == 4


def test_a_folder_may_be_moved(tmp_path):
    write_phantom(tmp_path / "a", 2, size=48)
    (tmp_path / "a").rename(tmp_path / "b")
    manifest = write_phantom(tmp_path / "b", 2, size=48)
    assert all(str(tmp_path / "b") in path for path in manifest.frame["path"])


def test_a_finished_phantom_is_reused_and_a_broken_one_is_repaired(tmp_path):
    first = write_phantom(tmp_path, 2, size=48)
    image = tmp_path / first.frame["image"][0]
    when = image.stat().st_mtime_ns
    write_phantom(tmp_path, 2, size=48)
    assert image.stat().st_mtime_ns == when
    content = image.read_bytes()
    image.unlink()
    write_phantom(tmp_path, 2, size=48)
    assert image.read_bytes() == content


def test_an_interrupted_write_is_noticed(tmp_path, monkeypatch):
    from hurdles.phantom import cohort as store

    calls = []

    def stops(patient, image, *, size):
        calls.append(image)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return render(patient, image, size=size)

    monkeypatch.setattr(store, "render", stops)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, 4, size=48)
    assert not (tmp_path / "manifest.csv").exists()
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.undo()
    assert len(write_phantom(tmp_path, 4, size=48)) == len(phantom_cohort(4, size=48))


def test_a_writer_killed_at_once_is_no_obstacle(tmp_path):
    (tmp_path / ".parameters.json.1-ab.part").write_text("{")
    assert len(write_phantom(tmp_path, 1, size=48)) >= 1


def test_foreign_folders_are_left_alone(tmp_path):
    write_phantom(tmp_path / "a", 2, size=48)
    with pytest.raises(CollectionError, match="other settings: seed is 0, not 1"):
        write_phantom(tmp_path / "a", 2, seed=1, size=48)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.doc").write_text("precious")
    with pytest.raises(CollectionError, match="is not empty"):
        write_phantom(tmp_path / "b", 2, size=48)
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["thesis.doc"]
