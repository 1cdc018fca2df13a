"""Files of models, told by their content: ONNX is read, others are refused with the way to ONNX.

Nothing here runs what a file holds. Pickles, and files whose own loader falls back to one, are told
by their first bytes and the names of their members, and never opened by what made them.
"""

from __future__ import annotations

import string
import zipfile
from pathlib import Path

from hurdles.errors import ModelError

_PYTORCH = """\
    import torch
    model.eval()
    torch.onnx.export(
        model, (torch.zeros(2, 1, 224, 224),), "model.onnx", dynamo=True, external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )"""
_PYTORCH_ADVICE = (
    "Where the model runs, export it to ONNX (channels and size are yours):\n" + _PYTORCH
)
_PT2_ADVICE = (
    "Where the model runs, export it to ONNX:\n"
    "    import torch\n"
    '    program = torch.export.load("model.pt2")\n'
    '    torch.onnx.export(program, dynamo=True, external_data=False).save("model.onnx")'
)
_SCRIPT_ADVICE = (
    "Where the model runs, export the module that was scripted or traced to ONNX (channels and "
    "size are yours):\n" + _PYTORCH
)
_KERAS_ADVICE = (
    "Where the model runs, export it to ONNX (pip install tf2onnx):\n"
    "    import keras\n"
    '    model = keras.saving.load_model("model.keras", compile=False)\n'
    '    model.export("model.onnx", format="onnx")'
)
_TENSORFLOW_ADVICE = (
    "Where the model runs, export it to ONNX (pip install tf2onnx):\n"
    "    python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
)
_TFLITE_ADVICE = (
    "Where the model runs, export it to ONNX (pip install tf2onnx):\n"
    "    python -m tf2onnx.convert --tflite model.tflite --output model.onnx"
)
_PICKLE_ADVICE = (
    "hurdles loads no pickle: it may run anything. Where the model runs, export it to ONNX.\n"
    "scikit-learn (pip install skl2onnx):\n"
    "    from skl2onnx import to_onnx\n"
    '    onnx = to_onnx(pipeline, X[:1].astype("float32"), options={"zipmap": False})\n'
    '    open("model.onnx", "wb").write(onnx.SerializeToString())\n'
    "PyTorch:\n" + _PYTORCH
)
_WEIGHTS_ADVICE = (
    "Weights alone are no model; build the network with them and export it to ONNX:\n" + _PYTORCH
)
_OTHER_ADVICE = (
    "Export the model to ONNX where it runs, or ask it there by --model-command (any program that "
    "reads images and writes a CSV)."
)


def require_onnx(path: str | Path) -> None:
    """Raise ModelError unless a file may be ONNX: by what it is, with the lines that export it."""
    place = Path(path)
    if place.is_dir():
        if (place / "saved_model.pb").is_file():
            raise ModelError(f"{place} is a TensorFlow SavedModel. {_TENSORFLOW_ADVICE}")
        raise ModelError(f"{place} is a folder; give the .onnx file in it.")
    if not place.is_file():
        raise ModelError(f"{place}: no such file.")
    with place.open("rb") as handle:
        head = handle.read(4096)
    if not head:
        raise ModelError(f"{place} is empty; export or copy it again.")
    kind, advice = _kind(place, head)
    if kind:
        raise ModelError(f"{place} is {kind}, not an ONNX file. {advice}")


def _kind(path: Path, head: bytes) -> tuple[str, str]:
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file, as Keras writes (.h5)", _KERAS_ADVICE
    if zipfile.is_zipfile(path):
        return _kind_of_zip(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle (PyTorch, scikit-learn or joblib)", _PICKLE_ADVICE
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", _TFLITE_ADVICE
    if head[8:9] == b"{" and head[:8].rstrip(b"\0") and b'"' in head[:64]:
        return "a safetensors file: weights without a network", _WEIGHTS_ADVICE
    if head.startswith(b"\x93NUMPY"):
        return "a NumPy array", _OTHER_ADVICE
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"(\xb5/\xfd")):
        return "a compressed file", "Unpack it first; " + _OTHER_ADVICE
    if head.startswith((b"version https://git-lfs", b"version https://hawser")):
        return "a pointer of Git LFS", "Fetch the file itself: git lfs pull."
    if _is_text(head):
        return "a text file", _OTHER_ADVICE
    return "", ""


def _kind_of_zip(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive", "Copy or export it again."
    ends = {name.rpartition("/")[2] for name in names}
    old_export = "serialized_exported_program.json" in ends
    if old_export or "archive_format" in ends or any("/models/" in name for name in names):
        # torch.export.load unpickles weights, constants and sample inputs where the archive says
        # so, and has SymPy evaluate the expressions in its JSON: an archive without any pickle may
        # still run code. No look inside proves one harmless, so every one is refused.
        why = "whose own loader may unpickle and evaluate what is in it"
        return f"an archive of torch.export (.pt2), {why}", _PT2_ADVICE
    if any("/code/" in name for name in names) and "data.pkl" in ends | {"constants.pkl"}:
        return "a TorchScript archive", _SCRIPT_ADVICE
    if ends & {"data.pkl", "constants.pkl"}:
        return "a PyTorch file, which holds a pickle (.pt, .pth)", _PYTORCH_ADVICE
    if "config.json" in ends and any(name.endswith(".weights.h5") for name in ends):
        return "a Keras model (.keras)", _KERAS_ADVICE
    if any(name.endswith(".npy") for name in ends):
        return "an archive of NumPy arrays (.npz)", _OTHER_ADVICE
    return "a zip archive", "Unpack it first; " + _OTHER_ADVICE


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else the last character is cut in two
            return False
        text = head[: error.start].decode("utf-8")
    return all(c in string.whitespace or c.isprintable() for c in text)
