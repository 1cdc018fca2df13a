"""Elsewhere: the loss of a model on images of another source, and whether that was foreseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.nested import answers_of, described
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.delong import AUC, compare_aucs
from hurdles.evaluation.estimate import undefined
from hurdles.evaluation.forecast import ASSUMPTION, forecast_auc, track_record
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import fit_predict, out_of_fold
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

#: Patients of each class that a source needs before it is left out by itself.
_FEW = 10
_ADVICE = (
    "Report the area outside beside the area inside; look at what the sources differ in (hurdles "
    "check), and train on more than one."
)


@model_hurdle("elsewhere", question="What is left of it on images of another source?")
def elsewhere(subject: Subject) -> Iterator[Finding]:
    """Yield what is lost on other collections and on sources left out, and how it was forecast."""
    pairs = [
        _Pair(
            there.material.name,
            "AUC lost outside: inside less outside, on the classes that both have",
            subject.test,
            there.predictions,
            " ".join(there.notes),
        )
        for there in subject.elsewhere
    ]
    pairs += _sources_left_out(subject.material)
    if not pairs:
        raise HurdleError(
            "there is no other collection, and fewer than two sources of its own have "
            f"{_FEW} patients of two classes; name another collection by --on."
        )
    of = sum(len(pair.compared) for pair in pairs)
    for pair in pairs:
        yield from _lost(pair, of, subject.material.level)
    yield _forecast(subject)


class _Pair(NamedTuple):
    """The same classes judged inside and outside."""

    name: str
    statistic: str
    inside: Predictions
    outside: Predictions
    note: str = ""

    @property
    def common(self) -> list[str]:
        """The classes of which both have images."""
        both = set(self.inside.y_true.tolist()) & set(self.outside.y_true.tolist())
        return [label for label in self.inside.classes if label in both]

    @property
    def compared(self) -> list[str]:
        """The classes worth an area each: of two, one says it all; of one, none does."""
        return self.common if len(self.common) > 2 else self.common[: len(self.common) - 1]


def _sources_left_out(material: Material) -> list[_Pair]:
    """Return the answers of small probes, each trained without one of several usable sources.

    A source is usable with enough patients of two classes; a probe is asked about the other
    sources, crosswise, and about the one that was left out.
    """
    frame = material.manifest.frame.assign(group=material.groups)
    counts = frame.groupby(["source", "label"])["group"].nunique()
    classes = counts[counts >= _FEW].reset_index().groupby("source")["label"].nunique()
    sources = sorted(str(source) for source in classes.index[classes >= 2])
    pairs = []
    for source in sources if len(sources) > 1 else []:
        away = (frame["source"] == source).to_numpy()
        home, left_out = material.take(~away), material.take(away)
        table, seed = described(material.pixels), material.seed
        inside = out_of_fold(table[~away], home.labels, home.groups, seed=seed)
        outside = fit_predict(table[~away], home.labels, home.groups, table[away], seed=seed)
        labels = np.unique(home.labels).tolist()
        pairs.append(
            _Pair(
                f"without {source}",
                "AUC lost by a small probe that was trained on the other sources: on those less on "
                "this",
                home.predictions(labels, inside),
                left_out.predictions(labels, outside),
            )
        )
    return pairs


def _lost(pair: _Pair, of: int, level: float) -> Iterator[Finding]:
    limit = limit_for("elsewhere")
    if not pair.compared:
        none = undefined("inside and outside share fewer than two classes")
        yield Finding("elsewhere", pair.name, pair.statistic, none, limit, scale=Scale.DIFFERENCE)

    def area(side: Predictions, label: str) -> AUC:
        rows = np.isin(side.y_true, pair.common)
        scores = side.y_prob[rows, side.classes.index(label)]
        return AUC.of(side.y_true[rows], scores, positive=label, groups=side.groups[rows])

    for label in pair.compared:
        inside, outside = area(pair.inside, label), area(pair.outside, label)
        lost = compare_aucs(inside, outside, level=joined_level(level, of)).difference
        yield Finding(
            "elsewhere",
            f"{pair.name}, {label}",
            pair.statistic,
            simultaneous(lost, of).noted(pair.note),
            limit,
            _ADVICE,
            details={"inside": inside.value, "outside": outside.value, "class": label},
            scale=Scale.DIFFERENCE,
        )


def _forecast(subject: Subject) -> Finding:
    """Forecast from the model's own test images, and say how that fits what came.

    One forecast: by the view without any lung that does best on validation images, which is fixed
    before anything is known of the tested ones.
    """
    level, answers = subject.material.level, answers_of(subject)
    statistic = "AUC to be expected elsewhere, by squared effect sizes"
    best = answers.best_blind_view()
    if best is None:
        none = undefined("there are no validation images to choose a view on", level=level)
        return Finding("elsewhere", "forecast", statistic, none, None, scale=Scale.AUC)
    view, _ = best
    blind = answers.test[view]
    rows = subject.test.frame["image"].isin(blind.frame["image"])
    inside = Predictions(subject.test.frame[rows].reset_index(drop=True))
    estimate = forecast_auc(inside, blind, level=level)
    outside = [macro_auc(other.predictions).value for other in subject.elsewhere]
    outside = [auc for auc in outside if auc == auc]
    home = macro_auc(subject.test).value
    details: dict[str, object] = {"inside": home, "outside": outside, "view": view}
    if outside and estimate.is_defined:
        record = track_record([estimate.value] * len(outside), [home] * len(outside), outside)
        details["record"] = str(record)
    return Finding(
        "elsewhere",
        "forecast",
        f"{statistic}: inside, less what the {view} tells (of the views without a lung the best on "
        "validation images)",
        estimate,
        None,
        ASSUMPTION,
        details=details,
        scale=Scale.AUC,
    )
