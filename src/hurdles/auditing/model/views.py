"""Answers without any lung: those of a small probe on nested views, and those of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from typing import Any

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Subject
from hurdles.auditing.nested import (
    VIEWS,
    Answers,
    Bytes,
    Flags,
    answers_of,
    blankable,
    only_lungs,
    views_of,
    without_lungs,
)
from hurdles.auditing.probing import (
    class_aucs,
    extremes,
    hidden_classes,
    joined_level,
    simultaneous,
)
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import undefined
from hurdles.evaluation.macro import compare_macro_auc, macro_auc, share_above_chance
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Limit, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import PREPARATIONS

_SHOWN = 2
_ADVICE = (
    "The class can be told without the lungs, so the model may do so: look at the images shown, "
    "remove what gives the class away, or show the model the lungs only (preparation 'masked')."
)
_LUNGS = "Shown, not judged: the lungs, or traces of them, are in this view."
_JUDGED = sum(view.judged for view in VIEWS)


@model_hurdle(
    "views",
    question="How much of this task can be done without any lung?",
    needs=[Capability.IMAGES],
    cost=lambda subject, _: 0.006 * len(subject.material),
)
def views(subject: Subject) -> Iterator[Finding]:
    """Yield the probe's area on each view, then the share of the model's that needs no lung."""
    answers = answers_of(subject)
    for view in views_of(subject.material):
        of = _JUDGED if view.judged else 1
        level = joined_level(subject.material.level, of)
        limit = limit_for("views", view.name) if view.judged else None
        finding = Finding(
            "views",
            view.name,
            "AUC of a small probe that sees this view only (0.5 is chance)",
            undefined(answers.lacking.get(view.name, ""), n_images=answers.n_test),
            limit,
            _ADVICE if view.judged else _LUNGS,
            scale=Scale.AUC,
        )
        if view.name in answers.test:
            predictions = answers.test[view.name]
            area = simultaneous(macro_auc(predictions, level=level), of)
            finding = replace(
                finding,
                estimate=area.noted(answers.note),
                evidence=extremes(predictions, _SHOWN, view.name) if view.judged else (),
                details={"auc_by_class": class_aucs(predictions)},
                uncleared=hidden_classes(predictions, limit, level),
            )
        yield finding
    if not subject.material.judged_only:
        yield _share(subject, answers)


def _share(subject: Subject, answers: Answers) -> Finding:
    """Compare the best view without lungs, chosen on validation images, with the model itself."""
    best = answers.best_blind_view()
    level = subject.material.level
    statistic = (
        "what a probe without lungs has above chance, over what the model has (no decomposition: "
        "the lungs alone may give most of it as well)"
    )
    details: dict[str, Any] = {}
    if best is None:
        share = undefined("there are no validation images to choose a view on", level=level)
    else:
        name, auc = best
        part = answers.test[name]
        own = subject.test.frame
        whole = Predictions(own[own["image"].isin(part.frame["image"])].reset_index(drop=True))
        share = share_above_chance(part, whole, level=level)
        if share.is_defined and share.high > 1:
            # What a probe has beyond the model is no share of the model's.
            better = "the probe does better than the model; shares end at 100 %"
            value, low, high = (min(x, 1.0) for x in (share.value, share.low, share.high))
            note = better if share.value > 1 else ""
            share = replace(share, value=value, low=low, high=high).noted(note)
        share = share.noted(answers.note)
        statistic = f"{statistic}; {name}, the best such view on validation images"
        details = {
            "view": name,
            "auc_on_validation": auc,
            "auc_of_view": macro_auc(part, level=level).to_dict(),
            "auc_of_model": macro_auc(whole, level=level).to_dict(),
        }
    return Finding(
        "views", "without any lung", statistic, share, None, _ADVICE, details=details,
        scale=Scale.SHARE,
    )  # fmt: skip


_REMOVED_SHOWN = 3
_REMOVED_ADVICE = (
    "The model tells the classes with the lungs blanked out: what it reads is not the lungs alone. "
    "See 'views' for where it is, and show the model the lungs only (preparation 'masked')."
)
_REMOVED_OTHER = (
    "Shown, not judged: a model may do worse on images unlike those that it was trained on."
)


@model_hurdle(
    "lungs-removed",
    question="Does the model still answer when the lungs are gone?",
    needs=[Capability.ANSWERS],
    cost=lambda subject, answer: len(subject.test) * (2 * answer + 0.002),
)
def lungs_removed(subject: Subject) -> Iterator[Finding]:
    """Yield the model's area on background alone (judged), on lungs alone, and both drops.

    Images are blanked as they are in the preparations ``background`` and ``masked`` and go through
    the model's own preparation afterwards. All three areas are of the same images.
    """
    assert subject.model is not None
    preparation = subject.model.preparation
    if any(step in PREPARATIONS.get(preparation) for step in PREPARATIONS.get("masked")):
        raise HurdleError(
            f"{subject.name} sees images {preparation}, only the lungs: nothing is left to "
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
    altered_images: list[tuple[str, Callable[[Bytes, Flags], Bytes], Limit | None]] = [
        ("background only", without_lungs, limit_for("lungs-removed", "background only")),
        ("lungs only", only_lungs, None),
    ]
    if tested.judged_only:
        del altered_images[1:]
    questions = ((alter(pixels, masks), masks) for _, alter, _ in altered_images)
    answers = subject.ask_many(questions, rows=repeat(subject.positions(images)))
    for (name, _, limit), probability in zip(altered_images, answers, strict=True):
        altered = images.predictions(subject.labels, probability)
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
        _REMOVED_OTHER if limit is None else _REMOVED_ADVICE,
        extremes(altered, 0 if limit is None else _REMOVED_SHOWN, f"the {name}"),
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
        _REMOVED_OTHER,
        details=details,
        scale=Scale.DIFFERENCE,
    )
