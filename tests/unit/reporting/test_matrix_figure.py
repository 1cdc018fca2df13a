"""The picture of the matrix: what it shows, and that the same numbers give the same file."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from hurdles.reporting.charts import matrix_figure


def table(*values: float, measure: str = "auc") -> pd.DataFrame:
    """Return one model's values on the tests t0, t1, ..."""
    return pd.DataFrame(
        [
            {"model": "ours", "test": f"t{n}", "measure": measure, "value": v, "low": v - 0.1,
             "high": v + 0.1, "n_images": 30 + n}
            for n, v in enumerate(values)
        ]
    )  # fmt: skip


def svg(found: pd.DataFrame, **kwargs) -> str:
    kwargs.setdefault("inside", {})
    return matrix_figure(found, form="svg", **kwargs).decode()


def test_every_number_is_there_and_undefined_is_said():
    text = svg(table(0.75, math.nan))
    assert "<!-- 0.75 -->" in text
    assert "<!-- 0.65-0.85, n=30 -->" in text
    assert text.count("<!-- undefined -->") == 1
    assert "nan" not in text.replace("dominant", "")


def test_the_own_set_is_outlined_once():
    plain, outlined = svg(table(0.75, 0.6)), svg(table(0.75, 0.6), inside={"ours": "t1"})
    assert plain.count("stroke-width: 2.2") == 0
    assert outlined.count("stroke-width: 2.2") == 1
    assert svg(table(0.75), inside={"ours": "not tested"}).count("stroke-width: 2.2") == 0


def test_columns_stand_in_the_order_asked_for():
    text = svg(table(0.7, 0.8, 0.9), tests=["t2", "not there", "t0"])
    assert text.index("<!-- t2 -->") < text.index("<!-- t0 -->") < text.index("<!-- t1 -->")


def test_the_same_numbers_give_the_same_file():
    assert svg(table(0.7, 0.8)) == svg(table(0.7, 0.8))
    assert matrix_figure(table(0.7), inside={}) == matrix_figure(table(0.7), inside={})


def test_another_measure_is_not_mixed_in():
    text = svg(pd.concat([table(0.7), table(0.33, measure="accuracy")]))
    assert "0.33" not in text


def test_nothing_to_draw_and_a_cell_twice():
    with pytest.raises(ValueError, match="no row of 'f1'"):
        matrix_figure(table(0.7), measure="f1", inside={})
    with pytest.raises(ValueError, match="'ours' on 't0' stands twice"):
        matrix_figure(pd.concat([table(0.7), table(0.8)]), inside={})
