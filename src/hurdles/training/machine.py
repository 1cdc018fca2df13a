"""The machine: device, number format, memory allocator, and the environment that a run records."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hurdles._version import __version__
from hurdles.progress import keep_big_blocks
from hurdles.recipe.choices import Precision

if TYPE_CHECKING:
    import torch

#: Flags of processors of which torch says "AVX512" alike and oneDNN has other kernels for each.
_BEYOND_AVX512 = {"avx512_bf16": "BF16", "amx_bf16": "AMX"}


class Machine:
    """The device of the tensors and the format of the passes; weights stay float32."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        import torch

        self.device = torch.device(device)
        self.dtype = dtype

    @property
    def format_name(self) -> str:
        """``"bfloat16"`` or ``"float32"``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def has_opaque(self) -> bool:
        """Tell whether oneDNN's own layouts train here (`hurdles.models.onednn`)."""
        import torch

        from hurdles.models.onednn import available

        can_compute = self.dtype is not torch.bfloat16 or _onednn_has_bfloat16()
        return self.device.type == "cpu" and available() and can_compute

    @property
    def instructions(self) -> str:
        """The instructions that decide which kernels a pass takes, and so its bits."""
        import torch

        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        flags = _cpuinfo()
        beyond = [name for flag, name in _BEYOND_AVX512.items() if flag in flags]
        limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
        words = [torch.backends.cpu.get_cpu_capability(), *beyond, limit.upper()]
        return " ".join(filter(None, words))

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
    half = Precision(precision) is Precision.BFLOAT16
    if Precision(precision) is Precision.AUTO and device == "cuda":
        half = torch.cuda.is_bf16_supported(including_emulation=False)
    elif Precision(precision) is Precision.AUTO:
        capable = "AVX512" in torch.backends.cpu.get_cpu_capability()
        half = capable and "avx512_bf16" in _cpuinfo() and _onednn_has_bfloat16()
    return Machine(device, torch.bfloat16 if half else torch.float32)


def _onednn_has_bfloat16() -> bool:
    """Tell whether oneDNN computes in bfloat16, which ``ONEDNN_MAX_CPU_ISA`` may forbid."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


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


def environment(machine: Machine | None = None) -> dict[str, Any]:
    """Return what a reader needs to make the numbers again: versions and the machine's kind."""
    import torch

    packages = ("torch", "numpy", "pandas", "scikit-learn", "scipy", "opencv-python-headless")
    models = [line for line in _cpuinfo().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.processor()
    record: dict[str, Any] = {
        "hurdles": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor or "unknown",
        "threads": torch.get_num_threads(),
        **{name: metadata.version(name) for name in packages},
    }
    if machine is not None:
        record["device"] = torch.cuda.get_device_name() if machine.device.type == "cuda" else "cpu"
        record["precision"] = machine.format_name
        record["instructions"] = machine.instructions
    return record


def in_words(record: Mapping[str, Any]) -> str:
    """Return an environment as one line of a page."""
    words = (
        f"hurdles {record['hurdles']}, Python {record['python']}, torch {record['torch']}, numpy "
        f"{record['numpy']}, OpenCV {record['opencv-python-headless']}; {record['processor']}, "
        f"{record['threads']} threads"
    )
    if "device" not in record:
        return words
    return f"{words}, device {record['device']}, training in {record['precision']}"


def _cpuinfo() -> str:
    """Return what Linux says of the processors, or nothing on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
