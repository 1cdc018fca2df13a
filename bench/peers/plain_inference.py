"""Answers as a plain script gives them: MONAI's networks in eager torch, batch after batch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.networks.nets import DenseNet121, resnet18
from PIL import Image

SIZE = 224


def built(architecture: str) -> torch.nn.Module:
    if architecture == "densenet-121":
        return DenseNet121(spatial_dims=2, in_channels=1, out_channels=3).eval()
    return resnet18(
        spatial_dims=2, n_input_channels=1, num_classes=3, conv1_t_stride=2, shortcut_type="B"
    ).eval()


def network(architecture: str, batch: int) -> Callable[[float], float]:
    model = built(architecture)
    images = torch.rand(batch, 1, SIZE, SIZE)

    def turn(seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            with torch.no_grad():
                torch.softmax(model(images), dim=1).numpy()
            done += batch
        return done / (time.perf_counter() - began)

    return turn


def files() -> Callable[[float], float]:
    model = built("resnet-18")
    paths = sorted(Path(os.environ["HURDLES_DATA"], "chest_xray").rglob("*.jpeg"))
    paths = paths[:: max(1, len(paths) // 32)][:32]

    def turn(seconds: float) -> float:
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            for path in paths:
                image = Image.open(path).convert("L").resize((SIZE, SIZE), Image.BILINEAR)
                x = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)[None, None]
                with torch.no_grad():
                    torch.softmax(model(x), dim=1).numpy()
            done += len(paths)
        return done / (time.perf_counter() - began)

    return turn
