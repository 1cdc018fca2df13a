"""Where the network looks: the heat in the lungs, against what chance and random weights give.

Two methods that have little in common: Grad-CAM looks at the last feature maps, SmoothGrad at
single pixels. What their maps show is judged against the maps of the same network with random
weights, for the same images. Against the lungs' share of the area alone it could not be: a network
that averages its last maps weighs the middle of every image more, where the lungs are, whether it
has learnt anything or not. A method whose maps are as good as the same with random weights says
nothing of this network, and is not reported (Adebayo et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.probing import joined_level
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import patient_mean
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.explanation.heatmap import Heatmap, ShareInside, share_inside
from hurdles.explanation.methods import explain
from hurdles.findings.finding import Evidence, Finding, Scale
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import PREPARATIONS, MaskedImage, stretched

if TYPE_CHECKING:
    from hurdles.auditing.material import Material
    from hurdles.auditing.subject import Subject
    from hurdles.explanation.randomization import SanityCheck

#: Heat-map methods that are asked, one finding each.
METHODS_ASKED = ("grad-cam", "smoothgrad")
#: Test images at most; and of these, images that are shown to random networks, and how many.
_IMAGES, _IMAGES_AT_RANDOM, _DRAWS = 120, 16, 8
#: Random networks with maps of at least half of the images that must be left.
_FEWEST_DRAWS = 4
_ADVICE = (
    "Look at the heat-maps of the images named; train and test on lungs alone (preparation "
    "'masked+cropped') and see what of the performance remains."
)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Test images as the network sees them, with their lungs at the same places."""

    material: Material
    pixels: NDArray[np.uint8]
    lungs: NDArray[np.bool_]


@model_hurdle("attention", question="Does the network look at the lungs?")
def attention(subject: Subject) -> Iterator[Finding]:
    """Yield, for each method, the heat in the lungs over that of random networks, and over area."""
    seen = _seen(subject)
    for method in METHODS_ASKED:
        maps = explain(
            subject.network,
            subject.network.spec,
            seen.pixels,
            images=seen.material.manifest.frame["image"].tolist(),
            method=method,
        )
        yield from _findings(subject, seen, maps)


def _seen(subject: Subject) -> _Seen:
    """Choose the images, and bring their lungs to where the network sees them."""
    tested = subject.tested
    usable = np.flatnonzero(tested.has_lungs & ~_all_lung(tested))
    if not len(usable):
        raise HurdleError("no test image has lungs and something beside them; nothing to compare.")
    rows = usable[spread_over_classes(tested.take(usable), _IMAGES)]
    chosen = tested.take(rows)
    masks = chosen.masks
    assert masks is not None  # has_lungs would have said so
    pixels = subject.prepare(chosen.pixels, masks)
    lungs = np.stack(
        [
            _lungs_as_seen(subject.preparation, p, m, pixels.shape[-1])
            for p, m in zip(chosen.pixels, masks, strict=True)
        ]
    )
    # A crop may leave nothing but lung, or a mask vanish as it shrinks.
    clear = np.flatnonzero(lungs.any(axis=(1, 2)) & ~lungs.all(axis=(1, 2)))
    if not len(clear):
        raise HurdleError("as the network sees the test images, no lungs can be told in them.")
    return _Seen(chosen.take(clear), pixels[clear], lungs[clear])


def _all_lung(material: Material) -> NDArray[np.bool_]:
    assert material.masks is not None
    return np.asarray(material.masks.all(axis=(1, 2)))


def spread_over_classes(material: Material, most: int) -> NDArray[np.int64]:
    """Draw images evenly over classes, and within a class over patients."""
    rng = np.random.default_rng([material.seed, 0x41])
    order = rng.permutation(len(material))
    labels, groups = material.labels[order], material.groups[order]
    nth = _nth_of_its_kind(groups)
    turn = np.empty(len(order), dtype=np.int64)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        turn[of_class[np.argsort(nth[of_class], kind="stable")]] = np.arange(len(of_class))
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])


def _nth_of_its_kind(names: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return how many equal names stand before each name."""
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    lengths = np.diff(np.r_[starts, len(names)])
    nth = np.empty(len(names), dtype=np.int64)
    nth[order] = np.arange(len(names)) - np.repeat(starts, lengths)
    return nth


def _lungs_as_seen(
    name: str, pixels: NDArray[np.uint8], mask: NDArray[np.bool_], size: int
) -> NDArray[np.bool_]:
    """Return the lungs of one image after its preparation, shape (size, size)."""
    view = MaskedImage(np.asarray(pixels / np.float32(255), dtype=np.float32), mask)
    for step in PREPARATIONS.get(name):
        view = step.apply(view)
    assert view.lungs is not None
    return stretched(view.lungs, (size, size))


def _findings(subject: Subject, seen: _Seen, maps: list[Heatmap]) -> Iterator[Finding]:
    method, level = maps[0].method, joined_level(subject.material.level, len(METHODS_ASKED))
    shares = [share_inside(m, lungs) for m, lungs in zip(maps, seen.lungs, strict=True)]
    gain = np.array([s.gain for s in shares])
    shown = np.flatnonzero(~np.isnan(gain))
    if len(np.unique(seen.material.groups[shown])) < 2:
        why = f"{method} gives a map of {len(shown)} of {len(maps)} images"
        yield _finding(method, undefined(why, level=level), level, {})
        return
    material = seen.material.take(shown)
    # Evenly over the images, whose order goes with their class in many collections.
    few = shown[np.linspace(0, len(shown) - 1, min(_IMAGES_AT_RANDOM, len(shown))).astype(int)]
    check, random = _at_random(subject, seen, [maps[i] for i in few], few)
    whole = patient_mean(gain[shown], material.groups, level=level)
    if check.is_passed:
        ratio = _against_random(whole, random, seen.material.take(few).groups)
    else:
        sizes = {"n_images": whole.n_images, "n_patients": whole.n_patients}
        ratio = undefined(f"no evidence: {check}", level=level, **sizes)
    without = len(maps) - len(shown)
    if without:
        note = f"{without} of {len(maps)} maps are empty"
        ratio = replace(ratio, note="; ".join(filter(None, [ratio.note, note])))
    details = {
        "by_class": _by_class(material.labels, gain[shown]),
        "maps": len(maps),
        "without_heat": without,
        "random_gains": [round(float(x), 6) for x in np.nanmean(random, axis=1)],
        "rank_correlation_with_random": _number(check.rank_correlation),
        "structural_similarity_with_random": _number(check.structural),
    }
    usable = ratio.is_defined
    evidence = _least(material, [shares[i] for i in shown]) if usable else ()
    yield _finding(method, ratio, level, details, evidence)
    if usable:
        says = "share of the heat in the lungs over the lungs' share of the image"
        plain = patient_mean(gain[shown], material.groups, level=subject.material.level)
        yield Finding("attention", method, says, plain, None, scale=Scale.RATIO)


def _at_random(
    subject: Subject, seen: _Seen, like: list[Heatmap], rows: NDArray[np.int64]
) -> tuple[SanityCheck, NDArray[np.float64]]:
    """Return the sanity check, and the gains (draws, images) of networks with random weights.

    Networks of which fewer than half of the maps hold any heat are left out.
    """
    from hurdles.explanation.randomization import check_sanity, random_maps

    spec, seed = subject.network.spec, subject.material.seed
    after = random_maps(
        subject.network, spec, seen.pixels[rows], like=like, draws=_DRAWS, seed=seed
    )
    inside = seen.lungs[rows]
    gains = np.array(
        [
            [share_inside(m, lungs).gain for m, lungs in zip(maps, inside, strict=True)]
            for maps in after
        ]
    )
    enough = np.isfinite(gains).mean(axis=1) >= 0.5
    return check_sanity(like, after), gains[enough]


def _finding(
    method: str,
    estimate: Estimate,
    level: float,
    details: dict[str, Any],
    evidence: Sequence[Evidence] = (),
) -> Finding:
    return Finding(
        "attention",
        method,
        "heat in the lungs over what the same network with random weights puts there "
        f"(level {level:.4g}: {len(METHODS_ASKED)} methods)",
        estimate,
        limit_for("attention", method),
        _ADVICE,
        tuple(evidence),
        details,
        scale=Scale.RATIO,
        settled_by="",  # no more images are looked at, and no more random networks
    )


def _against_random(
    whole: Estimate, random: NDArray[np.float64], groups: NDArray[np.str_]
) -> Estimate:
    """Return the network's mean gain over that of random networks, or why there is none.

    Parameters: the network's gain with its interval over patients; gains of random networks (draws,
    images), and the patients of these images. On the log scale, Welch's interval of one network
    among others: the network at hand may be thought of as one more draw, so that it spans how much
    networks without any knowledge differ.
    """
    from scipy.stats import t

    sizes = {"n_images": whole.n_images, "n_patients": whole.n_patients}
    if len(random) < _FEWEST_DRAWS:
        why = f"only {len(random)} of {_DRAWS} random networks give maps to compare with"
        return undefined(why, level=whole.level, **sizes)
    by_draw, by_image = np.nanmean(random, axis=1), _over_draws(random)
    if (by_draw <= 0).any():
        why = "a network with random weights puts no heat into the lungs, so none can be held to it"
        return undefined(why, level=whole.level, **sizes)
    if whole.value <= 0:
        return _none_at_all(whole)
    logs, there = np.log(by_draw), np.isfinite(by_image)
    images = patient_mean(by_image[there], groups[there], level=whole.level)
    draws = float(logs.var(ddof=1)) * (1 + 1 / len(logs))
    parts = [(draws, len(logs) - 1), _relative_variance(whole), _relative_variance(images)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / n for part, n in parts) if variance else 1.0
    reach = float(t.ppf((1 + whole.level) / 2, freedom)) * math.sqrt(variance)
    centre = math.log(whole.value) - float(logs.mean())
    value, low, high = (math.exp(centre + side * reach) for side in (0, -1, 1))
    method = f"Welch's t on the log scale, over patients and {len(logs)} random networks"
    return Estimate(value, low, high, whole.level, method, whole.n_images, whole.n_patients)


def _none_at_all(whole: Estimate) -> Estimate:
    """Bound the ratio where no image has any heat in its lungs.

    As many patients as Clopper and Pearson's bound for none of them allows might have had what
    random weights put there.
    """
    most = 1 - ((1 - whole.level) / 2) ** (1 / whole.n_patients)
    method = "Clopper-Pearson: patients that might have the heat of random weights"
    return replace(whole, value=0.0, low=0.0, high=most, method=method)


def _over_draws(random: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each image over draws, NaN where no draw has a map of it."""
    counted = np.isfinite(random).sum(axis=0)
    return np.where(counted, np.nansum(random, axis=0) / np.maximum(counted, 1), math.nan)


def _relative_variance(mean: Estimate) -> tuple[float, int]:
    """Return the squared coefficient of variation of a mean over patients, and its freedom."""
    from scipy.stats import t

    if not mean.is_defined:
        return 0.0, 1
    freedom = mean.n_patients - 1
    error = (mean.high - mean.low) / 2 / float(t.ppf((1 + mean.level) / 2, freedom))
    return (error / mean.value) ** 2, freedom


def _by_class(labels: NDArray[np.str_], gain: NDArray[np.float64]) -> list[dict[str, Any]]:
    return [
        {"class": str(c), "n": int((labels == c).sum()), "gain": float(gain[labels == c].mean())}
        for c in np.unique(labels)
    ]


def _least(material: Material, shares: list[ShareInside], n: int = 4) -> tuple[Evidence, ...]:
    """Return the images whose heat lies least in the lungs."""
    frame = material.manifest.frame
    order = sorted(range(len(shares)), key=lambda i: shares[i].gain)[:n]
    return tuple(
        Evidence(
            frame["image"].iloc[i],
            f"{shares[i].heat:.0%} of the heat in lungs that fill {shares[i].area:.0%}",
            frame["path"].iloc[i],
        )
        for i in order
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
