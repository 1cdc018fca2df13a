"""What a hurdle is, and the two lists of them: for data and for models.

A hurdle is a plain function under a decorator. It is given the images (or the model with its
images), and yields findings; where it cannot say anything it raises `HurdleError`, and the others
go on. ``docs/hurdles.md`` writes one in fifteen lines.

Hurdles of one's own: a Python file that registers them when it is run.

Running hurdles one after another; one that cannot run does not stop the others.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from hurdles.auditing.material import Material
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError, HurdlesError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT, Finding
from hurdles.findings.table import Findings
from hurdles.progress import Progress, Silent
from hurdles.registry import Registry

if TYPE_CHECKING:
    from hurdles.auditing.material import Material
    from hurdles.auditing.subject import Subject

__all__ = ["DATA_HURDLES", "MODEL_HURDLES", "Hurdle", "data_hurdle", "load_hurdles", "model_hurdle"]


T = TypeVar("T")


@dataclass(frozen=True)
class Hurdle(Generic[T]):
    """A hurdle by its name.

    Parameters
    ----------
    name : str
        As in the findings, in letters and hyphens.
    question : str
        What it asks, for a reader: one sentence with a question mark.
    run : callable
        From what is looked at to findings; lazily, so that an interrupted audit keeps the first.
    """

    name: str
    question: str
    run: Callable[[T], Iterator[Finding]]


DataFunction: TypeAlias = "Callable[[Material], Iterator[Finding]]"
ModelFunction: TypeAlias = "Callable[[Subject], Iterator[Finding]]"

#: Hurdles for data by name, in the order in which they are run and shown.
DATA_HURDLES: Registry[Hurdle[Material]] = Registry("hurdle for data")
#: Hurdles for a model by name, in the order in which they are run and shown.
MODEL_HURDLES: Registry[Hurdle[Subject]] = Registry("hurdle for a model")


def data_hurdle(name: str, *, question: str) -> Callable[[DataFunction], DataFunction]:
    """Return a decorator that registers a hurdle for data.

    Parameters
    ----------
    name : str
        Its name; a second use raises.
    question : str
        What it asks.
    """

    def keep(function: DataFunction) -> DataFunction:
        DATA_HURDLES.register(name)(Hurdle(name, question, function))
        return function

    return keep


def model_hurdle(name: str, *, question: str) -> Callable[[ModelFunction], ModelFunction]:
    """Return a decorator that registers a hurdle for a model.

    Parameters
    ----------
    name : str
        Its name; a second use raises.
    question : str
        What it asks.
    """

    def keep(function: ModelFunction) -> ModelFunction:
        MODEL_HURDLES.register(name)(Hurdle(name, question, function))
        return function

    return keep


def load_hurdles(files: Iterable[str | Path]) -> None:
    """Run Python files, so that the hurdles in them are registered; each file once.

    Parameters
    ----------
    files : iterable of path
        They use `hurdles.auditing.hurdle.data_hurdle` and `model_hurdle`; see ``docs/hurdles.md``.

    Raises
    ------
    HurdleError
        If a file is missing or cannot be run.
    RegistryError
        If a hurdle in it has the name of another.
    """
    for file in files:
        path = Path(file).absolute()
        if not path.is_file():
            raise HurdleError(f"{path} is not a file; give a Python file with hurdles of your own.")
        name = f"hurdles_own_{path.stem}"
        loaded = sys.modules.get(name)
        if loaded is not None and loaded.__file__ == str(path):
            continue
        _run(path, name)


def _run(path: Path, name: str) -> None:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HurdleError(f"{path} is no Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (HurdlesError, KeyboardInterrupt):
        del sys.modules[name]
        raise
    except BaseException as error:  # sys.exit() in it must not end hurdles as if all were well
        del sys.modules[name]
        raise HurdleError(
            f"{path} cannot be run: {type(error).__name__}: {error}. Mend it and try again."
        ) from error


_log = logging.getLogger("hurdles")


def run_hurdles(
    hurdles: Registry[Hurdle[T]],
    given: T,
    *,
    names: Sequence[str] | None = None,
    about: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    found: Callable[[Findings], object] | None = None,
) -> Findings:
    """Run hurdles on what is given and return all that they found."""
    listener = progress or Silent()
    images, unnamed = _without_patient(given)
    about = dict(about or {}) | ({"patients": _patients(images, unnamed)} if unnamed else {})
    wanted = hurdles.names() if names is None else [hurdles.get(name).name for name in names]
    asked = [hurdles.get(name) for name in hurdles if name in wanted]
    listener.start("Hurdles", len(asked))
    rows: list[Finding] = []
    questions: dict[str, str] = {}
    for hurdle in asked:
        questions[hurdle.name] = hurdle.question
        own = _rows(hurdle, given)
        rows += own if unnamed < images or not unnamed else map(_by_image, own)
        if found is not None:
            found(Findings(tuple(rows), dict(questions), about))
        listener.advance(1, hurdle.name)
    return Findings(tuple(rows), questions, about)


def _without_patient(given: object) -> tuple[int, int]:
    """Return how many images there are, and how many of them name no patient."""
    material = given.material if isinstance(given, Subject) else given
    if not isinstance(material, Material):
        return 0, 0
    return len(material), material.manifest.missing_patients


def _patients(images: int, unnamed: int) -> str:
    if unnamed == images:
        return (
            f"none of {images:,} images names one, so intervals count every image as a patient; "
            "where patients have several images they are too narrow"
        )
    return (
        f"{unnamed:,} of {images:,} images name none and count as a patient each; where these show "
        "fewer people, intervals are too narrow"
    )


def _by_image(row: Finding) -> Finding:
    """Say of a number no more patients than are known: none."""
    settled_by = "images" if row.settled_by == "patients" else row.settled_by
    return replace(row, estimate=replace(row.estimate, n_patients=0), settled_by=settled_by)


def _rows(hurdle: Hurdle[T], given: T) -> list[Finding]:
    """Return what a hurdle found before it ended, in whatever way it did."""
    rows: list[Finding] = []
    try:
        for row in hurdle.run(given):
            _require_sound(row, hurdle, rows)
            rows.append(row)
        if not rows:
            rows.append(_could_not(hurdle, "it gave no finding, so it judged nothing"))
    except HurdlesError as error:
        rows.append(_could_not(hurdle, str(error)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() in a hurdle must not pass for a clean end
        _log.exception("the hurdle %r failed", hurdle.name)
        why = f"an error in the hurdle itself, please report it: {type(error).__name__}: {error}"
        rows.append(replace(_could_not(hurdle, why), is_fault=True))
    return rows


def _require_sound(row: object, hurdle: Hurdle[T], before: list[Finding]) -> None:
    """Raise where a finding would cost the table of all others."""
    if not isinstance(row, Finding) or row.hurdle != hurdle.name:
        raise TypeError(f"it gave {row!r}, which is no Finding of the hurdle {hurdle.name!r}")
    if any((r.subject, r.statistic) == (row.subject, row.statistic) for r in before):
        raise ValueError(f"it found {row.subject!r} / {row.statistic!r} twice")


def _could_not(hurdle: Hurdle[T], why: str) -> Finding:
    return Finding(hurdle.name, COULD_NOT, "nothing", undefined(why), None)
