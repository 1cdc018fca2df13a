"""Shortcuts: marks that tell the class without telling anything about the lungs.

A shortcut is planted by changing the drawn parameters of a patient and of his images, never the
pixels afterwards: what was planted can be read from the stored parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hurdles.errors import RecipeError
from hurdles.phantom.parameters import ImageParameters, PatientParameters, generator
from hurdles.registry import Registry

__all__ = ["SHORTCUTS", "Shortcut", "ShortcutKind", "is_planted"]


@dataclass(frozen=True)
class ShortcutKind:
    """One kind of shortcut: what it says, and what it sets where it is and where it is not.

    Parameters
    ----------
    says : str
        What a person sees where the shortcut is present.
    patient, image : callable, optional
        ``(parameters, present) -> parameters``. Absence is set too, so that the mark never occurs
        by itself where the shortcut is said to be absent.
    """

    says: str
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
    """Draw whether this patient carries the shortcut.

    The two numbers drawn do not depend on the strength, so cohorts of different strength with
    one seed differ only in those patients whose shortcut really changes.

    Parameters
    ----------
    shortcut : Shortcut
        What is planted, and how strongly.
    seed : int
        The cohort's seed.
    patient : int
        Number of the patient, from 0.
    label : str
        The patient's class.

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


def _image_setting(
    name: str, says: str
) -> Callable[
    [Callable[[ImageParameters, bool], ImageParameters]],
    Callable[[ImageParameters, bool], ImageParameters],
]:
    def keep(
        change: Callable[[ImageParameters, bool], ImageParameters],
    ) -> Callable[[ImageParameters, bool], ImageParameters]:
        SHORTCUTS.register(name)(ShortcutKind(says, image=change))
        return change

    return keep


@_image_setting("marker", "the word PORTABLE burnt into a corner; nothing burnt in elsewhere")
def _marker(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, marker="PORTABLE" if present else "")


@_image_setting("border", "black collimation on all four sides; none elsewhere")
def _border(image: ImageParameters, present: bool) -> ImageParameters:
    wide = tuple(0.04 + 0.5 * min(b, 0.06) for b in image.border)
    none = (0.0, 0.0, 0.0, 0.0)
    return replace(image, border=(wide[0], wide[1], wide[2], wide[3]) if present else none)


@_image_setting("brightness", "a brighter image, as if less exposed")
def _brightness(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, exposure=0.5 * image.exposure + (0.55 if present else -0.35))


@_image_setting("blur", "a blurred image (sigma about 1.8 pixels at 224)")
def _blur(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, blur=image.blur + 1.3 if present else image.blur)


@_image_setting("jpeg", "blocks of a JPEG of quality 18")
def _jpeg(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, jpeg_quality=18 if present else 0)


@_image_setting("inversion", "bone is dark, air is bright")
def _inversion(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, inverted=present)


@_image_setting("noise", "four times the detector noise")
def _noise(image: ImageParameters, present: bool) -> ImageParameters:
    return replace(image, noise=4.0 * image.noise if present else image.noise)


def _small_child(patient: PatientParameters, present: bool) -> PatientParameters:
    if not present:
        return patient
    # The drawn adult says which child it is, so no further number has to be drawn.
    age = 1 + patient.age % 5
    size = (0.5 + 0.04 * age) * patient.body_size
    return replace(
        patient,
        age=age,
        body_size=size,
        infancy=1.0 - 0.1 * (age - 1),
        breast=0.0,
        wall=0.55 * patient.wall,
        bone=1.15 * patient.bone,
    )


def _first_hospital(patient: PatientParameters, present: bool) -> PatientParameters:
    # The cohort draws `hospital` among the others (1, 2, ...) when this shortcut is planted.
    return replace(patient, hospital=0) if present else patient


SHORTCUTS.register("body-size")(
    ShortcutKind("a small child of one to five years instead of an adult", patient=_small_child)
)
SHORTCUTS.register("hospital")(
    ShortcutKind("the image comes from the first hospital", patient=_first_hospital)
)
