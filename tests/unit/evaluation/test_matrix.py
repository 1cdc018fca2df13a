from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from hurdles.errors import EvaluationError
from hurdles.evaluation.comparisons import compare, holm
from hurdles.evaluation.delong import AUC, compare_aucs
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.matrix import (
    GAP_COLUMNS,
    MATRIX_COLUMNS,
    MEASURES,
    PAIRED_COLUMNS,
    gaps,
    matrix,
    measured,
    paired,
)
from hurdles.evaluation.predictions import Predictions


def said(n=80, *, skill=1.0, seed=0, where="a", images_each=1, sick=0.5, classes=("sick", "well")):
    """Return what a model says of the images of a place; another seed is another model there."""
    known = np.random.default_rng(sum(map(ord, where)))
    truth = np.repeat(known.random(-(-n // images_each)) < sick, images_each)[:n]
    score = 2 * skill * truth + np.random.default_rng(seed).normal(size=n)
    p = 1 / (1 + np.exp(-score + skill))
    return Predictions.from_arrays(
        list(classes),
        y_true=np.where(truth, "sick", "well").tolist(),
        y_prob=np.column_stack([p, 1 - p]),
        images=[f"{where} {i}" for i in range(n)],
        groups=[f"{where} {i // images_each}" for i in range(n)],
    )


@pytest.fixture
def results():
    return {
        ("raw", "a"): said(seed=1),
        ("raw", "b"): said(seed=2, where="b", skill=0.2, images_each=2),
        ("raw", "healthy"): said(30, seed=3, where="c", sick=0.0),
        ("masked", "a"): said(seed=4, skill=1.5),
        ("masked", "b"): said(seed=5, where="b", skill=1.3, images_each=2),
    }


def test_the_cells_are_those_of_evaluate(results):
    table = matrix(results, positive="sick")
    assert list(table.columns) == list(MATRIX_COLUMNS)
    assert len(table) == len(results) * len(MEASURES)
    assert list(table["measure"][: len(MEASURES)]) == list(MEASURES)
    for (model, test), predictions in results.items():
        whole = evaluate(predictions)
        cell = table[(table["model"] == model) & (table["test"] == test)]
        for row in cell.itertuples():
            expected = whole.get(row.measure, row._4 or None)
            assert (row.value, row.low, row.high) == pytest.approx(
                (expected.value, expected.low, expected.high), nan_ok=True
            )
            assert (row.n_images, row.n_patients) == (expected.n_images, expected.n_patients)
            assert row.note == expected.note


def test_a_set_without_a_class_is_undefined_and_says_why(results):
    table = matrix(results, positive="sick")
    cell = table[table["test"] == "healthy"].set_index("measure")
    assert cell.loc["sensitivity", "note"] == "no image of sick in the set"
    for measure in ("auc", "sensitivity", "f1", "balanced_accuracy", "miss_rate"):
        assert cell.loc[measure, ["value", "low", "high"]].isna().all()
    assert math.isnan(cell.loc["diagnostic_odds_ratio", "value"])
    assert 0 < cell.loc["specificity", "value"] < 1


def test_a_model_that_does_not_know_the_class_has_no_measures_of_it():
    other = said(classes=("pneumonia", "well"))
    table = matrix({("kermany", "a"): other}, positive="sick").set_index("measure")
    assert table.loc["auc", "note"] == "the model does not know sick, only pneumonia, well"
    assert not math.isnan(table.loc["accuracy", "value"])
    (row,) = gaps(
        {("kermany", "a"): other, ("kermany", "b"): other},
        inside={"kermany": "a"},
        positive="sick",
    ).to_dict("records")
    assert "inside: the model does not know sick" in row["note"]


@pytest.mark.parametrize("positive", ["sick", "somebody"])
def test_what_was_measured_already_has_the_same_rows(positive):
    given = said(images_each=2)
    table = measured(evaluate(given), ("kermany", "a"), positive=positive)
    pd.testing.assert_frame_equal(table, matrix({("kermany", "a"): given}, positive=positive))


def test_gaps_are_unpaired_clustered_and_adjusted_over_all_rows(results):
    table = gaps(results, inside={"raw": "a", "masked": "a"}, positive="sick")
    assert list(table.columns) == list(GAP_COLUMNS)
    assert table[["model", "outside"]].to_numpy().tolist() == [
        ["raw", "b"], ["raw", "healthy"], ["masked", "b"],
    ]  # fmt: skip
    one, two = (
        AUC.of(t.y_true, t.y_prob[:, 0], positive="sick", groups=t.groups)
        for t in (results["raw", "a"], results["raw", "b"])
    )
    row, expected = table.iloc[0], compare_aucs(one, two)
    assert row["difference"] == pytest.approx(row["auc_inside"] - row["auc_outside"])
    assert (row["low"], row["high"], row["p_value"]) == pytest.approx(
        (expected.difference.low, expected.difference.high, expected.p_value)
    )
    # By hand: Student's t over the patients that the images of the smallest class are worth.
    counts = [
        np.unique(t.groups[(t.y_true == "sick") == sick], return_counts=True)[1]
        for t in (results["raw", "a"], results["raw", "b"])
        for sick in (True, False)
    ]
    degrees = min(n.sum() ** 2 / (n**2).sum() for n in counts if n.max() > 1) - 1
    distance = abs(row["difference"]) / math.hypot(*(math.sqrt(a.variance) for a in (one, two)))
    assert row["p_value"] == pytest.approx(2 * student.sf(distance, degrees))
    assert (row["n_images"], row["n_patients"]) == (160, 120)
    assert row["method"] == f"DeLong, unpaired, Student's t of {degrees:.0f}"
    assert row["p_value"] < 0.01
    assert table["p_holm"].tolist() == pytest.approx(holm(table["p_value"].tolist()), nan_ok=True)


def test_an_undefined_gap_is_no_member_of_the_family(results):
    with_it = gaps(results, inside={"raw": "a", "masked": "a"}, positive="sick")
    undefined = with_it[with_it["outside"] == "healthy"].iloc[0]
    assert undefined[["difference", "p_value", "p_holm", "auc_outside"]].isna().all()
    assert undefined["note"].startswith("outside: there are not both images of sick")
    assert not math.isnan(undefined["auc_inside"])
    without = gaps(
        {k: v for k, v in results.items() if k[1] != "healthy"},
        inside={"raw": "a", "masked": "a"},
        positive="sick",
    )
    kept = with_it[with_it["outside"] != "healthy"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, without)


def test_sets_that_share_patients_are_not_taken_for_independent(results):
    inside = results["raw", "a"]
    part = Predictions(inside.frame.iloc[:50].reset_index(drop=True))
    table = gaps(
        {("raw", "a"): inside, ("raw", "part"): part}, inside={"raw": "a"}, positive="sick"
    )
    assert table.iloc[0]["method"] == "DeLong, some patients shared"
    assert (table.iloc[0]["n_images"], table.iloc[0]["n_patients"]) == (80, 80)
    same = gaps({("raw", "a"): inside, ("raw", "b"): inside}, inside={"raw": "a"}, positive="sick")
    assert same.iloc[0]["difference"] == 0
    assert same.iloc[0]["p_value"] == 1


def test_paired_is_the_comparison_of_the_two_tables(results):
    table = paired(
        results,
        [(("raw", "a"), ("masked", "a")), (("raw", "b"), ("masked", "b"))],
        positive="sick",
    )
    assert list(table.columns) == list(PAIRED_COLUMNS)
    assert table["p_holm"].tolist() == pytest.approx(holm(table["p_value"].tolist()))
    for row, test in zip(table.to_dict("records"), ("a", "b"), strict=True):
        found = compare(results["raw", test], results["masked", test], metrics=["auc"])[0]
        assert (found.class_, found.p_method) == ("sick", row["method"])
        assert (row["difference"], row["low"], row["high"], row["p_value"]) == pytest.approx(
            (found.difference.value, found.difference.low, found.difference.high, found.p_value)
        )
        assert row["n_images"] == 80


def test_only_common_images_are_compared_whatever_their_order(results):
    shuffled = results["masked", "a"].frame.sample(frac=1, random_state=0)
    cells = {
        ("raw", "a"): Predictions(results["raw", "a"].frame.iloc[:60].reset_index(drop=True)),
        ("masked", "a"): Predictions(shuffled),
        ("masked", "first"): Predictions(results["masked", "a"].frame.iloc[:60]),
        ("raw", "b"): results["raw", "b"],
    }
    table = paired(
        cells,
        [(("raw", "a"), ("masked", test)) for test in ("a", "first")]
        + [(("raw", "b"), ("masked", "a"))],
        positive="sick",
    )
    numbers = ["auc_a", "auc_b", "difference", "low", "high", "p_value", "n_images"]
    assert table[numbers].iloc[0].tolist() == pytest.approx(table[numbers].iloc[1].tolist())
    assert table["note"][0] == ("0 images of a and 20 of b are not common to both and left out")
    assert table["note"][1] == ""
    assert table["note"][2] == "no image was predicted by both"
    assert math.isnan(table["p_holm"][2])


def test_cells_that_are_not_there_and_labels_that_differ_are_named(results):
    with pytest.raises(EvaluationError, match="'raw' has no predictions on its own test set 'z'"):
        gaps(results, inside={"raw": "z"}, positive="sick")
    with pytest.raises(EvaluationError, match="no predictions of 'raw' on 'z'"):
        paired(results, [(("raw", "z"), ("raw", "a"))], positive="sick")
    frame = results["masked", "a"].frame
    turned = Predictions(frame.assign(label=np.where(frame["label"] == "sick", "well", "sick")))
    with pytest.raises(EvaluationError, match="80 images different labels"):
        paired(
            {**results, ("masked", "a"): turned},
            [(("raw", "a"), ("masked", "a"))],
            positive="sick",
        )
    with pytest.raises(EvaluationError, match="level is 95"):
        matrix(results, positive="sick", level=95)


def test_nothing_done_is_an_empty_table_with_its_columns():
    assert list(matrix({}, positive="sick").columns) == list(MATRIX_COLUMNS)
    assert list(gaps({}, inside={}, positive="sick").columns) == list(GAP_COLUMNS)
    assert list(paired({}, [], positive="sick").columns) == list(PAIRED_COLUMNS)


@pytest.mark.full
def test_gaps_between_equal_hospitals_raise_an_alarm_as_often_as_they_say():
    """Twenty comparisons without a true gap: Holm's family errs in about 5 of 100 matrices."""
    alarms = {"p_value": 0, "p_holm": 0}
    for seed in range(100):
        results = {
            ("m", f"{seed} {k}"): said(60, seed=100 * seed + k, where=f"{seed}/{k}", images_each=2)
            for k in range(21)
        }
        table = gaps(results, inside={"m": f"{seed} 0"}, positive="sick")
        assert len(table) == 20
        for column in alarms:
            alarms[column] += bool((table[column] <= 0.05).any())
    # With 15 patients of a class a single one errs in about 3 of 100 (Student's t of the fewest).
    assert alarms["p_holm"] / 100 < 0.1 < alarms["p_value"] / 100, alarms
