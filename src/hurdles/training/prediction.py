"""From prepared pixels to probabilities, and to what a network's head sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.progress import Progress, Silent
from hurdles.training.machine import Machine, this_machine

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

__all__ = ["as_input", "embed", "probabilities"]


def as_input(pixels: NDArray[np.uint8], device: torch.device | str = "cpu") -> torch.Tensor:
    """Return prepared pixels as a network takes them.

    Parameters
    ----------
    pixels : uint8 array of shape (n, size, size)
    device : torch.device or str
        Where the tensor is to live; the bytes travel, not the floats.

    Returns
    -------
    float32 tensor of shape (n, 1, size, size), within [0, 1]
    """
    import torch

    # A copy: pixels may be a read-only memory map, which torch would warn about.
    batch = torch.from_numpy(np.array(pixels, order="C")).to(device)
    grey = batch.unsqueeze(1).float().div_(255.0)
    return grey.contiguous(memory_format=torch.channels_last)


def probabilities(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    machine: Machine | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """Return the probability of every class for every image; dropout is off.

    Parameters
    ----------
    network : Network
        On the device of `machine`; left in the mode in which it came.
    pixels : uint8 array of shape (n, size, size)
    machine : Machine, optional
        Default: this machine in float32, which is what reported numbers are computed in.
    batch_size : int
        Images at once.
    progress : Progress, optional
        Who listens.

    Returns
    -------
    float64 array of shape (n, len(network.spec.labels)), rows summing to one
    """
    found = _asked(network, network, pixels, machine, batch_size, progress)
    parts = [logits.double().softmax(1).cpu().numpy() for logits in found]
    return np.concatenate(parts) if parts else np.empty((0, len(network.spec.labels)))


def embed(
    network: Network,
    pixels: NDArray[np.uint8],
    *,
    machine: Machine | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Return the features of every image: what the network's head is given; dropout is off.

    Parameters
    ----------
    network : Network
        On the device of `machine`; left in the mode in which it came.
    pixels : uint8 array of shape (n, size, size), n at least 1
    machine : Machine, optional
        Default: this machine in float32, as for probabilities.
    batch_size : int
        Images at once.
    progress : Progress, optional
        Who listens; is advanced, not started.

    Returns
    -------
    float32 array of shape (n, D)

    Raises
    ------
    RecipeError
        If the images have another size than the network's.
    ValueError
        If there is no image.
    """
    if not len(pixels):
        raise ValueError("there is no image to embed; give at least one.")
    found = _asked(network, network.features, pixels, machine, batch_size, progress)
    return np.concatenate([features.float().flatten(1).cpu().numpy() for features in found])


def _asked(
    network: Network,
    ask: Callable[[torch.Tensor], torch.Tensor],
    pixels: NDArray[np.uint8],
    machine: Machine | None,
    batch_size: int,
    progress: Progress | None,
) -> Iterator[torch.Tensor]:
    """Yield what `ask` says of every batch, in evaluation mode and without gradients."""
    import torch

    machine = machine or this_machine("float32")
    listener = progress or Silent()
    was_training = network.training
    network.eval()
    try:
        for start in range(0, len(pixels), batch_size):
            chunk = pixels[start : start + batch_size]
            # Entered for each batch: a generator must not keep its caller in this mode.
            with torch.inference_mode(), machine.mixed():
                said = ask(as_input(chunk, machine.device))
            yield said
            listener.advance(len(chunk))
    finally:
        network.train(was_training)
