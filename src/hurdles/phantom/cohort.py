"""Whole cohorts: patients, their images, and the shortcuts planted in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hurdles.errors import RecipeError
from hurdles.phantom.disease import PATTERNS, pattern_of
from hurdles.phantom.draw import draw_hospital, draw_image, draw_patient, generator
from hurdles.phantom.parameters import (
    HospitalParameters,
    ImageParameters,
    PatientParameters,
)
from hurdles.phantom.render import Rendered, render
from hurdles.phantom.shortcuts import SHORTCUTS, Shortcut, is_planted

__all__ = ["Case", "Cohort", "Shortcuts", "draw_cohort", "phantom_cohort", "planted"]

Bytes = npt.NDArray[np.uint8]
Shortcuts = Shortcut | Sequence[Shortcut] | None


@dataclass(frozen=True)
class Case:
    """One patient with all images, drawn but not rendered.

    Parameters
    ----------
    patient : PatientParameters
    images : tuple of ImageParameters
    shortcuts : dict of str to bool
        Which planted shortcuts this patient carries.
    """

    patient: PatientParameters
    images: tuple[ImageParameters, ...]
    shortcuts: dict[str, bool]

    @property
    def name(self) -> str:
        """The patient's identifier."""
        return f"P{self.patient.index:04d}"

    def rows(self) -> Iterator[tuple[ImageParameters, dict[str, Any]]]:
        """Yield each image's parameters with its row of the manifest (without paths)."""
        for image in self.images:
            label = self.patient.label
            row: dict[str, Any] = {
                "image": f"{label}/{self.name}-{image.number + 1}.png",
                "label": label,
                "patient": self.name,
                "source": f"hospital-{self.patient.hospital + 1}",
                "view": image.view.value,
                "sex": self.patient.sex.value,
                "age": float(self.patient.age),
                "offset": image.day,
                "severity": round(image.severity, 4),
                "pattern": self.patient.pattern,
            }
            row |= {f"shortcut_{n}": present for n, present in self.shortcuts.items()}
            yield image, row


@dataclass(frozen=True, eq=False)
class Cohort:
    """Rendered phantoms.

    Parameters
    ----------
    frame : DataFrame
        One row per image: image, label, patient, source, view, sex, age as in a manifest, then
        offset (days since the first image), severity (0 to 1), pattern, and one boolean column
        ``shortcut_<name>`` for each planted shortcut.
    pixels, masks, opacities : uint8 arrays (N, size, size)
        Images; lung fields (0 or 255); share of air replaced by disease (0 to 255), before
        anything is burnt in.
    cases : tuple of Case
        The parameters from which everything was rendered.
    """

    frame: pd.DataFrame
    pixels: Bytes
    masks: Bytes
    opacities: Bytes
    cases: tuple[Case, ...]

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def manifest(self) -> pd.DataFrame:
        """The frame under the name that the manifest's columns have; there are no paths in it."""
        return self.frame


def planted(shortcut: Shortcuts) -> tuple[Shortcut, ...]:
    """Return one, several or no shortcuts as a tuple."""
    if shortcut is None:
        return ()
    return (shortcut,) if isinstance(shortcut, Shortcut) else tuple(shortcut)


def draw_cohort(
    n_patients: int = 200,
    *,
    seed: int = 0,
    classes: Sequence[str] = tuple(PATTERNS),
    hospitals: int = 3,
    shortcut: Shortcuts = None,
) -> tuple[Case, ...]:
    """Draw all parameters of a cohort without rendering it.

    Parameters
    ----------
    n_patients : int
        Patients, at least 1; each has one to three images.
    seed : int
        Everything is drawn from it, each patient from a stream of its own.
    classes : sequence of str
        Class names, each once, dealt out evenly; what they contain (covid, pneumonia, normal)
        decides on the opacities.
    hospitals : int
        Number of sources with equipment of their own, at least 1.
    shortcut : Shortcut, sequence of Shortcut, optional
        What is planted.

    Returns
    -------
    tuple of Case
        One for each patient, in the order of their numbers.

    Raises
    ------
    RecipeError
        If a number is too small, or a shortcut cannot be planted in this cohort.
    RegistryError
        If no opacities are known for a class.

    Examples
    --------
    >>> cases = draw_cohort(3)
    >>> sorted(case.patient.label for case in cases), cases == draw_cohort(9)[:3]
    (['COVID-19', 'Normal', 'Pneumonia'], True)
    """
    plants = planted(shortcut)
    _check(n_patients, classes, hospitals, plants)
    equipment = [draw_hospital(seed, number) for number in range(hospitals)]
    return tuple(_case(seed, i, classes, equipment, plants) for i in range(n_patients))


def _check(
    n_patients: int, classes: Sequence[str], hospitals: int, plants: tuple[Shortcut, ...]
) -> None:
    if n_patients < 1 or hospitals < 1:
        raise RecipeError(
            f"a cohort needs at least one patient and one hospital; "
            f"{n_patients} and {hospitals} were asked for."
        )
    if len(classes) < 1 or len(set(classes)) != len(classes):
        raise RecipeError(f"classes must be named once each; got {', '.join(classes) or 'none'}.")
    for plant in plants:
        if plant.target not in classes:
            raise RecipeError(
                f"the shortcut {plant.name!r} points to {plant.target!r}, which is "
                f"not one of the classes: {', '.join(classes)}."
            )
    names = [plant.name for plant in plants]
    if len(set(names)) != len(names):
        raise RecipeError(f"a shortcut is planted twice: {', '.join(names)}. Name each once.")
    if "hospital" in names and hospitals < 2:
        raise RecipeError("the shortcut 'hospital' needs at least two hospitals.")


def _label(seed: int, index: int, classes: Sequence[str]) -> str:
    """Deal classes out in shuffled rounds: balanced, and the same however long the game lasts."""
    turn, place = divmod(index, len(classes))
    return classes[int(generator(seed, "labels", turn).permutation(len(classes))[place])]


def _case(
    seed: int,
    index: int,
    classes: Sequence[str],
    equipment: list[HospitalParameters],
    plants: tuple[Shortcut, ...],
) -> Case:
    label = _label(seed, index, classes)
    present = {plant.name: is_planted(plant, seed, index, label) for plant in plants}
    first = 1 if "hospital" in present else 0
    chance = generator(seed, "hospital", 0, index + 1).uniform()
    hospital = first + int(chance * (len(equipment) - first))
    patient = draw_patient(seed, index, label, pattern_of(label), hospital)
    for name, here in present.items():
        change = SHORTCUTS.get(name).patient
        patient = change(patient, here) if change else patient
    images = []
    for number in range(patient.images):
        image = draw_image(seed, patient, number, equipment[patient.hospital])
        for name, here in present.items():
            alter = SHORTCUTS.get(name).image
            image = alter(image, here) if alter else image
        images.append(image)
    return Case(patient, tuple(images), present)


def phantom_cohort(
    n_patients: int = 200,
    *,
    seed: int = 0,
    size: int = 224,
    classes: Sequence[str] = tuple(PATTERNS),
    hospitals: int = 3,
    shortcut: Shortcuts = None,
) -> Cohort:
    """Make a cohort of synthetic chest radiographs in memory.

    Parameters
    ----------
    n_patients : int
        Patients; each has one to three images. Patient ``i`` is the same in every cohort of the
        same seed, however large.
    seed : int
        Everything is drawn from it; the global generators are neither read nor changed.
    size : int
        Pixels along a side, at least 32.
    classes : sequence of str
        Class names; what they contain (covid, pneumonia, normal) decides on the opacities.
    hospitals : int
        Number of sources with equipment of their own.
    shortcut : Shortcut, sequence of Shortcut, optional
        What is planted.

    Returns
    -------
    Cohort

    Raises
    ------
    RecipeError
        If the cohort is not well defined.
    RegistryError
        If a class or a shortcut is unknown.

    Examples
    --------
    >>> cohort = phantom_cohort(3, size=64)
    >>> sorted(cohort.frame["label"].unique())
    ['COVID-19', 'Normal', 'Pneumonia']
    >>> cohort.pixels.shape == (len(cohort), 64, 64)
    True
    """
    if size < 32:
        raise RecipeError(f"size is {size}; anatomy needs at least 32 pixels along a side.")
    cases = draw_cohort(
        n_patients, seed=seed, classes=classes, hospitals=hospitals, shortcut=shortcut
    )
    rows, made = [], []
    for case in cases:
        for image, row in case.rows():
            rows.append(row)
            made.append(render(case.patient, image, size=size))
    return Cohort(pd.DataFrame(rows), *_stacked(made), cases)


def _stacked(made: list[Rendered]) -> tuple[Bytes, Bytes, Bytes]:
    return (
        np.stack([m.pixels for m in made]),
        np.stack([m.mask for m in made]),
        np.stack([m.opacity for m in made]),
    )
