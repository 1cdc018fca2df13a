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
_MODEL, _BEST, _OPTIMISER = "model/", "best/", "optimiser/"


@dataclass
class TrainingState:
    """Everything that the rest of a training depends on.

    Parameters
    ----------
    epoch, step : int
        Position: epochs count from 1, `step` is the number of steps done in that epoch.
    sums : list of float
        Loss and right answers summed over the epoch's samples so far, samples seen, seconds.
    rows : list of dict
        The finished epochs, as in `hurdles.training.history.COLUMNS`.
    best : dict of str to Tensor
        Weights of the best epoch so far; empty before the first validation.
    scaling : list of float
        Mean and standard deviation that the network takes off: with them, a training that started
        from another run's weights goes on without that run.
    group_weights : list of float
        Weights of the groups so far, where the recipe has group DRO; empty otherwise.
    """

    epoch: int = 1
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    scaling: list[float] = field(default_factory=lambda: [0.0, 1.0])
    group_weights: list[float] = field(default_factory=list)

    def save(
        self, path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, identity: str
    ) -> None:
        """Write the state, whole or not at all; `identity` says which training it belongs to."""
        tensors = {_MODEL + k: v for k, v in module.state_dict().items()}
        tensors |= {_BEST + k: v for k, v in self.best.items()}
        for index, parameter in enumerate(_parameters(optimiser)):
            for name, value in optimiser.state.get(parameter, {}).items():
                tensors[f"{_OPTIMISER}{index}/{name}"] = value
        position = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "best"}
        meta = {"identity": identity, "position": json.dumps(position)}
        save_weights(path, tensors, meta)

    @classmethod
    def load(
        cls, path: Path, module: nn.Module, optimiser: torch.optim.Optimizer, identity: str
    ) -> TrainingState:
        """Put a saved state back into `module` and `optimiser`, bit for bit."""
        tensors, meta = load_weights(path)
        if meta.get("identity") != identity:
            raise RunError(
                f"{path} belongs to another training: recipe, data, thread count or torch "
                "version differ. Resume with what it was started with, or start a new folder."
            )
        _restore(tensors, module, optimiser)
        best = {k.removeprefix(_BEST): v for k, v in tensors.items() if k.startswith(_BEST)}
        return cls(best=best, **json.loads(meta["position"]))

    @staticmethod
    def scaling_in(path: Path) -> list[float]:
        """Return a saved state's `scaling`, which its network is built with."""
        position = json.loads(load_metadata(path).get("position", "{}"))
        return list(position.get("scaling", TrainingState().scaling))


def save_weights(path: Path, weights: dict[str, torch.Tensor], meta: dict[str, str]) -> None:
    """Write weights and what they need to be fed rightly into one safetensors file."""
    from safetensors.torch import save

    tensors = {k: _plain(v) for k, v in weights.items()}
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
        raise RunError(f"{path} is missing; the run was not finished. Finish it with --resume.")
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
        found = json.loads(text)
        return {str(k): str(v) for k, v in found["meta"].items()}, str(found["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "its description cannot be read") from error


def _digest(tensors: dict[str, torch.Tensor], meta: dict[str, str]) -> str:
    """Return the hash of names, types, shapes and values, and of what goes with them."""
    import torch

    found = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _damaged(path: Path, why: str) -> RunError:
    return RunError(
        f"{path} is damaged, or holds no weights ({why}). Restore it, or make what it belongs to "
        "again in another folder."
    )


def _parameters(optimiser: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    # safetensors stores contiguous memory; the copy also keeps shared storage apart.
    return tensor.detach().cpu().contiguous().clone()


def _restore(
    tensors: dict[str, torch.Tensor], module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    import torch

    # load_state_dict and copy_ keep the memory layout of the target: a fused optimiser walks
    # parameter and moments in step and must find them laid out alike.
    module.load_state_dict(
        {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    )
    for index, parameter in enumerate(_parameters(optimiser)):
        prefix = f"{_OPTIMISER}{index}/"
        for key, value in tensors.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                if value.shape == parameter.shape:
                    moment = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                    optimiser.state[parameter][name] = moment.copy_(value)
                else:
                    optimiser.state[parameter][name] = value.to(parameter.device)
