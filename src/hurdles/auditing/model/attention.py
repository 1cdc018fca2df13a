"""Attention: the heat that maps of the network put into the lungs, against that of random weights.

Two methods that have little in common: Grad-CAM looks at the last feature maps, SmoothGrad at
single pixels. What their maps show is judged against the maps of the same network with random
weights, for the same images. Against the lungs' share of the area alone it could not be: a network
that averages its last maps weighs the middle of every image more, where the lungs are, whether it
has learned anything or not. A method whose maps are as good as the same with random weights says
nothing of this network, and is not reported (Adebayo et al. 2018).

A model that can only be asked has neither gradients nor weights to be made random. Parts of its
images are hidden one after another (occlusion), and what that shows is shown, not judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hurdles.auditing.hurdle import model_hurdle
from hurdles.auditing.material import Capability, Material, NetworkModel, Subject
from hurdles.auditing.probing import joined_level
from hurdles.errors import HurdleError
from hurdles.evaluation.bounds import patient_mean
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.explanation.heatmap import Heatmap, ShareInside, share_inside
from hurdles.explanation.methods import explain
from hurdles.explanation.occlusion import CELLS, occlude
from hurdles.findings.finding import Evidence, Finding, Scale, evidence_of
from hurdles.findings.limits import limit_for
from hurdles.pixels.prepare import stepped, stretched

if TYPE_CHECKING:
    from hurdles.models.network import Network

#: Heat-map methods that are asked, one finding each.
METHODS_ASKED = ("grad-cam", "smoothgrad")
#: Test images at most; and of these, images that are shown to random networks, and how many.
_IMAGES, _IMAGES_AT_RANDOM, _DRAWS = 120, 16, 8
#: Test images of which parts are hidden; each costs fifty answers.
_IMAGES_HIDDEN = 40
#: Random networks with maps of at least half of the images that must be left.
_FEWEST_DRAWS = 4
_ADVICE = (
    "Look at the heat-maps of the images named; train and test on lungs alone (preparation "
    "'masked+cropped') and see what of the performance remains."
)

_OCCLUDED = (
    "Shown, not judged: a model that can only be asked has no random weights to hold it to, and 1 "
    "is not what a model without knowledge gets. On phantoms, linear models with random weights "
    "got 0.3 to 1.0 and small random networks 0.5 to 1.1. What is hidden is a quarter of the "
    "image wide, so that what lies near the lungs counts in part as in them."
)


def _cost(subject: Subject, answer: float) -> float:
    """Return the seconds of all maps: of gradients, or of answers with a part hidden."""
    if isinstance(subject.model, NetworkModel):
        return 85 * min(_IMAGES, len(subject.test)) * answer
    return 50 * min(_IMAGES_HIDDEN, len(subject.test)) * answer


@model_hurdle(
    "attention",
    question="Does the network look at the lungs?",
    needs=[Capability.ANSWERS],
    cost=_cost,
)
def attention(subject: Subject) -> Iterator[Finding]:
    """Yield, for each method, the heat in the lungs over that of random networks, and over area."""
    model = subject.model
    if not isinstance(model, NetworkModel):
        yield _occlusion(subject)
        return
    images = _images_as_seen(subject, model)
    for method in METHODS_ASKED:
        maps = explain(
            model.network,
            model.network.spec,
            images.pixels,
            images=images.material.manifest.frame["image"].tolist(),
            method=method,
        )
        yield from _findings(subject, model.network, images, maps)


def _occlusion(subject: Subject) -> Finding:
    """Return where the answers of a model change when parts of its images are hidden."""
    images = _usable(subject, _IMAGES_HIDDEN)
    assert images.masks is not None
    masks, places = images.masks, subject.positions(images)
    cells = min(CELLS, images.pixels.shape[-1])
    shown_each = max(1, cells - 1) ** 2 + 1  # with every part hidden in turn, and as it is
    maps = occlude(
        lambda stacks: subject.ask_many(
            (
                (stack, np.repeat(mask[None], len(stack), axis=0))
                for stack, mask in zip(stacks, masks, strict=True)
            ),
            rows=(np.full(shown_each, place) for place in places),
        ),
        images.pixels,
        images=images.manifest.frame["image"].tolist(),
        labels=subject.labels,
    )
    shares = [share_inside(m, lungs) for m, lungs in zip(maps, masks, strict=True)]
    gain = np.array([s.gain for s in shares])
    shown = np.flatnonzero(~np.isnan(gain))
    level = subject.material.level
    if len(np.unique(images.groups[shown])) < 2:
        ratio = undefined(f"occlusion gives a map of {len(shown)} of {len(maps)} images")
    else:
        ratio = patient_mean(gain[shown], images.groups[shown], level=level)
    without = len(maps) - len(shown)
    return Finding(
        "attention",
        "occlusion",
        "share of the heat in the lungs over the lungs' share of the image",
        ratio.noted(f"{without} of {len(maps)} maps are empty" if without else ""),
        None,
        _OCCLUDED,
        _least(images, shares, gain, shown),
        {"maps": len(maps), "without_heat": without},
        scale=Scale.RATIO,
    )


def _least(
    images: Material,
    shares: list[ShareInside],
    gain: NDArray[np.float64],
    shown: NDArray[np.int64],
) -> tuple[Evidence, ...]:
    """Return the images of which the least heat lies in the lungs."""
    least = sorted(shown.tolist(), key=lambda i: gain[i])[:4]
    texts = [
        f"{shares[i].heat:.0%} of the heat in lungs that fill {shares[i].area:.0%}" for i in least
    ]
    return evidence_of(images.manifest.frame, least, texts)


class _Images(NamedTuple):
    """Test images as the network sees them, with their lungs at the same places."""

    material: Material
    pixels: NDArray[np.uint8]
    lungs: NDArray[np.bool_]


def _usable(subject: Subject, most: int) -> Material:
    """Choose test images with lungs and something beside them."""
    tested = subject.tested
    has_lungs = tested.has_lungs
    assert tested.masks is not None  # has_lungs would have said so
    usable = np.flatnonzero(has_lungs & ~tested.masks.all(axis=(1, 2)))
    if not len(usable):
        raise HurdleError("no test image has lungs and something beside them; nothing to compare.")
    return tested.take(usable[spread_over_classes(tested.take(usable), most)])


def _images_as_seen(subject: Subject, model: NetworkModel) -> _Images:
    """Choose the images, and bring their lungs to where the network sees them."""
    chosen = _usable(subject, _IMAGES)
    assert chosen.masks is not None
    pixels = model.prepare(chosen.pixels, chosen.masks)
    lungs = []
    for image, mask in zip(chosen.pixels, chosen.masks, strict=True):
        moved = stepped(model.preparation, image / np.float32(255), mask).lungs
        assert moved is not None
        lungs.append(stretched(moved, pixels.shape[1:]))
    inside = np.stack(lungs)
    # A crop may leave nothing but lung, or a mask vanish as it shrinks.
    clear = np.flatnonzero(inside.any(axis=(1, 2)) & ~inside.all(axis=(1, 2)))
    if not len(clear):
        raise HurdleError("as the network sees the test images, no lungs can be told in them.")
    return _Images(chosen.take(clear), pixels[clear], inside[clear])


def spread_over_classes(material: Material, most: int) -> NDArray[np.int64]:
    """Draw images evenly over classes, and within a class over patients."""
    rng = np.random.default_rng([material.seed, 0x41])
    order = rng.permutation(len(material))
    frame = pd.DataFrame({"label": material.labels[order], "group": material.groups[order]})
    of_patient = frame.groupby("group").cumcount()  # first everybody's first image
    by_patient = frame.loc[of_patient.sort_values(kind="stable").index]
    turn = by_patient.groupby("label").cumcount().sort_index()
    return np.sort(order[np.argsort(turn.to_numpy(), kind="stable")[:most]])


def _findings(
    subject: Subject, network: Network, images: _Images, maps: list[Heatmap]
) -> Iterator[Finding]:
    method, level = maps[0].method, joined_level(subject.material.level, len(METHODS_ASKED))
    shares = [share_inside(m, lungs) for m, lungs in zip(maps, images.lungs, strict=True)]
    gain = np.array([s.gain for s in shares])
    shown = np.flatnonzero(~np.isnan(gain))
    if len(np.unique(images.material.groups[shown])) < 2:
        why = f"{method} gives a map of {len(shown)} of {len(maps)} images"
        yield _finding(method, undefined(why, level=level), level, {})
        return
    material, gains = images.material.take(shown), gain[shown]
    # Evenly over the images, whose order goes with their class in many collections.
    few = shown[np.linspace(0, len(shown) - 1, min(_IMAGES_AT_RANDOM, len(shown))).astype(int)]
    like = [maps[i] for i in few]
    check, random = _at_random(network, subject.material.seed, images, like, few)
    whole = patient_mean(gains, material.groups, level=level)
    if check.is_passed:
        ratio = _against_random(whole, random, images.material.groups[few])
    else:
        sizes = {"n_images": whole.n_images, "n_patients": whole.n_patients}
        ratio = undefined(f"no evidence: {check}", level=level, **sizes)
    without = len(maps) - len(shown)
    ratio = ratio.noted(f"{without} of {len(maps)} maps are empty" if without else "")
    correlations = {
        "rank_correlation_with_random": check.rank_correlation,
        "structural_similarity_with_random": check.structural,
    }
    details = {
        "by_class": [
            {"class": str(c), "n": int(rows.sum()), "gain": float(gains[rows].mean())}
            for c in np.unique(material.labels)
            for rows in [material.labels == c]
        ],
        "maps": len(maps),
        "without_heat": without,
        "random_gains": [round(float(x), 6) for x in np.nanmean(random, axis=1)],
        **{name: None if math.isnan(x) else x for name, x in correlations.items()},
    }
    if not ratio.is_defined:
        yield _finding(method, ratio, level, details)
        return
    yield _finding(method, ratio, level, details, _least(images.material, shares, gain, shown))
    statistic = "share of the heat in the lungs over the lungs' share of the image"
    plain = patient_mean(gains, material.groups, level=subject.material.level)
    yield Finding("attention", method, statistic, plain, None, scale=Scale.RATIO)


def _at_random(
    network: Network, seed: int, images: _Images, like: list[Heatmap], rows: NDArray[np.int64]
) -> tuple[Any, NDArray[np.float64]]:
    """Return the sanity check, and the gains (draws, images) of networks with random weights.

    Networks of which fewer than half of the maps hold any heat are left out.
    """
    from hurdles.explanation.randomization import check_sanity, random_maps

    after = random_maps(
        network, network.spec, images.pixels[rows], like=like, draws=_DRAWS, seed=seed
    )
    pairs = [zip(maps, images.lungs[rows], strict=True) for maps in after]
    gains = np.array([[share_inside(*pair).gain for pair in of_draw] for of_draw in pairs])
    enough = np.isfinite(gains).mean(axis=1) >= 0.5
    return check_sanity(like, after), gains[enough]


def _finding(
    method: str,
    ratio: Estimate,
    level: float,
    details: dict[str, Any],
    evidence: tuple[Evidence, ...] = (),
) -> Finding:
    return Finding(
        "attention",
        method,
        "heat in the lungs over what the same network with random weights puts there "
        f"(level {level:.4g}: {len(METHODS_ASKED)} methods)",
        ratio,
        limit_for("attention", method),
        _ADVICE,
        evidence,
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
    by_draw = np.nanmean(random, axis=1)
    if (by_draw <= 0).any():
        why = "a network with random weights puts no heat into the lungs, so none can be held to it"
        return undefined(why, level=whole.level, **sizes)
    if whole.value <= 0:
        # No image has any heat in its lungs. As many patients as Clopper and Pearson's bound for
        # none of them allows might have had what random weights put there.
        most = 1 - ((1 - whole.level) / 2) ** (1 / whole.n_patients)
        method = "Clopper-Pearson: patients that might have the heat of random weights"
        return replace(whole, value=0.0, low=0.0, high=most, method=method)
    present = np.isfinite(random).any(axis=0)  # images of which some draw has a map
    by_image = np.nanmean(random[:, present], axis=0)
    images = patient_mean(by_image, groups[present], level=whole.level)
    if not images.is_defined:
        return undefined(f"random networks: {images.note}", level=whole.level, **sizes)
    logs = np.log(by_draw)
    draws = float(logs.var(ddof=1)) * (1 + 1 / len(logs))
    parts = [(draws, len(logs) - 1), _relative_variance(whole), _relative_variance(images)]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / n for part, n in parts) if variance else 1.0
    reach = float(t.ppf((1 + whole.level) / 2, freedom)) * math.sqrt(variance)
    center = math.log(whole.value) - float(logs.mean())
    value, low, high = (math.exp(center + side * reach) for side in (0, -1, 1))
    method = f"Welch's t on the log scale, over patients and {len(logs)} random networks"
    return Estimate(value, low, high, whole.level, method, whole.n_images, whole.n_patients)


def _relative_variance(mean: Estimate) -> tuple[float, int]:
    """Return the squared coefficient of variation of a mean over patients, and its freedom."""
    from scipy.stats import t

    if not mean.is_defined:
        return 0.0, 1
    freedom = mean.n_patients - 1
    error = (mean.high - mean.low) / 2 / float(t.ppf((1 + mean.level) / 2, freedom))
    return (error / mean.value) ** 2, freedom
