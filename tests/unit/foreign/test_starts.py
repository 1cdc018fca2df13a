"""Starts of a spec: the conventions of a library, and what a file says of itself."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest

from hurdles.errors import RegistryError, SpecError
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.onnx_file import SPEC_KEY, OnnxFile
from hurdles.foreign.spec import Spec
from hurdles.foreign.starts import LIBRARIES, heading_of, start_of

sys.path.insert(0, str(Path(__file__).parent))
from networks import SIZE, Net


@pytest.mark.parametrize("name", LIBRARIES.names())
def test_every_start_is_a_spec_that_can_be_written_and_read(name):
    import tomllib

    spec = start_of(name)
    heading = heading_of(spec, name)
    assert Spec.parse(tomllib.loads(spec.to_toml(heading))) == spec
    assert "Check it before you believe it" in heading
    assert max(map(len, spec.to_toml(heading).splitlines())) <= 100


def test_the_findings_of_torchxrayvision_stand_in_its_order():
    spec = start_of("torchxrayvision")
    assert len(spec.classes) == 18
    assert (spec.classes[0], spec.classes[8], spec.classes[17]) == (
        "Atelectasis",
        "Pneumonia",
        "Enlarged Cardiomediastinum",
    )
    assert spec.labels == ("Pneumonia", "Normal")


def test_classes_and_size_are_taken_over():
    spec = start_of("torchvision", classes=["A", "B", "C"], size=256)
    assert (spec.classes, spec.size) == (("A", "B", "C"), 256)
    assert "put the names of your classes here" not in heading_of(spec)
    assert "put the names of your classes here" in heading_of(start_of("torchvision"))


@pytest.mark.parametrize("like", [None, *LIBRARIES.names()])
@pytest.mark.parametrize(
    "net",
    [
        {},
        {"channels": 3, "k": 3, "nhwc": True, "last": "Softmax"},
        {"k": 1, "last": "Sigmoid", "batch": 1},
        {"k": 5, "last": "Sigmoid", "features": True},
        {"size": "side", "channels": 3},
    ],
    ids=str,
)
def test_a_start_from_a_file_fits_the_file(tmp_path, net, like):
    path = Net(**net).write(tmp_path / "net.onnx")
    spec = start_of(like, model=OnnxFile(path))
    model = OnnxModel(path, spec, threads=1)
    assert len(spec.classes) == net.get("k", 2)
    assert spec.size == (224 if net.get("size") else SIZE)
    if net.get("last"):
        assert spec.output == net["last"].lower()
    if net.get("features"):
        assert spec.output_name == "answers"
        assert model.capabilities == {"answers", "features"}


def test_a_model_with_one_output_gives_the_second_class(tmp_path):
    path = Net(k=1, last="Sigmoid").write(tmp_path / "net.onnx")
    spec = start_of("keras", model=OnnxFile(path), classes=["Normal", "Pneumonia"])
    assert (spec.classes, spec.labels) == (("Pneumonia",), ("Pneumonia", "Normal"))


def test_another_number_of_classes_is_refused(tmp_path):
    path = Net(k=3).write(tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=r"the file has 3 outputs and 2 classes are given \(A, B\)"):
        start_of("torchvision", model=OnnxFile(path), classes=["A", "B"])


def test_the_spec_in_a_file_is_the_start(tmp_path):
    path = Net().write(tmp_path / "net.onnx")
    model = onnx.load(path)
    own = Spec(classes=("A", "B"), size=SIZE, preparation="equalized", name="exported")
    model.metadata_props.add(key=SPEC_KEY, value=own.to_toml())
    onnx.save(model, path)
    assert start_of(model=OnnxFile(path)) == own
    assert start_of(model=OnnxFile(path), classes=["C", "D"]).classes == ("C", "D")


def test_nothing_to_begin_with_is_refused():
    with pytest.raises(SpecError, match="say what the model is like"):
        start_of()
    with pytest.raises(RegistryError, match="did you mean 'torchvision'"):
        start_of("torchvison")
