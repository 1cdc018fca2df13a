"""Files that are no ONNX are refused by what they are, with the way to ONNX, and nothing runs."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from hurdles.errors import HurdlesError, ModelError
from hurdles.foreign.files import require_onnx
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import Spec

sys.path.insert(0, str(Path(__file__).parent))
from networks import SIZE, Net

SPEC = Spec(classes=("Normal", "Pneumonia"), size=SIZE)


class Plant:
    """Makes a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        OnnxModel(path, SPEC)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_pickle_is_refused_and_not_loaded(tmp_path):
    path, mark = tmp_path / "model.onnx", tmp_path / "mark"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps(Plant(mark), protocol=protocol))
        message = refused(path)
        assert "a Python pickle" in message
        assert "hurdles loads no pickle" in message
        assert "to_onnx(pipeline" in message
        assert "torch.onnx.export(" in message
    assert not mark.exists()
    pickle.loads(path.read_bytes())  # the plant does work
    assert mark.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pytorch_files_are_refused_by_their_kind(tmp_path):
    net = torch.nn.Linear(2, 2)
    torch.save(net, tmp_path / "whole.pth")
    torch.save(net.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(net), tmp_path / "script.pt")
    assert "a PyTorch file, which holds a pickle" in refused(tmp_path / "whole.pth")
    assert "a Python pickle" in refused(tmp_path / "old.pt")
    message = refused(tmp_path / "script.pt")
    assert "a TorchScript archive" in message
    assert "torch.onnx.export(" in message


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_archive_of_torch_export_is_refused_before_torch_opens_it(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    message = refused(path)
    assert "an archive of torch.export (.pt2)" in message
    assert 'torch.export.load("model.pt2")' in message
    assert ".pt2" in message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("member", ["sample_inputs", "weights", "expression"])
def test_a_planted_archive_of_torch_export_runs_nothing(tmp_path, member):
    """Torch itself runs what is planted in one of its members; here the file is not opened."""
    mark = tmp_path / "mark"
    source, path = tmp_path / "clean.pt2", tmp_path / "model.pt2"
    dim = torch.export.Dim("n", max=8)
    program = torch.export.export(
        torch.nn.Linear(2, 2), (torch.zeros(3, 2),), dynamic_shapes=({0: dim},)
    )
    torch.export.save(program, source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if member == "sample_inputs" and "/sample_inputs/" in name:
                data = planted(mark)
            if member == "weights" and name.endswith("weights_config.json"):
                config = json.loads(data)
                for entry in config["config"].values():
                    entry["use_pickle"] = True
                data = json.dumps(config).encode()
            elif member == "weights" and "/data/weights/" in name:
                data = planted(mark)
            if member == "expression" and name.endswith("/models/model.json"):
                code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
                entry = f'"expr_str": {json.dumps(code)}'.replace("\\", "\\\\")
                data = re.sub(r'"expr_str": "[^"]*"', entry, data.decode()).encode()
            new.writestr(zipfile.ZipInfo(name), data)
    assert "an archive of torch.export" in refused(path)
    assert not mark.exists()
    torch_would_run(path, mark)


def planted(mark: Path) -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save(Plant(mark), buffer)
    return buffer.getvalue()


def torch_would_run(path: Path, mark: Path) -> None:
    """Show that the danger is there, so that nobody opens the door without a look."""
    with contextlib.suppress(Exception):
        torch.export.load(path)
    if not mark.exists():
        pytest.skip("this version of torch runs it no more; others do")


def test_the_archive_of_before_is_refused_too(tmp_path):
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", pickle.dumps(Plant(tmp_path / "mark")))
    assert "an archive of torch.export" in refused(path)
    assert not (tmp_path / "mark").exists()


def write_zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")


def test_files_of_other_programs_are_refused_by_their_kind(tmp_path):
    path = tmp_path / "model.onnx"
    contents = {
        "an HDF5 file, as Keras writes": b"\x89HDF\r\n\x1a\n" + bytes(99),
        "a TensorFlow Lite model": b"\x1c\0\0\0TFL3" + bytes(99),
        "a safetensors file": struct.pack("<Q", 20) + b'{"x":{"dtype":"F32"}}' + bytes(99),
        "a NumPy array": b"\x93NUMPY\x01\0" + bytes(99),
        "a compressed file": b"\x1f\x8b\x08" + bytes(99),
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "a text file": "Größe = 3\n".encode() * 999,
        "is empty": b"",
    }
    for words, content in contents.items():
        path.write_bytes(content)
        assert words in refused(path)
    write_zip(path, "config.json", "model.weights.h5", "metadata.json")
    assert "a Keras model (.keras)" in refused(path)
    assert 'model.export("model.onnx", format="onnx")' in refused(path)
    write_zip(path, "a.npy")
    assert "an archive of NumPy arrays" in refused(path)
    write_zip(path, "readme.txt")
    assert "a zip archive" in refused(path)


def test_folders_and_absent_files_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.onnx")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    message = refused(tmp_path)
    assert "a TensorFlow SavedModel" in message
    assert "tf2onnx.convert --saved-model" in message


def test_damaged_files_are_named(tmp_path):
    whole = Net().write(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    require_onnx(tmp_path / "whole.onnx")
    for content in (whole[: len(whole) // 2], whole[:40], b"\x00\xff\xfe" * 50, whole[1:]):
        path.write_bytes(content)
        assert "damaged or no ONNX file" in refused(path) or "no network" in refused(path)


def test_bytes_changed_anywhere_give_an_error_or_a_model(tmp_path):
    """Whatever a file holds, nothing but our errors comes out, and the process lives."""
    whole = Net().write(tmp_path / "whole.onnx").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    pixels = np.zeros((1, SIZE, SIZE), np.uint8)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), size=3):
            content[place] = rng.integers(256)
        path.write_bytes(bytes(content))
        with contextlib.suppress(HurdlesError):
            OnnxModel(path, SPEC, threads=1).ask(pixels)
