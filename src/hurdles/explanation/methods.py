"""The heat-map methods by name, and the one function that makes heat-maps with them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import RecipeError
from hurdles.explanation.heatmap import Heatmap, HeatmapStatus
from hurdles.models.spec import ModelSpec
from hurdles.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["METHODS", "explain", "methods"]

#: ``method(module, x, target)``: raw heat (N, h, w) for images (N, 1, H, W) and class indices (N,).
Method: TypeAlias = "Callable[[nn.Module, Tensor, Tensor], Tensor]"

#: Heat-map methods by name.
METHODS: Registry[Method] = Registry("heat-map method")


def _lazily(function: str) -> Method:
    """Return a function of `hurdles.explanation.maps`, which needs torch and is imported late."""

    def heat(module: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        method: Method = getattr(import_module("hurdles.explanation.maps"), function)
        return method(module, x, target)

    return heat


for _name in ("grad-cam", "occlusion", "integrated-gradients", "smoothgrad"):
    METHODS.register(_name)(_lazily(_name.replace("-", "_")))


def methods() -> list[str]:
    """Return the names of the heat-map methods.

    Examples
    --------
    >>> methods()
    ['grad-cam', 'occlusion', 'integrated-gradients', 'smoothgrad']
    """
    return METHODS.names()


def explain(
    module: nn.Module,
    spec: ModelSpec,
    pixels: NDArray[np.uint8],
    *,
    images: Sequence[str],
    target: str | Sequence[str] = "predicted",
    method: str = "grad-cam",
    batch: int = 16,
) -> list[Heatmap]:
    """Return a heat-map for each image.

    Works on a copy of the module, on its device, in single precision and eval mode, and leaves the
    module itself as it was.

    Parameters
    ----------
    module : nn.Module
        Takes float images (N, 1, size, size) within [0, 1], returns logits (N, labels).
    spec : ModelSpec
        What the module was built from.
    pixels : array of uint8, shape (N, size, size)
        Prepared images; may be memory-mapped, `batch` of them are read at a time.
    images : sequence of N str
        Their names.
    target : str or sequence of N str, default "predicted"
        The class to explain: the predicted one of each image, one class, or one for each image.
    method : str, default "grad-cam"
        See `methods`.
    batch : int, default 16
        Images at a time.

    Returns
    -------
    list of Heatmap
        In the order of `images`. A map that is empty or not finite says so in its status.

    Raises
    ------
    RegistryError
        If there is no such class or no such method.
    RecipeError
        If pixels, names and targets do not fit each other or the network.

    Examples
    --------
    >>> from hurdles.models import build
    >>> spec = ModelSpec("baseline", ("COVID-19", "Normal"), size=32)
    >>> pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype="uint8")
    >>> maps = explain(build(spec, seed=0), spec, pixels, images=["a", "b"], target="Normal")
    >>> [(m.image, m.target, m.values.shape) for m in maps]
    [('a', 'Normal', (32, 32)), ('b', 'Normal', (32, 32))]
    """
    import torch

    make = METHODS.get(method)
    expected = (len(images), spec.size, spec.size)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise RecipeError(
            f"{len(images)} images for this network are uint8 pixels of shape {expected}, but "
            f"these are {pixels.dtype} of shape {pixels.shape}; prepare them with size={spec.size}."
        )
    wanted = _wanted(target, spec, len(images))
    maps: list[Heatmap] = []
    # Half precision loses weak heat, and tensors made in inference mode cannot be differentiated.
    with (
        torch.inference_mode(False),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        # A copy, so that whatever happens the caller's module keeps its flags, gradients and hooks;
        # and because with channels last a CPU answers several times faster.
        frozen = copy.deepcopy(module).eval().float().requires_grad_(False)
        # torch's annotations know no memory_format.
        frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stubs
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            maps += _explain_batch(
                frozen, spec, pixels[rows], list(images[rows]), wanted[rows], method, make
            )
    return maps


def _explain_batch(
    module: nn.Module,
    spec: ModelSpec,
    pixels: NDArray[np.uint8],
    images: list[str],
    wanted: list[int | None],
    method: str,
    make: Method,
) -> list[Heatmap]:
    import torch
    from torch.nn.functional import interpolate

    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    x = torch.from_numpy(np.array(pixels)).to(device)[:, None].float() / 255
    with torch.no_grad():
        logits = module(x)
    if logits.shape != (len(images), len(spec.labels)):
        raise RecipeError(
            f"the network answers with shape {tuple(logits.shape)}; {len(images)} images and "
            f"{len(spec.labels)} labels need ({len(images)}, {len(spec.labels)})."
        )
    answered = logits.isfinite().all(dim=1)
    predicted = logits.nan_to_num().argmax(dim=1)
    target = torch.tensor(
        [int(p) if w is None else w for p, w in zip(predicted, wanted, strict=True)], device=device
    )
    raw = make(module, x, target).detach()
    shape = pixels.shape[-2:]
    heat = interpolate(raw[:, None].float(), shape, mode="bilinear", align_corners=False)[:, 0]
    maps = []
    for row, image in enumerate(images):
        if answered[row]:
            name = spec.labels[int(target[row])]
            maps.append(Heatmap.from_raw(image, name, method, heat[row].cpu().numpy()))
        else:
            index = wanted[row]
            name = "" if index is None else spec.labels[index]
            why = (
                "the network's own outputs are not numbers for this image; its weights are damaged"
            )
            nothing = np.zeros(shape, dtype="float32")
            maps.append(Heatmap(image, name, method, nothing, HeatmapStatus.NOT_FINITE, why))
    return maps


def _wanted(target: str | Sequence[str], spec: ModelSpec, n: int) -> list[int | None]:
    """Return the index of the class asked for by each image; None stands for the predicted one."""
    if target == "predicted":
        return [None] * n
    names = [target] * n if isinstance(target, str) else list(target)
    if len(names) != n:
        raise RecipeError(f"{len(names)} targets were given for {n} images; give one for each.")
    labels: Registry[int] = Registry("class of this network")
    for index, label in enumerate(spec.labels):
        labels.register(label)(index)
    if isinstance(target, str):
        labels.get(target)  # also where there is no image
    return [labels.get(name) for name in names]
