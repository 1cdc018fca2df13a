"""Forecasts held against what came: intervals, the combination, the record."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hurdles.errors import EvaluationError
from hurdles.evaluation.estimate import Estimate
from hurdles.evaluation.outcomes import (
    COMBINATION,
    GOAL,
    LEAST_COLLECTIONS,
    LEVEL,
    Combination,
    Outcomes,
    Reliability,
    Track,
    combined,
    half_width,
    load_reliabilities,
    to_toml,
)
from hurdles.evaluation.places import Forecast, Target


def outcomes(collections=12, places=8, *, spread=0.03, seed=0, biased=0.0, origins=2):
    """What comes is what ATC says, give or take; DoC sees half of the loss, and noise nothing."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(collections):
        own = rng.normal(0, spread)  # places of one collection are alike
        for place in range(places):
            lost = rng.uniform(0, 0.4)
            came = 0.9 - lost
            rows.append(
                {
                    "origin": ("planted", "shared")[number % origins],
                    "home": f"c{number}",
                    "collection": f"c{number}",
                    "model": f"m{number}",
                    "place": f"place {place}",
                    "target": "accuracy",
                    "inside": 0.9,
                    "came": came,
                    "separation": rng.uniform(0.5, 1.0),
                    "n_inside": 200,
                    "n_there": 200,
                    "forecast: inside": 0.9,
                    "error: inside": 0.02,
                    "forecast: ATC": came + own + rng.normal(0, 0.01) + biased,
                    "error: ATC": 0.02,
                    "forecast: DoC": 0.9 - lost / 2 + rng.normal(0, 0.06),
                    "error: DoC": 0.02,
                    "forecast: noise": rng.uniform(0.3, 0.9),
                    "error: noise": 0.02,
                }
            )
    return Outcomes(pd.DataFrame(rows))


def test_the_half_width_holds_the_share_of_new_collections():
    """Of 400 draws of 12 collections, the thirteenth's place lies within in 90 % or more."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        effects = rng.normal(0, 1, 13)
        places = effects[:, None] + rng.normal(0, 0.5, (13, 6))
        reach = half_width(np.abs(places[:12]).ravel(), np.repeat(np.arange(12), 6).astype(str))
        held.append(abs(places[12, 0]) <= reach)
    # 0.9 less what 400 draws may show, at five in a thousand.
    assert np.mean(held) >= 0.9 - 2.6 * math.sqrt(0.09 / 400)


def test_places_of_one_collection_do_not_count_as_many():
    rng = np.random.default_rng(0)
    misses = np.abs(rng.normal(size=500))
    assert half_width(misses, ["one"] * 500) == math.inf
    assert half_width(misses, [f"c{k % 8}" for k in range(500)]) == math.inf
    assert half_width(misses, [f"c{k % 9}" for k in range(500)]) == misses.max()
    alone = half_width(misses, [str(k) for k in range(500)])
    assert alone == np.sort(misses)[math.ceil(0.9 * 501) - 1]  # split conformal prediction


def test_a_half_width_needs_a_collection_for_each_miss():
    with pytest.raises(EvaluationError, match="one collection for each place"):
        half_width(np.array([0.1, math.nan]), ["a", "b"])
    assert half_width(np.array([]), []) == math.inf


def test_the_combination_finds_the_estimator_that_is_right():
    table = outcomes().of(Target.ACCURACY)
    found = Combination.fit(Target.ACCURACY, table)
    assert found.weights["ATC"] > 0.5
    assert found.weights["noise"] < 0.05
    assert min(found.weights.values()) >= 0
    assert found.constant >= 0
    missed = np.abs(found.forecast(table) - table["came"])
    assert missed.mean() < 0.03


def test_the_combination_is_scipys_least_squares_where_nothing_is_negative():
    table = outcomes(spread=0.0).of(Target.ACCURACY)
    columns = ["ATC", "DoC", "noise"]
    losses = table["inside"].to_numpy()[:, None] - table[[f"forecast: {c}" for c in columns]]
    design = np.column_stack([losses, np.ones(len(table)), 2 * table["separation"] - 1])
    from scipy.optimize import lsq_linear

    expected = lsq_linear(design, table["inside"] - table["came"], bounds=(0, np.inf)).x
    found = Combination.fit(Target.ACCURACY, table)
    own = [*found.weights.values(), found.constant, found.by_separation]
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_an_estimator_with_nothing_to_say_is_stood_for_by_the_others():
    table = outcomes().of(Target.ACCURACY)
    found = Combination.fit(Target.ACCURACY, table)
    silent = table.assign(**{"forecast: noise": math.nan})
    assert not np.isnan(found.forecast(silent)).any()
    nobody = silent.assign(**{"forecast: ATC": math.nan, "forecast: DoC": math.nan})
    lost = found.constant + found.by_separation * (2 * table["separation"] - 1)
    np.testing.assert_allclose(found.forecast(nobody), np.clip(0.9 - lost, 0, 1))


def test_what_is_judged_was_never_fitted():
    """A collection whose truth is changed alters what is said of the others, never of itself."""
    table = outcomes().of(Target.ACCURACY)
    own = (table["collection"] == "c3").to_numpy()
    changed = table.assign(came=np.where(own, 0.05, table["came"]))
    before, after = combined(Target.ACCURACY, table), combined(Target.ACCURACY, changed)
    np.testing.assert_array_equal(before[own], after[own])
    assert (before[~own] != after[~own]).any()


def test_neither_the_models_collection_nor_the_places_is_fitted():
    table = outcomes().of(Target.ACCURACY)
    crossed = table.assign(
        collection=table["collection"].map(lambda c: f"c{(int(c[1:]) + 1) % 12}")
    )
    block = (crossed["home"] == "c3").to_numpy()  # tested on c4
    near = crossed["home"].isin(["c3", "c4"]) | crossed["collection"].isin(["c3", "c4"])
    assert near.sum() > block.sum()
    changed = crossed.assign(came=np.where(near, 0.05, crossed["came"]))
    before, after = (combined(Target.ACCURACY, each) for each in (crossed, changed))
    np.testing.assert_array_equal(before[block], after[block])


def test_a_good_estimator_is_supported_and_a_poor_one_is_not():
    # Nine collections of either origin: of fewer alone there is no 90 % interval.
    known = outcomes(collections=18, spread=0.01).reliabilities()
    good, poor = (known[Target.ACCURACY, name] for name in ("ATC", "inside"))
    assert good.is_supported
    assert known[Target.ACCURACY, COMBINATION].is_supported
    assert not poor.is_supported
    assert all(track.miss.low > GOAL for track in poor.tracks)
    assert {track.origin for track in good.tracks} == {"planted", "shared"}
    assert good.reach < 0.06 < poor.reach
    assert not known[Target.ACCURACY, "noise"].is_supported


def test_one_origin_alone_supports_nothing():
    good = outcomes(spread=0.01, origins=1).reliabilities()[Target.ACCURACY, "ATC"]
    assert good.tracks[0].is_reached
    assert not good.is_supported


def test_intervals_too_narrow_reach_nothing():
    miss = Estimate(0.02, 0.01, 0.03, 0.95, "t", 50, 10)
    narrow, wide = (Estimate(x, x - 0.1, x + 0.05, 0.95, "exact", 50, 10) for x in (0.7, 0.9))
    assert not Track("shared", miss, narrow, 10).is_reached
    assert Track("shared", miss, wide, 10).is_reached
    assert not Track("shared", replace(miss, high=0.06), wide, 10).is_reached


def test_few_collections_of_an_origin_reach_nothing():
    """Intervals made of phantoms may hold at four hospitals; that promises nothing of a fifth."""
    assert math.ceil(LEVEL / (1 - LEVEL) - 1e-9) == LEAST_COLLECTIONS
    miss, held = (Estimate(x, x - 0.01, x + 0.01, 0.95, "t", 50, 10) for x in (0.02, 0.95))
    assert Track("shared", miss, held, LEAST_COLLECTIONS).is_reached
    assert not Track("shared", miss, held, LEAST_COLLECTIONS - 1).is_reached


def test_what_is_neither_reached_nor_missed_is_not_shown():
    miss, held = (Estimate(x, x - 0.03, x + 0.03, 0.95, "t", 50, 10) for x in (0.06, 0.88))
    assert not Track("shared", miss, held, 10).is_missed
    assert not Track("shared", miss, held, 10).is_reached
    assert Track("shared", replace(miss, low=0.051), held, 10).is_missed
    assert Track("shared", miss, replace(held, high=0.89), 10).is_missed


@pytest.mark.parametrize("alike", ["home", "collection"])
def test_misses_that_go_together_by_model_or_by_place_widen_the_interval(alike):
    """Every model is held against every place; one of both decides the miss."""
    frame = outcomes(collections=5, places=5, origins=1).frame
    homes = frame["home"].str[1:].astype(int)
    places = frame["place"].str.removeprefix("place ").astype(int)
    crossed = frame.assign(collection=[f"c{k}" for k in (homes + places) % 5])
    effect = np.random.default_rng(1).uniform(0, 0.1, 5)
    wrong = effect[crossed[alike].str[1:].astype(int)]
    by_unit = Outcomes(crossed.assign(**{"forecast: ATC": crossed["came"] + wrong}))
    shuffled = np.random.default_rng(2).permutation(wrong)
    by_chance = Outcomes(crossed.assign(**{"forecast: ATC": crossed["came"] + shuffled}))
    widths = [
        each.reliabilities()[Target.ACCURACY, "ATC"].tracks[0].miss for each in (by_unit, by_chance)
    ]
    wide, narrow = (each.high - each.low for each in widths)
    assert widths[0].value == pytest.approx(widths[1].value)
    assert wide > 1.5 * narrow


def test_an_interval_that_is_everything_holds_nothing():
    few = outcomes(collections=6, spread=0.01).reliabilities()[Target.ACCURACY, "ATC"]
    assert few.reach == math.inf
    assert not few.is_supported
    for track in few.tracks:
        assert not track.held.is_defined
        assert "no intervals" in str(track)


def test_places_without_a_forecast_are_counted():
    made = outcomes()
    quiet = made.frame["place"] == "place 0"
    frame = made.frame.assign(**{"forecast: ATC": made.frame["forecast: ATC"].mask(quiet)})
    tracks = Outcomes(frame).reliabilities()[Target.ACCURACY, "ATC"].tracks
    assert [track.silent for track in tracks] == [6, 6]
    assert [track.places for track in tracks] == [42, 42]


def test_an_interval_of_a_smaller_place_is_wider():
    known = Reliability("ATC", Target.ACCURACY, 0.1, 0.02, ())
    usual, small = (
        known.interval(Forecast("ATC", Target.ACCURACY, 0.7, e), n_images=50, n_patients=50)
        for e in (0.02, 0.08)
    )
    assert (usual.low, usual.high, usual.level) == (pytest.approx(0.6), pytest.approx(0.8), LEVEL)
    assert small.high - small.low == pytest.approx(2 * math.hypot(0.1, 1.645 * 0.0775), rel=0.01)
    none = Forecast("ATC", Target.ACCURACY, math.nan, math.nan, "because")
    assert str(known.interval(none, n_images=5, n_patients=5)) == "undefined (because)"
    everything = Reliability("ATC", Target.ACCURACY, math.inf, 0.0, ())
    whole = everything.interval(
        Forecast("ATC", Target.ACCURACY, 0.7, 0.02), n_images=5, n_patients=5
    )
    assert (whole.low, whole.high) == (0.0, 1.0)
    assert whole.method == "all there is: 90 % need 9 other collections"


def test_the_file_gives_back_what_was_written(tmp_path):
    known = outcomes().reliabilities()
    path = tmp_path / "forecast.toml"
    path.write_text(to_toml(known, "a test"), encoding="utf-8")
    again = load_reliabilities(path)
    assert again.keys() == known.keys()
    for key, each in again.items():
        assert each.reach == pytest.approx(known[key].reach, abs=1e-4)
        assert each.is_supported == known[key].is_supported
        assert [t.places for t in each.tracks] == [t.places for t in known[key].tracks]
        assert [t.miss.value for t in each.tracks] == pytest.approx(
            [t.miss.value for t in known[key].tracks], abs=1e-4
        )
    weights = again[Target.ACCURACY, COMBINATION].combination.weights
    assert weights["ATC"] == pytest.approx(
        known[Target.ACCURACY, COMBINATION].combination.weights["ATC"], abs=1e-4
    )
    path.write_text("[accuracy.ATC]\nreach = 0.1\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="holds no record of forecasts"):
        load_reliabilities(path)


def test_a_table_without_what_came_is_refused():
    frame = outcomes().frame
    with pytest.raises(EvaluationError, match="lacks came"):
        Outcomes(frame.drop(columns="came"))
    frame.loc[3, "came"] = math.nan
    with pytest.raises(EvaluationError, match=r"not known of 1 places, e\.g\. 'place 3'"):
        Outcomes(frame)


def test_what_ships_is_whole():
    shipped = load_reliabilities()
    for target in Target:
        each = shipped[target, COMBINATION]
        assert each.combination is not None
        assert set(each.combination.weights) < {name for t, name in shipped if t is target}
        assert {track.origin for track in each.tracks} <= {"planted", "shared"}
        # Without an interval, or on phantoms alone, nothing is promised of any place.
        if each.reach == math.inf or len(each.tracks) < 2:
            assert not each.is_supported


def test_what_ships_is_made_of_the_published_outcomes():
    """The file follows from docs/results/forecast.csv, and from nothing else."""
    from pathlib import Path

    root = Path(__file__).parents[3]
    frame = pd.read_csv(root / "docs" / "results" / "forecast.csv")
    made = tomllib.loads(to_toml(Outcomes(frame).reliabilities(), ""))
    file = root / "src" / "hurdles" / "evaluation" / "forecast.toml"
    shipped = tomllib.loads(file.read_text(encoding="utf-8"))
    for target in map(str, Target):
        for name, entry in shipped[target].items():
            assert made[target][name]["reach"] == pytest.approx(entry["reach"], abs=2e-4)
            for origin in {"planted", "shared"} & entry.keys():
                assert made[target][name][origin]["places"] == entry[origin]["places"]
                assert made[target][name][origin]["miss"] == pytest.approx(
                    entry[origin]["miss"], abs=2e-4, nan_ok=True
                )
