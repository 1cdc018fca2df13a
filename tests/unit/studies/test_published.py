"""The table of published values that a person fills in: what is read, and what is refused."""

from __future__ import annotations

import pytest

from hurdles.errors import RecipeError
from hurdles.studies.published import PUBLISHED_COLUMNS, read_published

HEADER = "model,test,measure,value,source\n"
MODELS, TESTS = ("cohen, raw", "nih, raw"), ("cohen", "nih")


def read(path):
    return read_published(path, models=MODELS, tests=TESTS)


@pytest.fixture
def written(tmp_path):
    def write(text: str):
        (tmp_path / "published.csv").write_text(text, encoding="utf-8")
        return tmp_path / "published.csv"

    return write


def test_without_the_file_and_of_a_header_alone_there_is_no_row(tmp_path, written):
    assert ",".join(PUBLISHED_COLUMNS) + "\n" == HEADER
    for table in (read(tmp_path / "published.csv"), read(written(HEADER))):
        assert list(table) == list(PUBLISHED_COLUMNS)
        assert table.empty


def test_values_are_numbers_and_further_columns_are_left_alone(written):
    table = read(
        written('mine,model,test,measure,value,source\nx,"cohen, raw",nih,auc,0.85,t. 4\n')
    )
    assert table.to_dict("records") == [
        {"model": "cohen, raw", "test": "nih", "measure": "auc", "value": 0.85, "source": "t. 4"}
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as CSV"),
        (
            "model,test\n",
            "lacks the columns measure, value, source; its first line must name model",
        ),
        (HEADER + "cohn,nih,auc,0.8,t\n", r"line 2: no model is called 'cohn'.*Known: cohen, raw"),
        (HEADER + '"cohen, raw",nhi,auc,0.8,t\n', "line 2: no test is called 'nhi'; did you mean"),
        (HEADER + '"cohen, raw",nih,area,0.8,t\n', "no measure is called 'area'"),
        (HEADER + '"cohen, raw",nih,auc,85,t\n', "value '85' is no number from 0 to 1"),
        (HEADER + '"cohen, raw",nih,auc,,t\n', "value '' is no number"),
        (HEADER + '"cohen, raw",nih,auc,"0,8",t\n', "value '0,8' is no number"),
    ],
)
def test_what_cannot_be_a_value_is_refused_by_its_line(written, text, message):
    with pytest.raises(RecipeError, match=message):
        read(written(text))
