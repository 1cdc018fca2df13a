"""Trials are known by their names, and nothing else decides their seeds."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.calibrating.cohorts import REAL
from hurdles.calibrating.limits import can_be_met
from hurdles.calibrating.trials import (
    PROFILES,
    TRANSFER,
    Trial,
    by_turns,
    calibration_trials,
    fresh_trials,
    network_trials,
)
from hurdles.errors import RegistryError

TRIALS = st.builds(
    Trial,
    kind=st.sampled_from(["data", "small", "pipeline", "network"]),
    part=st.sampled_from(["calibration", "fresh", "kermany"]),
    patients=st.integers(2, 5000),
    disease=st.booleans(),
    plant=st.sampled_from(["", "marker", "body-size"]),
    strength=st.sampled_from([0.0, 0.2, 0.6, 1.0, 5.0]),
    repeat=st.integers(0, 999),
)


@given(TRIALS)
def test_a_name_says_everything(trial):
    assert Trial.parse(trial.name) == trial


@given(TRIALS, TRIALS)
def test_seeds_are_as_different_as_names(a, b):
    assert (a.seed(0) == b.seed(0)) == (a == b)
    assert a.seed(0) != a.seed(1)


def test_another_name_is_refused():
    with pytest.raises(RegistryError, match="'marker/3' is not the name of a trial"):
        Trial.parse("marker/3")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_no_trial_is_planned_twice_and_limits_rest_on_cohorts_that_nothing_else_uses(profile):
    references = dict.fromkeys(profile.planted, 1.0)
    kinds = tuple(profile.efforts)
    first = calibration_trials(profile, kinds)
    fresh = fresh_trials(profile, kinds, references, faults={"inverted": (1,)}, real=REAL)
    every = [t.name for t in [*first, *network_trials(profile), *fresh]]
    assert len(set(every)) == len(every)
    assert {t.part for t in first} == {"calibration"}
    assert {t.part for t in fresh} == {"fresh", *REAL}
    assert {t.part for t in fresh if t.is_real} == set(REAL)
    assert not any(t.plant for t in first)
    # A larger network is only held against limits that smaller models set.
    assert not {t.kind for t in first} & set(TRANSFER)
    assert {t.kind for t in fresh} - {t.kind for t in first} == set(kinds) & set(TRANSFER)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_pools_hold_enough_patients_for_every_trial(profile):
    # Networks on shortcuts alone take the most: two cohorts, both classes of healthy patients.
    assert profile.planted_patients // 2 >= profile.patients + min(160, profile.patients)
    assert profile.pool_patients >= 2 * max(600 if len(profile.sizes) > 1 else 0, *profile.sizes)
    assert profile.planted_patients >= max(profile.sizes) + 80


def test_power_is_measured_where_it_is_judged():
    profile = PROFILES["full"]
    references = dict.fromkeys(profile.planted, 0.8)
    kinds = tuple(profile.efforts)
    fresh = fresh_trials(profile, kinds, references, faults={}, real=())
    markers = [t for t in fresh if t.plant == "marker"]
    for kind, (_, power) in profile.efforts.items():
        at = [t.patients for t in markers if t.strength == 0.8 and t.kind == kind]
        assert len(at) == power
        assert abs(at.count(120) - at.count(400)) <= 1
    assert sum(t.strength == 0.2 for t in markers) == profile.graded
    # Fewer than 153 cohorts can promise no 1.5 %.
    assert sum(not t.plant and t.disease for t in fresh if t.kind == "data") >= 153


def test_so_many_cohorts_can_show_goals_of_hurdles_for_data_and_power_on_real_images():
    profile = PROFILES["full"]
    references = dict.fromkeys(profile.planted, 0.8)
    faults = {"inverted": (1,)}
    trials = fresh_trials(profile, profile.efforts, references, faults=faults, real=REAL)
    counted = Counter(t.condition for t in trials if t.kind == "data" or t.is_real)
    for condition, n in counted.items():
        if condition.plant in references and condition.strength != references[condition.plant]:
            continue  # no goal is held against other strengths
        if condition.plant:
            assert can_be_met(">= 0.8", n)
        elif condition.kind == "data":
            assert can_be_met("<= 0.015", n)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_size_is_drawn_from_every_pool(profile):
    references = dict.fromkeys(profile.planted, 0.8)
    trials = [
        *calibration_trials(profile, profile.efforts),
        *fresh_trials(profile, profile.efforts, references, faults={}, real=()),
    ]
    drawn = Counter((t.condition, t.patients, t.pool(profile.pools)) for t in trials)
    # Those for models, and what measures data at the strength where power is judged.
    conditions = {
        t.condition for t in trials if t.disease and (t.kind != "data" or t.strength in {0.0, 0.8})
    }
    assert len(conditions) > 2
    for condition in conditions:
        cells = [(size, pool) for size in profile.sizes for pool in range(profile.pools)]
        counts = [drawn[condition, *cell] for cell in cells]
        assert max(counts) - min(counts) <= 1
        assert min(counts) > 0


def test_a_larger_profile_goes_on_from_a_smaller_one():
    half, full = PROFILES["half"], PROFILES["full"]
    references = dict.fromkeys(full.planted, 0.8)
    of = [
        {
            t.name
            for t in [
                *calibration_trials(p, p.efforts),
                *network_trials(p),
                *fresh_trials(p, p.efforts, references, faults={}, real=REAL),
            ]
        }
        for p in (half, full)
    ]
    assert of[0] < of[1]


def test_wherever_one_stops_each_condition_has_about_the_same_share():
    profile = PROFILES["full"]
    references = dict.fromkeys(profile.planted, 0.8)
    trials = fresh_trials(profile, profile.efforts, references, faults={}, real=REAL)
    ordered = by_turns(trials)
    assert sorted(t.name for t in ordered) == sorted(t.name for t in trials)
    whole = Counter(t.condition for t in trials)
    half = Counter(t.condition for t in ordered[: len(ordered) // 2])
    assert all(abs(half[c] - n / 2) <= 1 for c, n in whole.items())
