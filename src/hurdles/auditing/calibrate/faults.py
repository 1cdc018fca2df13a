"""What is planted for the hurdles that look at tables and files: a known number of cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from hurdles.auditing.material import Material
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import TruncatedImageError
from hurdles.registry import Registry

Change = Callable[[Material, int, np.random.Generator], Material]


@dataclass(frozen=True)
class Fault:
    """A fault of a collection, by its name.

    Parameters
    ----------
    says : str
        What is wrong, for a reader.
    seen_by : str
        Name of the hurdle for data that is to see it.
    numbers : tuple of int
        How many cases are planted, one number in each condition.
    plant : callable
        ``(material, number, generator) -> material``.
    """

    says: str
    seen_by: str
    numbers: tuple[int, ...]
    plant: Change


#: Every fault by name.
FAULTS: Registry[Fault] = Registry("fault")


def fault_numbers(hurdles: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the faults that one of these hurdles is to see, with how many cases are planted."""
    faults = {name: FAULTS.get(name) for name in FAULTS}
    return {name: fault.numbers for name, fault in faults.items() if fault.seen_by in hurdles}


def _fault(
    name: str, says: str, *, seen_by: str, numbers: tuple[int, ...]
) -> Callable[[Change], Change]:
    def keep(change: Change) -> Change:
        FAULTS.register(name)(Fault(says, seen_by, numbers, change))
        return change

    return keep


@_fault(
    "patient-in-two-parts",
    "patients with an image in training and one in the test part",
    seen_by="patients",
    numbers=(1, 5),
)
def _leaked_patients(material: Material, number: int, rng: np.random.Generator) -> Material:
    frame = material.manifest.frame.copy()
    here = frame["split"] == Split.TRAIN.value
    several = frame[here & frame.duplicated("patient", keep=False)].drop_duplicates("patient")
    frame.loc[rng.permutation(several.index)[:number], "split"] = Split.TEST.value
    return replace(material, manifest=Manifest(frame))


@_fault(
    "copies-in-two-parts",
    "images of the training part that are also in the test part, saved again as another patient's",
    seen_by="duplicates",
    numbers=(1, 5),
)
def _copies_across_parts(material: Material, number: int, rng: np.random.Generator) -> Material:
    train = rng.permutation(material.rows(Split.TRAIN))[:number]
    return _with_copies(material, train, rng, split=Split.TEST)


@_fault(
    "copies-with-two-labels",
    "images that are there twice, once in each class",
    seen_by="duplicates",
    numbers=(1, 5),
)
def _copies_across_classes(material: Material, number: int, rng: np.random.Generator) -> Material:
    train = rng.permutation(material.rows(Split.TRAIN))[:number]
    return _with_copies(material, train, rng, split=Split.TRAIN, relabelled=True)


@_fault("unreadable", "files that cannot be read to their end", seen_by="files", numbers=(1, 5))
def _unreadable(material: Material, number: int, rng: np.random.Generator) -> Material:
    lost = rng.permutation(len(material))[:number]
    frame = material.manifest.frame
    failures = {
        str(frame["image"].iloc[i]): TruncatedImageError("the file ends early.") for i in lost
    }
    kept = material.take(np.setdiff1d(np.arange(len(material)), lost))
    return replace(kept, failures=failures)


@_fault("inverted", "images with dark bone among others", seen_by="files", numbers=(5, 20))
def _inverted(material: Material, number: int, rng: np.random.Generator) -> Material:
    pixels = material.pixels.copy()
    rows = rng.permutation(len(pixels))[:number]
    pixels[rows] = 255 - pixels[rows]
    return replace(material, pixels=pixels)


@_fault("few-tested", "a test part of so many patients", seen_by="size", numbers=(10, 20))
def _few_tested(material: Material, number: int, rng: np.random.Generator) -> Material:
    frame = material.manifest.frame
    tested = frame["split"] == Split.TEST.value
    kept = rng.permutation(frame.loc[tested, "patient"].unique())[:number]
    return material.take((~tested | frame["patient"].isin(list(kept))).to_numpy())


def _with_copies(
    material: Material,
    rows: np.ndarray,
    rng: np.random.Generator,
    *,
    split: Split,
    relabelled: bool = False,
) -> Material:
    copies = material.manifest.frame.iloc[rows].copy()
    copies["image"] = "copy-" + copies["image"]
    copies["path"] = "/" + copies["image"]
    copies["patient"] = "copy-" + copies["patient"]
    copies["split"] = split.value
    if relabelled:
        first, second = material.manifest.labels[:2]
        copies["label"] = np.where(copies["label"] == first, second, first)
    frame = pd.concat([material.manifest.frame, copies], ignore_index=True)
    pixels = np.concatenate([material.pixels, _saved_again(material.pixels[rows], rng)])
    masks = material.masks
    if masks is not None:
        masks = np.concatenate([masks, masks[rows]])
    facts = pd.concat([material.facts, material.facts.iloc[rows]], ignore_index=True)
    return replace(material, manifest=Manifest(frame), pixels=pixels, masks=masks, facts=facts)


def _saved_again(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images as a second collection has them: JPEG once more, a little darker or lighter."""
    import cv2

    found = []
    for image in pixels:
        toned = np.clip(image * rng.uniform(0.9, 1.1) + rng.uniform(-8, 8), 0, 255)
        _, coded = cv2.imencode(".jpg", toned.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 80])
        found.append(np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8))
    return np.stack(found)
