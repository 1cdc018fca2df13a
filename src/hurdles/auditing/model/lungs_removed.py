"""Lungs removed: what the model itself still says when there is no lung to look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.nested import blankable, only_lungs, without_lungs
from hurdles.auditing.probing import class_aucs, extremes, hidden_classes
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.macro import compare_macro_auc, macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Limit, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import PREPARATIONS

_SHOWN = 3
_ADVICE = (
    "The model tells the classes with the lungs blanked out: what it reads is not the lungs alone. "
    "See 'views' for where it is, and show the model the lungs only (preparation 'masked')."
)
_OTHER = "Shown, not judged: a model may do worse on images unlike those that it was trained on."


@model_hurdle("lungs-removed", question="Does the model still answer when the lungs are gone?")
def lungs_removed(subject: Subject) -> Iterator[Finding]:
    """Yield the model's area on background alone (judged), on lungs alone, and both drops.

    Images are blanked as they are in the preparations ``background`` and ``masked`` and go through
    the model's own preparation afterwards. All three areas are of the same images.
    """
    steps = PREPARATIONS.get(subject.preparation)
    if any(step in steps for step in PREPARATIONS.get("masked")):
        raise HurdleError(
            f"{subject.name} sees images {subject.preparation}, only the lungs: nothing is left to "
            "ask about when they are gone. What can still give the class away is their "
            "outline; see the hurdle 'views'."
        )
    tested = subject.tested
    kept = tested.has_lungs & blankable(_masks(tested.masks))
    if not kept.any():
        raise HurdleError(f"in none of {len(tested)} test images do the lungs leave anything.")
    seen, pixels = tested.take(kept), tested.pixels[kept]
    masks = _masks(tested.masks)[kept]
    left = int((~kept).sum())
    note = f"{left} of {len(tested)} images left out: their lungs were not found" if left else ""
    plain = subject.predictions_of(seen, subject.reference[kept])
    for name, alter, limit in (
        ("background only", without_lungs, limit_for("lungs-removed", "background only")),
        ("lungs only", only_lungs, None),
    ):
        answers = subject.ask(alter(pixels, masks), masks)
        yield from _compared(
            subject.predictions_of(seen, answers), plain, name, limit, note, seen.level
        )


def _compared(
    altered: Predictions,
    plain: Predictions,
    name: str,
    limit: Limit | None,
    note: str,
    level: float,
) -> Iterator[Finding]:
    area, own = macro_auc(altered, level=level), macro_auc(plain, level=level)
    details: dict[str, Any] = {"auc_by_class": class_aucs(altered), "auc_unaltered": own.to_dict()}
    yield Finding(
        "lungs-removed",
        name,
        f"the model's AUC on {name} (0.5 is chance)",
        area.noted(note),
        limit,
        _OTHER if limit is None else _ADVICE,
        extremes(altered, _SHOWN, f"the {name}") if limit is not None else (),
        details,
        scale=Scale.AUC,
        uncleared=hidden_classes(altered, limit, level),
    )
    statistic = f"AUC lost on {name}, of that on the whole images"
    if not area.is_defined:
        yield _drop(name, statistic, area, {})
        return
    drop = compare_macro_auc(plain, altered, level=level)
    p_value = None if np.isnan(drop.p_value) else drop.p_value
    more = {"p_value": p_value, "test": drop.method}
    found = drop.difference.noted(note)
    yield _drop(name, statistic, found, more)


def _drop(name: str, statistic: str, found: Estimate, details: dict[str, Any]) -> Finding:
    return Finding(
        "lungs-removed",
        f"drop, {name}",
        statistic,
        found,
        None,
        _OTHER,
        details=details,
        scale=Scale.DIFFERENCE,
    )


def _masks(masks: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if masks is None:
        raise HurdleError("the lungs were not looked for; segment them (`hurdles segment`) first.")
    return masks
