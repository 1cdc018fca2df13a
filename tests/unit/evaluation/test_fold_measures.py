"""Measures of folds: within a fold where scores are compared, intervals wider than by patient."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from hurdles.errors import EvaluationError
from hurdles.evaluation.cluster_size import weighted_auc, weighted_auc_bounds
from hurdles.evaluation.conditions import Conditions
from hurdles.evaluation.delong import AUC
from hurdles.evaluation.evaluation import evaluate
from hurdles.evaluation.folds import (
    FoldAnswers,
    evaluate_folds,
    fold_measures,
    training_factor,
    wider_level,
    within_auc,
    within_weighted_auc,
)
from hurdles.evaluation.predictions import Predictions
from hurdles.evaluation.statistics import PatientTable


def answered(names, groups, truth, scores, classes=("sick", "well")) -> Predictions:
    p = 1 / (1 + np.exp(-np.asarray(scores)))
    return Predictions.from_arrays(
        classes,
        y_true=list(truth),
        y_prob=np.column_stack([p, 1 - p]),
        images=list(names),
        groups=list(groups),
    )


def folds(
    *, k=5, repeats=1, patients=40, images=2, apart=1.2, shift=0.0, seed=0, share=0.5
) -> FoldAnswers:
    """Answers of k models, whose scores lie `shift` apart from one to the next."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(patients), images)
    sick = np.arange(patients) < patients * share
    truth = np.where(sick[person], "sick", "well")
    names = np.array([f"i{n:03}" for n in range(len(person))])
    tests, held = [], []
    for _ in range(repeats):
        fold = np.empty(patients, dtype=int)
        for group in (np.flatnonzero(sick), np.flatnonzero(~sick)):
            fold[rng.permutation(group)] = np.arange(len(group)) % k
        score = apart * sick[person] + rng.normal(size=patients)[person] * 0.7
        score += rng.normal(size=len(person)) * 0.7 - apart / 2
        rows = [fold[person] == number for number in range(k)]
        tests.append(
            tuple(
                answered(names[r], person[r].astype(str), truth[r], score[r] + shift * number)
                for number, r in enumerate(rows)
            )
        )
        after = [rows[(number + 1) % k] for number in range(k)]
        held.append(
            tuple(
                answered(names[r], person[r].astype(str), truth[r], score[r] + shift * number)
                for number, r in enumerate(after)
            )
        )
    return FoldAnswers(tuple(tests), tuple(held))


def test_an_auc_compares_images_of_one_fold_and_pooled_scores_would_not():
    plain, moved = folds(shift=0.0), folds(shift=3.0)
    values = [roc_auc_score(each.y_true == "sick", each.y_prob[:, 0]) for each in moved.tests[0]]
    found = evaluate_folds(moved).get("auc", "sick")
    assert found.value == pytest.approx(np.mean(values), abs=1e-12)  # folds are of one size
    assert found.value == pytest.approx(evaluate_folds(plain).get("auc", "sick").value, abs=1e-12)
    pooled = moved.pooled()
    naive = roc_auc_score(pooled.y_true == "sick", pooled.y_prob[:, 0])
    assert naive < found.value - 0.1
    assert evaluate_folds(moved).get("auc", "well").value == pytest.approx(found.value, abs=1e-12)


def test_folds_of_other_sizes_weigh_by_their_pairs():
    answers = folds(patients=43, share=0.3, k=4)
    pairs, values = [], []
    for each in answers.tests[0]:
        sick = each.y_true == "sick"
        pairs.append(sick.sum() * (~sick).sum())
        values.append(roc_auc_score(sick, each.y_prob[:, 0]))
    assert len(set(pairs)) > 1
    found = evaluate_folds(answers).get("auc", "sick").value
    assert found == pytest.approx(np.average(values, weights=pairs), abs=1e-12)


def test_decisions_of_all_folds_count_together():
    answers = folds(patients=41, k=4, shift=0.4)
    pooled, done = answers.pooled(), evaluate_folds(answers)
    assert done.get("accuracy").value == accuracy_score(pooled.y_true, pooled.y_pred)
    f1 = f1_score(pooled.y_true, pooled.y_pred, pos_label="sick")
    assert done.get("f1", "sick").value == pytest.approx(f1)
    assert sum(map(sum, done.confusion)) == done.n_images == len(pooled)
    weights = [(each.y_true == "sick").sum() for each in answers.tests[0]]
    each = [average_precision_score(e.y_true == "sick", e.y_prob[:, 0]) for e in answers.tests[0]]
    value = done.get("average_precision", "sick").value
    assert value == pytest.approx(np.average(each, weights=weights))


def test_one_fold_alone_is_what_delong_makes_of_it():
    table = folds().pooled()
    whole = PatientTable.of(table)
    ours, theirs = within_auc([whole], "sick"), AUC.of_ranking(whole.ranking("sick"), whole.numbers)
    assert ours.value == pytest.approx(theirs.value)
    assert ours.variance == pytest.approx(theirs.variance, rel=1e-12)
    assert within_auc([whole], "sick").degrees == theirs.degrees


def test_intervals_are_as_much_wider_as_they_say():
    answers = folds(images=1, patients=200)
    wide, alone = evaluate_folds(answers), evaluate(answers.pooled())
    times = math.sqrt(training_factor(5))
    assert times == pytest.approx(1.5)
    assert training_factor(10) == pytest.approx(1 + 10 / 9)
    assert norm.ppf((1 + wider_level(0.95, times)) / 2) == pytest.approx(times * norm.ppf(0.975))
    for key in (("accuracy", ""), ("sensitivity", "sick"), ("ppv", "sick"), ("f1", "sick")):
        one, two = wide.estimates[key], alone.estimates[key]
        assert one.value == two.value
        assert one.level == two.level == 0.95
        ratio = (one.high - one.low) / (two.high - two.low)
        assert ratio == pytest.approx(times, abs=0.06), key
        assert "1.50 times as wide" in one.method
    for measure in ("auc", "average_precision", "diagnostic_odds_ratio"):
        one = wide.get(measure, "sick")
        assert one.low < one.value < one.high


def test_each_patient_once_is_within_folds_and_as_much_wider():
    answers = uneven(shift=3.0)
    wide, plain = evaluate_folds(answers), evaluate_folds(uneven(shift=0.0))
    alone = evaluate(answers.pooled())
    assert wide.patient_weighted.keys() == alone.patient_weighted.keys()
    drawn, rng = [], np.random.default_rng(1)  # one image of each patient
    for each in answers.tests[0]:
        frame, sick = each.frame, each.y_true == "sick"
        pairs = frame.loc[sick, "group"].nunique() * frame.loc[~sick, "group"].nunique()
        values = []
        for _ in range(400):
            rows = pd.Series(rng.permutation(len(frame))).groupby(each.groups).first().to_numpy()
            values.append(roc_auc_score(sick[rows], each.y_prob[rows, 0]))
        drawn.append((pairs, np.mean(values)))
    expected = np.average([v for _, v in drawn], weights=[n for n, _ in drawn])
    auc = wide.patient_weighted["auc", "sick"]
    assert auc.value == pytest.approx(expected, abs=0.01)
    assert auc.value == pytest.approx(plain.patient_weighted["auc", "sick"].value, abs=1e-12)
    assert alone.patient_weighted["auc", "sick"].value < auc.value - 0.1  # pooled scores
    assert "each once, within folds, 1.50 times as wide" in auc.method
    naive = evaluate(uneven(shift=0.0).pooled())
    for key in (("accuracy", ""), ("sensitivity", "sick"), ("specificity", "sick")):
        one, two = plain.patient_weighted[key], naive.patient_weighted[key]
        assert (one.value, one.level) == (two.value, 0.95)
        assert (one.high - one.low) / (two.high - two.low) == pytest.approx(1.5, abs=0.15), key
        assert "1.50 times as wide" in one.method
    assert not any("ranked" in note for note in wide.notes)


def uneven(*, shift: float) -> FoldAnswers:
    """Answers as `folds` gives them, but of every other patient one image alone."""
    answers = folds(patients=150, images=3, share=0.4, shift=shift)

    def fewer(each: Predictions) -> Predictions:
        first = ~each.frame["group"].duplicated()
        kept = first | (each.frame["group"].astype(int) % 2 == 0)
        return Predictions(each.frame[kept].reset_index(drop=True))

    sides = (answers.tests, answers.validations)
    return FoldAnswers(*(tuple(tuple(map(fewer, row)) for row in side) for side in sides))


def test_one_fold_alone_with_each_patient_once_is_the_weighted_auc():
    whole = PatientTable.of(uneven(shift=0.0).pooled())
    ours = within_weighted_auc([whole], "sick")
    theirs = weighted_auc(whole.ranking("sick"), whole.n_patients)
    assert ours.value == theirs.value
    assert ours.variance == pytest.approx(theirs.variance, rel=1e-12)
    assert weighted_auc_bounds(ours) == pytest.approx(weighted_auc_bounds(theirs))


@pytest.mark.parametrize("patients", [23, 40, 43])
def test_perfect_folds_are_perfect_together(patients):
    done = evaluate_folds(folds(patients=patients, share=0.3, apart=40.0))
    assert done.get("auc", "sick").value == done.patient_weighted["auc", "sick"].value == 1.0
    assert done.get("auc", "sick").high == 1.0
    assert done.get("auc", "sick").low < 0.99


def test_the_spread_of_scores_is_as_much_wider():
    answers = folds(images=1, patients=120)
    for one, two in zip(
        evaluate_folds(answers).scores, evaluate(answers.pooled()).scores, strict=True
    ):
        assert one.level == two.level == 0.95
        assert one.images == two.images
        assert all(a <= b for a, b in zip(one.low, two.low, strict=True))
        assert all(a >= b for a, b in zip(one.high, two.high, strict=True))


def test_repeats_average_and_rest_on_the_same_patients():
    three = folds(repeats=3, images=1)
    values = [
        evaluate_folds(FoldAnswers((t,), (v,)))
        for t, v in zip(three.tests, three.validations, strict=True)
    ]
    done = evaluate_folds(three)
    for key in (("auc", "sick"), ("accuracy", ""), ("balanced_accuracy", ""), ("npv", "sick")):
        expected = np.mean([each.estimates[key].value for each in values])
        assert done.estimates[key].value == pytest.approx(expected, abs=0.02), key
    assert done.get("auc", "sick").n_patients == done.get("accuracy").n_patients == 40
    assert done.notes[0].startswith("Each of 40 images was answered 3 times, each time by")
    assert done.n_images == 40
    table = fold_measures(three)
    assert len(table) == 15
    assert table.groupby("repeat")["images"].sum().tolist() == [40, 40, 40]


def test_thresholds_are_those_of_each_fold():
    moved, plain = (
        evaluate_folds(folds(shift=shift, patients=120), conditions=Conditions(specificity=(0.9,)))
        for shift in (4.0, 0.0)
    )
    pairs = zip(moved.conditional, plain.conditional, strict=True)
    for one, two in pairs:
        assert one.estimate.value == pytest.approx(two.estimate.value)
        assert "5 thresholds, one for each fold" in one.basis
    reached = next(row for row in moved.conditional if row.measure == "specificity_reached")
    assert 0.75 < reached.estimate.value <= 1


@pytest.mark.parametrize("fault", ["twice", "other", "patient", "chosen", "one"])
def test_answers_that_are_no_folds_are_refused(fault):
    answers = folds(repeats=2, images=2)
    tests, held = [list(map(list, side)) for side in (answers.tests, answers.validations)]
    first = tests[0]
    if fault == "twice":
        first[1] = Predictions(pd.concat([first[1].frame, first[0].frame]).reset_index(drop=True))
        message = "tested twice"
    elif fault == "other":
        tests[1][0] = Predictions(tests[1][0].frame.iloc[1:].reset_index(drop=True))
        message = "other images"
    elif fault == "patient":
        frame = first[0].frame
        moved = frame.iloc[[0]]
        first[0] = Predictions(frame.iloc[1:].reset_index(drop=True))
        first[1] = Predictions(pd.concat([first[1].frame, moved]).reset_index(drop=True))
        message = "tested in two folds"
    elif fault == "chosen":
        held[0][0] = first[0]
        message = "chosen on"
    else:
        tests, held = [[tests[0][0]]], [[held[0][0]]]
        message = "two or more"
    with pytest.raises(EvaluationError, match=message):
        FoldAnswers(tuple(map(tuple, tests)), tuple(map(tuple, held)))


def test_answers_are_written_and_read_again(tmp_path):
    answers = folds(repeats=2)
    again = FoldAnswers.load(answers.save(tmp_path / "answers.csv"))
    one, two = evaluate_folds(answers), evaluate_folds(again)
    assert one.estimates == two.estimates
    assert one.notes == two.notes
    again.pooled_validation()
    (tmp_path / "answers.csv").write_text("repeat,fold\n1,1\n")
    with pytest.raises(EvaluationError, match="cannot be read as answers"):
        FoldAnswers.load(tmp_path / "answers.csv")


def test_where_no_patient_is_known_none_is_counted():
    answers = folds(images=1)

    def nameless(each: Predictions) -> Predictions:
        from hurdles.data.manifest import UNKNOWN

        return Predictions(each.frame.assign(group=UNKNOWN + each.frame["image"]))

    sides = [
        tuple(tuple(map(nameless, row)) for row in side)
        for side in (answers.tests, answers.validations)
    ]
    done = evaluate_folds(FoldAnswers(*sides))
    assert {each.n_patients for each in done.estimates.values()} == {0}
    assert any("Patients are not known" in note for note in done.notes)


def test_a_class_that_a_fold_lacks_costs_no_measure_and_one_that_all_lack_does():
    answers = folds(patients=20, share=0.1, k=5, images=1)  # two sick patients, five folds
    found = evaluate_folds(answers).get("auc", "sick")
    assert found.is_defined
    healthy = replace(
        answers,
        tests=tuple(
            tuple(Predictions(e.frame.assign(label="well")) for e in row) for row in answers.tests
        ),
    )
    done = evaluate_folds(healthy)
    assert not done.get("auc", "sick").is_defined
    assert not done.get("average_precision", "sick").is_defined
    assert not done.get("sensitivity", "sick").is_defined
