"""From prepared pixels to what a network's head sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.training.machine import Machine, this_machine
from hurdles.training.prediction import as_input
from hurdles.training.progress import Progress, Silent

if TYPE_CHECKING:
    from hurdles.models.network import Network

__all__ = ["embed"]


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
    import torch

    if not len(pixels):
        raise ValueError("there is no image to embed; give at least one.")
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
                    features = network.features(as_input(chunk, machine.device))
                parts.append(features.float().flatten(1).cpu().numpy())
                listener.advance(len(chunk))
    finally:
        network.train(was_training)
    return np.concatenate(parts)
