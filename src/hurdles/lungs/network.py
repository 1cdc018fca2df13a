"""The network that finds lungs, and the file that holds its weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import nn

from hurdles.errors import RunError
from hurdles.training.checkpoint import load_weights, save_weights

#: Height and width of the square that the network takes, in pixels.
SIZE = 256

_KIND = "hurdles lungs 1"


class LungNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) for two processor cores.

    The square is folded to half its size with four channels before the first convolution and
    unfolded after the last one (Shi et al. 2016, arXiv:1609.05158): full resolution costs most of
    the time of a U-Net and adds little to an outline as smooth as a lung's.

    Parameters
    ----------
    width : int
        Channels at 128 x 128 pixels; two, four, eight and eight times as many at 64, 32, 16 and 8.

    Raises
    ------
    ValueError
        If `width` is not positive.

    Examples
    --------
    >>> network = LungNet(width=4).eval()
    >>> network(torch.zeros(2, 1, SIZE, SIZE)).shape
    torch.Size([2, 1, 256, 256])
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width is {width}; a network has at least one channel.")
        self.width = width
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([4, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _block(below + here, here)
            for here, below in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True)
        )
        self.last = nn.Conv2d(width, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per pixel, positive in the lungs."""
        x = nn.functional.pixel_unshuffle(_standardized(x), 2)
        passed = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            passed.append(x)
        passed.pop()
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, passed.pop()], 1))
        logits: torch.Tensor = nn.functional.pixel_shuffle(self.last(x), 2)
        return logits


def _standardized(x: torch.Tensor) -> torch.Tensor:
    """Return each image with mean 0 and deviation 1: exposure says nothing about lungs."""
    x = x.float()
    mean = x.mean((2, 3), keepdim=True)
    deviation = ((x - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
    # One grey level of 256: an image with less in it is nearly blank and stays so.
    return (x - mean) / deviation.clamp(min=1 / 256)


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def save_lungs(path: Path, network: LungNet, meta: Mapping[str, str]) -> None:
    """Write a network as half-precision safetensors, whole or not at all."""
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    save_weights(path, halves, {**meta, "kind": _KIND, "width": str(network.width)})


def load_lungs(path: Path | None = None) -> tuple[LungNet, dict[str, str]]:
    """Return a network that `save_lungs` wrote, ready for use, and what was written with it."""
    if path is None:
        with resources.as_file(resources.files("hurdles.lungs") / "weights") as folder:
            return load_lungs(folder / "lungs.safetensors")
    if not path.is_file():
        raise RunError(f"{path} is missing: there are no lung weights. Make them with train-lungs.")
    try:
        tensors, meta = load_weights(path)
    except RunError as error:
        raise RunError(f"{path} is damaged; make the weights again with train-lungs.") from error
    if meta.get("kind") != _KIND:
        raise RunError(
            f"{path} does not hold lung weights, or those of another version "
            f"({meta.get('kind', 'no kind is stated')}). Give a file that train-lungs wrote."
        )
    with torch.device("meta"):  # no first weights: they would be drawn from the global generator
        network = LungNet(int(meta["width"]))
    whole = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    try:
        network.load_state_dict(whole, assign=True)
    except RuntimeError as error:
        raise RunError(
            f"{path} lacks weights of the lung network, or has others; make it again with "
            "train-lungs."
        ) from error
    return network.eval(), meta
