"""Size: what these images can show about a classifier, class by class, and what they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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


@dataclass(frozen=True)
class _Part:
    """The images that are measured on, or learnt from."""

    material: Material
    says: str

    def patients(self, label: str) -> tuple[int, int]:
        """Return the patients with an image of a class, and those with one of another."""
        of_class = self.material.labels == label
        groups = self.material.groups
        return len(set(groups[of_class])), len(set(groups[~of_class]))

    def exact(self, value: float, n_images: int, n_patients: int) -> Estimate:
        note = ""
        if missing := self.material.manifest.missing_patients:
            note = f"{missing} images name no patient; each counts as one, which flatters"
        level = self.material.level
        return Estimate(value, value, value, level, "calculated", n_images, n_patients, note)


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
    test, learnt = _part(material, Split.TEST), _part(material, Split.TRAIN)
    for label in material.manifest.labels:
        yield _sensitivity(test, label)
    for label in _against_rest(test):
        yield _area(test, label)
    for label in _against_rest(test, both=True):
        yield _needed(test, label)
    yield _difference(test)
    for label in _against_rest(learnt):
        yield _learnable(learnt, label)


def _part(material: Material, split: Split) -> _Part:
    rows = material.rows(split)
    if len(rows) and material.manifest.frame["split"].notna().all():
        return _Part(material.take(rows), f"in the {split} part")
    some = "not every image has a part of" if len(rows) else "there is no"
    return _Part(material, f"in all images together, since {some} split")


def _against_rest(part: _Part, *, both: bool = False) -> list[str]:
    """Return the classes to set against the rest; of two, one says it all unless `both`."""
    labels = part.material.manifest.labels
    if len(labels) < 2:
        return []
    return labels if both or len(labels) > 2 else labels[:1]


def _sensitivity(part: _Part, label: str) -> Finding:
    patients, _ = part.patients(label)
    statistic = (
        f"width of the interval of a sensitivity of {SENSITIVITY}, as a proportion, {part.says}"
    )
    advice = (
        f"Add patients of {label}, or say nothing of its sensitivity without the interval: "
        "repeated cross-validation does not make more patients."
    )
    if not patients:
        found = undefined(f"no patient of {label} {part.says}; add some", level=part.material.level)
    else:
        width = interval_width(patients, SENSITIVITY, level=part.material.level)
        found = part.exact(width, int((part.material.labels == label).sum()), patients)
    details = {"patients": patients, "sensitivity": SENSITIVITY}
    return Finding("size", label, statistic, found, limit_for("size"), advice, details=details)


def _area(part: _Part, label: str) -> Finding:
    positives, negatives = part.patients(label)
    statistic = f"width of the interval of an AUC of {AREA}, {part.says}"
    width = auc_width(AREA, positives, negatives, level=part.material.level)
    found = part.exact(width, len(part.material), positives + negatives)
    details = {"positives": positives, "negatives": negatives, "area": AREA}
    subject = f"{label} against the rest"
    advice = "Add patients to the smaller side; the larger one hardly narrows the interval."
    return Finding("size", subject, statistic, found, limit_for("size"), advice, details=details)


def _needed(part: _Part, label: str) -> Finding:
    positives, negatives = part.patients(label)
    statistic = (
        f"patients of this class, divided by those that an external validation needs, {part.says} "
        f"(widths: AUC {AREA} 0.1, calibration slope and observed/expected 0.2)"
    )
    advice = "Where it is below 1, report discrimination only, with its interval."
    level, share = part.material.level, positives / (positives + negatives)
    needed = {
        "AUC": patients_for_auc(AREA, share, level=level),
        "calibration slope": patients_for_slope(scores_of_auc(AREA, share), level=level),
        "observed/expected": patients_for_ratio(share, level=level),
    }
    most = max(needed.values()) * share
    found = part.exact(positives / most, len(part.material), positives + negatives)
    details = {"patients": positives, "share": share, "patients_needed_in_all": needed}
    return Finding(
        "size", label, statistic, found, None, advice, details=details, scale=Scale.RATIO
    )


def _difference(part: _Part) -> Finding:
    patients = len(set(part.material.groups))
    statistic = (
        "smallest difference in accuracy of two models that would be noticed 8 times in 10, as a "
        f"proportion, {part.says} (they disagree on {DISCORDANCE:.0%} of the patients)"
    )
    alpha = 1 - part.material.level
    value = detectable_difference(patients, discordance=DISCORDANCE, alpha=alpha)
    if value != value:
        note = f"with {patients} patients no such difference can be noticed; do not rank models"
        found = undefined(note, level=part.material.level, n_patients=patients)
    else:
        found = part.exact(value, len(part.material), patients)
    advice = "Call models that differ by less equally good."
    return Finding("size", "two models", statistic, found, None, advice, scale=Scale.DIFFERENCE)


def _learnable(part: _Part, label: str) -> Finding:
    positives, negatives = part.patients(label)
    statistic = (
        f"free coefficients that can be learnt {part.says} (shrinkage 0.9, Nagelkerke R-squared "
        "0.5)"
    )
    everyone = positives + negatives
    share = positives / everyone
    value = float(supported_parameters(everyone, share))
    found = part.exact(value, len(part.material), everyone)
    advice = "Train few layers of a network that was taught elsewhere; choose on validation images."
    ten = patients_for_development(10, share, level=part.material.level)
    details = {"patients": everyone, "patients_needed_for_10_coefficients": ten.needed}
    subject = f"{label} against the rest"
    return Finding(
        "size", subject, statistic, found, None, advice, details=details, scale=Scale.COUNT
    )
