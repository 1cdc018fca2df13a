"""How many pairs of different patients are nearly copies, and how many are taken for some.

    python bench/look_alikes.py FOLDER > docs/results/look-alikes.txt

Phantoms are more alike than radiographs of different persons: how their pairs grow fewer with
similarity is held against the rate of the hurdle `duplicates`. It is then said in how many cohorts
the threshold alone would have taken a pair for a copy, and in how many the hurdle does. Below, the
same of the public collections in FOLDER; their pairs of 0.982 and more are copies, as far as
anybody looked. Last, what asking for more costs: copies planted into cohorts of a few and of many
look-alikes, each altered in one way and called another patient's, and how many of them are shown,
reach the threshold, and count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from hurdles.auditing.data import duplicates
from hurdles.auditing.material import Material
from hurdles.copies.finder import LIKELY, THRESHOLD
from hurdles.data.manifest import Manifest
from hurdles.evaluation.bounds import wilson
from hurdles.phantom import phantom_cohort
from hurdles.training.machine import environment, in_words
from near_duplicates import ALTERATIONS, resized
from twins import collections

EDGES = (0.965, 0.97, 0.974, 0.978, 0.98, THRESHOLD, 0.984)
COHORTS, PATIENTS = 10, 700
SIZES = (96, 224)
#: Cohorts into which copies are planted: patients, and copies of each alteration in each cohort.
CROWDS, PLANTED = (200, 700), 10


def pairs_of(manifest: Manifest, pixels: np.ndarray):
    material = Material("look-alikes", manifest, pixels)
    return duplicates.pairs_in(material)


def counts(similarity: np.ndarray) -> str:
    return "".join(f"{int((similarity >= edge).sum()):>8}" for edge in (LIKELY, *EDGES))


def cohort(patients: int, seed: int, size: int) -> tuple[pd.DataFrame, np.ndarray]:
    drawn = phantom_cohort(patients, seed=5 + seed, size=size, classes=("COVID-19", "Normal"))
    return drawn.frame.assign(path="/" + drawn.frame["image"]), drawn.pixels


def phantoms(size: int) -> None:
    similar, beyond, taken = [], 0, 0
    for seed in range(COHORTS):
        frame, pixels = cohort(PATIENTS, seed, size)
        pairs = pairs_of(Manifest(frame), pixels)
        others = pairs[~pairs["same_patient"]]
        similar.append(others["similarity"].to_numpy())
        beyond += bool((similar[-1] >= THRESHOLD).any())
        taken += bool(others["is_copy"].any())
    every = np.concatenate(similar)
    excess = np.arctanh((LIKELY, *EDGES)) - np.arctanh(LIKELY)
    expected = len(every) * np.exp(-duplicates.RATE * excess)
    print(f"{f'phantoms of {size} pixels':<40}{counts(every)}")
    print(f"{'  by the rate of the hurdle':<40}{''.join(f'{n:>8.0f}' for n in expected)}")
    print(
        f"  of {COHORTS} cohorts with a pair of {THRESHOLD} or more {beyond}, with one that is "
        f"taken for a copy {taken}",
        flush=True,
    )


def recall(patients: int, size: int = 224) -> None:
    """Print how many planted copies are shown, reach the threshold, and count, by alteration."""
    found = {how: np.zeros(3, dtype=np.intp) for how in ALTERATIONS}
    bars = []
    for seed in range(COHORTS):
        frame, pixels = cohort(patients, seed, size)
        for number, how in enumerate(ALTERATIONS):
            rng = np.random.default_rng([seed, number])
            rows = rng.choice(len(frame), PLANTED, replace=False)
            copies = [resized(ALTERATIONS[how](pixels[row], rng), size) for row in rows]
            names = "copy|" + frame["image"].iloc[rows]
            planted = frame.iloc[rows].assign(image=names, path="/" + names, patient=names)
            pairs = pairs_of(
                Manifest(pd.concat([frame, planted], ignore_index=True)),
                np.concatenate([pixels, np.stack(copies)]),
            )
            one, two = pairs["image_a"], pairs["image_b"]
            mine = pairs[(one == "copy|" + two) | (two == "copy|" + one)]
            counted = int(mine["is_copy"].sum())
            found[how] += len(mine), int((mine["similarity"] >= THRESHOLD).sum()), counted
            bars.append(duplicates.counts_from(pairs))
    print(
        f"\n{COHORTS} cohorts of {patients} patients, {PLANTED} copies of each kind in each; pairs "
        f"count from {min(bars):.3f} to {max(bars):.3f}"
    )
    print(f"{'':<32}{LIKELY:>8}{THRESHOLD:>8}   counts, of {COHORTS * PLANTED} [95 % interval]")
    for how, (shown, reach, counted) in found.items():
        share = wilson(int(counted), COHORTS * PLANTED)
        print(
            f"{how:<32}{shown:>8}{reach:>8}{counted:>9} [{100 * share.low:.0f}, "
            f"{100 * share.high:.0f}]",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    heads = "".join(f"{edge:>8}" for edge in (LIKELY, *EDGES))
    print(f"{COHORTS} cohorts of {PATIENTS} patients, and public collections: pairs of images of")
    print("different patients (or unnamed ones) of a similarity of at least\n")
    print(f"{'':<40}{heads}")
    for size in SIZES:
        phantoms(size)
    for name, images in collections(folder):
        pairs = pairs_of(images.manifest, images.pixels)
        others = pairs[~pairs["same_patient"]]
        print(f"{f'{name}, {len(images.manifest):,} images':<40}{counts(others['similarity'])}")
        print(f"  taken for copies {int(others['is_copy'].sum())}", flush=True)
    for patients in CROWDS:
        recall(patients)
    print(f"\n{in_words(environment())}")


if __name__ == "__main__":
    main()
