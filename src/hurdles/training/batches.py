"""Batches of altered images: drawn alterations applied, as a network takes them.

On a processor OpenCV alters one image after the other. An accelerator would wait for that, so there
the pixels stay on the device and a whole batch is altered at once, by one bilinear sampling; single
gray levels differ from OpenCV's, whose weights have 5 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from hurdles.training.growth import area_means, taken
from hurdles.training.machine import Machine
from hurdles.training.prediction import as_input

if TYPE_CHECKING:
    import torch


class Batches(Protocol):
    """A source of batches: draws (`hurdles.pixels.perturb.DRAW`) in, input of a network out."""

    def __call__(self, draws: NDArray[np.void], side: int) -> torch.Tensor:
        """Return float32 (n, 1, side, side) within [0, 1], on the device."""


def batches_of(
    pixels: NDArray[np.uint8], positions: NDArray[np.int64], machine: Machine
) -> Batches:
    """Return the source of batches for this machine; draws name only such positions."""
    if machine.device.type == "cuda" and _fits(len(positions) * pixels[:1].nbytes, machine):
        return DeviceBatches(pixels, positions, machine.device)
    return lambda draws, side: as_input(taken(pixels, draws, side), machine.device)


#: Share of an accelerator's memory that pixels may take; the rest is for the network.
_SHARE = 0.25


def _fits(size: int, machine: Machine) -> bool:
    """Tell whether so many bytes may stay on the device, by all of its memory, free or not."""
    import torch

    return size <= _SHARE * torch.cuda.get_device_properties(machine.device).total_memory


class DeviceBatches:
    """Pixels that stay on a device, altered there a batch at a time."""

    def __init__(
        self, pixels: NDArray[np.uint8], positions: NDArray[np.int64], device: torch.device
    ) -> None:
        import torch

        kept = np.unique(positions)
        self._row = np.full(len(pixels), -1, dtype=np.int64)
        self._row[kept] = np.arange(len(kept))
        self._pixels = torch.from_numpy(np.ascontiguousarray(pixels[kept])).to(device)
        self._device = device

    def __call__(self, draws: NDArray[np.void], side: int) -> torch.Tensor:
        """Return the altered images; see `hurdles.training.growth.taken`, their slow twin."""
        import torch

        rows = torch.from_numpy(self._row[draws["position"]]).to(self._device)
        images = self._pixels[rows].unsqueeze(1).float()
        if side < images.shape[-1]:
            means = torch.from_numpy(area_means(images.shape[-1], side)).to(self._device)
            images = (means @ images @ means.T).round_()
        moves = ("degrees", "shift_x", "shift_y", "growth")
        if any(draws[name].any() for name in moves):
            images = self._moved(images, draws)
        if draws["contrast"].any() or draws["brightness"].any():
            contrast, brightness = (self._column(draws[n]) for n in ("contrast", "brightness"))
            images = ((images - 127.5) * (1 + contrast) + 127.5 + 255 * brightness).round_()
            images = images.clamp_(0, 255)
        if draws["flip"].any():
            flip = torch.from_numpy(draws["flip"].copy()).to(self._device).view(-1, 1, 1, 1)
            images = torch.where(flip, images.flip(3), images)
        return images.div_(255.0).contiguous(memory_format=torch.channels_last)

    def _moved(self, images: torch.Tensor, draws: NDArray[np.void]) -> torch.Tensor:
        import torch

        size = images.shape[-1]
        angle = torch.deg2rad(self._column(draws["degrees"]))
        cos, sin = angle.cos(), angle.sin()
        scale = (cos.abs() + sin.abs()) * (1 + self._column(draws["growth"]))
        right, down = (size * self._column(draws[n]) for n in ("shift_x", "shift_y"))
        # From each pixel of the result back to where it comes from.
        middle = (size - 1) / 2
        line = torch.arange(size, dtype=torch.float32, device=self._device)
        x = line.view(1, 1, 1, -1) - middle - right
        y = line.view(1, 1, -1, 1) - middle - down
        places = torch.stack(
            [(cos * x - sin * y) / scale + middle, (sin * x + cos * y) / scale + middle], dim=-1
        ).squeeze(1)
        # Beyond the edge: mirrored where an image is shifted, else its outermost pixel again.
        folded = places.abs()
        folded = (size - 1) - ((size - 1) - folded % (2 * (size - 1))).abs()
        shifted = ((right != 0) | (down != 0)).view(-1, 1, 1, 1)
        places = torch.where(shifted, folded, places.clamp(0, size - 1))
        sampled = torch.nn.functional.grid_sample(
            images, places * (2 / (size - 1)) - 1, mode="bilinear", align_corners=True
        ).round_()
        still = torch.from_numpy(
            ~np.any([draws[n] != 0 for n in ("degrees", "shift_x", "shift_y", "growth")], axis=0)
        ).to(self._device)
        return torch.where(still.view(-1, 1, 1, 1), images, sampled)

    def _column(self, values: NDArray[np.float32]) -> torch.Tensor:
        import torch

        return torch.from_numpy(values.copy()).to(self._device).view(-1, 1, 1, 1)
