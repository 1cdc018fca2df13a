"""The machine: device, number format, memory allocator, and what a run records of them."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hurdles._version import __version__
from hurdles.recipe.choices import Precision

if TYPE_CHECKING:
    import torch

# glibc's mallopt parameters, from malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


class Machine:
    """Where tensors live and in which format the passes run.

    Parameters
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.
    dtype : torch.dtype
        Format of the forward and backward pass; weights stay float32.
    """

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        import torch

        self.device = torch.device(device)
        self.dtype = dtype

    @property
    def format_name(self) -> str:
        """``"bfloat16"`` or ``"float32"``."""
        return str(self.dtype).removeprefix("torch.")

    @contextmanager
    def mixed(self) -> Iterator[None]:
        """Run the block's forward pass in the machine's number format."""
        import torch

        enabled = self.dtype is not torch.float32
        with torch.autocast(self.device.type, self.dtype, enabled=enabled):
            yield


def this_machine(precision: Precision | str = Precision.AUTO) -> Machine:
    """Return the fastest device here, unasked: a CUDA GPU where there is one."""
    keep_big_blocks()
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = Precision(precision)
    if wanted is Precision.AUTO:
        wanted = Precision.BFLOAT16 if _has_bfloat16(device) else Precision.FLOAT32
    return Machine(device, torch.bfloat16 if wanted is Precision.BFLOAT16 else torch.float32)


def _has_bfloat16(device: str) -> bool:
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return "AVX512" in torch.backends.cpu.get_cpu_capability() and "avx512_bf16" in _cpuinfo()


@contextmanager
def deterministic() -> Iterator[None]:
    """Let cuDNN choose, within the block, only algorithms that give the same bits every time."""
    import torch

    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@functools.cache
def keep_big_blocks() -> bool:
    """Tell the C library to keep big blocks instead of returning them to the kernel.

    A training step allocates and frees hundreds of megabytes; each returned block is zeroed again
    by the kernel when it comes back. Keeping them spares that; ``bench/training.py`` measures the
    loop with it, beside a plain one without. Takes effect for later allocations, once per
    process; does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    told = [
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30),
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1),
        libc.mallopt(_M_TOP_PAD, 256 << 20),
    ]
    return all(told)


def environment(machine: Machine | None = None) -> dict[str, Any]:
    """Return what a reader needs to make the numbers again: versions and the machine's kind."""
    import torch

    packages = ("torch", "numpy", "pandas", "scikit-learn", "scipy", "opencv-python-headless")
    found: dict[str, Any] = {
        "hurdles": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        **{name: metadata.version(name) for name in packages},
    }
    if machine is not None:
        found["device"] = torch.cuda.get_device_name() if machine.device.type == "cuda" else "cpu"
        found["precision"] = machine.format_name
    return found


def in_words(found: Mapping[str, Any]) -> str:
    """Return an environment as one line of a page."""
    words = (
        f"hurdles {found['hurdles']}, Python {found['python']}, torch {found['torch']}, numpy "
        f"{found['numpy']}, OpenCV {found['opencv-python-headless']}; {found['processor']}, "
        f"{found['threads']} threads"
    )
    if "device" not in found:
        return words
    return f"{words}, device {found['device']}, training in {found['precision']}"


def _processor() -> str:
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _cpuinfo() -> str:
    """Return what Linux says of the processors, or nothing on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
