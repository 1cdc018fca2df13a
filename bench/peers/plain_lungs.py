"""Lungs found, equalized and cropped as a plain script does: one image after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn


def double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(),
    )  # fmt: skip


class UNet(nn.Module):
    """The U-Net of Ronneberger et al. 2015, padded, with batch normalization, one gray channel."""

    def __init__(self) -> None:
        super().__init__()
        widths = [64, 128, 256, 512, 1024]
        self.down = nn.ModuleList(double(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in reversed(widths[:-1])
        )
        self.join = nn.ModuleList(double(2 * a, a) for a in reversed(widths[:-1]))
        self.last = nn.Conv2d(64, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per pixel."""
        passed = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            passed.append(x)
        passed.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([passed.pop(), up(x)], 1))
        return self.last(x)


def equalized(image: np.ndarray) -> np.ndarray:
    counts = np.bincount(image.ravel(), minlength=256)
    cumulated = counts.cumsum()
    return (255 * cumulated / cumulated[-1]).astype(np.uint8)[image]


def cropped(path: Path, network: nn.Module) -> Image.Image:
    image = np.asarray(Image.open(path).convert("L"))
    small = Image.fromarray(image).resize((256, 256), Image.BILINEAR)
    x = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)[None, None]
    with torch.no_grad():
        mask = (torch.sigmoid(network(x))[0, 0] > 0.5).numpy()
    whole = np.asarray(Image.fromarray(mask).resize(image.shape[::-1], Image.NEAREST))
    rows, columns = np.nonzero(whole.any(1))[0], np.nonzero(whole.any(0))[0]
    image = equalized(image)
    if len(rows):
        image = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Image.fromarray(image).resize((224, 224), Image.BILINEAR)


def files(network: str) -> Callable[[float], float]:
    if network == "hurdles":
        from hurdles.lungs.training import load_lungs

        model: nn.Module = load_lungs()[0]
    else:
        model = UNet().eval()
    paths = sorted(Path(os.environ["HURDLES_DATA"], "chest_xray").rglob("*.jpeg"))
    paths = paths[:: max(1, len(paths) // 32)][:32]

    def turn(seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            cropped(paths[done % len(paths)], model)
            done += 1
        return done / (time.perf_counter() - began)

    return turn
