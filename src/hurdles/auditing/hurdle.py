"""What a hurdle is, and the two lists of them: for data and for models.

A hurdle is a plain function under a decorator. It is given the images (or the model with its
images), and yields findings; where it cannot say anything it raises `HurdleError`, and the others
go on. ``docs/hurdles.md`` writes one in fifteen lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from hurdles.findings.finding import Finding
from hurdles.registry import Registry

if TYPE_CHECKING:
    from hurdles.auditing.material import Material
    from hurdles.auditing.subject import Subject

__all__ = ["DATA_HURDLES", "MODEL_HURDLES", "Hurdle", "data_hurdle", "model_hurdle"]

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
