"""A network's way of not answering: what it knows, the rule, and both in a run's folder.

The score of an image is its distance to the images of training, in the features that the head is
given (`hurdles.evaluation.decisions.nearest_distances`), or one minus the largest probability. The
first asks whether the image is like any that was seen, the second whether the network doubts; a
network that follows a shortcut does not doubt.

Features of more than `WIDEST` numbers are projected at random to so many, which keeps distances
(Johnson and Lindenstrauss 1984): the heads of the three networks of Lázaro and Barco 2020 are given
whole maps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.data.files import replacing, write_text
from hurdles.data.untrusted import as_csv
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
from hurdles.recipe.choices import RejectBy
from hurdles.training.machine import Machine, this_machine
from hurdles.training.prediction import embed, probabilities

if TYPE_CHECKING:
    from hurdles.models.network import Network

#: Numbers kept of an image's features.
WIDEST = 1024

_RULE, _KNOWN = "rejection.json", "rejection.features.npz"


@dataclass(frozen=True, eq=False)
class Judged:
    """A set of images by a rule.

    Parameters
    ----------
    table : DataFrame
        One row per image, columns as in `hurdles.evaluation.decisions.REJECTION_COLUMNS`.
    found : Selective
        Coverage, and how good the answers are.
    """

    table: pd.DataFrame
    found: Selective

    def __str__(self) -> str:
        return str(self.found)


@dataclass(frozen=True, eq=False)
class Rejector:
    """A rule with what it needs to score images.

    Parameters
    ----------
    rule : Rejection
        Fixed on validation images.
    known : float32 array of shape (m, D)
        Features of the training images; of none where the score is not a distance.
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
        machine: Machine | None = None,
    ) -> Rejector:
        """Fix the rule of a trained network."""
        by, machine = RejectBy(by), machine or this_machine("float32")
        known = np.empty((0, 0), dtype=np.float32)
        if by is RejectBy.DISTANCE:
            known = _narrowed(embed(network.to(machine.device), train, machine=machine))
        scores = _scores(by, known, network, validation, machine)
        return cls(fix_rejection(scores, acceptance=acceptance, by=by.value), known)

    def scores(
        self, network: Network, pixels: NDArray[np.uint8], *, machine: Machine | None = None
    ) -> NDArray[np.float64]:
        """Return how strange images are, shape (n,); the rule tells which of them are rejected."""
        machine = machine or this_machine("float32")
        return _scores(RejectBy(self.rule.by), self.known, network, pixels, machine)

    def judge(
        self,
        network: Network,
        pixels: NDArray[np.uint8],
        predictions: Predictions,
        *,
        level: float = 0.95,
    ) -> Judged:
        """Return which images of a set are rejected, and how good the answers to the others are."""
        images = predictions.frame["image"].tolist()
        table = rejection_table(self.rule, images, self.scores(network, pixels))
        rejected = table["rejected"].to_numpy(dtype=np.bool_)
        return Judged(table, selective(predictions, rejected, level=level))

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

    @staticmethod
    def write(folder: Path, name: str, judged: Judged) -> None:
        """Write the scores of the set `name` and what they come to into a run's `folder`."""
        write_text(folder / "predictions" / f"{name}.rejection.csv", as_csv(judged.table))
        text = json.dumps(judged.found.to_dict(), indent=1, ensure_ascii=False)
        write_text(folder / f"rejection.{name}.json", text + "\n")


def _scores(
    by: RejectBy,
    known: NDArray[np.float32],
    network: Network,
    pixels: NDArray[np.uint8],
    machine: Machine,
) -> NDArray[np.float64]:
    if not len(pixels):
        return np.empty(0)
    network = network.to(machine.device)
    if by is RejectBy.CONFIDENCE:
        return np.asarray(1 - probabilities(network, pixels, machine=machine).max(axis=1))
    return nearest_distances(known, _narrowed(embed(network, pixels, machine=machine)))


def _narrowed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    width = features.shape[1]
    if width <= WIDEST:
        return features
    # The same directions for every set of images: the seed is part of the method.
    rng = np.random.default_rng((0, width))
    found = np.zeros((len(features), WIDEST), dtype=np.float32)
    for start in range(0, width, 4096):
        block = features[:, start : start + 4096]
        found += block @ rng.standard_normal((block.shape[1], WIDEST), dtype=np.float32)
    return found
