"""Training passes in oneDNN's own memory layouts, which are what its kernels are written for.

torch has two layouts for images, and in either one some kernel is slow: with channels last a first
layer of one gray channel and, without AVX-512, every gradient of weights; in the plain one all
pooling. A tensor that was entered here is opaque: oneDNN chooses its layout anew behind every
layer, by the shapes and the processor's instructions. No clock has a say, so a repeat on the same
kind of processor gives the same bits.
"""

from __future__ import annotations

import platform

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
    # torch.conv2d refuses an opaque tensor in bfloat16, which the kernel below it takes.
    bias = None if bias is None else bias.to(x.dtype)
    made: Tensor = torch.ops.aten.mkldnn_convolution(
        x, weight.to(x.dtype), bias, padding, stride, dilation, groups
    )
    return made


class Convolution(nn.Conv2d):
    """A convolution of tensors of either kind."""

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps of shape (N, filters, h, w), opaque if `x` is."""
        return convolve(self, x, self.weight, self.bias)
