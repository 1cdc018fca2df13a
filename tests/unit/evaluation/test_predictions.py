from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hurdles.data.manifest import UNKNOWN
from hurdles.errors import EvaluationError
from hurdles.evaluation.predictions import COLUMNS, Predictions, align, argmax_prediction


def test_a_table_survives_its_file(make, tmp_path):
    table = make(20)
    frame = table.frame.copy()
    # Names that a careless reader takes for numbers or for nothing.
    frame["image"] = ["007", "NA", "null", "a,b", 'say "x"', "Zürich 1", *frame["image"][6:]]
    frame["group"] = ["1e5", "None", *frame["group"][2:]]
    frame["source"] = ["NA", *[None] * 19]
    saved = Predictions(frame)
    path = saved.save(tmp_path / "a folder" / "predictions é.csv")
    again = Predictions.load(path)
    pd.testing.assert_frame_equal(again.frame, saved.frame, check_exact=True, check_dtype=False)
    assert again.frame["source"].isna().sum() == 19
    assert again.classes == table.classes


def test_columns_are_documented_and_in_order(make):
    table = make(5)
    assert list(table.frame) == [*COLUMNS, *(f"p:{c}" for c in table.classes)]
    assert len(table) == 5


def test_the_first_of_equally_probable_classes_is_named():
    assert argmax_prediction(["b", "a"], np.array([[0.5, 0.5]])).tolist() == ["b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="group"), "lack 'group'"),
        (lambda f: f.loc[:, list(COLUMNS)], "lack a p:<class> column"),
        (lambda f: f.iloc[:0], "the set is empty"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "'image 0' is predicted twice"),
        (lambda f: f.assign(**{"p:Normal": -0.1}), "'image 0' are .*between 0 and 1"),
        (lambda f: f.assign(**{"p:Normal": np.nan}), "between 0 and 1"),
        (lambda f: f.assign(**{"p:Normal": "high"}), "'p:Normal' .* not numbers"),
        (lambda f: f.assign(**{"p:Normal": 0.0, "p:COVID-19": 0.0}), "sum to one"),
        (lambda f: f.assign(label=["", *f["label"][1:]]), "'label' is empty for image 'image 0'"),
        (lambda f: f.assign(group=[None, *f["group"][1:]]), "'group' is empty for image 'image 0'"),
        (lambda f: f.assign(prediction="Measles"), "'Measles', .* not a class of the model"),
    ],
)
def test_what_cannot_be_used_is_named(make, change, message):
    with pytest.raises(EvaluationError, match=message):
        Predictions(change(make(6).frame))


def test_probabilities_of_the_wrong_shape_are_named():
    with pytest.raises(EvaluationError, match=r"shape \(1, 3\); 1 images and 2 classes"):
        Predictions.from_arrays(
            ["a", "b"], y_true=["a"], y_prob=np.ones((1, 3)) / 3, images=["i"], groups=["p"]
        )


def test_patients_that_differ_are_named_as_a_reader_knows_them():
    def table(group):
        return Predictions.from_arrays(
            ["x", "y"], y_true=["x"], y_prob=np.array([[0.9, 0.1]]), images=["i"], groups=[group]
        )

    with pytest.raises(EvaluationError, match=r"'i': no patient and 'clinic: p1'\. Make"):
        align(table(UNKNOWN + "i"), table("clinic\x1fp1"))
    with pytest.raises(EvaluationError, match=r"'i': 'p1' and 'p2'\. Make"):
        align(table("\x1fp1"), table("\x1fp2"))
