"""A run's network as an ONNX file, with how it takes a radiograph, held against torch on images."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hurdles._version import USE, USE_SENTENCE, __version__
from hurdles.data.files import file_hash, write_bytes, write_text
from hurdles.data.manifest import Manifest
from hurdles.data.vocabulary import Split
from hurdles.errors import ManifestError, ModelError, RunError
from hurdles.evaluation.calibration import inverse_temperature
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.onnx_file import SPEC_KEY
from hurdles.foreign.spec import Output, Spec
from hurdles.progress import Options
from hurdles.runs.assessment import threshold_of
from hurdles.runs.images import prepare_for
from hurdles.runs.run import Run
from hurdles.training.machine import Machine
from hurdles.training.prediction import probabilities

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

__all__ = ["Export"]

#: Largest difference of a probability between ONNX Runtime and torch that is accepted.
TOLERANCE = 1e-4
#: Images that both are asked about.
_MOST = 64
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_INPUT, _OUTPUT, _FEATURES = "image", "logits", "features"


class ExportFormat(StrEnum):
    """Formats in which a network leaves hurdles."""

    ONNX = "onnx"


@dataclass(frozen=True)
class Export:
    """A network's file, the spec beside it, and how far it is from torch.

    Parameters
    ----------
    path, spec_path : Path
        The ONNX file; its spec as TOML, which stands in the file too.
    spec : Spec
        How the file takes a radiograph, and what it answers: logits.
    n_images : int
        Radiographs that ONNX Runtime and torch were asked about.
    difference : float
        Largest difference of a probability among their answers.
    """

    path: Path
    spec_path: Path
    spec: Spec
    n_images: int
    difference: float

    def lines(self) -> list[str]:
        """Return what a person reads on the console."""
        preparation = self.spec.preparation
        before = "" if preparation == "raw" else f", prepared by hurdles: {preparation}"
        return [
            f"written: {self.path}, and its spec {self.spec_path}",
            f"It takes gray images, {self.spec.size} x {self.spec.size}, within 0 and 1{before}, "
            f"and gives {self.spec.output} of {', '.join(self.spec.classes)}.",
            f"On {self.n_images} radiographs its probabilities differ from torch's by "
            f"{self.difference:.2g} at most ({TOLERANCE:g} is allowed).",
            USE_SENTENCE,
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "written": str(self.path),
            "spec": str(self.spec_path),
            "n_images": self.n_images,
            "largest_difference": self.difference,
            "tolerance": TOLERANCE,
            "use": USE,
        }


def export_files(path: Path) -> list[Path]:
    """Return what an export writes: the file, and its spec beside it."""
    return [path, path.with_suffix(".toml")]


def spec_of(run: Run) -> Spec:
    """Return how a run's network takes a radiograph, and what it answers."""
    threshold = threshold_of(run)
    return Spec(
        name=run.recipe.name,
        classes=run.labels,
        size=run.spec.size,
        preparation=run.recipe.preparation.name,
        output=Output.LOGITS,
        input_name=_INPUT,
        output_name=_OUTPUT,
        features_name=_FEATURES,
        threshold=threshold.value if threshold else None,
        threshold_class=threshold.positive if threshold else None,
    )


def export_onnx(
    run: Run, path: Path, *, on: Manifest | None = None, options: Options | None = None
) -> Export:
    """Write a finished run's network as ONNX, if its answers are torch's.

    Both are asked about radiographs: of `on`, or of the run's own test part. The file is kept only
    if no probability differs by more than `TOLERANCE`.
    """
    options, spec = options or Options(), spec_of(run)
    _require_packages()
    pixels = _radiographs(run, on, options)
    network = run.network()
    options.listener.start("Exporting", 2)
    heading = f"How {path.name} takes a radiograph, written by hurdles export.\n{USE}."
    text = spec.to_toml(heading)
    content = described(exported(network), {SPEC_KEY: text, **_origin(run)})
    options.listener.advance()
    difference = largest_difference(content, spec, network, pixels)
    options.listener.advance()
    if not difference <= TOLERANCE:  # also where it is no number
        raise ModelError(
            f"{path} was not written: ONNX Runtime and torch differ by {difference:.2g} in a "
            f"probability, on {len(pixels)} radiographs, and {TOLERANCE:g} is allowed. Please "
            "report it, with the versions of torch, onnx and onnxruntime."
        )
    file, beside = export_files(path)
    write_text(beside, text)
    write_bytes(file, content)
    return Export(file, beside, spec, len(pixels), difference)


def _require_packages() -> None:
    """Raise a ModelError that says how to install what an export needs and is absent."""
    absent = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise ModelError(
            f"an export to ONNX needs {', '.join(absent)}; install it: pip install 'hurdles[onnx]'"
        )


def _radiographs(run: Run, on: Manifest | None, options: Options) -> NDArray[np.uint8]:
    """Return prepared images on which the file is held against torch."""
    images = run.manifest.part(Split.TEST) if on is None else on
    rows = np.unique(np.linspace(0, len(images) - 1, _MOST).round().astype(int))
    keep = np.zeros(len(images), dtype=bool)
    keep[rows] = True
    try:
        return prepare_for(run, images.select(keep), options).pixels
    except ManifestError as error:
        raise RunError(
            f"the file would be held against torch on radiographs, and none can be read: {error}. "
            "Name some by --on."
        ) from error


def _origin(run: Run) -> dict[str, str]:
    """Return what the file says of itself besides its spec."""
    factor = inverse_temperature(run.predictions("validation"))
    return {
        "hurdles_version": __version__,
        "hurdles_weights": f"sha256:{file_hash(run.weights_path)}",
        # The file's probabilities are not calibrated; this is what hurdles predict multiplies by.
        "hurdles_inverse_temperature": f"{factor.value:.6g}" if factor.is_defined else "",
        "use": USE,
    }


def exported(network: Network) -> bytes:
    """Return the network as ONNX: logits and features of any number of images."""
    import torch

    class Answering(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.network.features(image)
            return self.network.logits(features), features.flatten(1)

    size = network.spec.size
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            Answering().eval(),
            (torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0)),),
            input_names=[_INPUT],
            output_names=[_OUTPUT, _FEATURES],
            dynamic_shapes={"image": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            verbose=False,
        )
    return bytes(program.model_proto.SerializeToString())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk about itself from the user: what matters is checked afterwards."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def described(content: bytes, entries: Mapping[str, str]) -> bytes:
    """Return an ONNX file with entries of metadata, without those of the exporter.

    These name the lines of Python, with their folders on this machine, that made each node.
    """
    import onnx

    model = onnx.load_from_string(content)
    for parts in (model.graph.node, model.graph.value_info, model.graph.initializer, [model.graph]):
        for part in parts:
            del part.metadata_props[:]
            part.doc_string = ""
    onnx.helper.set_model_props(model, dict(entries))
    model.doc_string = USE
    return bytes(model.SerializeToString())


def largest_difference(
    content: bytes, spec: Spec, network: Network, pixels: NDArray[np.uint8]
) -> float:
    """Return the largest difference of a probability between the file and torch."""
    import torch

    machine = Machine("cpu", torch.float32)
    expected = probabilities(network, pixels, machine=machine)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(content)
        # The images are prepared already, at their own size, as in training.
        model = OnnxModel(file).with_spec(spec.changed(preparation="raw"))
        # All of them, and one by itself: the number of images must be open.
        pairs = [(model.ask(pixels), expected), (model.ask(pixels[:1]), expected[:1])]
    return float(np.max([np.abs(a - b).max() for a, b in pairs]))
