"""Parameters of hospitals, patients and images: plain data, drawn before anything is rendered.

They can be printed and stored. Every random stream is named by its purpose. A shortcut, a mark that
tells the class without telling anything about the lungs, is planted by changing the drawn
parameters of a patient and of his images, never the pixels afterwards: what was planted can be read
from the stored parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from hurdles.data.vocabulary import Sex, View
from hurdles.errors import RecipeError, RegistryError
from hurdles.registry import Registry

__all__ = ["SHORTCUTS", "Shortcut"]


@dataclass(frozen=True)
class Blob:
    """One opacity, placed in the lung so that it moves with breathing and pose."""

    side: int  # -1: the patient's right lung (left in the image), 1: the left lung
    across: float  # 0 at the mediastinum, 1 at the chest wall
    down: float  # 0 at the apex, 1 at the top of the diaphragm
    width: float  # semi-axes in cm of an adult
    height: float
    density: float  # optical depth at full severity: 0 is air, 3 nearly solid
    edge: float = 2.0  # steepness of the border: 2 is a soft cloud, 8 a sharp one
    cut: float | None = None  # tangent of the slope of a fissure that ends it above, if any


@dataclass(frozen=True)
class HospitalParameters:
    """The rendering of a chest by one hospital's equipment."""

    contrast: float  # slope of the characteristic curve, 1 on average
    gamma: float  # exponent applied to the displayed gray level
    blur: float  # of the detector: sigma in pixels at 224
    noise: float  # relative, at the mean exposure
    enhancement: float  # weight of the unsharp mask that the console applies
    marker: str  # side marker that is burned in
    marker_rate: float  # share of images with the marker
    border_rate: float  # share of images with visible collimation
    portable_rate: float  # share of AP (bedside) images


@dataclass(frozen=True)
class PatientParameters:
    """The part that all images of a patient have in common."""

    index: int  # number of the patient, from 0
    label: str
    hospital: int  # number, from 0
    sex: Sex
    age: int  # years
    body_size: float  # height relative to an average adult (1.0); children are smaller
    infancy: float  # 0: adult proportions, 1: a small child's (round chest, large heart)
    chest_width: float  # factors around 1, but for `wall` and `breast`
    chest_depth: float
    wall: float  # cm
    heart_size: float
    breast: float  # cm, 0 for none
    rib_slope: float
    bone: float
    stomach: float  # its bubble
    anatomy_seed: int  # of the vascular tree and of the lung texture
    severity: float  # 0 to 1, how far the disease goes; 0 in healthy patients
    pattern: str  # none, peripheral, lobar or diffuse
    blobs: tuple[Blob, ...]  # opacities at full severity
    crowding: float  # harmless basal haze (shallow breathing): an honest source of confusion
    images: int  # how many images the patient has


@dataclass(frozen=True)
class ImageParameters:
    """The part in which the images of a patient differ."""

    number: int  # of the image of this patient, from 0
    day: int  # since the first image
    view: View  # PA or AP; AP magnifies the heart and raises the diaphragm
    severity: float  # on that day, 0 to 1
    inspiration: float  # -1 shallow to 1 deep
    rotation: float  # degrees about the body's axis; positive: the front to the image's right
    tilt: float  # degrees in the image plane
    zoom: float  # field of view relative to the usual one
    shift_x: float  # its offset in cm
    shift_y: float
    exposure: float  # shift of the characteristic curve: positive is brighter
    contrast: float  # this and the next four: as for the hospital, with this image's deviation
    gamma: float
    blur: float
    noise: float
    enhancement: float
    marker: str  # burned-in text, empty for none
    border: tuple[float, float, float, float]  # collimated shares: left, top, right, bottom
    inverted: bool  # whether bone is dark
    jpeg_quality: int  # 0 for no compression, else 1 to 100
    noise_seed: int  # of the quantum noise


#: Class name -> kind of disease. Other names are read by `pattern_of`.
PATTERNS = {"COVID-19": "covid", "Normal": "none", "Pneumonia": "pneumonia"}
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
        gamma=rng.uniform(0.85, 1.2),
        blur=float(0.25 + 0.4 * ((place + 0.4) % 1.0)),
        noise=rng.uniform(0.006, 0.022),
        enhancement=rng.uniform(0.3, 1.0),
        marker=_MARKERS[number % len(_MARKERS)],
        marker_rate=rng.uniform(0.5, 0.9),
        border_rate=rng.uniform(0.05, 0.35),
        portable_rate=rng.uniform(0.2, 0.45),
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
    disease, severity, blobs = draw_disease(generator(seed, "disease", index), pattern)
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
        breast=rng.uniform(0.8, 3.6) if sex is Sex.FEMALE else 0.0,
        rib_slope=float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.3)),
        bone=float(np.clip(rng.normal(1.0 - 0.003 * (age - 50), 0.12), 0.6, 1.4)),
        stomach=float(np.clip(rng.normal(0.75, 0.35), 0.1, 1.35)),
        anatomy_seed=int(rng.integers(2**31)),
        severity=severity,
        pattern=disease,
        blobs=blobs,
        crowding=rng.beta(1.0, 5.0),
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
    left, top, right, bottom = rng.uniform(0.0, 0.06, size=4).tolist()
    return ImageParameters(
        number=number,
        day=0 if number == 0 else int(number * 3 + rng.integers(0, 4)),
        view=view,
        severity=float(np.clip(patient.severity * course, 0.0, 1.0)),
        inspiration=float(np.clip(rng.normal(-0.45 if view is View.AP else 0.15, 0.4), -1, 1)),
        rotation=rng.normal(0.0, 4.0 if view is View.AP else 2.0),
        tilt=rng.normal(0.0, 2.5 if view is View.AP else 1.2),
        zoom=float(np.clip(rng.normal(1.0, 0.05), 0.88, 1.15)),
        shift_x=rng.normal(0.0, 0.7),
        shift_y=rng.normal(0.0, 0.8),
        exposure=rng.normal(0.0, 0.35),
        contrast=float(hospital.contrast * np.exp(rng.normal(0.0, 0.07))),
        gamma=float(hospital.gamma * np.exp(rng.normal(0.0, 0.06))),
        blur=float(hospital.blur * np.exp(rng.normal(0.0, 0.15))),
        noise=float(hospital.noise * np.exp(rng.normal(0.0, 0.2))),
        enhancement=hospital.enhancement,
        marker=(hospital.marker if view is View.PA else "PORTABLE") if marked else "",
        border=(left, top, right, bottom) if bordered else (0.0, 0.0, 0.0, 0.0),
        inverted=False,
        jpeg_quality=0,
        noise_seed=int(rng.integers(2**31)),
    )


def pattern_of(label: str) -> str:
    """Return covid, pneumonia or none for a class name, whatever its spelling.

    Examples
    --------
    >>> pattern_of("Viral Pneumonia"), pattern_of("NORMAL"), pattern_of("covid")
    ('pneumonia', 'none', 'covid')
    """
    lower = label.lower().replace("_", " ")
    for word in ("covid", "pneumonia", "normal", "no finding", "healthy"):
        if word in lower:
            return word if word in ("covid", "pneumonia") else "none"
    raise RegistryError(
        f"no opacities are known for the class {label!r}. Known: {', '.join(PATTERNS)}; a name "
        "that contains 'covid', 'pneumonia' or 'normal' is understood too."
    )


def draw_disease(rng: np.random.Generator, pattern: str) -> tuple[str, float, tuple[Blob, ...]]:
    """Draw the spread of a disease, its severity and its opacities.

    COVID-19: peripheral, bilateral, patchy, basal, ground-glass (Wong et al. 2020, Radiology
    296:E72). Pneumonia: lobar consolidation on one side, or diffuse haze about the hila.
    """
    if pattern == "none":
        return "none", 0.0, ()
    severity = float(np.clip(rng.beta(2.0, 1.1), 0.05, 1.0))
    if pattern == "covid":
        return "peripheral", severity, _peripheral(rng)
    if rng.uniform() < 0.65:
        return "lobar", severity, _lobar(rng)
    # Perihilar haze on both sides: the central counterpart of the peripheral pattern.
    haze = [
        Blob(
            side=1 if number % 2 else -1,
            across=rng.beta(1.8, 2.6),
            down=rng.uniform(0.3, 0.95),
            width=rng.uniform(1.6, 3.6),
            height=rng.uniform(1.6, 3.8),
            density=rng.uniform(0.35, 0.85),
        )
        for number in range(int(rng.integers(6, 11)))
    ]
    return "diffuse", severity, tuple(haze)


def _peripheral(rng: np.random.Generator) -> tuple[Blob, ...]:
    one_sided = rng.uniform() < 0.12  # early disease may show on one side only
    first = int(rng.choice([-1, 1]))
    blobs = []
    for number in range(int(rng.integers(4, 10))):
        side = first if one_sided else first * (1 if number % 2 else -1)
        blobs.append(
            Blob(
                side=side,
                across=rng.beta(5.0, 1.6),
                down=float(0.15 + 0.85 * rng.beta(3.2, 1.5)),
                width=rng.uniform(1.2, 2.8),
                height=rng.uniform(1.6, 3.8),
                density=rng.uniform(0.35, 0.95),
                edge=rng.uniform(1.6, 2.6),
            )
        )
    return tuple(blobs)


def _lobar(rng: np.random.Generator) -> tuple[Blob, ...]:
    side = int(rng.choice([-1, 1], p=[0.6, 0.4]))
    upper = rng.uniform() < 0.35
    main = Blob(
        side=side,
        across=rng.uniform(0.25, 0.65),
        down=float(rng.uniform(0.3, 0.45) if upper else rng.uniform(0.65, 0.95)),
        width=rng.uniform(2.6, 4.6),
        height=rng.uniform(2.4, 4.4),
        density=rng.uniform(1.0, 2.2),
        edge=rng.uniform(2.5, 5.0),
        cut=rng.uniform(-0.25, 0.35) if rng.uniform() < 0.6 else None,
    )
    satellites = [
        Blob(
            side=side,
            across=float(np.clip(main.across + rng.normal(0, 0.2), 0.1, 0.9)),
            down=float(np.clip(main.down + rng.normal(0, 0.12), 0.1, 1.0)),
            width=rng.uniform(1.0, 2.2),
            height=rng.uniform(1.0, 2.2),
            density=rng.uniform(0.4, 1.0),
        )
        for _ in range(int(rng.integers(1, 4)))
    ]
    return (main, *satellites)


# --- shortcuts -----------------------------------------------------------------------------------


class ShortcutKind(NamedTuple):
    """One kind of shortcut, and the changes ``(parameters, present) -> parameters`` it makes.

    Absence is set too, so that the mark never occurs by itself where it is said to be absent.
    """

    description: str
    patient: Callable[[PatientParameters, bool], PatientParameters] | None = None
    image: Callable[[ImageParameters, bool], ImageParameters] | None = None


#: Every shortcut by name.
SHORTCUTS: Registry[ShortcutKind] = Registry("shortcut")


@dataclass(frozen=True)
class Shortcut:
    """A shortcut to plant, with a known strength.

    Each patient's shortcut follows the class with probability `strength` (present if and only if
    the patient has the target class) and is otherwise drawn at the base rate. So the share of
    patients with it is ``strength + (1 - strength) * base_rate`` in the target class and
    ``(1 - strength) * base_rate`` elsewhere, and the difference of the two is `strength` itself.

    Parameters
    ----------
    name : str
        One of `SHORTCUTS`.
    strength : float
        0 (independent of the class) to 1 (determined by it).
    target : str
        The class that it points to.
    base_rate : float
        Share of patients who have it for no reason, 0 to 1.

    Raises
    ------
    RegistryError
        If the name is unknown.
    RecipeError
        If strength or base rate are not between 0 and 1.

    Examples
    --------
    >>> Shortcut("marker", 0.8).rates
    (0.9, 0.1)
    """

    name: str
    strength: float
    target: str = "COVID-19"
    base_rate: float = 0.5

    def __post_init__(self) -> None:
        SHORTCUTS.get(self.name)
        for field in ("strength", "base_rate"):
            value = getattr(self, field)
            if not 0.0 <= value <= 1.0:
                raise RecipeError(
                    f"{field} of the shortcut {self.name!r} is {value}; it is a probability: give "
                    "a number between 0 and 1."
                )

    @property
    def rates(self) -> tuple[float, float]:
        """Expected share of patients with the shortcut: in the target class, and elsewhere."""
        by_chance = (1.0 - self.strength) * self.base_rate
        return round(self.strength + by_chance, 12), round(by_chance, 12)


def is_planted(shortcut: Shortcut, seed: int, patient: int, label: str) -> bool:
    """Draw, for patient number `patient` of a class, whether he carries the shortcut.

    The two numbers drawn do not depend on the strength, so cohorts of different strength with
    one seed differ only in those patients whose shortcut really changes.
    """
    kind = SHORTCUTS.names().index(shortcut.name)
    follows, chance = generator(seed, "plant", patient, kind).uniform(size=2)
    if follows < shortcut.strength:
        return label == shortcut.target
    return bool(chance < shortcut.base_rate)


def _collimated(image: ImageParameters, present: bool) -> ImageParameters:
    left, top, right, bottom = (0.04 + 0.5 * min(b, 0.06) for b in image.border)
    return replace(image, border=(left, top, right, bottom) if present else (0.0, 0.0, 0.0, 0.0))


def _small_child(patient: PatientParameters, present: bool) -> PatientParameters:
    if not present:
        return patient
    # The drawn adult says which child it is, so no further number has to be drawn.
    age = 1 + patient.age % 5
    return replace(
        patient,
        age=age,
        body_size=(0.5 + 0.04 * age) * patient.body_size,
        infancy=1.0 - 0.1 * (age - 1),
        breast=0.0,
        wall=0.55 * patient.wall,
        bone=1.15 * patient.bone,
    )


# In this order, which is part of the random stream of each shortcut.
for _name, _kind in {
    "marker": ShortcutKind(
        "the word PORTABLE burned into a corner; nothing burned in elsewhere",
        image=lambda image, there: replace(image, marker="PORTABLE" if there else ""),
    ),
    "border": ShortcutKind(
        "black collimation on all four sides; none elsewhere", image=_collimated
    ),
    "brightness": ShortcutKind(
        "a brighter image, as if less exposed",
        image=lambda image, there: replace(
            image, exposure=0.5 * image.exposure + (0.55 if there else -0.35)
        ),
    ),
    "blur": ShortcutKind(
        "a blurred image (sigma about 1.8 pixels at 224)",
        image=lambda image, there: replace(image, blur=image.blur + 1.3 if there else image.blur),
    ),
    "jpeg": ShortcutKind(
        "blocks of a JPEG of quality 18",
        image=lambda image, there: replace(image, jpeg_quality=18 if there else 0),
    ),
    "inversion": ShortcutKind(
        "bone is dark, air is bright",
        image=lambda image, there: replace(image, inverted=there),
    ),
    "noise": ShortcutKind(
        "four times the detector noise",
        image=lambda image, there: replace(
            image, noise=4.0 * image.noise if there else image.noise
        ),
    ),
    "body-size": ShortcutKind(
        "a small child of one to five years instead of an adult", patient=_small_child
    ),
    "hospital": ShortcutKind(
        "the image comes from the first hospital",
        # The cohort draws among the other hospitals when this shortcut is planted.
        patient=lambda patient, there: replace(patient, hospital=0) if there else patient,
    ),
}.items():
    SHORTCUTS.register(_name)(_kind)
