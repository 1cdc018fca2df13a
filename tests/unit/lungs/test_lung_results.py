"""The page of lung results: every number follows from masks, and leaks are refused."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from hurdles.data.manifest import Manifest
from hurdles.errors import RunError
from hurdles.lungs import training
from hurdles.lungs.mask import mean_estimate
from hurdles.lungs.results import Measured, lungs_card, lungs_page, lungs_results, measure_lungs
from hurdles.lungs.training import LungRecipe, split_lungs
from hurdles.training.machine import Machine

TINY = LungRecipe(
    width=2, epochs=1, calm_epochs=0, images=4, batch_size=4, fractions=(0.5, 0.25, 0.25)
)


@pytest.fixture(autouse=True)
def _plain_machine(monkeypatch):
    monkeypatch.setattr(training, "this_machine", lambda: Machine("cpu", torch.float32))


@pytest.fixture(scope="module")
def measured(chests) -> Measured:
    scores = pd.DataFrame(
        {
            "image": [f"i{k}" for k in range(20)],
            "group": [f"p{k}" for k in range(20)],
            "source": ["here", "there"] * 10,
            "dice": [0.5, *[0.98] * 19],
            "jaccard": 0.9,
            "inside": 0.95,
            "boundary": 1.25,
            "flaw": ["one-sided: something", *[""] * 19],
        }
    )
    meta = {"recipe": LungRecipe().to_json(), "epoch": "7 of 60", "width": "16", "data": "abc"}
    gone = pd.DataFrame({"path": ["/x"], "reason": ["its mask says nothing: empty"]})
    return Measured("held out", scores, gone, meta)


def test_the_page_states_what_was_measured(measured):
    counts = {"train": 60, "validation": 10, "test": 20}
    own = dataclasses.replace(measured, name="trained on", scores=measured.scores.tail(10))
    leap = dataclasses.replace(measured, name="trained on here only")
    foreign = dataclasses.replace(measured, name="other masks")
    page = lungs_page(measured, own, [leap], [foreign], counts)
    dice = str(mean_estimate(measured.scores, "dice"))
    assert page.count(f"| {dice} | 0.980 | 0.500 |") == 3  # held out, leap, other
    assert "| held out, here | 10 of 10 patients |" in page
    assert "| held out, there | 10 of 10 patients | 0.980 [0.980, 0.980] | 0.980 | 0.980 |" in page
    assert "a Dice of 0.980, +0.024 against patients" in page
    assert "1, 5.0 % [0.9, 23.6]" in page
    assert "The worst: `i0` 0.500 (one-sided: something); `i1` 0.980;" in page
    assert "epoch 7 of 60" in page
    assert "1 images are left out" in page
    assert "heart" in page
    alone = lungs_page(measured, own, [], [], counts)
    assert "From one collection" not in alone
    assert "another convention" not in alone
    card = lungs_card(measured, counts)
    assert dice in card
    assert "here and there: 60 images for training" in card


def test_one_call_trains_measures_and_writes(chests, tmp_path):
    other = Manifest(chests.frame.head(4).assign(split="test"))
    page = lungs_results(
        chests, tmp_path, other=other, recipe=TINY, crossed=TINY, cache=tmp_path / "cache"
    )
    text = page.read_text()
    assert "trained on here only | 8 of 8 patients" in text
    assert "held out | 4 of 4 patients" in text
    assert "other masks | 4 of 4 patients" in text
    table = pd.read_csv(tmp_path / "lungs.csv")
    assert table["measured"].value_counts().to_dict() == {
        "trained on here only": 8,
        "trained on there only": 8,
        "held out": 4,
        "trained on": 8,
        "other masks": 4,
    }
    test = split_lungs(chests, fractions=TINY.fractions, seed=0).part("test")
    held_out = table[table["measured"] == "held out"]
    assert sorted(held_out["image"].astype(str)) == sorted(test.frame["image"])
    assert (tmp_path / "card.md").read_text().startswith("# Weights")

    weights = tmp_path / "main" / "lungs.safetensors"
    leaking = split_lungs(chests, fractions=TINY.fractions, seed=1)
    with pytest.raises(RunError, match="may hold patients that they have seen"):
        measure_lungs("leaking", leaking, weights, cache=tmp_path / "cache")


@pytest.mark.full
@pytest.mark.realdata
def test_the_shipped_weights_find_lungs_that_they_never_saw(tmp_path):
    if not os.environ.get("HURDLES_DATA"):
        pytest.skip("HURDLES_DATA is not set")
    from hurdles.data.sources import COLLECTIONS

    root = Path(os.environ["HURDLES_DATA"]) / "Lung Segmentation"
    if not root.is_dir():
        pytest.skip("the montgomery-shenzhen collection is not under HURDLES_DATA")
    recipe = LungRecipe()
    data = COLLECTIONS.get("montgomery-shenzhen").read(root)
    parts = split_lungs(data, fractions=recipe.fractions, seed=recipe.seed)
    measured = measure_lungs("held out", parts, cache=tmp_path)
    assert len(measured.scores) > 100
    by_source = dict(iter(measured.scores.groupby("source")))
    assert mean_estimate(by_source["montgomery"], "dice").value >= 0.97
    # Shenzhen's masks contradict each other; the network scores no better on its training images.
    assert mean_estimate(by_source["shenzhen"], "dice").value >= 0.955
    assert (measured.scores["flaw"] != "").mean() <= 0.03
