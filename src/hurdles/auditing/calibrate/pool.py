"""Phantoms rendered once in every state, from which cohorts are drawn again and again.

Rendering is what costs time, so every patient is rendered once as it is and once for each
shortcut present and absent; a cohort then is a choice of patients and of their states.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import replacing
from hurdles.errors import RunError
from hurdles.phantom import Case, Shortcut, draw_cohort, render

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
