"""What the machine is, and that nothing breaks where it does not say."""

from __future__ import annotations

import json

import pytest
import torch

from hurdles.training import machine
from hurdles.training.machine import Machine, environment, this_machine


def flags(monkeypatch, text: str | None, capability: str = "AVX512") -> None:
    """Make /proc/cpuinfo say `text`, or be missing."""

    real = machine.Path.read_text

    def read(path, **options):
        if str(path) != "/proc/cpuinfo":
            return real(path, **options)
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(machine.Path, "read_text", read)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "_onednn_has_bfloat16", lambda: True)


@pytest.mark.parametrize(
    ("text", "capability", "expected"),
    [
        ("flags : fpu avx512f avx512_bf16 amx", "AVX512", "bfloat16"),
        ("flags : fpu avx512f", "AVX512", "float32"),
        ("flags : fpu avx2 avx512_bf16", "AVX2", "float32"),
        ("", "AVX512", "float32"),
        (None, "AVX512", "float32"),
    ],
)
def test_bfloat16_only_where_the_processor_has_it(monkeypatch, text, capability, expected):
    flags(monkeypatch, text, capability)
    found = this_machine()
    assert (str(found.device), found.format_name) == ("cpu", expected)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_asked_for_is_taken(monkeypatch, precision):
    flags(monkeypatch, "")
    assert this_machine(precision).format_name == precision


def test_an_unknown_precision():
    with pytest.raises(ValueError, match="float16"):
        this_machine("float16")


def test_passes_run_in_the_machines_format():
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with Machine("cpu", torch.bfloat16).mixed():
        assert layer(x).dtype is torch.bfloat16
    with Machine("cpu", torch.float32).mixed():
        assert layer(x).dtype is torch.float32
    assert layer(x).dtype is torch.float32


def test_what_a_run_records():
    found = environment(Machine("cpu", torch.float32))
    assert {"hurdles", "python", "system", "processor", "threads", "torch", "numpy"} <= set(found)
    assert (found["device"], found["precision"]) == ("cpu", "float32")
    assert found["torch"].startswith(torch.__version__.partition("+")[0])
    assert found["instructions"].startswith(torch.backends.cpu.get_cpu_capability())
    assert json.loads(json.dumps(found)) == found


def test_bfloat16_is_not_taken_where_onednn_was_told_to_do_without(monkeypatch):
    flags(monkeypatch, "flags : fpu avx512f avx512_bf16")
    monkeypatch.setattr(machine, "_onednn_has_bfloat16", lambda: False)
    assert this_machine().format_name == "float32"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    assert this_machine().instructions == "AVX512 BF16 AVX2"


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ("fpu avx512f", "AVX512"),
        ("fpu avx512f avx512_bf16", "AVX512 BF16"),
        ("fpu avx512f avx512_bf16 amx_bf16 amx_tile", "AVX512 BF16 AMX"),
    ],
)
def test_processors_of_other_kernels_are_told_apart(monkeypatch, known, name):
    flags(monkeypatch, f"flags : {known}")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert this_machine("float32").instructions == name


def test_opaque_tensors_are_for_the_processor():
    assert not Machine("cuda", torch.float32).has_opaque


def test_the_record_needs_no_cpuinfo(monkeypatch):
    flags(monkeypatch, None)
    assert environment()["processor"]
