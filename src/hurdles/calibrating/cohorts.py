"""Cohorts as hurdles see them: patients of a pool, each in the state that the plant's draw gives.

Rendering is what costs time, so every patient of a pool is rendered once as it is and once for each
shortcut present and absent; a cohort then is a choice of patients and of their states. Beside pools
of phantoms, cohorts are drawn from the healthy of public collections, into whom shortcuts are
planted.
"""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.loading import material_of
from hurdles.auditing.material import Material
from hurdles.data.files import replacing
from hurdles.data.manifest import Manifest
from hurdles.data.reading import read_manifest
from hurdles.data.split import split
from hurdles.errors import HurdlesError, RecipeError, RunError
from hurdles.phantom import Case, Shortcut, draw_cohort, render
from hurdles.phantom.parameters import is_planted
from hurdles.pixels.perturb import plant
from hurdles.progress import Options

#: What the patients of a pool have; the second has no disease.
CLASSES = ("COVID-19", "Normal")
#: The state in which nothing is planted.
PLAIN = "plain"
#: Patients rendered by one task.
CHUNK = 200
#: Patients that are rendered again, to see whether a pool is still what would be rendered.
_HELD = 4
#: Classes that differ in nothing: both are drawn from the patients without a disease.
ALIKE = ("Normal A", "Normal B")
FRACTIONS = (0.6, 0.15, 0.25)
_COLUMNS = ["label", "patient", "source", "view", "sex", "age"]

T = TypeVar("T", bound=np.generic)


class Images(NamedTuple):
    """All images of a pool in one state: uint8 and bool arrays of shape (N, S, S).

    `frame` is as in a manifest without paths; row i is of the same patient and the same visit in
    every state. `masks` are the lungs; None where they were not looked for.
    """

    frame: pd.DataFrame
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None


def state_of(plant: str, present: bool) -> str:
    """Return the name of a state."""
    return f"{plant}-{'present' if present else 'absent'}"


class Pool:
    """Phantoms of one seed, rendered into a folder: one file for every 200 patients and state.

    The seed is that of the patients, the classes alike, and of the three hospitals. The first
    `planted_patients` are rendered with the shortcuts too.
    """

    def __init__(
        self, folder: Path, *, seed: int, patients: int, planted_patients: int, size: int
    ) -> None:
        self.folder = folder
        self.seed, self.size = seed, size
        self.patients, self.planted_patients = patients, planted_patients
        # Two states are open at a time: a shortcut's, or the one without any.
        self._open = functools.lru_cache(maxsize=3)(self._read)

    def tasks(self, plants: tuple[str, ...]) -> list[tuple[str, int]]:
        """Return what is to be rendered and is not yet: states, and first patients."""
        states = [PLAIN, *(state_of(p, here) for p in plants for here in (True, False))]
        wanted = dict.fromkeys(self._rendered_as(state) for state in states)
        return [
            (state, first)
            for state in wanted
            for first in range(0, self._count(state), CHUNK)
            if not self._file(state, first).exists()
        ]

    def make(self, state: str, first: int) -> None:
        """Render one task and write it, whole or not at all."""
        cases = self._cases(state, min(first + CHUNK, self._count(state)))[first:]
        made = [render(c.patient, image, size=self.size) for c in cases for image, _ in c.rows()]
        pixels = np.stack([m.pixels for m in made])
        masks = np.packbits(np.stack([m.mask > 127 for m in made]), axis=-1)
        with replacing(self._file(state, first)) as part, part.open("wb") as handle:
            np.savez(handle, pixels=pixels, masks=masks)

    def is_current(self) -> bool:
        """Return whether the first patients, if rendered, are rendered so today."""
        file = self._file(PLAIN, 0)
        if not file.exists():
            return True
        cases = self._cases(PLAIN, min(_HELD, self._count(PLAIN)))
        made = [render(c.patient, image, size=self.size) for c in cases for image, _ in c.rows()]
        with np.load(file) as arrays:
            held = arrays["pixels"][: len(made)]
        return np.array_equal(held, np.stack([m.pixels for m in made]))

    def images(self, state: str) -> Images:
        """Return all images in one state; the last three states are kept in memory."""
        images: Images = self._open(state)
        return images

    def _read(self, state: str) -> Images:
        rendered, count = self._rendered_as(state), self._count(state)
        files = [self._file(rendered, first) for first in range(0, count, CHUNK)]
        missing = [f.name for f in files if not f.exists()]
        if missing:
            raise RunError(f"{self.folder}: {missing[0]} is not rendered; calibrate again.")
        rows = [row for case in self._cases(state, count) for _, row in case.rows()]
        frame = pd.DataFrame(rows)[_COLUMNS]
        names = frame["patient"] + "-" + (frame.groupby("patient").cumcount() + 1).astype(str)
        pixels, masks = [], []
        for file in files:
            with np.load(file) as arrays:
                pixels.append(arrays["pixels"])
                masks.append(np.unpackbits(arrays["masks"], axis=-1, count=self.size))
        n = len(frame)  # a plain file may hold more patients than are wanted of this state
        lungs = np.concatenate(masks)[:n].astype(np.bool_)
        return Images(frame.assign(image=names), np.concatenate(pixels)[:n], lungs)

    def _count(self, state: str) -> int:
        return self.patients if state == PLAIN else min(self.planted_patients, self.patients)

    def _file(self, state: str, first: int) -> Path:
        last = min(first + CHUNK, self._count(state))
        return self.folder / f"{self.seed}-{self.size}-{state}-{first:05d}-{last:05d}.npz"

    def _cases(self, state: str, count: int) -> tuple[Case, ...]:
        shortcut = None
        if state != PLAIN:
            name, _, where = state.rpartition("-")
            # Strength 0 leaves it to the base rate: everybody, or nobody.
            rate = float(where == "present")
            shortcut = Shortcut(name, 0.0, target=CLASSES[0], base_rate=rate)
        return draw_cohort(count, seed=self.seed, classes=CLASSES, shortcut=shortcut)

    def _rendered_as(self, state: str) -> str:
        """Return the state that looks the same: most shortcuts leave those without them alone."""
        if state == PLAIN:
            return PLAIN
        plain, changed = self._cases(PLAIN, 20), self._cases(state, 20)
        same = all(
            (a.patient, a.images) == (b.patient, b.images)
            for a, b in zip(plain, changed, strict=True)
        )
        return PLAIN if same else state


class RealImages:
    """Real images in memory, of patients without a disease, into which shortcuts are planted."""

    def __init__(self, plain: Images) -> None:
        self.plain = plain
        self._planted = functools.lru_cache(maxsize=3)(self._plant)

    def images(self, state: str) -> Images:
        """Return all images in one state; the last three states are kept in memory."""
        images: Images = self.plain if state == PLAIN else self._planted(state)
        return images

    def _plant(self, state: str) -> Images:
        name, _, where = state.rpartition("-")
        present = np.full(len(self.plain.pixels), where == "present")
        return self.plain._replace(pixels=plant(name, self.plain.pixels, present))

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all; where there is one, it must hold the same."""
        if path.exists():
            if not self._is_in(path):
                raise RunError(f"{path} holds other images than these; give another --out.")
            return
        frame = self.plain.frame.astype(object)
        text = frame.where(frame.notna(), "").astype(str)
        arrays: dict[str, Any] = {f"frame:{c}": text[c].to_numpy(dtype=str) for c in frame}
        if self.plain.masks is not None:
            arrays["masks"] = self.plain.masks
        with replacing(path) as part, part.open("wb") as handle:
            np.savez(handle, pixels=self.plain.pixels, **arrays)

    def _is_in(self, path: Path) -> bool:
        try:
            there = RealImages.load(path).plain
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        return np.array_equal(there.pixels, self.plain.pixels) and list(
            there.frame["image"]
        ) == list(self.plain.frame["image"])

    @classmethod
    def load(cls, path: Path) -> RealImages:
        """Read what `save` wrote."""
        if not path.exists():
            raise RunError(f"{path} is missing; calibrate again.")
        with path.open("rb") as handle, np.load(handle) as held:
            columns = {k.removeprefix("frame:"): held[k] for k in held if k.startswith("frame:")}
            frame = pd.DataFrame(columns)
            for column in ("source", "view", "sex"):
                frame[column] = frame[column].where(frame[column] != "", None)
            frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
            return cls(Images(frame, held["pixels"], held.get("masks")))


#: Where cohorts are drawn from.
Source: TypeAlias = Pool | RealImages


class RealCollection(NamedTuple):
    """Public collection of one hospital: its folder, its label of the healthy, and who they are."""

    folder: str
    label: str
    who: str


#: Collections of which real cohorts are drawn, by name.
REAL: dict[str, RealCollection] = {
    "darkcovidnet": RealCollection(
        "X-Ray Image DataSet", "No Finding", "adults without findings of NIH ChestX-ray8"
    ),
    "kermany": RealCollection(
        "chest_xray", "Normal", "children of one to five years without pneumonia, Kermany 2018"
    ),
}
#: Patients of a real collection at most, drawn by chance.
_MOST = 500


def read_real_images(folder: Path, *, size: int, options: Options) -> dict[str, RealImages]:
    """Read the healthy of each of `REAL`, with their lungs; what is missing is said."""
    found = {}
    for name, collection in REAL.items():
        root = folder / collection.folder
        try:
            frame = read_manifest(root, collection=name).frame
        except HurdlesError as error:
            options.listener.say(f"nothing is planted into images of {name}: {error}")
            continue
        frame = frame[frame["label"] == collection.label]
        patients = np.random.default_rng(0).permutation(frame["patient"].unique())[:_MOST]
        frame = frame[frame["patient"].isin(patients)].assign(label=CLASSES[1])
        material = material_of(
            Manifest(frame.reset_index(drop=True)), name=name, options=options, size=size
        )
        # What collections hold twice would be no false alarm.
        flat = material.pixels.reshape(len(material), -1)
        material = material.take(np.sort(np.unique(flat, axis=0, return_index=True)[1]))
        kept = material.manifest.frame[["image", *_COLUMNS]]
        found[name] = RealImages(Images(kept, np.asarray(material.pixels), material.masks))
    return found


class Planting(NamedTuple):
    """Difference between the classes of a cohort: a disease, a shortcut to the first, or both."""

    disease: bool
    plant: str = ""
    strength: float = 0.0

    @property
    def classes(self) -> tuple[str, str]:
        """Names of the classes."""
        return CLASSES if self.disease else ALIKE


def draw_materials(
    source: Source,
    planting: Planting,
    counts: Sequence[int],
    *,
    seed: int,
    strengths: Sequence[float] | None = None,
) -> list[Material]:
    """Draw cohorts that share no patient, each split by patient (60, 15 and 25 %)."""
    present = source.images(state_of(planting.plant, True) if planting.plant else PLAIN)
    absent = source.images(state_of(planting.plant, False)) if planting.plant else present
    patients = _patients_of_classes(present.frame, planting, np.random.default_rng((seed, 1)))
    wanted, available = sum(counts) // 2, min(map(len, patients))
    if available < wanted:
        raise RecipeError(
            f"{wanted} patients of each class are needed and {available} are there; make pools "
            "larger or cohorts smaller."
        )
    materials, used = [], 0
    for place, count in enumerate(counts):
        members = {
            patient: label
            for label, names in zip(planting.classes, patients, strict=True)
            for patient in names[used : used + count // 2]
        }
        used += count // 2
        carriers = set()
        if planting.plant:
            strength = planting.strength if strengths is None else strengths[place]
            shortcut = Shortcut(planting.plant, strength, target=planting.classes[0])
            carriers = {
                patient
                for number, (patient, label) in enumerate(members.items())
                if is_planted(shortcut, seed + place, number, label)
            }
        name = "elsewhere" if place else "inside"
        materials.append(_material(name, present, absent, members, carriers, seed))
    return materials


def _patients_of_classes(
    frame: pd.DataFrame, planting: Planting, rng: np.random.Generator
) -> list[NDArray[np.str_]]:
    """Return the patients of each class in random order."""
    who = frame.drop_duplicates("patient")
    if planting.disease:
        return [
            rng.permutation(who.loc[who["label"] == c, "patient"].to_numpy(str)) for c in CLASSES
        ]
    # Of patients alike, chance alone decides who is called what.
    alike = rng.permutation(who.loc[who["label"] == CLASSES[1], "patient"].to_numpy(str))
    half = len(alike) // 2
    return [alike[:half], alike[half:]]


def _material(
    name: str,
    present: Images,
    absent: Images,
    members: dict[str, str],
    carriers: set[str],
    seed: int,
) -> Material:
    rows = np.flatnonzero(present.frame["patient"].isin(list(members)))
    carried = present.frame["patient"].iloc[rows].isin(list(carriers)).to_numpy()
    frame = present.frame.iloc[rows].copy()
    frame.loc[~carried] = absent.frame.iloc[rows[~carried]]
    frame["label"] = frame["patient"].map(members)
    frame["path"] = "/" + frame["image"]
    # Rows come in random order: in the pool's, the order of patients would be the same each time.
    order = np.random.default_rng((seed, 2)).permutation(len(rows))
    rows, carried = rows[order], carried[order]
    manifest = split(
        Manifest(frame.iloc[order].reset_index(drop=True)), fractions=FRACTIONS, seed=seed
    )

    def picked(with_plant: NDArray[T], without: NDArray[T]) -> NDArray[T]:
        images = without[rows]
        images[carried] = with_plant[rows[carried]]
        return images

    masks = None
    if present.masks is not None and absent.masks is not None:
        masks = picked(present.masks, absent.masks)
    return Material(name, manifest, picked(present.pixels, absent.pixels), masks=masks, seed=seed)
