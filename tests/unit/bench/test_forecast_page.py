"""The bench of forecasts: collections that share images are one, and what its page says."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hurdles.evaluation.outcomes import Outcomes
from hurdles.evaluation.places import Target

FILE = Path(__file__).parents[3] / "bench" / "forecast.py"


@dataclass
class Named:
    name: str


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_forecast", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outcomes(missed, *, planted=10, shared=4, places=3):
    """Every estimator misses every place by a number and a little, up and down by turns."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(planted + shared):
        origin = "planted" if number < planted else "shared"
        for place in range(places):
            came = rng.uniform(0.1, 0.8)
            row = {
                "origin": origin,
                "home": f"c{number}",
                "collection": f"c{number}",
                "model": f"m{number}",
                "place": f"place {place}",
                "inside": 0.8,
                "came": came,
                "came_low": came - 0.05,
                "came_high": came + 0.05,
                "separation": 0.8,
                "n_inside": 200,
                "n_there": 150,
            }
            for name in ("inside", "two views"):
                off = missed + rng.uniform(0, 0.01)
                row[f"forecast: {name}"] = came + off * (-1) ** place
                row[f"error: {name}"] = 0.02
            rows += [row | {"target": str(target)} for target in Target]
    return Outcomes(pd.DataFrame(rows))


def lines(bench, made):
    return list(bench.page(made, made.reliabilities(), "a test"))


def test_collections_that_share_images_are_one(bench, monkeypatch):
    monkeypatch.setenv("HURDLES_DATA", "somewhere")
    monkeypatch.setattr(bench, "_collection", Named)
    monkeypatch.setattr(bench, "_parted", lambda material, seed: material)
    monkeypatch.setattr(bench, "_outcomes", lambda *given: given)
    homes = set()
    for name in bench._shared_names():
        _, home, _, inside, others, collections = bench._shared(name, 1)
        assert inside.name == f"{name}-1"
        assert home not in collections
        assert len(others) == len(collections)
        assert not {name, *map(bench._one_of, [name])} & {each.name for each in others}
        homes.add(home)
    assert homes == {"kermany", "darkcovidnet", "montgomery", "shenzhen"}


def test_large_misses_are_said_to_miss_the_goal(bench):
    text = lines(bench, outcomes(0.15))
    assert "Accuracy: missed; AUC: missed." in text[2]
    (numbers,) = (line for line in text if line.startswith("- The combination, accuracy"))
    assert "planted: 30 places of 10 collections, missed by 0." in numbers
    assert "shared: 12 places of 4 collections, missed by 0." in numbers


def test_four_collections_show_nothing_however_good(bench):
    text = lines(bench, outcomes(0.0))
    assert "Accuracy: not shown; AUC: not shown." in text[2]
    assert any("The 4 shared collections alone have none" in line for line in text)


def test_nine_collections_of_either_origin_can_reach_the_goal(bench):
    text = lines(bench, outcomes(0.0, planted=9, shared=9))
    assert "Accuracy: reached; AUC: reached." in text[2]
    assert not any("collections alone have none" in line for line in text)
