"""The cells of a study: every block of its file is a product of axes, the first one slowest."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hurdles.data.split import SCHEMES
from hurdles.data.vocabulary import SplitScheme
from hurdles.errors import HurdlesError, RecipeError
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe, load_recipe
from hurdles.recipe.remedies import REMEDIES, remedied
from hurdles.studies.grid import (
    AXES,
    FIXED,
    Grid,
    Option,
    Settings,
    close_to,
    filled,
    refuse_unknown,
)

#: Values of the axes ``start`` and ``remedy`` that change nothing.
SCRATCH, NO_REMEDY = "scratch", "none"


@dataclass(frozen=True)
class Cell:
    """One experiment of a study; cells with one recipe, one set and one start share a run."""

    way: str
    row: str
    seed: int
    recipe: Recipe
    train: str
    tests: tuple[str, ...] = ()
    epoch: ChosenEpoch = ChosenEpoch.BEST
    last: bool = False
    images: str = ""
    parent: Cell | None = None

    @property
    def needs_patients(self) -> bool:
        """True if its split promises to keep patients apart."""
        return SCHEMES.get(self.recipe.split.scheme).grouped

    @property
    def in_folds(self) -> bool:
        """True if its images are parted into folds, and several networks trained."""
        return self.recipe.split.scheme == SplitScheme.K_FOLD

    @property
    def name(self) -> str:
        """``way/row/seed``, what patterns are matched against."""
        return f"{self.way}/{self.row}/{self.seed}"

    @property
    def folder(self) -> str:
        """Name of the run's folder: equal recipes, images and starts, equal folders.

        A start enters by the name of its own folder, not by its weights: these are known only once
        they are there, and a finished cell must be found again without them.
        """
        key = self.recipe.key
        if self.images or self.parent:
            start = self.parent.folder if self.parent else ""
            key = hashlib.sha256("\n".join([key, self.images, start]).encode()).hexdigest()
        return f"{self.recipe.name}-seed{self.seed}-{key[:8]}"


def cells_of(grid: Grid, profile: str) -> list[Cell]:
    """Return the cells of a profile: each pre-training before the first cell that needs it."""
    ordered: dict[str, Cell] = {}
    for number, block in enumerate(grid.cells, start=1):
        where = f"cells, block {number}"
        for cell in _Block(grid, profile, block, where).cells():
            if cell.parent is not None:
                ordered.setdefault(cell.parent.name, cell.parent)
            if cell.name in ordered:
                raise RecipeError(
                    f"{where}: two cells are called {cell.name!r}. Name what they differ in, as "
                    "{AXIS}, in way or row."
                )
            ordered[cell.name] = cell
    return list(ordered.values())


class _Block:
    """A block of cells: the product of its axes."""

    def __init__(self, grid: Grid, profile: str, block: Mapping[str, Any], where: str) -> None:
        self.grid, self.where = grid, where
        self.name, self.profile = profile, grid.profile(profile)
        merged = {**block, **{k: v for k, v in grid.defaults.items() if k not in block}}
        general, own = grid.defaults.get("settings", {}), block.get("settings", {})
        self.settings: Settings = {
            section: {**general.get(section, {}), **own.get(section, {})}
            for section in {**general, **own}
        }
        self.tests, self.last = merged.get("tests", []), bool(merged.get("last", False))
        self.axes = self._axes(merged)

    def _axes(self, block: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Return the axes with their values, in the order in which they are written."""
        axes: dict[str, list[Any]] = {}
        settings = set(Recipe.explanations())
        for key, value in block.items():
            if key in FIXED:
                continue
            nested = isinstance(value, dict)
            named = {f"{key}.{field}": v for field, v in value.items()} if nested else {key: value}
            for axis, values in named.items():
                if axis not in AXES and axis not in settings:
                    raise RecipeError(
                        f"{self.where}: {axis!r} is neither an axis "
                        f"({', '.join(AXES)}), nor one of {', '.join(FIXED)}, nor a "
                        f"setting of a recipe{close_to(axis, [*AXES, *FIXED, *settings])}"
                    )
                axes[axis] = values if isinstance(values, list) else [values]
        if "train" not in axes:
            raise RecipeError(f"{self.where}: train is missing; name the sets to train on.")
        axes.setdefault("seed", [0])
        if self.profile.seeds is not None:
            axes["seed"] = axes["seed"][: self.profile.seeds]
        varied = [a for a, v in axes.items() if a not in ("way", "row", "train", "seed", "recipe")
                  and len(v) > 1]  # fmt: skip
        axes.setdefault("way", ["{train}"])
        named_recipe = ["{recipe}"] if "recipe" in axes else []
        axes.setdefault("row", [", ".join([*named_recipe, *(f"{{{a}}}" for a in varied)])])
        return axes

    def cells(self) -> Iterator[Cell]:
        """Yield the cells, the axis written first changing slowest."""
        for values in itertools.product(*self.axes.values()):
            yield self._cell(dict(zip(self.axes, values, strict=True)))

    def _cell(self, point: dict[str, Any]) -> Cell:
        names = {axis: str(value) for axis, value in point.items() if axis not in ("way", "row")}
        names |= {a: filled(str(point[a]), names, self.where) for a in ("way", "row")}
        train, seed = names["train"], point["seed"]
        if not isinstance(seed, int) or seed < 0:
            raise RecipeError(f"{self.where}: seed {seed!r} is no whole number from 0 on.")
        options = [
            self.grid.options[axis][value]
            for axis, value in names.items()
            if value in self.grid.options.get(axis, {})
        ]
        recipe = self._recipe(next((o.recipe for o in options if o.recipe), names.get("recipe")))
        positive = {"evaluation": {"positive": self.grid.positive}} if self.grid.positive else {}
        recipe = self._changed(recipe, self._given() | positive)
        recipe = self._changed(recipe, self.settings)
        for option in options:
            recipe = self._changed(recipe, option.settings)
        for axis, value in point.items():
            if axis not in AXES:
                section, _, field = axis.partition(".")
                recipe = self._changed(recipe, {section: {field: value}})
        parent = self._parent(names, recipe)
        start = {"start": "run" if parent else "scratch"} if "start" in names else {}
        recipe = self._changed(recipe, {"training": {"seed": seed}, "model": start})
        recipe = self._changed(recipe, self.profile.settings)
        remedy = names.get("remedy", NO_REMEDY)
        if remedy != NO_REMEDY:
            refuse_unknown(remedy, REMEDIES, "remedy", self.where)
            recipe = remedied(recipe, [remedy])
        tests = tuple(filled(test, names, self.where) for test in self.tests)
        for name in (train, *tests):
            refuse_unknown(name, [*self.grid.sets, *self.grid.collections], "set", self.where)
        epochs = [option.epoch for option in options if option.epoch is not None]
        epoch = epochs[-1] if epochs else recipe.training.choose
        images = self.grid.words(train, self.name)
        way, row = names["way"], names["row"]
        cell = Cell(way, row, seed, recipe, train, tests, epoch, self.last, images, parent)
        if parent is not None and parent.in_folds:
            raise RecipeError(
                f"{self.where}: {parent.name} is what others start from, and that is one network; "
                f"its recipe has split.scheme = '{SplitScheme.K_FOLD}'. Choose another."
            )
        if cell.in_folds and (cell.last or epoch is not recipe.training.choose):
            raise RecipeError(
                f"{self.where}: networks of folds answer by the epoch that training.choose names, "
                f"'{recipe.training.choose}', and by no other. Leave last and epoch out for "
                f"{cell.name}, or split it once."
            )
        if cell.in_folds and self.grid.split is not None:
            raise RecipeError(
                f"{self.where}: {cell.name} parts its images into folds, and [split] parts them "
                "once for all cells. Leave one of the two out."
            )
        return cell

    def _recipe(self, name: str | None) -> Recipe:
        """Return a recipe by its name in the profile, in a file beside the study's, or shipped."""
        if not name:
            raise RecipeError(f"{self.where}: recipe is missing; name a recipe or its file.")
        option = self.profile.recipes.get(name, Option())
        source = option.recipe or name
        beside = self.grid.path(source)
        recipe = load_recipe(beside if beside.is_file() else source)
        return self._changed(recipe, option.settings)

    def _given(self) -> Settings:
        if self.grid.split is None:
            return {}
        return {"split": {"scheme": "given", "missing_patients": self.grid.split.missing_patients}}

    def _changed(self, recipe: Recipe, settings: Settings) -> Recipe:
        try:
            return recipe.changed(**settings) if settings else recipe
        except HurdlesError as error:
            raise RecipeError(f"{self.where}: {error}") from error

    def _parent(self, names: Mapping[str, str], child: Recipe) -> Cell | None:
        """Return the pre-training that a cell starts from, if it starts from one."""
        start = names.get("start", SCRATCH)
        if start == SCRATCH:
            return None
        refuse_unknown(start, self.grid.starts, "start", self.where)
        pretraining = self.grid.starts[start]
        refuse_unknown(pretraining.train, [*self.grid.sets, *self.grid.collections], "set",
                        f"starts.{start}")  # fmt: skip
        shared = {name: child.model_dump(mode="json")[name] for name in pretraining.shared}
        recipe = self._changed(
            self._changed(self._recipe(pretraining.recipe), self._given()), shared
        )
        way, row = (
            filled(text, names, f"starts.{start}") for text in (pretraining.way, pretraining.row)
        )
        images = self.grid.words(pretraining.train, self.name)
        return Cell(way, row, 0, recipe, pretraining.train, last=self.last, images=images)
