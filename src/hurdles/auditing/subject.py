"""A model on trial: its answers, and the images that it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.blanking import as_bytes, stepped
from hurdles.auditing.material import Material
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, LungsNotFoundError
from hurdles.evaluation.predictions import Predictions, argmax_prediction
from hurdles.pixels.prepare import needs_lungs

if TYPE_CHECKING:
    from hurdles.models.network import Network

__all__ = ["Elsewhere", "Subject"]


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
