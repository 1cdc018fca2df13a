"""Doors: a run, a head, a file, a program, a function or a table of predictions becomes a subject.

Each door uses some of what can be given. What it would not use is refused: an option without an
effect is a mistake that nobody notices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hurdles.auditing.foreign import Request, answers_subject, expected_of, model_subject
from hurdles.auditing.loading import subject_of
from hurdles.auditing.material import Model, Subject
from hurdles.data.inputs import Input, Role
from hurdles.data.manifest import Manifest
from hurdles.data.table import columns_beside, columns_in
from hurdles.errors import HurdleError, SpecError
from hurdles.foreign.command import CommandModel
from hurdles.foreign.expectation import Agreement
from hurdles.foreign.function import FunctionModel
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import Spec, load_spec
from hurdles.pixels.cache import cache_folder
from hurdles.pixels.framing import Framing, Resize
from hurdles.progress import Options
from hurdles.runs.heads import frozen_model, head_files, is_head, load_head
from hurdles.runs.images import (
    Data,
    classified,
    classified_apart,
    files_of,
    parts_of,
    title_of,
)
from hurdles.runs.inputs import image_inputs, run_inputs, sibling_inputs
from hurdles.runs.run import Run
from hurdles.runs.seals import sealed

Classifier: TypeAlias = Callable[[NDArray[np.float32]], ArrayLike]
#: A subject, what a reader must know of it besides, and what it was made of.
Brought: TypeAlias = "tuple[Subject, dict[str, str], list[Input]]"


#: What the command line calls an argument, where that is not its own name.
_OPTIONS = {
    "classes": "--class",
    "columns": "--column",
    "command": "--model-command",
    "labels": "--label",
    "seeds": "--seed-run or --seed-predictions",
}


def _called(argument: str) -> str:
    return _OPTIONS.get(argument, f"--{argument.replace('_', '-')}")


@dataclass(frozen=True, eq=False)
class Given:
    """Everything that somebody gave to `hurdles.audit`; see there."""

    model: Run | Model | Classifier | str | Path | None = None
    predictions: str | Path | None = None
    command: str | None = None
    data: Data | None = None
    spec: Spec | str | Path | None = None
    classes: Sequence[str] | None = None
    positive: str | None = None
    size: int | None = None
    expect: str | Path | None = None
    trained_on: Data | None = None
    on: Data | None = None
    seeds: Sequence[Run | str | Path] = ()
    labels: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None
    time_limit: float | None = None
    ask_anew: bool = False

    def refuse_all_but(
        self, used: set[str], what: str, called: Callable[[str], str] = _called
    ) -> None:
        """Raise HurdleError if something was given that is of no use."""
        always = {"on", *used}
        if self.data is not None or self.on is not None:
            always |= {"labels", "columns"}
        for option in fields(self):
            value = getattr(self, option.name)
            is_empty = isinstance(value, Sequence | Mapping) and not value
            nothing = value is None or value is False or is_empty
            if option.name not in always and not nothing:
                others = sorted({called(name) for name in always - {"model"}})
                raise HurdleError(
                    f"{called(option.name)} is of no use with {what}; leave it out. Of use there: "
                    f"{', '.join(others)}."
                )

    def columns_of_images(self) -> dict[str, str]:
        """Return those of `columns` that are not of the tables of answers alone."""
        answers = [path for path in (self.predictions, self.expect) if path is not None]
        return columns_beside(self.columns or {}, answers, self.table_files())

    def request(self, name: str = "") -> Request:
        """Return the images that were given."""
        images = None
        if self.data is not None:
            images = classified(self.data, labels=self.labels, columns=self.columns_of_images())
            name = title_of(self.data)
        return Request(name, images, self.elsewhere(), parts_of(self.trained_on))

    def elsewhere(self) -> Mapping[str, Manifest]:
        """Return the other collections, each by its name; of some no class may be known."""
        return classified_apart(
            self.on, labels=self.labels, columns=self.columns_of_images(), unlabeled=True
        )

    def table_files(self) -> list[Path]:
        """Return the tables among the images."""
        return [*files_of(self.data), *files_of(self.on), *files_of(self.trained_on)]


class Door(ABC):
    """Way by which a subject comes before the hurdles."""

    run: Run | None = None
    title: str
    files: Sequence[str | Path]

    @abstractmethod
    def subject(self, options: Options, *, lungs: bool = True) -> Brought:
        """Return the subject; images are read, and a model is asked, here.

        Lungs are looked for if they are wanted, or the model needs them.
        """


def door_of(given: Given) -> Door:
    """Return the door of what was given; HurdleError if that is nothing, or too much."""
    ways = {
        "a model": given.model,
        "predictions": given.predictions,
        "a command": given.command,
    }
    chosen = [name for name, value in ways.items() if value is not None]
    if len(chosen) != 1:
        what = f"{' and '.join(chosen)} were given" if chosen else "nothing was given"
        raise HurdleError(
            f"{what} to audit: give one of a run's folder, a model (a file with its spec, or a "
            "function), a command, or predictions."
        )
    if given.predictions is not None:
        return TableDoor(given, given.predictions)
    if isinstance(given.model, Run):
        return RunDoor(given, given.model)
    if isinstance(given.model, str | Path):
        path = Path(given.model)
        if is_head(path):
            return HeadDoor(given, path)
        is_file = path.is_file() or given.spec is not None or given.data is not None
        return ModelDoor(given) if is_file and not path.is_dir() else RunDoor(given, Run(path))
    return ModelDoor(given)


class RunDoor(Door):
    """A finished run, with its own images."""

    def __init__(self, given: Given, run: Run) -> None:
        given.refuse_all_but({"model", "seeds"}, "a run, which knows its images and classes")
        self.given, self.run, self.own_run = given, run, run
        self.title = run.require_finished().recipe.name
        self.files = [*sealed(run.path), *files_of(given.on)]

    def subject(self, options: Options, *, lungs: bool = True) -> Brought:
        """Return the run's network with the run's images, and others' where given."""
        run, elsewhere = self.own_run, self.given.elsewhere()
        siblings = [each if isinstance(each, Run) else Run(each) for each in self.given.seeds]
        subject = subject_of(run, on=elsewhere, siblings=siblings, lungs=lungs, options=options)
        made_of = [
            *image_inputs({run.recipe.name: run.manifest, **elsewhere}, cache=options.cache),
            *(Input.of_file(Role.TABLE, path) for path in files_of(self.given.on)),
            *run_inputs(run, "validation", "test"),
            *sibling_inputs(siblings),
        ]
        about = {"run": run.path.name}
        if run.is_ensemble:
            k = run.recipe.split.folds
            about["folds"] = (
                f"each tested image was altered and answered by the one of {k} networks that had "
                "not seen its patient; areas rank the answers of all of them, which have no common "
                "scale: they come out lower, also where that clears a hurdle; and limits were "
                "measured on single networks"
            )
            options.listener.say(f"note: {about['folds']}")
        return subject, about, made_of


class HeadDoor(Door):
    """A linear head on frozen features, with its own images: it knows no altered ones."""

    def __init__(self, given: Given, folder: Path) -> None:
        given.refuse_all_but({"model", "trained_on"}, "a fitted head, which knows its images")
        self.given, self.folder, self.title = given, folder, folder.name
        written = [file for file in head_files(folder) if file.is_file()]
        self.files = [*written, *given.table_files()]

    def subject(self, options: Options, *, lungs: bool = True) -> Brought:
        """Return the head with the features of its images, and of others' where given."""
        fitted, manifest = load_head(self.folder), Manifest.load(self.folder / "manifest.csv")
        others = self.given.request()
        request = Request(self.title, manifest, others.on, others.trained_on)
        model = frozen_model(fitted, [manifest, *(others.on or {}).values()], options)
        subject, about = model_subject(model, request, options=options, lungs=lungs)
        made_of = [Input.of_file(Role.MODEL, self.folder / "head.npz")]
        about |= {"encoder": str(fitted.about["encoder"])}
        return subject, about, [*made_of, *_inputs(self.given, request, options)]


class TableDoor(Door):
    """Predictions that somebody's model once made."""

    def __init__(self, given: Given, path: str | Path) -> None:
        used = {"predictions", "data", "classes", "positive", "trained_on", "seeds"}
        used |= {"labels", "columns"}  # of the table, or refused in their own words below
        given.refuse_all_but(used, "predictions alone, of a model that cannot be asked")
        if given.data is None:
            for name in ("labels", "trained_on", "on"):
                if getattr(given, name):
                    raise HurdleError(
                        f"{_called(name)} is about images, and there are none; give them by --data."
                    )
        if any(isinstance(each, Run) for each in given.seeds):
            raise HurdleError("other seeds of predictions are tables of predictions, not runs.")
        self.given, self.path, self.title = given, path, Path(path).name
        self.tables = [path, *(str(each) for each in given.seeds)]
        self.files = [*self.tables, *given.table_files()]

    def subject(self, options: Options, *, lungs: bool = True) -> Brought:
        """Return the predictions, with their images where they are given."""
        given, request = self.given, self.given.request(Path(self.path).stem)
        columns = given.columns or {}
        subject, about = answers_subject(
            self.path,
            request,
            options=options,
            lungs=lungs,
            seeds=self.tables[1:],
            classes=given.classes,
            positive=given.positive,
            columns=columns if given.data is None else columns_in(self.path, columns),
        )
        made_of = [Input.of_file(Role.PREDICTIONS, each) for each in self.tables]
        return subject, about, [*made_of, *_inputs(given, request, options)]


class ModelDoor(Door):
    """A model that can be asked: a file, a program, a function, or an object of one's own."""

    def __init__(self, given: Given) -> None:
        used = {"data", "expect", "trained_on"}
        model = given.model
        if given.command is not None:
            used |= {"command", "classes", "positive", "size", "time_limit", "ask_anew"}
            given.refuse_all_but(used, "a command")
            self.title = given.command
        elif isinstance(model, str | Path):
            given.refuse_all_but(used | {"model", "spec"}, "a model's file, whose spec says it all")
            self.title = Path(model).name
        elif hasattr(model, "ask"):
            what = "a model that says its classes and size itself"
            given.refuse_all_but(used | {"model"}, what, called=repr)
            self.title = str(getattr(model, "name", "a model"))
        else:
            given.refuse_all_but(used | {"model", "classes", "size"}, "a function", called=repr)
            self.title = getattr(model, "__name__", type(model).__name__)
            if given.classes is None:
                raise HurdleError(
                    "a function does not say what its columns mean; name the classes in their "
                    'order, as in classes=["COVID-19", "Normal"].'
                )
        if given.data is None:
            raise HurdleError("a model is asked about images; give them by --data.")
        self.given = given
        own = [each for each in (model, given.spec, given.expect) if isinstance(each, str | Path)]
        self.own, self.files = own, [*own, *given.table_files()]

    def subject(self, options: Options, *, lungs: bool = True) -> Brought:
        """Return the model with its answers to the images."""
        given = self.given
        request = given.request()
        assert request.images is not None
        model = self._model(request.images, options)
        spec = model.spec if isinstance(model, OnnxModel) else None
        made_of = self._inputs_of(model)
        expected = self._expected(model, request, options)
        subject, about = model_subject(
            model,
            request,
            options=options,
            lungs=lungs,
            decide=None if spec is None or spec.threshold is None else spec.decided,
            framing=Framing.STRETCH if spec is None else spec.framing,
            fraction=1.0 if spec is None else spec.crop_fraction,
            resize=Resize.AREA if spec is None else spec.resize,
        )
        return subject, about | expected, [*made_of, *_inputs(given, request, options)]

    def _expected(self, model: Model, request: Request, options: Options) -> dict[str, str]:
        """Check the model by its user's own predictions; raise SpecError where they disagree."""
        path = self.given.expect
        if path is None:
            return {}
        columns = columns_in(path, self.given.columns or {})
        expectation = expected_of(model, path, request, options=options, columns=columns)
        lines = expectation.lines(Path(path).name)
        if expectation.agreement in (Agreement.WHEN_CHANGED, Agreement.DISAGREES):
            raise SpecError("\n".join(lines))
        for line in lines:
            options.listener.say(line)
        return {"expected": " ".join(lines)}

    def _model(self, images: Manifest, options: Options) -> Model:
        given = self.given
        if given.command is not None:
            return CommandModel(
                given.command,
                given.classes or images.labels,
                folder=cache_folder(options.cache) / "answers",
                positive=given.positive,
                size=512 if given.size is None else given.size,
                limit_s=given.time_limit,
                fresh=given.ask_anew,
                listener=options.listener,
            )
        model = given.model
        if isinstance(model, str | Path):
            spec = given.spec
            return OnnxModel(model, load_spec(spec) if isinstance(spec, str | Path) else spec)
        if isinstance(model, Model):
            return model
        assert callable(model)
        return FunctionModel(
            model, given.classes or (), size=224 if given.size is None else given.size
        )

    def _inputs_of(self, model: Model) -> list[Input]:
        given = self.given
        files = {Role.MODEL: given.model, Role.SPEC: given.spec, Role.EXPECTATION: given.expect}
        inputs = [
            Input.of_file(role, file)
            for role, file in files.items()
            if isinstance(file, str | Path)
        ]
        if isinstance(model, OnnxModel):
            inputs += [Input.of_file(Role.MODEL, path) for path in model.file.beside]
        if isinstance(model, CommandModel):
            inputs += [
                Input(Role.MODEL, Path(name).name, digest)
                for name, digest in model.files.items()
                if Path(name).is_file()  # of a folder only names, sizes and times are hashed
            ]
        return inputs


def _inputs(given: Given, request: Request, options: Options) -> list[Input]:
    images = {} if request.images is None else {request.name: request.images}
    return [
        *image_inputs({**images, **(request.on or {})}, cache=options.cache),
        *(Input.of_file(Role.TABLE, path) for path in given.table_files()),
    ]
