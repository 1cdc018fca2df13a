"""Sources: answers that follow them within a class, and what is lost on images of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.forecasting import place_findings
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, Subject
from hurdles.auditing.nested import answers_of, described
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.data.vocabulary import Split
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import mover_sum
from hurdles.evaluation.delong import AUC, auc_bounds, compare_aucs
from hurdles.evaluation.estimate import Estimate, undefined
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
    "Shown, not judged: few patients of a class are from a source that is tied to another, so that "
    "this seldom settles anything. Well above 0.5, take every class from every source, or train "
    "with a remedy (`hurdles run --remedy`); patients who are more severely ill in one source move "
    "it, too."
)
_FEATURES = "Shown, not judged: features tell the source of networks that do not answer by it, too."
_BEFORE = "Shown, not judged: what plain pixels tell of the source before any model."


@model_hurdle(
    "source",
    question="Do patients of one class get other answers by the source they are from?",
    lungs=False,
)
def source(subject: Subject) -> Iterator[Finding]:
    """Yield how well the answers follow the sources within a class; then what features tell.

    A source is tied to a class of which it has a larger share of patients than all sources
    together, among the images that the model learnt from (where those are not known, among the
    tested). Within each class, the AUC with which the probability of the tied class tells tied from
    other sources is shown, averaged over classes by the patients that they have; so is, of
    features and plain pixels, the area of telling the source within each class. For these, other
    collections are sources, too. Nothing is judged: features tell the source of networks, too, that
    do not answer by it, and answers within a class have too few patients to say so.
    """
    yield from _followed(subject)
    if not subject.material.judged_only:
        yield from _probed(subject)


def _followed(subject: Subject) -> Iterator[Finding]:
    """Yield for each class whether its probability follows the sources that are tied to it."""
    material, test = subject.material, subject.test
    given = material.manifest.frame
    known = given["source"].notna().to_numpy()
    learnt = known & (given["split"] != Split.TEST.value).to_numpy()
    shares = _class_shares(material, learnt if learnt.any() else known)
    sources = test.frame["image"].map(given.set_index("image")["source"])
    ties = {
        label: sources.map(share > shares.attrs["all"][label]).to_numpy(dtype=object)
        for label, share in shares.items()
        if share.nunique() > 1
    }
    classes = [label for label in test.classes if label in ties]
    classes = classes[:1] if len(test.classes) == 2 else classes
    if not classes:
        counts = ", ".join(map(str, shares.index)) or "none"
        raise HurdleError(
            f"no source is tied to a class (known sources: {counts}); name the sources in the "
            "manifest's column 'source', two or more."
        )
    level = joined_level(material.level, len(classes))
    for label in classes:
        tied = ties[label]
        has_tie = np.array([isinstance(t, bool | np.bool_) for t in tied])
        estimate = _area_within(test, label, tied, has_tie, level)
        names = shares.index[shares[label] > shares.attrs["all"][label]]
        yield Finding(
            "source",
            f"{label}, answers",
            f"AUC of the probability of {label} for its tied sources, within a class (0.5 is "
            "chance)",
            simultaneous(estimate, len(classes)),
            None,
            _SOURCE_ADVICE,
            details={"tied": sorted(map(str, names))},
            scale=Scale.AUC,
        )


def _class_shares(material: Material, rows: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the share of each class (column) among the patients of each source (row).

    `attrs["all"]` has those of all sources together.
    """
    frame = material.manifest.frame.assign(group=material.groups)[rows]
    counts = frame.groupby(["source", "label"])["group"].nunique().unstack(fill_value=0)
    shares = counts.div(counts.sum(axis=1), axis=0)
    shares.attrs["all"] = (counts.sum() / counts.to_numpy().sum()).to_dict()
    return shares


def _area_within(
    test: Predictions,
    label: str,
    tied: NDArray[np.object_],
    known: NDArray[np.bool_],
    level: float,
) -> Estimate:
    """Return the mean over classes of the AUC of telling tied from other sources.

    Weighted by pairs of patients over patients, as van Elteren's test does (Bull Int Stat Inst
    1960;37:351-361); the classes' bounds are joined by MOVER.
    """
    scores = test.y_prob[:, test.classes.index(label)]
    areas, weights, images, patients = [], [], 0, 0
    for truth in np.unique(test.y_true):
        rows = known & (test.y_true == truth)
        sides = np.where(tied[rows].astype(bool), "tied", "other")
        groups = test.groups[rows]
        m, n = (len(np.unique(groups[sides == side])) for side in ("tied", "other"))
        if min(m, n) >= _FEWEST_TIED:
            areas.append(AUC.of(sides, scores[rows], positive="tied", groups=groups))
            weights.append(m * n / (m + n))
            images, patients = images + len(groups), patients + m + n
    if not areas:
        why = f"no class has {_FEWEST_TIED} patients from tied sources and as many from others"
        return undefined(why, level=level, n_images=len(test))
    shares = np.array(weights) / sum(weights)
    values = np.array([area.value for area in areas])
    bounds = np.array([auc_bounds(area, level)[:2] for area in areas])
    low, high = mover_sum(values, bounds, shares)
    method = "DeLong within classes, van Elteren's weights, MOVER"
    value = float(shares @ values)
    return Estimate(value, low, high, level, method, images, patients)


#: Fewer patients on one side tell nothing of the sources of a class.
_FEWEST_TIED = 2


def _probed(subject: Subject) -> Iterator[Finding]:
    """Yield, within each class, the area of telling the source from features, and from pixels."""
    if not subject.material.has_images:
        return
    level = subject.material.level
    others = [each.material for each in subject.elsewhere if each.is_labeled]
    materials = [subject.tested, *others]
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
    # Whether there is anything to tell, before the network is asked.
    if not any(_is_enough(sources[rows], groups[rows]) for rows in _by_class(labels, known)):
        return
    tables = {"plain pixels": np.concatenate([thumbnails(m.pixels) for m in materials])}
    if subject.model is not None and Capability.FEATURES in subject.model.capabilities:
        features = [subject.features(m.pixels, m.masks) for m in materials]
        tables = {"features": np.concatenate(features), **tables}
    for of, table in tables.items():
        for probe in source_probes_within(
            table[known],
            sources[known].tolist(),
            labels[known].tolist(),
            groups=groups[known].tolist(),
            seed=subject.material.seed,
            level=level,
        ):
            if probe.auc.is_defined:
                yield _source_finding(probe, of)


def _by_class(labels: NDArray[np.str_], rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for label in np.unique(labels[rows]):
        yield rows[labels[rows] == label]


def _is_enough(sources: NDArray[np.str_], groups: NDArray[np.str_]) -> bool:
    return sum(n >= FEWEST for n in patients_of(sources, groups).values()) > 1


def _source_finding(probe: Probe, of: str) -> Finding:
    is_model = of == "features"
    where = "the model's features" if is_model else "a thumbnail of 16 by 16 pixels"
    return Finding(
        "source",
        f"{probe.within}, {of}",
        f"AUC of telling the source of {probe.within} images from {where} (0.5 is chance)",
        probe.auc.noted(probe.note),
        None,
        _FEATURES if is_model else _BEFORE,
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
    """Yield what is lost on other collections and on sources left out, and how it was forecast.

    Of other collections, with or without labels, it is forecast too, from their images alone.
    """
    pairs = [
        _Pair(
            there.material.name,
            "AUC lost outside: inside less outside, on the classes that both have",
            subject.test,
            there.predictions,
            " ".join(there.notes),
        )
        for there in subject.elsewhere
        if there.is_labeled
    ]
    pairs += _sources_left_out(subject.material)
    if not pairs and not subject.material.has_images:
        raise HurdleError("it needs the images, and those of another collection (--data, --on).")
    if not pairs and not subject.elsewhere:
        raise HurdleError(
            "there is no other collection, and fewer than two sources of its own have "
            f"{_FEW} patients of two classes; name another collection by --on."
        )
    of = sum(len(pair.compared) for pair in pairs)
    for pair in pairs:
        yield from _lost(pair, of, subject.material.level)
    if not subject.material.judged_only:
        yield _forecast(subject)
        if subject.elsewhere:
            yield from place_findings(subject)


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
    known = [other for other in subject.elsewhere if other.is_labeled]
    outside = [macro_auc(other.predictions).value for other in known]
    outside = [auc for auc in outside if auc == auc]
    home = macro_auc(subject.test).value
    details: dict[str, object] = {"inside": home, "outside": outside, "view": view}
    if outside and estimate.is_defined:
        record = track_record([estimate.value] * len(outside), [home] * len(outside), outside)
        details["record"] = str(record)
    return Finding(
        "elsewhere",
        "forecast",
        f"{statistic}, one number for every place: inside, less what the {view} tells (of the "
        "views without a lung the best on validation images); its interval counts patients, no "
        "places",
        estimate,
        None,
        ASSUMPTION,
        details=details,
        scale=Scale.AUC,
    )
