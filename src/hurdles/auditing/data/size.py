"""Size: the intervals that these images can give of a classifier, class by class."""

from __future__ import annotations

from collections.abc import Iterator

from hurdles.auditing.hurdle import data_hurdle
from hurdles.auditing.material import Material
from hurdles.data.vocabulary import Split
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.sample_size import (
    auc_width,
    detectable_difference,
    interval_width,
    patients_for_auc,
    patients_for_development,
    patients_for_ratio,
    patients_for_slope,
    scores_of_auc,
    supported_parameters,
)
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

#: What the classifier is taken to reach. A better one has narrower intervals, a worse one wider.
SENSITIVITY = AREA = 0.9
#: Share of patients whom only one of two such classifiers has right; so much is usual between
#: networks of 85 to 95 % accuracy.
DISCORDANCE = 0.15


@data_hurdle(
    "size", question="Are there enough patients of each class to show how good a model is?"
)
def size(material: Material) -> Iterator[Finding]:
    """Find what the test set can resolve: on its test part, or on all images without a split.

    Patients are counted, not images. The widths of intervals are judged; how many patients Riley's
    calculation asks for, and which difference between two models can be seen, are shown.

    References
    ----------
    Riley et al., Stat Med 2021;40:4230-4251 and BMJ 2020;368:m441.
    """
    tested, place = _part(material, Split.TEST)
    for label in material.manifest.labels:
        yield _sensitivity(tested, place, label)
    for label in _against_rest(tested):
        yield _area(tested, place, label)
    labels = tested.manifest.labels
    for label in labels if len(labels) > 1 else []:
        yield _needed(tested, place, label)
    yield _difference(tested, place)
    learned, place = _part(material, Split.TRAIN)
    for label in _against_rest(learned):
        yield _learnable(learned, place, label)


def _part(material: Material, split: Split) -> tuple[Material, str]:
    """Return the images of a part, or all images, and words for where they are."""
    rows = material.rows(split)
    if len(rows) and material.manifest.frame["split"].notna().all():
        return material.take(rows), f"in the {split} part"
    some = "not every image has a part of" if len(rows) else "there is no"
    return material, f"in all images together, since {some} split"


def _against_rest(material: Material) -> list[str]:
    """Return the classes to set against the rest: of two, one says it all."""
    labels = material.manifest.labels
    return labels if len(labels) > 2 else labels[: len(labels) - 1]


def _patients(material: Material, label: str) -> tuple[int, int]:
    """Return the patients with an image of a class, and those with one of another."""
    of_class, groups = material.labels == label, material.groups
    return len(set(groups[of_class])), len(set(groups[~of_class]))


def _exact(material: Material, value: float, n_patients: int, label: str = "") -> Estimate:
    n = int((material.labels == label).sum()) if label else len(material)
    missing = material.manifest.missing_patients
    note = (
        f"{missing} images name no patient; each counts as one, which flatters" if missing else ""
    )
    return Estimate(value, value, value, material.level, "calculated", n, n_patients, note)


def _sensitivity(tested: Material, place: str, label: str) -> Finding:
    patients, _ = _patients(tested, label)
    if patients:
        width = interval_width(patients, SENSITIVITY, level=tested.level)
        estimate = _exact(tested, width, patients, label)
    else:
        estimate = undefined(f"no patient of {label} {place}; add some", level=tested.level)
    return Finding(
        "size",
        label,
        f"width of the interval of a sensitivity of {SENSITIVITY}, as a proportion, {place}",
        estimate,
        limit_for("size"),
        f"Add patients of {label}, or say nothing of its sensitivity without the interval: "
        "repeated cross-validation does not make more patients.",
        details={"patients": patients, "sensitivity": SENSITIVITY},
    )


def _area(tested: Material, place: str, label: str) -> Finding:
    positives, negatives = _patients(tested, label)
    width = auc_width(AREA, positives, negatives, level=tested.level)
    return Finding(
        "size",
        f"{label} against the rest",
        f"width of the interval of an AUC of {AREA}, {place}",
        _exact(tested, width, positives + negatives),
        limit_for("size"),
        "Add patients to the smaller side; the larger one hardly narrows the interval.",
        details={"positives": positives, "negatives": negatives, "area": AREA},
    )


def _needed(tested: Material, place: str, label: str) -> Finding:
    positives, negatives = _patients(tested, label)
    level, share = tested.level, positives / (positives + negatives)
    needed = {
        "AUC": patients_for_auc(AREA, share, level=level),
        "calibration slope": patients_for_slope(scores_of_auc(AREA, share), level=level),
        "observed/expected": patients_for_ratio(share, level=level),
    }
    most = max(needed.values()) * share
    return Finding(
        "size",
        label,
        f"patients of this class, divided by those that an external validation needs, {place} "
        f"(widths: AUC {AREA} 0.1, calibration slope and observed/expected 0.2)",
        _exact(tested, positives / most, positives + negatives),
        None,
        "Where it is below 1, report discrimination only, with its interval.",
        details={"patients": positives, "share": share, "patients_needed_in_all": needed},
        scale=Scale.RATIO,
    )


def _difference(tested: Material, place: str) -> Finding:
    patients = len(set(tested.groups))
    value = detectable_difference(patients, discordance=DISCORDANCE, alpha=1 - tested.level)
    estimate = _exact(tested, value, patients)
    if value != value:
        note = f"with {patients} patients no such difference can be noticed; do not rank models"
        estimate = undefined(note, level=tested.level, n_patients=patients)
    return Finding(
        "size",
        "two models",
        "smallest difference in accuracy of two models that would be noticed 8 times in 10, as a "
        f"proportion, {place} (they disagree on {DISCORDANCE:.0%} of the patients)",
        estimate,
        None,
        "Call models that differ by less equally good.",
        scale=Scale.DIFFERENCE,
    )


def _learnable(learned: Material, place: str, label: str) -> Finding:
    positives, negatives = _patients(learned, label)
    patients = positives + negatives
    share = positives / patients
    ten = patients_for_development(10, share, level=learned.level)
    return Finding(
        "size",
        f"{label} against the rest",
        f"free coefficients that can be learnt {place} (shrinkage 0.9, Nagelkerke R-squared 0.5)",
        _exact(learned, float(supported_parameters(patients, share)), patients),
        None,
        "Train few layers of a network that was taught elsewhere; choose on validation images.",
        details={"patients": patients, "patients_needed_for_10_coefficients": ten.needed},
        scale=Scale.COUNT,
    )
