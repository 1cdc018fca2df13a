"""A small network as an ONNX file, the same in torch, and radiographs that it tells apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from hurdles.pixels.prepare import resize_square

SIZE = 64


@dataclass(frozen=True)
class Net:
    """Convolution, ReLU, mean, one layer: made for numbers of one range, and sharp on it."""

    channels: int = 1
    k: int = 2
    nhwc: bool = False
    last: str = ""  # Softmax or Sigmoid
    batch: int | str = "n"
    size: int | str = SIZE
    unit: float = 1.0  # the number for white
    away: tuple[float, ...] = (0.0,)  # mean and SD of the channels that it was made for
    by: tuple[float, ...] = (1.0,)
    seed: int = 0
    kind: int = TensorProto.FLOAT
    features: bool = False

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return weights by which the classes take about equal shares of the radiographs."""
        rng = np.random.default_rng(self.seed)
        conv = rng.normal(size=(8, self.channels, 5, 5)) / (5 * self.unit)
        bias = rng.normal(size=8) / 3
        arrays = {"conv": conv, "bias": bias}
        gray = np.stack([resize_square(image, SIZE) for image in radiographs()])
        x = np.repeat(gray[:, None], self.channels, axis=1) * self.unit
        x = torch.from_numpy(
            (x - np.reshape(self.away, (-1, 1, 1))) / np.reshape(self.by, (-1, 1, 1))
        )
        w = {name: torch.from_numpy(array).float() for name, array in arrays.items()}
        seen = functional.conv2d(x.float(), w["conv"], w["bias"], stride=4).relu().mean((2, 3))
        layer = 2 * rng.normal(size=(self.k, 8)) / (seen.std(dim=0).numpy() + 0.05)
        arrays |= {"layer": layer, "shift": -layer @ seen.mean(dim=0).numpy()}
        return {name: array.astype(np.float32) for name, array in arrays.items()}

    def torch(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what torch computes, with the same weights, before the last operator."""
        w = {name: torch.from_numpy(array) for name, array in self.weights().items()}
        x = torch.from_numpy(np.ascontiguousarray(x))
        x = x.permute(0, 3, 1, 2) if self.nhwc else x
        maps = functional.conv2d(x, w["conv"], w["bias"], stride=4).relu()
        return functional.linear(maps.mean((2, 3)), w["layer"], w["shift"]).double().numpy()

    def write(self, path: Path) -> Path:
        c, s = self.channels, self.size
        shape = [self.batch, s, s, c] if self.nhwc else [self.batch, c, s, s]
        nodes, now = [], "x"
        if self.kind != TensorProto.FLOAT:
            nodes.append(helper.make_node("Cast", [now], ["float"], to=TensorProto.FLOAT))
            now = "float"
        if self.nhwc:
            nodes.append(helper.make_node("Transpose", [now], ["nchw"], perm=[0, 3, 1, 2]))
            now = "nchw"
        nodes += [
            helper.make_node("Conv", [now, "conv", "bias"], ["maps"], strides=[4, 4]),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("Gemm", ["features", "layer", "shift"], ["logits"], transB=1),
        ]
        result = "logits"
        if self.last:
            nodes.append(helper.make_node(self.last, ["logits"], ["answers"]))
            result = "answers"
        outputs = [helper.make_tensor_value_info(result, TensorProto.FLOAT, [self.batch, self.k])]
        if self.features:
            info = helper.make_tensor_value_info("features", TensorProto.FLOAT, [self.batch, 8])
            outputs.append(info)
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", self.kind, shape)],
            outputs,
            [numpy_helper.from_array(a, name) for name, a in self.weights().items()],
        )
        return save(graph, path)


def save(graph: onnx.GraphProto, path: Path) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def radiographs(n: int = 40, seed: int = 0) -> list[NDArray[np.float32]]:
    """Return images (H, W) within [0, 1], wide ones and high ones, of different gray and grain."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        height, width = rng.integers(70, 120, size=2)
        y, x = np.mgrid[:height, :width] / 100
        wave = np.sin(rng.uniform(2, 30) * x + rng.uniform(2, 30) * y**2 + rng.uniform(0, 6))
        level, depth = rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.3)
        image = level + depth * wave + 0.2 * x + rng.normal(0, 0.02, (height, width))
        images.append(np.clip(image, 0.02, 0.97).astype(np.float32))
    return images


def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return torch.from_numpy(z).softmax(1).numpy()
