"""A study as data: what its TOML file may say; ``docs/howto/own-study.md`` explains it."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from hurdles.data.sources import COLLECTIONS
from hurdles.data.vocabulary import MissingPatients
from hurdles.errors import RecipeError, RegistryError
from hurdles.phantom import SHORTCUTS
from hurdles.recipe.choices import ChosenEpoch
from hurdles.recipe.recipe import Recipe

#: Axes of a block of cells beside the settings of recipes, and what else a block may say.
AXES = ("way", "row", "train", "recipe", "start", "remedy", "seed")
FIXED = ("tests", "settings", "last")

Settings = dict[str, dict[str, Any]]
#: One name, or a list of them.
_Names = Annotated[tuple[str, ...], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Phantom(_Part):
    """Synthetic radiographs, drawn when they are first needed."""

    patients: int = Field(ge=3, le=100_000)
    seed: int = Field(0, ge=0)
    size: int = Field(224, ge=32, le=2048)
    classes: tuple[str, ...] = ("COVID-19", "Normal")
    hospitals: int = Field(3, ge=1)
    shortcut: str = ""
    strength: float = Field(0.0, ge=0, le=1)


class Collection(_Part):
    """Images that a study starts from: public ones by name, a table or folder, or phantoms."""

    names: _Names = ()
    path: str = ""
    phantom: Phantom | None = None
    drop: tuple[str, ...] = ()
    whole: bool = False
    split: bool = True


class Completion(_Part):
    """From where missing images of a class are drawn."""

    collection: str
    label: str


class ImageSet(_Part):
    """A set of images, taken from collections in the order of the fields."""

    collections: _Names = ()
    maker: str = ""
    part: str = ""
    classes: dict[str, str] = {}
    where: dict[str, str] = {}
    complete: Completion | None = None
    balance: bool = False
    holds: str = ""
    says: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Every collection that it is made of."""
        return (*self.collections, *([self.complete.collection] if self.complete else []))


class SplitOnce(_Part):
    """The split of every collection, once, for all cells."""

    fractions: tuple[float, float, float] = (0.6, 0.15, 0.25)
    seed: int = Field(0, ge=0)
    missing_patients: MissingPatients = MissingPatients.ONE_EACH


class Option(_Part):
    """Changes that a value of an axis makes."""

    recipe: str = ""
    settings: Settings = {}
    epoch: ChosenEpoch | None = None


class Start(_Part):
    """A pre-training: all cells that start from it, with equal shared sections, share one run."""

    train: str
    recipe: str
    way: str = "pre-training"
    row: str = "{start}"
    shared: tuple[str, ...] = ("preparation",)


class Profile(_Part):
    """The effort of a study."""

    explanation: str = ""
    settings: Settings = {}
    recipes: dict[str, Option] = {}
    limits: dict[str, Annotated[int, Field(ge=1)]] = {}
    seeds: int | None = Field(None, ge=1)


class Paired(_Part):
    """Rows to compare on the images that both can use: question, changed row, plain row."""

    train: tuple[str, ...] = ()
    questions: tuple[tuple[str, str, str], ...] = ()

    def pairs(self) -> Iterator[tuple[str, str, str]]:
        """Yield every question with its two rows."""
        for train in self.train or ("",):
            for question, *rows in self.questions:
                one, two = (filled(row, {"train": train}, "paired.questions") for row in rows)
                yield question, one, two


class Grid(_Part):
    """A study: collections, sets made of them, blocks of cells, and what is shown of the result."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = ""
    description: str = ""
    positive: str = ""
    collections: dict[str, Collection]
    split: SplitOnce | None = None
    copies: bool = True
    same_patients: str = ""
    sets: dict[str, ImageSet] = {}
    profiles: dict[str, Profile] = {"full": Profile()}
    starts: dict[str, Start] = {}
    options: dict[str, dict[str, Option]] = {}
    defaults: dict[str, Any] = {}
    cells: tuple[dict[str, Any], ...] = Field(min_length=1)
    measures: dict[str, _Names] = {}
    columns: tuple[str, ...] = ()
    tables: dict[str, str] = {"matrix": "matrix", "gaps": "gaps", "paired": "paired",
                              "left-out": "left-out"}  # fmt: skip
    page_tables: tuple[str, ...] = ()
    figures: tuple[str, ...] = ("matrix",)
    notes: tuple[str, ...] = ()
    paired: Paired = Paired()
    page: str = "default.md.j2"
    values: dict[str, Any] = {}
    _file: Path | None = PrivateAttr(None)

    @property
    def folder(self) -> Path | None:
        """Folder of the study's file, from which its paths count; None of a shipped one."""
        return self._file.parent if self._file else None

    @property
    def files(self) -> list[Path]:
        """The study's file and its page's template, which nothing may overwrite."""
        named = [] if self._file is None else [self._file, self.path(self.page)]
        return [path for path in named if path.is_file()]

    @property
    def public_names(self) -> tuple[str, ...]:
        """Every public collection that can be of use."""
        return tuple(name for entry in self.collections.values() for name in entry.names)

    def image_set(self, name: str) -> ImageSet:
        """Return a set by name; a collection's name means the collection as it is."""
        return self.sets[name] if name in self.sets else ImageSet(collections=(name,))

    def profile(self, name: str) -> Profile:
        """Return a profile by name."""
        if name not in self.profiles:
            known = ", ".join(self.profiles)
            raise RecipeError(
                f"study {self.name} has no profile {name!r}, only {known}. Add [profiles.{name}] "
                "to its file, or leave the option out."
            )
        return self.profiles[name]

    def profile_named(self, name: str = "", *, fast: bool = False) -> str:
        """Return the profile that is wanted: one by name, or ``fast``, or else ``full``."""
        if fast and name not in ("", "fast"):
            raise RecipeError(f"--fast and --profile {name} want two profiles; give one of them.")
        name = name or ("fast" if fast else "full")
        self.profile(name)
        return name

    def path(self, text: str) -> Path:
        """Return a path that the study's file names."""
        return (self.folder or Path()) / Path(text).expanduser()

    def words(self, train: str, profile: str) -> str:
        """Return everything that decides which images a set holds; it parts the runs' folders."""
        if self.split is None and train in self.collections and len(self.collections) == 1:
            return ""  # the recipe's own split of the images that were given: its key says all
        image_set, limits = self.image_set(train), self.profile(profile).limits
        used = {
            name: [self.collections[name].model_dump(mode="json"), limits.get(name)]
            for name in image_set.needs
        }
        made = image_set.model_dump(mode="json", exclude={"says", "holds"})
        once = self.split.model_dump(mode="json") if self.split else None
        return json.dumps([made, used, once, self.copies, self.same_patients], sort_keys=True)


def shipped_studies() -> list[str]:
    """Return the names of the studies that come with hurdles."""
    folder = resources.files("hurdles.studies") / "grids"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")


def load_grid(name_or_path: str | Path) -> Grid:
    """Read a study: a shipped one by name, or any TOML file by its path."""
    name, path = str(name_or_path), Path(name_or_path).expanduser()
    if path.suffix.lower() == ".toml":
        if not path.is_file():
            raise RecipeError(
                f"{name} is not a file; give the study's TOML file, or one that comes with "
                f"hurdles: {', '.join(shipped_studies())}."
            )
        try:
            grid = _parsed(path.read_text(encoding="utf-8"), name, path)
        except UnicodeDecodeError as error:
            raise RecipeError(f"{name} is not UTF-8 text ({error}); save it so.") from error
        if grid.name in shipped_studies():  # its results would take the place of that study's
            raise RecipeError(
                f"study {name}: {grid.name!r} is a study that comes with hurdles, whose files "
                "begin with this name; give yours another."
            )
        return grid
    if name not in shipped_studies():
        close = close_to(name, shipped_studies())
        raise RegistryError(
            f"no study is called {name!r}{close} Known: {', '.join(shipped_studies())}; or give "
            "the path of a TOML file."
        )
    source = resources.files("hurdles.studies") / "grids" / f"{name}.toml"
    return _parsed(source.read_text(encoding="utf-8"), name, None)


def _parsed(text: str, where: str, file: Path | None) -> Grid:
    try:
        plain = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers too long, brackets too deep
        raise RecipeError(f"{where} is not valid TOML: {error}.") from error
    return grid_of(plain, where, file)


def grid_of(plain: Mapping[str, Any], where: str, file: Path | None = None) -> Grid:
    """Return the study that a TOML file says; raises a RecipeError for whatever is not right."""
    try:
        grid = Grid.model_validate(plain)
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["type"], e["msg"]) for e in error.errors())
        raise RecipeError(f"study {where}: {problems}. Correct the fields named.") from error
    grid._file = file
    try:
        _refuse_unknown_names(grid)
    except RecipeError as error:
        raise RecipeError(f"study {where}: {error}") from error
    return grid


def _problem(place: tuple[int | str, ...], kind: str, message: str) -> str:
    name = ".".join(map(str, place)) or "the file"
    if kind == "extra_forbidden":
        part: Any = Grid
        for step in place[:-1]:
            field = getattr(part, "model_fields", {}).get(str(step))
            part = part if field is None else _part_in(field.annotation)
        known = list(getattr(part, "model_fields", {}))
        return f"{name} is no field{close_to(str(place[-1]), known)} Known: {', '.join(known)}"
    return f"{name} is missing" if kind == "missing" else f"{name}: {message}"


def _part_in(annotation: Any) -> Any:
    """Return the part of the file that an annotation such as ``dict[str, Part]`` speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, _Part):
        return annotation
    inner = [_part_in(each) for each in getattr(annotation, "__args__", ())]
    return next((each for each in inner if each is not None), None)


def _refuse_unknown_names(grid: Grid) -> None:
    """Raise a RecipeError for the first name that nothing has, and say where it stands."""
    for name, entry in grid.collections.items():
        where = f"collections.{name}"
        if not re.fullmatch(r"[^\W_]+(-[^\W_]+)*", name):
            raise RecipeError(f"{where}: use letters, digits and single hyphens in its name.")
        if bool(entry.names) + bool(entry.path) + bool(entry.phantom) != 1:
            raise RecipeError(f"{where}: give one of names, path and phantom.")
        for public in entry.names:
            refuse_unknown(public, COLLECTIONS, "public collection", where)
        if entry.phantom and entry.phantom.shortcut:
            refuse_unknown(entry.phantom.shortcut, SHORTCUTS, "shortcut", where)
    for name, image_set in grid.sets.items():
        if not image_set.collections:
            raise RecipeError(f"sets.{name}: collections is missing; name what it is made of.")
        for need in image_set.needs:
            refuse_unknown(need, grid.collections, "collection", f"sets.{name}")
    for name, profile in grid.profiles.items():
        for limited in profile.limits:
            refuse_unknown(limited, grid.collections, "collection", f"profiles.{name}.limits")
    for axis in grid.options:
        refuse_unknown(axis, AXES, "axis", "options")
    for key in grid.defaults:
        known = [*AXES, *FIXED, *Recipe.model_fields, *Recipe.explanations()]
        refuse_unknown(key, known, "field of a block", "defaults")


def refuse_unknown(name: str, known: Iterable[str], kind: str, where: str) -> None:
    """Raise a RecipeError if a name is not known, and say where it stands and which are."""
    names = list(known)
    if name not in names:
        raise RecipeError(
            f"{where}: no {kind} is called {name!r}{close_to(name, names)} Known: "
            f"{', '.join(names) or 'none'}."
        )


def close_to(name: str, known: Iterable[str]) -> str:
    """Return the known name that is closest, as the end of a sentence."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def filled(pattern: str, values: Mapping[str, str], where: str) -> str:
    """Return a pattern with the values of axes in place of their ``{names}``."""

    def value(match: re.Match[str]) -> str:
        refuse_unknown(match[1], values, "axis", f"{where}, {pattern!r}")
        return values[match[1]]

    return re.sub(r"\{([^{}]+)\}", value, pattern)
