"""The table of Lázaro and Barco 2020: as coded, as described, and done right."""

from __future__ import annotations

from dataclasses import dataclass

from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.studies.lazaro_barco_2020_page import COLUMNS, page
from hurdles.studies.study import STUDIES, Cell, Profile
from hurdles.studies.table import TableStudy

NAME = "lazaro-barco-2020"

#: Row -> the shipped recipe as their text describes it, and how many seeds are run.
ROWS: dict[str, tuple[str, int]] = {
    "baseline": ("lazaro-barco-2020-baseline", 3),
    "baseline, augmented": ("lazaro-barco-2020-baseline-augmented", 3),
    "inception-like, augmented": ("lazaro-barco-2020-inception-augmented", 1),
}


@dataclass(frozen=True)
class Way:
    """One reading of the published work.

    Parameters
    ----------
    epoch : ChosenEpoch
        Whose weights are tested.
    inception : str
        Which network the third row is.
    grouped : bool
        Whether the split keeps patients together, as far as they are known.
    channels : int
        1, or 3 as the notebook loads the images.
    """

    epoch: ChosenEpoch
    inception: str
    grouped: bool
    channels: int


WAYS: dict[str, Way] = {
    # The notebook keeps the files of the best epochs but tests the model as the last one left it.
    "as coded": Way(ChosenEpoch.LAST, "inception-as-coded", grouped=False, channels=3),
    "as described": Way(ChosenEpoch.BEST, "inception-like", grouped=False, channels=3),
    "done right": Way(ChosenEpoch.BEST, "inception-like", grouped=True, channels=1),
}

_PROFILES = {
    "full": Profile(
        "full", {}, "224x224 pixels and 30 epochs, as published; nothing is shortened."
    ),
    "fast": Profile(
        "fast",
        {"preparation": {"size": 80}, "training": {"epochs": 8, "patience": 3}},
        "80x80 pixels instead of 224x224, at most 8 epochs instead of 30, stopped after 3 "
        "without a better validation: it shows how the rows relate, not what 30 epochs reach.",
    ),
}


def cells(profile: Profile) -> list[Cell]:
    """Return the study's cells, the cheap ones first."""
    found = [
        _cell(way, row, recipe, seed, profile)
        for row, (recipe, seeds) in ROWS.items()
        for seed in range(seeds)
        for way in ("as described", "as coded", "done right")
    ]
    # First every row once, then the further seeds; the costly third row comes last of its kind.
    return sorted(
        found,
        key=lambda c: (
            c.recipe.model.architecture == "inception-as-coded",
            c.recipe.model.architecture != "baseline",
            c.seed,
        ),
    )


def _cell(way: str, row: str, name: str, seed: int, profile: Profile) -> Cell:
    recipe = _read_as(WAYS[way], load_recipe(name)).changed(training={"seed": seed})
    return Cell(way, row, seed, profile.applied(recipe), WAYS[way].epoch)


def _read_as(way: Way, recipe: Recipe) -> Recipe:
    inception = recipe.model.architecture != "baseline"
    model = {"channels": way.channels} | ({"architecture": way.inception} if inception else {})
    split = {"scheme": "patient", "seed": 0} if way.grouped else {}
    return recipe.changed(model=model, split=split, training={"choose": "best"})


STUDIES.register(NAME)(
    TableStudy(
        name=NAME,
        data="radiography-database",
        profiles=_PROFILES,
        cells=cells,
        columns=COLUMNS,
        page=page,
    )
)
