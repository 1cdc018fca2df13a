"""Material and subject: the images, and the model with its images, that hurdles are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, ImageError, LungsNotFoundError
from hurdles.evaluation.predictions import Predictions, argmax_prediction
from hurdles.pixels.prepare import PREPARATIONS, MaskedImage, needs_lungs, resize_square

if TYPE_CHECKING:
    from hurdles.models.network import Network

__all__ = ["Elsewhere", "Material", "Subject"]

#: Why a hurdle that needs classes could not run.
NO_CLASSES = "no classes are known"


@dataclass(frozen=True, eq=False)
class Material:
    """Images with their manifest, their files' facts and, where they were looked for, their lungs.

    Everything is in memory or memory-mapped, so that a hurdle reads no file, and a simulation can
    be asked exactly what real images are asked.

    Parameters
    ----------
    name : str
        What a reader calls it, e.g. a collection's name.
    manifest : Manifest
        One row per image that could be read.
    pixels : uint8 array of shape (N, S, S)
        As decoded and resized, nothing else (preparation ``raw``); row i belongs to row i of the
        manifest. S is at least 64.
    facts : DataFrame
        What the files say of themselves, one row per image in the same order, columns as in
        `hurdles.pixels.facts.COLUMNS`; without columns where there are no files.
    masks : bool array of shape (N, S, S), optional
        True in the lungs; all False where they were not found. None where they were not looked for.
    failures : mapping of str to ImageError
        The images that could not be read, by name.
    level : float
        Confidence level of every interval, within (0, 1).
    seed : int
        Of every random choice.

    Raises
    ------
    HurdleError
        If rows, pixels, facts and masks are not of the same images, or there is no image.
    """

    name: str
    manifest: Manifest
    pixels: NDArray[np.uint8]
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    masks: NDArray[np.bool_] | None = None
    failures: Mapping[str, ImageError] = field(default_factory=dict)
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        n = len(self.manifest)
        if len(self.facts.columns) == 0:
            object.__setattr__(self, "facts", pd.DataFrame(index=range(n)))
        counts = {"pixels": len(self.pixels), "facts": len(self.facts)}
        if self.masks is not None:
            counts["masks"] = len(self.masks)
        wrong = ", ".join(f"{k} {v}" for k, v in counts.items() if v != n)
        if wrong or not n:
            raise HurdleError(
                f"{self.name}: {n} rows in the manifest, but {wrong or 'no image at all'}; give "
                "one of each per image."
            )

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def labels(self) -> NDArray[np.str_]:
        """The class of each image, shape (N,).

        Raises
        ------
        HurdleError
            If no classes are known.
        """
        if not self.manifest.has_classes:
            raise HurdleError(NO_CLASSES)
        return self.manifest.frame["label"].to_numpy(dtype=str)

    @property
    def groups(self) -> NDArray[np.str_]:
        """The patient of each image, shape (N,), as `Manifest.groups` names them."""
        return self.manifest.groups.to_numpy(dtype=str)

    @property
    def has_lungs(self) -> NDArray[np.bool_]:
        """True where lungs were found, shape (N,).

        Raises
        ------
        HurdleError
            If they were not looked for, or found in no image.
        """
        if self.masks is None:
            raise HurdleError("the lungs were not looked for; nothing can be said of them.")
        present = np.asarray(self.masks.any(axis=(1, 2)))
        if not present.any():
            raise HurdleError(f"no lungs were found in any of {len(self)} images.")
        return present

    def rows(self, split: Split | str) -> NDArray[np.int64]:
        """Return the positions of the images of one split."""
        return np.flatnonzero(self.manifest.frame["split"] == Split(split).value)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Material:
        """Return some of the images, in the order of `rows` (positions, or a mask)."""
        where = np.asarray(rows)
        where = np.flatnonzero(where) if where.dtype == np.bool_ else where
        frame = self.manifest.frame.iloc[where].reset_index(drop=True)
        return replace(
            self,
            manifest=Manifest(frame, self.manifest.exclusions),
            pixels=self.pixels[where],
            facts=self.facts.iloc[where].reset_index(drop=True),
            masks=None if self.masks is None else self.masks[where],
        )

    def predictions(self, classes: Sequence[str], probability: NDArray[np.floating]) -> Predictions:
        """Return probabilities of `classes`, shape (N, K), as a table of predictions."""
        frame = self.manifest.frame
        return Predictions.from_arrays(
            classes,
            y_true=frame["label"].tolist(),
            y_prob=probability,
            images=frame["image"].tolist(),
            groups=self.groups.tolist(),
            sources=[None if pd.isna(source) else source for source in frame["source"]],
            paths=frame["path"].tolist(),
        )


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Images of another collection, and the model's answers to them.

    Parameters
    ----------
    material : Material
        Its images; classes are called as the model calls them.
    predictions : Predictions
        Of these images, in the same order.
    notes : tuple of str
        What was left out of the collection, and why.
    """

    material: Material
    predictions: Predictions
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained network with its images.

    Parameters
    ----------
    name : str
        What a reader calls it.
    network : Network
        In evaluation mode, on the device where it is to be asked.
    preparation : str
        Name of the preparation that its images go through, see `hurdles.pixels.prepare`.
    material : Material
        Its own images, with their split and their lungs; pixels have the network's size.
    validation, test : Predictions
        Its own answers on these parts; the same images as there, in their order.
    decide : callable
        From probabilities (n, K) to n names of classes: the most probable, or by the threshold
        that was fixed on validation images. Default: the most probable.
    elsewhere : sequence of Elsewhere
        Other collections.
    siblings : sequence of Predictions
        Of the same test images, by networks that differ in nothing but the seed.

    Raises
    ------
    HurdleError
        If a prediction is of other images than the material's.
    """

    name: str
    network: Network
    preparation: str
    material: Material
    validation: Predictions
    test: Predictions
    decide: Callable[[NDArray[np.float64]], NDArray[np.str_]] | None = None
    elsewhere: Sequence[Elsewhere] = ()
    siblings: Sequence[Predictions] = ()

    def __post_init__(self) -> None:
        frame = self.material.manifest.frame
        for part, predictions in ((Split.VALIDATION, self.validation), (Split.TEST, self.test)):
            own = frame["image"].iloc[self.material.rows(part)].tolist()
            if own != predictions.frame["image"].tolist():
                raise HurdleError(
                    f"{self.name}: the predictions of the {part} part are not of its {len(own)} "
                    "images in their order; predict them again."
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the network's outputs."""
        return tuple(self.network.spec.labels)

    @cached_property
    def tested(self) -> Material:
        """The images of the test part."""
        return self.material.take(self.material.rows(Split.TEST))

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """Probabilities of the test images, unaltered, by the road that altered ones take."""
        return self.ask(self.tested.pixels, self.tested.masks)

    def prepare(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
        """Turn square images into what the network takes, with lungs that are given.

        The steps run on the square image here, and at the file's own size in training: the two
        differ by rounding and, where lungs are needed, by a pixel at their edge. What is altered
        is therefore compared with `reference`, not with `test`.

        Parameters
        ----------
        pixels : uint8 array of shape (n, S, S)
            As in `Material.pixels`, altered or not.
        masks : bool array of shape (n, S, S), optional
            Their lungs. An image in which there are none is only resized.

        Returns
        -------
        uint8 array of shape (n, size, size)

        Raises
        ------
        HurdleError
            If the preparation needs lungs and they are not given.
        """
        size = self.network.spec.size
        if self.preparation == "raw" and pixels.shape[1:] == (size, size):
            return pixels
        lungs: Sequence[NDArray[np.bool_] | None] = [None] * len(pixels)
        if needs_lungs(self.preparation):
            if masks is None:
                raise HurdleError(f"{self.name} sees images {self.preparation}; give their lungs.")
            lungs = list(masks)
        prepared = []
        for image, mask in zip(pixels, lungs, strict=True):
            gray = image.astype(np.float32) / 255
            # Alterations may hide the lungs; the image is then asked about as it is.
            with suppress(LungsNotFoundError):
                gray = stepped(self.preparation, gray, mask).pixels
            prepared.append(as_bytes(gray, size))
        return np.stack(prepared)

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K); arguments as for `prepare`."""
        from hurdles.training.prediction import probabilities

        return probabilities(self.network, self.prepare(pixels, masks))

    def features(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the network's head sees, shape (n, D); arguments as for `prepare`."""
        from hurdles.training.prediction import embed

        return embed(self.network, self.prepare(pixels, masks))

    def decided(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """Return the class that the model names, shape (n,), for probabilities (n, K)."""
        if self.decide is not None:
            return self.decide(probability)
        return np.asarray(argmax_prediction(self.labels, probability), dtype=str)


def stepped(
    preparation: str, pixels: NDArray[np.float32], mask: NDArray[np.bool_] | None
) -> MaskedImage:
    """Return an image within [0, 1] and its lungs after the steps of a preparation."""
    view = MaskedImage(pixels, mask)
    for step in PREPARATIONS.get(preparation):
        view = step.apply(view)
    return view


def as_bytes(pixels: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return an image within [0, 1] stretched to a square of bytes, as `Preparation` does."""
    square = np.clip(resize_square(pixels, size), 0, 1)
    return np.asarray(np.rint(square * np.float32(255)), dtype=np.uint8)
