"""A cohort as hurdles see it: patients of a pool, each in the state that the plant's draw gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.calibrate.pool import CLASSES, PLAIN, Shelf, Stock, state_of
from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.errors import RecipeError
from hurdles.phantom import Shortcut
from hurdles.phantom.shortcuts import is_planted

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
