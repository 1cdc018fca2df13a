"""hurdles spec: printed or written, never over a file of the user's."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

import hurdles
from hurdles.cli import app
from hurdles.errors import ModelError, OutputError, RegistryError, SpecError
from hurdles.foreign.spec import load_spec


def spec(*words):
    return CliRunner().invoke(app, ["spec", *map(str, words)])


def test_without_a_file_it_is_printed():
    result = spec("--like", "torchvision", "--classes", "Normal, Pneumonia")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["classes"] == ["Normal", "Pneumonia"]
    assert result.stdout.startswith("# torchvision: Resize(256)")


def test_a_program_is_given_json():
    result = spec("--like", "keras", "--size", 128, "--json")
    assert json.loads(result.stdout)["size"] == 128
    assert json.loads(result.stdout)["layout"] == "NHWC"


def test_it_is_written_and_a_file_of_the_users_stays(tmp_path):
    path = tmp_path / "model.toml"
    assert spec("--like", "monai", "--classes", "A,B", "--out", path).exit_code == 0
    assert load_spec(path) == hurdles.spec("monai", classes=["A", "B"])
    assert spec("--like", "monai", "--classes", "A,C", "--out", path).exit_code == 0
    path.write_text("mine")
    assert isinstance(spec("--like", "monai", "--out", path).exception, OutputError)
    assert path.read_text() == "mine"
    assert spec("--like", "monai", "--out", path, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ((), SpecError, "say what the model is like"),
        (("--like", "torch"), RegistryError, "no library is called 'torch'"),
        (("--model", "absent.onnx"), ModelError, "absent.onnx: no such file"),
        (("--like", "keras", "--classes", "A,A"), SpecError, "names that differ"),
        (("--like", "keras", "--size", 3), SpecError, "size"),
    ],
)
def test_what_cannot_be_is_said(words, error, message):
    result = spec(*words)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_one_class_is_that_of_a_model_with_one_output():
    fields = tomllib.loads(spec("--like", "keras", "--classes", "A").stdout)
    assert (fields["classes"], fields["positive"]) == (["A"], "A")
