"""Encoders of other libraries: their state dicts under the names of our encoders, for gray images.

Nothing is unpickled: a file is safetensors, or read by torch with ``weights_only``. What is taken
is the encoder, whole; a head is left over, and whatever else is left over has to be named. A
library is known by the names of its entries and by the scaling of its images, which goes into the
spec of the weights: our networks take gray within [0, 1] and scale inside.

The names of torchvision and timm are the same for these networks. torchxrayvision's have one
channel and images within [-1024, 1024], which is mean 0.5 and deviation 1/2048 of gray within
[0, 1]. RadImageNet's are the layers of torchvision's networks in one Sequential, by number, with
images within [-1, 1]; so its published example builds the ResNet-50, and the DenseNet-121 is read
in the same manner.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from hurdles.data.files import file_hash
from hurdles.errors import RecipeError, RunError
from hurdles.models import ModelSpec, build
from hurdles.models.starting import StartingWeights, encoder_of

if TYPE_CHECKING:
    import torch

#: Mean and standard deviation of images within [0, 1], one number for each channel or for all.
Scaling: TypeAlias = "tuple[tuple[float, ...], tuple[float, ...]]"
State: TypeAlias = "dict[str, torch.Tensor]"

#: Of the photographs of ImageNet.
IMAGENET: Scaling = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_STEMS = {
    "resnet-18": ("conv1.weight", "bn1"),
    "resnet-50": ("conv1.weight", "bn1"),
    "densenet-121": ("conv0.weight", "norm0"),
}
_COUNTER = "num_batches_tracked"
#: Labels of a spec whose head is never used.
_NO_LABELS = ("one", "other")
_SHOWN = 4


@dataclass(frozen=True)
class Library:
    """Naming of a library and scaling of its images: `color` of three channels, `gray` of one.

    None where it cannot be known from the library. `numbered`: the layers of a ResNet stand in one
    Sequential.
    """

    architectures: tuple[str, ...]
    color: Scaling | None
    gray: Scaling | None
    numbered: bool = False


#: By what ``--like`` takes.
LIBRARIES: dict[str, Library] = {
    "torchvision": Library(("densenet-121", "resnet-18", "resnet-50"), IMAGENET, None),
    "timm": Library(("densenet-121", "resnet-18", "resnet-50"), IMAGENET, None),
    "torchxrayvision": Library(("densenet-121", "resnet-50"), None, ((0.5,), (1 / 2048,))),
    "radimagenet": Library(
        ("densenet-121", "resnet-50"), ((0.5,), (0.5,)), ((0.5,), (0.5,)), numbered=True
    ),
    # A ResNet of MONAI has, by default, another stride and biases that ours has not.
    "monai": Library(("densenet-121",), None, None),
}
#: Beginnings of the entries that are a head, or belong to one.
_HEADS = ("fc.", "classifier.", "head.", "class_layers.", "op_threshs")
#: Layers of torchvision's ResNet by their number in a Sequential.
_NUMBERED = {"0": "conv1", "1": "bn1", **{str(n + 3): f"layer{n}" for n in range(1, 5)}}


@dataclass(frozen=True, eq=False, repr=False)
class ImportedEncoder:
    """An encoder under our names, and an account of what became of the file's entries.

    `left_over` are entries that were not taken, `filled` those that the file lacks and that mean
    nothing in use (how many batches a normalization has seen), `remarks` what else was done.
    """

    start: StartingWeights
    taken: int
    left_over: tuple[str, ...]
    filled: tuple[str, ...]
    remarks: tuple[str, ...]

    def __repr__(self) -> str:
        left = f"{self.taken} entries taken, {len(self.left_over)} left over"
        return f"ImportedEncoder({self.start.spec.architecture!r}, {left})"

    def lines(self) -> list[str]:
        """Return what a person reads on the console."""
        about, spec = self.start.description, self.start.spec
        rest = [
            f"left over: {len(self.left_over)} ({_listed(self.left_over)})"
            if self.left_over
            else "left over: nothing"
        ]
        if self.filled:
            rest.append(f"not in the file, and set to 0: {len(self.filled)} x {_COUNTER}")
        return [
            f"{about['source']}: {self.taken} entries, read as those of {about['like']}, are the "
            f"encoder of {spec.architecture}",
            *rest,
            "missing: nothing",
            f"gray within [0, 1] is scaled inside: mean {spec.mean:.6g}, deviation {spec.std:.6g}",
            *self.remarks,
            f"license: {about['license']}; from: {about['from']}",
            f"SHA-256 of the file: {about['sha256']}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return {
            "spec": self.start.spec.to_dict(),
            "taken": self.taken,
            "left_over": list(self.left_over),
            "filled": list(self.filled),
            "missing": [],
            "remarks": list(self.remarks),
            "origin": self.start.origin,
            "description": self.start.description,
        }


def imported_encoder(
    path: Path,
    *,
    architecture: str,
    like: str,
    license: str = "",
    origin: str = "",
    leave_out: Sequence[str] = (),
    entry: str = "",
    scaling: Scaling | None = None,
) -> ImportedEncoder:
    """Read the encoder of another library's file; see `hurdles.import_encoder` for the arguments.

    Its features of a gray image within [0, 1] are those that the original gives for the image as
    that library scales it, in each of its channels.
    """
    library = _library(like, architecture)
    state, beside = read_state(path, entry=entry)
    prefix = _prefix(state, architecture, library, path)
    named, left = _sorted(state, prefix, architecture, library)
    spec = ModelSpec(architecture, _NO_LABELS)
    expected = encoder_of(build(spec, seed=0).state_dict())
    left += [*(theirs for ours, theirs in named.items() if ours not in expected), *beside]
    # States of before 2018 do not say how many batches a normalization has seen.
    filled = [name for name in expected if name.endswith(_COUNTER) and name not in named]
    missing = [name for name in expected if name not in named and name not in filled]
    if missing:
        raise _lacking(missing, path, architecture, like, len(state))
    strange = [n for n in left if not _is_head(n, prefix) and not _matches(n, leave_out)]
    if strange:
        raise RecipeError(
            f"{path} has {len(strange)} entries that are neither the encoder of {architecture} nor "
            f"a head: {_listed(strange)}. If it is the right network, leave them out by name: "
            f"--leave-out '{strange[0]}' (patterns with * are allowed)."
        )
    plain = {n: _float(state[named[n]] if n in named else expected[n] * 0) for n in expected}
    _refuse_shapes(plain, expected, path, _first_of(architecture))
    remarks = [f"names begin with {prefix!r} in the file"] if prefix else []
    remarks += _widths(state[name] for name in named.values())
    mean, std, remark = _to_gray(plain, architecture, library, like, scaling)
    remarks += [remark] if remark else []
    full = {**spec.to_dict(), "mean": mean, "std": std}
    about = {
        "source": f"encoder {path.name}",
        "from": origin or "not stated",
        "license": license or "not stated",
        "sha256": file_hash(path),
        "like": like,
        "taken": str(len(expected)),
        "left over": ", ".join(left) or "nothing",
        "set to 0": f"{len(filled)} x {_COUNTER}" if filled else "nothing",
    }
    start = StartingWeights(plain, ModelSpec.from_dict(full), {}, about)
    return ImportedEncoder(start, len(expected), tuple(left), tuple(filled), tuple(remarks))


def scaling_of(
    mean: float | Sequence[float] | None, std: float | Sequence[float] | None
) -> Scaling | None:
    """Return a scaling that was given by number, or None; one of the two alone is refused."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise RecipeError("give both --mean and --std, or none of them.")
    one, two = ((v,) if isinstance(v, int | float) else tuple(v) for v in (mean, std))
    return one, two


def _library(like: str, architecture: str) -> Library:
    if like not in LIBRARIES:
        raise RecipeError(f"--like {like!r} is not known; there are {', '.join(LIBRARIES)}.")
    library = LIBRARIES[like]
    if architecture not in library.architectures:
        raise RecipeError(
            f"of {like} the encoders {', '.join(library.architectures)} are read, not "
            f"{architecture!r}."
        )
    return library


def read_state(path: Path, *, entry: str = "") -> tuple[State, list[str]]:
    """Return the tensors of a file by name, and the names of what stands beside them.

    `entry` names the table of weights where the file holds several.
    """
    if not path.is_file():
        raise RunError(f"{path} is not a file; give a state dict (.pt, .pth) or .safetensors.")
    plain = _safetensors(path) if path.suffix == ".safetensors" else _weights_only(path)
    if not isinstance(plain, Mapping):
        raise RunError(f"{path} holds no table of weights but {type(plain).__name__}; {_SAVE}.")
    tables = {str(n): v for n, v in plain.items() if isinstance(v, Mapping) and _is_state(v)}
    if entry:
        if entry not in tables:
            raise RunError(f"{path} has no table of weights {entry!r}; it has {_listed(tables)}.")
        return dict(tables[entry]), []
    if _is_state(plain):
        return {str(name): value for name, value in plain.items()}, []
    if len(tables) == 1:  # a checkpoint of a training, with its epoch and its optimizer
        return dict(next(iter(tables.values()))), []
    if len(tables) > 1:
        raise RunError(
            f"{path} has several tables of weights: {_listed(tables)}. Say which by --entry NAME."
        )
    tensors = {str(n): v for n, v in plain.items() if _is_state({"": v})}
    if not tensors:
        raise RunError(f"{path} holds no weights, only {_listed(plain)}; {_SAVE}.")
    return tensors, [str(name) for name in plain if str(name) not in tensors]


_SAVE = "save those of the network: torch.save(model.state_dict(), 'encoder.pt')"


def _is_state(table: Mapping[Any, Any]) -> bool:
    import torch

    return bool(table) and all(isinstance(value, torch.Tensor) for value in table.values())


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged, or no safetensors file ({error}).") from error


def _weights_only(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes provoke
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        why = f"it needs {named[1]}" if named else "torch cannot read it"
        raise RunError(
            f"{path} is not a plain table of weights ({why}). If it is a whole network, pickled, "
            "hurdles does not load it: a pickle may run any program. Convert it where it was made, "
            "in an environment that trusts it (of a dictionary, save its table of weights):\n"
            f"    model = torch.load({path.name!r}, map_location='cpu', weights_only=False)\n"
            "    torch.save(model.state_dict(), 'encoder.pt')"
        ) from error


def _first_of(architecture: str) -> str:
    return f"encoder.{_STEMS[architecture][0]}"


def _anchors(architecture: str, library: Library) -> list[str]:
    """Return the first convolution's names in that library, below whatever prefix."""
    first = _STEMS[architecture][0]
    if architecture == "densenet-121":
        return [first]
    return ["0.weight", first] if library.numbered else [first]


def _prefix(state: State, architecture: str, library: Library, path: Path) -> str:
    """Return what the names of the encoder begin with, up to the first convolution's."""
    beginnings = set()
    for anchor in _anchors(architecture, library):
        norm = "1" if anchor == "0.weight" else _STEMS[architecture][1]
        for name in state:
            begin = name.removesuffix(anchor)
            plain = name.endswith(anchor) and (not begin or begin.endswith("."))
            stem = plain and f"{begin}{norm}.running_var" in state and state[name].ndim == 4
            # Blocks have a conv1 and a bn1, too; a stem's kernel is of 7 by 7.
            if stem and state[name].shape[-1] == 7:
                beginnings.add(begin)
    if len(beginnings) == 1:
        return beginnings.pop()
    if beginnings:
        raise RecipeError(
            f"{path} holds several networks, whose names begin with "
            f"{', '.join(map(repr, sorted(beginnings)))}. Save the one that is meant: "
            "torch.save(model.state_dict(), 'encoder.pt')."
        )
    raise RecipeError(
        f"{path} does not begin as {architecture} does: there is no 7x7 convolution "
        f"{' or '.join(_anchors(architecture, library))} with its normalization. Its "
        f"{len(state)} entries are {_listed(state)}."
    )


def _sorted(
    state: State, prefix: str, architecture: str, library: Library
) -> tuple[dict[str, str], list[str]]:
    """Return the names below the prefix by those that they are to have, and the other names."""
    renamed: Callable[[str], str] = str
    if architecture == "densenet-121":
        renamed = _dense
    elif library.numbered and f"{prefix}0.weight" in state:
        renamed = _by_number
    named: dict[str, str] = {}
    left = []
    for name in state:
        rest = name.removeprefix(prefix)
        ours = f"encoder.{renamed(rest)}"
        if not name.startswith(prefix) or rest.startswith(_HEADS) or ours in named:
            left.append(name)
        else:
            named[ours] = name
    return named, left


def _dense(name: str) -> str:
    from hurdles.models.catalog import torchvision_names

    return next(iter(torchvision_names({name: 0})))


def _by_number(name: str) -> str:
    number, _, rest = name.partition(".")
    return f"{_NUMBERED.get(number, number)}.{rest}"


def _is_head(name: str, prefix: str) -> bool:
    """Return whether an entry belongs to a head: beside the encoder, or one level above it."""
    outer = prefix
    while True:
        if name.removeprefix(outer).startswith(_HEADS):
            return True
        if not outer:
            return False
        outer = outer.rstrip(".").rpartition(".")[0]
        outer = f"{outer}." if outer else ""


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _lacking(
    missing: Sequence[str], path: Path, architecture: str, like: str, n_entries: int
) -> RecipeError:
    names = [name.removeprefix("encoder.") for name in missing]
    alike = [
        name
        for name in LIBRARIES[like].architectures
        if name != architecture and _STEMS[name] == _STEMS[architecture]
    ]
    hint = f"; it may be {' or '.join(alike)}" if alike else ""
    return RecipeError(
        f"{path} lacks {len(names)} entries of {architecture} ({_listed(names)}), and nothing was "
        f"imported. It has {n_entries} entries: give the architecture and the library (--like) "
        f"that they are of{hint}."
    )


def _refuse_shapes(plain: State, expected: State, path: Path, first: str) -> None:
    import torch

    for name, value in plain.items():
        want, have = tuple(expected[name].shape), tuple(value.shape)
        if name == first and have[1] in (1, 3):
            have = (have[0], 1, *have[2:])
        if want != have:
            raise RecipeError(
                f"{path}: {name.removeprefix('encoder.')} has shape {tuple(value.shape)}, and "
                f"{want} is needed"
                + (" (1 or 3 channels)" if name == first else "")
                + "; it is of another network."
            )
        if not bool(torch.isfinite(value).all()):
            raise RecipeError(
                f"{path}: {name.removeprefix('encoder.')} holds numbers that are not finite; the "
                "file is damaged, or its training failed."
            )


def _float(value: torch.Tensor) -> torch.Tensor:
    # A copy, so that a file that is mapped into memory may be replaced.
    return value.detach().float().clone() if value.is_floating_point() else value.clone()


def _widths(values: Any) -> list[str]:
    kinds = sorted({str(v.dtype).removeprefix("torch.") for v in values if v.is_floating_point()})
    return [] if kinds == ["float32"] else [f"numbers of {' and '.join(kinds)} became float32"]


def _to_gray(
    plain: State, architecture: str, library: Library, like: str, scaling: Scaling | None
) -> tuple[float, float, str]:
    """Bring the first convolution to one gray channel; return mean and deviation, and a remark.

    Each channel's deviation goes into its weights, which are summed. Where the means differ, so
    does each filter's answer by a constant, which goes into the mean of the normalization behind
    it. Beyond the border an image is 0 after scaling: in the three pixels next to it, that is
    another gray in each channel, and the constant is an approximation there.
    """
    first, norm = _first_of(architecture), f"encoder.{_STEMS[architecture][1]}.running_mean"
    weight = plain[first].double()
    channels = weight.shape[1]
    known = scaling or (library.color if channels == 3 else library.gray)
    if known is None:
        raise RecipeError(
            f"{like} does not say how images of {channels} channel(s) were scaled for this "
            "encoder; give the mean and the standard deviation of gray within [0, 1] that it was "
            "trained with: --mean 0.5 --std 0.25."
        )
    means, deviations = (np.resize(_one_or(channels, numbers), channels) for numbers in known)
    if not (np.isfinite([means, deviations]).all() and (deviations > 0).all()):
        raise RecipeError(f"mean {known[0]} and deviation {known[1]} must be finite, std positive.")
    mean, std = float(np.mean(means)), float(np.mean(deviations))
    if channels == 1:
        return mean, std, ""
    scaled = weight * weight.new_tensor(std / deviations).view(1, -1, 1, 1)
    offset = weight.sum((2, 3)) @ weight.new_tensor((mean - means) / deviations)
    plain[first] = scaled.sum(1, keepdim=True).float()
    plain[norm] = (plain[norm].double() - offset).float()
    differs = bool(np.ptp(means)) or bool(np.ptp(deviations))
    return (
        mean,
        std,
        "the three channels became one, for a gray image in each of them"
        + ("; exact but for the three pixels next to the border" if differs else ""),
    )


def _one_or(channels: int, numbers: tuple[float, ...]) -> tuple[float, ...]:
    if len(numbers) not in (1, channels):
        raise RecipeError(
            f"{len(numbers)} numbers were given for {channels} channel(s): {numbers}; give one, or "
            "one for each."
        )
    return numbers


def _listed(names: Any) -> str:
    every = list(names)
    more = f", ... ({len(every) - _SHOWN} more)" if len(every) > _SHOWN else ""
    return f"{', '.join(every[:_SHOWN])}{more}"
