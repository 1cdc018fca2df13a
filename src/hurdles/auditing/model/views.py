"""Nested views: how much of a task can be done without any lung."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.nested import VIEWS, Answers, Said, View, answers_of, best_blind_view
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
    found = answers_of(subject)
    for view in VIEWS:
        if view.name in found.lacking:
            yield _finding(view, undefined(found.lacking[view.name], n_images=found.n_test))
            continue
        said = found.said[view.name]
        level = subject.material.level
        if view.judged:
            level = joined_level(level, _JUDGED)
            area = macro_auc(said.test, level=level)
            area = simultaneous(area, _JUDGED)
        else:
            area = macro_auc(said.test, level=level)
        yield _finding(view, area.noted(found.note), said, level)
    yield _share(subject, found)


def _finding(view: View, found: Estimate, said: Said | None = None, level: float = 0.95) -> Finding:
    limit = limit_for("views", view.name) if view.judged else None
    return Finding(
        "views",
        view.name,
        "AUC of a small probe that sees this view only (0.5 is chance)",
        found,
        limit,
        _ADVICE if view.judged else _LUNGS,
        extremes(said.test, _SHOWN, view.name) if said is not None and view.judged else (),
        {} if said is None else {"auc_by_class": class_aucs(said.test)},
        scale=Scale.AUC,
        uncleared="" if said is None else hidden_classes(said.test, limit, level),
    )


def _share(subject: Subject, found: Answers) -> Finding:
    """Compare the best view without lungs, chosen on validation images, with the model itself."""
    best = best_blind_view(found)
    level = subject.material.level
    statistic = (
        "what a probe without lungs has above chance, over what the model has (no decomposition: "
        "the lungs alone may give most of it as well)"
    )
    if best is None:
        none = undefined("there are no validation images to choose a view on", level=level)
        return _shown(statistic, none)
    part = found.said[best.name].test
    own = subject.test.frame
    whole = Predictions(own[own["image"].isin(part.frame["image"])].reset_index(drop=True))
    share = _whole_at_most(share_above_chance(part, whole, level=level))
    details = {
        "view": best.name,
        "auc_on_validation": best.auc,
        "auc_of_view": macro_auc(part, level=level).to_dict(),
        "auc_of_model": macro_auc(whole, level=level).to_dict(),
    }
    words = f"{statistic}; {best.name}, the best such view on validation images"
    return _shown(words, share.noted(found.note), details)


def _shown(words: str, share: Estimate, details: dict[str, Any] | None = None) -> Finding:
    return Finding(
        "views",
        "without any lung",
        words,
        share,
        None,
        _ADVICE,
        details=details or {},
        scale=Scale.SHARE,
    )


def _whole_at_most(share: Estimate) -> Estimate:
    """Return the share within 1: what a probe has beyond the model is no share of the model's."""
    if not share.is_defined or share.high <= 1:
        return share
    note = "the probe does better than the model; shares end at 100 %" if share.value > 1 else ""
    value, low, high = (min(x, 1.0) for x in (share.value, share.low, share.high))
    return replace(share, value=value, low=low, high=high).noted(note)
