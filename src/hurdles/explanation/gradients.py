"""Two heat-maps of single pixels: SmoothGrad-Squared and integrated gradients.

Both ask how the log-odds of a class change with each pixel. Of the many ways to do so these two
were taken for what is known of them. SmoothGrad-Squared is one of two kinds that rank pixels better
than chance does when the ranked pixels are taken away and the network is trained again (Hooker et
al. 2019); it does not multiply by the image, so that dark lungs can be hot, and its sum has a
meaning: the share of heat in a region is the share of the answer's variance that a little noise on
every pixel would cause there. Integrated gradients add up to the difference between the image and
an even grey one, which makes them the exact companion of occlusion; but they are a product with the
image, and such products look alike whatever the weights are (Adebayo et al. 2018).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["integrated_gradients", "smoothgrad"]

#: Noisy copies of an image, and their noise as a share of the image's range of grey: Smilkov et al.
#: 2017 recommend 0.1 to 0.2. Squares are added up, so few copies serve.
_COPIES, _NOISE = 8, 0.15
#: Points between the grey image and the image, in the middle of equal parts.
_STEPS = 16


def smoothgrad(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared gradient of the target's log-odds over noisy copies of each image.

    A square has no sign: a hot pixel moves the answer, for or against the target alike, and with
    two classes the maps of both are one and the same.

    The noise is the same for every image and every call, so that maps can be repeated and do not
    depend on what shares their batch.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    x : Tensor, shape (N, 1, H, W), within [0, 1]
    target : Tensor of int64, shape (N,)
        Index of the class asked about, for each image.

    Returns
    -------
    Tensor, shape (N, H, W); not negative, or NaN.

    References
    ----------
    Smilkov et al. 2017, arXiv 1706.03825; squared: Hooker et al. 2019, arXiv 1806.10758.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_COPIES, *x.shape[1:], generator=generator).to(x.device)
    spread = _NOISE * (x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True))
    heat = torch.zeros_like(x)
    for one in noise:
        heat += _gradient(module, x + spread * one, target).square()
    return heat[:, 0] / _COPIES


def integrated_gradients(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return what each pixel adds to the target's log-odds on the way from an even grey image.

    The grey is the image's own mean, as for occlusion: from black, a dark lung could have no heat.
    What speaks against the target is cut off.

    Parameters
    ----------
    module : nn.Module
        In eval mode.
    x : Tensor, shape (N, 1, H, W), within [0, 1]
    target : Tensor of int64, shape (N,)
        Index of the class asked about, for each image.

    Returns
    -------
    Tensor, shape (N, H, W); not negative, or NaN.

    References
    ----------
    Sundararajan, Taly and Yan 2017, arXiv 1703.01365.
    """
    grey = x.mean(dim=(1, 2, 3), keepdim=True)
    total = torch.zeros_like(x)
    for step in range(_STEPS):
        total += _gradient(module, grey + (step + 0.5) / _STEPS * (x - grey), target)
    return ((x - grey) * total / _STEPS)[:, 0].clamp(min=0)


def _gradient(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of each image's log-odds over its own pixels, shape (N, 1, H, W)."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        odds = _log_odds(module(leaf), target).sum()
        if not odds.requires_grad:  # the answer does not depend on the image
            return torch.zeros_like(x)
        (found,) = torch.autograd.grad(odds, leaf, allow_unused=True, materialize_grads=True)
    return found.detach()


def _log_odds(logits: Tensor, target: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of each target's probability p, shape (N,).

    Not the logit alone: what raises all logits alike decides nothing.
    """
    chosen = nn.functional.one_hot(target, logits.shape[1]).bool()
    others = logits.masked_fill(chosen, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, target[:, None])[:, 0] - others
