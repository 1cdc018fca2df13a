"""An ONNX model answers as torch does with the same weights; what does not fit is said first."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper
from torch import nn

from hurdles.errors import ModelError, SpecError
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.onnx_file import SPEC_KEY, OnnxFile
from hurdles.foreign.spec import Spec

sys.path.insert(0, str(Path(__file__).parent))
from networks import SIZE, Net, save, softmax

SPEC = Spec(classes=("Normal", "Pneumonia"), size=SIZE)
PIXELS = np.random.default_rng(0).integers(0, 256, (11, SIZE, SIZE)).astype(np.uint8)


@pytest.fixture
def path(tmp_path):
    return Net(features=True).write(tmp_path / "net.onnx")


def both(spec=SPEC, **fields):
    return spec.changed(output_name="logits", **fields)


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", ["n", 1, 4, 16])
@pytest.mark.parametrize("nhwc", [False, True])
def test_answers_are_those_of_torch_whatever_the_batch(tmp_path, batch, nhwc):
    net = Net(channels=3, k=3, batch=batch, nhwc=nhwc)
    spec = Spec(
        classes=("A", "B", "C"),
        size=SIZE,
        channels=3,
        channel_order="rgb",
        mean=(0.485, 0.456, 0.406),
        sd=(0.229, 0.224, 0.225),
        layout="NHWC" if nhwc else "NCHW",
    )
    model = OnnxModel(net.write(tmp_path / "net.onnx"), spec, threads=1, batch=5)
    expected = softmax(net.torch(spec.arrays(PIXELS)))
    p = model.ask(PIXELS)
    assert p.dtype == np.float64
    np.testing.assert_allclose(p, expected, atol=1e-5)
    np.testing.assert_array_equal(model.ask(PIXELS[:1]).shape, (1, 3))
    assert model.ask(PIXELS[:0]).shape == (0, 3)


def test_answers_are_those_of_onnx_runtime_called_by_hand(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = PIXELS[:, None].astype(np.float32) / 255
    logits, features = session.run(None, {"x": x})
    model = OnnxModel(path, both(features_name="features"), threads=1)
    np.testing.assert_allclose(model.ask(PIXELS), softmax(logits.astype(float)), atol=1e-6)
    np.testing.assert_allclose(model.features(PIXELS), features, atol=1e-6)
    assert model.features(PIXELS).dtype == np.float32


@pytest.mark.filterwarnings("ignore")
def test_a_network_exported_by_torch_answers_as_it_does(tmp_path):
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps, self.head = nn.Conv2d(1, 4, 3, stride=2), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.maps(x).relu().mean((2, 3)))

    torch.manual_seed(0)
    net, path = Small().eval(), tmp_path / "small.onnx"
    torch.onnx.export(
        net,
        (torch.zeros(2, 1, SIZE, SIZE),),
        path,
        dynamo=True,
        external_data=False,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        verbose=False,
    )
    with torch.no_grad():
        expected = net(torch.from_numpy(PIXELS[:, None]).float() / 255).softmax(1).double()
    p = OnnxModel(path, SPEC, threads=1).ask(PIXELS)
    np.testing.assert_allclose(p, expected.numpy(), atol=1e-6)


def test_a_pipeline_of_scikit_learn_answers_as_it_does(tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X = PIXELS[:, ::4, ::4].reshape(len(PIXELS), -1).astype(np.float32) / 255
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, np.arange(11) % 2)
    onnx_file = to_onnx(pipeline, X[:1], options={"zipmap": False})
    (tmp_path / "sklearn.onnx").write_bytes(onnx_file.SerializeToString())
    spec = SPEC.changed(size=16, output="softmax", output_name="probabilities")
    model = OnnxModel(tmp_path / "sklearn.onnx", spec, threads=1)
    p = model.ask(PIXELS[:, ::4, ::4])
    np.testing.assert_allclose(p, pipeline.predict_proba(X), atol=1e-5)
    with pytest.raises(SpecError, match=r"gives tensor\(int64\), no table of numbers"):
        model.with_spec(spec.changed(output_name="label"))
    mapped = to_onnx(pipeline, X[:1], options={"zipmap": True})
    (tmp_path / "mapped.onnx").write_bytes(mapped.SerializeToString())
    with pytest.raises(SpecError, match=r"\{.zipmap.: False\}"):
        OnnxModel(tmp_path / "mapped.onnx", spec.changed(output_name="output_probability"))


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_inputs_of_other_types_are_given_as_such(tmp_path, kind):
    net = Net(kind=kind, unit=255)
    spec = SPEC.changed(range=(0, 255))
    model = OnnxModel(net.write(tmp_path / "net.onnx"), spec, threads=1)
    np.testing.assert_allclose(
        model.ask(PIXELS), softmax(net.torch(spec.arrays(PIXELS))), atol=1e-4
    )
    if kind == TensorProto.UINT8:
        with pytest.raises(SpecError, match=r"whole numbers from 0 to 255; write range"):
            model.with_spec(SPEC).ask(PIXELS)


def test_other_sides_are_resized_and_a_preparation_is_carried_out(path):
    from hurdles.pixels.prepare import as_bytes, equalize

    model = OnnxModel(path, both(preparation="equalized"), threads=1)
    assert model.preparation == "equalized"
    large = np.repeat(np.repeat(PIXELS, 2, axis=1), 2, axis=2)
    prepared = np.stack([as_bytes(equalize(x.astype(np.float32) / 255), SIZE) for x in large])
    plain = OnnxModel(path, both(), threads=1)
    np.testing.assert_allclose(model.ask(large), plain.ask(prepared), atol=1e-6)


def test_a_model_says_what_it_is(path):
    model = OnnxModel(path, both(features_name="features"), threads=1)
    assert (model.name, model.labels, model.size) == ("net", SPEC.classes, SIZE)
    assert model.capabilities == {"answers", "features"}
    assert OnnxModel(path, both(name="theirs"), threads=1).name == "theirs"
    assert OnnxModel(path, both(), threads=1).capabilities == {"answers"}
    assert repr(model) == "OnnxModel('net', 2 classes, 64 px)"
    with pytest.raises(ModelError, match="names no output with features"):
        OnnxModel(path, both(), threads=1).features(PIXELS)


def test_answers_that_are_not_finite_are_named(tmp_path):
    net = Net()
    path = net.write(tmp_path / "net.onnx")
    model = onnx.load(path)
    shift = next(t for t in model.graph.initializer if t.name == "shift")
    shift.CopyFrom(onnx.numpy_helper.from_array(np.array([0, np.nan], np.float32), "shift"))
    onnx.save(model, path)
    with pytest.raises(ModelError, match="11 of 11 answers are not finite; the first is nan"):
        OnnxModel(path, SPEC, threads=1).ask(PIXELS)


def test_the_spec_in_the_file_is_used(path):
    model = onnx.load(path)
    with pytest.raises(SpecError, match="write a spec: hurdles spec --like torchvision --model"):
        OnnxModel(path)
    model.metadata_props.add(key=SPEC_KEY, value=both(name="exported").to_toml())
    onnx.save(model, path)
    assert OnnxModel(path, threads=1).spec == both(name="exported")
    model.metadata_props[0].value = "classes = ["
    onnx.save(model, path)
    with pytest.raises(SpecError, match="the spec in it is not valid TOML"):
        OnnxModel(path, threads=1)


# --- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("net", "fields", "message"),
    [
        ({}, {"size": 32}, r"takes x \(n, 1, 64, 64\), .* \(n, 1, 32, 32\).*that of size = 64, "),
        ({}, {"channels": 3}, "The file is that of size = 64, channels = 1"),
        ({"channels": 3}, {}, "The file is that of size = 64, channels = 3"),
        ({"nhwc": True}, {}, 'channels = 1, layout = "NHWC"'),
        ({}, {"layout": "NHWC"}, 'channels = 1, layout = "NCHW"'),
        ({"k": 3}, {}, r"gives logits \(n, 3\), which is 3 numbers an image, .* 2 outputs"),
        ({"k": 1}, {}, r'1 numbers an image.*classes = \["Pneumonia"\]'),
        ({}, {"input_name": "image"}, r"no input called 'image'; it has x \(n, 1, 64, 64\)"),
        ({}, {"output_name": "p"}, r"no output called 'p'; it has logits \(n, 2\)"),
        ({}, {"features_name": "f"}, "no output called 'f'"),
        ({"features": True}, {}, "has 2 outputs: .*output_name in the spec"),
        ({"kind": TensorProto.INT32}, {}, r"takes tensor\(int32\)"),
    ],
    ids=str,
)
def test_a_spec_that_does_not_fit_the_file_names_both(tmp_path, net, fields, message):
    path = Net(**net).write(tmp_path / "net.onnx")
    with pytest.raises(SpecError, match=message):
        OnnxModel(path, SPEC.changed(**fields))


def test_an_open_size_takes_the_size_of_the_spec(tmp_path):
    path = Net(size="side").write(tmp_path / "net.onnx")
    model = OnnxModel(path, SPEC, threads=1)
    assert model.ask(PIXELS).shape == (11, 2)
    assert model.with_spec(SPEC.changed(size=48)).ask(PIXELS[:, :48, :48]).shape == (11, 2)


def test_a_batch_that_does_not_come_back_is_named(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, SIZE, SIZE])],
    )
    model = OnnxModel(save(graph, tmp_path / "m.onnx"), SPEC, threads=1)
    with pytest.raises(ModelError, match="the first axis must be the images"):
        model.ask(PIXELS)


def test_a_model_that_cannot_answer_names_the_reason(tmp_path):
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["shape"], value_ints=[-1, 7]),
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
        ],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    model = OnnxModel(save(graph, tmp_path / "m.onnx"), SPEC, threads=1)
    with pytest.raises(ModelError, match=r"cannot answer a batch of shape \(11, 1, 64, 64\)"):
        model.ask(PIXELS)


def test_operators_that_are_not_of_onnx_are_named(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Magic", ["x"], ["y"], domain="com.example")],
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"Magic.*with the operators of ONNX alone"):
        OnnxModel(tmp_path / "m.onnx", SPEC)


def test_a_device_that_is_not_there_is_named(path, monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ModelError, match="pip install onnxruntime-gpu"):
        OnnxModel(path, both(), device="cuda")
    with pytest.raises(ModelError, match="known: cpu, cuda"):
        OnnxModel(path, both(), device="tpu")


def test_a_package_that_is_absent_is_named(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"pip install 'hurdles\[onnx\]'"):
        OnnxModel(path, both())


# --- weights beside the file ---------------------------------------------------------------------


def apart(path: Path, location: str) -> None:
    """Take the weights of a model out into a file that it names by `location`."""
    model = onnx.load(path)
    external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    onnx.save(model, path)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_weights_beside_the_file_are_read(tmp_path):
    path = Net().write(tmp_path / "net.onnx")
    expected = OnnxModel(path, SPEC, threads=1).ask(PIXELS)
    apart(path, "weights.bin")
    model = OnnxModel(path, SPEC, threads=1)
    np.testing.assert_array_equal(model.ask(PIXELS), expected)
    assert [p.name for p in OnnxFile(path).beside] == ["weights.bin"]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"'weights.bin' are not beside it; copy them there"):
        OnnxModel(path, SPEC)


@pytest.mark.parametrize("where", ["../weights.bin", "absolute", "link", ""])
def test_weights_outside_the_folder_are_refused(tmp_path, where):
    folder = tmp_path / "model"
    folder.mkdir()
    path = Net().write(folder / "net.onnx")
    apart(path, "weights.bin")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    location = {"absolute": str(tmp_path / "weights.bin"), "link": "weights.bin"}.get(where, where)
    if where == "link":
        (folder / "weights.bin").symlink_to(tmp_path / "weights.bin")
    else:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside its own folder"):
        OnnxModel(path, SPEC)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_weights_with_a_name_that_no_file_can_have_are_refused(tmp_path, name):
    path = Net().write(tmp_path / "net.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside its own folder") as refused:
        OnnxModel(path, SPEC)
    assert len(str(refused.value)) < 1000


def test_a_fixed_batch_that_no_memory_holds_is_refused(tmp_path):
    path = Net(batch=10**9).write(tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="1,000,000,000 images at once"):
        OnnxModel(path, SPEC)


#: Where the tests run in the background of a shell, a Ctrl-C that is ignored would be inherited.
ENDLESS = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from hurdles.foreign.onnx import OnnxModel
from hurdles.foreign.spec import Spec
model = OnnxModel(sys.argv[1], Spec(classes=("a", "b"), size=16))
print("asking", flush=True)
model.ask(np.zeros((1, 16, 16), np.uint8))
"""


def test_a_loop_that_never_ends_is_ended_by_ctrl_c(tmp_path):
    value, flag = TensorProto.FLOAT, TensorProto.BOOL
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_out"]),
            helper.make_node("Identity", ["v"], ["v_out"]),
        ],
        "body",
        [info("i", TensorProto.INT64, []), info("on", flag, []), info("v", value, None)],
        [info("on_out", flag, []), info("v_out", value, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0),
            helper.make_node("Concat", ["m", "m"], ["two"], axis=1),
            helper.make_node("Loop", ["many", "true", "two"], ["y"], body=body),
        ],
        "endless",
        [info("x", value, ["n", 1, 16, 16])],
        [info("y", value, ["n", 2])],
        initializer=[
            helper.make_tensor("many", TensorProto.INT64, [], [2**62]),
            helper.make_tensor("true", flag, [], [True]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "endless.onnx")
    words = [sys.executable, "-c", ENDLESS, str(tmp_path / "endless.onnx")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout.readline() == "asking\n"
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=90)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in err
