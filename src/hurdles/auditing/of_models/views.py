"""Nested views: how much of a task can be done without any lung."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.nested import VIEWS, Answers, Said, View, answers_of
from hurdles.auditing.probing import class_aucs, extremes, joined_level, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.macro import macro_auc, share_above_chance
from hurdles.evaluation.predictions import Predictions
from hurdles.findings.finding import Finding
from hurdles.findings.limits import limit_for

__all__ = ["views"]

_SHOWN = 2
_ADVICE = (
    "The class can be told without the lungs, so the model may do so: look at the images shown, "
    "remove what gives the class away, or show the model the lungs only (preparation 'masked')."
)
_LUNGS = "Shown, not judged: the lungs, or traces of them, are in this view."


_JUDGED = sum(view.judged for view in VIEWS)


@model_hurdle("views", question="How much of this task can be done without any lung?")
def views(subject: Subject) -> Iterator[Finding]:
    """Yield the probe's area on each view, then the share of the model's that needs no lung.

    Parameters
    ----------
    subject : Subject
        The model, its images with their split, and its answers; see `answers_of`.
    """
    found = answers_of(subject)
    for view in VIEWS:
        if view.name in found.lacking:
            yield _finding(view, undefined(found.lacking[view.name], n_images=found.n_test))
            continue
        said = found.said[view.name]
        level = subject.material.level
        if view.judged:
            area = macro_auc(said.test, level=joined_level(level, _JUDGED))
            area = simultaneous(area, _JUDGED)
        else:
            area = macro_auc(said.test, level=level)
        yield _finding(view, _noted(area, found.note), said)
    yield _share(subject, found)


def _finding(view: View, found: Estimate, said: Said | None = None) -> Finding:
    return Finding(
        "views",
        view.name,
        "AUC of a small probe that sees this view only (0.5 is chance)",
        found,
        limit_for("views", view.name) if view.judged else None,
        _ADVICE if view.judged else _LUNGS,
        extremes(said.test, _SHOWN, view.name) if said is not None and view.judged else (),
        {} if said is None else {"auc_by_class": class_aucs(said.test)},
    )


def _share(subject: Subject, found: Answers) -> Finding:
    """Compare the best view without lungs, chosen on validation images, with the model itself."""
    chosen, inside = "", -np.inf
    for view in VIEWS:
        one = found.said.get(view.name)
        if view.judged and one is not None and one.validation is not None:
            area = macro_auc(one.validation)
            if area.is_defined and area.value > inside:
                chosen, inside = view.name, area.value
    subject_name, level = "without any lung", subject.material.level
    statistic = "share of what the model's AUC has above chance that needs no lung"
    if not chosen:
        none = undefined("there are no validation images to choose a view on", level=level)
        return Finding("views", subject_name, statistic, none, None, _ADVICE)
    part = found.said[chosen].test
    own = subject.test.frame
    whole = Predictions(own[own["image"].isin(part.frame["image"])].reset_index(drop=True))
    share = share_above_chance(part, whole, level=level)
    details = {
        "view": chosen,
        "auc_on_validation": inside,
        "auc_of_view": macro_auc(part, level=level).to_dict(),
        "auc_of_model": macro_auc(whole, level=level).to_dict(),
    }
    words = f"{statistic} ({chosen}, the best such view on validation images)"
    return Finding(
        "views", subject_name, words, _noted(share, found.note), None, _ADVICE, (), details
    )


def _noted(estimate: Estimate, note: str) -> Estimate:
    return replace(estimate, note="; ".join(filter(None, (estimate.note, note))))
