"""Engines: ways to take prepared images through a run's encoder, each held against torch.

The reference is torch in float32, in which every reported number is computed. Another engine is
believed only after it has answered the first of the images as torch does; what was chosen, and how
far it is from torch, goes along with the answers. How fast an engine is on this processor, with
these versions, is measured once for an architecture and remembered in the cache: the clock decides
once, and a repeat has the same bits.

The last layers, from features to logits, are torch's in float32 whatever the engine.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles._version import __version__
from hurdles.data.files import read_sealed, write_bytes, write_sealed
from hurdles.errors import ModelError, RegistryError
from hurdles.pixels.cache import cache_folder
from hurdles.progress import Options
from hurdles.recipe.choices import Precision
from hurdles.registry import Registry
from hurdles.runs.export import exported
from hurdles.training.machine import environment, this_machine
from hurdles.training.prediction import answers_and_features

if TYPE_CHECKING:
    import torch

    from hurdles.evaluation.decisions import Threshold
    from hurdles.models.network import Network

#: From images, float32 (n, 1, size, size) within [0, 1], to what the head is given.
Encode: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"

#: The reference, and two words that are no engine's name: the fastest of those in float32 for so
#: many images, its setup counted; the fastest of all, however long it takes to set up.
REFERENCE, AUTO, FASTEST = "torch", "auto", "fastest"

#: Largest difference of a probability from torch in float32 that is accepted: of an engine that
#: computes in float32 too, and of one in bfloat16, which is taken only where it was asked for.
TOLERANCE, REDUCED_TOLERANCE = 1e-4, 1e-2
#: Images that an engine and torch both answer before torch is asked no longer: the first of a call,
#: and of as many calls as it takes.
_CHECKED = 16
#: Below so many images no engine is tried for the first time: that takes longer than the answers.
_WORTH_TRYING = 1000
#: Seconds for which an engine is timed, the first answer not counted.
_SECONDS = 1.0
_FOLDER = "engines"


class Work:
    """A network to be answered by an engine, and its ONNX file, which the cache keeps."""

    def __init__(self, network: Network, cache: Path) -> None:
        self.network = network
        self._cache = cache
        #: Seconds that the export took, if it was made here.
        self.export_s = 0.0

    @cached_property
    def threads(self) -> int:
        """Threads that an engine may use: torch's."""
        import torch

        return torch.get_num_threads()

    @cached_property
    def onnx(self) -> bytes:
        """The network as ONNX, exported once for these weights and versions."""
        with contextlib.suppress(OSError):
            kept = self.file.read_bytes()
            if hashlib.sha256(kept[32:]).digest() == kept[:32]:  # damaged files are made anew
                return kept[32:]
        began = time.perf_counter()
        content = exported(self.network)
        self.export_s = time.perf_counter() - began
        with contextlib.suppress(OSError):  # a folder that is full, or only to be read
            write_bytes(self.file, hashlib.sha256(content).digest() + content)
        return content

    @cached_property
    def file(self) -> Path:
        """Place of the export of these weights."""
        digest = hashlib.sha256(f"{__version__} {_versions()} {self.network.spec}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return self._cache / f"{digest.hexdigest()[:32]}.onnx"


@dataclass(frozen=True)
class Engine:
    """A way to run an encoder: what makes it of a network, and what it needs to be there."""

    make: Callable[[Work], Encode]
    packages: tuple[str, ...] = ()
    number_format: str = "float32"

    @property
    def tolerance(self) -> float:
        """Largest difference of a probability from torch in float32 that is accepted."""
        return TOLERANCE if self.number_format == "float32" else REDUCED_TOLERANCE

    def absence(self) -> str:
        """Return what it needs and is not here, or nothing."""
        absent = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if absent:
            return f"not installed: {', '.join(absent)}"
        if self.number_format == "bfloat16" and not _has_bfloat16():
            return "this processor has no instructions for bfloat16"
        return ""


ENGINES: Registry[Engine] = Registry("engine")


@ENGINES.register(REFERENCE)
@Engine
def _torch(work: Work) -> Encode:
    return work.network.features


def _onnxruntime(work: Work) -> Encode:
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = work.threads, 1
    options.log_severity_level = 4  # what matters is raised
    session = onnxruntime.InferenceSession(
        work.onnx, sess_options=options, providers=["CPUExecutionProvider"]
    )
    return lambda images: torch.from_numpy(session.run(["features"], {"image": images.numpy()})[0])


ENGINES.register("onnxruntime")(Engine(_onnxruntime, ("onnx", "onnxscript", "onnxruntime")))


def _openvino(work: Work, number_format: str = "f32") -> Encode:
    import openvino
    import torch

    # From ONNX: `openvino.convert_model` would report each conversion to its makers, unasked.
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": number_format,
        "INFERENCE_NUM_THREADS": work.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(work.onnx), "CPU", settings)
    request = model.create_infer_request()
    features = model.output("features")

    def encode(images: torch.Tensor) -> torch.Tensor:
        # A copy: the request writes its next answer to the same place.
        return torch.from_numpy(np.array(request.infer([images.numpy()])[features]))

    return encode


_OPENVINO = ("onnx", "onnxscript", "openvino")
ENGINES.register("openvino")(Engine(_openvino, _OPENVINO))


def _in_bfloat16(work: Work) -> Encode:
    import torch

    network = copy.deepcopy(work.network).to(torch.bfloat16)
    # mypy does not know this keyword of Module.to.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # stubs
    return lambda images: network.features(images.to(torch.bfloat16)).float()


ENGINES.register("torch-bfloat16")(Engine(_in_bfloat16, number_format="bfloat16"))
ENGINES.register("openvino-bfloat16")(
    Engine(lambda work: _openvino(work, "bf16"), _OPENVINO, "bfloat16")
)


# --- the choice ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """An engine at work: how far it was from torch on so many images, and who was passed over."""

    name: str
    encode: Encode
    difference: float = 0.0
    n_images: int = 0
    passed_over: Mapping[str, str] = field(default_factory=dict)

    @property
    def tolerance(self) -> float:
        """Largest difference of a probability from torch in float32: 0 for itself."""
        return 0.0 if self.name == REFERENCE else ENGINES.get(self.name).tolerance

    def answers(
        self, network: Network, pixels: NDArray[np.uint8], threshold: Threshold | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return probabilities and features; where a class is at stake, those of the reference.

        That is so close to the threshold, or to another class, that the tolerance could name
        another class than torch in float32 does.
        """
        raw, features = answers_and_features(network, pixels, encode=self.encode)
        if threshold is None:
            second, first = np.sort(raw, axis=1)[:, -2:].T
            close = ~(first - second >= 2 * self.tolerance)  # also where one is no number
        else:
            positive = raw[:, network.spec.labels.index(threshold.positive)]
            close = ~(np.abs(positive - threshold.value) >= self.tolerance)
        if close.any():
            raw[close], features[close] = answers_and_features(network, pixels[close])
        return raw, features

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "name": self.name,
            "number_format": ENGINES.get(self.name).number_format,
            "versions": _versions(self.name),
            "largest_difference": self.difference,
            "tolerance": self.tolerance,
            "n_images": self.n_images,
            "passed_over": dict(self.passed_over),
        }

    def lines(self) -> list[str]:
        """Return the engine in words, and each that failed."""
        engine = ENGINES.get(self.name)
        if self.name == REFERENCE:
            words = "Answered by torch in float32, as in hurdles evaluate."
        else:
            images = f"{self.n_images} images" if self.n_images > 1 else "image"
            words = (
                f"Answered by {self.name} ({_versions(self.name)}) in {engine.number_format}: on "
                f"the first {images} its probabilities differ from torch's in float32 "
                f"by {self.difference:.2g} at most ({self.tolerance:g} is allowed); where that "
                "could change the class, torch answered."
            )
        failed = [f"Engine {name} was passed over: {why}" for name, why in self.passed_over.items()]
        return [words, *failed]


class Engines:
    """The engines for one network: timed once here, made when needed, each held against torch."""

    def __init__(self, network: Network, wanted: str, options: Options) -> None:
        self.network, self.wanted = network, check_name(wanted)
        self._listener = options.listener
        self._folder = cache_folder(options.cache) / _FOLDER
        self._made: dict[str, Encode] = {}
        #: Those that have answered. Not those that were only timed: a repeat, which finds the times
        #: in the cache, is to choose as the first call did.
        self._used: set[str] = set()
        #: Of each engine, how far it was from torch at most, on how many images.
        self._held: dict[str, tuple[float, int]] = {}
        self._failed: dict[str, dict[str, Any]] = {}
        self._work = Work(network, self._folder)

    def chosen(self, pixels: NDArray[np.uint8], n: int) -> Chosen:
        """Return an engine for `n` images, held against torch on the first of them, `pixels`.

        One that fails or answers otherwise is named, and the next is taken; one that was asked for
        by name raises a ModelError then. Call after call, an engine that has answered enough images
        as torch does is not compared any more: of single images that would double the time.
        """
        passed: dict[str, str] = {}
        for name in self._in_order(pixels, n, passed):
            if name == REFERENCE:
                return Chosen(name, self.network.features, passed_over=passed)
            try:
                encode = self._ready(name)
                difference, held = self._compared(name, encode, pixels)
                if difference <= ENGINES.get(name).tolerance:  # not where it is no number
                    self._used.add(name)
                    return Chosen(name, encode, difference, held, passed)
                passed[name] = f"it differs from torch by {difference:.2g} in a probability."
            except Exception as error:  # libraries have classes of their own, under no common one
                passed[name] = _reason(error)
        why = passed.get(self.wanted, "no engine is left.")
        raise ModelError(
            f"engine {self.wanted!r} cannot be used: {why} "
            f"Choose another: {', '.join([AUTO, FASTEST, *ENGINES])}."
        )

    def _compared(self, name: str, encode: Encode, pixels: NDArray[np.uint8]) -> tuple[float, int]:
        """Return how far an engine is from torch at most, and on how many images so far."""
        difference, held = self._held.get(name, (0.0, 0))
        if held < _CHECKED:
            some = pixels[: _CHECKED - held]
            expected, _ = answers_and_features(self.network, some)
            answers, _ = answers_and_features(self.network, some, encode=encode)
            # NumPy's: what is no number stays none.
            difference = float(np.maximum(difference, np.abs(answers - expected).max()))
            self._held[name] = difference, held + len(some)
        return self._held[name]

    def times(self, pixels: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
        """Return of every engine that can be had here how many images a second it answers.

        Measured now unless it is remembered, together with the seconds until it is ready; of one
        that fails the error instead.
        """
        return self._timed(self._candidates(), pixels, is_tried=True)

    def _in_order(self, pixels: NDArray[np.uint8], n: int, passed: dict[str, str]) -> Iterator[str]:
        """Yield the names of the engines to try, the best first."""
        if self.wanted not in (AUTO, FASTEST):
            if absence := ENGINES.get(self.wanted).absence():
                passed[self.wanted] = f"{absence}."
                return
            yield self.wanted
            return
        names = self._candidates()
        if len(names) > 1:
            batch = 1 if n == 1 else 32
            some = pixels[np.arange(batch) % len(pixels)]
            timed = self._timed(names, some, is_tried=self._tries(n))
            passed |= {name: str(t["error"]) for name, t in timed.items() if "error" in t}
            names = [name for name in names if "images_per_s" in timed.get(name, {})]

            def seconds(name: str) -> float:
                took, setup = timed[name], 0.0
                if self.wanted == AUTO and name not in self._used:
                    setup = took["ready_s"]
                    if took["export_s"] and not self._work.file.is_file():
                        setup += took["export_s"]
                return float(setup + n / took["images_per_s"])

            names.sort(key=seconds)
        yield from names if REFERENCE in names else [*names, REFERENCE]

    def _tries(self, n: int) -> bool:
        return self.wanted == FASTEST or n >= _WORTH_TRYING

    def _candidates(self) -> list[str]:
        """Return the engines that can be had here; on a GPU that is torch."""
        if this_machine("float32").device.type != "cpu":
            return [REFERENCE]
        engines = {name: ENGINES.get(name) for name in ENGINES}
        return [
            name
            for name, engine in engines.items()
            if not engine.absence() and (self.wanted == FASTEST or engine.tolerance == TOLERANCE)
        ]

    @property
    def _architecture(self) -> str:
        """The network's name, and of how many, where several answer as one."""
        members = getattr(self.network, "members", ())
        return f"{self.network.spec.architecture}{f' x {len(members)}' if members else ''}"

    def _timed(
        self, names: list[str], pixels: NDArray[np.uint8], *, is_tried: bool
    ) -> dict[str, dict[str, Any]]:
        """Return how long each engine takes, as measured now or, with these versions, before."""
        file = self._folder / "timed.json"
        spec, here = self.network.spec, environment()
        key = " | ".join(
            f"{part}"
            for part in (here["processor"], here["threads"], __version__, _versions(),
                         this_machine("float32").instructions, self._architecture, spec.size,
                         "one" if len(pixels) == 1 else "many")
        )  # fmt: skip
        known = read_sealed(file) or {}
        timed: dict[str, dict[str, Any]] = {**known.get(key, {}), **self._failed}
        missing = [name for name in names if name not in timed] if is_tried else []
        if missing:
            self._listener.say(f"timing what could answer: {', '.join(missing)}")
            for name in missing:
                timed[name] = self._measured(name, pixels)
            # A failure may be that of these weights, or of memory that was short: it is not kept.
            self._failed = {name: took for name, took in timed.items() if "error" in took}
            kept = {name: took for name, took in timed.items() if name not in self._failed}
            known = read_sealed(file) or {}  # another process may have added to it
            with contextlib.suppress(OSError):  # a cache that cannot be written is timed again
                write_sealed(file, {**known, key: {**known.get(key, {}), **kept}})
        return timed

    def _measured(self, name: str, pixels: NDArray[np.uint8]) -> dict[str, Any]:
        began, is_first = time.perf_counter(), not self._work.export_s
        try:
            encode = self._ready(name)
            answers_and_features(self.network, pixels, encode=encode)
        except Exception as error:  # as above
            return {"error": _reason(error)}
        ready = time.perf_counter() - began
        # Those after the first found the export made; for another run it has to be made again.
        export = self._work.export_s if "onnx" in ENGINES.get(name).packages else 0.0
        ready = max(0.0, ready - export) if is_first else ready
        taken: list[float] = []
        while len(taken) < 2 or sum(taken) < _SECONDS:
            began = time.perf_counter()
            answers_and_features(self.network, pixels, encode=encode)
            taken.append(time.perf_counter() - began)
        # The shortest: whatever else the machine does makes a turn longer, never shorter.
        speed = len(pixels) / min(taken)
        return {"ready_s": ready, "export_s": export, "images_per_s": speed}

    def _ready(self, name: str) -> Encode:
        if name not in self._made:
            self._made[name] = ENGINES.get(name).make(self._work)
        return self._made[name]


def check_name(wanted: str) -> str:
    """Return the name of an engine, or one of the two words; an unknown one raises."""
    if wanted not in (AUTO, FASTEST, *ENGINES):
        known = ", ".join([AUTO, FASTEST, *ENGINES])
        raise RegistryError(f"no engine is called {wanted!r}. Known: {known}.")
    return wanted


def _has_bfloat16() -> bool:
    import torch

    return this_machine(Precision.AUTO).dtype is torch.bfloat16


def _versions(name: str | None = None) -> str:
    """Return the versions of an engine's packages, or of all that any engine needs."""
    engines = [ENGINES.get(name)] if name else [ENGINES.get(each) for each in ENGINES]
    packages = dict.fromkeys(["torch", *(p for engine in engines for p in engine.packages)])
    installed = [p for p in packages if importlib.util.find_spec(p) is not None]
    return ", ".join(f"{package} {metadata.version(package)}" for package in installed)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'without a word'}"
