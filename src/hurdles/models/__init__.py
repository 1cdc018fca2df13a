"""The networks by name, and how one is built from the spec that goes with its weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from hurdles.models.spec import ModelSpec
from hurdles.registry import Registry

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

__all__ = ["NETWORKS", "ModelSpec", "architectures", "build"]

#: A registered network: made from a spec, its weights drawn from the generator.
Builder: TypeAlias = "Callable[[ModelSpec, torch.Generator], Network]"

#: Networks by name. Read it through `architectures` or `build`, which import the networks first.
NETWORKS: Registry[Builder] = Registry("network")


def architectures() -> list[str]:
    """Return the names of all registered networks, sorted.

    ``efficientnet-lite0`` is listed even where its package is not installed; `build` says so then.

    Examples
    --------
    >>> architectures()[:4]
    ['baseline', 'covid-net', 'densenet-121', 'efficientnet-lite0']
    """
    _register()
    return sorted(NETWORKS.names())


def build(spec: ModelSpec, *, seed: int) -> Network:
    """Return the network of `spec` with fresh weights, in training mode, on the CPU.

    Parameters
    ----------
    spec : ModelSpec
    seed : int
        Decides every weight. The state of torch's global generators is left as it was.

    Raises
    ------
    RegistryError
        If no network has that name.
    RecipeError
        If the network cannot be made for that size.

    Examples
    --------
    >>> network = build(ModelSpec("baseline", ("COVID-19", "Normal", "Pneumonia")), seed=0)
    >>> sum(p.numel() for p in network.parameters())
    6515459
    """
    import torch

    _register()
    builder = NETWORKS.get(spec.architecture)
    generator = torch.Generator().manual_seed(seed)
    # torch's constructors draw from the global generator even where the weights are drawn again.
    # Only the CPU's is forked: torch.manual_seed would reseed the accelerators as well.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return builder(spec, generator)


def _register() -> None:
    """Import the module whose decorators fill `NETWORKS`; here, because it imports torch."""
    import_module("hurdles.models.catalog")
