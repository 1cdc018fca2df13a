"""The state of an unfinished training: one safetensors file, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hurdles.data.files import write_bytes
from hurdles.errors import RunError

if TYPE_CHECKING:
    import torch
    from torch import nn

# The one entry of the metadata.
_KEY = "sealed"
_BEGIN = '{"meta": {'
_MODEL, _BEST, _OPTIMIZER = "model/", "best/", "optimiser/"


@dataclass
class TrainingState:
    """Everything that the rest of a training depends on."""

    epoch: int = 1  # of those that count from 1
    step: int = 0  # steps done in that epoch
    #: Loss and right answers summed over the epoch's samples so far, samples seen, seconds.
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    #: The finished epochs, as in `hurdles.training.history.COLUMNS`.
    rows: list[dict[str, Any]] = field(default_factory=list)
    #: Weights of the best epoch so far; empty before the first validation.
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    #: Mean and standard deviation that the network takes off: with them, a training that started
    #: from another run's weights goes on without that run.
    scaling: list[float] = field(default_factory=lambda: [0.0, 1.0])
    #: Weights of the groups so far, where the recipe has group DRO; empty otherwise.
    group_weights: list[float] = field(default_factory=list)

    def save(
        self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, identity: str
    ) -> None:
        """Write the state, whole or not at all; `identity` says which training it belongs to."""
        tensors = {_MODEL + k: v for k, v in module.state_dict().items()}
        tensors |= {_BEST + k: v for k, v in self.best.items()}
        for prefix, parameter in _parameters(optimizer):
            for name, value in optimizer.state.get(parameter, {}).items():
                tensors[prefix + name] = value
        position = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "best"}
        meta = {"identity": identity, "position": json.dumps(position)}
        save_weights(path, tensors, meta)

    @classmethod
    def load(
        cls, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, identity: str
    ) -> TrainingState:
        """Put a saved state back into `module` and `optimizer`, bit for bit."""
        tensors, meta = load_weights(path)
        if meta.get("identity") != identity:
            raise RunError(
                f"{path} belongs to another training: recipe, data, thread count, version of "
                "hurdles or torch, or the processor's instructions differ. Resume with what it was "
                "started with, or start a new folder."
            )
        _restore(tensors, module, optimizer)
        best = {k.removeprefix(_BEST): v for k, v in tensors.items() if k.startswith(_BEST)}
        return cls(best=best, **json.loads(meta["position"]))

    @staticmethod
    def scaling_in(path: Path) -> list[float]:
        """Return a saved state's `scaling`, which its network is built with."""
        position = json.loads(load_metadata(path).get("position", "{}"))
        return list(position.get("scaling", TrainingState().scaling))


def _restore(
    tensors: dict[str, torch.Tensor], module: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    import torch

    # load_state_dict and copy_ keep the memory layout of the target: a fused optimizer walks
    # parameter and moments in step and must find them laid out alike.
    module.load_state_dict(
        {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    )
    for prefix, parameter in _parameters(optimizer):
        for key, value in tensors.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                if value.shape == parameter.shape:
                    moment = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    optimizer.state[parameter][name] = moment.copy_(value)
                else:
                    optimizer.state[parameter][name] = value.to(parameter.device)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the optimizer's parameters, each with the beginning of its entries' names."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        yield f"{_OPTIMIZER}{index}/", parameter


def save_weights(path: Path, weights: dict[str, torch.Tensor], meta: dict[str, str]) -> None:
    """Write weights and what they need to be fed rightly into one safetensors file."""
    from safetensors.torch import save

    # safetensors stores contiguous memory; the copy also keeps shared storage apart.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    # One entry: safetensors writes several in an order that changes from process to process.
    text = json.dumps({"meta": meta, "sha256": _digest(tensors, meta)}, sort_keys=True)
    write_bytes(path, save(tensors, metadata={_KEY: text}))


def load_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `save_weights` wrote: the weights and their metadata."""
    with _opened(path) as file:  # it has keys() but no iterator
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 - no mapping
        meta, digest = _described(path, file.metadata() or {})
    if digest and digest != _digest(tensors, meta):
        raise _damaged(path, "its checksum is another")
    return tensors, meta


def load_metadata(path: Path) -> dict[str, str]:
    """Read the metadata that `save_weights` wrote, and no tensor; errors as for `load_weights`."""
    with _opened(path) as file:
        return _described(path, file.metadata() or {})[0]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise RunError.missing(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from error


def _described(path: Path, written: dict[str, str]) -> tuple[dict[str, str], str]:
    """Return the metadata and the checksum; files of other programs and versions have none."""
    text = written.get(_KEY)
    if text is None:
        if any(other.startswith(_BEGIN) for other in written.values()):
            raise _damaged(path, "its description cannot be read")
        return written, ""
    try:
        plain = json.loads(text)
        return {str(k): str(v) for k, v in plain["meta"].items()}, str(plain["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "its description cannot be read") from error


def _digest(tensors: dict[str, torch.Tensor], meta: dict[str, str]) -> str:
    """Return the hash of names, types, shapes and values, and of what goes with them."""
    import torch

    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> RunError:
    return RunError(
        f"{path} is damaged, or holds no weights ({why}). Restore it, or make what it belongs to "
        "again in another folder."
    )
