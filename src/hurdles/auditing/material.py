"""Material and subject: the images, and the model with its images, that hurdles are given.

A model may be a network of hurdles, a file of somebody else's, a program, a function, or nothing
but a table of what it once answered. What a subject can do is its `Capability` list; a hurdle says
what it needs, and what a subject lacks is said by name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError, ImageError
from hurdles.evaluation.predictions import Predictions, argmax_prediction
from hurdles.pixels.prepare import prepare_squares

if TYPE_CHECKING:
    from hurdles.models.network import Network

__all__ = ["Capability", "Elsewhere", "FoldedModel", "Material", "Model", "NetworkModel", "Subject"]

#: Square images (n, S, S) and, where the lungs were looked for, their lungs.
Question: TypeAlias = "tuple[NDArray[np.uint8], NDArray[np.bool_] | None]"

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
        manifest. S is at least 64; 0 where there are no images, only their table.
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
    judged_only : bool
        Leave out what would be shown and not judged, and costs time: a calibration has no use
        for it. What is judged is the same.

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
    judged_only: bool = False

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
    def has_images(self) -> bool:
        """True where there are pixels, and not only a table of images."""
        return bool(self.pixels.shape[-1])

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
        return Predictions.of_images(self.manifest, classes, probability)


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """Images of another collection, and the model's answers to them.

    Parameters
    ----------
    material : Material
        Its images; classes are called as the model calls them, or none is known.
    predictions : Predictions
        Of these images, in the same order.
    notes : tuple of str
        What was left out of the collection, and why.
    """

    material: Material
    predictions: Predictions
    notes: tuple[str, ...] = ()

    @property
    def is_labeled(self) -> bool:
        """True where classes are known, so that the answers can be judged."""
        return self.material.manifest.has_classes


class Capability(StrEnum):
    """Abilities of a subject beyond the answers that it came with; hurdles name what they need."""

    IMAGES = "images"
    ANSWERS = "answers"
    FEATURES = "features"
    GRADIENTS = "gradients"


@runtime_checkable
class Model(Protocol):
    """A classifier that can be asked about images, wherever it is from.

    A model may also have `ask_many`, which takes an iterable of questions (pixels, masks) and
    yields an answer each: a program is then started once for all of them.
    """

    @property
    def name(self) -> str:
        """As a reader calls it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the outputs."""

    @property
    def size(self) -> int:
        """Side of the square images that it is asked about."""

    @property
    def preparation(self) -> str:
        """Preparation that images go through within `ask`, see `hurdles.pixels.prepare`."""

    @property
    def capabilities(self) -> Collection[str]:
        """`Capability.ANSWERS`, and what else it can do."""

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K), of square images (n, S, S)."""


class FeatureModel(Model, Protocol):
    """A classifier with `Capability.FEATURES`."""

    def features(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the last layer is given, shape (n, D)."""


def answers_to(model: Model, questions: Iterable[Question]) -> Iterator[NDArray[np.float64]]:
    """Yield a model's answer to each question, all asked at once where it has `ask_many`."""
    many = getattr(model, "ask_many", None)
    if many is not None:
        yield from many(questions)
    else:
        for pixels, masks in questions:
            yield model.ask(pixels, masks)


@dataclass(frozen=True, eq=False)
class NetworkModel:
    """Network of hurdles, with the preparation that its images go through.

    Parameters
    ----------
    network : Network
        In evaluation mode, on the device where it is to be asked.
    preparation : str
        Name of the preparation, see `hurdles.pixels.prepare`.
    name : str
        As a reader calls it.
    """

    network: Network
    preparation: str = "raw"
    name: str = "the network"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the network's outputs."""
        return tuple(self.network.spec.labels)

    @property
    def size(self) -> int:
        """Side of the network's images."""
        return self.network.spec.size

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything that a model can do."""
        return frozenset({Capability.ANSWERS, Capability.FEATURES, Capability.GRADIENTS})

    def prepare(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
        """Turn square images into what the network takes; see `prepare_squares`."""
        return prepare_squares(self.preparation, self.size, pixels, masks)

    @cached_property
    def _answering(self) -> Network:
        """A copy in the layout in which images come, without a step for batch normalization.

        In the other layout, in which training leaves it, answers take twice as long.
        """
        import torch

        from hurdles.models.network import folded

        return folded(self.network.to(memory_format=torch.channels_last))  # type: ignore[call-overload] # stubs

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K)."""
        from hurdles.training.prediction import probabilities

        return probabilities(self._answering, self.prepare(pixels, masks))

    def features(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the network's head is given, shape (n, D)."""
        from hurdles.training.prediction import embed

        return embed(self._answering, self.prepare(pixels, masks))


@dataclass(frozen=True, eq=False)
class FoldedModel:
    """Networks of several folds: each test image is answered by the one that has not seen it.

    Parameters
    ----------
    models : tuple of NetworkModel
        One for each fold, of the same classes, size and preparation.
    folds : array of int, shape (n,)
        The fold of each test image, from 0, in their order.
    name : str
        As a reader calls it.
    """

    models: tuple[NetworkModel, ...]
    folds: NDArray[np.intp]
    name: str = "the networks of the folds"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the networks' outputs."""
        return self.models[0].labels

    @property
    def size(self) -> int:
        """Side of the networks' images."""
        return self.models[0].size

    @property
    def preparation(self) -> str:
        """Preparation that images go through."""
        return self.models[0].preparation

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Answers alone: features of several networks have nothing in common."""
        return frozenset({Capability.ANSWERS})

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K), of all test images in order.

        Raises
        ------
        HurdleError
            If they are fewer or more: then it must be known which of them they show.
        """
        if len(pixels) != len(self.folds):
            raise HurdleError(
                f"{self.name}: {len(pixels)} images are shown of {len(self.folds)} that were "
                "tested, and each is answered by the network that has not seen it; say which they "
                "are (Subject.ask(..., rows=subject.positions(images)))."
            )
        return self.ask_rows(pixels, masks, np.arange(len(self.folds)))

    def ask_rows(
        self,
        pixels: NDArray[np.uint8],
        masks: NDArray[np.bool_] | None,
        rows: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Return the same of images that show some of the test images, as of `ask`.

        Parameters
        ----------
        pixels, masks
            As for `ask`.
        rows : array of int, shape (n,)
            Which test images they show.

        Raises
        ------
        HurdleError
            If there is not one row for each image.
        """
        if len(rows) != len(pixels):
            raise HurdleError(f"{len(rows)} rows for {len(pixels)} images; give one for each.")
        answers, folds = np.empty((len(pixels), len(self.labels))), self.folds[rows]
        for fold in np.unique(folds):
            own = folds == fold
            seen = None if masks is None else masks[own]
            answers[own] = self.models[fold].ask(pixels[own], seen)
        return answers


@dataclass(frozen=True, eq=False)
class Subject:
    """Answers of a model to images, with the images and the model as far as they were given.

    Parameters
    ----------
    name : str
        What a reader calls it.
    model : Model, optional
        What can be asked about further images. None where there are only answers.
    material : Material
        Its images, with their split and their lungs; pixels have the model's size.
    validation : Predictions, optional
        Its answers on the validation part: the same images as there, in their order. None where
        there are none.
    test : Predictions
        Its answers on the test part.
    decide : callable
        From probabilities (n, K) to n names of classes: the most probable, or by the threshold
        that was fixed on validation images. Default: the most probable.
    elsewhere : sequence of Elsewhere
        Other collections.
    siblings : sequence of Predictions
        Of the same test images, by models that differ in nothing but the seed.

    Raises
    ------
    HurdleError
        If a prediction is of other images than the material's.
    """

    name: str
    model: Model | None
    material: Material
    validation: Predictions | None
    test: Predictions
    decide: Callable[[NDArray[np.float64]], NDArray[np.str_]] | None = None
    elsewhere: Sequence[Elsewhere] = ()
    siblings: Sequence[Predictions] = ()

    def __post_init__(self) -> None:
        frame = self.material.manifest.frame
        for part, predictions in ((Split.VALIDATION, self.validation), (Split.TEST, self.test)):
            if predictions is None:
                continue
            own = frame["image"].iloc[self.material.rows(part)].tolist()
            if own != predictions.frame["image"].tolist():
                raise HurdleError(
                    f"{self.name}: the predictions of the {part} part are not of its {len(own)} "
                    "images in their order; predict them again."
                )

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything that hurdles may need and this subject has."""
        if not self.material.has_images:
            return frozenset()
        own = map(Capability, self.model.capabilities if self.model else ())
        return frozenset({Capability.IMAGES, *own})

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs."""
        return self.model.labels if self.model else tuple(self.test.classes)

    @cached_property
    def tested(self) -> Material:
        """The images of the test part."""
        return self.material.take(self.material.rows(Split.TEST))

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """Probabilities of the test images, unaltered, by the road that altered ones take.

        What is altered is compared with these, not with `test`: a square image is not the file.
        """
        return self.ask(self.tested.pixels, self.tested.masks)

    def positions(self, images: Material) -> NDArray[np.intp]:
        """Return which of the test images some of them are, by their names, shape (n,)."""
        place = pd.Series(range(len(self.test)), index=self.test.frame["image"])
        return np.asarray(place[images.manifest.frame["image"]], dtype=np.intp)

    def ask(
        self,
        pixels: NDArray[np.uint8],
        masks: NDArray[np.bool_] | None = None,
        *,
        rows: NDArray[np.integer] | None = None,
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class, shape (n, K).

        Parameters
        ----------
        pixels : uint8 array of shape (n, S, S)
            As in `Material.pixels`, altered or not.
        masks : bool array of shape (n, S, S), optional
            Their lungs. An image in which there are none is only resized.
        rows : array of int, shape (n,), optional
            Which test images they show (`positions`); default: all, in their order. It matters
            where several networks answer, each the images that it has not seen.

        Raises
        ------
        HurdleError
            If there is no model to ask, or its preparation needs lungs and they are not given.
        """
        return next(self.ask_many([(pixels, masks)], rows=None if rows is None else [rows]))

    def ask_many(
        self,
        questions: Iterable[Question],
        *,
        rows: Iterable[NDArray[np.integer]] | None = None,
    ) -> Iterator[NDArray[np.float64]]:
        """Yield an answer as of `ask` for each pair of pixels and masks, and its rows.

        A hurdle that asks more than once asks so: a model that is a program is started once.

        Raises
        ------
        HurdleError
            If there is no model to ask.
        """
        if self.model is None:
            raise HurdleError(f"{self.name} are answers only: there is no model to ask.")
        if rows is not None and isinstance(self.model, FoldedModel):
            for (pixels, masks), own in zip(questions, rows, strict=False):
                yield self.model.ask_rows(pixels, masks, own)
        else:
            yield from answers_to(self.model, questions)

    def features(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the model's last layer is given, shape (n, D); arguments as for `ask`.

        Raises
        ------
        HurdleError
            Without `Capability.FEATURES`.
        """
        if self.model is None or Capability.FEATURES not in self.model.capabilities:
            raise HurdleError(f"the features of {self.name} cannot be had.")
        return cast(FeatureModel, self.model).features(pixels, masks)

    def decided(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """Return the class that the model names, shape (n,), for probabilities (n, K)."""
        if self.decide is not None:
            return self.decide(probability)
        return np.asarray(argmax_prediction(self.labels, probability), dtype=str)
