"""Running hurdles one after another; one that cannot run does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hurdles.auditing.hurdle import Hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdlesError
from hurdles.evaluation.estimate import undefined
from hurdles.findings.finding import COULD_NOT, Finding
from hurdles.findings.table import Findings
from hurdles.progress import Progress, Silent
from hurdles.registry import Registry

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
