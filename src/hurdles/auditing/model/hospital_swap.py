"""Whether answers stay when an image gets another hospital's style around its own lungs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.flips import Flips
from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Material
from hurdles.auditing.subject import Subject
from hurdles.errors import HurdleError
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.findings.finding import Finding, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.style import Style, bands_of, joined, restyle, style_of

#: Fewer images of a source have no style of their own to speak of.
_LEAST = 10
#: A style is taken of so many images at most, drawn at random: it is a mean, and settles early.
_ENOUGH = 120
#: The largest sources only; each costs a pass over the test images.
_MOST = 3
_ADVICE = (
    "The model reads the hospital's hand around the lungs: train on several sources in every "
    "class, harmonize grey levels and resolution, or give it the lungs alone (preparation "
    "'masked+equalized'), and ask again."
)


@model_hurdle(
    "hospital-swap",
    question="Does the answer stay when another hospital's style is put around the same lungs?",
)
def hospital_swap(subject: Subject) -> Iterator[Finding]:
    """Yield, for each other source, the share of answers that flip in its style.

    Sources are those of the model's own material; where that is of one source, the other
    collections that the subject comes with. The control puts on the images the style of other
    patients of their own source. Test images without lungs are left out.
    """
    homes = _homes(subject)
    targets = _targets(subject, homes)
    for name, target in targets.items():
        yield from _swapped(subject, homes, name, target, of=len(targets))
    yield _control(subject, homes)


@dataclass(frozen=True, eq=False)
class _Home:
    """A source of the model's own images: its style, that of either half of its patients."""

    style: Style
    halves: tuple[Style, Style] | None
    tested: NDArray[np.int64]  # positions among the test images


def _sources(material: Material) -> NDArray[np.str_]:
    """Return each image's source; where none is named, all are of one with the material's name."""
    named = material.manifest.frame["source"]
    return np.asarray(named.fillna("" if named.notna().any() else material.name), dtype=str)


def _homes(subject: Subject) -> dict[str, _Home]:
    """Return the sources that have a style, the largest first."""
    material, tested = subject.material, subject.tested
    sources, there = _sources(material), _sources(tested)
    lungs, seen = material.has_lungs, tested.has_lungs
    names, counts = np.unique(sources[lungs & (sources != "")], return_counts=True)
    homes = {}
    for name in names[np.argsort(-counts, kind="stable")].tolist():
        rows = np.flatnonzero(lungs & (sources == name))
        if len(rows) >= _LEAST:
            mine = np.flatnonzero(seen & (there == name))
            homes[name] = _home(material, rows, mine)
    if not any(len(home.tested) for home in homes.values()):
        raise HurdleError(
            f"no source has {_LEAST} images with lungs, and some of them among the test images; "
            "the style of a source is a mean of many. Give more images, or their sources."
        )
    return homes


def _home(material: Material, rows: NDArray[np.int64], tested: NDArray[np.int64]) -> _Home:
    """Take the styles of two halves of the patients; that of the source is of both."""
    rows = _drawn(material, rows)
    patients = np.unique(material.groups[rows])
    shuffled = np.random.default_rng(material.seed).permutation(patients)
    first = np.isin(material.groups[rows], shuffled[::2])
    if first.all():
        return _Home(_style(material, rows), None, tested)
    halves = (_style(material, rows[first]), _style(material, rows[~first]))
    return _Home(joined(*halves), halves, tested)


def _drawn(material: Material, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= _ENOUGH:
        return rows
    drawn = np.random.default_rng(material.seed).choice(rows, _ENOUGH, replace=False)
    return np.asarray(np.sort(drawn))


def _style(material: Material, rows: NDArray[np.int64]) -> Style:
    assert material.masks is not None
    return style_of(material.pixels[rows], material.masks[rows])


def _targets(subject: Subject, homes: Mapping[str, _Home]) -> dict[str, Style]:
    if len(homes) > 1:
        asked = [name for name, home in homes.items() if len(home.tested)]
        # A source that all test images are from is not another one to any of them.
        names = [name for name in homes if asked != [name]][:_MOST]
        return {name: homes[name].style for name in names}
    others = {}
    for one in sorted(subject.elsewhere, key=lambda e: -len(e.material)):
        if one.material.masks is None:
            continue
        rows = np.flatnonzero(one.material.masks.any(axis=(1, 2)))
        if len(rows) >= _LEAST:
            others[one.material.name] = _style(one.material, _drawn(one.material, rows))
    if not others:
        raise HurdleError(
            f"{subject.material.name} is of one source only, and no other collection was given "
            f"with {_LEAST} images whose lungs were found; give one by --on, or name the sources "
            "in the manifest's column 'source'."
        )
    return dict(list(others.items())[:_MOST])


def _swapped(
    subject: Subject, homes: Mapping[str, _Home], name: str, target: Style, *, of: int
) -> Iterator[Finding]:
    pairs = {n: (home.style, target) for n, home in homes.items() if n != name}
    flips = _asked(subject, homes, pairs)
    if flips is None:
        return
    words = f"in the style of {name}"
    yield Finding(
        "hospital-swap",
        name,
        "share of answers that flip when another source's style is put around the lungs",
        flips.share(of=of),
        limit_for("hospital-swap"),
        _ADVICE,
        flips.evidence(words),
        {
            "from": sorted(n for n in pairs if len(homes[n].tested)),
            "styles": {n: _described(*pair) for n, pair in pairs.items()},
            "change_by_class": _by_class(flips),
        },
        scale=Scale.SHARE,
    )
    labels = subject.labels
    for column, label in enumerate(labels[:1] if len(labels) == 2 else labels):
        statistic = f"mean change of the probability of {label}"
        change = _mean_change(flips, column)
        yield Finding("hospital-swap", name, statistic, change, None, scale=Scale.DIFFERENCE)


def _control(subject: Subject, homes: Mapping[str, _Home]) -> Finding:
    pairs = {n: home.halves for n, home in homes.items() if home.halves is not None}
    flips = _asked(subject, homes, pairs)
    level = subject.material.level
    why = "no source has two patients: there is no style of other patients of the same source"
    return Finding(
        "hospital-swap",
        "own source (control)",
        "share of answers that flip in the style of other patients of the same source",
        undefined(why, level=level) if flips is None else flips.share(),
        None,
        "Not judged: it is what flips where no hospital is swapped.",
        () if flips is None else flips.evidence("in the style of others of its source"),
        scale=Scale.SHARE,
    )


def _asked(
    subject: Subject, homes: Mapping[str, _Home], pairs: Mapping[str, tuple[Style, Style]]
) -> Flips | None:
    """Ask about the test images of some sources, each from one style to another."""
    tested = subject.tested
    assert tested.masks is not None
    pixels = np.array(tested.pixels)
    for name, (own, other) in pairs.items():
        rows = homes[name].tested
        pixels[rows] = restyle(tested.pixels[rows], tested.masks[rows], own, other)
    rows = np.sort(np.concatenate([homes[n].tested for n in pairs] or [np.empty(0, np.int64)]))
    if not len(rows):
        return None
    after = subject.ask(pixels[rows], tested.masks[rows])
    return Flips(subject, tested.take(rows), subject.reference[rows], after)


def _described(own: Style, other: Style) -> dict[str, Any]:
    """Return what the swap did, for a figure: grey level by grey level, and by frequency."""
    return {
        "n_images": [own.n_images, other.n_images],
        "grey": own.tone_to(other)[::5].round(1).tolist(),
        "cycles": bands_of(own.size).round(1).tolist(),
        "gain": own.gain_to(other).round(3).tolist(),
    }


def _by_class(flips: Flips) -> dict[str, dict[str, float]]:
    """Return the mean change of each probability among the images of each true class."""
    change, truth = flips.after - flips.before, flips.material.labels
    return {
        str(label): {
            name: round(float(change[truth == label, k].mean()), 6)
            for k, name in enumerate(flips.subject.labels)
        }
        for label in np.unique(truth)
    }


def _mean_change(flips: Flips, column: int) -> Estimate:
    """Return a mean over images with the t interval of a ratio over patients."""
    from scipy.special import stdtrit

    level, n = flips.material.level, len(flips.material)
    change = flips.after[:, column] - flips.before[:, column]
    names, patients = np.unique(flips.material.groups, return_inverse=True)
    if len(names) < 2:
        why = "a mean over one patient has no interval"
        return undefined(why, level=level, n_images=n, n_patients=len(names))
    mean = float(change.mean())
    apart = np.bincount(patients, weights=change - mean, minlength=len(names))
    error = math.sqrt(len(names) / (len(names) - 1) * float((apart**2).sum())) / n
    reach = float(stdtrit(len(names) - 1, (1 + level) / 2)) * error
    low, high = max(-1.0, mean - reach), min(1.0, mean + reach)
    return Estimate(mean, low, high, level, "t, ratio over patients", n, len(names))
