"""Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): hide a square, see how the answer changes.

It needs no gradient and no access to a layer, so it also serves as a check of Grad-CAM. Of the
methods that only ask the network it is the cheapest that is not noisy: 169 questions an image,
where RISE needs thousands of random masks to settle, and Score-CAM one for each feature map of a
layer. And its unit can be said to a reader: how far the odds of the class fall when this square is
painted over.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["occlusion"]

#: Cells along each side; a window covers 2 x 2 of them. At 224 pixels: cells of 16, windows of 32.
_CELLS = 14
#: Falls below this share of the logits' size are rounding: batches of another length add up in
#: another order.
_ROUNDING = 1e-5
#: Painted images judged at once. On a CPU a few, whose feature maps stay in its cache: for the
#: baseline at 224 pixels an image takes 2.4 s on one core by fours, 4.1 s by thirty-twos.
_BATCH = {"cpu": 4, "cuda": 64}


def occlusion(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return how far the log-odds of the target fall when each part of an image is hidden.

    A window is painted with the image's mean grey, and moved by half its side. A cell's heat is the
    mean fall over the windows that cover it, cut off below zero. Log-odds are used rather than the
    probability, which no longer moves once a network is sure.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    x : Tensor, shape (N, 1, H, W), within [0, 1]
    target : Tensor of int64, shape (N,)
        Index of the class asked about, for each image.

    Returns
    -------
    Tensor, shape (N, cells, cells), 14 cells or as many as there are pixels; not negative, or NaN.
    """
    cells = min(_CELLS, *x.shape[-2:])
    windows = _windows(cells).to(x.device)
    covered = _enlarged(windows, x.shape[-2], x.shape[-1])
    weights = (windows / windows.sum(dim=0)).flatten(1)
    heat = [
        (_falls(module, image, int(index), covered) @ weights).view(cells, cells)
        for image, index in zip(x, target, strict=True)
    ]
    return torch.stack(heat).clamp(min=0)


def _falls(module: nn.Module, image: Tensor, target: int, covered: Tensor) -> Tensor:
    """Return the fall for each window, shape (P,); image (1, H, W), covered (P, H, W)."""
    with torch.no_grad():
        whole = module(image[None])
        painted = [
            module(torch.where(some[:, None], image.mean(), image[None]))
            for some in torch.split(covered, _BATCH.get(image.device.type, 16))
        ]
    falls = _log_odds(whole, target) - _log_odds(torch.cat(painted), target)
    rounding = _ROUNDING * (1 + whole.abs().max())
    # Written so that NaN stays NaN.
    return torch.where(falls.abs() <= rounding, torch.zeros_like(falls), falls)


def _log_odds(logits: Tensor, target: int) -> Tensor:
    """Return log(p / (1 - p)) of the target's probability p, shape (N,)."""
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
    return logits[:, target] - others.logsumexp(dim=1)


def _windows(cells: int) -> Tensor:
    """Return which cells each window covers, float (windows, cells, cells); 2 x 2 cells each."""
    steps = max(1, cells - 1)
    windows = torch.zeros(steps, steps, cells, cells)
    for row in range(steps):
        for column in range(steps):
            windows[row, column, row : row + 2, column : column + 2] = 1
    return windows.flatten(0, 1)


def _enlarged(windows: Tensor, height: int, width: int) -> Tensor:
    """Return the windows in pixels, bool (windows, height, width), cells as equal as can be."""
    cells = windows.shape[-1]
    rows, columns = (torch.arange(n, device=windows.device) * cells // n for n in (height, width))
    return windows[:, rows][:, :, columns] > 0
