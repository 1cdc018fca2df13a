"""From prepared pixels to probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.training.machine import Machine, this_machine
from hurdles.training.progress import Progress, Silent

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

__all__ = ["as_input", "probabilities"]


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
    import torch

    machine = machine or this_machine("float32")
    listener = progress or Silent()
    was_training = network.training
    network.eval()
    parts = []
    try:
        with torch.inference_mode():
            for start in range(0, len(pixels), batch_size):
                chunk = pixels[start : start + batch_size]
                with machine.mixed():
                    logits = network(as_input(chunk, machine.device))
                parts.append(logits.double().softmax(1).cpu().numpy())
                listener.advance(len(chunk))
    finally:
        network.train(was_training)
    if not parts:
        return np.empty((0, len(network.spec.labels)))
    return np.concatenate(parts)
