"""The commands on encoders: what they print, and what they do not overwrite."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from hurdles.cli import app
from hurdles.errors import OutputError, RecipeError
from hurdles.models import ModelSpec, build
from hurdles.training.checkpoint import load_weights

GIVEN = ["--architecture", "resnet-18", "--like", "timm", "--mean", "0.5", "--std", "0.25"]


@pytest.fixture
def file(tmp_path):
    state = build(ModelSpec("resnet-18", ("a", "b")), seed=0).encoder.state_dict()
    torch.save({**state, "fc.weight": torch.ones(2, 512)}, tmp_path / "their.pth")
    return tmp_path / "their.pth"


def invoked(*words: object):
    return CliRunner().invoke(app, ["import-encoder", *map(str, words)], catch_exceptions=True)


def test_what_became_of_every_entry_is_printed(file):
    result = invoked(file, *GIVEN, "--license", "MIT", "--origin", "a friend")
    assert result.exit_code == 0, result.output
    for words in (
        "encoder their.pth: 120 entries, read as those of timm, are the encoder of resnet-18",
        "left over: 1 (fc.weight)",
        "missing: nothing",
        "mean 0.5, deviation 0.25",
        "license: MIT; from: a friend",
        "--encoder-from",
        "not a medical device",
    ):
        assert words in result.stdout
    written = file.with_name("their.encoder.safetensors")
    assert len(load_weights(written)[0]) == 120


def test_the_same_as_json(file, tmp_path):
    result = invoked(file, *GIVEN, "--out", tmp_path / "e.safetensors", "--json")
    content = json.loads(result.stdout)
    assert content["left_over"] == ["fc.weight"]
    assert content["spec"]["mean"] == 0.5
    assert content["description"]["license"] == "not stated"
    assert content["out"] == str(tmp_path / "e.safetensors")


def test_neither_the_input_nor_a_file_of_somebody_else_is_overwritten(file, tmp_path):
    before = file.read_bytes()
    result = invoked(file, *GIVEN, "--out", file)
    assert isinstance(result.exception, OutputError)
    assert file.read_bytes() == before
    (tmp_path / "mine.safetensors").write_text("mine")
    result = invoked(file, *GIVEN, "--out", tmp_path / "mine.safetensors")
    assert isinstance(result.exception, OutputError)
    assert invoked(file, *GIVEN, "--out", tmp_path / "mine.safetensors", "--force").exit_code == 0


def test_one_half_of_a_scaling_is_refused(file):
    result = invoked(file, *GIVEN[:4], "--mean", "0.5")
    assert isinstance(result.exception, RecipeError)
    assert "both --mean and --std" in str(result.exception)
    assert not file.with_name("their.encoder.safetensors").exists()
