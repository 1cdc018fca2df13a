"""An ONNX file opened by ONNX Runtime: its inputs, its outputs, and nothing outside its folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hurdles.data.files import reads
from hurdles.data.untrusted import shown
from hurdles.errors import ModelError, SpecError
from hurdles.foreign.files import require_onnx
from hurdles.foreign.spec import Layout, Spec
from hurdles.progress import processors

if TYPE_CHECKING:
    import onnx

#: Key of the file's own metadata under which `hurdles export` keeps the spec, as TOML.
SPEC_KEY = "hurdles_spec"

_INSTALL = "pip install 'hurdles[onnx]'"
#: Operators that hand a value on, looked through for the one that made it.
_PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}


@dataclass(frozen=True)
class Port:
    """One input or output of an ONNX file; a length that the file leaves open is None."""

    name: str
    kind: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = ", ".join("n" if side is None else str(side) for side in self.shape)
        return f"{shown(self.name)} ({sides})"


def shape_of(port: Port) -> tuple[int | None, int, Layout] | None:
    """Return size, channels and layout of an input with four axes, or None where it is unclear."""
    if len(port.shape) != 4:
        return None
    _, a, b, c = port.shape
    for channels, sides, layout in ((a, (b, c), Layout.NCHW), (c, (a, b), Layout.NHWC)):
        known = {side for side in sides if side is not None}
        if channels in (1, 3) and len(known) < 2:
            return next(iter(known), None), int(channels), layout
    return None


class OnnxFile:
    """An ONNX file opened by ONNX Runtime: its inputs, its outputs, and what it says of itself.

    Raises ModelError if the file is no ONNX file, is damaged, or has weights outside its folder.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, device: str = "cpu"):
        self.path = Path(path)
        require_onnx(self.path)
        runtime = _runtime()
        graph = _graph_of(self.path)
        self.beside = _weights_beside(self.path, graph)
        reads([self.path, *self.beside])
        options = runtime.SessionOptions()
        options.intra_op_num_threads = processors() if threads is None else threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters is raised
        providers = _providers(runtime, device)
        try:
            self._session = runtime.InferenceSession(
                str(self.path), sess_options=options, providers=providers
            )
        except Exception as error:  # ONNX Runtime has a class for each kind, under no common one
            raise ModelError(
                f"{self.path}: ONNX Runtime cannot open it ({_reason(error)}). Export it again, "
                "with the operators of ONNX alone."
            ) from error
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))
        self._makers = {name: node for node in graph.graph.node for name in node.output}

    @property
    def metadata(self) -> dict[str, str]:
        """Free entries of the file, by key."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def own_spec(self) -> Spec | None:
        """The spec that `hurdles export` wrote into the file, or None."""
        text = self.metadata.get(SPEC_KEY)
        if text is None:
            return None
        try:
            plain = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{self.path}: the spec in it is not valid TOML: {error}.") from error
        return Spec.parse(plain, f"{self.path} (the spec in it)")

    def last_operator(self, output: str) -> str:
        """Return the operator that makes an output, such as Softmax; what reshapes is passed."""
        node = self._makers.get(output)
        for _ in range(len(self._makers)):
            if node is None or node.op_type not in _PASSING:
                break
            node = self._makers.get(node.input[0])
        return "" if node is None else str(node.op_type)

    def run(self, outputs: Sequence[str], name: str, batch: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the values of some outputs for one batch."""
        from concurrent.futures import ThreadPoolExecutor

        options = _runtime().RunOptions()
        try:
            # Within ONNX Runtime no signal is handled: in a thread of its own it can be ended.
            with ThreadPoolExecutor(1) as pool:
                try:  # from here on: an interrupt while it begins must end it, too
                    answer = pool.submit(self._session.run, list(outputs), {name: batch}, options)
                    return [np.asarray(each) for each in answer.result()]
                except BaseException:
                    options.terminate = True
                    raise
        except Exception as error:  # as above
            raise ModelError(
                f"{self.path}: the model cannot answer a batch of shape {batch.shape} "
                f"({_reason(error)}). Look at size, channels and layout of the spec."
            ) from error


def _runtime() -> Any:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        missing = error.name or "onnxruntime"
        raise ModelError(
            f"ONNX files need {missing}, which is not installed: {_INSTALL}."
        ) from error
    del onnx
    return onnxruntime


def _providers(runtime: Any, device: str) -> list[str]:
    if device not in ("cpu", "cuda"):
        raise ModelError(f"device is {device!r}; known: cpu, cuda.")
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        raise ModelError(
            "this ONNX Runtime has no CUDA: pip install onnxruntime-gpu in place of onnxruntime, "
            "or ask it on the processor."
        )
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _graph_of(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own kinds, under no common one
        raise ModelError(
            f"{path} is damaged or no ONNX file ({_reason(error)}); copy or export it again."
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{path} is no ONNX model: it holds no network. Export it again.")
    return model


def _weights_beside(path: Path, model: onnx.ModelProto) -> tuple[Path, ...]:
    """Return the files of weights that a model names; one outside its own folder is refused."""
    import onnx

    folder = path.resolve().parent
    places = {}
    for tensor in _tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        place = _resolved(path.parent, location)
        if place is None or not place.is_relative_to(folder):
            raise ModelError(
                f"{path} wants weights from {shown(location[:100])!r}, outside its own folder; "
                "hurdles reads them from beside the file alone. Export it again with its weights "
                "in it (external_data=False)."
            )
        places[location] = place
    missing = [name for name, place in places.items() if not place.is_file()]
    if missing:
        raise ModelError(
            f"{path}: its weights {shown(missing[0])!r} are not beside it; copy them there, or "
            "export it again with its weights in it (external_data=False)."
        )
    return tuple(places[name] for name in sorted(places))


def _resolved(folder: Path, location: str) -> Path | None:
    """Return the place of a file named within a folder; None where the name cannot be one there."""
    if not location or Path(location).is_absolute():
        return None
    try:
        place = (folder / location).resolve()
        place.is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return None
    return place


def _tensors(model: onnx.ModelProto) -> Iterator[Any]:
    """Yield every tensor of a model, also those within loops, branches and functions."""
    graphs: list[Any] = [model.graph]
    nodes: list[Any] = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            inner = [attribute.g] if attribute.HasField("g") else []
            graphs.extend([*inner, *attribute.graphs])


def _port(raw: Any) -> Port:
    sides = tuple(side if isinstance(side, int) and side > 0 else None for side in raw.shape or ())
    return Port(raw.name, raw.type, sides)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0])[:300].rstrip(".") if lines else type(error).__name__
