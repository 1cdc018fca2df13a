"""Histograms of scores: every image is counted once, in its bin, class and collection."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hurdles.evaluation.bounds import patient_share
from hurdles.evaluation.histograms import BINS, Histogram, score_histograms
from hurdles.evaluation.predictions import Predictions


def with_sources(table, names):
    frame = table.frame.copy()
    frame["source"] = [names[i % len(names)] for i in range(len(frame))]
    frame["source"] = frame["source"].astype("str")
    return Predictions(frame)


def test_every_image_stands_once_for_each_class(make):
    table = with_sources(make(150, images_each=3), ["one", "two"])
    found = score_histograms(table)
    for scored in table.classes:
        own = [h for h in found if h.scored == scored]
        assert sum(sum(h.images) for h in own) == 150
        for h in own:
            rows = (table.y_true == h.label) & (table.frame["source"] == h.source).to_numpy()
            scores = table.y_prob[rows, table.classes.index(scored)]
            expected, _ = np.histogram(scores, bins=BINS, range=(0, 1))
            assert list(h.images) == expected.tolist()
            assert h.n_images == rows.sum()
            assert h.n_patients == len(set(table.groups[rows]))


def test_the_interval_of_a_bin_is_that_of_a_share_by_patient(make):
    table = make(90, images_each=3)
    h = score_histograms(table)[0]
    rows = table.y_true == h.label
    places = np.minimum((table.y_prob[rows, 0] * BINS).astype(int), BINS - 1)
    for place in range(BINS):
        share = patient_share(places == place, table.groups[rows])
        assert (h.low[place], h.high[place]) == (share.low, share.high)
        assert h.patients[place] == len(set(table.groups[rows][places == place]))


def test_bins_begin_where_they_say_and_the_last_has_both_ends():
    p = np.array([0.0, 0.1, 0.3, 0.7, 0.999, 1.0])
    table = Predictions.from_arrays(
        ["x", "y"], y_true=["x"] * 6, y_prob=np.column_stack([p, 1 - p]),
        images=list("abcdef"), groups=list("abcdef"),
    )  # fmt: skip
    (only,) = score_histograms(table)
    assert only.images == (1, 1, 0, 1, 0, 0, 0, 1, 0, 2)
    assert only.source == ""


def test_of_two_classes_the_first_tells_all(make):
    assert {h.scored for h in score_histograms(make(classes=["a", "b"], prior=(0.4, 0.6)))} == {"a"}


def test_it_comes_back_from_json(make):
    for h in score_histograms(make(), level=0.9):
        assert Histogram.from_dict(json.loads(json.dumps(h.to_dict()))) == h
        assert h.level == pytest.approx(0.9)
