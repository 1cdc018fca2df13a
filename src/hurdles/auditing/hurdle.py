"""Hurdles: the two lists of them, for data and for models, and how they are run.

A hurdle is a plain function under a decorator. It is given the images (or the model with its
images), and yields findings; where it cannot say anything it raises `HurdleError`, and the others
go on. ``docs/hurdles.md`` writes one in fifteen lines, in a Python file of one's own.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from hurdles.auditing.material import Capability, Material, Subject
from hurdles.errors import HurdleError, HurdlesError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT, Finding
from hurdles.findings.table import Findings
from hurdles.progress import Progress, Silent
from hurdles.registry import Registry

__all__ = ["DATA_HURDLES", "MODEL_HURDLES", "Hurdle", "data_hurdle", "load_hurdles", "model_hurdle"]

T = TypeVar("T")
#: From the images, or from the model with its images, to findings; lazily, so that an interrupted
#: audit keeps the first.
Function: TypeAlias = Callable[[T], Iterator[Finding]]

#: From what a hurdle is given, and the seconds of a model's answer to an image, to the seconds that
#: it takes: roughly, for the time left. Shares of a whole audit are what counts.
Cost: TypeAlias = Callable[[T, float], float]


def _little(_given: object, _answer: float) -> float:
    """Return the cost of a hurdle that takes next to no time."""
    return 0.1


#: Modules of files given by ``--own`` begin with this.
_OWN = "hurdles_own_"

#: Images of which a network is asked at once.
_A_BATCH = 32
#: Seconds that no hurdle takes less than.
_LEAST = 0.01

_log = logging.getLogger("hurdles")


@dataclass(frozen=True)
class Hurdle(Generic[T]):
    """Function that yields findings, with its name and the question that it asks.

    Parameters
    ----------
    name : str
        As in the findings, in letters and hyphens.
    question : str
        One sentence with a question mark.
    run : callable
        From material or subject to findings.
    needs : frozenset of Capability
        What a subject must be able to do; of one that is not, the hurdle could not run.
    lungs : bool
        Whether it looks at where the lungs are, which takes long to find.
    cost : callable
        Of the time that it takes.
    """

    name: str
    question: str
    run: Function[T]
    needs: frozenset[Capability] = frozenset()
    lungs: bool = True
    cost: Cost[T] = _little


#: Hurdles for data by name, in the order in which they are run and shown.
DATA_HURDLES: Registry[Hurdle[Material]] = Registry("hurdle for data")
#: Hurdles for a model by name, in the order in which they are run and shown.
MODEL_HURDLES: Registry[Hurdle[Subject]] = Registry("hurdle for a model")


def data_hurdle(
    name: str, *, question: str, cost: Cost[Material] = _little
) -> Callable[[Function[Material]], Function[Material]]:
    """Return a decorator that registers a hurdle for data with its name and its question.

    `cost` is for the time left, see `Hurdle`. A second use of a name raises `RegistryError`.
    """
    return _registering(DATA_HURDLES, name, question, cost=cost)


def model_hurdle(
    name: str,
    *,
    question: str,
    needs: Iterable[Capability] = (),
    lungs: bool = True,
    cost: Cost[Subject] = _little,
) -> Callable[[Function[Subject]], Function[Subject]]:
    """Return a decorator that registers a hurdle for a model with its name and its question.

    `needs` are what it asks of a subject beyond the predictions of its test part: the images, a
    model that answers about altered ones, or features. Without `lungs`, these are not looked for on
    its behalf. `cost` is for the time left, see `Hurdle`. A second use of a name raises
    `RegistryError`.
    """
    return _registering(MODEL_HURDLES, name, question, needs, lungs, cost)


def _registering(
    hurdles: Registry[Hurdle[T]],
    name: str,
    question: str,
    needs: Iterable[Capability] = (),
    lungs: bool = True,
    cost: Cost[T] = _little,
) -> Callable[[Function[T]], Function[T]]:
    def keep(function: Function[T]) -> Function[T]:
        hurdles.register(name)(Hurdle(name, question, function, frozenset(needs), lungs, cost))
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
        name = _OWN + path.stem
        loaded = sys.modules.get(name)
        if loaded is not None and loaded.__file__ == str(path):
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise HurdleError(f"{path} is no Python file; its name must end in .py.")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
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


def run_hurdles(
    hurdles: Registry[Hurdle[T]],
    given: T,
    *,
    names: Sequence[str] | None = None,
    about: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    after_each: Callable[[Findings], object] | None = None,
) -> Findings:
    """Run hurdles one after another and return all findings; one that cannot run stops no other.

    `after_each` is called with the findings so far whenever a hurdle is done.
    """
    listener = progress or Silent()
    material = given.material if isinstance(given, Subject) else given
    images = unknown = 0
    if isinstance(material, Material):
        images, unknown = len(material), material.manifest.missing_patients
    about = dict(about or {}) | _about_patients(images, unknown)
    for name in names or ():
        hurdles.get(name)  # an unknown name raises
    requested = [name for name in hurdles if names is None or name in names]
    if progress is not None:
        listener.start("Hurdles", len(requested), _costs(map(hurdles.get, requested), given))
    rows: list[Finding] = []
    questions: dict[str, str] = {}
    for hurdle in map(hurdles.get, requested):
        questions[hurdle.name] = hurdle.question
        listener.advance(0, hurdle.name)
        for row in _findings_of(hurdle, given):
            if unknown and unknown == images:  # no patient is known, so no number of them is given
                settled_by = "images" if row.settled_by == "patients" else row.settled_by
                estimate = replace(row.estimate, n_patients=0)
                row = replace(row, estimate=estimate, settled_by=settled_by)
            rows.append(row)
        if after_each is not None:
            after_each(Findings(tuple(rows), dict(questions), about))
        listener.advance()
    return Findings(tuple(rows), questions, about)


def _costs(hurdles: Iterable[Hurdle[T]], given: T) -> list[float]:
    """Return about how many seconds each hurdle takes; next to none of one that cannot run."""
    able, answer = [(hurdle, not _lacking(hurdle, given)) for hurdle in hurdles], 0.0
    if isinstance(given, Subject) and any(a and Capability.ANSWERS in h.needs for h, a in able):
        with suppress(Exception):  # a hurdle that asks will say so
            if not hasattr(given.model, "ask_many"):  # a program would be started once more
                rows = np.arange(min(_A_BATCH, len(given.test)))
                some = given.tested.take(rows)
                # Libraries are loaded, kernels chosen.
                given.ask(some.pixels, some.masks, rows=rows)
            began = time.perf_counter()
            n = len(given.reference)
            answer = (time.perf_counter() - began) / n
    return [_LEAST + (hurdle.cost(given, answer) if is_able else 0) for hurdle, is_able in able]


#: By what a subject lacks: what that is, and how it can be given.
_BRING: Mapping[Capability, str] = {
    Capability.IMAGES: "the images of the predictions; give them (--data)",
    Capability.ANSWERS: (
        "a model that can be asked about altered images; bring the model itself (--model, "
        "--model-command, or a function in Python)"
    ),
    Capability.FEATURES: (
        "the features of the model; bring an ONNX model whose spec names the output that holds "
        "them (features_name)"
    ),
    Capability.GRADIENTS: "the gradients of a network that hurdles trained (hurdles run)",
}


def _lacking(hurdle: Hurdle[T], given: T) -> str:
    """Return what a subject lacks of a hurdle's needs, and how it can be given; mostly nothing."""
    if not isinstance(given, Subject):
        return ""
    missing = [c for c in Capability if c in hurdle.needs and c not in given.capabilities]
    return f"it needs {' and '.join(_BRING[each] for each in missing)}." if missing else ""


def _about_patients(images: int, unknown: int) -> dict[str, str]:
    if not unknown:
        return {}
    if unknown == images:
        text = (
            f"none of {images:,} images names one, so intervals count every image as a patient; "
            "where patients have several images they are too narrow"
        )
    else:
        text = (
            f"{unknown:,} of {images:,} images name none and count as a patient each; where these "
            "show fewer people, intervals are too narrow"
        )
    return {"patients": text}


def _whose(error: BaseException, function: Callable[..., object]) -> str:
    """Return where a hurdle of one's own failed; for one of hurdles, that it is to be reported."""
    if not function.__module__.startswith(_OWN):
        return "please report it"
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(sys.modules.get(function.__module__), "__file__", None) or ""
    lines = [f", line {frame.lineno}" for frame in frames if frame.filename == file]
    return f"in {Path(file).name}{lines[-1] if lines else ''}"


def _findings_of(hurdle: Hurdle[T], given: T) -> list[Finding]:
    """Return the findings of a hurdle until it ended, in whatever way it did."""
    rows: list[Finding] = []

    def could_not(why: str) -> Finding:
        return Finding(hurdle.name, COULD_NOT, "nothing", undefined(why), None)

    if lacking := _lacking(hurdle, given):
        return [could_not(lacking)]
    try:
        rows_given: object = hurdle.run(given)
        if not isinstance(rows_given, Iterable):
            kind = type(rows_given).__name__
            raise TypeError(f"it returned {kind}; a hurdle yields its findings, one after another")
        for row in rows_given:
            # Each of these would cost the table of all other findings.
            if not isinstance(row, Finding):
                raise TypeError(
                    f"it gave {type(row).__name__}, which is no Finding; wrap an Estimate in one "
                    "(hurdles.findings.finding.Finding)"
                )
            if row.hurdle != hurdle.name:
                raise TypeError(
                    f"it gave a Finding of {row.hurdle!r}, which is no Finding of the hurdle "
                    f"{hurdle.name!r}"
                )
            if any((r.subject, r.statistic) == (row.subject, row.statistic) for r in rows):
                raise ValueError(f"it found {row.subject!r} / {row.statistic!r} twice")
            rows.append(row)
        if not rows:
            rows.append(could_not("it gave no finding, so it judged nothing"))
    except HurdlesError as error:
        rows.append(could_not(str(error)))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit() in a hurdle must not pass for a clean end
        _log.exception("the hurdle %r failed", hurdle.name)
        whose = _whose(error, hurdle.run)
        why = f"an error in the hurdle itself, {whose}: {type(error).__name__}: {error}"
        rows.append(replace(could_not(why), is_fault=True))
    return rows
