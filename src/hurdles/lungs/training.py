"""The lung network and its training: the network, its file, its recipe, its data, the loop."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hurdles._version import __version__
from hurdles.data.files import writes
from hurdles.data.manifest import Manifest
from hurdles.data.split import split
from hurdles.data.vocabulary import Split
from hurdles.errors import ImageError, ManifestError, RecipeError, RunError
from hurdles.lungs.augment import alter, draw_alterations
from hurdles.lungs.mask import dice_score
from hurdles.pixels.cache import prepare
from hurdles.pixels.decode import decode
from hurdles.pixels.prepare import Preparation, resize_square
from hurdles.progress import Progress, Silent
from hurdles.training.checkpoint import TrainingState, load_weights, save_weights
from hurdles.training.machine import Machine, this_machine
from hurdles.training.prediction import as_input

#: Height and width of the square that the network takes, in pixels.
SIZE = 256

_KIND = "hurdles lungs 1"


class LungNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) for two processor cores.

    The square is folded to half its size with four channels before the first convolution and
    unfolded after the last one (Shi et al. 2016, arXiv:1609.05158): full resolution costs most of
    the time of a U-Net and adds little to an outline as smooth as a lung's.

    Parameters
    ----------
    width : int
        Channels at 128 x 128 pixels; two, four, eight and eight times as many at 64, 32, 16 and 8.

    Raises
    ------
    ValueError
        If `width` is not positive.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width is {width}; a network has at least one channel.")
        self.width = width
        widths = [width * factor for factor in (1, 2, 4, 8, 8)]
        self.down = nn.ModuleList(
            _block(before, after) for before, after in zip([4, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _block(below + here, here)
            for here, below in zip(reversed(widths[:-1]), reversed(widths[1:]), strict=True)
        )
        self.last = nn.Conv2d(width, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per pixel, positive in the lungs."""
        x = x.float()
        # Each image with mean 0 and deviation 1: exposure says nothing about lungs.
        mean = x.mean((2, 3), keepdim=True)
        deviation = ((x - mean) ** 2).mean((2, 3), keepdim=True).sqrt()
        # One gray level of 256: an image with less in it is nearly blank and stays so.
        x = nn.functional.pixel_unshuffle((x - mean) / deviation.clamp(min=1 / 256), 2)
        passed = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            passed.append(x)
        passed.pop()
        for block in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = block(torch.cat([x, passed.pop()], 1))
        logits: torch.Tensor = nn.functional.pixel_shuffle(self.last(x), 2)
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def save_lungs(path: Path, network: LungNet, meta: Mapping[str, str]) -> None:
    """Write a network as half-precision safetensors, whole or not at all."""
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    save_weights(path, halves, {**meta, "kind": _KIND, "width": str(network.width)})


def load_lungs(path: Path | None = None) -> tuple[LungNet, dict[str, str]]:
    """Return a network that `save_lungs` wrote, ready for use, and what was written with it."""
    if path is None:
        with resources.as_file(resources.files("hurdles.lungs") / "weights") as folder:
            return load_lungs(folder / "lungs.safetensors")
    if not path.is_file():
        raise RunError(f"{path} is missing: there are no lung weights. Make them with train-lungs.")
    try:
        tensors, meta = load_weights(path)
    except RunError as error:
        raise RunError(f"{path} is damaged; make the weights again with train-lungs.") from error
    if meta.get("kind") != _KIND:
        raise RunError(
            f"{path} does not hold lung weights, or those of another version "
            f"({meta.get('kind', 'no kind is stated')}). Give a file that train-lungs wrote."
        )
    with torch.device("meta"):  # no first weights: they would be drawn from the global generator
        network = LungNet(int(meta["width"]))
    whole = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    try:
        network.load_state_dict(whole, assign=True)
    except RuntimeError as error:
        raise RunError(
            f"{path} lacks weights of the lung network, or has others; make it again with "
            "train-lungs."
        ) from error
    return network.eval(), meta


@dataclass(frozen=True)
class LungRecipe:
    """Every setting that the weights depend on, beside the data."""

    #: Channels of the first level, see `hurdles.lungs.training.LungNet`.
    width: int = 16
    #: Rounds of `images` altered images each; the network is validated after each.
    epochs: int = 60
    #: Further rounds, in which most images are hardly altered: outlines become exact once the
    #: network knows what lungs may look like. May be 0.
    calm_epochs: int = 12
    #: Share of the images of those rounds that are hardly altered.
    calm: float = 0.75
    #: Altered images in an epoch: one number for small and large collections, so that the same
    #: recipe means the same amount of training.
    images: int = 480
    #: Images in a step.
    batch_size: int = 16
    #: Its peak: AdamW (Loshchilov and Hutter, arXiv:1711.05101) climbs to it over the first
    #: `warm_up` of the steps of `epochs` and comes down in a half cosine to zero; the calm rounds
    #: come down once more from a tenth of it.
    learning_rate: float = 3e-3
    #: Share of those steps, within (0, 1).
    warm_up: float = 0.1
    weight_decay: float = 0.02
    #: Of the split, the first weights and every alteration.
    seed: int = 0
    #: Of patients, for training, validation and test, where the data have no split.
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2)

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "images", "batch_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("learning_rate", "warm_up"):
            if not 0 < getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must be within (0, 1).")
        if not 0 <= self.calm <= 1:
            raise RecipeError(f"calm is {self.calm}; it must be within [0, 1].")
        for name in ("calm_epochs", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise RecipeError(f"{name} is {getattr(self, name)}; it must not be negative.")

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimizer in an epoch; the last batch may be smaller."""
        return -(-self.images // self.batch_size)

    @property
    def all_epochs(self) -> int:
        """Rounds in all, the calm ones last."""
        return self.epochs + self.calm_epochs

    @property
    def steps(self) -> int:
        """Steps of the optimizer in all."""
        return self.all_epochs * self.steps_per_epoch

    def to_json(self) -> str:
        """Return every setting as one line of JSON, which goes with the weights."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


@dataclass(frozen=True, eq=False)
class LungData:
    """Images whose mask could be read, row by row; the others are among the exclusions.

    `pixels` are uint8 (N, 256, 256), decoded and stretched; `masks` bool, True in the lungs.
    """

    manifest: Manifest
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)

    def positions(self, part: Split | str) -> NDArray[np.int64]:
        """Return where the images of one split are."""
        return np.flatnonzero(self.manifest.frame["split"] == Split(part).value)

    def part(self, part: Split | str) -> LungData:
        """Return the images of one split."""
        rows = self.positions(part)
        return LungData(self.manifest.part(part), self.pixels[rows], self.masks[rows])


def read_lungs(manifest: Manifest, *, cache: str | Path | None = None) -> LungData:
    """Read the images that have a mask, through the cache."""

    def mask_of(path: str) -> NDArray[np.bool_] | str:
        try:
            return np.asarray(resize_square(decode(path), SIZE) >= 0.5)
        except ImageError as error:
            return f"its mask says nothing: {error}"

    masked = manifest.select(manifest.frame["mask"].notna())
    if not len(masked):
        raise ManifestError(
            f"none of {len(manifest)} images has a lung mask. Give a manifest with a 'mask' "
            "column, or the folder of the montgomery-shenzhen collection."
        )
    prepared = prepare(masked, Preparation(SIZE), cache=cache)
    frame = prepared.manifest.frame
    with ThreadPoolExecutor() as pool:
        masks = list(pool.map(mask_of, frame["mask"]))
    results = zip(frame["image"], masks, strict=True)
    failed = {name: why for name, why in results if isinstance(why, str)}
    kept = [i for i, mask in enumerate(masks) if not isinstance(mask, str)]
    if not kept:
        raise ManifestError(
            f"none of {len(masks)} lung masks can be used, the first because {masks[0]}"
        )
    manifest = prepared.manifest.without(failed.keys(), failed.values())
    return LungData(manifest, prepared.pixels[kept], np.stack([masks[i] for i in kept]))


def split_lungs(
    manifest: Manifest, *, fractions: tuple[float, float, float], seed: int
) -> Manifest:
    """Split by patient, every collection and class shared out alike; a given split is kept."""
    if manifest.frame["split"].notna().all():
        return split(manifest, by="given")
    frame = manifest.frame
    strata = frame["source"].fillna("") + " " + frame["label"]
    done = split(Manifest(frame.assign(label=strata)), fractions=fractions, seed=seed)
    return manifest.with_split(done.frame["split"])


def across(manifest: Manifest, source: str, *, seed: int) -> Manifest:
    """Train on one collection and test on all others."""
    if source not in manifest.sources or len(manifest.sources) < 2:
        raise ManifestError(
            f"cannot train on {source!r} and test on the others: the sources are "
            f"{', '.join(manifest.sources) or 'not named'}."
        )
    here = (manifest.frame["source"] == source).to_numpy()
    # split() knows no empty test part: the sliver that it makes is trained on.
    validation, sliver = 0.15, 0.02
    inside = split_lungs(
        Manifest(manifest.select(here).frame.assign(split=None)),
        fractions=(1 - validation - sliver, validation, sliver),
        seed=seed,
    )
    parts = np.full(len(manifest), Split.TEST.value, dtype=object)
    own = inside.frame["split"].to_numpy()
    parts[here] = np.where(own == Split.VALIDATION.value, own, Split.TRAIN.value)
    return manifest.with_split(parts.tolist())


#: What a finished training leaves in its folder.
WEIGHTS, STATE = "lungs.safetensors", "state.safetensors"


def train_lungs(
    data: Manifest,
    out: Path,
    *,
    recipe: LungRecipe | None = None,
    cache: Path | None = None,
    machine: Machine | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train the lung network on every image that has a mask.

    The state is kept after each epoch, and a call with the same `out` goes on from there. The same
    recipe and data give the same weights on the same machine: every random number is drawn from
    the seed and the epoch alone.
    """
    recipe = recipe or LungRecipe()
    manifest = data.select(data.frame["mask"].notna())
    ready = read_lungs(
        split_lungs(manifest, fractions=recipe.fractions, seed=recipe.seed)
        if len(manifest)
        else manifest,
        cache=cache,
    )
    for part in (Split.TRAIN, Split.VALIDATION):
        if not len(ready.positions(part)):
            raise ManifestError(
                f"no image of the {part.value} part has a usable lung mask, of {len(ready)} that "
                "have one; split the images otherwise."
            )
    return _Training(recipe, ready, out, machine, progress or Silent()).run()


class _Training:
    def __init__(
        self,
        recipe: LungRecipe,
        data: LungData,
        out: Path,
        machine: Machine | None,
        progress: Progress,
    ) -> None:
        self.recipe = recipe
        self.data = data
        self.out = out
        self.machine = machine or this_machine()
        self.progress = progress
        self.train = data.positions(Split.TRAIN)
        self.validation = data.positions(Split.VALIDATION)
        with torch.random.fork_rng([]):
            torch.manual_seed(recipe.seed)
            network = LungNet(recipe.width)
        network = network.to(self.machine.device)
        # mypy does not know this keyword of Module.to.
        self.network: LungNet = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # stubs
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), weight_decay=recipe.weight_decay, fused=True
        )
        parts = [
            recipe.to_json(),
            data.manifest.content_hash,
            hashlib.sha256(data.masks.tobytes()).hexdigest(),
            torch.__version__,
        ]
        self.identity = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def run(self) -> Path:
        path = self.out / STATE
        state = TrainingState()
        if not path.exists():  # weights beside a state of this training are its own
            writes(path, self.out / WEIGHTS)
        if path.exists():
            state = TrainingState.load(path, self.network, self.optimizer, self.identity)
        self.progress.start("Training", self.recipe.steps)
        self.progress.advance((state.epoch - 1) * self.recipe.steps_per_epoch)
        while state.epoch <= self.recipe.all_epochs:
            self._epoch(state)
            state.save(path, self.network, self.optimizer, self.identity)
            self._ship(state)
        self._ship(state)  # a kill may have come between the last state and its weights
        return self.out / WEIGHTS

    def _epoch(self, state: TrainingState) -> None:
        started = time.monotonic()
        first = (state.epoch - 1) * self.recipe.steps_per_epoch
        self.network.train()
        total = 0.0
        for step, (images, lungs) in enumerate(self._batches(state.epoch), first):
            total += self._step(step, images, lungs)
            self.progress.advance(1, _note(state))
        if not math.isfinite(total):
            raise RunError(
                f"the training loss is {total} in epoch {state.epoch}: the weights have left the "
                "range of numbers. Lower learning_rate."
            )
        dice = self._validate()
        if dice > max((row["validation_dice"] for row in state.rows), default=-1.0):
            state.best = {k: v.detach().cpu().clone() for k, v in self.network.state_dict().items()}
        state.rows.append(
            {
                "epoch": state.epoch,
                "train_loss": total / self.recipe.steps_per_epoch,
                "validation_dice": dice,
                "seconds": time.monotonic() - started,
            }
        )
        self.progress.say(_note(state))
        state.epoch += 1

    def _batches(self, epoch: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
        """Yield altered images with their lungs; the next batch is made while one is learnt."""
        rng = np.random.default_rng([self.recipe.seed, epoch])
        rounds = -(-self.recipe.images // len(self.train))
        order = np.concatenate([rng.permutation(self.train) for _ in range(rounds)])
        calm = self.recipe.calm if epoch > self.recipe.epochs else 0.0
        drawn = draw_alterations(order[: self.recipe.images], rng, calm=calm)
        size = self.recipe.batch_size
        chunks = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(alter, self.data.pixels, self.data.masks, chunks[0])
            for chunk in [*chunks[1:], None]:
                ready = coming.result()
                if chunk is not None:
                    coming = pool.submit(alter, self.data.pixels, self.data.masks, chunk)
                yield ready

    def _step(self, step: int, images: NDArray[np.uint8], lungs: NDArray[np.bool_]) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = _learning_rate(self.recipe, step)
        self.optimizer.zero_grad(set_to_none=True)
        truth = torch.from_numpy(lungs).to(self.machine.device).unsqueeze(1).float()
        with self.machine.mixed():
            logits = self.network(as_input(images, self.machine.device))
        loss = lung_loss(logits.float(), truth)
        loss.backward()  # type: ignore[no-untyped-call] # untyped in torch
        self.optimizer.step()
        return float(loss.detach())

    def _validate(self) -> float:
        self.network.eval()
        scores = []
        with torch.inference_mode():
            for chunk in np.array_split(self.validation, -(-len(self.validation) // 16)):
                with self.machine.mixed():
                    logits = self.network(as_input(self.data.pixels[chunk], self.machine.device))
                masks = (logits[:, 0] > 0).cpu().numpy()
                pairs = zip(self.data.masks[chunk], masks, strict=True)
                scores += [dice_score(*pair) for pair in pairs]
        return float(np.mean(scores))

    def _ship(self, state: TrainingState) -> None:
        best = copy.deepcopy(self.network).cpu()
        best.load_state_dict(state.best)
        row = max(state.rows, key=lambda row: row["validation_dice"])
        meta = {
            "hurdles": __version__,
            "recipe": self.recipe.to_json(),
            "data": self.data.manifest.content_hash,
            "epoch": f"{row['epoch']} of {self.recipe.all_epochs}",
            "validation_dice": f"{row['validation_dice']:.4f}",
        }
        save_lungs(self.out / WEIGHTS, best, meta)


def lung_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return the mean of cross-entropy per pixel and of 1 - soft Dice per image.

    The sum of both is the usual choice (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z): the
    first is smooth everywhere, the second is what is measured.
    """
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    probability = logits.sigmoid()
    common = (probability * truth).sum((1, 2, 3))
    areas = probability.sum((1, 2, 3)) + truth.sum((1, 2, 3))
    # One pixel on both sides: an image without lungs asks for an empty mask, not for 0 / 0.
    return entropy + 1 - ((2 * common + 1) / (areas + 1)).mean()


def _learning_rate(recipe: LungRecipe, step: int) -> float:
    first = recipe.epochs * recipe.steps_per_epoch
    warm = max(1, round(recipe.warm_up * first))
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    if step < first:
        peak, done = recipe.learning_rate, (step - warm) / (first - warm)
    else:
        peak, done = recipe.learning_rate * 0.1, (step - first) / (recipe.steps - first)
    return peak * (0.5 * (1 + math.cos(math.pi * done)))


def _note(state: TrainingState) -> str:
    if not state.rows:
        return f"epoch {state.epoch}"
    row = state.rows[-1]
    return f"epoch {row['epoch']}, validation Dice {row['validation_dice']:.4f}"
