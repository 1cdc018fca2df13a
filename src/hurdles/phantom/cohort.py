"""Whole cohorts in memory or as files: patients, their images, and shortcuts planted in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from hurdles.data.files import write_bytes, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.untrusted import as_csv
from hurdles.errors import CollectionError, RecipeError
from hurdles.phantom.parameters import (
    PATTERNS,
    SHORTCUTS,
    HospitalParameters,
    ImageParameters,
    PatientParameters,
    Shortcut,
    draw_hospital,
    draw_image,
    draw_patient,
    generator,
    is_planted,
    pattern_of,
)
from hurdles.phantom.render import render

__all__ = ["Cohort", "draw_cohort", "phantom_cohort", "write_phantom"]

#: Goes up whenever the same settings would give other pixels.
FORMAT = 1

_SETTINGS, _MANIFEST = "parameters.json", "manifest.csv"

Bytes = npt.NDArray[np.uint8]
Shortcuts = Shortcut | Sequence[Shortcut] | None


@dataclass(frozen=True)
class Case:
    """One patient with all images, drawn but not rendered."""

    patient: PatientParameters
    images: tuple[ImageParameters, ...]
    shortcuts: dict[str, bool]  # whether the patient carries each planted shortcut

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
        anything is burned in.
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


def draw_cohort(
    n_patients: int = 200,
    *,
    seed: int = 0,
    classes: Sequence[str] = tuple(PATTERNS),
    hospitals: int = 3,
    shortcut: Shortcuts = None,
) -> tuple[Case, ...]:
    """Draw all parameters of a cohort without rendering it; settings are as in `phantom_cohort`.

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
    shortcuts = _listed(shortcut)
    if n_patients < 1 or hospitals < 1:
        raise RecipeError(
            f"a cohort needs at least one patient and one hospital; "
            f"{n_patients} and {hospitals} were asked for."
        )
    if len(classes) < 1 or len(set(classes)) != len(classes):
        raise RecipeError(f"classes must be named once each; got {', '.join(classes) or 'none'}.")
    for each in shortcuts:
        if each.target not in classes:
            raise RecipeError(
                f"the shortcut {each.name!r} points to {each.target!r}, which is "
                f"not one of the classes: {', '.join(classes)}."
            )
    names = [each.name for each in shortcuts]
    if len(set(names)) != len(names):
        raise RecipeError(f"a shortcut is planted twice: {', '.join(names)}. Name each once.")
    if "hospital" in names and hospitals < 2:
        raise RecipeError("the shortcut 'hospital' needs at least two hospitals.")
    equipment = [draw_hospital(seed, number) for number in range(hospitals)]
    return tuple(_case(seed, i, classes, equipment, shortcuts) for i in range(n_patients))


def _listed(shortcut: Shortcuts) -> tuple[Shortcut, ...]:
    if shortcut is None:
        return ()
    return (shortcut,) if isinstance(shortcut, Shortcut) else tuple(shortcut)


def _case(
    seed: int,
    index: int,
    classes: Sequence[str],
    equipment: list[HospitalParameters],
    shortcuts: tuple[Shortcut, ...],
) -> Case:
    # Classes are dealt out in shuffled rounds: balanced, and the same however many are drawn.
    turn, place = divmod(index, len(classes))
    label = classes[int(generator(seed, "labels", turn).permutation(len(classes))[place])]
    present = {each.name: is_planted(each, seed, index, label) for each in shortcuts}
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
    pairs = [(case, *pair) for case in cases for pair in case.rows()]
    rendered = [render(case.patient, image, size=size) for case, image, _ in pairs]
    return Cohort(
        pd.DataFrame([row for _, _, row in pairs]),
        np.stack([each.pixels for each in rendered]),
        np.stack([each.mask for each in rendered]),
        np.stack([each.opacity for each in rendered]),
        cases,
    )


def write_phantom(
    folder: str | Path,
    n_patients: int = 200,
    *,
    seed: int = 0,
    size: int = 224,
    classes: Sequence[str] = tuple(PATTERNS),
    hospitals: int = 3,
    shortcut: Shortcuts = None,
) -> Manifest:
    """Write a cohort to `folder` and return its manifest; see `phantom_cohort` for the settings.

    ``<label>/<patient>-<number>.png`` are the images, ``masks/<label>/...`` the lung masks,
    ``parameters.json`` the settings and all drawn parameters, and ``manifest.csv``, written last,
    the table (its paths are relative, so the folder may be moved). A folder that already holds
    the same phantom is reused; one whose writing was interrupted is written again.

    Raises
    ------
    CollectionError
        If the folder holds something else: other settings, or files that are no phantom.
    """
    folder = Path(folder)
    settings = {
        "format": FORMAT,
        "n_patients": n_patients,
        "seed": seed,
        "size": size,
        "classes": list(classes),
        "hospitals": hospitals,
        "shortcuts": [asdict(each) for each in _listed(shortcut)],
    }
    settings = json.loads(json.dumps(settings))  # as they are read back
    if not _is_there(folder, settings):
        cases = draw_cohort(
            n_patients, seed=seed, classes=classes, hospitals=hospitals, shortcut=shortcut
        )
        content = {"settings": settings, "cases": [asdict(case) for case in cases]}
        write_text(folder / _SETTINGS, json.dumps(content, indent=1, allow_nan=False) + "\n")
        rows = [row for case in cases for row in _write_case(folder, case, size)]
        write_text(folder / _MANIFEST, as_csv(pd.DataFrame(rows)))
    return Manifest.load(folder / _MANIFEST)


def _is_there(folder: Path, settings: dict[str, Any]) -> bool:
    """Return whether the finished phantom is there; raise if the folder is something else."""
    # A writer that was killed at once leaves no more than a hidden part of a file.
    if not folder.exists() or all(p.name.endswith(".part") for p in folder.iterdir()):
        return False
    there = _read_settings(folder)
    if there != settings:
        differing = ", ".join(
            f"{k} is {there.get(k)!r}, not {v!r}" for k, v in settings.items() if there.get(k) != v
        )
        raise CollectionError(
            f"{folder} holds a phantom with other settings: {differing}. Choose another folder."
        )
    if not (folder / _MANIFEST).is_file():
        return False
    table = pd.read_csv(folder / _MANIFEST, usecols=["path", "mask"])
    return all((folder / p).is_file() for p in [*table["path"], *table["mask"]])


def is_phantom(folder: Path) -> bool:
    """Return whether `write_phantom` has filled a folder."""
    try:
        return bool(_read_settings(folder))
    except CollectionError:
        return False


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / _SETTINGS).read_text("utf-8"))["settings"]
    except (OSError, ValueError, KeyError) as error:
        raise CollectionError(
            f"{folder} is not empty, and its {_SETTINGS} does not say that it is a phantom "
            f"({error}). Choose another folder."
        ) from error
    return settings


def _write_case(folder: Path, case: Case, size: int) -> list[dict[str, Any]]:
    import cv2

    rows = []
    for image, row in case.rows():
        rendered = render(case.patient, image, size=size)
        path, mask = str(row["image"]), f"masks/{row['image']}"
        for name, array in ((path, rendered.pixels), (mask, rendered.mask)):
            _, code = cv2.imencode(".png", array, [cv2.IMWRITE_PNG_COMPRESSION, 3])
            write_bytes(folder / name, code.tobytes())
        rows.append({"image": row["image"], "path": path, **row, "mask": mask})
    return rows
