"""Training passes in oneDNN's own memory layouts, which are what its kernels are written for.

torch has two layouts for images, and in either one some kernel is slow: with channels last a first
layer of one gray channel and, without AVX-512, every gradient of weights; in the plain one all
pooling. A tensor that was entered here is opaque: oneDNN chooses its layout anew behind every
layer, by the shapes and the processor's instructions. No clock has a say, so a repeat on the same
kind of processor gives the same bits.

Without AVX-512 oneDNN has no good kernel for the weight gradient of a first layer: it reads one
gray channel at 8 billion operations a second, where a matrix product makes 50. There the patches of
the image are unfolded, and their gradient is that product.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def available() -> bool:
    """Tell whether this torch trains opaque tensors on this processor: oneDNN on x86."""
    is_x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return is_x86 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # untyped in torch


def enter(x: Tensor) -> Tensor:
    """Return images as an opaque tensor, in the format of `torch.autocast` where that is on."""
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.get_autocast_dtype("cpu"))
    return x.contiguous().to_mkldnn()


def leave(x: Tensor) -> Tensor:
    """Return an opaque tensor in torch's plain layout, and any other as it is."""
    return x.to_dense() if x.is_mkldnn else x


def convolve(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the convolution of `layer`, with this weight and bias, of a tensor of either kind."""
    stride, padding, dilation, groups = layer.stride, layer.padding, layer.dilation, layer.groups
    if not x.is_mkldnn:
        return functional.conv2d(x, weight, bias, stride, padding, dilation, groups)
    if bias is not None and _unfolds(layer, x):
        unfolded: Tensor = _Unfolded.apply(x, weight, bias, padding)  # type: ignore[no-untyped-call] # untyped in torch
        return unfolded
    # torch.conv2d refuses an opaque tensor in bfloat16, which the kernel below it takes.
    bias = None if bias is None else bias.to(x.dtype)
    made: Tensor = torch.ops.aten.mkldnn_convolution(
        x, weight.to(x.dtype), bias, padding, stride, dilation, groups
    )
    return made


def _unfolds(layer: nn.Conv2d, x: Tensor) -> bool:
    """Tell whether the weight gradient is a product of matrices on this kind of processor."""
    is_plain = layer.stride == layer.dilation == (1, 1) and isinstance(layer.padding, tuple)
    is_first = x.shape[1] == 1 and not x.requires_grad and x.dtype is torch.float32
    return is_plain and is_first and torch.backends.cpu.get_cpu_capability() == "AVX2"


class _Unfolded(torch.autograd.Function):
    """oneDNN's convolution of a gray image whose gradients are a product with its patches."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        made: Tensor = torch.ops.aten.mkldnn_convolution(
            x, weight, bias, padding, (1, 1), (1, 1), 1
        )
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        maps = leave(gradients[0]).flatten(2)
        patches = functional.unfold(leave(x), weight.shape[2:], padding=ctx.padding)
        products = torch.bmm(maps, patches.transpose(1, 2)).sum(0)
        return None, products.view_as(weight), maps.sum((0, 2)), None


class Convolution(nn.Conv2d):
    """A convolution of tensors of either kind."""

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps of shape (N, filters, h, w), opaque if `x` is."""
        return convolve(self, x, self.weight, self.bias)
