"""Group DRO and EnD against slow twins, and the same bits after an interruption with each."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_sessions import StopAt, Stopped, assert_same, differ

from hurdles.errors import RunError
from hurdles.recipe.recipe import RemedySection, TrainingSection
from hurdles.training import loop
from hurdles.training.checkpoint import TrainingState
from hurdles.training.loop import TrainingData, train
from hurdles.training.losses import GroupWeights, Objective, StepLoss, disentangling, entangling
from hurdles.training.plan import Sources, groups_of

SETTINGS = {
    "source": {"sampling": "source"},
    "group-dro": {"sampling": "class-by-source", "group_dro": 0.2},
    "unlearn": {"disentangle": 0.5, "entangle": 0.5},
    "end": {"disentangle": 0.5, "entangle": 0.5, "unit_features": True},
    "all": {"sampling": "source", "group_dro": 0.2, "disentangle": 0.5, "entangle": 0.5},
}


@pytest.fixture
def data_of(data_of):
    def make(**changes) -> TrainingData:
        """Images of two sources; three in four of a class come from its own."""
        rng, data = np.random.default_rng(5), data_of()
        follows = rng.random(len(data.classes)) < 0.75
        of = np.where(follows, data.classes, 1 - data.classes)
        return replace(data, sources=Sources(of.astype(np.int64), ("A", "B")), **changes)

    return make


class TestGroupWeights:
    def test_they_are_those_of_the_paper_by_hand(self):
        rng = np.random.default_rng(0)
        weights, expected, step = GroupWeights(3, 0.3, "cpu"), np.full(3, 1 / 3), 0.3
        for _ in range(5):
            groups, losses = rng.integers(0, 3, 7), rng.random(7)
            means = {g: losses[groups == g].mean() for g in set(groups.tolist())}
            for g, mean in means.items():
                expected[g] *= math.exp(step * mean)
            expected /= expected.sum()
            robust = weights.robust(torch.tensor(losses), torch.tensor(groups))
            assert weights.values == pytest.approx(expected, rel=1e-9)
            by_hand = sum(expected[g] * mean for g, mean in means.items())
            assert robust.item() == pytest.approx(by_hand, rel=1e-6)

    def test_an_absent_group_loses_only_what_the_others_gain(self):
        weights = GroupWeights(3, 1.0, "cpu")
        weights.robust(torch.tensor([1.0, 2.0]), torch.tensor([0, 1]))
        a, b, absent = weights.values
        assert absent < 1 / 3
        assert (a / absent, b / absent) == pytest.approx((math.e, math.e**2))

    def test_the_worst_group_comes_to_count_alone(self):
        weights = GroupWeights(2, 0.1, "cpu")
        for _ in range(200):
            weights.robust(torch.tensor([2.0, 1.0]), torch.tensor([0, 1]))
        assert weights.values[0] > 0.999

    def test_gradients_flow_by_the_weights_and_not_into_them(self):
        losses = torch.tensor([1.0, 3.0, 5.0], requires_grad=True)
        weights = GroupWeights(2, 0.5, "cpu")
        weights.robust(losses, torch.tensor([0, 0, 1])).backward()
        a, b = weights.values
        assert losses.grad.tolist() == pytest.approx([a / 2, a / 2, b])

    def test_values_come_back_bit_for_bit(self):
        one, two = (GroupWeights(3, 0.7, "cpu") for _ in range(2))
        one.robust(torch.tensor([0.1, 0.2, 0.7]), torch.arange(3))
        two.values = one.values
        assert one.values == two.values


def slow(features, classes, sources):
    """Return both terms, pair by pair."""
    units = [f / max(np.linalg.norm(f), 1e-12) for f in features]
    same, n_same, across, n_across = {}, 0, 0.0, 0
    for i in range(len(units)):
        for j in range(i):
            cosine = float(units[i] @ units[j])
            if sources[i] == sources[j]:
                same[sources[i]] = same.get(sources[i], 0.0) + cosine
                n_same += 1
            elif classes[i] == classes[j]:
                across += (1 - cosine) / 2
                n_across += 1
    return sum(map(abs, same.values())) / max(n_same, 1), across / max(n_across, 1)


def of_the_authors(features, classes, sources):
    """Return both terms of EnD in the order of the authors' code: a mask for every group of pairs.

    Independent of `slow`: rows are the later images, columns the earlier ones, below the diagonal.
    """
    units = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    gram = np.clip(np.tril(units @ units.T, -1), -1, 1)

    def pairs(rows, columns):
        return np.tril(np.outer(rows, columns), -1)

    there = np.unique(sources)
    orthogonal, n_orthogonal = 0.0, 0.0
    for source in there:
        mask = pairs(sources == source, sources == source)
        orthogonal += abs((gram * mask).sum())
        n_orthogonal += mask.sum()
    alike, n_parallel = 0.0, 0.0
    for class_ in np.unique(classes):
        for place, source in enumerate(there):
            for other in there[place + 1 :]:
                of_class = classes == class_
                mask = pairs(of_class & (sources == source), of_class & (sources == other))
                alike += ((1 + gram) / 2 * mask).sum()
                n_parallel += mask.sum()
    return (
        orthogonal / n_orthogonal if n_orthogonal else 0.0,
        1 - alike / n_parallel if n_parallel else 0.0,
    )


class TestUnlearning:
    @given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**6))
    @settings(max_examples=60, deadline=None)
    def test_both_terms_are_those_of_a_slow_loop(self, n, n_classes, n_sources, seed):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(n, 4))
        classes, sources = rng.integers(0, n_classes, n), rng.integers(0, n_sources, n)
        tensors = [torch.tensor(a) for a in (features, classes, sources)]
        expected = slow(features, classes.tolist(), sources.tolist())
        assert disentangling(tensors[0], tensors[2]).item() == pytest.approx(expected[0], abs=1e-9)
        assert entangling(*tensors).item() == pytest.approx(expected[1], abs=1e-9)
        assert all(-1e-9 <= term <= 1 + 1e-9 for term in expected)

    @given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4), st.integers(0, 10**6))
    @settings(max_examples=60, deadline=None)
    def test_end_is_what_its_authors_compute(self, n, n_classes, n_sources, seed):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(n, 4))
        classes, sources = rng.integers(0, n_classes, n), rng.integers(0, n_sources, n)
        tensors = [torch.tensor(a) for a in (features, classes, sources)]
        orthogonal, parallel = of_the_authors(features, classes, sources)
        assert disentangling(tensors[0], tensors[2]).item() == pytest.approx(orthogonal, abs=1e-9)
        found = entangling(*tensors, as_coded=True).item()
        assert found == pytest.approx(parallel, abs=1e-9)

    def test_the_authors_pairs_of_a_batch_and_of_its_reverse_are_all_pairs_once(self):
        rng = np.random.default_rng(0)
        tensors = [torch.tensor(rng.normal(size=(9, 4)))]
        tensors += [torch.tensor(rng.integers(0, 2, 9)) for _ in range(2)]
        both, n = 0.0, 0
        for batch in (tensors, [each.flip(0) for each in tensors]):
            _, classes, sources = batch
            pairs = (classes[:, None] == classes) & (sources[:, None] < sources)
            counted = int(pairs.tril(-1).sum())
            both, n = both + counted * entangling(*batch, as_coded=True).item(), n + counted
        assert both / n == pytest.approx(entangling(*tensors).item())

    @pytest.mark.parametrize("as_coded", [False, True])
    @pytest.mark.parametrize(
        ("classes", "sources", "zero"),
        [
            ([0, 0, 1], [0, 0, 0], "entangling"),  # one source
            ([0, 1, 2], [0, 1, 0], "entangling"),  # each class from one source
            ([0, 0, 0], [0, 1, 2], "disentangling"),  # no two images of a source
            ([0], [0], "both"),
        ],
    )
    def test_a_term_without_a_pair_is_zero_and_so_is_its_gradient(
        self, classes, sources, zero, as_coded
    ):
        features = torch.rand(len(classes), 3, generator=torch.Generator().manual_seed(0))
        features.requires_grad_(True)
        classes, sources = torch.tensor(classes), torch.tensor(sources)
        terms = {
            "disentangling": disentangling(features, sources),
            "entangling": entangling(features, classes, sources, as_coded=as_coded),
        }
        for name, term in terms.items():
            (slope,) = torch.autograd.grad(term, features)
            assert torch.isfinite(term)
            assert torch.isfinite(slope).all()
            if zero in (name, "both"):
                assert term.item() == 0
                assert not slope.any()

    def test_lengths_do_not_count(self):
        rng = torch.Generator().manual_seed(0)
        features = torch.rand(6, 3, generator=rng)
        scaled = features * torch.arange(1, 7)[:, None]
        sources, classes = torch.tensor([0, 1, 0, 1, 0, 1]), torch.tensor([0, 0, 0, 1, 1, 1])
        assert torch.allclose(disentangling(features, sources), disentangling(scaled, sources))
        found = [entangling(f, classes, sources) for f in (features, scaled)]
        assert torch.allclose(*found)

    def test_following_the_gradient_takes_the_source_out_and_leaves_the_class(self):
        rng = torch.Generator().manual_seed(1)
        classes, sources = torch.tensor([0, 0, 1, 1] * 8), torch.tensor([0, 1] * 16)
        features = torch.rand(32, 4, generator=rng)
        features[:, 0] += 3 * sources
        features[:, 1] += classes
        features.requires_grad_(True)

        def gap(of):
            unit = torch.nn.functional.normalize(features.detach(), dim=1)
            return (unit[of == 0].mean(0) - unit[of == 1].mean(0)).norm().item()

        before = gap(sources), gap(classes)
        for _ in range(150):
            loss = disentangling(features, sources) + entangling(features, classes, sources)
            (slope,) = torch.autograd.grad(loss, features)
            features = (features - 10 * slope).detach().requires_grad_(True)
        assert gap(sources) < 0.3 * before[0]
        assert gap(classes) > before[1]

    def test_features_of_nothing_have_a_finite_gradient(self):
        features = torch.zeros(4, 3, requires_grad=True)
        sources, classes = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        (disentangling(features, sources) + entangling(features, classes, sources)).backward()
        assert torch.isfinite(features.grad).all()


class TestStepLoss:
    @staticmethod
    def loss(**remedy) -> StepLoss:
        sources = Sources(np.array([0, 1, 0, 1, 1]), ("A", "B"))
        groups = groups_of(
            np.array([0, 0, 1]), Sources(np.array([0, 1, 1]), ("A", "B")), ("x", "y")
        )
        objective = Objective(TrainingSection(), np.array([2, 1]), "cpu")
        train = np.array([0, 1, 4])
        return StepLoss(objective, RemedySection(**remedy), sources, groups, train, "cpu")

    logits = torch.tensor([[1.0, -1.0], [0.5, 0.0], [0.0, 2.0]])
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    targets, positions = torch.tensor([0, 1, 0]), np.array([0, 4, 1])

    def ask(self, made: StepLoss) -> float:
        return made(self.logits, self.features, self.targets, self.positions).item()

    def test_without_remedies_it_is_the_objective_to_the_bit(self):
        made = self.loss(reject=0.1)
        assert made.weights is None
        assert self.ask(made) == made.objective.of_logits(self.logits, self.targets).item()

    def test_the_terms_are_added_by_their_weights(self):
        plain = self.ask(self.loss())
        sources = torch.tensor([0, 1, 1])
        terms = (
            disentangling(self.features, sources),
            entangling(self.features, self.targets, sources),
        )
        found = self.ask(self.loss(disentangle=0.5, entangle=2.0))
        assert found == pytest.approx(plain + 0.5 * terms[0].item() + 2 * terms[1].item())
        assert terms[0].item() > 0
        assert terms[1].item() > 0

    def test_the_groups_are_those_of_the_images_in_the_batch(self):
        made = self.loss(group_dro=0.4)
        losses = made.objective.of_images(self.logits, self.targets)
        expected = GroupWeights(3, 0.4, "cpu")
        robust = expected.robust(losses, torch.tensor([0, 2, 1]))
        assert self.ask(made) == pytest.approx(robust.item())
        assert made.weights.values == expected.values

    def test_end_counts_the_pairs_of_the_authors(self):
        sources = torch.tensor([1, 0])
        found = []
        for unit in (False, True):
            remedy = {"disentangle": 0.0, "entangle": 1.0, "unit_features": unit}
            made = self.loss(**remedy)
            found.append(
                made(self.logits[:2], self.features[:2], torch.tensor([0, 0]), np.array([0, 1]))
            )
        # Two images of one class, the later one of the source that comes second: no pair of theirs.
        plain = self.loss()(self.logits[:2], self.features[:2], torch.tensor([0, 0]), np.arange(2))
        assert found[1].item() == plain.item()
        assert found[0].item() == pytest.approx(plain.item() + 0.5)
        assert entangling(
            self.features[:2], torch.tensor([0, 0]), sources, as_coded=True
        ).item() == pytest.approx(0.5)


class TestTraining:
    @pytest.mark.parametrize("remedy", SETTINGS)
    @pytest.mark.parametrize("step", [2, 4])
    def test_an_interruption_changes_no_bit(
        self, recipe_of, data_of, tmp_path, monkeypatch, remedy, step
    ):
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        recipe = recipe_of().changed(remedy=SETTINGS[remedy])
        state = tmp_path / "state.safetensors"
        whole = train(recipe, data_of())
        with pytest.raises(Stopped):
            train(recipe, data_of(), state_path=state, progress=StopAt(step))
        assert_same(whole, train(recipe, data_of(), state_path=state))

    def test_group_weights_that_were_not_restored_would_be_seen(
        self, recipe_of, data_of, tmp_path, monkeypatch
    ):
        """The guard of the test above: with the weights lost the bits differ."""
        monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
        recipe = recipe_of().changed(remedy=SETTINGS["group-dro"])
        state = tmp_path / "state.safetensors"
        whole = train(recipe, data_of())
        with pytest.raises(Stopped):
            train(recipe, data_of(), state_path=state, progress=StopAt(4))
        load = TrainingState.load

        def forgetful(*args):
            found = load(*args)
            assert len(found.group_weights) == 4
            assert len(set(found.group_weights)) > 1
            return replace(found, group_weights=[0.25] * 4)

        monkeypatch.setattr(TrainingState, "load", forgetful)
        assert differ(whole.last, train(recipe, data_of(), state_path=state).last)

    @pytest.mark.parametrize("remedy", SETTINGS)
    def test_each_makes_a_difference(self, recipe_of, data_of, remedy):
        plain = recipe_of(epochs=1)
        changed = train(plain.changed(remedy=SETTINGS[remedy]), data_of())
        assert differ(train(plain, data_of()).last, changed.last)

    def test_sources_make_none_where_no_remedy_asks(self, recipe_of, data_of):
        """Nor does rejecting, which comes after training."""
        recipe, data = recipe_of(epochs=1), data_of()
        one = train(recipe, data)
        assert_same(one, train(recipe, replace(data, sources=None)))
        assert_same(one, train(recipe.changed(remedy={"reject": 0.1}), data))

    def test_other_sources_are_other_data(self, recipe_of, data_of, tmp_path):
        recipe, data = recipe_of().changed(remedy=SETTINGS["source"]), data_of()
        train(recipe, data, state_path=tmp_path / "s")
        other = replace(data, sources=Sources(1 - data.sources.of, data.sources.names))
        with pytest.raises(RunError, match="belongs to another training"):
            train(recipe, other, state_path=tmp_path / "s")

    def test_the_remedy_may_not_change_on_the_way(self, recipe_of, data_of, tmp_path):
        train(recipe_of(epochs=1), data_of(), state_path=tmp_path / "s")
        recipe = recipe_of(epochs=1).changed(remedy=SETTINGS["unlearn"])
        with pytest.raises(RunError, match="belongs to another training"):
            train(recipe, data_of(), state_path=tmp_path / "s")

    def test_sources_of_one_class_each_are_trained_on_with_a_warning(self, recipe_of, data_of):
        data, listener = data_of(), StopAt(0)
        parted = replace(data, sources=Sources(data.classes.astype(np.int64), ("A", "B")))
        recipe = recipe_of(epochs=1).changed(remedy=SETTINGS["group-dro"])
        train(recipe, parted, progress=listener)
        assert "each source has images of one class only" in listener.said[0]
        assert "dark of A, bright of B" in listener.said[0]

    @pytest.mark.parametrize("remedy", SETTINGS)
    def test_an_easy_difference_is_learnt_all_the_same(self, recipe_of, data_of, remedy):
        recipe = recipe_of(epochs=12).changed(remedy=SETTINGS[remedy])
        history = train(recipe, data_of()).history
        assert history.frame["validation_accuracy"].max() == 1.0
