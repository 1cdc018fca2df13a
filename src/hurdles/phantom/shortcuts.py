"""Shortcuts: marks that tell the class without telling anything about the lungs.

A shortcut is planted by changing the drawn parameters of a patient and of his images, never the
pixels afterwards: what was planted can be read from the stored parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from hurdles.errors import RecipeError
from hurdles.phantom.parameters import ImageParameters, PatientParameters, generator
from hurdles.registry import Registry

__all__ = ["SHORTCUTS", "Shortcut"]


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

    Examples
    --------
    >>> certain = Shortcut("marker", 1.0, target="COVID-19")
    >>> is_planted(certain, 0, 7, "COVID-19"), is_planted(certain, 0, 7, "Normal")
    (True, False)
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
