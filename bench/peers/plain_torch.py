"""Training loops as most people write them with torch alone, measured in images/s.

As in the scripts of seed 000: float32, torch's default layout, a DataLoader, Adam. The networks are
those of Lázaro and Barco 2020 with ReLU before pooling and the gray image in three channels, and a
ResNet-18, which MONAI builds as torchvision does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE, BATCH, IMAGES = 224, 32, 512


class Images(Dataset):
    """Gray bytes in memory, which become floats in three channels image by image."""

    def __init__(self, n: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (n, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        self.targets = torch.randint(0, 3, (n,), generator=generator)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pixels[n].float().div(255).expand(3, -1, -1), self.targets[n]


class Parallel(nn.Module):
    """Convolutions of 64, 32 and 16 filters side by side."""

    def __init__(self, kernels: tuple[int, int, int]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Conv2d(3, f, k, padding=k // 2) for f, k in zip((64, 32, 16), kernels, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rectified maps of all of them."""
        return torch.cat([part(x).relu() for part in self.parts], dim=1)


def stage(before: int, after: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]


def head(inputs: int, hidden: int) -> list[nn.Module]:
    dense = [nn.Linear(inputs, hidden), nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, 3)]
    return [nn.Flatten(), *dense]


def baseline() -> nn.Module:
    stages = [*stage(3, 32, 3), *stage(32, 64, 3), *stage(64, 128, 3)]
    return nn.Sequential(*stages, *head(128 * 28 * 28, 64))


def inception(kernels: tuple[int, int, int], kernel: int, hidden: int) -> nn.Module:
    first = [Parallel(kernels), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *stage(112, 128, kernel), *head(128 * 56 * 56, hidden))


def resnet_18() -> nn.Module:
    from monai.networks.nets import ResNet

    return ResNet(
        block="basic",
        layers=[2, 2, 2, 2],
        block_inplanes=[64, 128, 256, 512],
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        num_classes=3,
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "baseline": baseline,
    "inception-like": lambda: inception((1, 3, 5), 3, 64),
    "inception-as-coded": lambda: inception((1, 1, 1), 7, 128),
    "resnet-18": resnet_18,
}


def rate(architecture: str) -> Callable[[float], float]:
    """Return a function that trains for so many seconds and returns images/s."""
    network = NETWORKS[architecture]()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(Images(IMAGES), batch_size=BATCH, shuffle=True)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        while True:
            yield from loader

    data = batches()

    def step() -> None:
        images, targets = next(data)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), targets).backward()
        optimizer.step()

    step()

    def turn(seconds: float) -> float:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            step()
            steps += 1
        return steps * BATCH / (time.perf_counter() - began)

    return turn
