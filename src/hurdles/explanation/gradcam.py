"""Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): where the last maps spoke for a class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hurdles.errors import RecipeError
from hurdles.models.network import last_convolution

__all__ = ["grad_cam"]


def grad_cam(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Return the Grad-CAM of each image, before scaling.

    Each of the last feature maps is weighed by the mean gradient of the target's logit over it; the
    sum is cut off below zero. Images of a batch do not influence each other, because the network
    is in eval mode.

    Parameters
    ----------
    module : nn.Module
        In eval mode; it must expose its last convolution.
    x : Tensor, shape (N, 1, H, W), within [0, 1]
    target : Tensor of int64, shape (N,)
        Index of the class asked about, for each image.

    Returns
    -------
    Tensor, shape (N, h, w), the size of the feature map; not negative, or NaN.

    Raises
    ------
    RecipeError
        If the module does not say which convolution is its last, or does not use it.
    """
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
