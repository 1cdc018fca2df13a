"""Sources: how well the features of a model tell them, and the loss of it on images of another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, Subject
from hurdles.auditing.nested import answers_of, described
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.errors import HurdleError
from hurdles.evaluation.delong import AUC, compare_aucs
from hurdles.evaluation.estimate import undefined
from hurdles.evaluation.forecast import ASSUMPTION, forecast_auc, track_record
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.probing import (
    FEWEST,
    Probe,
    fit_predict,
    out_of_fold,
    patients_of,
    source_probes_within,
    thumbnails,
)
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

_SOURCE_ADVICE = (
    "The model's features tell the source of an image, so that it may answer by it; take every "
    "class from every source, or train with a remedy (`hurdles run --remedy`)."
)
_BEFORE = "Shown, not judged: what plain pixels tell of the source before any model."


@model_hurdle(
    "source",
    question="Do the model's features tell which source an image is from?",
    needs=[Capability.FEATURES],
    lungs=False,
)
def source(subject: Subject) -> Iterator[Finding]:
    """Yield, within each class, the area of telling the source from features, and from pixels.

    The images are those of the test part and, where given, of other collections. Within a class
    it is the source alone that is told, not the class. Classes are judged together: their
    intervals hold at once, and a class that cannot be asked is not cleared on the others.
    """
    level = subject.material.level
    materials = [subject.tested, *(each.material for each in subject.elsewhere)]
    # A collection that names no source for an image is that image's source; the test part is so
    # only beside others. Empty where no source is known.
    names: list[str] = []
    for each in materials:
        other = each.name if len(materials) > 1 else ""
        given = each.manifest.frame["source"]
        names += [other if pd.isna(name) or not name else str(name) for name in given]
    sources = np.array(names, dtype=str)
    labels = np.concatenate([m.labels for m in materials])
    groups = np.concatenate([m.groups for m in materials])
    known = np.flatnonzero(sources != "")

    def probes(table: NDArray[np.floating], level: float) -> list[Probe]:
        return source_probes_within(
            table[known],
            sources[known].tolist(),
            labels[known].tolist(),
            groups=groups[known].tolist(),
            seed=subject.material.seed,
            level=level,
        )

    # Whether there is anything to tell, before the network is asked.
    if not any(_is_enough(sources[rows], groups[rows]) for rows in _by_class(labels, known)):
        pairs = Counter(zip(labels.tolist(), sources.tolist(), strict=True))
        counts = [f"{c} from {s or 'nowhere known'}: {n}" for (c, s), n in sorted(pairs.items())]
        raise HurdleError(
            f"no two sources have ten patients of the same class among {len(labels)} images "
            f"({'; '.join(counts[:6])}); audit with another collection of the same classes."
        )
    features = np.concatenate([subject.features(m.pixels, m.masks) for m in materials])
    classes = len(np.unique(labels[known]))
    for probe in probes(features, joined_level(level, classes)):
        yield _source_finding(probe, "features", classes)
    if subject.material.judged_only:
        return
    plain = np.concatenate([thumbnails(m.pixels) for m in materials])
    for probe in probes(plain, level):
        if probe.auc.is_defined:
            yield _source_finding(probe, "plain pixels", 1)


def _by_class(labels: NDArray[np.str_], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for label in np.unique(labels[rows]):
        yield rows[labels[rows] == label]


def _is_enough(sources: NDArray[np.str_], groups: NDArray[np.str_]) -> bool:
    return sum(n >= FEWEST for n in patients_of(sources, groups).values()) > 1


def _source_finding(probe: Probe, of: str, family: int) -> Finding:
    judged = of == "features"
    where = "the model's features" if judged else "a thumbnail of 16 by 16 pixels"
    return Finding(
        "source",
        f"{probe.within}, {of}",
        f"AUC of telling the source of {probe.within} images from {where} (0.5 is chance)",
        simultaneous(probe.auc, family).noted(probe.note),
        limit_for("source", of) if judged else None,
        _SOURCE_ADVICE if judged else _BEFORE,
        details={
            "images": probe.images,
            "patients": probe.patients,
            "accuracy": probe.accuracy.to_dict(),
            "chance_accuracy": probe.chance,
        },
        scale=Scale.AUC,
    )


#: Patients of each class that a source needs before it is left out by itself.
_FEW = 10
_ELSEWHERE_ADVICE = (
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
    if not pairs and not subject.material.has_images:
        raise HurdleError("it needs the images, and those of another collection (--data, --on).")
    if not pairs:
        raise HurdleError(
            "there is no other collection, and fewer than two sources of its own have "
            f"{_FEW} patients of two classes; name another collection by --on."
        )
    of = sum(len(pair.compared) for pair in pairs)
    for pair in pairs:
        yield from _lost(pair, of, subject.material.level)
    if not subject.material.judged_only:
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
    if not material.has_images:
        return []
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
            _ELSEWHERE_ADVICE,
            details={"inside": inside.value, "outside": outside.value, "class": label},
            scale=Scale.DIFFERENCE,
        )


def _forecast(subject: Subject) -> Finding:
    """Forecast from the model's own test images, and say how that fits what came.

    One forecast: by the view without any lung that does best on validation images, which is fixed
    before anything is known of the tested ones.
    """
    level = subject.material.level
    statistic = "AUC to be expected elsewhere, by squared effect sizes"
    if not subject.material.has_images:
        none = undefined("it is forecast from the images, and there are none", level=level)
        return Finding("elsewhere", "forecast", statistic, none, None, scale=Scale.AUC)
    answers = answers_of(subject)
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
