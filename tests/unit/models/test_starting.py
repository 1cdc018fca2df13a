"""Starting from an encoder: all of it or none, and nothing that does not fit."""

import json

import pytest
import torch
from torch import nn

from hurdles.errors import RecipeError
from hurdles.models import ModelSpec, build
from hurdles.models.network import Network
from hurdles.models.starting import (
    StartingWeights,
    apply_start,
    encoder_of,
    freeze,
    weights_hash,
)

TWO = ("COVID-19", "other")
THREE = ("Bacterial", "Normal", "Viral")
PREPARED = {"name": "raw", "size": 32}


def spec(**changes) -> ModelSpec:
    return ModelSpec(**{"architecture": "baseline", "labels": THREE, "size": 32, **changes})


def start_from(network: Network, **changes) -> StartingWeights:
    given = {
        "weights": encoder_of(network.state_dict()),
        "spec": network.spec,
        "preparation": PREPARED,
        "description": {"source": "run kermany"},
    }
    return StartingWeights(**{**given, **changes})


class Normalised(Network):
    """The smallest network with a batch normalisation in it."""

    def __init__(self, of: ModelSpec) -> None:
        super().__init__(of)
        self.body = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False), nn.ReLU()
        )
        self.head = nn.Linear(2, len(of.labels))

    def encode(self, x):
        return self.body(x).mean((2, 3))

    @property
    def last_convolution(self):
        return self.body


class TestApply:
    def test_the_encoder_is_taken_and_the_head_is_left(self):
        old, new = build(spec(), seed=1), build(spec(labels=TWO), seed=2)
        head = {k: v.clone() for k, v in new.head.state_dict().items()}
        apply_start(new, start_from(old))
        for name, value in encoder_of(old.state_dict()).items():
            assert torch.equal(new.state_dict()[name], value), name
        for name, value in head.items():
            assert torch.equal(new.head.state_dict()[name], value), name

    def test_features_are_those_of_the_first_network(self):
        old, new = build(spec(), seed=1).eval(), build(spec(labels=TWO), seed=2).eval()
        x = torch.rand(3, 1, 32, 32)
        assert not torch.equal(old.features(x), new.features(x))
        apply_start(new, start_from(old))
        assert torch.equal(old.features(x), new.features(x))

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            (lambda w: w.pop("conv1.weight"), r"conv1\.weight is missing"),
            (lambda w: w.update(other=torch.ones(1)), r"other is not in the network"),
            (
                lambda w: w.update({"conv1.weight": torch.ones(1, 1, 3, 3)}),
                r"conv1\.weight has shape \(1, 1, 3, 3\) instead of \(32, 1, 3, 3\)",
            ),
        ],
    )
    def test_what_does_not_fit_changes_nothing(self, fault, message):
        network = build(spec(), seed=1)
        weights = dict(encoder_of(build(spec(), seed=2).state_dict()))
        fault(weights)
        before = weights_hash(network.state_dict())
        with pytest.raises(RecipeError, match=message):
            apply_start(network, start_from(network, weights=weights))
        assert weights_hash(network.state_dict()) == before


class TestRefusal:
    @pytest.mark.parametrize(
        ("changes", "prepared", "message"),
        [
            ({"architecture": "inception-like"}, PREPARED, r"has architecture 'baseline'"),
            ({"channels": 3}, PREPARED, r"has channels 1, this recipe 3"),
            ({}, {"name": "masked", "size": 32}, r"preparation\.name = 'raw'; this recipe has 'm"),
        ],
    )
    def test_another_network_or_preparation(self, changes, prepared, message):
        start = start_from(build(spec(), seed=1))
        with pytest.raises(RecipeError, match=message):
            start.refuse_unlike(spec(**changes), prepared)

    def test_another_size_is_left_to_the_shapes(self):
        start = start_from(build(spec(), seed=1))
        start.refuse_unlike(spec(size=64), {"name": "raw", "size": 64})

    def test_photographs_may_be_followed_by_any_preparation(self):
        start = start_from(build(spec(), seed=1), preparation={})
        start.refuse_unlike(spec(), {"name": "masked", "size": 32})

    def test_a_head_is_no_encoder(self):
        network = build(spec(), seed=1)
        with pytest.raises(RecipeError, match="without its head"):
            start_from(network, weights=network.state_dict())


class TestMetadata:
    def test_what_was_written_is_read(self):
        start = start_from(build(spec(mean=0.4, std=0.2), seed=1))
        again = StartingWeights.from_file(start.weights, start.to_metadata(), source="elsewhere")
        assert again.origin == start.origin
        assert (again.spec, again.preparation) == (start.spec, start.preparation)
        assert again.description == {"source": "run kermany"}

    def test_a_run_s_own_file_gives_its_encoder_and_says_what_it_was_trained_for(self):
        network = build(spec(), seed=1)
        metadata = {"spec": json.dumps(network.spec.to_dict()), "preparation": json.dumps(PREPARED)}
        start = StartingWeights.from_file(network.state_dict(), metadata, source="run a")
        assert start.origin == weights_hash(encoder_of(network.state_dict()))
        assert start.description == {"source": "run a", "trained for": "Bacterial, Normal, Viral"}

    def test_weights_of_unknown_make_are_refused(self):
        with pytest.raises(RecipeError, match=r"a\.safetensors does not say which network"):
            StartingWeights.from_file({"x": torch.ones(1)}, {}, source="a.safetensors")


class TestFreeze:
    def test_encoder_is_everything_but_the_head(self):
        network = build(spec(), seed=1)
        frozen = freeze(network, ["encoder"])
        assert frozen == [n for n, _ in network.named_parameters() if not n.startswith("head.")]
        for name, parameter in network.named_parameters():
            assert parameter.requires_grad == name.startswith("head."), name

    def test_a_pattern_freezes_what_it_names(self):
        assert freeze(build(spec(), seed=1), ["conv1.*"]) == ["conv1.weight", "conv1.bias"]

    def test_a_pattern_that_names_nothing_is_refused(self):
        with pytest.raises(RecipeError, match=r"'layer9\.\*' matches no parameter of 'baseline'"):
            freeze(build(spec(), seed=1), ["layer9.*"])

    def test_something_must_be_left_to_train(self):
        with pytest.raises(RecipeError, match="leaves nothing to train"):
            freeze(build(spec(), seed=1), ["*"])

    def test_a_frozen_normalisation_keeps_its_statistics(self):
        network = Normalised(spec())
        freeze(network, ["encoder"])
        network.train()
        fixed, free = network.body[1], network.body[2]
        before = fixed.running_mean.clone()
        network(torch.rand(4, 1, 32, 32))
        assert torch.equal(fixed.running_mean, before)
        assert not torch.equal(free.running_mean, torch.zeros(2)), "it has nothing to freeze"

    def test_one_that_is_not_frozen_does_not(self):
        network = Normalised(spec()).train()
        network(torch.rand(4, 1, 32, 32))
        assert not torch.equal(network.body[1].running_mean, torch.zeros(2))
