"""Heat-maps by method: Grad-CAM, SmoothGrad-Squared, integrated gradients, occlusion.

Each takes a module in eval mode, images x (N, 1, H, W) within [0, 1] and for each the index of the
class asked about, target (N,); and returns one map per image, before scaling: not negative, or NaN.

- Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) shows where the last feature maps spoke for a
  class.
- SmoothGrad-Squared (Smilkov et al. 2017, arXiv 1706.03825) is one of two kinds that rank pixels
  better than chance does when the ranked pixels are taken away and the network is trained again
  (Hooker et al. 2019, arXiv 1806.10758). It does not multiply by the image, so that dark lungs can
  be hot, and its sum has a meaning: the share of heat in a region is the share of the variance of
  the log-odds that a little noise on every pixel would cause there.
- Integrated gradients (Sundararajan, Taly and Yan 2017, arXiv 1703.01365) add up to the difference
  between the image and an even gray one, which makes them the exact companion of occlusion; but
  such products with the image look alike whatever the weights are (Adebayo et al. 2018).
- Occlusion needs no gradient and no access to a layer, so it also serves as a check of Grad-CAM. Of
  the methods that only ask the network it is the cheapest that is not noisy: 169 questions an
  image, where RISE needs thousands of random masks and Score-CAM one for each feature map. And its
  unit can be said to a reader: how far the odds of the class fall when this square is painted over.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hurdles.errors import RecipeError
from hurdles.models.ensemble import Ensemble
from hurdles.models.network import last_convolution

#: Noisy copies of an image, and their noise as a share of the image's range of gray: Smilkov et al.
#: 2017 recommend 0.1 to 0.2. Squares are added up, so few copies serve.
_COPIES, _NOISE = 8, 0.15
#: Points between the gray image and the image, in the middle of equal parts.
_STEPS = 16
#: Cells along each side; a window covers 2 x 2 of them. At 224 pixels: cells of 16, windows of 32.
_CELLS = 14
#: Falls below this share of the logits' size are rounding: batches of another length add up in
#: another order.
_ROUNDING = 1e-5
#: Painted images judged at once. On a CPU a few, whose feature maps stay in its cache: for the
#: baseline at 224 pixels an image takes 2.4 s on one core by fours, 4.1 s by thirty-twos.
_BATCH = {"cpu": 4, "cuda": 64}


def grad_cam(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the Grad-CAM of each image, of the size of the last feature maps.

    These are weighed by the mean gradient of the target's logit over them; the sum is cut off below
    zero. Raises `RecipeError` where the module does not say which convolution is its last. Of
    networks that answer as one it is the mean, each scaled to its own maximum.
    """
    if isinstance(module, Ensemble):
        heats = [grad_cam(member, x, target) for member in module.networks]
        peaks = [each.amax(dim=(1, 2), keepdim=True) for each in heats]
        scaled = [h / torch.where(p > 0, p, 1.0) for h, p in zip(heats, peaks, strict=True)]
        return torch.stack(scaled).mean(dim=0)
    seen: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # The gradient is wanted down to here and no further, so the graph starts here: it works
        # with frozen weights, touches no parameter's .grad and skips most of the backward pass.
        maps = output.detach().requires_grad_()
        seen.append(maps)
        return maps.clone()  # a later in-place ReLU may write to the copy

    handle = last_convolution(module).register_forward_hook(cut)
    try:
        with torch.enable_grad():
            chosen = module(x).gather(1, target[:, None]).sum()
    finally:
        handle.remove()
    if len(seen) != 1:
        raise RecipeError(
            f"the last convolution of {type(module).__name__} ran {len(seen)} times for one image; "
            "Grad-CAM needs a layer that runs once."
        )
    maps = seen[0]
    if not chosen.requires_grad:  # the answer does not depend on the maps
        return torch.zeros_like(maps[:, 0]).detach()
    (gradient,) = torch.autograd.grad(chosen, maps, allow_unused=True, materialize_grads=True)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).clamp(min=0)


def smoothgrad(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared gradient of the target's log-odds over noisy copies of each image.

    A square has no sign: a hot pixel moves the answer, for or against the target alike. The noise
    is the same for every image and call: maps do not depend on what shares their batch.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_COPIES, *x.shape[1:], generator=generator).to(x.device)
    spread = _NOISE * (x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True))
    heat = torch.zeros_like(x)
    for one in noise:
        heat += _gradient(module, x + spread * one, target).square()
    return heat[:, 0] / _COPIES


def integrated_gradients(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return what each pixel adds to the target's log-odds on the way from an even gray image.

    The gray is the image's own mean, as for occlusion: from black, a dark lung could have no heat.
    What speaks against the target is cut off.
    """
    gray = x.mean(dim=(1, 2, 3), keepdim=True)
    total = torch.zeros_like(x)
    for step in range(_STEPS):
        total += _gradient(module, gray + (step + 0.5) / _STEPS * (x - gray), target)
    return ((x - gray) * total / _STEPS)[:, 0].clamp(min=0)


def _gradient(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of each image's log-odds over its own pixels, shape (N, 1, H, W)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        odds = log_odds(module(leaf), target).sum()
        if not odds.requires_grad:  # the answer does not depend on the image
            return torch.zeros_like(x)
        (gradient,) = torch.autograd.grad(odds, leaf, allow_unused=True, materialize_grads=True)
    return gradient.detach()


def log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of each target's probability p, shape (N,).

    Not the logit alone: what raises all logits alike decides nothing.
    """
    chosen = nn.functional.one_hot(target, logits.shape[1]).bool()
    others = logits.masked_fill(chosen, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, target[:, None])[:, 0] - others


def occlusion(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return how far the log-odds of the target fall when each part of an image is hidden.

    A window is painted with the image's mean gray, and moved by half its side. A cell's heat is the
    mean fall over the windows that cover it, cut off below zero; 14 x 14 cells, or as many as there
    are pixels. Log-odds are used because a probability no longer moves once a network is sure.
    """
    cells = min(_CELLS, *x.shape[-2:])
    starts = torch.arange(max(1, cells - 1), device=x.device)[:, None]
    along = torch.arange(cells, device=x.device)
    inside = (along >= starts) & (along < starts + 2)
    # The cells of each window, float (windows, cells, cells); in pixels, cells as equal as can be.
    windows = (inside[:, None, :, None] & inside[None, :, None, :]).float().flatten(0, 1)
    rows, columns = (torch.arange(n, device=x.device) * cells // n for n in x.shape[-2:])
    covered = windows[:, rows][:, :, columns] > 0
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
    logits = torch.cat([whole, *painted])
    odds = log_odds(logits, torch.full((len(logits),), target, device=logits.device))
    falls = odds[0] - odds[1:]
    rounding = _ROUNDING * (1 + whole.abs().max())
    # Written so that NaN stays NaN.
    return torch.where(falls.abs() <= rounding, torch.zeros_like(falls), falls)
