"""Lungs removed: the model's answers when there is no lung to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hurdles.auditing.blanking import blankable, only_lungs, without_lungs
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.probing import class_aucs, extremes, hidden_classes
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
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
    has_lungs = tested.has_lungs
    assert tested.masks is not None  # has_lungs would have said so
    kept = has_lungs & blankable(tested.masks)
    if not kept.any():
        raise HurdleError(f"in none of {len(tested)} test images do the lungs leave anything.")
    images, pixels, masks = tested.take(kept), tested.pixels[kept], tested.masks[kept]
    left = int((~kept).sum())
    note = f"{left} of {len(tested)} images left out: their lungs were not found" if left else ""
    plain = images.predictions(subject.labels, subject.reference[kept])
    for name, alter, limit in (
        ("background only", without_lungs, limit_for("lungs-removed", "background only")),
        ("lungs only", only_lungs, None),
    ):
        answers = subject.ask(alter(pixels, masks), masks)
        altered = images.predictions(subject.labels, answers)
        yield from _compared(altered, plain, name, limit, note, images.level)


def _compared(
    altered: Predictions,
    plain: Predictions,
    name: str,
    limit: Limit | None,
    note: str,
    level: float,
) -> Iterator[Finding]:
    area, own = macro_auc(altered, level=level), macro_auc(plain, level=level)
    yield Finding(
        "lungs-removed",
        name,
        f"the model's AUC on {name} (0.5 is chance)",
        area.noted(note),
        limit,
        _OTHER if limit is None else _ADVICE,
        extremes(altered, 0 if limit is None else _SHOWN, f"the {name}"),
        {"auc_by_class": class_aucs(altered), "auc_unaltered": own.to_dict()},
        scale=Scale.AUC,
        uncleared=hidden_classes(altered, limit, level),
    )
    lost, details = area, {}
    if area.is_defined:
        drop = compare_macro_auc(plain, altered, level=level)
        lost = drop.difference.noted(note)
        p_value = None if np.isnan(drop.p_value) else drop.p_value
        details = {"p_value": p_value, "test": drop.method}
    yield Finding(
        "lungs-removed",
        f"drop, {name}",
        f"AUC lost on {name}, of that on the whole images",
        lost,
        None,
        _OTHER,
        details=details,
        scale=Scale.DIFFERENCE,
    )
