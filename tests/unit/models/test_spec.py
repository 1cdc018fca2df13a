from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from hurdles.errors import RecipeError
from hurdles.models.network import last_convolution
from hurdles.models.spec import ModelSpec

LABELS = ("Normal", "Pneumonia")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("Normal",)}, "at least two labels"),
        ({"labels": ("Normal", "Normal")}, "must differ"),
        ({"labels": "ab"}, "not the string 'ab'"),
        ({"size": 0}, "positive number of pixels"),
        ({"channels": 2}, "channels must be 1 or 3, not 2"),
        ({"std": 0.0}, "std positive"),
        ({"mean": float("nan")}, "finite"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(changes, message):
    with pytest.raises(RecipeError, match=message):
        ModelSpec(**{"architecture": "baseline", "labels": LABELS, **changes})


def test_a_list_of_labels_becomes_a_tuple():
    assert ModelSpec("baseline", list(LABELS)) == ModelSpec("baseline", LABELS)


def test_keys_of_another_version_are_named():
    plain = ModelSpec("baseline", LABELS).to_dict()
    with pytest.raises(RecipeError, match=r"has no 'colour'; known: architecture, channels"):
        ModelSpec.from_dict({**plain, "colour": 1})
    del plain["labels"]
    with pytest.raises(RecipeError, match="lacks 'labels'"):
        ModelSpec.from_dict(plain)


def test_a_module_without_a_last_convolution_says_what_to_do():
    with pytest.raises(RecipeError, match="Linear does not expose its last convolution"):
        last_convolution(torch.nn.Linear(1, 1))


def test_importing_the_spec_does_not_import_torch():
    code = "import sys, hurdles.models.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
