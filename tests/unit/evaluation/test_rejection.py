"""A rule from validation scores alone, and what it comes to beside how often it answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.decisions import (
    REJECTION_COLUMNS,
    Rejection,
    fix_rejection,
    nearest_distances,
    rejection_table,
    selective,
)
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.predictions import Predictions


def predictions(n: int = 60, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    sick = rng.random(n) < 0.5
    p = np.clip(0.5 + 0.2 * (sick - 0.5) + rng.normal(0, 0.15, n), 0, 1)
    return Predictions.from_arrays(
        ["sick", "well"],
        y_true=np.where(sick, "sick", "well").tolist(),
        y_prob=np.column_stack([p, 1 - p]),
        images=[f"i{k}" for k in range(n)],
        groups=[f"p{k // 2}" for k in range(n)],
    )


class TestRule:
    @given(st.integers(1, 200), st.sampled_from([0.8, 0.9, 0.95]), st.integers(0, 999))
    @settings(max_examples=60, deadline=None)
    def test_it_accepts_no_less_than_asked_of_its_own_images(self, n, acceptance, seed):
        scores = np.random.default_rng(seed).random(n)
        rule = fix_rejection(scores, acceptance=acceptance)
        assert (~rule.rejects(scores)).mean() >= acceptance
        assert rule.n_rejected == rule.rejects(scores).sum()
        assert math.isinf(rule.limit) == (n < acceptance / (1 - acceptance) - 1e-9)
        assert bool(rule.note) == math.isinf(rule.limit)

    @pytest.mark.parametrize("n", [19, 30, 100])
    def test_new_images_are_accepted_as_often_as_asked(self, n):
        """Over many draws of validation images; the plain quantile accepts too few."""
        rng = np.random.default_rng(1)
        shares, plain = [], []
        for _ in range(3000):
            scores = rng.random(n)
            shares.append(fix_rejection(scores, acceptance=0.9).limit)  # uniform: limit is share
            plain.append(np.quantile(scores, 0.9))
        assert 0.9 - 0.003 < np.mean(shares) < 0.9 + 1 / n
        assert np.mean(plain) < np.mean(shares)

    def test_where_patients_have_several_images_fewer_may_be_accepted(self):
        """Five patients with four like images each: 5 / 6 of new ones, as the docstring warns."""
        rng = np.random.default_rng(2)
        scores = np.repeat(rng.random((3000, 5)), 4, axis=1)
        shares = [fix_rejection(each, acceptance=0.95).limit for each in scores]
        assert np.mean(shares) == pytest.approx(5 / 6, abs=0.01)

    def test_equal_scores_are_accepted_together(self):
        rule = fix_rejection(np.ones(40), acceptance=0.9)
        assert not rule.rejects(np.ones(3)).any()

    @pytest.mark.parametrize("limit", [0.25, math.inf])
    def test_it_survives_json(self, limit):
        import json

        rule = Rejection("confidence", limit, 0.9, 12, 0, "few")
        plain = json.loads(json.dumps(rule.to_dict(), allow_nan=False))
        assert Rejection.from_dict(plain) == rule
        rejected = "nothing" if math.isinf(limit) else "above 0.25"
        assert f"by confidence: {rejected}, fixed on 12 validation images" in str(rule)
        assert "(few)" in str(rule)

    @pytest.mark.parametrize(
        ("scores", "acceptance"), [([], 0.9), ([1.0, math.nan], 0.9), ([1.0], 1.0), ([1.0], 0.0)]
    )
    def test_what_fixes_no_rule_is_refused(self, scores, acceptance):
        with pytest.raises(EvaluationError, match="fix no rule"):
            fix_rejection(np.array(scores), acceptance=acceptance)

    def test_a_rule_without_a_limit_is_refused(self):
        with pytest.raises(EvaluationError, match="the limit is a number"):
            Rejection("distance", math.nan, 0.9, 1, 0)

    def test_the_table_lists_every_image(self):
        rule = Rejection("distance", 0.5, 0.9, 20, 1)
        table = rejection_table(rule, ["a", "b"], np.array([0.5, 0.6]))
        assert tuple(table.columns) == tuple(REJECTION_COLUMNS)
        assert table["rejected"].tolist() == [False, True]


class TestDistances:
    @given(st.integers(1, 30), st.integers(1, 9), st.integers(1, 40), st.integers(0, 999))
    @settings(max_examples=40, deadline=None)
    def test_they_are_those_of_a_slow_loop(self, m, n, k, seed):
        rng = np.random.default_rng(seed)
        known, asked = (rng.normal(size=(r, 5)).astype(np.float32) for r in (m, n))
        units = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (known, asked)]
        expected = [
            sorted(np.linalg.norm(a - b) for b in units[0])[min(k, m) - 1] for a in units[1]
        ]
        found = nearest_distances(known, asked, neighbors=k)
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_blocks_make_no_difference(self, monkeypatch):
        from hurdles.evaluation import decisions

        rng = np.random.default_rng(0)
        known, asked = (rng.normal(size=(r, 5)).astype(np.float32) for r in (20, 33))
        whole = nearest_distances(known, asked)
        monkeypatch.setattr(decisions, "_CELLS", 50)
        np.testing.assert_allclose(nearest_distances(known, asked), whole, atol=1e-5)

    def test_features_of_nothing_have_a_distance(self):
        found = nearest_distances(np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32))
        assert np.isfinite(found).all()

    @pytest.mark.parametrize(("m", "width", "k"), [(0, 3, 1), (4, 2, 1), (4, 3, 0)])
    def test_what_has_no_neighbour_is_refused(self, m, width, k):
        with pytest.raises(EvaluationError, match="have no neighbour number"):
            nearest_distances(
                np.ones((m, width), np.float32), np.ones((2, 3), np.float32), neighbors=k
            )


class TestSelective:
    def test_each_part_is_measured_on_its_own_images(self):
        table = predictions()
        rejected = np.arange(60) % 5 == 0
        found = selective(table, rejected)
        parts = [Predictions(table.frame[r].reset_index(drop=True)) for r in (~rejected, rejected)]
        assert [found.accepted, found.rejected] == [macro_auc(part) for part in parts]
        assert found.everything == macro_auc(table)
        assert found.coverage.value == 0.8
        assert found.images == tuple(f"i{k}" for k in range(0, 60, 5))
        assert "12 of 60 images are rejected" in str(found)
        assert found.to_dict()["coverage"]["value"] == 0.8

    @pytest.mark.parametrize("all_of_them", [True, False])
    def test_all_or_none_rejected_leaves_one_side_undefined(self, all_of_them):
        found = selective(predictions(), np.full(60, all_of_them))
        empty = found.accepted if all_of_them else found.rejected
        assert empty.note == "no image is left"
        assert not empty.is_defined
        assert found.coverage.value == (0 if all_of_them else 1)
        assert found.coverage.low < found.coverage.high

    def test_coverage_is_wider_where_patients_hold_several_images(self):
        rejected = np.repeat(np.arange(20) < 4, 3)
        frame = predictions().frame
        grouped = Predictions(frame.assign(group=np.repeat(np.arange(20), 3).astype(str)))
        table = Predictions(frame.assign(group=frame["image"]))
        alone, together = (selective(t, rejected).coverage for t in (table, grouped))
        assert (alone.n_patients, together.n_patients) == (60, 20)
        assert together.high - together.low > 1.4 * (alone.high - alone.low)

    def test_decisions_of_other_images_are_refused(self):
        with pytest.raises(EvaluationError, match="3 decisions for 60 images"):
            selective(predictions(), np.zeros(3, dtype=bool))
