from __future__ import annotations

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hurdles.errors import EvaluationError
from hurdles.evaluation.calibration import (
    brier_error,
    calibration_error,
    calibration_intercept,
    calibration_slope,
    reliability,
)
from hurdles.evaluation.evaluation import Evaluation, evaluate
from hurdles.evaluation.macro import macro_auc
from hurdles.evaluation.metrics import METRICS
from hurdles.evaluation.predictions import Predictions

SCORED = ("auc", "average_precision")


def table(classes, truth, prob, groups=None):
    names = [str(i) for i in range(len(truth))]
    return Predictions.from_arrays(
        classes, y_true=list(truth), y_prob=np.array(prob), images=names, groups=groups or names
    )


def test_every_measure_is_there_with_an_interval(make):
    found = evaluate(make())
    assert list(found.estimates) == [
        (m.name, c) for m in METRICS.values() for c in (found.classes if m.per_class else [""])
    ]
    for estimate in found.estimates.values():
        assert estimate.low < estimate.high
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.level == 0.95
    assert found.notes == ()


def test_values_are_those_of_scikit_learn(make, scikit_learn):
    from sklearn.metrics import confusion_matrix

    predictions = make(images_each=2)
    found = evaluate(predictions)
    truth, named = predictions.y_true, predictions.y_pred
    for (name, class_), estimate in found.estimates.items():
        second = predictions.y_prob[:, predictions.classes.index(class_)] if class_ else named
        expected = scikit_learn(name, truth, second if name in SCORED else named, class_)
        assert estimate.value == pytest.approx(expected, abs=1e-15)
    counts = confusion_matrix(truth, named, labels=list(found.classes))
    assert found.confusion_frame().to_numpy().tolist() == counts.tolist()


def test_the_confusion_matrix_counts_every_image_also_of_a_class_that_is_not_known():
    found = evaluate(table(["a", "b"], "aabz", [[1, 0], [0, 1], [0, 1], [0, 1]]))
    assert found.confusion == ((1, 1), (0, 1), (0, 1))
    assert found.labels == ("a", "b", "z")


def test_accuracy_of_a_class_is_its_sensitivity(make):
    found = evaluate(make())
    assert found.get("accuracy", "Normal") == found.get("sensitivity", "Normal")
    assert found.get("accuracy") != found.get("balanced_accuracy")
    with pytest.raises(EvaluationError, match="no auc of 'Measles' here; there is: 'COVID-19'"):
        found.get("auc", "Measles")
    with pytest.raises(EvaluationError, match="no metric is called 'recall'"):
        found.get("recall")
    older = replace(found, estimates={k: v for k, v in found.estimates.items() if k[0] != "auc"})
    with pytest.raises(EvaluationError, match=r"no auc here: .* evaluate them again"):
        older.get("auc", "Normal")


def test_the_published_table_has_its_interval():
    """416 of 436 right, 26 of 33 COVID-19: the first row of the published results."""
    truth = ["COVID-19"] * 33 + ["Normal"] * 201 + ["Viral"] * 202
    said = ["COVID-19"] * 26 + ["Normal"] * 7 + ["Normal"] * 198 + ["Viral"] * 3
    said += ["Viral"] * 192 + ["Normal"] * 10
    classes = ["COVID-19", "Normal", "Viral"]
    prob = (np.array(said)[:, None] == np.array(classes)).astype(float)
    found = evaluate(table(classes, truth, prob))
    assert found.get("accuracy").percent() == "95.4 % [93.0, 97.0]"
    assert found.get("accuracy", "COVID-19").percent() == "78.8 % [62.2, 89.3]"


def test_the_order_of_rows_does_not_matter(make):
    predictions = make(images_each=3)
    first = evaluate(predictions)
    again = evaluate(Predictions(predictions.frame.sample(frac=1, random_state=1)))
    for key, one in first.estimates.items():
        two = again.estimates[key]
        assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high))


def test_json_and_frame_keep_everything(make):
    for predictions in (make(), table(["a", "b"], ["a"], [[0.9, 0.1]])):
        found = evaluate(predictions)
        text = json.dumps(found.to_dict(), allow_nan=False)
        assert Evaluation.from_dict(json.loads(text)) == found
        frame = found.to_frame()
        assert len(frame) == len(found.estimates)
        assert set(frame["measure"]) == set(METRICS)
        assert frame["note"].map(type).eq(str).all()


def test_a_class_that_the_model_does_not_know_counts_as_wrong():
    prob = [[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]
    found = evaluate(table(["a", "b"], ["a", "b", "zoster", "zoster"], prob))
    assert found.labels == ("a", "b", "zoster")
    assert found.confusion == ((1, 0), (0, 1), (2, 0))
    assert found.images == {"a": 1, "b": 1, "zoster": 2}
    assert found.get("accuracy").value == 0.5
    assert found.get("specificity", "a").value == pytest.approx(1 / 3)
    assert found.get("balanced_accuracy").value == pytest.approx(2 / 3)
    assert "does not know the class 'zoster'; its 2 images count as wrong" in found.notes[0]
    with pytest.raises(EvaluationError, match="no sensitivity of 'zoster'"):
        found.get("sensitivity", "zoster")


def test_a_class_without_images_is_undefined_not_zero():
    prob = [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.7, 0.2]]
    found = evaluate(table(["a", "b", "c"], ["a", "b", "a"], prob))
    for measure in ("sensitivity", "f1", "auc", "miss_rate", "diagnostic_odds_ratio"):
        assert not found.get(measure, "c").is_defined
    assert found.get("sensitivity", "c").note == "no image of c in the set"
    assert found.get("specificity", "c").value == 1.0
    assert found.get("balanced_accuracy").value == 0.75
    assert found.notes[0] == (
        "The set has no image of 'c'; balanced accuracy is over 'a', 'b' only."
    )


def test_one_image():
    found = evaluate(table(["a", "b"], ["a"], [[0.9, 0.1]]))
    assert found.get("accuracy").value == 1.0
    assert found.get("accuracy").low == pytest.approx(0.2065, abs=1e-4)
    assert not found.get("auc", "a").is_defined
    assert found.get("balanced_accuracy").note == "fewer than two classes have an image"
    assert found.notes == ("The set has no image of 'b'; balanced accuracy is undefined.",)


def test_two_classes_mirror_each_other(make):
    found = evaluate(make(classes=["sick", "well"], prior=(0.3, 0.7)))
    assert found.get("sensitivity", "sick") == found.get("specificity", "well")
    assert found.get("auc", "sick").value == pytest.approx(found.get("auc", "well").value)
    assert found.get("ppv", "sick") == found.get("npv", "well")


def test_patients_are_counted_and_named(make):
    found = evaluate(make(90, images_each=3))
    assert (found.n_images, found.n_patients) == (90, 30)
    assert sum(found.patients.values()) == 30
    assert "90 images are of 30 patients" in found.notes[0]


def test_predictions_by_a_threshold_are_taken_as_they_are(make):
    predictions = make()
    frame = predictions.frame.assign(prediction="Normal")
    found = evaluate(Predictions(frame))
    assert found.get("sensitivity", "Normal").value == 1.0
    assert not found.get("ppv", "COVID-19").is_defined
    assert found.get("auc", "COVID-19").is_defined


def test_a_study_evaluates_hundreds_of_sets(make):
    predictions = make(500)
    evaluate(predictions)  # imports scipy
    start = time.process_time()
    for _ in range(5):
        evaluate(predictions)
    assert (time.process_time() - start) / 5 < 0.25


def test_the_miss_rate_mirrors_sensitivity_with_its_interval(make):
    found = evaluate(make(90, images_each=3))
    for class_ in found.classes:
        seen, missed = found.get("sensitivity", class_), found.get("miss_rate", class_)
        mirrored = (1 - seen.value, 1 - seen.high, 1 - seen.low)
        assert (missed.value, missed.low, missed.high) == pytest.approx(mirrored)


def test_an_odds_ratio_without_upper_end_survives_json_and_says_so():
    truth = ["a"] * 20 + ["b"] * 20
    prob = [[0.9, 0.1]] * 20 + [[0.1, 0.9]] * 15 + [[0.8, 0.2]] * 5
    found = evaluate(table(["a", "b"], truth, prob))
    dor = found.get("diagnostic_odds_ratio", "a")
    assert dor.value == pytest.approx(20.5 * 15.5 / (0.5 * 5.5))
    assert 1 < dor.low < dor.value < dor.high == np.inf
    assert "one end is open" in dor.note
    assert dor == found.get("diagnostic_odds_ratio", "b"), "a fourfold table has one odds ratio"
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(text)) == found


@pytest.mark.parametrize("said", ["a", "b"])
def test_a_model_that_says_one_class_only_has_no_odds_ratio(said):
    """0/0 is not 91.0."""
    prob = [[0.9, 0.1] if said == "a" else [0.1, 0.9]] * 100
    found = evaluate(table(["a", "b"], ["a"] * 5 + ["b"] * 95, prob))
    for class_ in "ab":
        ratio = found.get("diagnostic_odds_ratio", class_)
        assert not ratio.is_defined
        assert f"every image, is of {class_} or is named so: the ratio is 0/0" in ratio.note


@st.composite
def tables(draw: st.DrawFn):
    """Any table: few images and patients, hard and constant answers, one class alone, unknown."""
    n = draw(st.integers(1, 20))
    classes = list("abc")[: draw(st.integers(1, 3))]
    truth = draw(st.lists(st.sampled_from([*classes, "unknown"]), min_size=n, max_size=n))
    weights = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=len(classes), max_size=len(classes)),
            min_size=n,
            max_size=n,
        )
    )
    prob = np.array(weights, dtype=float)
    prob[prob.sum(axis=1) == 0] = 1
    groups = draw(st.lists(st.integers(0, draw(st.integers(0, n))), min_size=n, max_size=n))
    return table(classes, truth, prob / prob.sum(axis=1, keepdims=True), [str(g) for g in groups])


@settings(deadline=None, max_examples=150)
@given(tables(), st.sampled_from([0.5, 0.95, 0.999]))
def test_every_number_is_within_its_bounds_or_says_why_it_is_not_there(predictions, level):
    found = [
        (METRICS[name].low, METRICS[name].high, estimate)
        for (name, _), estimate in evaluate(predictions, level=level).estimates.items()
    ]
    found.append((0, 2, brier_error(predictions, level=level)))
    found.append((0, 1, calibration_error(predictions, level=level)))
    found.append((0, 1, macro_auc(predictions, level=level)))
    found.append((-math.inf, math.inf, calibration_slope(predictions, level=level)))
    for class_ in predictions.classes:
        intercept = calibration_intercept(predictions, class_, level=level)
        found.append((-math.inf, math.inf, intercept))
        assert not abs(intercept.high) > 1e3, "an interval of everything is none"
    for low, high, estimate in found:
        if estimate.is_defined:
            assert low <= estimate.low <= estimate.value <= estimate.high <= high
            assert estimate.low < estimate.high
        else:
            assert estimate.note
            assert math.isnan(estimate.low)
            assert math.isnan(estimate.high)
    for each in reliability(predictions, level=level):
        assert 0 <= each.low <= each.share <= each.high <= 1
