from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from hurdles.errors import RecipeError
from hurdles.models import build
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


def test_unit_features_are_what_the_head_is_given():
    spec = ModelSpec("small", LABELS, 64, unit_features=True)
    assert ModelSpec.from_dict(spec.to_dict()) == spec
    network, plain = (build(s, seed=0).eval() for s in (spec, replace(spec, unit_features=False)))
    images = torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    features, long = network.features(images), plain.features(images)
    assert torch.allclose(features.norm(dim=1), torch.ones(3))
    assert torch.allclose(features, long / long.norm(dim=1, keepdim=True))
    assert torch.equal(network(images), network.logits(features))
    assert not torch.allclose(network(images), plain(images))


def test_a_spec_of_a_version_without_unit_features_is_read():
    plain = ModelSpec("baseline", LABELS).to_dict()
    del plain["unit_features"]
    assert ModelSpec.from_dict(plain) == ModelSpec("baseline", LABELS)


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
