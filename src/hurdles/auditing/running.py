"""Running hurdles one after another; one that cannot run does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from hurdles.auditing.hurdle import Hurdle
from hurdles.errors import HurdlesError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT, Finding
from hurdles.findings.table import Findings
from hurdles.registry import Registry
from hurdles.training.progress import Progress, Silent

__all__ = ["run_hurdles"]

T = TypeVar("T")
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
    """Run hurdles on what is given and return all that they found.

    Parameters
    ----------
    hurdles : Registry of Hurdle
        `hurdles.auditing.hurdle.DATA_HURDLES` or ``MODEL_HURDLES``.
    given : Material or Subject
        What they look at.
    names : sequence of str, optional
        Which of them, in any order; default: all.
    about : mapping of str to str, optional
        Goes into the findings.
    progress : Progress, optional
        Who listens.
    found : callable, optional
        Given the findings so far after every hurdle, so that nothing is lost.

    Returns
    -------
    Findings
        A hurdle that could not run, or was not done because of an error in it, has one finding
        that says why.

    Raises
    ------
    RegistryError
        If no hurdle has a name that was given.
    """
    listener = progress or Silent()
    wanted = hurdles.names() if names is None else [hurdles.get(name).name for name in names]
    asked = [hurdles.get(name) for name in hurdles if name in wanted]
    listener.start("Hurdles", len(asked))
    rows: list[Finding] = []
    questions: dict[str, str] = {}
    for hurdle in asked:
        questions[hurdle.name] = hurdle.question
        rows += _rows(hurdle, given)
        if found is not None:
            found(Findings(tuple(rows), dict(questions), dict(about or {})))
        listener.advance(1, hurdle.name)
    return Findings(tuple(rows), questions, dict(about or {}))


def _rows(hurdle: Hurdle[T], given: T) -> Iterable[Finding]:
    rows: list[Finding] = []
    try:
        rows.extend(hurdle.run(given))
    except HurdlesError as error:
        rows.append(_could_not(hurdle, str(error)))
    except Exception as error:
        _log.exception("the hurdle %r failed", hurdle.name)
        said = f"an error in the hurdle itself, please report it: {type(error).__name__}: {error}"
        rows.append(_could_not(hurdle, said))
    return rows


def _could_not(hurdle: Hurdle[T], why: str) -> Finding:
    return Finding(hurdle.name, COULD_NOT, "nothing", undefined(why), None)
