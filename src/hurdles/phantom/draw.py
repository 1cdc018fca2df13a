"""Draw the parameters of hospitals, patients and images, each from a stream of its own."""

from __future__ import annotations

import numpy as np

from hurdles.data.vocabulary import Sex, View
from hurdles.phantom.disease import draw_disease
from hurdles.phantom.parameters import (
    HospitalParameters,
    ImageParameters,
    PatientParameters,
)

# Every random stream is named by its purpose, so that a further draw in one never moves another.
_STREAMS = {"labels": 0, "hospital": 1, "patient": 2, "disease": 3, "image": 4, "plant": 5}
_MARKERS = ("L", "R", "L PA", "R")


def generator(seed: int, stream: str, *keys: int) -> np.random.Generator:
    """Return the generator of one named stream.

    Nothing depends on how many patients or images are made: each has a stream of its own.
    """
    return np.random.default_rng(np.random.SeedSequence((seed, _STREAMS[stream], *keys)))


def draw_hospital(seed: int, number: int) -> HospitalParameters:
    """Draw the settings of hospital `number`; they do not depend on how many there are."""
    rng = generator(seed, "hospital", number)
    # A van der Corput-like walk keeps the first few hospitals apart from one another.
    place = (0.5 + 0.618034 * number + 0.1 * rng.uniform()) % 1.0
    return HospitalParameters(
        contrast=float(0.82 + 0.4 * place),
        gamma=float(rng.uniform(0.85, 1.2)),
        blur=float(0.25 + 0.4 * ((place + 0.4) % 1.0)),
        noise=float(rng.uniform(0.006, 0.022)),
        enhancement=float(rng.uniform(0.3, 1.0)),
        marker=_MARKERS[number % len(_MARKERS)],
        marker_rate=float(rng.uniform(0.5, 0.9)),
        border_rate=float(rng.uniform(0.05, 0.35)),
        portable_rate=float(rng.uniform(0.2, 0.45)),
    )


def draw_patient(
    seed: int, index: int, label: str, pattern: str, hospital: int
) -> PatientParameters:
    """Draw one patient: body, anatomy, disease and number of images."""
    rng = generator(seed, "patient", index)
    sex = Sex.FEMALE if rng.uniform() < 0.5 else Sex.MALE
    age = int(np.clip(np.round(rng.normal(54, 17)), 18, 92))
    size = 0.96 if sex is Sex.FEMALE else 1.03
    size *= 1.0 - 0.0008 * max(age - 50, 0)  # people shrink a little
    disease = draw_disease(generator(seed, "disease", index), pattern)
    return PatientParameters(
        index=index,
        label=label,
        hospital=hospital,
        sex=sex,
        age=age,
        body_size=float(size * rng.normal(1.0, 0.035)),
        infancy=0.0,
        chest_width=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.12)),
        chest_depth=float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.25)),
        wall=float(np.clip(rng.gamma(6.0, 0.5), 1.3, 6.0)),
        heart_size=float(np.clip(rng.normal(1.0 + 0.0015 * (age - 50), 0.07), 0.82, 1.25)),
        breast=float(rng.uniform(0.8, 3.6)) if sex is Sex.FEMALE else 0.0,
        rib_slope=float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)),
        bone=float(np.clip(rng.normal(1.0 - 0.003 * (age - 50), 0.12), 0.6, 1.4)),
        stomach=float(np.clip(rng.normal(0.75, 0.35), 0.1, 1.35)),
        anatomy_seed=int(rng.integers(2**31)),
        severity=disease.severity,
        pattern=disease.pattern,
        blobs=disease.blobs,
        crowding=float(rng.beta(1.0, 5.0)),
        images=int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2])),
    )


def draw_image(
    seed: int, patient: PatientParameters, number: int, hospital: HospitalParameters
) -> ImageParameters:
    """Draw image `number` of a patient, taken with the settings of `hospital`."""
    rng = generator(seed, "image", patient.index, number)
    view = View.AP if rng.uniform() < hospital.portable_rate else View.PA
    # Disease rises and falls: the first image shows it as drawn, later ones another day of it.
    course = 1.0 if number == 0 else float(np.clip(rng.normal(0.9, 0.3), 0.15, 1.4))
    marked = rng.uniform() < hospital.marker_rate
    bordered = rng.uniform() < hospital.border_rate
    sides = rng.uniform(0.0, 0.06, size=4)
    return ImageParameters(
        number=number,
        day=0 if number == 0 else int(number * 3 + rng.integers(0, 4)),
        view=view,
        severity=float(np.clip(patient.severity * course, 0.0, 1.0)),
        inspiration=float(np.clip(rng.normal(-0.45 if view is View.AP else 0.15, 0.4), -1, 1)),
        rotation=float(rng.normal(0.0, 4.0 if view is View.AP else 2.0)),
        tilt=float(rng.normal(0.0, 2.5 if view is View.AP else 1.2)),
        zoom=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.15)),
        shift_x=float(rng.normal(0.0, 0.7)),
        shift_y=float(rng.normal(0.0, 0.8)),
        exposure=float(rng.normal(0.0, 0.35)),
        contrast=float(hospital.contrast * np.exp(rng.normal(0.0, 0.07))),
        gamma=float(hospital.gamma * np.exp(rng.normal(0.0, 0.06))),
        blur=float(hospital.blur * np.exp(rng.normal(0.0, 0.15))),
        noise=float(hospital.noise * np.exp(rng.normal(0.0, 0.2))),
        enhancement=hospital.enhancement,
        marker=(hospital.marker if view is View.PA else "PORTABLE") if marked else "",
        border=_border(sides) if bordered else (0.0, 0.0, 0.0, 0.0),
        inverted=False,
        jpeg_quality=0,
        noise_seed=int(rng.integers(2**31)),
    )


def _border(sides: np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(s) for s in sides)
    return left, top, right, bottom
