"""A cohort as hurdles see it: patients of a pool, each in the state that the plant's draw gives.

Phantoms rendered once in every state, from which cohorts are drawn again and again.

Rendering is what costs time, so every patient is rendered once as it is and once for each
shortcut present and absent; a cohort then is a choice of patients and of their states.

Real radiographs of one class in memory, into which shortcuts are planted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

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
from hurdles.phantom.shortcuts import is_planted
from hurdles.pixels.perturb import plant
from hurdles.progress import Options

#: What the patients of a pool have; the second has no disease.
CLASSES = ("COVID-19", "Normal")
#: The state in which nothing is planted.
PLAIN = "plain"
#: Patients rendered by one task.
CHUNK = 200


@dataclass(frozen=True, eq=False)
class Shelf:
    """All images of a pool in one state.

    Parameters
    ----------
    frame : DataFrame
        One row per image, as in a manifest without paths; row i is of the same patient and the
        same visit in every state.
    pixels : uint8 array of shape (N, S, S)
    masks : bool array of shape (N, S, S)
        The lungs, as they were rendered.
    """

    frame: pd.DataFrame
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None


class Stock(Protocol):
    """Where cohorts are drawn from: phantoms, or real images in memory."""

    def shelf(self, state: str) -> Shelf:
        """Return all images in one state, see `state_of`."""


def state_of(plant: str, present: bool) -> str:
    """Return the name of a state."""
    return f"{plant}-{'present' if present else 'absent'}"


class Pool:
    """Rendered phantoms of one seed, in a folder.

    Parameters
    ----------
    folder : Path
        Where the rendered images are kept, one file for every 200 patients and state.
    seed : int
        Of the patients and of the three hospitals.
    patients : int
        How many, the classes alike.
    planted_patients : int
        The first of them, which are rendered with the shortcuts too.
    size : int
        Side of an image in pixels.
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

    def shelf(self, state: str) -> Shelf:
        """Return all images in one state; the last three states are kept in memory."""
        shelf: Shelf = self._open(state)
        return shelf

    def _read(self, state: str) -> Shelf:
        rendered, count = self._rendered_as(state), self._count(state)
        files = [self._file(rendered, first) for first in range(0, count, CHUNK)]
        missing = [f.name for f in files if not f.exists()]
        if missing:
            raise RunError(f"{self.folder}: {missing[0]} is not rendered; calibrate again.")
        frame = pd.DataFrame([row for case in self._cases(state, count) for _, row in case.rows()])
        frame = frame[["label", "patient", "source", "view", "sex", "age"]]
        names = frame["patient"] + "-" + (frame.groupby("patient").cumcount() + 1).astype(str)
        parts: list[tuple[NDArray[np.uint8], NDArray[np.bool_]]] = []
        for file in files:
            with np.load(file) as held:
                masks = np.unpackbits(held["masks"], axis=-1, count=self.size)
                parts.append((held["pixels"], masks.astype(np.bool_)))
        n = len(frame)  # a plain file may hold more patients than are wanted of this state
        pixels = np.concatenate([p for p, _ in parts])[:n]
        lungs = np.concatenate([m for _, m in parts])[:n]
        return Shelf(frame.assign(image=names), pixels, lungs)

    def _count(self, state: str) -> int:
        return self.patients if state == PLAIN else min(self.planted_patients, self.patients)

    def _file(self, state: str, first: int) -> Path:
        last = min(first + CHUNK, self._count(state))
        return self.folder / f"{self.seed}-{self.size}-{state}-{first:05d}-{last:05d}.npz"

    def _cases(self, state: str, count: int) -> tuple[Case, ...]:
        return draw_cohort(count, seed=self.seed, classes=CLASSES, shortcut=_shortcut(state))

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


def _shortcut(state: str) -> Shortcut | None:
    if state == PLAIN:
        return None
    name, _, where = state.rpartition("-")
    # Strength 0 leaves it to the base rate: everybody, or nobody.
    return Shortcut(name, 0.0, target=CLASSES[0], base_rate=float(where == "present"))


T = TypeVar("T", bound=np.generic)

#: Classes that differ in nothing: both are drawn from the patients without a disease.
ALIKE = ("Normal A", "Normal B")
FRACTIONS = (0.6, 0.15, 0.25)


@dataclass(frozen=True)
class Planting:
    """What distinguishes the classes of a cohort.

    Parameters
    ----------
    disease : bool
        Whether one class has a disease.
    plant : str
        A shortcut to the first class; empty for none.
    strength : float
        Of the shortcut, 0 to 1.
    """

    disease: bool
    plant: str = ""
    strength: float = 0.0

    @property
    def classes(self) -> tuple[str, str]:
        """Names of the classes."""
        return CLASSES if self.disease else ALIKE


def draw_materials(
    stock: Stock,
    planting: Planting,
    counts: Sequence[int],
    *,
    seed: int,
    strengths: Sequence[float] | None = None,
) -> list[Material]:
    """Draw cohorts that share no patient, each split by patient (60, 15 and 25 %)."""
    present = stock.shelf(state_of(planting.plant, True) if planting.plant else PLAIN)
    absent = stock.shelf(state_of(planting.plant, False)) if planting.plant else present
    rng = np.random.default_rng((seed, 1))
    pools = _candidates(present.frame, planting, rng)
    wanted = sum(counts) // 2
    if min(map(len, pools)) < wanted:
        raise RecipeError(
            f"{wanted} patients of each class are needed and {min(map(len, pools))} are there; "
            "make pools larger or cohorts smaller."
        )
    materials, used = [], 0
    for place, count in enumerate(counts):
        members = {p: c for c, pool in zip(planting.classes, pools, strict=True)
                   for p in pool[used : used + count // 2]}  # fmt: skip
        used += count // 2
        strength = planting.strength if strengths is None else strengths[place]
        carriers = _carriers(planting, members, strength, seed + place)
        name = "elsewhere" if place else "inside"
        materials.append(_material(name, present, absent, members, carriers, seed))
    return materials


def _candidates(
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


def _carriers(planting: Planting, members: dict[str, str], strength: float, seed: int) -> set[str]:
    if not planting.plant:
        return set()
    shortcut = Shortcut(planting.plant, strength, target=planting.classes[0])
    return {
        patient
        for number, (patient, label) in enumerate(members.items())
        if is_planted(shortcut, seed, number, label)
    }


def _material(
    name: str,
    present: Shelf,
    absent: Shelf,
    members: dict[str, str],
    carriers: set[str],
    seed: int,
) -> Material:
    chosen = present.frame["patient"].isin(list(members)).to_numpy()
    rows = np.flatnonzero(chosen)
    carried = present.frame["patient"].iloc[rows].isin(list(carriers)).to_numpy()
    frame = present.frame.iloc[rows].copy()
    frame.loc[~carried] = absent.frame.iloc[rows[~carried]]
    frame["label"] = frame["patient"].map(members)
    frame["path"] = "/" + frame["image"]
    # Rows come in random order: in the pool's, the order of patients would be the same each time.
    order = np.random.default_rng((seed, 2)).permutation(len(rows))
    where = np.where(carried, 1, 0)[order]
    manifest = split(
        Manifest(frame.iloc[order].reset_index(drop=True)), fractions=FRACTIONS, seed=seed
    )
    masks = None
    if present.masks is not None and absent.masks is not None:
        masks = _picked(present.masks, absent.masks, rows[order], where)
    pixels = _picked(present.pixels, absent.pixels, rows[order], where)
    return Material(name, manifest, pixels, masks=masks, seed=seed)


def _picked(
    present: NDArray[T], absent: NDArray[T], rows: NDArray[np.int64], where: NDArray[np.int64]
) -> NDArray[T]:
    found = absent[rows]
    found[where == 1] = present[rows[where == 1]]
    return found


_LABEL = "No Finding"
_COLUMNS = ("image", "label", "patient", "source", "view", "sex", "age")


@dataclass(frozen=True, eq=False)
class RealStock:
    """Images of patients of one class; a `hurdles.auditing.calibrate.cohorts.Stock`.

    Parameters
    ----------
    frame : DataFrame
        As in `Shelf`; every label is the class without a disease.
    pixels : uint8 array of shape (N, S, S)
    masks : bool array of shape (N, S, S), optional
        The lungs as they were found; None where they were not looked for.
    """

    frame: pd.DataFrame
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_] | None = None

    def shelf(self, state: str) -> Shelf:
        """Return all images in one state; planted pixels are kept."""
        return _planted(self, state)

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        arrays: dict[str, Any] = {f"frame:{c}": _text(self.frame[c]) for c in self.frame}
        if self.masks is not None:
            arrays["masks"] = self.masks
        with replacing(path) as part, part.open("wb") as handle:
            np.savez(handle, pixels=self.pixels, **arrays)

    @classmethod
    def load(cls, path: Path) -> RealStock:
        """Read what `save` wrote."""
        if not path.exists():
            raise RunError(f"{path} is missing; calibrate again.")
        with np.load(path) as held:
            columns = {k.removeprefix("frame:"): held[k] for k in held if k.startswith("frame:")}
            frame = pd.DataFrame(columns)
            for column in ("source", "view", "sex"):
                frame[column] = frame[column].where(frame[column] != "", None)
            frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
            return cls(frame, held["pixels"], held.get("masks"))


def read_stock(folder: Path, *, size: int, options: Options) -> RealStock | None:
    """Read the adults without findings of the collection ``darkcovidnet``, with their lungs."""
    root = folder / "X-Ray Image DataSet"
    try:
        manifest = read_manifest(root, collection="darkcovidnet")
    except HurdlesError as error:
        options.listener.say(f"nothing is planted into real images: {error}")
        return None
    rows = manifest.frame[manifest.frame["label"] == _LABEL]
    alike = Manifest(rows.assign(label=CLASSES[1]).reset_index(drop=True))
    found = material_of(alike, name=root.name, options=options, size=size)
    return RealStock(found.manifest.frame[list(_COLUMNS)], np.asarray(found.pixels), found.masks)


@functools.lru_cache(maxsize=3)
def _planted(stock: RealStock, state: str) -> Shelf:
    if state == PLAIN:
        return Shelf(stock.frame, stock.pixels, stock.masks)
    name, _, where = state.rpartition("-")
    present = np.full(len(stock.pixels), where == "present")
    return Shelf(stock.frame, plant(name, stock.pixels, present), stock.masks)


def _text(column: pd.Series[Any]) -> NDArray[np.str_]:
    return np.array(["" if pd.isna(v) else str(v) for v in column], dtype=str)
