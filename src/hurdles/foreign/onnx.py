"""Models in ONNX files, asked through ONNX Runtime by the spec that comes with them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hurdles.data.untrusted import listed
from hurdles.errors import ModelError, SpecError
from hurdles.foreign.onnx_file import OnnxFile, Port, shape_of
from hurdles.foreign.spec import Layout, Spec
from hurdles.pixels.prepare import prepare_squares

__all__ = ["OnnxModel"]

FLOATS = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
_INPUTS = {**FLOATS, "tensor(uint8)": np.uint8}
#: Numbers in one batch that a file may ask for: 2 GiB as float.
_MOST_NUMBERS = 1 << 29


class OnnxModel:
    """Classifier in an ONNX file that is asked about square images.

    Parameters
    ----------
    path : str or Path
        The file. Weights beside it are read from its own folder alone.
    spec : Spec, optional
        How it takes a radiograph, and how its answers are read. Default: what `hurdles export`
        wrote into the file.
    threads : int, optional
        Threads of ONNX Runtime; default: all processors that this process may use.
    batch : int, default 32
        Images asked at once, where the file leaves the number open.
    device : {"cpu", "cuda"}, default "cpu"

    Raises
    ------
    ModelError
        If the file is no ONNX file (then with the lines that export one), or is damaged.
    SpecError
        If the spec does not fit what the file says of its inputs and outputs; no image was read.
    """

    def __init__(
        self,
        path: str | Path,
        spec: Spec | None = None,
        *,
        threads: int | None = None,
        batch: int = 32,
        device: str = "cpu",
    ) -> None:
        self.file = OnnxFile(path, threads=threads, device=device)
        spec = spec or self.file.own_spec
        if spec is None:
            raise SpecError(
                f"{path} does not say how it takes a radiograph; write a spec: hurdles spec --like "
                f"torchvision --model {path} --out model.toml."
            )
        self._most = max(1, batch)
        self._fit(spec)

    def with_spec(self, spec: Spec) -> OnnxModel:
        """Return the same file asked by another spec; SpecError if that does not fit the file."""
        other = copy(self)
        other._fit(spec)
        return other

    def _fit(self, spec: Spec) -> None:
        self.spec = spec
        self._input = _input_of(self.file, spec)
        self._answers = _output_of(self.file, spec)
        self._features = _features_of(self.file, spec)
        fixed = self._input.shape[0]
        if (fixed or 0) * spec.channels * spec.size**2 > _MOST_NUMBERS:
            raise ModelError(
                f"{self.file.path} takes {fixed:,} images at once, more than memory is for; export "
                "it with an open number of images (dynamic_shapes, or dynamic_axes)."
            )
        self._batch = fixed or self._most
        self._is_fixed = fixed is not None

    def __repr__(self) -> str:
        return f"OnnxModel({self.name!r}, {len(self.labels)} classes, {self.size} px)"

    @property
    def name(self) -> str:
        """The spec's name of the model, or the file's."""
        return self.spec.name or self.file.path.stem

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes in the order of the probabilities."""
        return self.spec.labels

    @property
    def size(self) -> int:
        """Side of the square images that it is asked about, in pixels."""
        return self.spec.size

    @property
    def preparation(self) -> str:
        """Preparation that images go through within `ask`."""
        return self.spec.preparation

    @property
    def capabilities(self) -> frozenset[str]:
        """``answers``, and ``features`` where the spec names such an output."""
        return frozenset({"answers", "features"} if self._features else {"answers"})

    def ask(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities of every class.

        Parameters
        ----------
        pixels : uint8 array of shape (n, S, S)
            Framed and resized, nothing else; another side than `size` is resized.
        masks : bool array of shape (n, S, S), optional
            Their lungs, where the preparation needs them.

        Returns
        -------
        float64 array of shape (n, K)

        Raises
        ------
        ModelError
            If an answer is not finite, or not what the spec says.
        """
        return self.spec.probabilities(self.outputs(pixels, masks))

    def outputs(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the model's own answers, shape (n, outputs), before they become probabilities."""
        parts = list(self._run(self._answers, pixels, masks))
        if not parts:
            return np.zeros((0, len(self.spec.classes)))
        return np.concatenate(parts).astype(np.float64).reshape(len(pixels), -1)

    def features(
        self, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """Return what the spec's `features_name` gives; arguments as for `ask`.

        Returns
        -------
        float32 array of shape (n, D)
            Maps are averaged over their height and width.

        Raises
        ------
        ModelError
            If the spec names no such output, or a feature is not finite.
        """
        if self._features is None:
            raise ModelError(
                f"the spec of {self.name} names no output with features; export the model with one "
                "and name it: features_name."
            )
        parts = [_pooled(part, self.spec) for part in self._run(self._features, pixels, masks)]
        features = np.concatenate(parts).astype(np.float32) if parts else np.zeros((0, 1))
        if not np.isfinite(features).all():
            raise ModelError(f"the features of {self.name} are not finite for some images.")
        return np.asarray(features, dtype=np.float32)

    def _run(
        self, port: Port, pixels: NDArray[np.uint8], masks: NDArray[np.bool_] | None
    ) -> Iterator[NDArray[Any]]:
        for start in range(0, len(pixels), self._batch):
            chosen = slice(start, start + self._batch)
            lungs = None if masks is None else masks[chosen]
            spec = self.spec
            squares = prepare_squares(spec.preparation, spec.size, pixels[chosen], lungs)
            batch = self._as_input(spec.arrays(squares))
            (values,) = self.file.run([port.name], self._input.name, batch)
            if values.ndim == 0 or len(values) != len(batch):
                raise ModelError(
                    f"{self.file.path}: {len(batch)} images were given and {port.name} has the "
                    f"shape {values.shape}; the first axis must be the images."
                )
            yield values[: len(squares)]

    def _as_input(self, arrays: NDArray[np.float32]) -> NDArray[Any]:
        kind = _INPUTS[self._input.kind]
        if kind is np.uint8:
            whole = np.rint(arrays)
            outside = arrays.size and (whole.min() < 0 or whole.max() > 255)
            if outside or (arrays.size and np.abs(arrays - whole).max() > 1e-3):
                raise SpecError(
                    f"{self.file.path} takes whole numbers from 0 to 255; write range = [0, 255], "
                    "mean = 0 and sd = 1 in the spec."
                )
            arrays = whole
        batch = arrays.astype(kind)
        rank = len(self._input.shape)
        if rank == 2:
            batch = batch.reshape(len(batch), -1)
        elif rank == 3:
            batch = batch.reshape(len(batch), self.spec.size, self.spec.size)
        missing = self._batch - len(batch) if self._is_fixed else 0
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        return np.asarray(batch)


# --- what a file must have for a spec ------------------------------------------------------------


def _input_of(file: OnnxFile, spec: Spec) -> Port:
    port = _chosen(file, file.inputs, spec.input_name, "input")
    if port.kind not in _INPUTS:
        raise SpecError(
            f"{file.path}: input {port} takes {port.kind}; hurdles gives float, double, float16 or "
            "uint8. Export the model with such an input."
        )
    side, c = spec.size, spec.channels
    shapes = {
        4: (side, side, c) if spec.layout is Layout.NHWC else (c, side, side),
        3: (side, side),
        2: (c * side * side,),
    }
    wanted = shapes.get(len(port.shape))
    if wanted is None or (len(port.shape) == 3 and c != 1):
        raise SpecError(
            f"{file.path}: input {port} has {len(port.shape)} axes; hurdles gives images as (n, "
            "channels, height, width), as (n, height, width, channels), or all numbers of one in a "
            "row."
        )
    if any(have not in (None, want) for have, want in zip(port.shape[1:], wanted, strict=True)):
        described = ", ".join(map(str, wanted))
        raise SpecError(
            f"{file.path} takes {port}, and the spec describes (n, {described}): size = {side}, "
            f"channels = {c}, layout = {spec.layout}. {_shape_advice(port)}"
        )
    return port


def _shape_advice(port: Port) -> str:
    shape = shape_of(port)
    if shape is None:
        return "Correct these three fields."
    size, channels, layout = shape
    side = "" if size is None else f"size = {size}, "
    return f'The file is that of {side}channels = {channels}, layout = "{layout}".'


def _output_of(file: OnnxFile, spec: Spec) -> Port:
    port = _chosen(file, file.outputs, spec.output_name, "output")
    k, advice = len(spec.classes), ""
    if port.kind.startswith(("seq", "map", "optional")):
        advice = 'export with options={"zipmap": False} (skl2onnx)'
    elif port.kind not in FLOATS:
        advice = "name the output with numbers by output_name"
    if advice:
        raise SpecError(
            f"{file.path}: output {port} gives {port.kind}, no table of numbers; {advice}."
        )
    widths = [side for side in port.shape[1:] if side != 1]
    if len(widths) <= 1 and None not in widths and (widths or [1]) != [k] and port.shape:
        raise SpecError(
            f"{file.path} gives {port}, which is {(widths or [1])[0]} numbers an image, and the "
            f"spec names {k} outputs ({', '.join(spec.classes)}). Name each in classes, in its "
            'order; of a model with one output: classes = ["Pneumonia"], positive = "Pneumonia", '
            'negative = "Normal", with your names.'
        )
    return port


def _features_of(file: OnnxFile, spec: Spec) -> Port | None:
    if not spec.features_name:
        return None
    port = _chosen(file, file.outputs, spec.features_name, "output")
    if port.kind not in FLOATS:
        raise SpecError(f"{file.path}: features_name is {port}, which gives {port.kind}.")
    return port


def _chosen(file: OnnxFile, ports: tuple[Port, ...], name: str, what: str) -> Port:
    present = listed(ports, most=8, show=str)
    if name:
        for port in ports:
            if port.name == name:
                return port
        raise SpecError(f"{file.path} has no {what} called {name!r}; it has {present}.")
    if len(ports) != 1:
        raise SpecError(
            f"{file.path} has {len(ports)} {what}s: {present}. Say which one by {what}_name in the "
            "spec."
        )
    return ports[0]


def _pooled(features: NDArray[Any], spec: Spec) -> NDArray[Any]:
    if features.ndim == 4:
        return np.asarray(features.mean(axis=(1, 2) if spec.layout is Layout.NHWC else (2, 3)))
    return features.reshape(len(features), -1)
