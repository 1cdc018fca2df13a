"""From prepared pixels to probabilities, to what a network's head sees, and to no answer.

A rule of rejection scores an image by its distance to the images of training, in the features that
the head is given (`hurdles.evaluation.decisions.nearest_distances`), or by one minus the largest
probability. The first asks whether the image is like any that was seen, the second whether the
network doubts; a network that follows a shortcut does not doubt.

Features of more than `WIDEST` numbers are projected at random to so many, which keeps distances
(Johnson and Lindenstrauss 1984): the heads of the three networks of Lázaro and Barco 2020 are given
whole maps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import replacing, write_text
from hurdles.errors import RunError
from hurdles.evaluation.decisions import (
    Rejection,
    Selective,
    fix_rejection,
    nearest_distances,
    rejection_table,
    selective,
)
from hurdles.evaluation.predictions import Predictions
from hurdles.progress import Progress, Silent
from hurdles.recipe.choices import RejectBy
from hurdles.training.machine import Machine, this_machine

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

Output = TypeVar("Output")


def as_input(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return prepared pixels as a network takes them: float32 (n, 1, size, size) within [0, 1]."""
    import torch

    # A copy: pixels may be a read-only memory map, which torch would warn about.
    # The bytes travel to the device, not the floats.
    batch = torch.from_numpy(np.array(pixels, order="C")).to(device)
    gray = batch.unsqueeze(1).float().div_(255.0)
    return gray.contiguous(memory_format=torch.channels_last)


def probabilities(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    machine: Machine | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Return the probability of every class for every image, float64 (n, K); dropout is off.

    The network is on the device of `machine`, by default this machine in float32, which is what
    reported numbers are computed in; it is left in the mode in which it came.
    """
    batches = _outputs(network, network, pixels, machine, batch_size, progress)
    parts = [logits.double().softmax(1).cpu().numpy() for logits in batches]
    return np.concatenate(parts) if parts else np.empty((0, len(network.spec.labels)))


def embed(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    machine: Machine | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the features of every image, float32 (n, D): what the network's head is given.

    Otherwise as `probabilities`; the progress is advanced, not started.
    """
    if not len(pixels):
        raise ValueError("there is no image to embed; give at least one.")
    batches = _outputs(network, network.features, pixels, machine, batch_size, progress)
    return np.concatenate([features.float().flatten(1).cpu().numpy() for features in batches])


def answers_and_features(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    encode: Callable[[torch.Tensor], torch.Tensor] | None = None,
    batch_size: int = 32,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return what `probabilities` and `embed` do, to the bit, from one pass through the network.

    `encode` stands in for the network's own way from images to features
    (`hurdles.runs.engines`); the rest is torch in float32.
    """

    def both(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = (encode or network.features)(images)
        return network.logits(features), features

    answers, kept = [], []
    for logits, features in _outputs(network, both, pixels, None, batch_size, None):
        answers.append(logits.double().softmax(1).cpu().numpy())
        kept.append(features.float().flatten(1).cpu().numpy())
    return np.concatenate(answers), np.concatenate(kept)


def _outputs(
    network: Network,
    function: Callable[[torch.Tensor], Output],
    pixels: NDArray[np.uint8],
    machine: Machine | None,
    batch_size: int,
    progress: Progress | None,
) -> Iterator[Output]:
    """Yield the function's output for every batch, in evaluation mode and without gradients."""
    import torch

    machine = machine or this_machine("float32")
    listener = progress or Silent()
    was_training = network.training
    network.eval()
    try:
        for start in range(0, len(pixels), batch_size):
            chunk = pixels[start : start + batch_size]
            # Entered for each batch: a generator must not keep its caller in this mode.
            with torch.inference_mode(), machine.mixed():
                output = function(as_input(chunk, machine.device))
            yield output
            listener.advance(len(chunk))
    finally:
        network.train(was_training)


#: Numbers kept of an image's features.
WIDEST = 1024

_RULE, _KNOWN = "rejection.json", "rejection.features.npz"


@dataclass(frozen=True, eq=False)
class Rejector:
    """A rule, fixed on validation images, and the features of the training images, (m, D).

    There are none of the latter where the score is not a distance.
    """

    rule: Rejection
    known: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        network: Network,
        train: NDArray[np.uint8],
        validation: NDArray[np.uint8],
        *,
        acceptance: float = 0.95,
        by: RejectBy | str = RejectBy.DISTANCE,
    ) -> Rejector:
        """Fix the rule of a trained network."""
        by, known = RejectBy(by), np.empty((0, 0), dtype=np.float32)
        if by is RejectBy.DISTANCE:
            known = _features(network, train)
        scores = _scores(by, known, network, validation)
        return cls(fix_rejection(scores, acceptance=acceptance, by=by.value), known)

    def scores(self, network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return how strange images are, shape (n,); the rule tells which of them are rejected."""
        return _scores(RejectBy(self.rule.by), self.known, network, pixels)

    def scores_of(
        self, answers: NDArray[np.float64], features: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the scores of images whose probabilities and features are known already."""
        if RejectBy(self.rule.by) is RejectBy.DISTANCE:
            return nearest_distances(self.known, _narrowed(features))
        return np.asarray(1 - answers.max(axis=1))

    def judge(
        self,
        network: Network,
        pixels: NDArray[np.uint8],
        predictions: Predictions,
        *,
        level: float = 0.95,
    ) -> tuple[pd.DataFrame, Selective]:
        """Return which images of a set are rejected, and how good the answers to the others are.

        The table has the columns of `hurdles.evaluation.decisions.REJECTION_COLUMNS`.
        """
        images = predictions.frame["image"].tolist()
        table = rejection_table(self.rule, images, self.scores(network, pixels))
        rejected = table["rejected"].to_numpy(dtype=np.bool_)
        return table, selective(predictions, rejected, level=level)

    @staticmethod
    def files(folder: Path) -> list[Path]:
        """Return the files that `save` writes."""
        return [folder / _KNOWN, folder / _RULE]

    def save(self, folder: Path) -> None:
        """Write the rule and the features into a folder, the rule last."""
        with replacing(folder / _KNOWN) as part, part.open("wb") as stream:
            np.savez_compressed(stream, known=self.known)
        write_text(folder / _RULE, json.dumps(self.rule.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Rejector:
        """Read what `save` wrote."""
        try:
            rule = json.loads((folder / _RULE).read_text(encoding="utf-8"))
            with np.load(folder / _KNOWN, allow_pickle=False) as file:
                return cls(Rejection.from_dict(rule), file["known"])
        except FileNotFoundError as error:
            raise RunError(
                f"{error.filename} is missing: the run rejects nothing, or its folder was copied "
                "in part. Set remedy.reject and train, or copy the whole folder."
            ) from error
        except (ValueError, KeyError, TypeError, EOFError) as error:
            raise RunError(f"the rule of rejection in {folder} is damaged ({error}).") from error


def _scores(
    by: RejectBy,
    known: NDArray[np.float32],
    network: Network,
    pixels: NDArray[np.uint8],
) -> NDArray[np.float64]:
    if not len(pixels):
        return np.empty(0)
    if by is RejectBy.DISTANCE:
        return nearest_distances(known, _features(network, pixels))
    machine = this_machine("float32")
    answers = probabilities(network.to(machine.device), pixels, machine=machine)
    return np.asarray(1 - answers.max(axis=1))


def _features(network: Network, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what the head is given, of at most `WIDEST` numbers."""
    machine = this_machine("float32")
    return _narrowed(embed(network.to(machine.device), pixels, machine=machine))


def _narrowed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features projected at random to `WIDEST` numbers, where they are more."""
    width = features.shape[1]
    if width <= WIDEST:
        return features
    # The same directions for every set of images: the seed is part of the method.
    rng = np.random.default_rng((0, width))
    narrow = np.zeros((len(features), WIDEST), dtype=np.float32)
    for start in range(0, width, 4096):
        block = features[:, start : start + 4096]
        narrow += block @ rng.standard_normal((block.shape[1], WIDEST), dtype=np.float32)
    return narrow
