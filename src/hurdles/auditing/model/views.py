"""Views: how much of a task can be done without any lung."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.nested import VIEWS, Answers, answers_of
from hurdles.auditing.probing import (
    class_aucs,
    extremes,
    hidden_classes,
    joined_level,
    simultaneous,
)
from hurdles.auditing.subject import Subject
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc, share_above_chance
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

_SHOWN = 2
_ADVICE = (
    "The class can be told without the lungs, so the model may do so: look at the images shown, "
    "remove what gives the class away, or show the model the lungs only (preparation 'masked')."
)
_LUNGS = "Shown, not judged: the lungs, or traces of them, are in this view."
_JUDGED = sum(view.judged for view in VIEWS)


@model_hurdle("views", question="How much of this task can be done without any lung?")
def views(subject: Subject) -> Iterator[Finding]:
    """Yield the probe's area on each view, then the share of the model's that needs no lung."""
    answers = answers_of(subject)
    for view in VIEWS:
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
        share = _at_most_one(share_above_chance(part, whole, level=level)).noted(answers.note)
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


def _at_most_one(share: Estimate) -> Estimate:
    """Return the share within 1: what a probe has beyond the model is no share of the model's."""
    if not share.is_defined or share.high <= 1:
        return share
    note = "the probe does better than the model; shares end at 100 %" if share.value > 1 else ""
    value, low, high = (min(x, 1.0) for x in (share.value, share.low, share.high))
    return replace(share, value=value, low=low, high=high).noted(note)
