"""Which images an epoch sees."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from hurdles.pixels.perturb import DRAW
from hurdles.recipe.recipe import AugmentationSection
from hurdles.training.plan import EpochPlanner

LABELS = ("COVID-19", "Normal", "Pneumonia")
CLASSES = np.array([0] * 5 + [1] * 20 + [2] * 11)
POSITIONS = np.arange(100, 136)[::-1].copy()


def planner(seed: int = 0, classes: np.ndarray = CLASSES, **augmentation) -> EpochPlanner:
    section = AugmentationSection(**augmentation)
    return EpochPlanner(POSITIONS[: len(classes)], classes, LABELS, section, seed)


def enlarging(seed: int = 0) -> EpochPlanner:
    return planner(seed, policy="enlarge", label="COVID-19", copies=37)


UNALTERED = tuple(np.zeros((), dtype=DRAW).tolist())[1:]
EACH = {"policy": "each", "shift": 0.1, "scale": 1.1, "contrast": 0.2}
ALL = [
    planner,
    enlarging,
    lambda seed=0: planner(seed, policy="balanced"),
    lambda seed=0: planner(seed, **EACH),
]
CLASS_OF = dict(zip(POSITIONS.tolist(), CLASSES.tolist(), strict=True))


@pytest.mark.parametrize("make", ALL)
class TestEveryPolicy:
    def test_an_epoch_does_not_depend_on_the_ones_before(self, make):
        one, two = make(), make()
        for number in (1, 2, 3):
            one.epoch(number)
        for a, b in zip(one.epoch(4), two.epoch(4), strict=True):
            assert (a == b).all()

    def test_epochs_and_seeds_differ(self, make):
        first, second, other = make(0).epoch(1)[0], make(0).epoch(2)[0], make(1).epoch(1)[0]
        assert (first != second).any()
        assert (first != other).any()

    def test_each_class_is_that_of_its_image(self, make):
        draws, classes = make().epoch(3)
        assert draws.dtype == DRAW
        assert [CLASS_OF[p] for p in draws["position"].tolist()] == classes.tolist()

    def test_its_length_is_that_of_every_epoch(self, make):
        made = make()
        assert all(len(made.epoch(n)[0]) == len(made) for n in (1, 2, 9))


def test_without_augmentation_every_image_is_seen_once_unaltered():
    draws, _ = planner().epoch(1)
    assert sorted(draws["position"]) == sorted(POSITIONS)
    assert not draws["flip"].any()
    assert not draws["degrees"].any()


class TestEnlarge:
    def test_it_adds_exactly_the_copies_of_the_named_class(self):
        _, classes = enlarging().epoch(1)
        assert np.bincount(classes).tolist() == [5 + 37, 20, 11]

    def test_the_copies_are_the_same_in_every_epoch(self):
        made = enlarging()
        epochs = [sorted(made.epoch(n)[0].tolist()) for n in (1, 2, 30)]
        assert epochs[0] == epochs[1] == epochs[2]

    def test_every_original_is_there_once_unaltered(self):
        draws = enlarging().epoch(1)[0].tolist()
        for position in POSITIONS.tolist():
            assert draws.count((position, *UNALTERED)) >= 1
        altered = [d for d in draws if d[1:] != UNALTERED]
        # With both probabilities 0.7, 9 % of the copies happen to be unaltered as well.
        assert 25 <= len(altered) <= 37
        assert {CLASS_OF[d[0]] for d in altered} == {0}

    def test_the_published_numbers(self):
        """153 COVID-19 images become 153 + 736 (Lázaro and Barco 2020, section 3)."""
        classes = np.array([0] * 153 + [1] * 939 + [2] * 941)
        section = AugmentationSection(policy="enlarge", label="COVID-19", copies=736)
        made = EpochPlanner(np.arange(len(classes)), classes, LABELS, section, 0)
        assert np.bincount(made.epoch(1)[1]).tolist() == [889, 939, 941]


class TestBalanced:
    @pytest.mark.parametrize("number", [1, 2, 17])
    def test_classes_are_equal_within_rounding(self, number):
        draws, classes = planner(policy="balanced").epoch(number)
        assert len(draws) == len(CLASSES) == 36
        assert np.bincount(classes).tolist() == [12, 12, 12]

    def test_what_does_not_divide_evenly_differs_by_a_few(self):
        classes = CLASSES[:34]
        counts = np.bincount(planner(classes=classes, policy="balanced").epoch(1)[1])
        assert counts.sum() == 34
        assert counts.max() <= 12
        assert counts.min() >= 10

    def test_no_image_is_drawn_twice_more_often_than_another_of_its_class(self):
        draws, classes = planner(policy="balanced").epoch(1)
        for each, own in enumerate((5, 20, 11)):
            _, times = np.unique(draws["position"][classes == each], return_counts=True)
            assert times.max() <= -(-12 // own)

    def test_a_class_without_images_is_left_out(self):
        counts = np.bincount(planner(classes=CLASSES[:20], policy="balanced").epoch(1)[1])
        assert counts.tolist() == [10, 10]

    def test_images_are_altered(self):
        draws, _ = planner(policy="balanced", flip=1.0, rotation=1.0).epoch(1)
        assert draws["flip"].all()
        assert (draws["degrees"] != 0).all()


class TestEach:
    def test_every_image_is_seen_once(self):
        draws, _ = planner(**EACH).epoch(2)
        assert sorted(draws["position"]) == sorted(POSITIONS)

    def test_every_image_is_altered_within_the_ranges(self):
        draws, _ = planner(**EACH, flip=1.0, degrees=3.0).epoch(1)
        assert draws["flip"].all()
        for name, low, high in (
            ("degrees", -3, 3),
            ("shift_x", -0.1, 0.1),
            ("shift_y", -0.1, 0.1),
            ("growth", 0, 0.1),
            ("contrast", -0.2, 0.2),
            ("brightness", -0.2, 0.2),
        ):
            assert ((draws[name] >= low) & (draws[name] <= high)).all()
            assert len(np.unique(draws[name])) > 10

    def test_the_order_is_that_without_augmentation(self):
        assert (planner(**EACH).epoch(3)[0]["position"] == planner().epoch(3)[0]["position"]).all()


#: SHA-256 of position, flip and degrees of three epochs: a change to one policy, or a setting
#: added, leaves the numbers drawn for the others alone, and with them every published result.
STREAMS = {
    "none": "493c377536891d55",
    "enlarge": "caab8f96f67eb6f3",
    "balanced": "dab034deb8b1e940",
}


def stream_of(policy: str) -> str:
    made = planner(4, policy=policy, label="COVID-19", copies=37)
    total = hashlib.sha256()
    for number in (1, 2, 30):
        draws, classes = made.epoch(number)
        for column in (draws["position"], draws["flip"], draws["degrees"], classes):
            total.update(np.ascontiguousarray(column).tobytes())
    return total.hexdigest()[:16]


@pytest.mark.parametrize("policy", STREAMS)
def test_random_numbers_stay_as_they_were_published(policy):
    assert stream_of(policy) == STREAMS[policy]


class TestCounts:
    @pytest.mark.parametrize("make", ALL)
    def test_they_are_those_of_an_epoch(self, make):
        made = make()
        found = np.bincount(made.epoch(1)[1], minlength=4)
        assert np.abs(made.counts(4) - found).max() <= 1

    def test_an_absent_class_counts_nothing(self):
        made = planner(classes=CLASSES[:20], policy="balanced")
        assert made.counts(3).tolist() == [10, 10, 0]


GROUPS = np.array([0] * 3 + [1] * 30 + [2] * 2 + [3] * 1)  # of the 36 images above


class TestGroups:
    """Sampling over groups, such as sources or class by source."""

    @staticmethod
    def sampling(seed: int = 0, **augmentation) -> EpochPlanner:
        section = AugmentationSection(**augmentation)
        return EpochPlanner(POSITIONS, CLASSES, LABELS, section, seed, GROUPS)

    @pytest.mark.parametrize("policy", ["none", "each", "balanced"])
    def test_every_epoch_shows_each_group_exactly_as_often(self, policy):
        made, group_of = self.sampling(policy=policy), dict(zip(POSITIONS, GROUPS, strict=True))
        for number in (1, 2, 7):
            draws, classes = made.epoch(number)
            counts = np.bincount([group_of[p] for p in draws["position"]])
            assert counts.tolist() == [9, 9, 9, 9]
            assert len(draws) == len(made) == 36
            assert [CLASS_OF[p] for p in draws["position"].tolist()] == classes.tolist()

    def test_no_image_of_a_group_is_seen_twice_more_often_than_another(self):
        draws, _ = self.sampling().epoch(1)
        seen = dict(zip(*np.unique(draws["position"], return_counts=True), strict=True))
        per_group = [[seen.get(p, 0) for p in POSITIONS[g == GROUPS]] for g in range(4)]
        assert per_group[0] == [3, 3, 3]
        assert sorted(per_group[2]) == [4, 5]
        assert per_group[3] == [9]
        assert set(per_group[1]) <= {0, 1}

    def test_all_of_a_large_group_are_seen_in_time(self):
        made = self.sampling()
        seen = np.concatenate([made.epoch(n)[0]["position"] for n in range(1, 40)])
        assert set(seen) == set(POSITIONS)

    def test_images_are_altered_where_the_recipe_says_so_and_else_not(self):
        plain, altered = (self.sampling(policy=p).epoch(1)[0] for p in ("none", "each"))
        assert not plain["flip"].any()
        assert altered["flip"].any()

    def test_the_counts_are_those_of_an_average_epoch(self):
        made = self.sampling()
        mean = np.mean([np.bincount(made.epoch(n)[1], minlength=4) for n in range(400)], axis=0)
        assert made.counts(4).sum() == pytest.approx(len(made))
        np.testing.assert_allclose(mean, made.counts(4), atol=0.2)

    def test_it_depends_on_the_seed_and_the_epoch_alone(self):
        first, again = self.sampling(), self.sampling()
        again.epoch(1)
        assert (first.epoch(2)[0] == again.epoch(2)[0]).all()
        assert (first.epoch(2)[0] != first.epoch(3)[0]).any()
        assert (first.epoch(2)[0] != self.sampling(1).epoch(2)[0]).any()
