"""Alterations of a spec: mistakes that are made in writing one, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import SpecError
from hurdles.foreign.spec import ChannelOrder, ImageScaling, Layout, Output, Spec
from hurdles.models.importing import IMAGENET
from hurdles.pixels.framing import Framing, Resize

_MEAN, _SD = IMAGENET


@dataclass(frozen=True)
class Change:
    """One change of a spec: `when` completes "answers as expected when", `fields` are set so.

    Two changes of one idea exclude each other.
    """

    idea: str
    when: str
    fields: dict[str, Any]

    def on(self, spec: Spec) -> Spec:
        """Return the spec with this change; SpecError if that is none."""
        return spec.changed(**self.fields)


def remedy(spec: Spec, altered: Spec) -> str:
    """Return the fields that differ between two specs, as they stand in the second one's file."""
    before, after = spec.model_dump(mode="json"), altered.model_dump(mode="json")
    return ", ".join(f"{k} = {_toml(v)}" for k, v in after.items() if v != before[k])


def _changes_of_input(spec: Spec) -> list[Change]:
    """Return the changes of what the model is given, one for each usual mistake."""
    return [*_turns(spec), *_grays(spec), *_channels(spec), *_frames(spec), *_resizes(spec)]


def changes_of_output(spec: Spec) -> list[Change]:
    """Return the changes of how the answers are read, but for the order of the classes."""
    words = {
        Output.LOGITS: "its answers are logits",
        Output.SOFTMAX: "its answers are probabilities already (softmax)",
        Output.SIGMOID: "its answers are a probability each (sigmoid)",
    }
    return [
        Change("output", when, {"output": output.value})
        for output, when in words.items()
        if output is not spec.output
    ]


def single_changes(spec: Spec) -> list[tuple[Change, Spec]]:
    """Return each change of the input that is one, with the spec changed."""
    return [(group[0], altered) for group, altered in altered_inputs(spec) if len(group) == 1]


def altered_inputs(spec: Spec) -> Iterator[tuple[tuple[Change, ...], Spec]]:
    """Yield single changes of the input, then pairs of different ideas, with the spec changed.

    Pairs that contradict each other, and those that give an earlier spec, are left out.
    """
    changes = _changes_of_input(spec)
    singles = [(change,) for change in changes]
    pairs = [pair for pair in combinations(changes, 2) if pair[0].idea != pair[1].idea]
    before = {spec}
    for group in [*singles, *pairs]:
        try:
            altered = spec
            for change in group:
                altered = change.on(altered)
        except SpecError:
            continue
        if altered not in before:
            before.add(altered)
            yield group, altered


def _turns(spec: Spec) -> list[Change]:
    gray = "gray is not inverted" if spec.inverted else "gray is inverted"
    turned = "rows are rows" if spec.transposed else "rows and columns are exchanged"
    return [
        Change("inverted", gray, {"inverted": not spec.inverted}),
        Change("transposed", turned, {"transposed": not spec.transposed}),
    ]


def _grays(spec: Spec) -> list[Change]:
    plain = {"scaling": ImageScaling.NONE.value, "mean": (0.0,), "sd": (1.0,)}
    color = spec.channels == 3
    mean = _MEAN if color else (round(sum(_MEAN) / 3, 4),)
    sd = _SD if color else (round(sum(_SD) / 3, 4),)
    order = {"channel_order": "rgb"} if color and spec.channel_order is ChannelOrder.GRAY else {}
    imagenet = {"scaling": "none", "mean": mean, "sd": sd} | order
    caffe = tuple(round(255 * each, 3) for each in mean)
    ends = ((0, 1), (0, 255), (-1, 1), (-1024, 1024))
    has_mean = (spec.mean, spec.sd) != ((0.0,), (1.0,))
    without = ", without mean and SD" if has_mean else ""
    ranges = [(f"gray goes from {a} to {b}", (float(a), float(b))) for a, b in ends]
    changes = [Change("gray", f"{when}{without}", plain | {"range": r})
               for when, r in ranges]  # fmt: skip
    if has_mean:
        changes += [Change("gray", f"{when}, with its mean and SD", {"range": r})
                    for when, r in ranges]  # fmt: skip
        changes.append(Change("gray", "mean and SD are left out", {"mean": (0.0,), "sd": (1.0,)}))
        twice = tuple(m + m * s for m, s in zip(*_alike(spec.mean, spec.sd), strict=True))
        squared = tuple(s * s for s in spec.sd)
        fields = {"mean": twice, "sd": squared}
        changes.append(Change("gray", "mean and SD are applied twice", fields))
    changes += [
        Change("gray", "mean and SD are those of ImageNet", imagenet | {"range": (0.0, 1.0)}),
        Change(
            "gray",
            "gray goes from 0 to 255, less the mean of ImageNet",
            imagenet | {"range": (0.0, 255.0), "mean": caffe, "sd": (1.0,)},
        ),
        Change(
            "gray",
            "gray goes from 0 to 255 and mean and SD of ImageNet are those of 0 to 1",
            imagenet | {"range": (0.0, 255.0)},
        ),
        Change(
            "gray",
            "each image is scaled to its own darkest and brightest pixel",
            plain | {"scaling": ImageScaling.MIN_MAX.value, "range": (0.0, 1.0)},
        ),
        Change(
            "gray",
            "each image is scaled by its own mean and SD",
            plain | {"scaling": ImageScaling.MEAN_SD.value, "range": (0.0, 1.0)},
        ),
    ]
    return changes


def _alike(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    n = max(len(a), len(b))
    return tuple(each * (n // len(each)) for each in (a, b))


def _channels(spec: Spec) -> list[Change]:
    changes = []
    if spec.channel_order is not ChannelOrder.GRAY:
        bgr = spec.channel_order is ChannelOrder.RGB
        order, words = ("bgr", "blue, green, red") if bgr else ("rgb", "red, green, blue")
        changes.append(Change("channels", f"channels are {words}", {"channel_order": order}))
    if spec.channels > 1:  # of one channel the numbers are the same
        layout = Layout.NHWC if spec.layout is Layout.NCHW else Layout.NCHW
        changes.append(Change("layout", f"axes are {layout}", {"layout": layout.value}))
    return changes


def _frames(spec: Spec) -> list[Change]:
    words = {
        Framing.STRETCH: "images are stretched to a square",
        Framing.CROP: "the middle square of an image is taken",
        Framing.PAD: "images are filled up with black to a square",
    }
    return [
        Change(
            "framing",
            when if fraction == 1 else f"{when} and {fraction:g} of it kept (resize 256, crop 224)",
            {"framing": framing.value, "crop_fraction": fraction},
        )
        for framing, when in words.items()
        for fraction in (1.0, 0.875)
        if (framing, fraction) != (spec.framing, spec.crop_fraction)
    ]


def _resizes(spec: Spec) -> list[Change]:
    return [
        Change("resize", f"the filter of the resize is {way}", {"resize": way.value})
        for way in Resize
        if way is not spec.resize
    ]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        items = [_toml(each) for each in value]
        return (
            items[0]
            if len(items) == 1 and not isinstance(value[0], str)
            else f"[{', '.join(items)}]"
        )
    return f'"{value}"' if isinstance(value, str) else f"{value:.6g}"


def nearest_order(
    spec: Spec, outputs: NDArray[np.float64], wanted: NDArray[np.float64]
) -> dict[str, Any] | None:
    """Return the classes in the order in which answers come nearest, or None for their own."""
    from scipy.optimize import linear_sum_assignment

    classes = list(spec.classes)
    if len(classes) == 1:
        return {"classes": [spec.negative], "positive": spec.negative, "negative": spec.positive}
    if spec.positive is None:
        probability = spec.probabilities(outputs)
        cost = np.abs(probability[:, :, None] - wanted[:, None, :]).mean(axis=0)
        place, label = linear_sum_assignment(cost)
        if (place == label).all():
            return None
        return {"classes": [classes[i] for i in label]}
    own = classes.index(spec.positive)
    bare = spec.changed(threshold=None, threshold_class=None)  # it may name the positive class
    singly = [bare.changed(positive=name).probabilities(outputs)[:, 0] for name in classes]
    apart = [float(np.abs(column - wanted[:, 0]).mean()) for column in singly]
    nearest = int(np.argmin(apart))
    if nearest == own:
        return None
    classes[own], classes[nearest] = classes[nearest], classes[own]
    return {"classes": classes}
