"""Source: how well the model's features tell where an image of one class comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
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
    level = subject.material.level
    materials = [subject.tested, *(each.material for each in subject.elsewhere)]
    sources = _sources(materials)
    labels = np.concatenate([m.labels for m in materials])
    groups = np.concatenate([m.groups for m in materials])
    known = np.flatnonzero(sources != "")

    def probes(table: NDArray[np.floating], level: float) -> list[Probe]:
        overall_and_within = source_probes(
            table[known],
            sources[known].tolist(),
            labels[known].tolist(),
            groups=groups[known].tolist(),
            seed=subject.material.seed,
            level=level,
        )
        return list(overall_and_within[1:])

    # Whether there is anything to tell, before the network is asked.
    plain = np.concatenate([thumbnails(m.pixels) for m in materials])
    before = [probe for probe in probes(plain, level) if probe.auc.is_defined]
    if not before:
        pairs = Counter(zip(labels.tolist(), sources.tolist(), strict=True))
        counts = [f"{c} from {s or 'nowhere known'}: {n}" for (c, s), n in sorted(pairs.items())]
        raise HurdleError(
            f"no two sources have ten patients of the same class among {len(labels)} images "
            f"({'; '.join(counts[:6])}); audit with another collection of the same classes."
        )
    features = np.concatenate([subject.features(m.pixels, m.masks) for m in materials])
    classes = len(np.unique(labels[known]))
    for probe in probes(features, joined_level(level, classes)):
        yield _finding(probe, "features", classes)
    for probe in before:
        yield _finding(probe, "plain pixels", 1)


def _sources(materials: list[Material]) -> NDArray[np.str_]:
    """Return the source of each image; empty where it is not known.

    A collection that names no source for an image is that image's source; the test part, the first
    of these, is so only beside others.
    """
    names: list[str] = []
    for material in materials:
        other = material.name if len(materials) > 1 else ""
        given = material.manifest.frame["source"]
        names += [other if pd.isna(name) or not name else str(name) for name in given]
    return np.array(names, dtype=str)


def _finding(probe: Probe, of: str, family: int) -> Finding:
    judged = of == "features"
    where = "the model's features" if judged else "a thumbnail of 16 by 16 pixels"
    return Finding(
        "source",
        f"{probe.within}, {of}",
        f"AUC of telling the source of {probe.within} images from {where} (0.5 is chance)",
        simultaneous(probe.auc, family).noted(probe.note),
        limit_for("source", of) if judged else None,
        _ADVICE if judged else _BEFORE,
        details={
            "images": probe.images,
            "patients": probe.patients,
            "accuracy": probe.accuracy.to_dict(),
            "chance_accuracy": probe.chance,
        },
        scale=Scale.AUC,
    )
