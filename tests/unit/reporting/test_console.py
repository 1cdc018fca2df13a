"""What the terminal says of a table of images."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from hurdles.data.manifest import Manifest
from hurdles.evaluation.comparisons import Comparison
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.estimate import Estimate, undefined
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.predictions import Predictions
from hurdles.reporting.console import (
    comparison_lines,
    comparison_sentence,
    evaluation_lines,
    manifest_lines,
    manifest_summary,
    margin_lines,
)


def test_images_of_no_known_source_are_counted_beside_the_sources():
    frame = pd.DataFrame({"image": ["a", "b", "c"], "path": ["a.png", "b.png", "c.png"]})
    some = Manifest(frame.assign(label="x", source=["A", None, None]))
    assert "sources: A; not named: 2 images" in list(manifest_lines(some))
    assert manifest_summary(some)["images_without_source"] == 2
    assert "sources: A" in list(manifest_lines(Manifest(frame.assign(label="x", source="A"))))
    assert "sources: not named" in list(manifest_lines(Manifest(frame.assign(label="x"))))


def row(metric, difference, p, class_=""):
    low, high = difference - 0.1, difference + 0.1
    estimates = [Estimate(0.5, 0.4, 0.6, 0.95, "m", n_images=9, n_patients=9)] * 2
    between = Estimate(difference, low, high, 0.95, "m", n_images=9, n_patients=9)
    return Comparison(metric, class_, *estimates, between, p, "exact McNemar")


def test_a_comparison_ends_with_a_sentence_that_says_inconclusive():
    rows = [row("accuracy", 0.05, 0.3), row("auc", 0.02, 0.6, "ill")]
    said = list(comparison_lines(rows, [0.6, 0.6]))[-1]
    assert said == (
        "Inconclusive: after Holm's adjustment none of the 2 rows sets A and B apart; accuracy, "
        "A - B: +5.0 points [-5.0, +15.0], adjusted p = 0.6000."
    )


def test_a_comparison_ends_with_who_is_better_in_what():
    rows = [row("accuracy", 0.2, 0.01), row("auc", 0.3, 1e-6, "ill"), row("f1", 0.0, 0.8, "ill")]
    said = comparison_sentence(rows, [0.02, 3e-6, 0.8])
    assert said == (
        "After Holm's adjustment A is better than B in 2 of 3 rows, most clearly: AUC of ill, "
        "A - B: +0.300 [+0.200, +0.400], adjusted p < 0.0001; the others are inconclusive."
    )
    both = comparison_sentence([row("accuracy", -0.2, 0.01), rows[1]], [0.02, 3e-6])
    assert "A is better than B in 1 of 2 rows" in both
    assert "B is better than A in 1 of 2 rows, most clearly: accuracy, A - B: -20.0 points" in both
    assert "inconclusive" not in both


def test_a_margin_is_answered_below_with_how_to_read_it():
    rows = [replace(row("sensitivity", 0.07, 0.1, "ill"), margin=0.05), row("auc", 0.0, 0.9, "ill")]
    said = list(margin_lines(rows))
    assert "sensitivity of ill, margin 5 points: non-inferior; A - B +7.0 [-3.0, +17.0]" in said
    assert any("one-sided test at 2.5 %" in line for line in said)
    assert not any("AUC" in line for line in said)
    assert list(margin_lines(rows[1:])) == []
    assert list(comparison_lines(rows, [0.1, 0.9]))[-1] == said[-1]


def test_an_evaluation_shows_what_holds_at_a_condition_and_an_older_one_what_it_has():
    sick, names = [0.9] * 8 + [0.1] * 8, [str(i) for i in range(16)]
    table = Predictions.from_arrays(
        ["ill", "well"], y_true=["ill"] * 8 + ["well"] * 8, images=names, groups=names,
        y_prob=np.column_stack([sick, 1 - np.array(sick)]),
    )  # fmt: skip
    found = evaluate(table, conditions=Conditions({"ill": 0.02}, benefit_at=(0.1,)))
    said = "\n".join(evaluation_lines(found))
    assert "PPV at a prevalence of 2 %" in said
    assert "in which the share is 50.0 %" in said
    assert "Net benefit above acting on everybody, at 10 %" in said
    older = {k: v for k, v in found.estimates.items() if k[0] != "average_precision"}
    before = "\n".join(evaluation_lines(replace(found, estimates=older, conditional=())))
    assert "AP" not in before
    assert "at a condition" not in before
    gone = replace(found.conditional[0], estimate=undefined("nobody is ill"))
    said = list(evaluation_lines(replace(found, conditional=(gone,))))
    assert "undefined where nobody is ill" in said


def test_where_nothing_can_be_compared_the_sentence_says_so():
    nothing = undefined("no image", level=0.95, n_images=0, n_patients=0)
    lone = Comparison("accuracy", "", nothing, nothing, nothing, float("nan"), "none")
    assert comparison_sentence([lone], [float("nan")]).startswith("Inconclusive: no measure")


def test_where_no_row_has_a_test_the_intervals_speak():
    said = comparison_sentence([row("average_precision", 0.1, float("nan"))], [float("nan")])
    assert said.startswith("None of these rows has a test; their intervals")


def test_of_a_measure_that_is_better_when_low_the_lower_one_is_better():
    said = comparison_sentence([row("miss_rate", 0.2, 0.001, "x")], [0.001])
    assert said.startswith("After Holm's adjustment B is better than A in 1 of 1 row")


def test_a_difference_that_there_is_none_of_says_why():
    none = undefined("model a gives decisions", n_images=9)
    rows = [replace(row("auc", 0.0, math.nan, "ill"), difference=none)]
    said = list(comparison_lines(rows, [math.nan]))
    assert "undefined where model a gives decisions" in said
