"""Tables of answers as programs write them, and as they write them wrongly."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hurdles.errors import ModelError
from hurdles.foreign.answer_columns import numbers
from hurdles.foreign.answers import read_answers

LABELS = ("COVID-19", "Normal")
THREE = ("COVID-19", "Normal", "Viral Pneumonia")
IMAGES = ["image-1.png", "image-2.png", "image-3.png"]
GOOD = np.array([[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]])


def table(tmp_path, text, name="answers.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def read(tmp_path, text, labels=LABELS, images=IMAGES, **options):
    return read_answers(table(tmp_path, text), images, labels, **options)


def test_a_column_per_class_is_read_by_its_name_and_rows_by_theirs(tmp_path):
    text = "image,Normal,COVID-19\nimage-3.png,.5,.5\nimage-1.png,.1,.9\nimage-2.png,.75,.25\n"
    answers = read(tmp_path, text)
    np.testing.assert_array_equal(answers.probabilities, GOOD)
    assert answers.frame["image"].tolist() == IMAGES
    assert answers.columns == {"p:Normal": "Normal", "p:COVID-19": "COVID-19", "image": "image"}
    assert answers.problems == ()
    assert not answers.is_hard
    assert answers.answered.all()


@pytest.mark.parametrize(
    "heads",
    [
        ("p:COVID-19", "p:Normal"), ("covid19", "NORMAL"), ("prob_COVID-19", "prob_normal"),
        ("Probability of COVID-19", "probability of Normal"), ("P(COVID-19)", "P(Normal)"),
        ("COVID-19_prob", "Normal_prob"), ("score covid 19", "score normal"),
    ],
)  # fmt: skip
def test_classes_are_known_in_any_usual_spelling(tmp_path, heads):
    rows = "".join(f"{i},{p},{q}\n" for i, (p, q) in zip(IMAGES, GOOD, strict=True))
    answers = read(tmp_path, f"file,{heads[0]},{heads[1]}\n{rows}")
    np.testing.assert_array_equal(answers.probabilities, GOOD)


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name, lambda name: name.removesuffix(".png"), lambda name: f"/data/in/{name}",
        lambda name: f"C:\\in\\{name}", lambda name: f"./{name}", lambda name: f"in/{name[:-4]}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("head", ["image", "filename", "", "Unnamed: 0", "anything"])
def test_an_image_is_known_by_any_spelling_of_its_name(tmp_path, spell, head):
    rows = "".join(f"{spell(i)},{p},{q}\n" for i, (p, q) in zip(IMAGES, GOOD, strict=True))
    answers = read(tmp_path, f"{head},COVID-19,Normal\n{rows}")
    np.testing.assert_array_equal(answers.probabilities, GOOD)


def test_of_files_with_one_name_in_two_folders_the_folder_decides(tmp_path):
    images = ["a/1.png", "b/1.png"]
    text = "path,COVID-19,Normal\nwhere/b/1.png,1,0\nwhere/a/1.png,0,1\n"
    assert read(tmp_path, text, images=images).probabilities.tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ModelError, match="no row names one of the 2 images"):
        read(tmp_path, "path,COVID-19,Normal\n1.png,1,0\n1.png,0,1\n", images=images)


@pytest.mark.parametrize("sign", [";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_any_separator_encoding_and_decimal_comma_is_read(tmp_path, sign, encoding):
    heads = ("image", "Üble", "Normal")
    rows = [heads] + [
        (i, f"{p:.2f}".replace(".", ","), f"{q:.2f}".replace(".", ","))
        for i, (p, q) in zip(IMAGES, GOOD, strict=True)
    ]
    text = "\r\n".join(sign.join(row) for row in rows)
    path = table(tmp_path, text, encoding=encoding)
    np.testing.assert_array_equal(
        read_answers(path, IMAGES, ["Üble", "Normal"]).probabilities, GOOD
    )


@pytest.mark.parametrize("name", ["answers.xlsx", "answers.parquet"])
def test_excel_and_parquet_are_read(tmp_path, name):
    frame = pd.DataFrame({"image": IMAGES, "COVID-19": GOOD[:, 0], "Normal": GOOD[:, 1]})
    path = tmp_path / name
    frame.to_excel(path, index=False) if name.endswith("xlsx") else frame.to_parquet(path)
    np.testing.assert_array_equal(read_answers(path, IMAGES, LABELS).probabilities, GOOD)


def test_of_two_classes_one_column_is_enough(tmp_path):
    text = "image,COVID-19\nimage-1,0.9\nimage-2,25%\nimage-3,5e-1\n"
    answers = read(tmp_path, text)
    np.testing.assert_allclose(answers.probabilities, GOOD)
    assert "'COVID-19' is read as the probability of 'COVID-19'" in answers.notes[0]


def test_one_probability_without_a_class_needs_the_positive_one(tmp_path):
    text = "image,probability\nimage-1,0.1\nimage-2,0.75\nimage-3,0.5\n"
    with pytest.raises(ModelError, match=r"which class is 'probability' the probability of\?"):
        read(tmp_path, text)
    answers = read(tmp_path, text, positive="Normal")
    np.testing.assert_allclose(answers.probabilities, GOOD)
    assert "score" in answers.columns


def test_of_several_findings_the_one_that_is_asked_counts_against_the_rest(tmp_path):
    text = "image,COVID-19,Normal,Edema\nimage-1,.9,.8,.1\nimage-2,.25,.8,.9\nimage-3,.5,.5,.2\n"
    with pytest.raises(ModelError, match="none of COVID-19, Normal"):
        read(tmp_path, text, positive="Edema")
    assert "do not sum to one" in read(tmp_path, text).problems[0]
    answers = read(tmp_path, text, positive="COVID-19")
    np.testing.assert_allclose(answers.probabilities, GOOD)
    assert any("'Normal', 'Edema'" in note for note in answers.notes)


@pytest.mark.parametrize("head", ["prediction", "Predicted", "label", "y_pred", "class"])
def test_decisions_count_as_probabilities_of_0_and_1_and_that_is_noted(tmp_path, head):
    text = f"image,{head}\nimage-1,covid-19\nimage-2,Normal\nimage-3,COVID 19\n"
    answers = read(tmp_path, text)
    assert answers.is_hard
    assert answers.probabilities.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert "decisions, which count as probabilities of 0 and 1" in answers.notes[0]


def test_decisions_beside_probabilities_are_kept_as_such(tmp_path):
    text = "image,COVID-19,Normal,prediction\n" + "".join(
        f"{i},{p},{q},Normal\n" for i, (p, q) in zip(IMAGES, GOOD, strict=True)
    )
    answers = read(tmp_path, text)
    assert not answers.is_hard
    assert answers.frame["prediction"].tolist() == ["Normal"] * 3


def test_decisions_that_are_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match="the cells of 'prediction' are '0', '1', not names of cl"):
        read(tmp_path, "image,prediction\nimage-1,0\nimage-2,1\nimage-3,0\n", THREE)


# --- what is wrong ------------------------------------------------------------------------------


def test_missing_rows_are_named_and_the_others_can_be_used(tmp_path):
    answers = read(tmp_path, "image,COVID-19,Normal\nimage-3.png,.5,.5\n")
    assert answers.problems == ("2 of 3 images have no row: 'image-1.png', 'image-2.png'",)
    assert answers.answered.tolist() == [False, False, True]
    assert np.isnan(answers.probabilities[:2]).all()


def test_rows_of_other_images_are_noted(tmp_path):
    text = "image,COVID-19,Normal\nmean,.5,.5\n" + "".join(f"{i},1,0\n" for i in IMAGES)
    answers = read(tmp_path, text)
    assert answers.answered.all()
    assert answers.notes == ("1 rows are of other images, for one 'mean'",)


def test_double_rows_are_a_problem_only_where_they_differ(tmp_path):
    text = "image,COVID-19,Normal\n" + "".join(f"{i},1,0\n" for i in [*IMAGES, IMAGES[0]])
    assert read(tmp_path, text).problems == ()
    answers = read(tmp_path, text + "image-1.png,0,1\n")
    assert answers.problems == (
        "1 images have several rows that differ, for one 'image-1.png' (rows 2, 6)",
    )
    assert answers.answered.tolist() == [False, True, True]


@pytest.mark.parametrize(("cell", "words"), [
    ("nan", "no number in 'COVID-19' ('nan')"), ("", "'COVID-19' is empty"),
    ("0.9.1", "no number in 'COVID-19' ('0.9.1')"), ("inf", "no number in 'COVID-19' ('inf')"),
    ("1,234", "no number"),
])  # fmt: skip
def test_what_is_no_number_is_named_and_spoils_its_row_only(tmp_path, cell, words):
    cell = f'"{cell}"' if "," in cell else cell
    text = f"image,COVID-19,Normal\nimage-1,1,0\nimage-2,{cell},0\nimage-3,0,1\n"
    answers = read(tmp_path, text)
    if cell == '"1,234"':  # a comma may be a decimal one, and then the number is too large
        assert "outside 0 to 1" in answers.problems[0]
        return
    assert answers.problems == (f"row 3: {words}",)
    assert answers.answered.tolist() == [True, False, True]


def test_logits_are_named(tmp_path):
    text = "image,COVID-19,Normal\nimage-1,-2.5,1\nimage-2,.5,.5\nimage-3,0,1\n"
    answers = read(tmp_path, text)
    assert "rows" not in answers.problems[0]
    assert "row 2 are outside 0 to 1 (-2.5 to 1); they look like logits" in answers.problems[0]
    assert not answers.answered.any()


def test_percent_is_named(tmp_path):
    text = "image,COVID-19,Normal\nimage-1,10,90\nimage-2,50.5,49.5\nimage-3,0,100\n"
    assert "they look like percent" in read(tmp_path, text).problems[0]


def test_rows_that_do_not_sum_to_one_are_named(tmp_path):
    text = "image,COVID-19,Normal\nimage-1,.8,.7\nimage-2,.1,.2\nimage-3,.9,.8\n"
    (problem,) = read(tmp_path, text).problems
    assert "rows 2, 3, 4 do not sum to one (they sum to 0.3 to 1.7)" in problem
    assert "sigmoid" in problem


def test_rounded_numbers_are_brought_to_a_sum_of_one(tmp_path):
    text = "image,COVID-19,Normal,Viral Pneumonia\n" + "".join(f"{i},.33,.33,.33\n" for i in IMAGES)
    answers = read(tmp_path, text, THREE)
    np.testing.assert_allclose(answers.probabilities, 1 / 3)
    assert "only when rounded" in answers.notes[0]


def test_a_class_without_a_column_is_named_with_the_nearest(tmp_path):
    text = "image,covid,normal,pneumonia viral\n" + "".join(f"{i},1,0,0\n" for i in IMAGES)
    with pytest.raises(ModelError, match=r"no column is the probability of 'COVID-19', 'Viral Pn"):
        read(tmp_path, text, THREE)
    with pytest.raises(ModelError, match="'covid' looks like 'COVID-19'"):
        read(tmp_path, text, THREE)


def test_columns_that_are_numbered_are_refused(tmp_path):
    text = "image,0,1,2\n" + "".join(f"{i},1,0,0\n" for i in IMAGES)
    with pytest.raises(ModelError, match="numbers do not say which class is which"):
        read(tmp_path, text, THREE)


def test_two_columns_of_one_class_are_refused(tmp_path):
    with pytest.raises(ModelError, match="'covid19', 'COVID_19' can all be the class 'COVID-19'"):
        read(tmp_path, "image,covid19,COVID_19,Normal\nimage-1,1,1,0\n")


def test_a_table_without_a_heading_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no column is the probability of"):
        read(tmp_path, "image-1.png,.9,.1\nimage-2.png,.3,.7\n")


def test_decimal_commas_between_commas_are_named(tmp_path):
    text = "image,COVID-19,Normal\n" + "".join(f"{i},0,9,0,1\n" for i in IMAGES)
    answers = read(tmp_path, text)
    assert "rows 2, 3, 4 have more cells than the 3 columns" in answers.problems[0]
    assert not answers.answered.any()


@pytest.mark.parametrize("text", ["", "\n\n", "image,COVID-19,Normal\n", "\x00\x01\x02"])
def test_what_is_no_table_is_refused(tmp_path, text):
    with pytest.raises(ModelError, match=r"answers\.csv"):
        read(tmp_path, text)
    with pytest.raises(ModelError, match="is not a file"):
        read_answers(tmp_path / "none.csv", IMAGES, LABELS)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a"]])
def test_less_than_two_classes_are_refused(tmp_path, labels):
    with pytest.raises(ModelError, match="two or more classes"):
        read(tmp_path, "image,a\nimage-1,1\n", labels)


def test_names_of_images_are_never_read_as_formulas(tmp_path):
    images = ["=1+1.png", "-2.png"]
    text = "image,COVID-19,Normal\n'=1+1.png,1,0\n'-2.png,0,1\n"
    assert read(tmp_path, text, images=images).probabilities.tolist() == [[1, 0], [0, 1]]


# --- with the truth -----------------------------------------------------------------------------

WHOLE = (
    "file,Patient ID,Hospital,diagnosis,COVID-19,Normal,my note\n"
    "a.png,7,Nord,Normal,.2,.8,x\nb.png,7,Nord,COVID-19,.9,.1,\nc.png,,Sued,Normal,.4,.6,\n"
)


def test_a_table_with_the_truth_is_read_by_itself(tmp_path):
    answers = read(tmp_path, WHOLE, None, None, truth=True)
    assert answers.labels == LABELS
    frame = answers.frame
    assert frame["image"].tolist() == ["a.png", "b.png", "c.png"]
    assert frame["label"].tolist() == ["Normal", "COVID-19", "Normal"]
    assert frame["patient"].tolist() == ["7", "7", None]
    assert frame["source"].tolist() == ["Nord", "Nord", "Sued"]
    assert answers.probabilities.tolist() == [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]]
    assert answers.columns["patient"] == "Patient ID"
    assert answers.columns["label"] == "diagnosis"
    assert answers.notes == ("columns that are not used: 'my note'",)


def test_columns_can_be_named(tmp_path):
    text = WHOLE.replace("diagnosis", "gold").replace("COVID-19,Normal,my", "c,n,my")
    columns = {"gold": "label", "c": "p:COVID-19", "n": "p:Normal", "my note": ""}
    answers = read(tmp_path, text, None, None, truth=True, columns=columns)
    assert answers.probabilities.tolist() == [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]]
    assert answers.notes == ()
    with pytest.raises(ModelError, match="no column 'golden'"):
        read(tmp_path, text, None, None, truth=True, columns={"golden": "label"})
    with pytest.raises(ModelError, match="no column is the true class"):
        read(tmp_path, text, None, None, truth=True)


def test_decisions_beside_the_truth_are_not_taken_for_it(tmp_path):
    text = "image,label,prediction\na,Normal,COVID-19\nb,COVID-19,COVID-19\n"
    answers = read(tmp_path, text, None, None, truth=True)
    assert answers.is_hard
    assert answers.frame["label"].tolist() == ["Normal", "COVID-19"]
    assert answers.probabilities.tolist() == [[1, 0], [1, 0]]


def test_names_of_persons_are_never_read(tmp_path):
    text = WHOLE.replace("my note", "Patient Name")
    answers = read(tmp_path, text, None, None, truth=True)
    assert set(answers.frame.columns) == {
        "image", "patient", "source", "label", "p:COVID-19", "p:Normal"
    }  # fmt: skip


def test_an_image_twice_or_without_a_name_is_a_problem(tmp_path):
    text = "image,label,COVID-19,Normal\na,Normal,1,0\na,Normal,0,1\n,COVID-19,1,0\n"
    problems = read(tmp_path, text, None, None, truth=True).problems
    assert "the image 'a' has several rows (rows 2, 3)" in problems
    assert "'image' is empty in row 4" in problems


def test_rows_without_images_are_called_by_their_numbers(tmp_path):
    text = "patient,label,COVID-19,Normal\n1,Normal,1,0\n2,COVID-19,0,1\n"
    answers = read(tmp_path, text, None, None, truth=True)
    assert answers.frame["image"].tolist() == ["row 2", "row 3"]
    assert "no column names the images" in answers.notes[0]


@given(st.data())
def test_whatever_the_order_of_rows_and_columns_the_answers_are_the_same(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(1, 8))
    p = rng.dirichlet(np.ones(3), n)
    images = [f"image-{i:06d}.png" for i in range(n)]
    columns = [("image", images), *((c, p[:, k]) for k, c in enumerate(THREE))]
    columns = data.draw(st.permutations(columns))
    frame = pd.DataFrame(dict(columns)).sample(frac=1, random_state=int(rng.integers(1 << 30)))
    path = tmp_path_factory.mktemp("t") / "a.csv"
    frame.to_csv(path, index=data.draw(st.booleans()))
    answers = read_answers(path, images, THREE)
    np.testing.assert_array_equal(answers.probabilities, p)
    assert answers.problems == ()


SIGNS = ["nan", "-", ",", ";", "\t", "\n", '"', "p:", "COVID-19", "Normal", "0,5", "99%", "=1",
         "'", "inf", "label", "probability", "image-1.png", "/", "\x00", "é", "1", "0"]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(SIGNS), st.integers(0, 9)), max_size=6),
    st.booleans(),
)
def test_of_a_damaged_table_every_answer_is_one_or_something_is_named(
    tmp_path_factory, damages, truth
):
    text = "image,Normal,COVID-19,label\n" + "".join(f"{i},0.25,0.75,Normal\n" for i in IMAGES)
    for place, sign, length in damages:
        text = text[:place] + sign + text[place + length :]
    path = tmp_path_factory.mktemp("t") / "a.csv"
    path.write_text(text, encoding="utf-8")
    try:
        answers = read_answers(path, IMAGES, LABELS, truth=truth)
    except ModelError:
        return
    good = answers.probabilities[answers.answered]
    assert ((good >= 0) & (good <= 1)).all()
    np.testing.assert_allclose(good.sum(axis=1), 1, atol=1e-3)
    assert answers.answered.all() or answers.problems


def test_whole_percents_may_miss_their_sum_by_rounding(tmp_path):
    path = tmp_path / "percent.csv"
    path.write_text("image,A,B,C\na,33%,33%,33%\nb,50%,25%,25%\n", encoding="utf-8")
    answers = read_answers(path, ["a", "b"], ["A", "B", "C"])
    assert answers.answered.all()
    np.testing.assert_allclose(answers.probabilities[0], 1 / 3)


def test_numbers_are_the_same_whether_all_or_none_are_written_plainly():
    plain = ["0.25", " 1", "1e-3", "nan", "0"]
    alone = [numbers(pd.Series([cell]))[0] for cell in plain]
    np.testing.assert_array_equal(numbers(pd.Series(plain)), alone)
    odd = numbers(pd.Series([*plain, "0,5", "25 %", "", "1.5.2"]))
    np.testing.assert_array_equal(odd, [*alone, 0.5, 0.25, np.nan, np.nan])
