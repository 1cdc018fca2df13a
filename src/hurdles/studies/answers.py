"""What the models of a race say of every test set, without what they have seen before.

A model is asked about each image once; test sets are then put together from its answers. In the way
that is done right, an image is left out of a model's test if its patient, or anybody linked to that
patient by name or by a shared image, was in training or validation of the model or of what it
started from. Classes are as the run decided them: by a threshold fixed on its validation images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.evaluation.predictions import Predictions
from hurdles.runs.run import Run
from hurdles.studies.race import ASKED, RaceCell, Standing
from hurdles.studies.stock import Stock


@dataclass(frozen=True, eq=False)
class Answer:
    """What one model says of one test set.

    Parameters
    ----------
    predictions : Predictions or None
        Without the images that it has seen; None if none is left.
    careless : Predictions or None
        With them.
    seen : tuple of str
        Images that were left out because the model, or what it started from, has seen the patient.
    lost : tuple of str
        Images that the model's preparation cannot use, e.g. because no lungs were found.
    """

    predictions: Predictions | None
    careless: Predictions | None
    seen: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Book:
    """The answers of all finished models that were asked.

    Parameters
    ----------
    standing : Standing
        What is done.
    answers : dict
        ``(cell's name, test)`` to `Answer`.
    """

    standing: Standing
    answers: dict[tuple[str, str], Answer]

    @classmethod
    def of(cls, standing: Standing) -> Book:
        """Read the answers of every finished cell that was asked."""
        found = {}
        for cell in standing.done:
            run = standing.runs[cell.name]
            if cell.asked and told(run, standing.stock) is not None:
                for test, answer in answers_of(cell, standing).items():
                    found[cell.name, test] = answer
        return cls(standing, found)

    def results(self, cells: Iterable[RaceCell]) -> dict[tuple[str, str], Predictions]:
        """Return the predictions of some cells, by row and test, where there are any."""
        names = {cell.name: cell.row for cell in cells}
        return {
            (names[name], test): answer.predictions
            for (name, test), answer in self.answers.items()
            if name in names and answer.predictions is not None
        }


def answers_of(cell: RaceCell, standing: Standing) -> dict[str, Answer]:
    """Return what a finished model says of every test set."""
    run, stock = standing.runs[cell.name], standing.stock
    said = told(run, stock)
    if said is None:
        return {}
    known = stock.links.touching(known_to(cell, standing))
    return {name: _answer(said, manifest, known) for name, manifest in stock.tests.items()}


def told(run: Run, stock: Stock) -> pd.DataFrame | None:
    """Return a run's answers about every image that it was asked about, by image.

    None if there are none yet, or only about some of the collections.
    """
    names = [ASKED.format(name) for name in stock.asked]
    if not names or not all((run.path / "predictions" / f"{n}.csv").is_file() for n in names):
        return None
    frames = [run.predictions(name).frame for name in names]
    return pd.concat(frames, ignore_index=True).set_index("image", drop=False)


def known_to(cell: RaceCell, standing: Standing) -> set[str]:
    """Return the patients in training and validation of a model and of what it started from.

    A pre-training that is gone is named by the set that it was trained on.
    """
    run = standing.runs.get(cell.name)
    manifest = run.manifest if run else standing.stock.training(cell.training)
    groups = set(manifest.groups[manifest.frame["split"] != Split.TEST])
    if isinstance(cell.parent, RaceCell):
        groups |= known_to(cell.parent, standing)
    return groups


def whole(run: Run, stock: Stock, manifest: Manifest) -> Predictions | None:
    """Return what a run says of a set, whatever it has seen; None if it says nothing."""
    said = told(run, stock)
    return None if said is None else _labelled(said, manifest, manifest.frame["image"])


def _answer(said: pd.DataFrame, manifest: Manifest, known: set[str]) -> Answer:
    images = manifest.frame["image"]
    there = images[images.isin(said.index)]
    lost = tuple(images[~images.isin(said.index)])
    seen = there[said.loc[there, "group"].isin(known).to_numpy()]
    kept = there[~there.isin(seen)]
    without, including = (_labelled(said, manifest, rows) for rows in (kept, there))
    return Answer(without, including, tuple(seen), lost)


def _labelled(said: pd.DataFrame, manifest: Manifest, images: pd.Series[str]) -> Predictions | None:
    rows = said.loc[said.index.isin(images)]
    if not len(rows):
        return None
    labels = manifest.frame.set_index("image")["label"].loc[rows.index]
    return Predictions(rows.assign(label=labels.to_numpy()).reset_index(drop=True))
