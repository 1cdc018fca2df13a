"""The spec of a model from elsewhere: the numbers it takes for a radiograph, and its answers."""

from __future__ import annotations

import difflib
import math
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hurdles.errors import ModelError, RegistryError, SpecError
from hurdles.evaluation.decisions import parted_at
from hurdles.evaluation.predictions import argmax_prediction
from hurdles.pixels.framing import Framing, Resize
from hurdles.pixels.prepare import PREPARATIONS

__all__ = ["ChannelOrder", "ImageScaling", "Layout", "Output", "Spec", "load_spec"]

#: A row of probabilities may miss 1 by this much: float16 and rounded CSV files do.
_SUM_TOLERANCE = 0.01
#: Numbers of a spec; beyond it the gray levels would leave float32.
_LARGEST = 1e9


class ChannelOrder(StrEnum):
    """Orders of the channels of a model that was made for photographs."""

    GRAY = "gray"
    RGB = "rgb"
    BGR = "bgr"


class ImageScaling(StrEnum):
    """Ways to scale the gray levels of each image by itself."""

    NONE = "none"
    MIN_MAX = "min-max"
    MEAN_SD = "mean-sd"


class Layout(StrEnum):
    """Orders of the axes: N images, C channels, H rows, W columns."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class Output(StrEnum):
    """Kinds of numbers that a model gives."""

    LOGITS = "logits"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Spec(BaseModel):
    """Numbers that a model from elsewhere takes for a radiograph, and the kind of its answers.

    Pixels go through these steps, in this order: `framing` and `crop_fraction`, `preparation`, the
    `resize` to `size`, `transposed`, `inverted`, `scaling`, `range`, `mean` and `sd` of each
    channel, `layout`.

    Raises
    ------
    SpecError
        By `Spec.parse` and `load_spec`: a field is unknown, missing, or contradicts another.

    Examples
    --------
    >>> spec = Spec(classes=("Normal", "Pneumonia"), size=64, range=(0, 255))
    >>> spec.arrays(np.full((1, 64, 64), 255, np.uint8)).max()
    np.float32(255.0)
    >>> spec.probabilities([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field("", description="Name of the model in reports; empty: that of its file.")
    classes: tuple[str, ...] = Field(
        description="Names of the outputs, in their order: of exclusive classes all, of a "
        "multi-label model every finding, of a model with one output the class whose probability "
        "it is.",
        min_length=1,
    )
    positive: str | None = Field(
        None,
        description="Multi-label model, or one output: the finding that is asked, one of classes. "
        "Its probability is p, and that of `negative` 1 - p. Exclusive classes need neither.",
    )
    negative: str | None = Field(
        None, description="Name of the other class where `positive` is given, e.g. Normal."
    )
    size: int = Field(224, ge=16, le=2048, description="Side of the square input, in pixels.")
    framing: Framing = Field(
        Framing.STRETCH,
        description="A radiograph that is not square: stretch (to a square), crop (the largest "
        "square in the middle), or pad (filled up with black).",
    )
    crop_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of height and width that is kept, in the middle, after `framing`; a "
        "resize to 256 and a crop to 224 is 0.875.",
    )
    resize: Resize = Field(
        Resize.AREA,
        description="Filter of the resize: area (hurdles, MONAI), bilinear (Pillow, torchvision), "
        "bicubic (Pillow, timm), bilinear-sharp (OpenCV's and TensorFlow's default, which do not "
        "smooth), or nearest (Keras's ImageDataGenerator).",
    )
    preparation: str = Field(
        "raw",
        description="Preparation of hurdles that comes before the resize: raw (none), or another "
        "where hurdles exported the model.",
    )
    transposed: bool = Field(
        False,
        description="true if the model takes rows as columns, as MONAI's LoadImage reads a PNG.",
    )
    inverted: bool = Field(
        False, description="true if the model takes black as bright: gray is turned around."
    )
    scaling: ImageScaling = Field(
        ImageScaling.NONE,
        description="Of each image by itself: none, min-max (its darkest and brightest pixel "
        "become the ends of `range`; MONAI's ScaleIntensity), or mean-sd (minus its own mean, "
        "divided by its own SD, in place of `range`).",
    )
    range: tuple[float, float] = Field(
        (0.0, 1.0),
        description="Numbers for black and for white: [0, 1], [0, 255], [-1, 1], [-1024, 1024].",
    )
    mean: tuple[float, ...] = Field(
        (0.0,),
        description="Subtracted after `range`: one number, or one a channel (red, green, blue, "
        "whatever channel_order is).",
    )
    sd: tuple[float, ...] = Field(
        (1.0,), description="Divided by after `mean`: one number, or one a channel."
    )
    channels: int = Field(1, description="1, or 3: the gray image three times.")
    channel_order: ChannelOrder = Field(
        ChannelOrder.GRAY,
        description="gray, rgb or bgr; of a gray image it matters only where `mean` or `sd` has "
        "one number a channel.",
    )
    layout: Layout = Field(
        Layout.NCHW, description="NCHW (PyTorch, most ONNX files) or NHWC (Keras, TensorFlow)."
    )
    output: Output = Field(
        Output.LOGITS,
        description="What the model gives: logits (numbers without limit), softmax (probabilities "
        "that sum to 1), or sigmoid (a probability for each output; of exclusive classes they are "
        "divided by their sum).",
    )
    input_name: str = Field("", description="Input of the file; empty: the only one.")
    output_name: str = Field(
        "", description="Output of the file that holds the answers; empty: the only one."
    )
    features_name: str = Field(
        "",
        description="Output of the file with the features before the last layer, for the hurdle "
        "source; empty: none.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Two classes: probability of `threshold_class` from which on it is named; not "
        "given: the more probable class.",
    )
    threshold_class: str | None = Field(
        None, description="Class whose probability is held against `threshold`; default: positive."
    )

    @field_validator("size", mode="before")
    @classmethod
    def _one_side(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        sides = {float(side) for side in value if isinstance(side, int | float)}
        if len(value) != 2 or len(sides) != 1:
            raise ValueError(
                f"{list(value)}: hurdles asks about square images alone; export the model with a "
                "square input, or ask it by --model-command"
            )
        return value[0]

    @field_validator("mean", "sd", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, int | float) else value

    @field_validator("classes", mode="before")
    @classmethod
    def _no_letters(cls, value: object) -> object:
        if isinstance(value, str):
            raise ValueError(f'write a list, as in ["{value}", "Normal"]')
        return value

    @model_validator(mode="after")
    def _agreeing(self) -> Spec:
        for problem in _problems(self):
            raise ValueError(problem)
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes whose probabilities `probabilities` returns: all, or positive and negative."""
        if self.positive is None or self.negative is None:
            return self.classes
        return self.positive, self.negative

    def arrays(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn square images into the numbers that the model takes.

        Parameters
        ----------
        pixels : uint8 array of shape (n, S, S)
            Framed, prepared and resized, 0 black and 255 white.

        Returns
        -------
        float32 array of shape (n, C, S, S), or (n, S, S, C) where `layout` is NHWC
        """
        gray = pixels.astype(np.float32) / np.float32(255)
        gray = gray.swapaxes(1, 2) if self.transposed else gray
        gray = _scaled(1 - gray if self.inverted else gray, self.scaling)
        low, high = (np.float32(end) for end in self.range)
        gray = low + gray * (high - low)
        flip = self.channel_order is ChannelOrder.BGR
        mean, sd = (
            np.resize(np.asarray(each[:: -1 if flip else 1], np.float32), self.channels)
            for each in (self.mean, self.sd)
        )
        shape = (1, -1, 1, 1) if self.layout is Layout.NCHW else (1, 1, 1, -1)
        axis = 1 if self.layout is Layout.NCHW else 3
        scaled = (np.expand_dims(gray, axis) - mean.reshape(shape)) / sd.reshape(shape)
        return np.ascontiguousarray(scaled, dtype=np.float32)

    def probabilities(self, outputs: ArrayLike) -> NDArray[np.float64]:
        """Turn the model's answers into probabilities of `labels`.

        Logits become probabilities by the logistic function where one finding is asked
        (`positive`), else by softmax. Softmax and sigmoid answers are probabilities already; those
        of exclusive classes are divided by their sum.

        Parameters
        ----------
        outputs : array of shape (n, len(classes)); (n,) where there is one

        Returns
        -------
        float64 array of shape (n, len(labels)), within [0, 1]; rows sum to 1

        Raises
        ------
        ModelError
            If an answer is not finite, of another shape, or no probability where it should be.
        """
        from scipy.special import expit

        answers = np.asarray(outputs, dtype=np.float64)
        k = len(self.classes)
        if answers.ndim > 2:  # (n, K, 1, 1), as convolutional heads give
            answers = answers.reshape(len(answers), -1)
        if answers.ndim == 1 and k == 1:
            answers = answers[:, None]
        if answers.ndim != 2 or answers.shape[1] != k:
            raise ModelError(
                f"the model gives answers of shape {np.shape(outputs)}, and the spec names {k} "
                f"outputs ({', '.join(self.classes)}). {_count_advice(np.shape(outputs))}"
            )
        self._refuse_odd(answers)
        if self.positive is not None:
            column = answers[:, self.classes.index(self.positive)]
            chance = expit(column) if self.output is Output.LOGITS else np.clip(column, 0, 1)
            return np.column_stack([chance, 1 - chance])
        if self.output is Output.LOGITS:
            answers = np.exp(answers - answers.max(axis=1, keepdims=True))
        shares = np.clip(answers, 0, None)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)

    def _refuse_odd(self, answers: NDArray[np.float64]) -> None:
        odd = ~np.isfinite(answers)
        if odd.any():
            row, column = np.argwhere(odd)[0]
            raise ModelError(
                f"{int(odd.any(axis=1).sum())} of {len(answers)} answers are not finite; the "
                f"first is {answers[row, column]} for {self.classes[column]} of image {row + 1}. "
                "Look at range, mean and sd of the spec, or at the model itself."
            )
        if self.output is Output.LOGITS or not len(answers):
            return
        low, high = answers.min(), answers.max()
        advice = 'output = "logits" is for numbers without limit.'
        if low < -1e-4 or high > 1 + 1e-4:
            raise ModelError(
                f'the spec says output = "{self.output}", which lies within 0 and 1, but the '
                f"answers lie within {low:.4g} and {high:.4g}; {advice}"
            )
        sums = answers.sum(axis=1)
        if self.output is Output.SOFTMAX and np.abs(sums - 1).max() > _SUM_TOLERANCE:
            worst = sums[np.abs(sums - 1).argmax()]
            raise ModelError(
                f'the spec says output = "softmax", which sums to 1, but a row sums to '
                f'{worst:.4g}; output = "sigmoid" is for findings that do not exclude each other.'
            )
        if self.positive is None and sums.min() <= 0:
            raise ModelError(
                f"every class of image {int(sums.argmin()) + 1} has the probability 0; exclusive "
                "classes need one above it. Of a multi-label model, name the finding: positive."
            )

    def decided(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """Return the class that the model names, shape (n,), for probabilities (n, K)."""
        if self.threshold is None:
            return np.asarray(argmax_prediction(self.labels, probability), dtype=str)
        positive = str(self.threshold_class or self.positive)
        return parted_at(self.threshold, positive, self.labels, probability)

    def changed(self, **fields: Any) -> Spec:
        """Return a validated copy with fields changed; a wrong one raises SpecError."""
        return Spec.parse({**self.model_dump(mode="json"), **fields})

    def to_toml(self, heading: str = "") -> str:
        """Return the spec as TOML, each field below its sentence, after a comment of its own."""
        import textwrap

        import tomli_w

        plain = self.model_dump(mode="json")
        lines = [f"# {line}".rstrip() for line in heading.splitlines()]
        for field, info in Spec.model_fields.items():
            lines += ["", *textwrap.wrap(f"# {info.description}", 98, subsequent_indent="#   ")]
            value = plain[field]
            one = isinstance(value, list) and field in ("mean", "sd") and len(value) == 1
            value = value[0] if one else value
            if value is None:
                lines.append(f"# {field} = {_EXAMPLES[field]}")
            elif isinstance(value, list) and len(value) <= 4:
                items = tomli_w.dumps({"x": value}).partition("=")[2].split("\n")[1:-2]
                lines.append(f"{field} = [{' '.join(i.strip() for i in items).rstrip(',')}]")
            else:
                lines.append(tomli_w.dumps({field: value}).rstrip())
        return "\n".join(lines).lstrip("\n") + "\n"

    @classmethod
    def parse(cls, plain: dict[str, Any], where: str = "") -> Spec:
        """Return the spec that a mapping holds; a wrong one raises SpecError, naming `where`."""
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            problems = "; ".join(
                _problem(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors()
            )
            before = f"{where}: " if where else ""
            raise SpecError(f"{before}{problems}. Correct the fields named.") from error


_EXAMPLES = {
    "positive": '"Pneumonia"',
    "negative": '"Normal"',
    "threshold": "0.5",
    "threshold_class": '"Pneumonia"',
}


def load_spec(path: str | Path) -> Spec:
    """Read the spec of a model from a TOML file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        If the file is absent or no TOML, or a field is unknown, missing, or contradicts another.
    """
    place = Path(path)
    advice = "write a start with: hurdles spec --like torchvision --out model.toml"
    if not place.is_file():
        raise SpecError(f"{place}: no such file; {advice}.")
    try:
        plain = tomllib.loads(place.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, brackets too deep
        raise SpecError(f"{place} is not valid TOML: {error}; {advice}.") from error
    return Spec.parse(plain, str(place))


def _scaled(gray: NDArray[np.float32], scaling: ImageScaling) -> NDArray[np.float32]:
    if scaling is ImageScaling.NONE:
        return gray
    if scaling is ImageScaling.MIN_MAX:
        away = gray.min(axis=(1, 2), keepdims=True)
        by = gray.max(axis=(1, 2), keepdims=True) - away
    else:
        away = gray.mean(axis=(1, 2), keepdims=True)
        by = gray.std(axis=(1, 2), keepdims=True)
    return np.asarray((gray - away) / np.where(by > 0, by, 1), dtype=np.float32)


def _problems(spec: Spec) -> list[str]:
    return [*_class_problems(spec), *_number_problems(spec)]


def _class_problems(spec: Spec) -> list[str]:
    known = ", ".join(spec.classes)
    problems = []
    if len(set(spec.classes)) < len(spec.classes) or not all(c.strip() for c in spec.classes):
        problems.append(f"classes must have names that differ; they are {list(spec.classes)}")
    if spec.positive is None and len(spec.classes) == 1:
        problems.append(
            f"classes has one name alone; a model with one output needs positive = "
            f'"{spec.classes[0]}" and negative, the name of the other class'
        )
    if spec.positive is not None and spec.positive not in spec.classes:
        problems.append(f"positive is {spec.positive!r}, which is none of the classes ({known})")
    exclusive = "classes that exclude each other need neither positive nor negative"
    if (spec.positive is None) != (spec.negative is None):
        problems.append(
            "positive and negative come together: the finding that is asked of a multi-label "
            f"model, and the name of the other class; {exclusive}"
        )
    if spec.negative is not None and spec.negative in spec.classes:
        problems.append(
            f"negative is {spec.negative!r}, which has an output of its own; {exclusive}"
        )
    if spec.threshold is not None and len(spec.labels) != 2:
        problems.append(f"threshold is for two classes; there are {len(spec.labels)}")
    if spec.threshold is not None and (spec.threshold_class or spec.positive) is None:
        problems.append("threshold needs threshold_class: the class whose probability it is")
    if spec.threshold_class is not None and spec.threshold_class not in spec.labels:
        problems.append(
            f"threshold_class is {spec.threshold_class!r}, which is none of "
            f"{', '.join(spec.labels)}"
        )
    return problems


def _number_problems(spec: Spec) -> list[str]:
    problems = []
    if spec.channels not in (1, 3):
        problems.append(f"channels must be 1 or 3, not {spec.channels}")
    for field in ("mean", "sd"):
        n = len(getattr(spec, field))
        if n not in (1, spec.channels):
            problems.append(
                f"{field} has {n} numbers for {spec.channels} channels; give one, or one a channel"
            )
        elif n == 3 and spec.channel_order is ChannelOrder.GRAY:
            problems.append(f'{field} has 3 numbers: say channel_order = "rgb" or "bgr"')
    if spec.channels == 1 and spec.channel_order is not ChannelOrder.GRAY:
        problems.append('channels = 1 has no order; write channel_order = "gray"')
    if min(spec.sd, default=1) <= 0:
        problems.append(f"sd must be above 0; it is {list(spec.sd)}")
    if spec.range[0] >= spec.range[1] or not math.isfinite(spec.range[1] - spec.range[0]):
        problems.append(
            f"range is {list(spec.range)}; black comes first and is the smaller number (a model "
            "that takes black as bright: inverted = true)"
        )
    largest = max(map(abs, (*spec.range, *spec.mean, *spec.sd)))
    if largest > _LARGEST or 0 < min(spec.sd, default=1) < 1 / _LARGEST:
        problems.append(
            f"range, mean and sd must lie within {_LARGEST:g}, and sd above {1 / _LARGEST:g}: no "
            "model takes other numbers"
        )
    if spec.scaling is ImageScaling.MEAN_SD and spec.range != (0, 1):
        problems.append('scaling = "mean-sd" takes the place of range; leave range at [0, 1]')
    plain = (Framing.STRETCH, 1, Resize.AREA)
    if spec.preparation != "raw" and (spec.framing, spec.crop_fraction, spec.resize) != plain:
        problems.append(
            "preparation is for models that hurdles exported, and these take the whole image: "
            'framing = "stretch", crop_fraction = 1.0, resize = "area"'
        )
    try:
        PREPARATIONS.get(spec.preparation)
    except RegistryError as error:
        problems.append(str(error).rstrip("."))
    return problems


def _problem(place: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    name = ".".join(map(str, place))
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(name, Spec.model_fields, n=1)
        hint = f"; did you mean {close[0]}?" if close else "."
        return f"{name} is no field of a spec{hint} Known: {', '.join(Spec.model_fields)}"
    if kind == "missing":
        return f"{name} is missing"
    reason = message.removeprefix("Value error, ")
    return f"{name}: {reason} (got {value!r})" if name and kind != "value_error" else reason


def _count_advice(shape: tuple[int, ...]) -> str:
    if len(shape) == 1 or (len(shape) > 1 and math.prod(shape[1:]) == 1):
        return (
            'For a model with one output write classes = ["Pneumonia"], positive = "Pneumonia" '
            'and negative = "Normal", with your names.'
        )
    return "Name every output in classes, in their order."
