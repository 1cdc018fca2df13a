"""Elsewhere: what is left of a model on images of another source, and whether that was foreseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.nested import answers_of, best_blind_view, described
from hurdles.auditing.probing import joined_level, said_of, simultaneous
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

_NAME = "elsewhere"
#: Patients of each class that a source needs before it is left out by itself.
_FEW = 10
_ADVICE = (
    "Report the area outside beside the area inside; look at what the sources differ in (hurdles "
    "check), and train on more than one."
)


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
    def told(self) -> list[str]:
        """The classes worth an area each: of two, one says it all; of one, none does."""
        return self.common if len(self.common) > 2 else self.common[: len(self.common) - 1]

    def area(self, of: Predictions, label: str) -> AUC:
        """Return a class's area among the images of common classes."""
        rows = np.isin(of.y_true, self.common)
        scores = of.y_prob[rows, of.classes.index(label)]
        return AUC.of(of.y_true[rows], scores, positive=label, groups=of.groups[rows])


@model_hurdle(_NAME, question="What is left of it on images of another source?")
def elsewhere(subject: Subject) -> Iterator[Finding]:
    """Yield what is lost on other collections and on sources left out, and how it was forecast."""
    sources = _usable_sources(subject.material)
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
    if len(sources) > 1:
        pairs += [_left_out(subject.material, source) for source in sources]
    if not pairs:
        raise HurdleError(
            "there is no other collection, and fewer than two sources of its own have "
            f"{_FEW} patients of two classes; name another collection by --on."
        )
    yield from _lost(pairs, subject.material.level)
    yield _forecast(subject)


def _lost(pairs: list[_Pair], level: float) -> Iterator[Finding]:
    of = sum(len(pair.told) for pair in pairs)
    for pair in pairs:
        if not pair.told:
            why = "inside and outside share fewer than two classes"
            none = undefined(why)
            yield Finding(
                _NAME, pair.name, pair.statistic, none, limit_for(_NAME), scale=Scale.DIFFERENCE
            )
        for label in pair.told:
            inside, outside = (pair.area(p, label) for p in (pair.inside, pair.outside))
            lost = compare_aucs(inside, outside, level=joined_level(level, of)).difference
            ends = {"inside": inside.value, "outside": outside.value, "class": label}
            yield Finding(
                _NAME,
                f"{pair.name}, {label}",
                pair.statistic,
                simultaneous(lost, of).noted(pair.note),
                limit_for(_NAME),
                _ADVICE,
                details=ends,
                scale=Scale.DIFFERENCE,
            )


def _usable_sources(material: Material) -> list[str]:
    """Return the sources that have enough patients of two classes."""
    frame = material.manifest.frame.assign(group=material.groups)
    counts = frame.groupby(["source", "label"])["group"].nunique()
    classes = counts[counts >= _FEW].reset_index().groupby("source")["label"].nunique()
    return sorted(str(source) for source in classes.index[classes >= 2])


def _left_out(material: Material, source: str) -> _Pair:
    """Return what a small probe of the other sources says of those, and of this one."""
    away = (material.manifest.frame["source"] == source).to_numpy()
    home, left_out = material.take(~away), material.take(away)
    table, seed = described(material.pixels), material.seed
    inside = out_of_fold(table[~away], home.labels, home.groups, seed=seed)
    outside = fit_predict(table[~away], home.labels, home.groups, table[away], seed=seed)
    classes = np.unique(home.labels).tolist()
    return _Pair(
        f"without {source}",
        "AUC lost by a small probe that was trained on the other sources: on those less on this",
        said_of(home, inside, classes),
        said_of(left_out, outside, classes),
    )


def _forecast(subject: Subject) -> Finding:
    """Say what the model's own test images forecast, and how that fits what came.

    One forecast: by the view without any lung that does best on validation images, which is fixed
    before anything is known of the tested ones.
    """
    level, found = subject.material.level, answers_of(subject)
    statistic = "AUC to be expected elsewhere, by squared effect sizes"
    chosen = best_blind_view(found)
    if chosen is None:
        none = undefined("there are no validation images to choose a view on", level=level)
        return Finding(_NAME, "forecast", statistic, none, None, scale=Scale.AUC)
    told = found.said[chosen.name].test
    rows = subject.test.frame["image"].isin(told.frame["image"])
    inside = Predictions(subject.test.frame[rows].reset_index(drop=True))
    estimate = forecast_auc(inside, told, level=level)
    outside = [macro_auc(there.predictions).value for there in subject.elsewhere]
    came = [auc for auc in outside if auc == auc]
    home = macro_auc(subject.test).value
    details: dict[str, object] = {"inside": home, "outside": came, "view": chosen.name}
    if came and estimate.is_defined:
        record = track_record([estimate.value] * len(came), [home] * len(came), came)
        details["record"] = str(record)
    words = (
        f"{statistic}: inside, less what the {chosen.name} tells (of the views without a lung the "
        "best on validation images)"
    )
    return Finding(
        _NAME, "forecast", words, estimate, None, ASSUMPTION, (), details, scale=Scale.AUC
    )
