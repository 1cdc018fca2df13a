"""The race of Tartaglione et al. 2020: who clears the hurdle of another collection.

Not every combination is run. First the row of preparations on two training sets, then what the
encoder starts from, then further training sets, then the careless way, then further seeds.
"""

from __future__ import annotations

from collections.abc import Iterator

from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.studies.design import FRACTIONS, SEED
from hurdles.studies.race import Race, RaceCell, RaceProfile
from hurdles.studies.study import STUDIES
from hurdles.studies.tartaglione_2020_draw import draw
from hurdles.studies.tartaglione_2020_sets import COVID, DESIGN
from hurdles.studies.tartaglione_2020_words import (
    BASE_PREPARATION,
    BASE_START,
    BASE_TRAINING,
    CARELESS,
    DONE_RIGHT,
    NOTHING,
    PREPARATIONS,
    PRETRAINED,
    row_name,
)

NAME = "tartaglione-2020"

#: Profile -> the shipped recipes of the pre-training and of the COVID-19 classifier.
RECIPES = {
    "full": ("tartaglione-2020-pneumonia", "tartaglione-2020-covid"),
    "fast": ("pneumonia-small", "covid-small"),
}

_FURTHER = ("cohen+nih", "radiography COVID-19+nih", "cohen+radiography")
_CORDA = ("corda", "corda+kermany", "corda+rsna", "corda+cohen")
_SEEDS = (1, 2)

_PROFILES = {
    "full": RaceProfile(
        "full",
        {},
        "ResNet-18 and the settings of the published code, from random weights where that starts "
        "its pre-training from ImageNet's; whole collections, except at most 6,000 images of a "
        "class from RSNA's and the NIH's.",
        {"rsna": 6000, "nih": 6000},
    ),
    "fast": RaceProfile(
        "fast",
        {},
        "a small encoder at 224x224 pixels, 8 epochs of pre-training and 10 of training; at most "
        "500 images of each class from Kermany's, the NIH's and RSNA's collections and 220 from "
        "the Radiography Database. It shows how the cells relate, not what long training reaches.",
        {"kermany": 500, "nih": 500, "rsna": 500, "radiography": 220},
    ),
}
#: Changes of the recipes by profile: of the pre-training, of the classifier.
_CHANGES: dict[str, tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]] = {
    "full": ({"model": {"start": "scratch", "scaling": "training"}}, {}),
    "fast": ({"training": {"epochs": 8}}, {"training": {"epochs": 10}}),
}


def cells(profile: RaceProfile) -> list[RaceCell]:
    """Return the race's cells: each pre-training stands before the first cell that needs it."""
    ordered: dict[str, RaceCell] = {}
    for cell in _Cells(profile).all():
        if isinstance(cell.parent, RaceCell):
            ordered.setdefault(cell.parent.name, cell.parent)
        ordered.setdefault(cell.name, cell)
    return list(ordered.values())


class _Cells:
    """The cells of one profile."""

    def __init__(self, profile: RaceProfile) -> None:
        self.profile = profile
        pretraining, covid = RECIPES[profile.name]
        changes = _CHANGES[profile.name]
        self.pretraining = load_recipe(pretraining).changed(**changes[0], split=_given())
        self.covid = load_recipe(covid).changed(
            **changes[1], split=_given(), evaluation={"threshold": "youden", "positive": COVID}
        )

    def all(self) -> Iterator[RaceCell]:
        for preparation in PREPARATIONS:
            for training in ("cohen", "radiography"):
                yield self.one(training, preparation=preparation)
        for training in ("cohen", "radiography"):
            for start in (NOTHING, "nih", "rsna"):
                yield self.one(training, start=start)
        for training in (*_FURTHER, *_CORDA):
            yield self.one(training)
        for training in ("cohen", "radiography"):
            yield self.one(training, careless=True)
        for seed in _SEEDS:
            yield self.one(BASE_TRAINING, seed=seed)

    def one(
        self,
        training: str,
        *,
        preparation: str = BASE_PREPARATION,
        start: str = BASE_START,
        careless: bool = False,
        seed: int = 0,
    ) -> RaceCell:
        """Return a classifier of COVID-19."""
        recipe = self.covid.changed(
            preparation={"name": preparation},
            training={"seed": seed},
            model={"start": "scratch" if start == NOTHING else "run"},
            **({"split": _by_image()} if careless else {}),
        )
        return RaceCell(
            CARELESS if careless else DONE_RIGHT,
            row_name(training, preparation, start),
            seed,
            recipe,
            images=self._drawn(training),
            parent=None if start == NOTHING else self.start(start, preparation),
            training=training,
            asked=not careless,
        )

    def start(self, name: str, preparation: str) -> RaceCell:
        """Return a pre-training; all cells with this preparation share it."""
        training = f"from {name}"
        recipe: Recipe = self.pretraining.changed(preparation={"name": preparation})
        row = f"{name}, {preparation}"
        images = self._drawn(training)
        return RaceCell(PRETRAINED, row, 0, recipe, images=images, training=training, asked=False)

    def _drawn(self, training: str) -> str:
        """Say everything that decides which images a set holds; it parts folders of runs."""
        image_set = DESIGN.training[training]
        limits = [f"{n} {self.profile.limits.get(n, 'all')}" for n in image_set.needs]
        return f"{training} of {', '.join(limits)}; split {FRACTIONS} with seed {SEED}"


def _given() -> dict[str, object]:
    return {"scheme": "given", "missing_patients": "one-each"}


def _by_image() -> dict[str, object]:
    return {"scheme": "image", "fractions": list(FRACTIONS), "seed": SEED}


STUDIES.register(NAME)(
    Race(name=NAME, design=DESIGN, profiles=_PROFILES, cells_of=cells, draw=draw)
)
