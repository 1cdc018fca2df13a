"""Source: how well the model's features tell where an image of one class comes from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.probing import joined_level, simultaneous
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.probing import Probe, source_probes, thumbnails
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for

_ADVICE = (
    "The model's features tell the source of an image, so that it may answer by it; take every "
    "class from every source, or train with a remedy (`hurdles run --remedy`)."
)
_BEFORE = "Shown, not judged: what plain pixels tell of the source before any model."


@model_hurdle("source", question="Do the model's features tell which source an image is from?")
def source(subject: Subject) -> Iterator[Finding]:
    """Yield, within each class, the area of telling the source from features, and from pixels.

    The images are those of the test part and, where given, of other collections. Within a class
    it is the source alone that is told, not the class. Classes are judged together: their
    intervals hold at once, and a class that cannot be asked is not cleared on the others.
    """
    seen, sources = _with_sources(subject)
    labels = np.concatenate([m.labels for m in seen])
    groups = np.concatenate([m.groups for m in seen])
    plain = np.concatenate([thumbnails(m.pixels) for m in seen])
    known = np.flatnonzero(sources != "")
    seed = subject.material.seed

    def probes(table: NDArray[np.floating], level: float) -> list[Probe]:
        found = source_probes(
            table[known],
            sources[known].tolist(),
            labels[known].tolist(),
            groups=groups[known].tolist(),
            seed=seed,
            level=level,
        )
        return list(found[1:])

    level = subject.material.level
    classes = len(np.unique(labels[known]))
    # Whether there is anything to tell, before the network is asked.
    before = [probe for probe in probes(plain, level) if probe.auc.is_defined]
    if not before:
        raise HurdleError(
            f"no two sources have ten patients of the same class among {len(labels)} images "
            f"({_counts(sources, labels)}); audit with another collection of the same classes."
        )
    features = np.concatenate([subject.features(m.pixels, m.masks) for m in seen])
    for probe in probes(features, joined_level(level, classes)):
        yield _finding(probe, "features", classes)
    for probe in before:
        yield _finding(probe, "plain pixels", 1)


def _with_sources(subject: Subject) -> tuple[list[Material], NDArray[np.str_]]:
    """Return all materials, and the source of each image; empty where it is not known.

    A collection that names no source for an image is that image's source.
    """
    seen = [subject.tested, *(each.material for each in subject.elsewhere)]
    names: list[str] = []
    for material in seen:
        given = material.manifest.frame["source"]
        other = "" if material is subject.tested and len(seen) == 1 else material.name
        names += [other if cell != cell or not cell else str(cell) for cell in given]
    return seen, np.array(names, dtype=str)


def _finding(probe: Probe, of: str, family: int) -> Finding:
    judged = of == "features"
    estimate = simultaneous(probe.auc, family)
    where = "the model's features" if judged else "a thumbnail of 16 by 16 pixels"
    return Finding(
        "source",
        f"{probe.within}, {of}",
        f"AUC of telling the source of {probe.within} images from {where} (0.5 is chance)",
        estimate.noted(probe.note),
        limit_for("source", of) if judged else None,
        _ADVICE if judged else _BEFORE,
        (),
        {
            "images": probe.images,
            "patients": probe.patients,
            "accuracy": probe.accuracy.to_dict(),
            "chance_accuracy": probe.chance,
        },
        scale=Scale.AUC,
    )


def _counts(sources: NDArray[np.str_], labels: NDArray[np.str_]) -> str:
    pairs, counts = np.unique(np.stack([labels, sources]), axis=1, return_counts=True)
    parts = [
        f"{label} from {place or 'nowhere known'}: {n}"
        for (label, place), n in zip(pairs.T.tolist(), counts.tolist(), strict=True)
    ]
    return "; ".join(parts[:6])
