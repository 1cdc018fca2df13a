"""Detectors of the hurdle *files* on real X-rays: how often each is right, and wrong.

Reads the collections under ``$HURDLES_DATA`` (Cohen's table names lateral views and CT), inverts
every other frontal image, and prints counts with Wilson's interval. Run it with
``HURDLES_DATA=... python bench/detectors.py [--images 600]``; images are drawn by a fixed seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.data.files import (
    FRAME,
    MARKED,
    chest_likeness,
    frame_width,
    is_inverted,
    is_no_chest,
    marked_share,
)
from hurdles.data.reading import locate, read_manifest
from hurdles.errors import HurdlesError
from hurdles.evaluation.bounds import wilson
from hurdles.phantom import Shortcut, phantom_cohort
from hurdles.pixels.decode import decode

SIDE = 224
COLLECTIONS = ("cohen", "kermany", "darkcovidnet", "montgomery-shenzhen", "radiography-database")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600, help="at most so many of a collection")
    chosen = parser.parse_args()
    frontal = []
    for name, pixels in _frontal(chosen.images):
        frontal.append(pixels)
        like = chest_likeness(pixels)
        _line(f"{name}: called inverted", is_inverted(like))
        _line(f"{name}: inverted, and called so", is_inverted(chest_likeness(255 - pixels)))
        _line(f"{name}: called no frontal chest", is_no_chest(like))
    everything = chest_likeness(np.concatenate(frontal))
    _line("all frontal: called inverted", is_inverted(everything))
    _line("all frontal: called no frontal chest", is_no_chest(everything))
    for kind, pixels in _others():
        like = chest_likeness(pixels)
        _line(f"{kind}: called no frontal chest or inverted", is_no_chest(like) | is_inverted(like))
    for shortcut, measure, threshold in (
        ("marker", marked_share, MARKED),
        ("border", frame_width, FRAME),
    ):
        made = phantom_cohort(
            200, seed=1, size=SIDE, classes=("COVID-19", "Normal"), shortcut=Shortcut(shortcut, 1.0)
        )
        planted = (made.frame["label"] == "COVID-19").to_numpy()
        found = measure(made.pixels) >= threshold
        _line(f"phantoms, {shortcut} planted: found", found[planted])
        _line(f"phantoms, {shortcut} absent: found", found[~planted])


def _line(says: str, flags: NDArray[np.bool_]) -> None:
    count = int(flags.sum())
    print(f"{says:60s} {count:5d} of {len(flags):5d}  {wilson(count, len(flags))}")


def _frontal(most: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name in COLLECTIONS:
        try:
            paths = read_manifest(name).frame["path"]
        except HurdlesError as error:
            print(f"{name}: left out ({error})")
            continue
        drawn = np.random.default_rng(0).permutation(len(paths))[:most]
        yield name, _pixels([paths[i] for i in drawn])


def _others() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    folder = locate("cohen")
    table = pd.read_csv(folder / "metadata.csv", dtype="str", keep_default_na=False)
    lateral = table["view"].isin(["L", "LL"]) & (table["modality"] != "CT")
    for kind, rows in (
        ("lateral", table[lateral]),
        ("axial CT", table[(table["modality"] == "CT") & (table["view"] == "Axial")]),
        ("coronal CT", table[(table["modality"] == "CT") & (table["view"] == "Coronal")]),
    ):
        paths = [folder / "images" / name for name in rows["filename"]]
        yield kind, _pixels([str(path) for path in paths if path.is_file()])


def _pixels(paths: list[str]) -> NDArray[np.uint8]:
    read = [cv2.resize(decode(p), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in paths]
    return (np.clip(np.stack(read), 0, 1) * 255).astype(np.uint8)


if __name__ == "__main__":
    main()
