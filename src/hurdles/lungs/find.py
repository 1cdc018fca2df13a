"""The lung network at work: decoded pixels in, judged masks out, which the cache keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hurdles.errors import LungsNotFoundError
from hurdles.lungs.mask import CLEANING_VERSION, LungMask, clean
from hurdles.pixels.prepare import resize_square

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

    from hurdles.lungs.training import LungNet
    from hurdles.training.machine import Machine

#: Height and width of the network's input and of its masks, as in `hurdles.lungs.training`, which
#: is not imported for it: it needs torch.
SIZE = 256

_BATCH = 16


class Segmenter:
    """Finds the lungs in radiographs.

    Constructing it reads nothing; the weights are loaded by the first call, once. Several threads
    may share a segmenter: calling it works in the caller's thread alone, so that they work side by
    side, while `masks` and `probabilities` take turns and use every processor by themselves.

    `weights` are a file written by `hurdles.lungs.training.train_lungs`, by default those in the
    package; the first call raises a RunError if they are missing, damaged, or of another network.
    """

    def __init__(self, weights: Path | None = None) -> None:
        self._weights = weights
        self._lock = Lock()
        self._loaded: tuple[LungNet, Machine, str] | None = None

    def __reduce__(self) -> tuple[Callable[..., Segmenter], tuple[Path | None]]:
        # A worker process loads the weights itself, if it ever needs them; a lock cannot travel.
        return (Segmenter, (self._weights,))

    @property
    def key(self) -> str:
        """Short hash of the weights and the version of the clean-up: equal keys, equal masks.

        Reading it loads the weights.
        """
        return f"lungs-{self._ready()[2]}-c{CLEANING_VERSION}"

    def __call__(self, pixels: NDArray[np.float32]) -> LungMask:
        """Return the lungs of one radiograph, float32 (H, W) within [0, 1].

        The mask has the shape (256, 256): stretched to a square, as the image is for the network.
        `hurdles.pixels.prepare.stretched` takes it back to the image's own shape.
        """
        square = resize_square(pixels, SIZE)
        network, machine, _ = self._ready()
        if machine.device.type != "cpu":
            return clean(self.probabilities([square])[0])
        with _one_thread():
            return clean(_outputs(network, machine, [square])[0])

    def masks(self, batch: Sequence[NDArray[np.float32]]) -> list[LungMask]:
        """Return the lungs of several radiographs, of any shapes; faster than one by one."""
        squares = [resize_square(pixels, SIZE) for pixels in batch]
        return [clean(each) for each in self.probabilities(squares)]

    def probabilities(self, squares: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the probabilities of being lung, float32 (n, 256, 256), before any clean-up.

        The squares come from `hurdles.pixels.prepare.resize_square`.
        """
        network, machine, _ = self._ready()
        parts = []
        for start in range(0, len(squares), _BATCH):
            # torch's threads would fight for the processors if two batches ran at once.
            with self._lock:
                parts.append(_outputs(network, machine, squares[start : start + _BATCH]))
        return np.concatenate(parts) if parts else np.empty((0, SIZE, SIZE), dtype=np.float32)

    def load(self) -> None:
        """Load the weights now rather than at the first call; errors as `load_lungs` has them."""
        self._ready()

    def _ready(self) -> tuple[LungNet, Machine, str]:
        with self._lock:
            if self._loaded is None:
                import torch

                from hurdles.lungs.training import load_lungs
                from hurdles.training.machine import this_machine

                # In bfloat16 a mask's edge moves with the size of the batch and with the machine;
                # equal keys promise equal masks, and float32 is fast enough.
                machine = this_machine("float32")
                network, _ = load_lungs(self._weights)
                digest = hashlib.sha256()  # of names and values, whatever file they came in
                for name, tensor in sorted(network.state_dict().items()):
                    values = tensor.detach().cpu().contiguous().numpy()
                    digest.update(f"{name} {values.dtype} {values.shape}".encode())
                    digest.update(values.tobytes())
                # mypy does not know this keyword of Module.to.
                network = network.to(machine.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # stubs
                self._loaded = (network.eval(), machine, digest.hexdigest()[:12])
            return self._loaded


def _outputs(
    network: LungNet, machine: Machine, squares: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    import torch

    stack = torch.from_numpy(np.stack(squares)).unsqueeze(1)
    with torch.inference_mode(), machine.mixed():
        images = stack.to(machine.device).contiguous(memory_format=torch.channels_last)
        logits = network(images)
        return np.asarray(logits.float().sigmoid_().squeeze(1).cpu().numpy())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in the calling thread alone, within the block; other threads are left alone.

    Callers prepare images side by side. Threads that wait for each other at every layer of so
    small a network cost more than they bring: on two busy cores an image took 142 ms of processor
    time with two of them, 27 ms with one.
    """
    import torch

    torch.get_num_threads()  # torch sets a thread's number when it is first asked, and not later
    with _thread_pools().limit(limits=1, user_api="openmp"):
        yield


@cache
def _thread_pools() -> ThreadpoolController:
    """Return what sets the numbers of threads; looking for the libraries takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


#: Part of every key. Raise it when one and the same mask comes to be stored otherwise.
_VERSION = 1


@dataclass(frozen=True)
class LungPreparation:
    """A `hurdles.pixels.cache.PixelPreparation`: decoded pixels into the mask of their lungs."""

    segmenter: Segmenter = field(default_factory=Segmenter)

    @property
    def size(self) -> int:
        """Height and width of the masks: 256."""
        return SIZE

    @property
    def key(self) -> str:
        """The segmenter's key and the version of the format; loads the weights."""
        return f"{self.segmenter.key}-v{_VERSION}"

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the mask of the lungs."""
        lungs = self.segmenter(pixels)
        if not lungs.is_plausible:
            raise LungsNotFoundError(
                f"the lungs were not found: {lungs.flaw}. Leave the image out, or choose a "
                "preparation that needs no lungs, such as 'raw'."
            )
        return np.multiply(lungs.mask, 255, dtype=np.uint8)


@cache
def shipped_lungs() -> LungPreparation:
    """Return the one `LungPreparation` of this process that uses the network in the package."""
    return LungPreparation()
